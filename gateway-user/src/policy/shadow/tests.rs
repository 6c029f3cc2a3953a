use super::*;
use crate::policy::{Action, Default as Verdict, Malformed, Match, PortRange, Route, parse};
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
    let route = |i: u32, matches| Route {
        name: format!("r{i}"),
        matches,
        mark: None,
        priority: None,
        action: Action::Drop,
    };
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
    let policy = Policy { routes, default: Verdict::Pass, malformed: Malformed::default() };
    let start = std::time::Instant::now();
    assert_eq!(shadowed(&policy), [Shadowed { route: "r10000".into(), hidden_by: vec!["r577".into()] }]);
    // Half a second without optimization; the limit allows for a busy machine.
    assert!(start.elapsed().as_secs() < 20, "took {:?}", start.elapsed());
}

/// A packet of the small world in which the property is tested.
#[derive(Clone, Copy)]
struct Packet {
    interface: &'static str,
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    /// Destination, source.
    ports: Option<(u16, u16)>,
}

/// The meaning of a match, written from its definition.
fn matches(wanted: &Match, packet: &Packet) -> bool {
    let address = |prefixes: &Option<Vec<IpNet>>, address: IpAddr| {
        prefixes.as_ref().is_none_or(|prefixes| prefixes.iter().any(|prefix| prefix.contains(&address)))
    };
    let port = |ranges: &Option<Vec<PortRange>>, port: Option<u16>| {
        let within = |port| move |range: &PortRange| range.first <= port && port <= range.last;
        ranges.as_ref().is_none_or(|ranges| port.is_some_and(|port| ranges.iter().any(within(port))))
    };
    wanted.interface.as_ref().is_none_or(|names| names.iter().any(|name| name == packet.interface))
        && address(&wanted.from, packet.from)
        && address(&wanted.to, packet.to)
        && wanted.protocol.as_ref().is_none_or(|protocols| protocols.contains(&packet.protocol))
        && port(&wanted.port, packet.ports.map(|ports| ports.0))
        && port(&wanted.source_port, packet.ports.map(|ports| ports.1))
}

/// Every packet of the small world: each family's four lowest addresses and one beyond, three
/// interfaces, and protocols with and without ports.
fn world() -> Vec<Packet> {
    let addresses: Vec<[IpAddr; 2]> = (0..4u8)
        .chain([200])
        .map(|n| [IpAddr::from([10, 0, 0, n]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)])])
        .collect();
    let mut protocols = vec![(6, None), (47, None)];
    for port in [1, 2, 3, 9] {
        protocols.extend([
            (6, Some((port, 1))),
            (6, Some((port, 2))),
            (17, Some((port, 1))),
            (132, Some((port, 9))),
        ]);
    }
    let mut out = Vec::new();
    for family in 0..2 {
        for from in &addresses {
            for to in &addresses {
                for (protocol, ports) in &protocols {
                    for interface in ["eth0", "eth1", "eth9"] {
                        let (from, to) = (from[family], to[family]);
                        out.push(Packet { interface, from, to, protocol: *protocol, ports: *ports });
                    }
                }
            }
        }
    }
    out
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

prop_compose! {
    fn any_match()(
        interface in sorted(prop::sample::select(vec!["eth0".to_owned(), "eth1".to_owned()])),
        from in prefixes(),
        to in prefixes(),
        protocol in sorted(prop::sample::select(vec![6u8, 17, 47, 132])),
        port in port_lists(),
        source_port in port_lists(),
    ) -> Match {
        Match { interface, from, to, protocol, port, source_port }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_route_is_named_only_if_no_packet_reaches_it(list in prop::collection::vec(any_match(), 2..14)) {
        let route = |(i, matches)| Route {
            name: format!("r{i}"), matches, mark: None, priority: None, action: Action::Pass,
        };
        let routes: Vec<Route> = list.into_iter().enumerate().map(route).collect();
        let mut reached = vec![false; routes.len()];
        for packet in world() {
            if let Some(first) = routes.iter().position(|route| matches(&route.matches, &packet)) {
                reached[first] = true;
            }
        }
        let policy = Policy { routes, default: Verdict::Pass, malformed: Malformed::default() };
        let found = shadowed_indices(&policy);
        for (route, by) in &found {
            prop_assert!(!reached[*route], "r{} is reached, but named as hidden by {:?}", route, by);
            prop_assert!(by.iter().all(|other| other < route));
            // The packets that it would take are exactly what those named take first.
            for packet in world() {
                if matches(&policy.routes[*route].matches, &packet) {
                    prop_assert!(by.iter().any(|other| matches(&policy.routes[*other].matches, &packet)));
                }
            }
        }
        // Literally the same match again is always found.
        for (i, route) in policy.routes.iter().enumerate() {
            let twin = policy.routes[..i].iter().any(|other| other.matches == route.matches);
            let possible = world().iter().any(|packet| matches(&route.matches, packet));
            if twin && possible {
                prop_assert!(found.iter().any(|(route, _)| *route == i));
            }
        }
    }
}
