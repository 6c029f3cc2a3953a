//! A small world of packets, and the meaning of a match in it, written from its definition.

use crate::policy::{Fragment, LabelTest, Match, Range, TcpFlags};
use ipnet::IpNet;
use std::net::IpAddr;

/// A packet of the small world.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    interface: &'static str,
    from: IpAddr,
    /// What its sender carries, whatever its address.
    labels: Vec<&'static str>,
    to: IpAddr,
    protocol: u8,
    /// Destination, source.
    ports: Option<(u16, u16)>,
    /// Type, code.
    icmp: Option<(u8, u8)>,
    tcp_flags: Option<u8>,
    length: u16,
    dscp: u8,
    fragment: Vec<Fragment>,
    flow_label: Option<u32>,
    vlan: u16,
    ttl: u8,
}

/// Whether a packet matches.
pub(super) fn matches(wanted: &Match, packet: &Packet) -> bool {
    holds(wanted, packet).into_iter().all(|component| component != Some(false))
        && wanted.not.as_ref().is_none_or(|not| !holds(not, packet).contains(&Some(true)))
}

/// Whether each component holds; nothing of those that are not named.
fn holds(wanted: &Match, packet: &Packet) -> [Option<bool>; 15] {
    let address = |prefixes: &Option<Vec<IpNet>>, address: IpAddr| {
        prefixes.as_ref().map(|prefixes| prefixes.iter().any(|prefix| prefix.contains(&address)))
    };
    let labels = wanted.labels.as_ref().map(|LabelTest { names, all }| {
        let carried = |name: &String| packet.labels.contains(&name.as_str());
        if *all { names.iter().all(carried) } else { names.iter().any(carried) }
    });
    let from = match (address(&wanted.from, packet.from), labels) {
        (None, labels) => labels,
        (from, None) => from,
        (Some(from), Some(labels)) => Some(from || labels),
    };
    let flags = |tests: &Vec<TcpFlags>| {
        let holds = |flags: u8| tests.iter().any(|test| flags & test.mask == test.set);
        packet.tcp_flags.is_some_and(holds)
    };
    [
        wanted.interface.as_ref().map(|names| names.iter().any(|name| name == packet.interface)),
        from,
        address(&wanted.to, packet.to),
        wanted.protocol.as_ref().map(|protocols| protocols.contains(&packet.protocol)),
        within(&wanted.port, packet.ports.map(|ports| ports.0)),
        within(&wanted.source_port, packet.ports.map(|ports| ports.1)),
        within(&wanted.icmp_type, packet.icmp.map(|icmp| icmp.0)),
        within(&wanted.icmp_code, packet.icmp.map(|icmp| icmp.1)),
        wanted.tcp_flags.as_ref().map(flags),
        within(&wanted.length, Some(packet.length)),
        within(&wanted.dscp, Some(packet.dscp)),
        wanted.fragment.as_ref().map(|kinds| kinds.iter().any(|kind| packet.fragment.contains(kind))),
        within(&wanted.flow_label, packet.flow_label),
        within(&wanted.vlan, Some(packet.vlan)),
        within(&wanted.ttl, Some(packet.ttl)),
    ]
}

fn within<T: Copy + PartialOrd>(ranges: &Option<Vec<Range<T>>>, number: Option<T>) -> Option<bool> {
    let holds = |number: T| move |range: &Range<T>| range.first <= number && number <= range.last;
    ranges.as_ref().map(|ranges| number.is_some_and(|number| ranges.iter().any(holds(number))))
}

/// Packets of the small world.
const PACKETS: usize = 3_000;

/// Some of the small world's packets: each family's four lowest addresses and one beyond, three
/// interfaces, protocols with and without ports, and the values at the edges of the ranges in use.
pub(super) fn world(seed: u64) -> Vec<Packet> {
    let mut random = Random(seed);
    (0..PACKETS).map(|_| packet(&mut random)).collect()
}

/// Numbers by xorshift*.
struct Random(u64);

impl Random {
    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        self.0 ^= self.0 >> 12 ^ 0x9e37_79b9;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let index = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize;
        values[index % values.len()]
    }
}

fn packet(random: &mut Random) -> Packet {
    let ipv6 = random.of(&[false, true]);
    let mut address = || {
        let host = random.of(&[0, 1, 2, 3, 200]);
        if ipv6 {
            IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)])
        } else {
            IpAddr::from([10, 0, 0, host])
        }
    };
    let (from, to) = (address(), address());
    let protocol = random.of(&[6, 6, 17, 132, 47, 1, 58]);
    let mut fragment = match random.of(&[0, 0, 0, 1, 2, 3]) {
        0 => Vec::new(),
        1 => vec![Fragment::First],
        2 => vec![Fragment::Later],
        _ => vec![Fragment::Later, Fragment::Last],
    };
    let whole = !fragment.contains(&Fragment::Later);
    if !ipv6 && random.of(&[false, true]) {
        fragment.push(Fragment::Dont);
    }
    let icmp = whole && protocol == if ipv6 { 58 } else { 1 };
    let ports = [1, 2, 3, 9];
    Packet {
        interface: random.of(&["eth0", "eth1", "eth9"]),
        from,
        labels: ["a", "b", "c"].into_iter().filter(|_| random.of(&[false, true])).collect(),
        to,
        protocol,
        ports: (whole && matches!(protocol, 6 | 17 | 132)).then(|| (random.of(&ports), random.of(&ports))),
        icmp: icmp.then(|| (random.of(&[0, 8, 128]), random.of(&[0, 1, 2]))),
        tcp_flags: (whole && protocol == 6).then(|| random.of(&[0, 2, 16, 18])),
        length: random.of(&[40, 100, 101, 65_535]),
        dscp: random.of(&[0, 8, 46, 63]),
        fragment,
        flow_label: ipv6.then(|| random.of(&[0, 5, 10, 0xf_ffff])),
        vlan: random.of(&[0, 1, 100, 4_094, 4_095]),
        ttl: random.of(&[0, 1, 64, 255]),
    }
}
