//! Each component of the vocabulary on its own, and negated.

use super::evaluate::{Arrival, first_match};
use super::*;
use crate::policy::{Fragment, Range, TcpFlags};
use gateway_common::abi::{ACTIVE_CHECKSUMS, ACTIVE_UNMEMOIZABLE, ACTIVE_VARIANTS};
use gateway_common::image::{ATTRIBUTES_LINE, HeaderAttributes, dimension};

/// Expects route 0 for just the packets that `holds` names, and for just the others where the match is
/// negated.
fn expect<const N: usize>(matches: Match, packets: [(Packet, bool); N]) {
    let (plain, negated) = (Placed::of(&policy([matches.clone()])), Placed::of(&policy([not(matches)])));
    for (packet, holds) in packets {
        assert_eq!(plain.route(1, &packet) == 0, holds, "{packet:?}");
        assert_eq!(negated.route(1, &packet) == 0, !holds, "negated: {packet:?}");
    }
}

fn range<T>(first: T, last: T) -> Range<T> {
    Range { first, last }
}

fn v4() -> Packet {
    packet("10.0.0.1", "10.0.0.2")
}

fn v6() -> Packet {
    packet("2001:db8::1", "2001:db8::2")
}

#[test]
fn ports_of_packets_that_have_ports() {
    let no_ports = Packet { port: 22, flags: flags::HAS_ICMP, ..v4() };
    expect(
        Match { port: ports(&[(22, 22)]), ..Match::default() },
        [(tcp("1.1.1.1", "1.1.1.2", 9, 22), true), (tcp("::1", "::2", 22, 23), false), (no_ports, false)],
    );
    expect(
        Match { source_port: ports(&[(0, 65_535)]), ..Match::default() },
        [(tcp("1.1.1.1", "1.1.1.2", 9, 22), true), (no_ports, false), (v6(), false)],
    );
}

#[test]
fn addresses_of_either_family() {
    expect(from(&["10.0.0.0/8"]), [(v4(), true), (packet("11.0.0.1", "10.0.0.1"), false), (v6(), false)]);
    expect(
        Match { to: list(&["2001:db8::2/128", "10.0.0.2/32"]), ..Match::default() },
        [(v4(), true), (v6(), true), (packet("10.0.0.2", "10.0.0.3"), false)],
    );
    expect(from(&["0.0.0.0/0", "::/0"]), [(v4(), true), (v6(), true)]);
}

#[test]
fn interfaces_and_protocols() {
    let on = |slot, matches: Match| Placed::of(&policy([matches])).route(slot, &v4());
    let interface = |name: &str| Match { interface: list(&[name]), ..Match::default() };
    assert_eq!((on(2, interface("eth2")), on(3, interface("eth2"))), (0, 1));
    assert_eq!((on(2, not(interface("eth2"))), on(3, not(interface("eth2")))), (1, 0));
    assert_eq!((on(2, interface("gone")), on(2, not(interface("gone")))), (1, 0));
    let protocols = |numbers: &[u8]| Match { protocol: Some(numbers.to_vec()), ..Match::default() };
    let udp = Packet { protocol: 17, ..v6() };
    let zero = Packet { protocol: 0, ..v6() };
    expect(protocols(&[0, 17]), [(udp, true), (zero, true), (v6(), false)]);
}

#[test]
fn icmp_types_and_codes() {
    let icmp = |kind: u16, code| Packet {
        port: kind << 8 | code,
        protocol: protocol::ICMP,
        flags: flags::HAS_ICMP,
        ..v4()
    };
    let port = Packet { flags: flags::HAS_PORTS, ..icmp(8, 0) };
    expect(
        Match { icmp_type: Some(vec![range(3, 4), range(8, 8)]), ..Match::default() },
        [(icmp(3, 9), true), (icmp(8, 0), true), (icmp(5, 8), false), (icmp(255, 3), false), (port, false)],
    );
    expect(
        Match { icmp_code: Some(vec![range(0, 0), range(254, 255)]), ..Match::default() },
        [(icmp(3, 0), true), (icmp(0, 255), true), (icmp(0, 1), false), (port, false), (v6(), false)],
    );
}

#[test]
fn tcp_flags_with_masks() {
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    let with = |tcp_flags| Packet { tcp_flags, ..tcp("::1", "::2", 1, 2) };
    let later = Packet { flags: flags::LATER_FRAGMENT, ..with(SYN) };
    let udp = Packet { protocol: 17, ..with(SYN) };
    let on = |set, mask| Match { tcp_flags: Some(vec![TcpFlags { set, mask }]), ..Match::default() };
    expect(
        on(SYN, SYN | ACK),
        [
            (with(SYN), true),
            (with(SYN | 0x80), true),
            (with(SYN | ACK), false),
            (with(0), false),
            (later, false),
            (udp, false),
        ],
    );
    expect(on(0, ACK), [(with(0), true), (with(SYN), true), (with(ACK), false), (udp, false)]);
    let either = [TcpFlags { set: 0, mask: 0xff }, TcpFlags { set: 0xff, mask: 0xff }];
    let either = Match { tcp_flags: Some(either.to_vec()), ..Match::default() };
    expect(either, [(with(0), true), (with(0xff), true), (with(1), false), (later, false)]);
}

#[test]
fn attributes_of_every_packet() {
    let length = |length: u32| Packet { l3_offset: 18, end: 18 + length, ..v6() };
    expect(
        Match { length: Some(vec![range(0, 64), range(1_500, 65_535)]), ..Match::default() },
        [(length(64), true), (length(65), false), (length(1_499), false), (length(70_000), true)],
    );
    let dscp = |dscp: u8| Packet { traffic_class: dscp << 2 | 3, ..v4() };
    expect(
        Match { dscp: Some(vec![range(46, 46), range(63, 63)]), ..Match::default() },
        [(dscp(46), true), (dscp(63), true), (dscp(0), false), (dscp(45), false)],
    );
    let ttl = |ttl| Packet { ttl, ..v6() };
    expect(
        Match { ttl: Some(vec![range(0, 1), range(255, 255)]), ..Match::default() },
        [(ttl(0), true), (ttl(1), true), (ttl(2), false), (ttl(255), true)],
    );
    let vlan = |vlan| Packet { vlan, ..v4() };
    expect(
        Match { vlan: Some(vec![range(0, 0), range(100, 199), range(4_094, 4_094)]), ..Match::default() },
        [(vlan(0), true), (vlan(1), false), (vlan(199), true), (vlan(200), false), (vlan(4_094), true)],
    );
}

#[test]
fn fragments_of_each_kind() {
    let fragment = |bits| Packet { flags: bits, ..v4() };
    let on = |kinds: &[Fragment]| Match { fragment: Some(kinds.to_vec()), ..Match::default() };
    let (whole, first) = (fragment(0), fragment(flags::FIRST_FRAGMENT));
    let dont = fragment(flags::DONT_FRAGMENT | flags::HAS_PORTS);
    let later = fragment(flags::LATER_FRAGMENT);
    let last = fragment(flags::LATER_FRAGMENT | flags::LAST_FRAGMENT);
    let dont_last = fragment(flags::DONT_FRAGMENT | flags::LATER_FRAGMENT | flags::LAST_FRAGMENT);
    expect(on(&[Fragment::Dont]), [(dont, true), (dont_last, true), (whole, false), (last, false)]);
    expect(on(&[Fragment::First]), [(first, true), (whole, false), (later, false)]);
    expect(on(&[Fragment::Later]), [(later, true), (last, true), (first, false), (dont, false)]);
    expect(
        on(&[Fragment::First, Fragment::Last]),
        [(first, true), (last, true), (dont_last, true), (later, false), (whole, false)],
    );
}

#[test]
fn flow_labels_of_ipv6_only() {
    let label = |flow_label| Packet { flow_label, ..v6() };
    expect(
        Match { flow_label: Some(vec![range(0, 0), range(0xf_fff0, 0xf_ffff)]), ..Match::default() },
        [
            (label(0), true),
            (label(1), false),
            (label(0xf_ffef), false),
            (label(0xf_ffff), true),
            (v4(), false),
        ],
    );
}

#[test]
fn what_is_named_and_negated_at_once() {
    let but = |not: Match, matches: Match| Match { not: Some(Box::new(not)), ..matches };
    let routes = [
        but(from(&["10.1.0.0/16"]), from(&["10.0.0.0/8"])),
        but(Match { port: ports(&[(1, 1023)]), ..Match::default() }, from(&["10.0.0.0/8"])),
        but(from(&["10.0.0.0/8"]), from(&["10.1.0.0/16", "10.2.0.0/16"])),
        not(from(&["0.0.0.0/0", "::/0"])),
        // Both must not hold, each on its own.
        not(Match { port: ports(&[(80, 80)]), ..from(&["10.0.0.0/8"]) }),
    ];
    let policy = policy(routes);
    let placed = Placed::of(&policy);
    for (source, port, route) in [
        ("10.2.0.1", 80, 0),
        ("10.1.0.1", 80, 5),
        ("10.1.0.1", 2_000, 1),
        ("12.0.0.1", 80, 5),
        ("12.0.0.1", 81, 4),
        ("::1", 0, 4),
    ] {
        let packet = tcp(source, if source == "::1" { "::2" } else { "1.1.1.1" }, 1, port);
        assert_eq!(placed.route(1, &packet), route, "{source} {port}");
        let (source, destination) = (source.parse().unwrap(), packet_destination(source));
        let arrival = Arrival { slot: 1, source, destination, packet };
        assert_eq!(first_match(&policy, &[], &arrival), route);
    }
    let with_class_zero = placed.hot.dimensions >> 16;
    assert_eq!(with_class_zero, dimension::SOURCE | dimension::PORT);
}

fn packet_destination(source: &str) -> IpAddr {
    if source == "::1" { "::2".parse().unwrap() } else { "1.1.1.1".parse().unwrap() }
}

/// A value each in a list of its own: there are as many classes as values, and none for "in no list".
#[test]
fn a_route_for_each_dscp_and_each_time_to_live() {
    let dscps = (0..64).map(|dscp| Match { dscp: Some(vec![range(dscp, dscp)]), ..Match::default() });
    let placed = Placed::of(&policy(dscps));
    for dscp in 0..64 {
        assert_eq!(placed.route(1, &Packet { traffic_class: dscp << 2, ..v4() }), u32::from(dscp));
    }
    let ttls = (0..=255).map(|ttl| Match { ttl: Some(vec![range(ttl, ttl)]), ..Match::default() });
    let placed = Placed::of(&policy(ttls));
    for ttl in 0..=255 {
        assert_eq!(placed.route(1, &Packet { ttl, ..v6() }), u32::from(ttl));
    }
}

#[test]
fn only_what_differs_within_flows_makes_variants() {
    let flags_of = |matches: Match| compiled(&policy([matches])).unwrap().active_flags();
    assert_eq!(flags_of(Match { vlan: Some(vec![range(1, 1)]), ..from(&["10.0.0.0/8"]) }), 0);
    assert_eq!(flags_of(Match { ttl: Some(vec![range(1, 1)]), ..Match::default() }), ACTIVE_VARIANTS);
    let flow_label = Match { flow_label: Some(vec![range(1, 1)]), ..Match::default() };
    assert_eq!(flags_of(not(flow_label)), ACTIVE_VARIANTS);
    let verifying = Policy { verify_checksums: true, ..policy([]) };
    assert_eq!(compiled(&verifying).unwrap().active_flags(), ACTIVE_CHECKSUMS);
    // A route that no packet can reach makes none.
    let never = Match { interface: list(&["gone"]), ttl: Some(vec![range(1, 1)]), ..Match::default() };
    assert_eq!(flags_of(never), 0);
}

#[test]
fn variants_are_told_apart_as_long_as_16_bits_hold_them() {
    let on = |ttls: u8, lengths: u16| {
        let ttl = (0..ttls).map(|ttl| Match { ttl: Some(vec![range(ttl, ttl)]), ..Match::default() });
        let length = (0..lengths).map(|l| Match { length: Some(vec![range(l, l)]), ..Match::default() });
        compiled(&policy(ttl.chain(length))).unwrap()
    };
    let image = on(255, 254);
    assert_eq!(image.active_flags(), ACTIVE_VARIANTS);
    let placed = Placed::new(&image);
    let strides = placed.header::<HeaderAttributes>(ATTRIBUTES_LINE).strides;
    assert_eq!(strides, [0, 1, 0, 0, 0, 255]);
    let mut seen = std::collections::HashSet::new();
    for (ttl, length) in (0..=255).flat_map(|ttl| (0..255).map(move |length| (ttl, length))) {
        let packet = Packet { ttl, end: length, ..v4() };
        assert!(seen.insert(placed.variant(&packet)), "{ttl} {length}");
    }
    let image = on(255, 256);
    assert_eq!(image.active_flags(), ACTIVE_VARIANTS | ACTIVE_UNMEMOIZABLE);
    let placed = Placed::new(&image);
    assert_eq!(placed.header::<HeaderAttributes>(ATTRIBUTES_LINE).strides, [0; 6]);
    assert_eq!(placed.route(1, &Packet { ttl: 255, end: 255, ..v4() }), 255 + 255);
}
