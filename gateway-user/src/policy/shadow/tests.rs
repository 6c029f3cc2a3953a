use super::world::{matches, world};
use super::*;
use crate::policy::Component;
use crate::policy::{
    Action, Default as Verdict, Fragment, LabelTest, Match, PortRange, Range, Route, TcpFlags, parse,
};
use ipnet::IpNet;
use proptest::prelude::*;
use std::net::IpAddr;

fn names(text: &str) -> Vec<(String, Vec<String>)> {
    let policy = parse("t", &format!("version: 1\nroutes:\n{text}")).expect("a valid policy");
    shadowed(&policy).into_iter().map(|found| (found.route, found.hidden_by)).collect()
}

fn hides(text: &str, route: &str, by: &[&str]) {
    let by = by.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(names(text), [(route.to_owned(), by)]);
}

#[test]
fn a_wider_route_hides_a_narrower_one_behind_it() {
    hides(
        "- {name: a, match: {from: 10.0.0.0/8, protocol: tcp}, action: drop}
- {name: b, match: {from: [10.1.0.0/16, 10.2.0.0/16], protocol: tcp, port: 80}, action: pass}",
        "b",
        &["a"],
    );
}

#[test]
fn a_narrower_route_hides_nothing() {
    let text = "- {name: a, match: {from: 10.1.0.0/16}, action: drop}
- {name: b, match: {from: 10.0.0.0/8}, action: pass}
- {name: c, match: {port: 0-65535}, action: pass}
- {name: d, match: {protocol: tcp}, action: pass}";
    assert_eq!(names(text), []);
}

#[test]
fn lists_written_differently_are_seen_through() {
    hides(
        "- {name: a, match: {to: [10.0.0.0/9, 10.128.0.0/9], port: [1-10, 11-20]}, action: drop}
- {name: b, match: {to: 10.0.0.0/8, protocol: [tcp, udp, sctp], port: 5-15}, action: pass}",
        "b",
        &["a"],
    );
}

#[test]
fn ports_mean_protocols_that_have_them() {
    hides(
        "- {name: a, match: {protocol: [tcp, udp, sctp]}, action: drop}
- {name: b, match: {port: 80}, action: pass}",
        "b",
        &["a"],
    );
}

#[test]
fn both_families_together_are_everything() {
    hides(
        "- {name: a, match: {from: 0.0.0.0/0}, action: drop}
- {name: b, match: {from: '::/0'}, action: drop}
- {name: c, action: pass}",
        "c",
        &["a", "b"],
    );
}

#[test]
fn several_that_differ_in_one_thing_hide_together() {
    hides(
        "- {name: a, match: {protocol: tcp, port: 0-99}, action: drop}
- {name: b, match: {protocol: tcp, port: 200-299}, action: drop}
- {name: c, match: {protocol: [tcp, udp], port: 100-199}, action: drop}
- {name: d, match: {protocol: tcp, port: 50-250}, action: pass}",
        "d",
        &["a", "b", "c"],
    );
}

#[test]
fn ten_thousand_routes_are_quick() {
    let route = |i: u32, matches| Route { matches, ..Route::new(format!("r{i}"), Action::Drop) };
    let net = |address: u32, length| IpNet::new(IpAddr::V4(address.into()), length).expect("a prefix");
    // Everything to one address, told apart by port and source alone.
    let mut routes: Vec<Route> = (0..10_000)
        .map(|i| {
            let port = 1000 + (i % 100) as u16;
            route(
                i,
                Match {
                    from: Some(vec![net(0x0a00_0000 | (i / 100) << 8, 24)]),
                    to: Some(vec![net(0xc000_0201, 32)]),
                    protocol: Some(vec![6]),
                    port: Some(vec![PortRange { first: port, last: port }]),
                    ..Match::default()
                },
            )
        })
        .collect();
    routes
        .push(route(10_000, Match { from: Some(vec![net(0x0a00_0507, 32)]), ..routes[577].matches.clone() }));
    let policy = Policy::new(routes, Verdict::Pass);
    let start = std::time::Instant::now();
    assert_eq!(shadowed(&policy), [Shadowed { route: "r10000".into(), hidden_by: vec!["r577".into()] }]);
    // Half a second without optimization; the limit allows for a busy machine.
    assert!(start.elapsed().as_secs() < 20, "took {:?}", start.elapsed());
}

fn sorted<T: Ord + std::fmt::Debug + Clone + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<Vec<T>>> {
    let list = prop::collection::btree_set(values, 1..4).prop_map(|set| set.into_iter().collect());
    prop_oneof![2 => Just(None), 3 => list.prop_map(Some)]
}

fn prefixes() -> impl Strategy<Value = Option<Vec<IpNet>>> {
    let prefix = prop_oneof![
        (0u8..4, 30u8..=32).prop_map(|(n, length)| IpNet::new(IpAddr::from([10, 0, 0, n]), length)),
        (0u16..4, 126u8..=128)
            .prop_map(|(n, length)| IpNet::new(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]), length)),
        Just(IpNet::new(IpAddr::from([0, 0, 0, 0]), 0)),
        Just(IpNet::new(IpAddr::from([0u16; 8]), 0)),
    ];
    sorted(prefix.prop_map(|prefix| prefix.expect("a valid length").trunc()))
}

fn port_lists() -> impl Strategy<Value = Option<Vec<PortRange>>> {
    // Disjoint and never touching, as the model wants them.
    let lists =
        vec![vec![(1, 1)], vec![(2, 2)], vec![(1, 2)], vec![(1, 3)], vec![(3, 9)], vec![(1, 1), (3, 3)]];
    let range = |(first, last)| PortRange { first, last };
    let list = prop::sample::select(lists).prop_map(move |list| list.into_iter().map(range).collect());
    prop_oneof![2 => Just(None), 1 => list.prop_map(Some)]
}

/// Some of a few ranges, often none.
fn some_of<T: Copy + std::fmt::Debug + 'static>(
    lists: Vec<Vec<(T, T)>>,
) -> impl Strategy<Value = Option<Vec<Range<T>>>> {
    let range = |(first, last)| Range { first, last };
    let lists: Vec<Vec<Range<T>>> =
        lists.into_iter().map(|list| list.into_iter().map(range).collect()).collect();
    prop_oneof![4 => Just(None), 1 => prop::sample::select(lists).prop_map(Some)]
}

fn labels() -> impl Strategy<Value = Option<LabelTest>> {
    let test =
        (prop::sample::subsequence(vec!["a", "b", "c"], 1..=3), any::<bool>()).prop_map(|(names, all)| {
            LabelTest { all: all && names.len() > 1, names: names.into_iter().map(str::to_owned).collect() }
        });
    prop_oneof![3 => Just(None), 2 => test.prop_map(Some)]
}

fn tcp_flags() -> impl Strategy<Value = Option<Vec<TcpFlags>>> {
    let tests = [(2, 2), (2, 18), (0, 16), (18, 18)].map(|(set, mask)| TcpFlags { set, mask });
    let list = prop::sample::subsequence(tests.to_vec(), 1..=2);
    prop_oneof![4 => Just(None), 1 => list.prop_map(Some)]
}

fn fragments() -> impl Strategy<Value = Option<Vec<Fragment>>> {
    let kinds = vec![Fragment::Dont, Fragment::First, Fragment::Later, Fragment::Last];
    let list = prop::sample::subsequence(kinds, 1..=3);
    prop_oneof![4 => Just(None), 1 => list.prop_map(Some)]
}

prop_compose! {
    fn addressed()(
        interface in sorted(prop::sample::select(vec!["eth0".to_owned(), "eth1".to_owned()])),
        from in prefixes(),
        labels in labels(),
        to in prefixes(),
        protocol in sorted(prop::sample::select(vec![6u8, 17, 47, 132, 1, 58])),
        port in port_lists(),
        source_port in port_lists(),
    ) -> Match {
        let from = from.filter(|_| !labels.as_ref().is_some_and(|test| test.all));
        Match { interface, from, labels, to, protocol, port, source_port, ..Match::default() }
    }
}

prop_compose! {
    fn components()(
        addressed in addressed(),
        bare in any::<bool>(),
        icmp_type in some_of(vec![vec![(8, 8)], vec![(0, 8)], vec![(0, 255)]]),
        icmp_code in some_of(vec![vec![(0, 0)], vec![(0, 1)]]),
        tcp_flags in tcp_flags(),
        length in some_of(vec![vec![(0, 100)], vec![(0, 99), (101, 65_535)], vec![(0, 65_535)]]),
        dscp in some_of(vec![vec![(46, 46)], vec![(0, 63)], vec![(8, 46)]]),
        fragment in fragments(),
        flow_label in some_of(vec![vec![(5, 5)], vec![(0, 0xf_ffff)], vec![(0, 9)]]),
        vlan in some_of(vec![vec![(0, 0)], vec![(0, 4_094)], vec![(1, 100)]]),
        ttl in some_of(vec![vec![(0, 255)], vec![(1, 64)], vec![(64, 64)]]),
    ) -> Match {
        if bare {
            return addressed;
        }
        Match { icmp_type, icmp_code, tcp_flags, length, dscp, fragment, flow_label, vlan, ttl, ..addressed }
    }
}

prop_compose! {
    /// Few components, or the small world would hold nothing that matches.
    fn any_match()(
        all in components(),
        not in prop_oneof![1 => Just(None), 1 => components().prop_map(Some)],
        kept in any::<u16>(),
        negated in any::<(u16, u16)>(),
    ) -> Match {
        let mut matches = Match::default();
        for (bit, part) in Component::ALL.into_iter().enumerate() {
            if kept >> bit & 1 != 0 {
                part.copy(&all, &mut matches);
            }
        }
        matches.not = not.and_then(|all| {
            let mut not = Match::default();
            for (bit, part) in Component::ALL.into_iter().enumerate() {
                if negated.0 & negated.1 >> bit & 1 != 0 {
                    part.copy(&all, &mut not);
                }
            }
            (not != Match::default()).then(|| Box::new(not))
        });
        matches
    }
}

#[test]
fn labels_hide_by_their_names_alone() {
    const LABELS: &str = "version: 1\nlabels: {a: [10.0.0.0/8], b: [10.1.0.0/16], c: []}\nroutes:\n";
    let hidden = |first: &str, second: &str| {
        let text = format!(
            "{LABELS}- {{name: first, match: {first}, action: drop}}\n- {{name: second, match: {second}, action: pass}}"
        );
        let policy = parse("t", &text).expect("a valid policy");
        !shadowed(&policy).is_empty()
    };
    for (first, second) in [
        ("{from: a}", "{from: a, port: 80}"),
        ("{from: [a, b]}", "{from: a}"),
        ("{from: a}", "{from: {all: [a, b]}}"),
        ("{from: {all: [a, b]}}", "{from: {all: [a, b, c]}}"),
        ("{not: {from: a}}", "{not: {from: [a, b]}}"),
        ("{not: {from: {all: [a, b]}}}", "{not: {from: a}}"),
        ("{from: [a, 10.0.0.0/8]}", "{from: 10.3.0.0/16}"),
        ("{from: [a, 10.0.0.0/8]}", "{from: [a, 10.3.0.0/16]}"),
        ("{not: {port: 22}}", "{port: 80}"),
        ("{not: {port: 22}}", "{protocol: icmp, not: {port: [22, 80]}}"),
        ("{ttl: 0-255}", "{from: a}"),
    ] {
        assert!(hidden(first, second), "{first} hides {second}");
    }
    for (first, second) in [
        ("{from: a}", "{from: 10.0.0.0/8}"),
        ("{from: 10.0.0.0/8}", "{from: a}"),
        ("{from: a}", "{from: [a, b]}"),
        ("{from: {all: [a, b]}}", "{from: a}"),
        ("{from: {all: [a, b]}}", "{from: [a, b]}"),
        ("{not: {from: [a, b]}}", "{not: {from: a}}"),
        ("{not: {from: a}}", "{from: b}"),
        ("{from: [a, 10.0.0.0/8]}", "{from: [b, 10.3.0.0/16]}"),
        ("{not: {port: 22}}", "{protocol: tcp}"),
        ("{flow_label: 0-1048575}", "{ttl: 3}"),
    ] {
        assert!(!hidden(first, second), "{first} does not hide {second}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_route_is_named_only_if_no_packet_reaches_it(list in prop::collection::vec(any_match(), 2..14), seed in any::<u64>()) {
        let route = |(i, matches)| Route { matches, ..Route::new(format!("r{i}"), Action::Pass) };
        let routes: Vec<Route> = list.into_iter().enumerate().map(route).collect();
        let world = world(seed);
        let mut reached = vec![false; routes.len()];
        for packet in &world {
            if let Some(first) = routes.iter().position(|route| matches(&route.matches, packet)) {
                reached[first] = true;
            }
        }
        let policy = Policy::new(routes, Verdict::Pass);
        let found = shadowed_indices(&policy);
        for (route, by) in &found {
            prop_assert!(!reached[*route], "r{} is reached, but named as hidden by {:?}", route, by);
            prop_assert!(by.iter().all(|other| other < route));
            // The packets that it would take are exactly what those named take first.
            for packet in &world {
                if matches(&policy.routes[*route].matches, packet) {
                    prop_assert!(by.iter().any(|other| matches(&policy.routes[*other].matches, packet)));
                }
            }
        }
        // Literally the same match again is always found.
        for (i, route) in policy.routes.iter().enumerate() {
            let twin = policy.routes[..i].iter().any(|other| other.matches == route.matches);
            let possible = world.iter().any(|packet| matches(&route.matches, packet));
            if twin && possible {
                prop_assert!(found.iter().any(|(route, _)| *route == i));
            }
        }
    }
}
