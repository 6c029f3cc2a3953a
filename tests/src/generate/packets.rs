//! Random frames: right ones, and right ones that were damaged. Purely random bytes find little,
//! since nearly all of them fall to the first check.

use super::{PORTS, PREFIXES, PROTOCOLS};
use crate::packet::{Extension, Frame, TPID_CUSTOMER, TPID_OLD, TPID_SERVICE};
use crate::random::Random;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Damage is done within so many bytes: there the headers are.
const HEADERS_END: usize = 120;

/// A frame; every other one well formed, the others damaged.
#[must_use]
pub fn frame(random: &mut Random) -> Vec<u8> {
    let mut bytes = whole(random).bytes();
    if random.chance(1, 2) {
        mutate(random, &mut bytes);
    }
    bytes
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
        frame = frame.tag_of(ethertype, random.bits() as u16);
    }
    if random.chance(1, 20) {
        let ethertype = *random.pick(&[0x0806, 0x88cc, 0x8847, 0x0600, 0x86de]);
        return frame.other(ethertype, &[0x45; 46]);
    }
    let v6 = random.chance(1, 2);
    let (source, destination) = (address(random, v6), address(random, v6));
    frame = frame.ip(&source, &destination);
    if v6 {
        frame = extensions(random, frame);
    } else if random.chance(1, 3) {
        frame = frame.options(random.below(11));
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
    let (source, destination) = (*random.pick(&PORTS), *random.pick(&PORTS));
    let length = *random.pick(&[0, 0, 1, 7, 8, 16, 24, 100]);
    match random.below(10) {
        0..3 => {
            let frame = frame.tcp(source, destination).tcp_with(random.bits() as u8, random.below(41));
            let frame = frame.payload(length);
            if random.chance(1, 10) { frame.claim_data_offset(random.below(16) as u8) } else { frame }
        }
        3..6 => {
            let frame = frame.udp(source, destination).payload(length);
            let near = (length + random.below(20)) as u16;
            if random.chance(1, 10) { frame.claim_udp_length(near) } else { frame }
        }
        6 => frame.sctp(source, destination).payload(length),
        7 => frame.icmp(random.bits() as u8, random.bits() as u8).payload(length),
        8 => frame.icmpv6(random.bits() as u8, random.bits() as u8).payload(length),
        _ => {
            let bytes: Vec<u8> = (0..random.below(30)).map(|_| random.bits() as u8).collect();
            frame.raw(*random.pick(&PROTOCOLS), &bytes)
        }
    }
}

/// The first or last address of some prefix, or the one before or behind, or one inside.
fn address(random: &mut Random, v6: bool) -> String {
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
    if v6 { Ipv6Addr::from(value).to_string() } else { Ipv4Addr::from(value as u32).to_string() }
}
