//! Large policies, and those that are refused.

use super::*;
use crate::compile::{CompileError, Dimension, MAX_ENTRIES, Problem};
use crate::policy::{Fragment, Range, TcpFlags};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

fn v4(bits: u32, length: u8) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), length).into()
}

fn problems(policy: &Policy) -> Vec<Problem> {
    compiled(policy).unwrap_err().problems
}

#[test]
fn ten_thousand_routes_are_each_found() {
    const ROUTES: u32 = 10_000;
    let matches = (0..ROUTES).map(|i| Match {
        to: Some(vec![v4(0x0a00_0000 + i, 32)]),
        protocol: Some(vec![if i % 2 == 0 { 6 } else { 17 }]),
        port: ports(&[(i as u16 + 1, i as u16 + 1)]),
        ..Match::default()
    });
    let image = compiled(&policy(matches)).unwrap();
    assert_eq!(image.summary().combination_entries, ROUTES as usize);
    assert_eq!(image.summary().combinations, 1);
    assert_eq!(image.summary().bytes, image.lines() * 64);
    let placed = Placed::new(&image);
    for i in 0..ROUTES {
        let to = Ipv4Addr::from_bits(0x0a00_0000 + i);
        let mut packet = tcp("1.1.1.1", &to.to_string(), 1, i as u16 + 1);
        packet.protocol = if i % 2 == 0 { 6 } else { 17 };
        assert_eq!(placed.route(1, &packet), i);
        packet.port += 1;
        assert_eq!(placed.route(1, &packet), ROUTES);
    }
}

#[test]
fn a_hundred_thousand_prefixes_are_one_class() {
    let v6 = (0..30_000_u128).map(|i| {
        let address = 0x2001_0db8 << 96 | i << 80 | i << 10;
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(address), 118))
    });
    let mut list: Vec<IpNet> =
        (0..70_000).map(|i| v4(0x0a00_0000 + i * 8, 29 + (i % 4) as u8)).chain(v6).collect();
    list.sort();
    let prefixes = list.clone();
    let image = compiled(&policy([Match { from: Some(list), ..Match::default() }])).unwrap();
    assert_eq!(image.summary().classes[Dimension::From as usize], 1);
    assert_eq!(image.summary().combination_entries, 1);
    let placed = Placed::new(&image);
    for prefix in prefixes.iter().step_by(37) {
        assert_eq!(placed.route(1, &addressed(prefix.addr(), prefix.addr())), 0, "{prefix}");
    }
    for (address, route) in [("10.0.0.7", 0), ("10.0.0.12", 1), ("9.255.255.255", 1), ("2001:db9::", 1)] {
        assert_eq!(placed.route(1, &packet(address, address)), route, "{address}");
    }
}

/// Every list holds the whole family, so that one class lies in all of them.
#[test]
fn ten_thousand_lists_with_a_common_prefix_do_not_explode() {
    let list = |i: u32| Some(vec![v4(0, 0), v4(0x0a00_0000 + i, 32)]);
    let image = compiled(&policy((0..10_000).map(|i| Match { from: list(i), ..Match::default() }))).unwrap();
    assert_eq!(image.summary().classes[Dimension::From as usize], 1);
    assert_eq!(Placed::new(&image).route(1, &packet("10.0.0.9", "1.1.1.1")), 0);
}

#[test]
fn lists_that_overlap_too_often_are_refused() {
    let wide =
        (0..3_000).map(|i| Match { from: Some(vec![v4(0, 0), v4(0x0a00_0000 + i, 32)]), ..Match::default() });
    let narrow = (0..3_000).map(|i| Match { from: Some(vec![v4(0x0b00_0000 + i, 32)]), ..Match::default() });
    let problems = problems(&policy(wide.chain(narrow)));
    let [Problem::Overlaps { dimension: Dimension::From, route, overlaps, .. }] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert_eq!(route, "r0");
    assert!(*overlaps > 1_000);
}

#[test]
fn combinations_that_explode_are_refused_by_name_and_number() {
    let narrow = (0..3_000_u32).map(|i| Match {
        from: Some(vec![v4(0x0a00_0000 + i, 32)]),
        to: Some(vec![v4(0x0b00_0000 + i, 32)]),
        ..Match::default()
    });
    let wide = Match { from: list(&["10.0.0.0/8"]), to: list(&["11.0.0.0/8"]), ..Match::default() };
    let error = compiled(&policy(narrow.chain([wide]))).unwrap_err();
    let entries = 3_001 * 3_001;
    let expected = Problem::Explodes {
        route: "r3000".into(),
        entries,
        counts: vec![(Dimension::From, 3_001), (Dimension::To, 3_001)],
        total: entries + 3_000,
        limit: MAX_ENTRIES,
    };
    assert_eq!(error, CompileError { problems: vec![expected] });
    let text = error.to_string();
    assert!(text.contains("`r3000`") && text.contains("3001 of `from` × 3001 of `to`"), "{text}");
}

#[test]
fn more_port_classes_than_a_table_holds_are_refused() {
    let matches = (0..=65_535).map(|port| Match { port: ports(&[(port, port)]), ..Match::default() });
    let limit = 65_535;
    assert_eq!(
        problems(&policy(matches.clone())),
        [Problem::TooManyClasses { dimension: Dimension::Port, limit }]
    );
    let placed = Placed::of(&policy(matches.skip(1)));
    assert_eq!(placed.route(1, &tcp("1.1.1.1", "1.1.1.1", 0, 65_535)), 65_534);
    assert_eq!(placed.route(1, &tcp("1.1.1.1", "1.1.1.1", 0, 0)), 65_535);
}

#[test]
fn all_problems_are_told_at_once() {
    let mut policy =
        policy((0..=65_535).map(|port| Match { source_port: ports(&[(port, port)]), ..Match::default() }));
    for (route, interface) in [(0, "nowhere"), (9, "eth0")] {
        policy.routes[route].action = Action::Redirect { interface: interface.into() };
    }
    let dangling = |route: &str, interface: &str| Problem::DanglingRedirect {
        route: route.into(),
        interface: interface.into(),
    };
    assert_eq!(
        problems(&policy),
        [
            dangling("r0", "nowhere"),
            dangling("r9", "eth0"),
            Problem::TooManyClasses { dimension: Dimension::SourcePort, limit: 65_535 },
        ]
    );
}

#[test]
fn more_routes_than_are_numbered_are_refused() {
    let policy = policy((0..65_537).map(|_| Match::default()));
    assert_eq!(problems(&policy), [Problem::TooManyRoutes { count: 65_537, limit: 65_536 }]);
}

/// The whole vocabulary in each of 10,000 routes, a value of each component for each route.
fn every_component(i: u32) -> Match {
    fn one<T: Copy>(value: T) -> Option<Vec<Range<T>>> {
        Some(vec![Range { first: value, last: value }])
    }
    let byte = (i % 256) as u8;
    Match {
        interface: list(&[&format!("eth{}", 1 + i % 255)]),
        from: Some(vec![v4(0x0a00_0000 + i, 32)]),
        labels: None,
        to: Some(vec![v4(0x0b00_0000 + i, 32)]),
        protocol: Some(vec![byte]),
        port: ports(&[(i as u16, i as u16)]),
        source_port: ports(&[(i as u16, i as u16)]),
        icmp_type: one(byte % 255),
        icmp_code: one(byte % 255),
        tcp_flags: Some(vec![TcpFlags { set: byte % 255, mask: 255 }]),
        length: one(i as u16),
        dscp: one(byte % 64),
        fragment: Some(vec![Fragment::Dont]),
        flow_label: one(i),
        vlan: one((i % 1_000) as u16),
        ttl: one(byte),
        not: None,
    }
}

#[test]
fn ten_thousand_routes_of_every_component() {
    let start = Instant::now();
    let image = compiled(&policy((0..10_000).map(every_component))).unwrap();
    assert_eq!(image.summary().combination_entries, 10_000);
    assert_eq!(image.summary().combinations, 1);
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

/// Ranges that overlap in every component cannot be entered: it is said, and soon.
#[test]
fn ten_thousand_routes_that_explode_are_refused_in_time() {
    let wide = |i: u32| {
        let bytes = Some(vec![Range { first: (i % 16) as u8, last: 100 + (i % 17) as u8 }]);
        let length = (8 + i % 24) as u8;
        Match {
            from: Some(vec![v4((0x0a00_0000 + i) >> (32 - length) << (32 - length), length)]),
            port: ports(&[((i % 50) as u16, (1_000 + i % 50) as u16)]),
            length: Some(vec![Range { first: (i % 20) as u16, last: (1_500 + i % 30) as u16 }]),
            ttl: bytes.clone(),
            not: Some(Box::new(Match { icmp_type: bytes, ..Match::default() })),
            ..every_component(i)
        }
    };
    let start = Instant::now();
    let problems = problems(&policy((0..10_000).map(wide)));
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    let [Problem::Explodes { total, limit, .. }] = &problems[..] else { panic!("{problems:?}") };
    assert!(total > limit);
}

/// Each route names another set of components.
#[test]
fn more_sets_of_components_than_are_probed_are_refused() {
    let naming = |set: u32| {
        let all = every_component(1);
        Match {
            from: all.from.filter(|_| set & 1 != 0),
            to: all.to.filter(|_| set & 2 != 0),
            port: all.port.filter(|_| set & 4 != 0),
            ttl: all.ttl.filter(|_| set & 8 != 0),
            vlan: all.vlan.filter(|_| set & 16 != 0),
            dscp: all.dscp.filter(|_| set & 32 != 0),
            length: all.length.filter(|_| set & 64 != 0),
            ..Match::default()
        }
    };
    assert_eq!(compiled(&policy((0..64).map(naming))).unwrap().summary().combinations, 64);
    let problems = problems(&policy((0..66).map(naming)));
    let expected = Problem::TooManyCombinations {
        count: 66,
        limit: 64,
        route: "r64".into(),
        dimensions: vec![Dimension::Length],
    };
    assert_eq!(problems, [expected]);
}

#[test]
fn more_classes_than_a_key_has_room_for_are_refused() {
    let vlan = |vlan| Match { vlan: Some(vec![Range { first: vlan, last: vlan }]), ..Match::default() };
    let limit = 1_023;
    assert_eq!(
        problems(&policy((0..1_024).map(vlan))),
        [Problem::TooManyClasses { dimension: Dimension::Vlan, limit }]
    );
    let placed = Placed::of(&policy((1..1_024).map(vlan)));
    assert_eq!(placed.route(1, &Packet { vlan: 1_023, ..packet("::1", "::2") }), 1_022);
}
