//! A packet of a pool → its target, and what it is sent there in.
//!
//! Written from RFC 2003, RFC 2473, RFC 4213 (IP in IP), RFC 768 and draft-ietf-intarea-gue 4 (GUE variant
//! 1), RFC 6040 (traffic class), RFC 1812 5.3.1 and RFC 8200 3 (hops), RFC 1191 and RFC 8201 (lengths).
//! Which element of a pool's table a packet has is the gateways' own agreement, and taken from them.

use super::icmp_error::Trouble;
use super::mss;
use super::quoted::Quoted;
use super::tracked::Found;
use super::translate::{Ends, exchanged, exchanged_error};
use super::{Parsed, State};
use crate::packet::checksum::internet;
use gateway_common::image::HashOver;
use gateway_common::packet::{Packet, address_of, flags};
use gateway_common::reason::Reason;
use gateway_common::target::{element, flow_label, hash, source_port};
use gateway_user::policy::{Forward, Mss, Pool};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A way to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The interface that leads there.
    pub interface: String,
    /// Its MAC address.
    pub source: [u8; 6],
    /// The neighbour's, where it is known.
    pub destination: Option<[u8; 6]>,
    /// Longest packet, bytes, where it is known.
    pub mtu: Option<usize>,
}

/// What the node knows of pools and targets.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Of each pool, the target in each element of its table.
    pub tables: BTreeMap<String, Vec<String>>,
    /// Of each pool that translates, the target in each element of its tables for IPv4 and for IPv6.
    pub tables_of_families: BTreeMap<String, [Vec<String>; 2]>,
    /// The ways to targets; to those that are not in it there is none.
    pub ways: BTreeMap<IpAddr, Way>,
    /// The ways to all others in a network; nothing where routing says that it cannot be reached.
    pub networks: Vec<(IpNet, Option<Way>)>,
    /// The node's own addresses in these networks.
    pub own: Vec<IpAddr>,
    /// Addresses in these networks that are everybody's.
    pub of_all: Vec<IpAddr>,
    /// Where no source is named for outer headers: the node's own, IPv4 and IPv6.
    pub sources: Vec<IpAddr>,
}

/// How a packet is sent to its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// `pool/target`.
    pub name: String,
    /// The way there.
    pub way: Way,
    /// It goes up the stack, to be cut into fragments or for this node itself.
    pub cut: bool,
    /// It comes from that target, and goes to its client.
    pub back: bool,
    /// The ends that it leaves with, if it is translated.
    translated: Option<Ends>,
    /// It is an ICMP error that quotes this.
    quoted: Option<Quoted>,
    target: IpAddr,
    source: Option<IpAddr>,
    gue_port: Option<u16>,
    flow_hash: u64,
    /// What the MSS of SYNs is held to.
    mss: Option<u16>,
}

/// Why a packet goes nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stuck {
    pub reason: Reason,
    /// What its sender is told.
    pub trouble: Option<Trouble>,
}

impl From<Reason> for Stuck {
    fn from(reason: Reason) -> Stuck {
        Stuck { reason, trouble: None }
    }
}

/// Where a packet of this pool goes.
///
/// # Errors
/// Why it goes nowhere.
pub(super) fn forwarded(
    (name, pool): (&str, &Pool),
    targets: &Targets,
    state: &State,
    packet: &Parsed,
) -> Result<Forwarded, Stuck> {
    let table = targets.tables.get(name).map_or(&[][..], Vec::as_slice);
    let chosen = element_of(pool, table, packet).ok_or(Reason::NoTarget)?;
    let target = pool.targets[chosen].address;
    if packet.ttl <= 1 {
        return Err(Stuck { reason: Reason::TtlExceeded, trouble: Some(Trouble::Ends) });
    }
    let mut way = targets.ways.get(&target).ok_or(Reason::NoRoute)?.clone();
    // As it is, a packet of IPv6 can only wait for a neighbour of IPv6.
    if way.destination.is_none() && pool.forward == Forward::L2 && packet.source.is_ipv6() && target.is_ipv4()
    {
        return Err(Reason::NoRoute.into());
    }
    let source = outer_source(pool, targets, target);
    let narrower = source.and_then(|source| state.path_mtu(target, source));
    way.mtu = way.mtu.map(|mtu| narrower.map_or(mtu, |narrower| narrower.min(mtu)));
    let gue_port = match pool.forward {
        Forward::Gue { port, .. } => Some(port),
        Forward::Ipip { .. } | Forward::L2 | Forward::Dnat(_) => None,
    };
    let outer = match (source, gue_port) {
        (None, _) => 0,
        (Some(IpAddr::V4(_)), port) => 20 + port.map_or(0, |_| 8),
        (Some(IpAddr::V6(_)), port) => 40 + port.map_or(0, |_| 8),
    };
    let fits = way.mtu.is_none_or(|mtu| usize::from(packet.length) + outer <= mtu);
    // RFC 2003 5.1 for IPv4; RFC 4213 3.2.2 for IPv6, of which every link takes 1,280 bytes.
    let inner = if packet.source.is_ipv4() { !packet.dont_fragment } else { packet.length <= 1_280 };
    let may_be_cut = inner && source.is_some_and(|source| source.is_ipv4());
    if !fits && !may_be_cut {
        let trouble = way.mtu.map(|mtu| Trouble::TooBig(mtu - outer));
        return Err(Stuck { reason: Reason::TooBig, trouble });
    }
    let headers = if packet.source.is_ipv4() { 40 } else { 60 };
    let mss = match pool.mss {
        None => None,
        Some(Mss::AtMost(most)) => Some(most),
        Some(Mss::Way) => way.mtu.map(|mtu| (mtu - outer - headers) as u16),
    };
    Ok(Forwarded {
        mss,
        name: format!("{name}/{chosen}"),
        way,
        cut: !fits,
        back: false,
        translated: None,
        quoted: None,
        target,
        source,
        gue_port,
        flow_hash: hash(HashOver::FiveTuple as u8, &key(packet)),
    })
}

/// The element of a pool's table that a packet has.
pub(super) fn element_of<'a>(pool: &Pool, table: &'a [String], packet: &Parsed) -> Option<&'a String> {
    table.get(element(hash(pool.hash as u8, &key(packet)), table.len() as u32) as usize)
}

/// How a packet of a connection gets where it goes.
///
/// # Errors
/// Why it goes nowhere.
pub(super) fn by_connection(
    found: Found,
    back: bool,
    targets: &Targets,
    packet: &Parsed,
) -> Result<Forwarded, Stuck> {
    let target = found.ends.destination;
    let network = targets.networks.iter().find(|(network, _)| network.contains(&target));
    let network = network.filter(|_| !targets.own.contains(&target) && !targets.of_all.contains(&target));
    let way = targets.ways.get(&target).or_else(|| network.and_then(|(_, way)| way.as_ref()));
    // Where no route leads, or to this node, is for the stack to say.
    let by_stack = way.is_none() && network.is_none();
    if packet.ttl <= 1 && !by_stack {
        return Err(Stuck { reason: Reason::TtlExceeded, trouble: Some(Trouble::Ends) });
    }
    if way.is_none() && !by_stack {
        return Err(Reason::NoRoute.into());
    }
    let way = way.cloned().unwrap_or_default();
    let fits = way.mtu.is_none_or(|mtu| usize::from(packet.length) <= mtu);
    // The stack would not forward what bears an address of this node as its source.
    let may_be_cut = packet.source.is_ipv4() && !packet.dont_fragment && !back;
    if !fits && !may_be_cut {
        return Err(Stuck { reason: Reason::TooBig, trouble: way.mtu.map(Trouble::TooBig) });
    }
    Ok(Forwarded {
        name: found.name,
        way,
        cut: by_stack || !fits,
        back,
        translated: Some(found.ends),
        quoted: None,
        target,
        source: None,
        gue_port: None,
        mss: None,
        flow_hash: 0,
    })
}

/// The source of what is sent to a target, where that is wrapped.
pub(super) fn outer_source(pool: &Pool, targets: &Targets, target: IpAddr) -> Option<IpAddr> {
    let own = || targets.sources.iter().copied().find(|source| source.is_ipv4() == target.is_ipv4());
    pool.forward.source().and_then(|source| source.towards(target).or_else(own))
}

/// What of a packet is hashed.
fn key(packet: &Parsed) -> Packet {
    let (source_port, port) = packet.ports.unwrap_or_default();
    Packet {
        source: address_of(packet.source),
        destination: address_of(packet.destination),
        protocol: packet.protocol,
        source_port,
        port,
        family: if packet.source.is_ipv4() { 4 } else { 6 },
        flags: if packet.ports.is_some() { flags::HAS_PORTS } else { 0 },
        ..Packet::default()
    }
}

impl Forwarded {
    /// Whether the kernel must find the neighbour first.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.cut && self.way.destination.is_none()
    }

    /// Whether it is a connection's, and leaves with other ends than it came with.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        self.translated.is_some()
    }

    /// The frame that is sent, made of one whose DSCP is written already.
    #[must_use]
    pub fn frame(&self, packet: &Parsed, frame: &[u8]) -> Vec<u8> {
        let Some(ends) = &self.translated else { return self.sent(packet, frame) };
        let out = match &self.quoted {
            Some(quoted) => exchanged_error(packet, quoted, ends, frame),
            None => exchanged(packet, ends, frame),
        };
        if self.cut { out } else { self.sent(packet, &out) }
    }

    /// The same for an ICMP error that quotes this.
    pub(super) fn quoting(self, quoted: Quoted) -> Forwarded {
        Forwarded { quoted: Some(quoted), ..self }
    }

    fn sent(&self, packet: &Parsed, frame: &[u8]) -> Vec<u8> {
        let inner_v4 = packet.source.is_ipv4();
        let mut inner = frame[packet.offset..].to_vec();
        count_down(&mut inner, inner_v4);
        if let Some(most) = self.mss {
            mss::lower(&mut inner, packet, most);
        }
        let length = usize::from(packet.length);
        let mut out = match self.way.destination {
            Some(destination) if !self.cut => [destination, self.way.source].concat(),
            _ => frame[..12].to_vec(),
        };
        let outer_v4 = self.source.map_or(inner_v4, |source| source.is_ipv4());
        out.extend(if outer_v4 { [0x08, 0x00] } else { [0x86, 0xdd] });
        let class = if inner_v4 { inner[1] } else { inner[0] << 4 | inner[1] >> 4 };
        let carried = if inner_v4 { 4 } else { 41 };
        let udp = self.gue_port.map(|port| {
            let ports = [source_port(self.flow_hash).to_be_bytes(), port.to_be_bytes()].concat();
            [ports, ((length + 8) as u16).to_be_bytes().to_vec(), vec![0, 0]].concat()
        });
        let udp = udp.unwrap_or_default();
        let protocol = if udp.is_empty() { carried } else { 17 };
        match (self.source, self.target) {
            (Some(IpAddr::V4(source)), IpAddr::V4(target)) => {
                let total = (20 + udp.len() + length) as u16;
                let mut ip = vec![0x45, class];
                ip.extend(total.to_be_bytes());
                ip.extend([0, 0, if self.cut { 0 } else { 0x40 }, 0, 64, protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(target.octets());
                let sum = internet(&[&ip]).to_be_bytes();
                ip[10..12].copy_from_slice(&sum);
                out.extend(ip);
            }
            (Some(IpAddr::V6(source)), IpAddr::V6(target)) => {
                let word = 6 << 28 | u32::from(class) << 20 | flow_label(self.flow_hash);
                out.extend(word.to_be_bytes());
                out.extend(((udp.len() + length) as u16).to_be_bytes());
                out.extend([protocol, 64]);
                out.extend(source.octets());
                out.extend(target.octets());
            }
            _ => {}
        }
        out.extend(udp);
        out.extend(inner);
        out
    }
}

/// One hop less; a header checksum that was right stays right (RFC 1624, equation 3).
fn count_down(ip: &mut [u8], v4: bool) {
    if !v4 {
        ip[7] -= 1;
        return;
    }
    let before = u16::from_be_bytes([ip[8], ip[9]]);
    ip[8] -= 1;
    let after = u16::from_be_bytes([ip[8], ip[9]]);
    let old = u16::from_be_bytes([ip[10], ip[11]]);
    let mut sum = u32::from(!old) + u32::from(!before) + u32::from(after);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
