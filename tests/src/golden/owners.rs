//! ICMP errors of others: about what a target answered they go to that target, about wrapped packets they tell
//! the path's MTU.

use super::errors::too_big;
use super::pools::{POLICY, V4, V6, inner, macs, outer4, to_next_hop};
use super::{Row, Sequence, Step, TARGET, TARGET_WITHOUT_XDP};
use crate::packet::checksum::internet;
use crate::packet::{Extension, Frame};
use gateway_common::reason::Reason;

/// Routers that have something to tell.
const ROUTER: (&str, &str) = ("192.0.2.33", "2001:db8:33::1");

/// An ICMP error of this type, code and rest of header, to this address, which quotes so many bytes of a
/// frame's packet.
fn error(to: &str, kind: (u8, u8), rest: u32, about: &Frame, bytes: usize) -> Frame {
    let packet = about.bytes()[about.l3_offset()..].to_vec();
    quoting(Frame::new(), to, kind, rest, &packet[..bytes.min(packet.len())])
}

/// The same of these bytes, behind what a frame has.
pub(super) fn quoting(frame: Frame, to: &str, (kind, code): (u8, u8), rest: u32, packet: &[u8]) -> Frame {
    let six = to.contains(':');
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(packet);
    let frame = frame.ip(if six { ROUTER.1 } else { ROUTER.0 }, to);
    let sum = if six {
        let addresses = frame.bytes()[14 + 8..14 + 40].to_vec();
        internet(&[&addresses, &(message.len() as u32).to_be_bytes(), &[0, 58], &message])
    } else {
        internet(&[&message])
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    frame.raw(if six { 58 } else { 1 }, &message)
}

fn named(name: &str, frame: &Frame) -> Row {
    Row::new(format!("owners: {name}"), POLICY, frame.bytes()).by_default()
}

/// What the target answers: from the service to the client.
fn answer(ends: (&str, &str), port: u16) -> Frame {
    Frame::new().ip(ends.1, ends.0).tcp(port, 9).tcp_with(0x10, 0).payload(400)
}

/// The row of an error that goes to the target of this port's pool.
fn sent(row: Row, frame: &Frame, port: u16) -> Row {
    let packet = inner(frame, 63);
    if port == 5 {
        return row.sent_to("l2/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 12), &packet));
    }
    let protocol = if packet[0] >> 4 == 4 { 4 } else { 41 };
    let out = outer4(("203.0.113.77", "198.18.1.11"), 0, 0x4000, protocol, &packet);
    row.sent_to("ip4/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 11), &out))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let families =
        [("IPv4", V4, [(3, 1), (3, 4), (11, 0), (12, 0)]), ("IPv6", V6, [(1, 4), (2, 0), (3, 0), (4, 1)])];
    for (name, ends, kinds) in families {
        for (i, kind) in kinds.into_iter().enumerate() {
            for port in [1, 5] {
                let frame = error(ends.1, kind, 1_400, &answer(ends, port), if i == 0 { 48 } else { 500 });
                let row =
                    named(&format!("{name} {kind:?} about an answer of the pool at port {port}"), &frame);
                rows.push(sent(row, &frame, port));
            }
        }
        strays(&mut rows, name, ends, kinds[0]);
        let first = answer(ends, 1).fragment(0, true);
        let frame = error(ends.1, kinds[0], 0, &first, 500);
        rows.push(sent(named(&format!("{name}, about a first fragment"), &frame), &frame, 1));
        let frame = error(ends.1, kinds[0], 0, &answer(ends, 14), 500);
        rows.push(named(&format!("{name}, of a pool without targets"), &frame).dropped(Reason::NoTarget));
        // Nobody is told of an error.
        let frame = error(ends.1, kinds[0], 0, &answer(ends, 1), 500).hop_limit(1);
        rows.push(named(&format!("{name}, with no hop left"), &frame).dropped(Reason::TtlExceeded));
    }
    // The service of a route that names any protocol, so that errors are the route's too.
    let ends = (V4.0, "198.51.100.7");
    let of_route = |name: &str, frame: &Frame| named(name, frame).route("later");
    let frame = error(ends.1, (3, 1), 0, &answer(ends, 5), 500);
    rows.push(sent(
        of_route("that a pool's route names, about an answer of another pool", &frame),
        &frame,
        5,
    ));
    let frame = error(ends.1, (3, 1), 0, &answer(ends, 99), 500);
    rows.push(sent(of_route("that a pool's route names, about an answer of its own", &frame), &frame, 1));
    let frame = error(ends.1, (3, 1), 0, &answer(ends, 5), 27);
    rows.push(sent(of_route("that a pool's route names, and that quotes too little", &frame), &frame, 1));
    let frame = error(V4.1, (3, 1), 0, &answer(V4, 1).options(10), 68);
    rows.push(sent(named("about an answer with options", &frame), &frame, 1));
    for (count, known) in [(3, true), (4, false)] {
        let deep = Frame::new().ip(V6.1, V6.0);
        let deep = (0..count).fold(deep, |frame, _| frame.extension(Extension::Destination(1)));
        let frame = error(V6.1, (1, 0), 0, &deep.tcp(1, 9), 500);
        let row = named(&format!("about an answer behind {count} extension headers"), &frame);
        rows.push(if known { sent(row, &frame, 1) } else { row });
    }
    rows
}

/// Errors that are nobody's.
fn strays(rows: &mut Vec<Row>, name: &str, ends: (&str, &str), kind: (u8, u8)) {
    let four = name == "IPv4";
    let mut stays = |what: &str, frame: Frame| rows.push(named(&format!("{name}, {what}"), &frame));
    let about = answer(ends, 1);
    let elsewhere = if four { "203.0.113.99" } else { "2001:db8:1::99" };
    stays("to another than the sender", error(elsewhere, kind, 0, &about, 500));
    stays("about what is for no pool", error(ends.1, kind, 0, &answer(ends, 99), 500));
    stays("of a kind for neighbours", error(ends.1, (if four { 5 } else { 137 }, 0), 0, &about, 500));
    stays("that quotes too little", error(ends.1, kind, 0, &about, if four { 27 } else { 47 }));
    stays("that quotes nothing", error(ends.1, kind, 0, &about, 0));
    let other = answer(if four { V6 } else { V4 }, 1);
    stays("that quotes another family", error(ends.1, kind, 0, &other, 500));
    let rest = Frame::new().ip(ends.1, ends.0).raw(6, &[1; 80]).fragment(9, true);
    stays("about a later fragment", error(ends.1, kind, 0, &rest, 500));
}

/// The pools of the learning, whose targets no other row has.
const NARROWED: &str = "\
version: 1
pools:
  four: {forward: ipip, source: 203.0.113.77, targets: [{name: a, address: 198.18.2.12}]}
  six: {forward: gue, source: '2001:db8:ff::77', targets: [{name: a, address: '2001:db8:f2::12'}]}
routes:
  - {name: four, match: {protocol: udp, port: 1}, action: {pool: four}}
  - {name: six, match: {protocol: udp, port: 2}, action: {pool: six}}
default: pass
";

/// A path becomes narrower than its first hop.
pub(super) fn sequences() -> Vec<Sequence> {
    let row = |name: &str, frame: &Frame| Row::new(format!("owners: {name}"), NARROWED, frame.bytes());
    let packet = |length: usize, port: u16| Frame::new().ip(V4.0, V4.1).udp(9, port).payload(length - 28);
    let wrapped4 = |length: usize| {
        Frame::new().ip("203.0.113.77", "198.18.2.12").raw(4, &packet(length - 20, 1).bytes()[14..])
    };
    let wrapped6 = |length: usize| {
        Frame::new().ip("2001:db8:ff::77", "2001:db8:f2::12").udp(50_000, 6_080).payload(length - 48)
    };
    let told4 = |mtu: u32, about: &Frame| error("203.0.113.77", (3, 4), mtu, about, 100);
    let told6 = |mtu: u32, about: &Frame| error("2001:db8:ff::77", (2, 0), mtu, about, 500);
    let sent4 = |name: &str| {
        let frame = packet(1_480, 1);
        let out = outer4(("203.0.113.77", "198.18.2.12"), 0, 0x4000, 4, &inner(&frame, 63));
        let row = row(name, &frame).route("four").sent_to("four/a", Some(TARGET_WITHOUT_XDP));
        row.comes_out_as(to_next_hop(macs(2, 12), &out))
    };
    let big = |name: &str, length: usize, port: u16, mtu: u32| {
        let frame = packet(length, port);
        let row = row(name, &frame).route(if port == 1 { "four" } else { "six" });
        row.dropped(Reason::TooBig).told(too_big(&frame, V4.0, mtu))
    };
    let passes = |name: &str, frame: &Frame| row(name, frame).by_default();
    let other = Frame::new().ip("203.0.113.78", "198.18.2.12").raw(4, &[1; 1_000]);
    let rows = vec![
        sent4("a path as wide as its first hop"),
        passes("about a packet that another has sent", &error("203.0.113.78", (3, 4), 900, &other, 100)),
        passes("an MTU that the packet kept to", &told4(1_400, &wrapped4(1_400))),
        passes("an MTU that no link has", &told4(67, &wrapped4(1_500))),
        sent4("nothing of this is believed"),
        passes("an MTU of 1,400", &told4(1_400, &wrapped4(1_500))),
        big("then 1,380 are left", 1_480, 1, 1_380),
        passes("a larger MTU", &told4(1_450, &wrapped4(1_500))),
        big("it does not grow", 1_480, 1, 1_380),
        passes("an MTU of 1,300", &told4(1_300, &wrapped4(1_400))),
        big("but becomes smaller", 1_480, 1, 1_280),
        passes("an MTU of IPv6 that no link has", &told6(1_279, &wrapped6(1_500))),
        passes("an MTU of 1,350 over IPv6", &told6(1_350, &wrapped6(1_500))),
        big("then 1,302 are left", 1_452, 2, 1_302),
    ];
    let steps = rows.into_iter().map(|row| Step { at_ns: 0, row }).collect();
    vec![Sequence { name: "owners: a path becomes narrower".to_owned(), steps }]
}
