//! Connections of pools that translate: the ways that their packets take, when they begin, and when they are over.

use super::errors::{time_exceeded, too_big};
use super::translation::{Make, PLAIN, POLICY, SOURCE, Session, at_once, syn, tcp, udp};
use super::{Row, Sequence, Step};
use crate::packet::{DESTINATION_MAC, Frame, SOURCE_MAC};
use gateway_common::reason::Reason;

const SECOND: u64 = 1_000_000_000;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = 0x12;
const RST: u8 = 0x04;

/// Places in the table of a laboratory's connections.
pub const PLACES: usize = 8;

pub(super) fn sequences() -> Vec<Sequence> {
    vec![
        same_port(),
        back_out(),
        neighbour_unknown(),
        up_the_stack(),
        no_way(),
        hops(),
        lengths(),
        one_port_for_two(),
        other_ends(),
        full(),
        over(),
        reset(),
        moved(),
        affinity(),
    ]
}

fn same_port() -> Sequence {
    let session = Session {
        name: "the port stays",
        route: "same",
        target_name: "same/a",
        service: ("203.0.113.10", 2),
        target: ("198.18.1.12", 2),
        there: (1, 12),
        ..PLAIN
    };
    at_once("the port stays", vec![session.opens("SYN", syn), session.back("SYN-ACK", tcp::<SYN_ACK>)])
}

/// The target is where the client is. What the route says of marks holds for its own packets alone.
fn back_out() -> Sequence {
    let session = Session {
        name: "out of the interface that it came from",
        route: "back",
        target_name: "back/a",
        client: ("198.18.0.12", 4_242),
        source: ("198.18.0.12", 4_242),
        service: ("203.0.113.10", 4),
        target: ("198.18.0.11", 4),
        there: (0, 11),
        home: (0, 12),
        ..PLAIN
    };
    let ef = |row: Row| {
        let frame = |hops, macs: ([u8; 6], [u8; 6]), to| {
            let base = Frame::new().macs(macs.0, macs.1).ip("198.18.0.12", to).hop_limit(hops);
            syn(base.traffic_class(46 << 2), (4_242, 4)).bytes()
        };
        row.comes_out_as(frame(63, super::pools::macs(0, 11), "198.18.0.11")).mark(9)
    };
    let rows = vec![
        ef(session.opens("SYN", syn)),
        session.back("SYN-ACK", tcp::<SYN_ACK>),
        ef(session.forward("SYN again", syn)),
    ];
    at_once("out of the interface that it came from", rows)
}

/// With the Ethernet addresses that it came with.
fn unsent(mut row: Row) -> Row {
    if let Some(out) = &mut row.changed {
        out[..12].copy_from_slice(&[DESTINATION_MAC, SOURCE_MAC].concat());
    }
    row
}

fn neighbour_unknown() -> Sequence {
    let there = Session {
        name: "a target whose neighbour is not known",
        route: "silent",
        target_name: "silent/a",
        service: ("203.0.113.10", 6),
        target: ("198.18.1.99", 6),
        there: (1, 99),
        ..PLAIN
    };
    let home = Session {
        name: "a client whose neighbour is not known",
        client: ("198.18.2.99", 4_242),
        source: ("198.18.2.99", 4_242),
        home: (2, 99),
        ..PLAIN
    };
    let rows = vec![
        unsent(there.opens("SYN", syn)).waits(),
        there.back("SYN-ACK", tcp::<SYN_ACK>),
        home.opens("SYN", syn),
        unsent(home.back("SYN-ACK", tcp::<SYN_ACK>)).waits(),
    ];
    at_once("a neighbour that is not known", rows)
}

/// As it came, but for the ends: hops are the stack's to count.
fn stacked(row: Row, make: Make, from: (&str, u16), to: (&str, u16)) -> Row {
    row.comes_out_as(make(Frame::new().ip(from.0, to.0), (from.1, to.1)).bytes()).by_stack()
}

fn up_the_stack() -> Sequence {
    let itself = Session {
        name: "a target that is this node",
        route: "itself",
        target_name: "itself/a",
        service: ("203.0.113.10", 7),
        target: ("198.18.1.1", 8_080),
        ..PLAIN
    };
    // Its source stays, although that of others is translated.
    let kept = Session {
        name: "a target that is this node, with source",
        route: "kept",
        target_name: "kept/a",
        client: ("198.18.2.12", 4_243),
        source: ("198.18.2.12", 4_243),
        service: ("203.0.113.10", 11),
        ..itself
    };
    let kept6 = Session {
        name: "a target that is this node, with source, IPv6",
        target_name: "kept/b",
        client: ("2001:db8:f2::12", 4_242),
        source: ("2001:db8:f2::12", 4_242),
        service: ("2001:db8:1::10", 11),
        target: ("2001:db8:f1::1", 8_080),
        ..kept
    };
    let foreign = Session {
        name: "a client that no route leads to",
        client: ("192.0.2.7", 4_242),
        source: ("192.0.2.7", 4_242),
        ..PLAIN
    };
    let rows = vec![
        stacked(itself.opens("SYN", syn), syn, itself.source, itself.target).mark(5),
        itself.back("SYN-ACK", tcp::<SYN_ACK>),
        stacked(kept.opens("SYN", syn), syn, kept.source, kept.target),
        kept.back("SYN-ACK", tcp::<SYN_ACK>),
        stacked(kept6.opens("SYN", syn), syn, kept6.source, kept6.target),
        kept6.back("SYN-ACK", tcp::<SYN_ACK>),
        foreign.opens("SYN", syn),
        stacked(foreign.back("SYN-ACK", tcp::<SYN_ACK>), tcp::<SYN_ACK>, foreign.service, foreign.client),
    ];
    at_once("up the stack", rows)
}

/// Nobody comes back from there, but the connection is remembered.
fn no_way() -> Sequence {
    let session = Session {
        name: "a target that cannot be reached",
        route: "nowhere",
        service: ("203.0.113.10", 8),
        ..PLAIN
    };
    let frame = syn(Frame::new().ip(session.client.0, session.service.0), (session.client.1, 8)).bytes();
    let row = |what: &str| session.row(what, frame.clone()).route("nowhere").dropped(Reason::NoRoute);
    at_once("no way", vec![row("SYN").opens("nowhere/a"), row("SYN again")])
}

fn hops() -> Sequence {
    let ended = |what: &str, from: (&str, u16), to: (&str, u16)| {
        let frame = Frame::new().ip(from.0, to.0).hop_limit(1).udp(from.1, to.1);
        let row = PLAIN.row(what, frame.bytes()).route("plain").dropped(Reason::TtlExceeded);
        row.told(time_exceeded(&frame, from.0))
    };
    let rows = vec![
        ended("no hop left", PLAIN.client, PLAIN.service).opens("plain/a"),
        PLAIN.forward("UDP", udp),
        ended("no hop left back", PLAIN.target, PLAIN.source),
        PLAIN.back("UDP back", udp),
    ];
    at_once("no hop left", rows)
}

/// 600 bytes of way, there.
fn lengths() -> Sequence {
    let session = Session {
        name: "a narrow way",
        route: "narrow",
        target_name: "narrow/a",
        service: ("203.0.113.10", 5),
        target: ("198.18.3.11", 5),
        there: (1, 11),
        ..PLAIN
    };
    let fits: Make = |frame, (from, to)| frame.udp(from, to).payload(572);
    let big: Make = |frame, (from, to)| frame.udp(from, to).payload(573);
    let may_be_cut: Make = |frame, (from, to)| frame.may_be_fragmented().udp(from, to).payload(573);
    let frame = big(Frame::new().ip(session.client.0, session.service.0), (session.client.1, 5));
    let too_big = session
        .row("too big", frame.bytes())
        .route("narrow")
        .dropped(Reason::TooBig)
        .told(too_big(&frame, session.client.0, 600));
    let rows = vec![
        session.opens("that just fits", fits),
        too_big,
        stacked(session.forward("that may be cut", may_be_cut), may_be_cut, session.source, session.target),
        session.back("as long as the way home takes", |frame, (from, to)| frame.udp(from, to).payload(1_472)),
    ];
    at_once("a narrow way", rows)
}

/// The range is one port long: a second client finds it taken, and gets it once it is free.
fn one_port_for_two() -> Sequence {
    let other = Session { name: "another client", client: ("198.18.2.11", 4_243), home: (2, 11), ..SOURCE };
    let frame = udp(Frame::new().ip(other.client.0, other.service.0), (other.client.1, 3)).bytes();
    let refused = |what: &str| other.row(what, frame.clone()).route("source").dropped(Reason::NoPort);
    let steps = [
        (0, SOURCE.opens("UDP of the first", udp)),
        (0, SOURCE.back("UDP back", udp)),
        (0, refused("no port is free")),
        (119, refused("no port is free yet")),
        (123, other.opens("UDP when it is", udp)),
        (123, other.back("UDP back", udp)),
        (124, other.forward("UDP again", udp)),
        (124, other.back("UDP back again", udp)),
    ];
    timed("one port for two", steps.into())
}

/// Two services with one target, and a client that speaks to both from one port: the target could not tell them
/// apart.
fn other_ends() -> Sequence {
    let other = Session { name: "another service", route: "plain", service: ("203.0.113.12", 1), ..PLAIN };
    let frame = udp(Frame::new().ip(other.client.0, other.service.0), (other.client.1, 1)).bytes();
    let rows = vec![
        PLAIN.opens("UDP", udp),
        other.row("UDP from the same port", frame).route("plain").dropped(Reason::NoPort),
        PLAIN.back("UDP back", udp),
    ];
    at_once("two services that a target cannot tell apart", rows)
}

/// Connections from ports 5,000 on.
fn client(number: u16) -> Session {
    let port = 5_000 + number;
    Session { client: (PLAIN.client.0, port), source: (PLAIN.source.0, port), ..PLAIN }
}

/// Half-open ones give way, open ones do not.
fn full() -> Sequence {
    let mut steps = Vec::new();
    let places = PLACES as u16;
    for number in 0..places {
        let one = client(number);
        steps.push((u64::from(number), one.opens(&format!("UDP of client {number}"), udp)));
        // The third stays half open.
        if number != 2 {
            steps.push((u64::from(number), one.back(&format!("UDP back to client {number}"), udp)));
        }
    }
    let next = client(places);
    steps.push((10, next.opens("the one that a half-open one gives way to", udp)));
    steps.push((10, next.back("UDP back to it", udp)));
    steps.push((10, client(2).stray("the one that gave way", udp)));
    let last = client(places + 1);
    let frame = udp(Frame::new().ip(last.client.0, last.service.0), (last.client.1, 1)).bytes();
    let refused = last.row("one too many", frame).route("plain").dropped(Reason::ConnectionsFull);
    steps.push((10, refused));
    steps.push((10, client(0).forward("one that is open", udp)));
    steps.push((10, client(0).back("one that is open, back", udp)));
    timed("a table that is full", steps)
}

/// Of what is not open, after 30 seconds; of UDP that is, after 120.
fn over() -> Sequence {
    let steps = [
        (0, PLAIN.opens("UDP", udp)),
        (29, PLAIN.forward("UDP before it is over", udp)),
        (58, PLAIN.back("UDP back before it is over", udp)),
        (177, PLAIN.back("UDP back again", udp)),
        (300, PLAIN.stray("UDP back when it is over", udp)),
        (300, PLAIN.opens("UDP anew", udp)),
        (330, PLAIN.forward("UDP of the new one", udp)),
        (363, PLAIN.stray("UDP back that came too late", udp)),
    ];
    timed("over", steps.into())
}

/// A reset is believed if ten seconds of silence follow.
fn reset() -> Sequence {
    let steps = [
        (0, PLAIN.opens("SYN", syn)),
        (0, PLAIN.back("SYN-ACK", tcp::<SYN_ACK>)),
        (0, PLAIN.forward("ACK", tcp::<ACK>)),
        (1, PLAIN.forward("RST", tcp::<RST>)),
        (9, PLAIN.back("data, so that it was none", tcp::<ACK>)),
        (3_600, PLAIN.back("data an hour later", tcp::<ACK>)),
        (3_601, PLAIN.back("RST of the target", tcp::<RST>)),
        (3_614, PLAIN.stray("data after silence", tcp::<ACK>)),
    ];
    timed("a reset", steps.into())
}

/// The same names at another address: what was there is over.
fn moved() -> Sequence {
    let policy: &'static str =
        Box::leak(POLICY.replace("198.18.1.11, port: 8080", "198.18.1.12, port: 8081").into_boxed_str());
    let there = Session { policy, target: ("198.18.1.12", 8_081), there: (1, 12), ..PLAIN };
    let back = Session { policy, ..PLAIN };
    let rows = vec![
        PLAIN.opens("SYN", syn),
        PLAIN.back("SYN-ACK", tcp::<SYN_ACK>),
        back.stray("data of a target that is gone", tcp::<ACK>),
        there.opens("data to where it is now", tcp::<ACK>),
        there.back("data from there", tcp::<ACK>),
    ];
    at_once("a target that moved", rows)
}

/// A client's next connection goes where the last one went, though to another port.
fn affinity() -> Sequence {
    const AFFINE: &str = "\
version: 1
pools:
  p: {forward: dnat, affinity: 60s, targets: [{name: a, address: 198.18.1.11}]}
routes:
  - {name: p, match: {protocol: tcp, to: 203.0.113.10}, action: {pool: p}}
default: drop
";
    let of = |port: u16, from: u16| Session {
        policy: AFFINE,
        name: "affinity",
        route: "p",
        target_name: "p/a",
        client: (PLAIN.client.0, from),
        source: (PLAIN.source.0, from),
        service: (PLAIN.service.0, port),
        target: (PLAIN.target.0, port),
        ..PLAIN
    };
    let rows = vec![
        of(80, 4_242).opens("SYN to one port", syn),
        of(443, 4_243).opens("SYN to another", syn),
        of(443, 4_243).back("SYN-ACK", tcp::<SYN_ACK>),
    ];
    at_once("affinity", rows)
}

fn timed(name: &str, steps: Vec<(u64, Row)>) -> Sequence {
    let steps = steps.into_iter().map(|(at, row)| Step { at_ns: at * SECOND, row }).collect();
    Sequence { name: format!("translation: {name}"), steps }
}
