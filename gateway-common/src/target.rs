//! Which target of a pool a packet goes to: the half that is a pure function of the packet. The other
//! half is the Maglev table (Eisenbud et al., 2016), which user space fills.

use crate::hash::{finish, fold};
use crate::image::HashOver;
use crate::packet::{Packet, flags};

/// The seed, the same on every gateway, so that several that share an address choose the same target.
/// Nobody gains by knowing it: who can choose addresses and ports can choose a target anyway.
const SEED: u64 = 0x6761_7465_7761_7921;

/// The hash that chooses. ICMP's type and code do not count. A later fragment has the ports of the first one
/// that it follows ([`crate::fragment`]): all fragments of a packet reach the target of its flow.
#[inline(always)]
#[must_use]
pub const fn hash(over: u8, packet: &Packet) -> u64 {
    let state = addresses(over, packet);
    if over != HashOver::FiveTuple as u8 {
        return finish(state);
    }
    let ports = if packet.flags & flags::HAS_PORTS == 0 {
        0
    } else {
        (packet.source_port as u64) << 16 | packet.port as u64
    };
    finish(fold(state, (packet.protocol as u64) << 32 | ports))
}

/// The addresses that count, folded. Two IPv4 addresses make one word.
#[inline(always)]
const fn addresses(over: u8, packet: &Packet) -> u64 {
    let ([source, rest], [destination, last]) = (packet.source, packet.destination);
    let with_destination = over != HashOver::Source as u8;
    if packet.family != 6 {
        return fold(SEED, if with_destination { source | destination >> 32 } else { source });
    }
    let state = fold(fold(SEED, source), rest);
    if with_destination { fold(fold(state, destination), last) } else { state }
}

/// The element of a table of `size` elements: below `size`, or 0 where that is 0.
#[inline(always)]
#[must_use]
pub const fn element(hash: u64, size: u32) -> u32 {
    (((hash >> 32) * size as u64) >> 32) as u32
}

/// UDP source port of a wrapped flow, 49,152 to 65,535: what routers and receive queues between here and
/// the target tell flows apart by.
#[inline(always)]
#[must_use]
pub const fn source_port(flow_hash: u64) -> u16 {
    0xc000 | flow_hash as u16
}

/// IPv6 flow label of a wrapped flow, 20 bits, for the same purpose (RFC 6438).
#[inline(always)]
#[must_use]
pub const fn flow_label(flow_hash: u64) -> u32 {
    flow_hash as u32 & 0xf_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{ipv4_address, protocol};

    fn packet(source_port: u16) -> Packet {
        Packet {
            source: ipv4_address(0xc000_0201),
            destination: ipv4_address(0xc633_6401),
            source_port,
            port: 80,
            family: 4,
            protocol: protocol::TCP,
            flags: flags::HAS_PORTS,
            ..Packet::default()
        }
    }

    #[test]
    fn what_is_hashed_over_counts_and_nothing_else() {
        let five = HashOver::FiveTuple as u8;
        assert_ne!(hash(five, &packet(1)), hash(five, &packet(2)));
        for over in [HashOver::Source as u8, HashOver::SourceDestination as u8] {
            assert_eq!(hash(over, &packet(1)), hash(over, &packet(2)));
        }
        let elsewhere = Packet { destination: ipv4_address(0xc633_6402), ..packet(1) };
        assert_eq!(hash(HashOver::Source as u8, &packet(1)), hash(HashOver::Source as u8, &elsewhere));
        let both = HashOver::SourceDestination as u8;
        assert_ne!(hash(both, &packet(1)), hash(both, &elsewhere));
    }

    #[test]
    fn every_fragment_of_a_packet_has_its_flows_hash() {
        let five = HashOver::FiveTuple as u8;
        let first = Packet { flags: flags::HAS_PORTS | flags::FIRST_FRAGMENT, ..packet(7) };
        let mut later = Packet { flags: flags::LATER_FRAGMENT, source_port: 0, port: 0, ..packet(7) };
        crate::fragment::follow(&mut later, 7 << 16 | 80);
        for fragment in [first, later] {
            assert_eq!(hash(five, &fragment), hash(five, &packet(7)));
        }
    }

    #[test]
    fn elements_are_all_met_and_none_is_outside() {
        let size = 251;
        let mut met = vec![0_u32; size as usize];
        for port in 0..=u16::MAX {
            met[element(hash(HashOver::FiveTuple as u8, &packet(port)), size) as usize] += 1;
        }
        // 261 on average; the chance of one outside of this is below one in a million.
        assert!(met.iter().all(|count| (160..380).contains(count)), "{met:?}");
        assert_eq!(element(u64::MAX, size), size - 1);
        assert_eq!(element(u64::MAX, 0), 0);
    }

    #[test]
    fn source_ports_are_dynamic_ones() {
        assert_eq!((source_port(0), source_port(u64::MAX)), (49_152, 65_535));
    }
}
