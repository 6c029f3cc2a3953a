//! Random frames: right ones, and right ones that were damaged. Purely random bytes find little,
//! since nearly all of them fall to the first check.

use super::{DSCPS, FLOW_LABELS, PORTS, PREFIXES, PROTOCOLS, TCP_FLAGS, TTLS, VLANS};
use crate::model::parse;
use crate::packet::{Extension, Frame, TPID_CUSTOMER, TPID_OLD, TPID_SERVICE};
use crate::random::Random;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Damage is done within so many bytes: there the headers are.
const HEADERS_END: usize = 120;

/// A frame; every other one well formed, the others damaged.
#[must_use]
pub fn frame(random: &mut Random) -> Vec<u8> {
    let mut bytes = well_formed(random);
    if random.chance(1, 2) {
        mutate(random, &mut bytes);
    }
    bytes
}

/// A frame that most checks let through.
#[must_use]
pub fn well_formed(random: &mut Random) -> Vec<u8> {
    let frame = whole(random);
    let mut bytes = frame.bytes();
    // A checksum that a sender left out, or a UDP datagram of which nobody can say.
    let checksum = frame.l4_offset() + 6;
    if random.chance(1, 40) && checksum + 2 <= bytes.len() {
        bytes[checksum..checksum + 2].fill(0);
    }
    bytes
}

/// The first and a later fragment of a packet, its transport header in the first one alone.
#[must_use]
pub fn fragments(random: &mut Random) -> [Vec<u8>; 2] {
    let v6 = random.chance(1, 2);
    let ends = (address(random, v6), address(random, v6));
    let frame = |random: &mut Random| {
        let frame = Frame::new().ip(&ends.0, &ends.1).hop_limit(*random.pick(&TTLS));
        // Now and then the fragments of two packets.
        frame.identification(random.below(2) as u32)
    };
    let (source, destination) = (*random.pick(&PORTS), *random.pick(&PORTS));
    let (first, protocol) = match random.below(5) {
        0 => (frame(random).tcp(source, destination).tcp_with(*random.pick(&TCP_FLAGS), 0).payload(100), 6),
        1 | 2 => (frame(random).udp(source, destination).payload(64), 17),
        3 if v6 => (frame(random).icmpv6(128, 0).payload(64), 58),
        3 => (frame(random).icmp(8, 0).payload(64), 1),
        _ => (frame(random).sctp(source, destination).payload(52), 132),
    };
    let later = frame(random).raw(protocol, &[3; 64]).fragment(20, random.chance(1, 2));
    [first.fragment(0, true).bytes(), later.bytes()]
}

/// An ICMP error about the answer to a frame's packet, if it is one of IP.
#[must_use]
pub fn error_about(random: &mut Random, frame: &[u8]) -> Option<Vec<u8>> {
    let packet = parse(frame, false).ok()?;
    let v6 = packet.source.is_ipv6();
    let (from, to) = (packet.destination.to_string(), packet.source.to_string());
    let answer = Frame::new().ip(&from, &to);
    let (port, back) = packet.ports.unwrap_or_default();
    let answer = match packet.protocol {
        6 => answer.tcp(back, port).tcp_with(0x12, 0),
        17 => answer.udp(back, port),
        132 => answer.sctp(back, port),
        1 => answer.icmp(*random.pick(&[0, 0, 8]), 0),
        58 => answer.icmpv6(*random.pick(&[129, 129, 128]), 0),
        other => answer.raw(other, &[5; 16]),
    };
    let mut answer = answer.bytes()[14..].to_vec();
    if random.chance(1, 4) {
        mutate(random, &mut answer);
    }
    let kind = if v6 { *random.pick(&[1, 2, 3, 4, 5]) } else { *random.pick(&[3, 4, 5, 11, 12]) };
    let mut message = vec![kind, random.below(5) as u8, 0, 0];
    message.extend((*random.pick(&[0_u32, 1_280, 1_400])).to_be_bytes());
    message.extend(answer);
    let error = Frame::new().ip(&address(random, v6), &from).hop_limit(*random.pick(&TTLS));
    Some(error.raw(if v6 { 58 } else { 1 }, &message).bytes())
}

/// Changes up to three header bytes, or cuts the frame, or both.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    if random.chance(2, 3) {
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len().min(HEADERS_END));
            bytes[at] = match random.below(4) {
                0 => random.bits() as u8,
                1 => bytes[at] ^ 1 << random.below(8),
                2 => bytes[at].wrapping_add(1),
                _ => bytes[at].wrapping_sub(1),
            };
        }
    }
    if random.chance(1, 2) {
        let length = if random.chance(1, 2) {
            bytes.len() - random.below(bytes.len().min(24))
        } else {
            1 + random.below(bytes.len())
        };
        bytes.truncate(length.max(14));
    }
}

fn whole(random: &mut Random) -> Frame {
    let mut frame = Frame::new();
    for _ in 0..*random.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3]) {
        let ethertype = *random.pick(&[TPID_CUSTOMER, TPID_SERVICE, TPID_OLD]);
        let priority = random.bits() as u16 & 0xf000;
        frame = frame.tag_of(ethertype, priority | random.pick(&VLANS));
    }
    if random.chance(1, 20) {
        let ethertype = *random.pick(&[0x0806, 0x88cc, 0x8847, 0x0600, 0x86de]);
        return frame.other(ethertype, &[0x45; 46]);
    }
    let v6 = random.chance(1, 2);
    let source = address(random, v6);
    let destination = if random.chance(1, 30) { source.clone() } else { address(random, v6) };
    frame = frame.ip(&source, &destination).hop_limit(*random.pick(&TTLS));
    frame = frame.traffic_class(random.pick(&DSCPS) << 2 | random.bits() as u8 & 3);
    if v6 {
        frame = frame.flow_label(*random.pick(&FLOW_LABELS));
        frame = extensions(random, frame);
    } else if random.chance(1, 3) {
        frame = frame.options(random.below(11));
    }
    if random.chance(1, 3) {
        frame = frame.may_be_fragmented();
    }
    frame = transport(random, frame);
    if random.chance(1, 5) {
        let offset = *random.pick(&[0, 0, 1, 1, 2, 185, 8188, 8189, 8190, 8191]);
        frame = frame.fragment(offset, random.chance(1, 2));
    }
    if random.chance(1, 4) {
        frame = frame.trailer(random.below(30));
    }
    frame
}

fn extensions(random: &mut Random, mut frame: Frame) -> Frame {
    let count = *random.pick(&[0, 0, 0, 1, 1, 2, 3, 5, 6, 7]);
    for i in 0..count {
        let units = 1 + random.below(3) as u8;
        frame = frame.extension(match random.below(12) {
            // Behind another header it is malformed: now and then is enough.
            0 if i == 0 || random.chance(1, 3) => Extension::HopByHop(units),
            1 if i == 0 => Extension::HopByHop(units),
            2 => Extension::Fragment(0, random.chance(1, 4)),
            3 | 4 => Extension::Routing(units),
            5 | 6 => Extension::Authentication(units + 1),
            _ => Extension::Destination(units),
        });
    }
    frame
}

fn transport(random: &mut Random, frame: Frame) -> Frame {
    let source = *random.pick(&PORTS);
    let destination = if random.chance(1, 6) { source } else { *random.pick(&PORTS) };
    // The last is too long for what verifies checksums.
    let length = *random.pick(&[0, 0, 1, 7, 8, 16, 24, 63, 64, 100, 100, 1_400, 2_050]);
    let icmp = [0, 3, 8, 11, 128, 129, 133, 135, 255, random.bits() as u8];
    let (kind, code) = (*random.pick(&icmp), random.below(5) as u8);
    let identifier = random.below(3) as u16;
    match random.below(10) {
        0..3 => {
            let known = *random.pick(&TCP_FLAGS);
            let flags = if random.chance(1, 10) { random.bits() as u8 } else { known };
            let frame = frame.tcp(source, destination).tcp_with(flags, random.below(41));
            let mss =
                [&[1; 3][..random.below(4)], &[2, 4, random.bits() as u8 & 7, random.bits() as u8]].concat();
            let frame = if random.chance(1, 3) { frame.tcp_options(&mss) } else { frame };
            let frame = frame.payload(length);
            if random.chance(1, 10) { frame.claim_data_offset(random.below(16) as u8) } else { frame }
        }
        3..6 => {
            let frame = frame.udp(source, destination).payload(length);
            let near = (length + random.below(20)) as u16;
            if random.chance(1, 10) { frame.claim_udp_length(near) } else { frame }
        }
        6 => frame.sctp(source, destination).payload(length),
        7 => frame.icmp(kind, code).identifier(identifier).payload(length),
        8 => frame.icmpv6(kind, code).identifier(identifier).payload(length),
        _ => {
            let bytes: Vec<u8> = (0..random.below(30)).map(|_| random.bits() as u8).collect();
            frame.raw(*random.pick(&PROTOCOLS), &bytes)
        }
    }
}

/// An address at an edge of some prefix; seldom one that no packet may bear.
fn address(random: &mut Random, v6: bool) -> String {
    loop {
        let address = any_address(random, v6);
        let odd = match address {
            IpAddr::V4(address) => matches!(address.octets()[0], 0 | 127 | 224..=239 | 255),
            IpAddr::V6(address) => address.octets()[0] == 0xff || u128::from(address) < 2,
        };
        if !odd || random.chance(1, 10) {
            return address.to_string();
        }
    }
}

/// The first or last address of some prefix, or the one before or behind, or one inside.
fn any_address(random: &mut Random, v6: bool) -> IpAddr {
    let list: Vec<_> = PREFIXES.iter().filter(|prefix| prefix.contains(':') == v6).collect();
    let (network, length) = random.pick(&list).split_once('/').expect("a prefix");
    let (network, width) = match network.parse().expect("an address") {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let host_bits = width - length.parse::<u32>().expect("a length");
    let host_mask = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
    let inside = u128::from(random.bits()) << 64 | u128::from(random.bits());
    let value = match random.below(5) {
        0 => network,
        1 => network | host_mask,
        2 => network.wrapping_sub(1),
        3 => (network | host_mask).wrapping_add(1),
        _ => network | inside & host_mask,
    };
    if v6 { Ipv6Addr::from(value).into() } else { Ipv4Addr::from(value as u32).into() }
}
