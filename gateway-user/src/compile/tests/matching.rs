//! What matches, case by case.

use super::*;
use crate::compile::Section;
use gateway_common::abi::{COUNTER_DEFAULT, Verdict};
use gateway_common::image::{ATTRIBUTES_LINE, Combination, HEADER_MAGIC, HeaderAttributes, dimension};
use gateway_common::reason::Reason;

/// Expects the route for each source.
fn expect(policy: &Policy, cases: &[(&str, u32)]) {
    let placed = Placed::of(policy);
    for &(source, route) in cases {
        let destination = if source.contains(':') { "::9" } else { "9.9.9.9" };
        assert_eq!(placed.route(1, &packet(source, destination)), route, "{source}");
    }
}

#[test]
fn nested_prefixes_inherit_the_lists_around_them() {
    let policy =
        policy([from(&["10.1.2.3/32"]), from(&["10.1.0.0/16", "2001:db8:1::/48"]), from(&["10.0.0.0/8"])]);
    expect(
        &policy,
        &[
            ("10.1.2.3", 0),
            ("10.1.2.4", 1),
            ("10.2.0.0", 2),
            ("11.0.0.0", 3),
            ("2001:db8:1:ffff::", 1),
            ("2001:db8:2::", 3),
        ],
    );
}

#[test]
fn a_shorter_prefix_of_an_earlier_route_hides_a_longer_one() {
    let policy =
        policy([from(&["10.0.0.0/8"]), from(&["10.1.0.0/16"]), from(&["10.1.2.3/32", "11.0.0.1/32"])]);
    expect(&policy, &[("10.0.0.1", 0), ("10.1.0.1", 0), ("10.1.2.3", 0), ("11.0.0.1", 2), ("11.0.0.2", 3)]);
}

#[test]
fn whole_families_and_single_addresses() {
    let policy = policy([
        from(&["0.0.0.0/32", "255.255.255.255/32", "::/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]),
        from(&["::/0"]),
        from(&["0.0.0.0/0"]),
    ]);
    expect(
        &policy,
        &[
            ("0.0.0.0", 0),
            ("0.0.0.1", 2),
            ("255.255.255.255", 0),
            ("255.255.255.254", 2),
            ("::", 0),
            ("::1", 1),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 1),
        ],
    );
}

#[test]
fn adjacent_prefixes_do_not_touch() {
    let policy = policy([from(&["10.0.0.0/25"]), from(&["10.0.0.128/25"]), from(&["10.0.1.0/24"])]);
    expect(
        &policy,
        &[
            ("9.255.255.255", 3),
            ("10.0.0.127", 0),
            ("10.0.0.128", 1),
            ("10.0.0.255", 1),
            ("10.0.1.0", 2),
            ("10.0.2.0", 3),
        ],
    );
}

/// A marker that leads to a longer prefix must not lose the shorter one for addresses that the
/// longer does not hold.
#[test]
fn markers_carry_the_class_of_what_holds_them() {
    let lengths = [4, 8, 12, 16, 20, 24, 28, 32];
    let chain = lengths.map(|length| from(&[&format!("{}/{length}", mask("10.170.170.170", length))]));
    let policy = policy(chain.into_iter().rev());
    let placed = Placed::of(&policy);
    for (i, length) in lengths.into_iter().enumerate() {
        // Leaves the chain just behind this prefix.
        let address = u32::from(Ipv4Addr::new(10, 170, 170, 170));
        let source = if length == 32 { address } else { address ^ 1 << (31 - length) };
        let source = Ipv4Addr::from(source);
        assert_eq!(placed.route(1, &addressed(source.into(), source.into())), 7 - i as u32, "{source}");
    }
    expect(&policy, &[("240.0.0.1", 8)]);

    let policy =
        super::policy([from(&["10.1.1.1/32", "2001:db8::1/128"]), from(&["12.0.0.0/8", "10.0.0.0/15"])]);
    expect(
        &policy,
        &[("10.1.1.1", 0), ("10.1.1.2", 1), ("10.2.1.1", 2), ("12.1.1.1", 1), ("2001:db8::2", 2)],
    );
}

fn mask(address: &str, length: u8) -> Ipv4Addr {
    ipnet::Ipv4Net::new_assert(address.parse().unwrap(), length).network()
}

#[test]
fn ports_to_their_edges_and_only_where_there_are_ports() {
    let on = |port, source_port| Match { port, source_port, ..Match::default() };
    let policy = policy([
        on(ports(&[(0, 0), (65_535, 65_535)]), None),
        on(ports(&[(80, 80), (8_000, 8_099)]), None),
        on(ports(&[(8_050, 9_000)]), None),
        on(None, ports(&[(65_535, 65_535)])),
        on(ports(&[(0, 65_535)]), ports(&[(0, 100)])),
    ]);
    let placed = Placed::of(&policy);
    for (source_port, port, route) in [
        (200, 0, 0),
        (200, 65_535, 0),
        (200, 1, 5),
        (200, 80, 1),
        (200, 79, 5),
        (200, 81, 5),
        (200, 8_099, 1),
        (200, 8_100, 2),
        (200, 9_001, 5),
        (65_535, 1, 3),
        (0, 65_534, 4),
        (101, 65_534, 5),
    ] {
        let packet = tcp("10.0.0.1", "10.0.0.2", source_port, port);
        assert_eq!(placed.route(1, &packet), route, "{source_port} {port}");
    }
    let icmp = Packet { port: 80, flags: flags::HAS_ICMP, ..packet("10.0.0.1", "10.0.0.2") };
    assert_eq!(placed.route(1, &icmp), 5);
}

#[test]
fn interfaces_and_protocols() {
    let on = |interface: &[&str], protocol: Option<Vec<u8>>| Match {
        interface: list(interface),
        protocol,
        ..Match::default()
    };
    let policy = policy([
        on(&["gone"], None),
        on(&["eth1", "eth255"], Some(vec![0, 6])),
        on(&["eth1", "eth2", "gone"], None),
        Match { protocol: Some(vec![17]), ..Match::default() },
    ]);
    let placed = Placed::of(&policy);
    for (slot, protocol, route) in
        [(1, 6, 1), (1, 0, 1), (1, 17, 2), (255, 6, 1), (255, 17, 3), (2, 6, 2), (0, 17, 3), (3, 6, 4)]
    {
        let packet = Packet { protocol, ..packet("10.0.0.1", "10.0.0.2") };
        assert_eq!(placed.route(slot, &packet), route, "slot {slot} protocol {protocol}");
    }
}

#[test]
fn a_route_that_names_nothing_matches_every_packet() {
    let placed = Placed::of(&policy([from(&["10.0.0.0/8"]), Match::default(), from(&["11.0.0.0/8"])]));
    assert_eq!(placed.route(0, &packet("10.0.0.1", "1.1.1.1")), 0);
    assert_eq!(placed.route(0, &packet("11.0.0.1", "1.1.1.1")), 1);
    assert_eq!(placed.route(0, &packet("::1", "::2")), 1);
}

#[test]
fn a_list_of_all_addresses_costs_no_look_up() {
    let image = compiled(&policy([from(&["::/0", "0.0.0.0/0"])])).unwrap();
    let placed = Placed::new(&image);
    assert_eq!(placed.hot.dimensions, 0);
    assert_eq!(image.sections[Section::Sources as usize].len(), 0);
    assert_eq!(placed.route(1, &packet("::1", "::2")), 0);
}

#[test]
fn only_what_a_route_needs_is_looked_up() {
    let mut never = from(&["10.0.0.0/8"]);
    never.interface = list(&["gone"]);
    never.port = ports(&[(1, 2)]);
    let to = Match { to: list(&["10.0.0.0/8"]), protocol: Some(vec![6]), ..Match::default() };
    let placed = Placed::of(&policy([never, to]));
    assert_eq!(placed.hot.dimensions, dimension::DESTINATION | dimension::PROTOCOL);
    assert_eq!((placed.hot.port_classes, placed.hot.source_port_classes), (0, 0));
    assert_eq!(placed.hot.length_counts, [0, 0, 1, 0]);
    assert_eq!(placed.hot.combination_count, 1);
}

/// The kernel ends its search at the first combination that begins behind what it has found.
#[test]
fn combinations_are_listed_by_their_lowest_routes() {
    let named = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 1)].map(|(protocol, from)| Match {
        protocol: (protocol != 0).then(|| vec![6]),
        from: list(&["10.0.0.0/8"]).filter(|_| from != 0),
        ..Match::default()
    });
    let image = compiled(&policy(named.into_iter().rev())).unwrap();
    let lines = &image.sections[Section::CombinationList as usize];
    let entries: [Combination; 4] = bytemuck::cast([lines[0], lines[1]]);
    let listed = entries.map(|combination| (combination.first_route, combination.dimensions));
    let (from, protocol) = (dimension::SOURCE, dimension::PROTOCOL);
    assert_eq!(listed, [(0, from), (1, from | protocol), (3, protocol), (4, 0)]);
    assert_eq!(lines.len(), 2);
}

#[test]
fn actions_become_entries_and_the_default_is_the_last() {
    let mut policy =
        policy([from(&["1.0.0.0/8"]), from(&["2.0.0.0/8"]), from(&["3.0.0.0/8"]), from(&["4.0.0.0/8"])]);
    policy.routes[0].mark = Some(16);
    policy.routes[0].priority = Some(7);
    policy.routes[1].action = Action::Drop;
    policy.routes[2].action = Action::Tx;
    policy.routes[3].action = Action::Redirect { interface: "eth9".into() };
    policy.default = Default::Drop;
    let placed = Placed::of(&policy);
    let entry = |counter, verdict: Verdict, reason, egress_slot| RouteEntry {
        counter,
        verdict: verdict as u8,
        reason,
        egress_slot,
        ..RouteEntry::default()
    };
    assert_eq!(*placed.entry(0), RouteEntry { mark: 16, priority: 7, ..entry(16, Verdict::Pass, 0, 0) });
    assert_eq!(*placed.entry(1), entry(17, Verdict::Drop, Reason::Route.code(), 0));
    assert_eq!(*placed.entry(2), entry(18, Verdict::Tx, 0, 0));
    assert_eq!(*placed.entry(3), entry(19, Verdict::Redirect, 0, 9));
    assert_eq!(placed.route(1, &packet("5.0.0.0", "1.1.1.1")), 4);
    assert_eq!(*placed.entry(4), entry(COUNTER_DEFAULT, Verdict::Drop, Reason::Default.code(), 0));
}

#[test]
fn no_routes_at_all() {
    let mut policy = policy([]);
    policy.malformed.drop_bits = 0;
    let placed = Placed::of(&policy);
    assert_eq!(placed.route(1, &packet("5.0.0.0", "1.1.1.1")), 0);
    assert_eq!(*placed.entry(0), RouteEntry::default());
    assert_eq!(placed.hot, HeaderHot { routes: placed.hot.routes, ..HeaderHot::default() });
}

#[test]
fn the_header_keeps_what_user_space_needs() {
    let image = compiled(&policy([from(&["10.0.0.0/8"])])).unwrap();
    let cold = HeaderCold {
        generation: 3,
        applied_at_unix_secs: 5,
        policy_digest: [1, 2, 3, 4],
        ..HeaderCold::default()
    };
    let header = image.header(&std::array::from_fn(|i| 100 * (i as u32 + 1)), &cold);
    let hot: HeaderHot = bytemuck::cast(header[0]);
    assert_eq!((hot.sources.base, hot.destinations.base, hot.combinations.base), (100, 0, 300));
    assert_eq!((hot.combination_list, hot.routes, hot.port_classes), (400, 500, 0));
    let attributes: HeaderAttributes = bytemuck::cast(header[ATTRIBUTES_LINE as usize]);
    assert_eq!(attributes.malformed_drop, Reason::all_malformed_bits());
    assert_eq!(bytemuck::cast::<_, HeaderCold>(header[1]), HeaderCold { magic: HEADER_MAGIC, ..cold });
    assert_eq!(image.place_in(&mut [Line::default(); 20], 7, &cold), None);
}

/// A change of what routes do leaves every table but the routes as it was, to be shared.
#[test]
fn a_new_mark_changes_the_routes_only() {
    let mut policy = policy([from(&["10.0.0.0/8"]), from(&["10.1.0.0/16"])]);
    let before = compiled(&policy).unwrap();
    policy.routes[1].mark = Some(5);
    let after = compiled(&policy).unwrap();
    for (i, (before, after)) in before.sections.iter().zip(&after.sections).enumerate() {
        assert_eq!(before != after, i == Section::Routes as usize, "section {i}");
    }
}
