//! What senders are told of packets that cannot go on: ICMP errors of the gateway's own.

use super::pools::{POLICY, V4, V6, outer4};
use super::{Row, Sequence, Step};
use crate::packet::checksum::internet;
use crate::packet::{DESTINATION_MAC, Extension, Frame, SOURCE_MAC};
use gateway_common::reason::Reason;

/// The interface's own addresses, see [`crate::ways`].
const OWN: (&str, &str) = ("198.18.0.1", "2001:db8:f0::1");
/// Type and code.
const TIME_EXCEEDED: (u8, u8) = (11, 0);
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
const TIME_EXCEEDED_V6: (u8, u8) = (3, 0);
const PACKET_TOO_BIG: (u8, u8) = (2, 0);

/// The error about a frame from one of these addresses, which came between the builder's MAC addresses:
/// type, code, and MTU.
pub(super) fn error(frame: &Frame, to: &str, (kind, code): (u8, u8), mtu: u32) -> Vec<u8> {
    let six = to.contains(':');
    let (bytes, offset) = (frame.bytes(), frame.l3_offset());
    let original = &bytes[offset..];
    // 576 bytes in all, or 1,280.
    let quoted = &original[..original.len().min(if six { 1_280 - 40 - 8 } else { 576 - 20 - 8 })];
    let mut message = vec![kind, code, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    let packet = if six {
        let pseudo = Frame::new().ipv6(OWN.1, to).bytes()[14 + 8..14 + 40].to_vec();
        let length = (message.len() as u32).to_be_bytes();
        let sum = internet(&[&pseudo, &length, &[0, 58], &message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let ip = Frame::new().ipv6(OWN.1, to).traffic_class(0xc0).raw(58, &message);
        ip.bytes()[14..].to_vec()
    } else {
        let sum = internet(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        outer4((OWN.0, to), 0xc0, 0x4000, 1, &message)
    };
    [&SOURCE_MAC[..], &DESTINATION_MAC[..], &bytes[12..offset], &packet].concat()
}

/// The error that a time to live has ended.
pub(super) fn time_exceeded(frame: &Frame, to: &str) -> Vec<u8> {
    error(frame, to, if to.contains(':') { TIME_EXCEEDED_V6 } else { TIME_EXCEEDED }, 0)
}

/// The error that a packet is too big.
pub(super) fn too_big(frame: &Frame, to: &str, mtu: u32) -> Vec<u8> {
    error(frame, to, if to.contains(':') { PACKET_TOO_BIG } else { FRAGMENTATION_NEEDED }, mtu)
}

fn named(name: &str, frame: &Frame) -> Row {
    Row::new(format!("errors: {name}"), POLICY, frame.bytes())
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let v4 = || Frame::new().ip(V4.0, V4.1).hop_limit(1);
    let v6 = || Frame::new().ip(V6.0, V6.1).hop_limit(1);
    let ended = [
        ("IPv4 UDP of an odd length", V4.0, v4().udp(9, 1).payload(33)),
        ("IPv4 TCP", V4.0, v4().tcp(9, 1).payload(100)),
        ("tagged IPv4 with options", V4.0, v4().tag(7).options(10).udp(9, 1)),
        ("twice tagged IPv4 TCP", V4.0, v4().tag(7).tag(8).tcp(9, 1).payload(7)),
        ("a first fragment", V4.0, v4().udp(9, 1).payload(64).fragment(0, true)),
        ("IPv4 that is quoted to its last byte", V4.0, v4().udp(9, 1).payload(520)),
        ("IPv4 that is not quoted whole", V4.0, v4().udp(9, 1).payload(521)),
        ("a long IPv4 packet", V4.0, v4().udp(9, 1).payload(1_400)),
        ("a padded packet", V4.0, v4().udp(9, 1).trailer(18)),
        ("IPv6 UDP of an odd length", V6.0, v6().udp(9, 1).payload(33)),
        ("tagged IPv6 TCP", V6.0, v6().tag(7).tcp(9, 1).payload(100)),
        ("twice tagged IPv6 behind options", V6.0, {
            v6().tag(7).tag(8).extension(Extension::Destination(2)).udp(9, 1)
        }),
        ("IPv6 that is quoted to its last byte", V6.0, v6().udp(9, 1).payload(1_184)),
        ("IPv6 that is not quoted whole", V6.0, v6().udp(9, 1).payload(1_185)),
    ];
    for (name, from, frame) in ended {
        let whole = if name.contains("padded") { v4().udp(9, 1) } else { frame.clone() };
        let row = named(&format!("no hop left, {name}"), &frame).route("ip4").dropped(Reason::TtlExceeded);
        rows.push(row.told(time_exceeded(&whole, from)));
    }
    // Of 1,280 bytes of way 48 go to the outer header: less than every link of IPv6 takes.
    let frame = |length: usize, port: u16| Frame::new().ip(V6.0, V6.1).udp(9, port).payload(length - 48);
    let row = named("IPv6 too big, told what every link takes", &frame(1_281, 8)).route("narrow6");
    rows.push(row.dropped(Reason::TooBig).told(too_big(&frame(1_281, 8), V6.0, 1_280)));
    let row = named("IPv6 too big, and no smaller than it may be", &frame(1_280, 8)).route("narrow6");
    rows.push(row.dropped(Reason::TooBig));
    let row = named("IPv6 too big for the outer header", &frame(1_481, 1)).route("ip4");
    rows.push(row.dropped(Reason::TooBig).told(too_big(&frame(1_481, 1), V6.0, 1_480)));
    let row = named("IPv6 too big for the way, in IPv4", &frame(1_281, 7)).route("narrow4");
    rows.push(row.dropped(Reason::TooBig).told(too_big(&frame(1_281, 7), V6.0, 1_280)));
    let frame = Frame::new().tag(9).ip(V4.0, V4.1).tcp(9, 4).payload(1_460);
    let row = named("tagged IPv4 too big for UDP over IPv6", &frame).route("gue6");
    rows.push(row.dropped(Reason::TooBig).told(too_big(&frame, V4.0, 1_452)));
    silent(&mut rows);
    rows
}

/// Packets that nobody is told about.
fn silent(rows: &mut Vec<Row>) {
    let to = "198.51.100.1";
    let icmp =
        |kind: u8, code: u8| Frame::new().ip("203.0.113.9", to).hop_limit(1).icmp(kind, code).payload(28);
    let mut push = |name: &str, route: &str, frame: Frame, told: Option<Vec<u8>>| {
        let row = named(name, &frame).route(route).dropped(Reason::TtlExceeded);
        rows.push(match told {
            Some(error) => row.told(error),
            None => row,
        });
    };
    let request = icmp(8, 0);
    push("an echo request", "later", request.clone(), Some(time_exceeded(&request, "203.0.113.9")));
    for (kind, code) in [(3, 3), (4, 0), (5, 1), (11, 0), (12, 0), (42, 0)] {
        push(&format!("an ICMP message of type {kind}"), "later", icmp(kind, code), None);
    }
    let udp = |source: &str, destination: &str| Frame::new().ip(source, destination).hop_limit(1).udp(9, 1);
    push("to a group", "ip4", udp(V4.0, "233.252.0.1"), None);
    push("to a group of IPv6", "ip4", udp(V6.0, "ff0e::1"), None);
    push("to the broadcast address", "ip4", udp(V4.0, "255.255.255.255"), None);
    push("from a reserved address", "ip4", udp("240.0.0.1", V4.1), None);
    push("from nobody", "ip4", udp("::", V6.1), None);
    push("to a group of the link", "ip4", udp(V4.0, V4.1).macs(SOURCE_MAC, [1, 0, 0x5e, 0, 0, 1]), None);
    let later = Frame::new().ip("203.0.113.9", to).hop_limit(1).raw(47, &[1; 80]).fragment(9, true);
    push("a later fragment", "later", later, None);
}

/// Only so many are told.
pub(super) fn sequences() -> Vec<Sequence> {
    const MILLISECOND: u64 = 1_000_000;
    let frame = Frame::new().ip(V6.0, V6.1).hop_limit(1).udp(9, 1);
    let step = |(i, at_ns): (usize, u64)| {
        let row = named(&format!("so many at once, packet {}", i + 1), &frame).route("ip4");
        let row = row.dropped(Reason::TtlExceeded);
        let told = i != 100 && i != 103;
        Step { at_ns, row: if told { row.told(time_exceeded(&frame, V6.0)) } else { row.suppressed() } }
    };
    let later = [1, 2, 2].map(|at| at * MILLISECOND + 1_000);
    let steps = std::iter::repeat_n(0, 101).chain(later).enumerate().map(step).collect();
    vec![Sequence { name: "errors: so many at once".to_owned(), steps }]
}
