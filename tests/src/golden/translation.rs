//! Packets of pools that translate, there and back: addresses, ports and checksums.

use super::owners::quoting;
use super::pools::macs;
use super::{Row, Sequence, Step, TARGET, TARGET_WITHOUT_XDP};
use crate::packet::{Extension, Frame};
use gateway_common::abi::Hook;
use gateway_common::reason::Reason;

/// The port says which pool. Clients are behind the third interface.
pub(super) const POLICY: &str = "\
version: 1
pools:
  plain: {forward: dnat, targets: [{name: a, address: 198.18.1.11, port: 8080}, {name: b, address: '2001:db8:f1::11', port: 8080}]}
  same: {forward: dnat, targets: [{name: a, address: 198.18.1.12}, {name: b, address: '2001:db8:f1::12'}]}
  source:
    forward: dnat
    source: [203.0.113.77, '2001:db8:ff::77']
    ports: 61000-61000
    targets: [{name: a, address: 198.18.1.11, port: 8080}, {name: b, address: '2001:db8:f1::11', port: 8080}]
  back: {forward: dnat, targets: [{name: a, address: 198.18.0.11}, {name: b, address: '2001:db8:f0::11'}]}
  narrow: {forward: dnat, targets: [{name: a, address: 198.18.3.11}, {name: b, address: '2001:db8:f3::11'}]}
  silent: {forward: dnat, targets: [{name: a, address: 198.18.1.99}, {name: b, address: '2001:db8:f1::99'}]}
  itself: {forward: dnat, targets: [{name: a, address: 198.18.1.1, port: 8080}, {name: b, address: '2001:db8:f1::1'}]}
  kept:
    forward: dnat
    source: [203.0.113.77, '2001:db8:ff::77']
    ports: 61000-61000
    targets: [{name: a, address: 198.18.1.1, port: 8080}, {name: b, address: '2001:db8:f1::1', port: 8080}]
  nowhere: {forward: dnat, targets: [{name: a, address: 198.18.4.11}, {name: b, address: '2001:db8:f4::11'}]}
  four: {forward: dnat, targets: [{name: a, address: 198.18.1.11}]}
routes:
  - {name: plain, match: {protocol: [tcp, udp, sctp], port: 1}, action: {pool: plain}}
  - {name: same, match: {protocol: [tcp, udp, sctp], port: 2}, action: {pool: same}}
  - {name: source, match: {protocol: [tcp, udp, sctp], port: 3}, action: {pool: source}}
  - {name: back, match: {protocol: [tcp, udp], port: 4}, dscp: ef, mark: 9, action: {pool: back}}
  - {name: narrow, match: {protocol: [tcp, udp], port: 5}, action: {pool: narrow}}
  - {name: silent, match: {protocol: [tcp, udp], port: 6}, action: {pool: silent}}
  - {name: itself, match: {protocol: [tcp, udp], port: 7}, mark: 5, action: {pool: itself}}
  - {name: nowhere, match: {protocol: [tcp, udp], port: 8}, action: {pool: nowhere}}
  - {name: four, match: {protocol: [tcp, udp], port: 9}, action: {pool: four}}
  - {name: proxy, match: {protocol: [tcp, udp], port: 10}, mark: 6, action: {proxy: 15001}}
  - {name: kept, match: {protocol: [tcp, udp], port: 11}, action: {pool: kept}}
  - {name: plain-rest, match: {to: [203.0.113.10, '2001:db8:1::10']}, action: {pool: plain}}
  - {name: source-rest, match: {to: [203.0.113.11, '2001:db8:1::11']}, action: {pool: source}}
default: drop
";

const ACK: u8 = 0x10;
const SYN_ACK: u8 = 0x12;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;

/// A packet between these ends, with these ports, made of one that has its IP header.
pub(super) type Make = fn(Frame, (u16, u16)) -> Frame;

/// Where a host is: the place of its interface, and its number there.
pub(super) type Place = (u8, u8);

/// A connection of which each side's packets are known.
#[derive(Clone, Copy)]
pub(super) struct Session {
    pub policy: &'static str,
    pub name: &'static str,
    pub route: &'static str,
    pub target_name: &'static str,
    pub client: (&'static str, u16),
    pub service: (&'static str, u16),
    /// What the target takes for the client.
    pub source: (&'static str, u16),
    pub target: (&'static str, u16),
    pub there: Place,
    pub home: Place,
}

fn interface(place: Place) -> Option<&'static str> {
    [None, Some(TARGET), Some(TARGET_WITHOUT_XDP)][usize::from(place.0)]
}

/// A packet as it arrives, from one end to the other.
fn packet(make: Make, from: (&str, u16), to: (&str, u16)) -> Frame {
    make(Frame::new().ip(from.0, to.0), (from.1, to.1))
}

/// The same as it leaves, one hop further.
fn leaves(make: Make, from: (&str, u16), to: (&str, u16), place: Place) -> Vec<u8> {
    let (source, destination) = macs(place.0, place.1);
    let base = Frame::new().macs(source, destination).ip(from.0, to.0).hop_limit(63);
    make(base, (from.1, to.1)).bytes()
}

impl Session {
    pub(super) fn row(&self, what: &str, frame: Vec<u8>) -> Row {
        Row::new(format!("translation: {}, {what}", self.name), self.policy, frame)
    }

    /// From client to target.
    pub(super) fn forward(&self, what: &str, make: Make) -> Row {
        let out = leaves(make, self.source, self.target, self.there);
        let row = self.row(what, packet(make, self.client, self.service).bytes()).route(self.route);
        row.translated(self.target_name, interface(self.there)).comes_out_as(out)
    }

    /// The first one.
    pub(super) fn opens(&self, what: &str, make: Make) -> Row {
        self.forward(what, make).opens(self.target_name)
    }

    /// From target to client.
    pub(super) fn back(&self, what: &str, make: Make) -> Row {
        let out = leaves(make, self.service, self.client, self.home);
        let row = self.row(what, packet(make, self.target, self.source).bytes()).route(self.route);
        row.returned(self.target_name, interface(self.home)).comes_out_as(out)
    }

    /// From the target, of no connection.
    pub(super) fn stray(&self, what: &str, make: Make) -> Row {
        self.row(what, packet(make, self.target, self.source).bytes()).by_default().dropped(Reason::Default)
    }
}

/// To the pool whose target has another port.
pub(super) const PLAIN: Session = Session {
    policy: POLICY,
    name: "IPv4",
    route: "plain",
    target_name: "plain/a",
    client: ("198.18.2.12", 4_242),
    service: ("203.0.113.10", 1),
    source: ("198.18.2.12", 4_242),
    target: ("198.18.1.11", 8_080),
    there: (1, 11),
    home: (2, 12),
};

const PLAIN6: Session = Session {
    name: "IPv6",
    target_name: "plain/b",
    client: ("2001:db8:f2::12", 4_242),
    service: ("2001:db8:1::10", 1),
    source: ("2001:db8:f2::12", 4_242),
    target: ("2001:db8:f1::11", 8_080),
    ..PLAIN
};

/// To the pool that translates sources too.
pub(super) const SOURCE: Session = Session {
    name: "IPv4 with its source",
    route: "source",
    target_name: "source/a",
    service: ("203.0.113.11", 3),
    source: ("203.0.113.77", 61_000),
    ..PLAIN
};

const SOURCE6: Session = Session {
    name: "IPv6 with its source",
    route: "source",
    target_name: "source/b",
    service: ("2001:db8:1::11", 3),
    source: ("2001:db8:ff::77", 61_000),
    ..PLAIN6
};

/// Of what has no ports that could be exchanged.
fn without_ports(session: Session) -> Session {
    let route = if session.route == "plain" { "plain-rest" } else { "source-rest" };
    let zero = |(address, _)| (address, 0);
    let (client, service) = (zero(session.client), zero(session.service));
    Session { route, client, service, source: zero(session.source), target: zero(session.target), ..session }
}

pub(super) fn syn(frame: Frame, (from, to): (u16, u16)) -> Frame {
    frame.tcp(from, to).tcp_with(0x02, 20)
}

pub(super) fn tcp<const FLAGS: u8>(frame: Frame, (from, to): (u16, u16)) -> Frame {
    frame.tcp(from, to).tcp_with(FLAGS, 12).payload(33)
}

pub(super) fn udp(frame: Frame, (from, to): (u16, u16)) -> Frame {
    frame.udp(from, to).payload(33)
}

fn echo(frame: Frame, (identifier, _): (u16, u16)) -> Frame {
    frame.icmp(8, 0).identifier(identifier).payload(56)
}

fn reply(frame: Frame, (_, identifier): (u16, u16)) -> Frame {
    frame.icmp(0, 0).identifier(identifier).payload(56)
}

fn echo6(frame: Frame, (identifier, _): (u16, u16)) -> Frame {
    frame.icmpv6(128, 0).identifier(identifier).payload(56)
}

fn reply6(frame: Frame, (_, identifier): (u16, u16)) -> Frame {
    frame.icmpv6(129, 0).identifier(identifier).payload(56)
}

pub(super) fn at_once(name: &str, rows: Vec<Row>) -> Sequence {
    let steps = rows.into_iter().map(|row| Step { at_ns: 0, row }).collect();
    Sequence { name: format!("translation: {name}"), steps }
}

pub(super) fn sequences() -> Vec<Sequence> {
    let mut all = Vec::new();
    for session in [PLAIN, PLAIN6, SOURCE, SOURCE6] {
        all.extend([tcp_session(session), udp_session(session), fragments(session), dressed(session)]);
        all.push(without_checksum(session));
        all.push(becomes_zero(session));
        all.extend([sctp(session), other_protocol(session), pings(session)]);
    }
    all.extend(super::translated_ways::sequences());
    all
}

fn tcp_session(session: Session) -> Sequence {
    let rows = vec![
        session.stray("an answer to nothing", tcp::<SYN_ACK>),
        session.opens("SYN", syn),
        session.forward("SYN again", syn),
        session.back("SYN-ACK", tcp::<SYN_ACK>),
        session.forward("ACK", tcp::<ACK>),
        session.back("data", tcp::<0x18>),
        session.back("FIN", tcp::<FIN_ACK>),
        session.forward("data behind it", tcp::<0x18>),
        session.forward("FIN", tcp::<FIN_ACK>),
        session.back("the last ACK", tcp::<ACK>),
        session.opens("SYN anew", syn),
        session.back("RST", tcp::<RST>),
        session.forward("ACK that nobody expected", tcp::<ACK>),
    ];
    at_once(&format!("TCP, {}", session.name), rows)
}

fn udp_session(session: Session) -> Sequence {
    let rows = vec![
        session.opens("UDP", udp),
        session.back("UDP back", udp),
        session.forward("UDP again", udp),
        session.back("UDP of an odd length", |frame, (from, to)| frame.udp(from, to).payload(1)),
    ];
    at_once(&format!("UDP, {}", session.name), rows)
}

/// RFC 768: who made no checksum gets none.
fn without_checksum(session: Session) -> Sequence {
    let erase = |mut row: Row, from: (&str, u16), to: (&str, u16)| {
        let at = packet(udp, from, to).l4_offset() + 6;
        row.frame[at..at + 2].fill(0);
        if let Some(out) = &mut row.changed {
            out[at..at + 2].fill(0);
        }
        row
    };
    let there = erase(session.opens("no checksum", udp), session.client, session.service);
    let back = erase(session.back("no checksum, back", udp), session.target, session.source);
    at_once(&format!("UDP without checksum, {}", session.name), vec![there, back])
}

/// RFC 768: a checksum that comes out as zero is sent as all ones.
fn becomes_zero(session: Session) -> Sequence {
    let at = packet(udp, session.client, session.service).l4_offset() + 6;
    let with =
        |port| Session { service: (session.service.0, 1), client: (session.client.0, port), ..session };
    let with = |port| match session.route {
        "plain" => Session { source: (session.source.0, port), ..with(port) },
        _ => Session { service: session.service, ..with(port) },
    };
    // Back to the client is where its port counts, whatever the target saw.
    let ones = |row: &Row| row.changed.as_ref().is_some_and(|out| out[at..at + 2] == [0xff, 0xff]);
    let found =
        (1_024..u16::MAX).map(with).find(|session| ones(&session.back("a checksum of zero, back", udp)));
    let rows =
        found.map(|session| vec![session.opens("UDP", udp), session.back("a checksum of zero, back", udp)]);
    at_once(&format!("a checksum that becomes zero, {}", session.name), rows.unwrap_or_default())
}

/// Its CRC covers the ports, which stay.
fn sctp(session: Session) -> Sequence {
    let (from, to) = (session.client.1, session.service.1);
    let session = Session { source: (session.source.0, from), target: (session.target.0, to), ..session };
    let make: Make = |frame, (from, to)| frame.sctp(from, to).payload(16);
    let rows = vec![
        session.opens("SCTP", make),
        session.back("SCTP back", make),
        session.forward("SCTP again", make),
    ];
    at_once(&format!("SCTP, {}", session.name), rows)
}

fn other_protocol(session: Session) -> Sequence {
    let session = without_ports(session);
    let make: Make = |frame, _| frame.raw(47, &[7; 40]);
    let rows =
        vec![session.opens("GRE", make), session.back("GRE back", make), session.forward("GRE again", make)];
    at_once(&format!("GRE, {}", session.name), rows)
}

/// The identifier stands for the client's port (RFC 5508 3.1).
fn pings(session: Session) -> Sequence {
    let four = session.client.0.contains('.');
    let (ask, answer): (Make, Make) = if four { (echo, reply) } else { (echo6, reply6) };
    let plain = without_ports(session);
    let from = |(address, _): (&'static str, u16), port| (address, port);
    let pinging = Session {
        client: from(session.client, session.client.1),
        source: from(session.source, session.source.1),
        ..plain
    };
    let unreachable: Make = |frame, _| {
        let four = frame.l4_offset() - frame.l3_offset() == 20;
        if four { frame.icmp(3, 1).payload(40) } else { frame.icmpv6(1, 4).payload(60) }
    };
    let rows = vec![
        pinging.opens("echo", ask),
        pinging.back("reply", answer),
        pinging.forward("echo again", ask),
        pinging.stray("an echo from the target", ask),
        plain.opens("a message without identifier", unreachable),
    ];
    let rows = [rows, errors_about_pings(pinging, ask, answer)].concat();
    at_once(&format!("echo, {}", session.name), rows)
}

/// A router's errors about an echo and its reply: addresses and identifier of what is quoted become what the receiver
/// has sent, and its checksum stays as it was.
fn errors_about_pings(session: Session, ask: Make, answer: Make) -> Vec<Row> {
    let kind = if session.client.0.contains('.') { (11, 0) } else { (3, 0) };
    let quoted = |make, from, to| {
        let frame = packet(make, from, to);
        frame.bytes()[frame.l3_offset()..].to_vec()
    };
    let l4 = packet(ask, session.client, session.service);
    let sum = l4.l4_offset() - l4.l3_offset() + 2;
    let exchanged = |seen: &[u8], make, from, to| {
        let mut sent = quoted(make, from, to);
        sent[sum..sum + 2].copy_from_slice(&seen[sum..sum + 2]);
        sent
    };
    let arrives = |to, seen: &[u8]| quoting(Frame::new(), to, kind, 0, seen).bytes();
    let leaves = |to, sent: &[u8], place: Place| {
        let (source, destination) = macs(place.0, place.1);
        quoting(Frame::new().macs(source, destination), to, kind, 0, sent).hop_limit(63).bytes()
    };
    let seen = quoted(ask, session.source, session.target);
    let sent = exchanged(&seen, ask, session.client, session.service);
    let to_client = session.row("an error about an echo", arrives(session.source.0, &seen)).by_default();
    let to_client = to_client.returned(session.target_name, interface(session.home));
    let seen = quoted(answer, session.service, session.client);
    let sent_back = exchanged(&seen, answer, session.target, session.source);
    let to_target = session.row("an error about a reply", arrives(session.service.0, &seen));
    let to_target = to_target.route(session.route).translated(session.target_name, interface(session.there));
    vec![
        to_client.comes_out_as(leaves(session.client.0, &sent, session.home)),
        to_target.comes_out_as(leaves(session.target.0, &sent_back, session.there)),
    ]
}

/// Later fragments have no ports, and follow.
fn fragments(session: Session) -> Sequence {
    let first: Make = |frame, (from, to)| frame.udp(from, to).payload(72).fragment(0, true);
    let later: Make = |frame, _| frame.raw(17, &[7; 80]).fragment(10, false);
    let lost = session.row("a later fragment first", packet(later, session.client, session.service).bytes());
    let rest = if session.route == "plain" { "plain-rest" } else { "source-rest" };
    let rows = vec![
        lost.route(rest).dropped(Reason::FragmentUnseen),
        session.opens("the first fragment", first),
        session.forward("a later fragment", later),
        session.stray("a later fragment back first", later),
        session.back("the first fragment back", first),
        session.back("a later fragment back", later),
    ];
    at_once(&format!("fragments, {}", session.name), rows)
}

/// Tags come off, options stay.
fn dressed(session: Session) -> Sequence {
    let four = session.client.0.contains('.');
    let options: Make = if four {
        |frame, (from, to)| frame.options(10).tcp(from, to).payload(9)
    } else {
        |frame, (from, to)| frame.extension(Extension::HopByHop(2)).tcp(from, to).payload(9)
    };
    let tagged = |what: &str, mut row: Row, tags: &[u16]| {
        let tags: Vec<u8> = tags.iter().flat_map(|tag| [0x81, 0, (tag >> 8) as u8, *tag as u8]).collect();
        row.frame.splice(12..12, tags);
        row.name += what;
        row
    };
    let rows = vec![
        session.opens("options", options),
        session.back("options back", |frame, (from, to)| frame.tcp(from, to).tcp_with(SYN_ACK, 0)),
        tagged(" behind a tag", session.forward("options", options), &[7]),
        tagged(" behind two tags", session.forward("data", tcp::<ACK>), &[7, 8]),
        tagged(" behind a tag", session.back("data back", tcp::<ACK>), &[9]),
    ];
    at_once(&format!("tags and options, {}", session.name), rows)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let v6 = packet(udp, PLAIN6.client, (PLAIN6.service.0, 9)).bytes();
    rows.push(PLAIN6.row("no target of its family", v6).route("four").dropped(Reason::NoTarget));
    for session in [PLAIN, PLAIN6] {
        for (name, make) in [("TCP", syn as Make), ("UDP", udp as Make)] {
            let frame = packet(make, session.client, (session.service.0, 10)).bytes();
            let row = |hook: Hook| {
                let what = format!("{name} for a proxy at {}", hook.name());
                session.row(&what, frame.clone()).route("proxy").at(hook)
            };
            rows.push(row(Hook::Xdp).mark(6).proxied(15_001));
            rows.push(row(Hook::TcIngress).dropped(Reason::NoListener));
        }
    }
    rows
}
