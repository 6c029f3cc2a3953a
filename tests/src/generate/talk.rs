//! Packets of clients and services between few ends, so that connections begin, go on and end; and answers to
//! what came out.

use super::{TTLS, mutate};
use crate::model::{Parsed, parse};
use crate::packet::Frame;
use crate::random::Random;

/// Behind each interface, of an unknown neighbour, and beyond all routes. Some are targets as well.
const CLIENTS: [&str; 10] = [
    "198.18.0.12",
    "198.18.1.12",
    "198.18.2.11",
    "198.18.2.99",
    "192.0.2.7",
    "2001:db8:f0::12",
    "2001:db8:f1::12",
    "2001:db8:f2::11",
    "2001:db8:f2::99",
    "2001:db8::1",
];
const SERVICES: [&str; 4] = ["10.1.2.3", "192.0.2.255", "2001:db8::2", "2001:db8:1::1"];
const CLIENT_PORTS: [u16; 3] = [0, 1_024, 65_535];
const SERVICE_PORTS: [u16; 4] = [0, 53, 80, 443];
/// SYN, SYN-ACK, ACK, FIN-ACK, RST; what carries data above all.
const FLAGS: [u8; 10] = [0x02, 0x02, 0x12, 0x10, 0x10, 0x18, 0x18, 0x11, 0x11, 0x04];

/// What a client sends to a service.
#[must_use]
pub fn asked(random: &mut Random) -> Vec<u8> {
    let client = *random.pick(&CLIENTS);
    let of_family: Vec<_> =
        SERVICES.iter().filter(|service| service.contains(':') == client.contains(':')).collect();
    let service = **random.pick(&of_family);
    let protocol = *random.pick(&[6, 6, 6, 17, 17, 17, 1, 132, 47]);
    let (from, to) = (*random.pick(&CLIENT_PORTS), *random.pick(&SERVICE_PORTS));
    dressed(random, &|random| {
        let frame = Frame::new().ip(client, service);
        let echo = if client.contains(':') { 128 } else { 8 };
        carrying(random, frame, (protocol, echo), (from, to))
    })
}

/// What a client may send next, or whoever got a packet may answer; nothing where it was none.
#[must_use]
pub fn next(random: &mut Random, frame: &[u8], answers: bool) -> Option<Vec<u8>> {
    let Parsed { mut source, mut destination, mut ports, icmp, identifier, protocol, .. } =
        parse(frame, false).ok()?;
    let mut kind = icmp.map_or(0, |(kind, _)| kind);
    if answers {
        (source, destination) = (destination, source);
        ports = ports.map(|(from, to)| (to, from));
        kind = match kind {
            8 => 0,
            128 => 129,
            kind => kind,
        };
    }
    let ports = ports.unwrap_or((identifier.unwrap_or(0), 0));
    Some(dressed(random, &|random| {
        let frame = Frame::new().ip(&source.to_string(), &destination.to_string());
        carrying(random, frame, (protocol, kind), ports)
    }))
}

/// Behind tags, with few hops, in fragments, damaged: each now and then.
fn dressed(random: &mut Random, make: &dyn Fn(&mut Random) -> Frame) -> Vec<u8> {
    let mut frame = make(random);
    if random.chance(1, 6) {
        frame = frame.hop_limit(*random.pick(&TTLS));
    }
    if random.chance(1, 6) {
        frame = frame.tag(7);
    }
    if random.chance(1, 3) {
        frame = frame.may_be_fragmented();
    }
    if random.chance(1, 10) {
        frame = frame.fragment(0, true).identification(random.below(2) as u32);
    }
    if random.chance(1, 8) {
        frame = frame.trailer(random.below(20));
    }
    let checksum = frame.l4_offset() + 6;
    let mut bytes = frame.bytes();
    if random.chance(1, 20) && checksum + 2 <= bytes.len() {
        bytes[checksum..checksum + 2].fill(0);
    }
    if random.chance(1, 12) {
        mutate(random, &mut bytes);
    }
    bytes
}

/// Now and then a later fragment.
fn carrying(
    random: &mut Random,
    mut frame: Frame,
    (protocol, kind): (u8, u8),
    (from, to): (u16, u16),
) -> Frame {
    if random.chance(1, 10) {
        let number = if protocol == 1 && kind >= 128 { 58 } else { protocol };
        let offset = 1 + random.below(20) as u16;
        return frame
            .raw(number, &[5; 64])
            .fragment(offset, random.chance(1, 2))
            .identification(random.below(2) as u32);
    }
    if random.chance(1, 8) {
        frame = frame.options(1 + random.below(10));
    }
    let length = *random.pick(&[0, 1, 8, 33, 64, 560, 600, 1_200, 1_300, 1_480]);
    match protocol {
        6 => frame.tcp(from, to).tcp_with(*random.pick(&FLAGS), random.below(21)).payload(length),
        17 => frame.udp(from, to).payload(length),
        132 => frame.sctp(from, to).payload(length),
        1 | 58 => {
            let kind = if random.chance(1, 10) { 3 } else { kind };
            let frame = if kind >= 128 { frame.icmpv6(kind, 0) } else { frame.icmp(kind, 0) };
            frame.identifier(from | to).payload(length)
        }
        other => frame.raw(other, &vec![9; length]),
    }
}
