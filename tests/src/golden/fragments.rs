//! Fragments of packets for pools: the later ones go where the first one went.

use super::pools::{POLICY, V4, V6, inner, macs, outer4, to_next_hop};
use super::{Row, Sequence, Step, TARGET};
use crate::packet::Frame;
use gateway_common::reason::Reason;

const SECOND: u64 = 1_000_000_000;

fn named(name: &str, frame: &Frame) -> Row {
    Row::new(format!("fragments: {name}"), POLICY, frame.bytes())
}

/// A first fragment for the pool of this port.
fn first((source, destination): (&str, &str), port: u16) -> Frame {
    Frame::new().ip(source, destination).udp(9, port).payload(72).fragment(0, true)
}

/// One that follows it.
fn later((source, destination): (&str, &str), offset: u16, more: bool) -> Frame {
    Frame::new().ip(source, destination).raw(17, &[7; 80]).fragment(offset, more)
}

/// The row of a fragment that goes by `ip4`, or as it is by `l2`.
fn sent(row: Row, frame: &Frame, port: u16) -> Row {
    let packet = inner(frame, 63);
    if port == 5 {
        return row.route("l2").sent_to("l2/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 12), &packet));
    }
    let protocol = if packet[0] >> 4 == 4 { 4 } else { 41 };
    let out = outer4(("203.0.113.77", "198.18.1.11"), 0, 0x4000, protocol, &packet);
    row.route("ip4").sent_to("ip4/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 11), &out))
}

pub(super) fn rows() -> Vec<Row> {
    // Only the route to these addresses needs no ports.
    let ends = ("203.0.113.9", "198.51.100.1");
    let unseen =
        |name: &str, frame: Frame| named(name, &frame).route("later").dropped(Reason::FragmentUnseen);
    let of = |protocol: u8| Frame::new().ip(ends.0, ends.1).raw(protocol, &[1; 80]).fragment(9, true);
    let elsewhere = later(V4, 9, false).identification(77);
    vec![
        unseen("UDP that follows nobody", of(17)),
        unseen("TCP that follows nobody", of(6)),
        unseen("SCTP that follows nobody", of(132)),
        unseen("ICMP that follows nobody", of(1)),
        named("one that is for no pool", &elsewhere).by_default(),
    ]
}

/// A fragment and what becomes of it: it goes to the pool of this port, or is for no pool (0), or follows
/// nobody (`None`).
type Shot = (u64, Frame, Option<u16>);

fn sequence(name: &str, shots: Vec<Shot>) -> Sequence {
    let step = |(i, (at_ns, frame, port)): (usize, Shot)| {
        let row = named(&format!("{name}, packet {}", i + 1), &frame);
        let row = match port {
            Some(0) => row.by_default(),
            Some(port) => sent(row, &frame, port),
            None => row.route("later").dropped(Reason::FragmentUnseen),
        };
        Step { at_ns, row }
    };
    Sequence { name: name.to_owned(), steps: shots.into_iter().enumerate().map(step).collect() }
}

pub(super) fn sequences() -> Vec<Sequence> {
    let mut all = Vec::new();
    for (family, ends) in [("IPv4", V4), ("IPv6", V6)] {
        let shots = vec![
            // Nothing tells yet that it is the pool's.
            (0, later(ends, 10, true), Some(0)),
            (0, first(ends, 1), Some(1)),
            (0, later(ends, 10, true), Some(1)),
            (SECOND, later(ends, 20, false), Some(1)),
            // Another packet of another flow between the same hosts.
            (SECOND, first(ends, 5).identification(0x1235), Some(5)),
            (SECOND, later(ends, 10, false).identification(0x1235), Some(5)),
            (SECOND, later(ends, 10, false), Some(1)),
            (SECOND, later(ends, 10, false).identification(0x1236), Some(0)),
            (29 * SECOND, later(ends, 30, false), Some(1)),
            (31 * SECOND, later(ends, 30, false), Some(0)),
            // The same identification again, long after.
            (40 * SECOND, first(ends, 5), Some(5)),
            (69 * SECOND, later(ends, 10, false), Some(5)),
        ];
        all.push(sequence(&format!("{family} fragments follow their first one"), shots));
    }
    let ends = ("203.0.113.9", "198.51.100.1");
    let echo = Frame::new().ip(ends.0, ends.1).icmp(8, 0).payload(72).fragment(0, true);
    let rest = Frame::new().ip(ends.0, ends.1).raw(1, &[7; 80]).fragment(10, false);
    let (of_echo, of_rest) = (inner(&echo, 63), inner(&rest, 63));
    let to = |packet: &[u8]| {
        let out = outer4(("203.0.113.77", "198.18.1.11"), 0, 0x4000, 4, packet);
        to_next_hop(macs(1, 11), &out)
    };
    let row = |what: &str, frame: &Frame| named(&format!("an echo request, {what}"), frame).route("later");
    let sent = |row: Row, packet: &[u8]| row.sent_to("ip4/a", Some(TARGET)).comes_out_as(to(packet));
    let steps = vec![
        Step { at_ns: 0, row: row("before its first", &rest).dropped(Reason::FragmentUnseen) },
        Step { at_ns: 0, row: sent(row("the first", &echo), &of_echo) },
        Step { at_ns: 0, row: sent(row("behind its first", &rest), &of_rest) },
    ];
    all.push(Sequence { name: "fragments of an echo request".to_owned(), steps });
    all
}
