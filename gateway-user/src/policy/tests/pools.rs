//! Pools: how they are written, and what can be wrong with them.

use super::errors::{each, findings};
use super::policy;
use crate::policy::{Action, EditError, Forward, Position, Target, diff, parse, parse_route, to_yaml};
use gateway_common::image::{HashOver, MAX_TARGETS};
use proptest::prelude::*;
use std::fmt::Write;

const HEAD: &str = "version: 1\n";

/// Each pool stands in line 3 from column 8, and no route forwards to it, which is told beside it.
fn each_pool(table: &[(&str, &str)]) {
    let unused =
        "3:3 web | no route forwards to pool `web` | let a route have `action: {pool: web}`, or take it out";
    for (pool, finding) in table {
        let text = format!("{HEAD}pools:\n  web: {pool}\n");
        let mut found = findings(&text);
        found.retain(|item| item != unused);
        assert_eq!(found, [format!("3:{finding}")], "in {text}");
    }
}

/// Each target stands in line 3 from column 33.
fn each_target(table: &[(&str, &str)]) {
    for (target, finding) in table {
        each_pool(&[(&format!("{{forward: ipip, targets: [{target}]}}"), finding)]);
    }
}

#[test]
fn a_pool_is_read_and_written_canonically() {
    let text = "version: 1
pools:
  web:
    targets:
      - {weight: 95, address: 10.0.0.11, name: v1}
      - {name: v3, address: '2001:db8:0::13', weight: 0}
      - {name: v2, address: 10.0.0.12, weight: 100}
    source: ['2001:db8::1', 10.0.0.1]
    forward: ipip
  tunnel: {forward: gue, port: 5555, source: 10.0.0.1, hash: source, targets: {name: a, address: 10.0.0.9}}
  gue: {forward: gue, port: 6080, targets: [{name: a, address: 10.0.0.9}]}
  near: {forward: l2, hash: source-destination, targets: [{name: a, address: 10.0.0.9}]}
routes:
- {name: r1, action: {pool: web}}
- {name: r2, mark: 1, action: {pool: tunnel}}
";
    let policy = policy(text);
    let web = &policy.pools["web"];
    let Forward::Ipip { source } = web.forward else { panic!("{web:?}") };
    assert_eq!(
        source.iter().map(|address| address.to_string()).collect::<Vec<_>>(),
        ["10.0.0.1", "2001:db8::1"]
    );
    assert_eq!(web.hash, HashOver::FiveTuple);
    assert_eq!(web.targets["v1"], Target { weight: 95, ..Target::new("10.0.0.11".parse().unwrap()) });
    assert_eq!(policy.routes[0].action, Action::pool("web"));
    let canonical = r#"version: 1
pools:
  gue: {forward: gue, targets: {name: a, address: 10.0.0.9}}
  near: {forward: l2, hash: source-destination, targets: {name: a, address: 10.0.0.9}}
  tunnel: {forward: gue, hash: source, port: 5555, source: 10.0.0.1, targets: {name: a, address: 10.0.0.9}}
  web:
    forward: ipip
    source: [10.0.0.1, "2001:db8::1"]
    targets:
      - {name: v1, address: 10.0.0.11, weight: 95}
      - {name: v2, address: 10.0.0.12}
      - {name: v3, address: "2001:db8::13", weight: 0}
routes:
  - name: r1
    action: {pool: web}
  - name: r2
    mark: 0x1
    action: {pool: tunnel}
default: pass
malformed: drop
"#;
    assert_eq!(to_yaml(&policy), canonical);
    assert_eq!(parse("again", canonical), Ok(policy));
}

#[test]
fn what_a_pool_is() {
    const TARGETS: &str = "targets: [{name: a, address: 10.0.0.9}]";
    let with = |keys: &str| format!("{{{keys}, {TARGETS}}}");
    each_pool(&[
        ("", "3 web | `pool` has no value | write `ipip`, `gue`, `l2` or `dnat`"),
        (
            "[]",
            "8 [] | a pool must be a map, not a list | its keys are `forward`, `hash`, `port`, `source`, `ports`, `timeouts`, `affinity`, `mss`, `health` and `targets`",
        ),
        (
            &format!("{{{TARGETS}}}"),
            &format!("8 {{{TARGETS}}} | a pool has no `forward` | write `ipip`, `gue`, `l2` or `dnat`"),
        ),
        (&with("forward: gre"), "18 gre | a pool cannot forward by \"gre\" | did you mean `gue`?"),
        (
            &with("forward: ipip, port: 6080"),
            "24 port | an IP header has no port: `ipip` takes none | leave `port` out, or write `forward: gue`",
        ),
        (
            &with("forward: l2, port: 6080"),
            "22 port | `l2` adds no header that a port could stand in | leave it out: packets keep their headers",
        ),
        (
            &with("forward: l2, source: 10.0.0.1"),
            "22 source | `l2` adds no header that a source could stand in | leave it out: packets keep their headers",
        ),
        (
            &with("forward: gue, port: 0"),
            "29 0 | \"0\" is not a UDP port | write 1 to 65535; GUE's own is 6080",
        ),
        (
            &with("forward: ipip, hash: five_tuple"),
            "30 five_tuple | a target cannot be chosen by \"five_tuple\" | did you mean `five-tuple`?",
        ),
        (
            &with("forward: ipip, source: []"),
            "32 [] | `source` is an empty list | leave `source` out to let the node's routing choose",
        ),
        (
            &with("forward: ipip, source: [10.0.0.1, 10.0.0.2]"),
            "43 10.0.0.2 | `source` names two addresses of one family | keep one: a pool has one source for each family",
        ),
        (
            &with("forward: ipip, source: '2001:db8::1'"),
            "24 source | no target of pool `web` has an IPv6 address: 2001:db8::1 is never used | leave it out; an outer header is of its target's family",
        ),
        (
            "{forward: ipip}",
            "8 {forward: ipip} | a pool has no `targets` | write `targets: [{name: v1, address: 10.0.0.11}]`",
        ),
        (
            "{forward: ipip, targets: []}",
            "33 [] | a pool without targets has nowhere to send packets | write `targets: [{name: v1, address: 10.0.0.11}]`",
        ),
        (
            "{forward: ipip, targets: {name: a, address: 10.0.0.9, weight: 0}}",
            "3 web | no target of pool `web` takes packets: all have weight 0 | what routes send to it is dropped until one has a weight",
        ),
    ]);
    each(&[
        (
            "version: 1\npools: {1st: {forward: l2}}",
            "2:9 1st | a pool's name begins with a letter | use a letter, then up to 63 of the characters A-Z a-z 0-9 _ . -",
        ),
        (
            "version: 1\npools: [web]",
            "2:8 [web] | `pools` must be a map of names, not a list | write each under its name: `web: {forward: ipip, targets: [{name: v1, address: 10.0.0.11}]}`",
        ),
    ]);
}

#[test]
fn targets_and_addresses() {
    const ONE: &str = "write the address of one interface: 10.0.0.11 or \"2001:db8::11\"";
    let refused = |address: &str, what: &str| {
        let quoted = format!("{{name: a, address: '{address}'}}");
        let finding =
            format!("53 '{address}' | {address} is {what}, which no packet is forwarded to or from | {ONE}");
        each_target(&[(&quoted, &finding)]);
    };
    refused("0.0.0.0", "no address at all");
    refused("::", "no address at all");
    refused("0.1.2.3", "an address of \"this network\" (RFC 1122)");
    refused("127.0.0.1", "a loopback address");
    refused("::1", "a loopback address");
    refused("224.0.0.1", "a multicast address");
    refused("ff02::1", "a multicast address");
    refused("255.255.255.255", "the broadcast address");
    each_target(&[
        (
            "{name: a, address: 'fe80::1'}",
            "53 'fe80::1' | fe80::1 is a link-local address, which means something only with an interface | write one that is routed to: a unique local one (fd00::/8) will do",
        ),
        (
            "{name: a, address: '::ffff:10.0.0.1'}",
            "53 '::ffff:10.0.0.1' | ::ffff:10.0.0.1 is an IPv4 address | write 10.0.0.1",
        ),
        (
            "{name: a, address: 10.0.0.1/32}",
            "53 10.0.0.1/32 | \"10.0.0.1/32\" is not an address | write 10.0.0.1",
        ),
        (
            "{name: a, address: web1}",
            &format!("53 web1 | \"web1\" is not an address | {ONE}; host names are not looked up"),
        ),
        (
            "{name: a, address: 10.0.0.1, weight: -1}",
            "71 -1 | \"-1\" is not a weight | write 0 to 65535: a target gets its part of the sum, and with 0 nothing",
        ),
        (
            "{name: a, address: 10.0.0.1, weight: 65536}",
            "71 65536 | \"65536\" is not a weight | write 0 to 65535: a target gets its part of the sum, and with 0 nothing",
        ),
        (
            "{address: 10.0.0.1}",
            "34 {address: 10.0.0.1} | a target has no `name` | give it a name: its counters and its packets follow it",
        ),
        (
            "{name: a}",
            "34 {name: a} | a target has no `address` | write where it is reached: `address: 10.0.0.11`",
        ),
        (
            "10.0.0.1",
            "34 10.0.0.1 | a target must be a map, not a single value | its keys are `name`, `address`, `port`, `weight` and `labels`",
        ),
        (
            "{name: a, address: 10.0.0.1}, {name: a, address: 10.0.0.2}",
            "71 a | the target `a` is given twice | the first is in line 3: rename one of them",
        ),
        (
            "{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.1}",
            "83 10.0.0.1 | the address 10.0.0.1 is given twice in this pool | the first is in line 3: give that one both their weights",
        ),
    ]);
    // An address that a neighbour on the link may have.
    assert!(
        parse("t", "version: 1\npools: {a: {forward: l2, targets: [{name: a, address: 169.254.1.1}]}}")
            .is_ok()
    );
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = "version: 1
pools:
  web:
    forward: ipip
    port: 1
    targets:
      - {name: v1, address: 127.0.0.1}
      - {name: v1, address: 10.0.0.2, weight: x}
routes:
- {name: a, action: {pool: wbe}}
- {name: b, action: {pool: web, redirect: eth1}}
- {name: c, action: pool}
";
    assert_eq!(
        findings(text).iter().filter_map(|line| line.split(" | ").nth(1)).collect::<Vec<_>>(),
        [
            "an IP header has no port: `ipip` takes none",
            "127.0.0.1 is a loopback address, which no packet is forwarded to or from",
            "the target `v1` is given twice",
            "\"x\" is not a weight",
            "there is no pool `wbe`",
            "a route has one action, not two",
            "there is no action \"pool\"",
        ]
    );
}

#[test]
fn a_policy_has_as_many_targets_as_there_are_slots() {
    let with = |targets: usize| {
        let mut text = "version: 1\npools:\n  a: {forward: l2, targets: [{name: v, address: 10.0.0.1}]}\n  b:\n    forward: l2\n    targets:\n".to_owned();
        for i in 0..targets {
            let _ = writeln!(text, "      - {{name: t{i}, address: 10.1.{}.{}}}", i >> 8, i & 255);
        }
        text
    };
    assert!(parse("most", &with(MAX_TARGETS - 2)).is_ok());
    let found = findings(&with(MAX_TARGETS - 1));
    assert_eq!(
        found,
        ["4:3 b | with this pool's targets the policy has 16384 | 16383 are the most, of all pools together"]
    );
}

const TWO: &str = "version: 1
pools:
  old: {forward: l2, targets: {name: a, address: 10.0.0.9}}
  web: {forward: ipip, targets: [{name: v1, address: 10.0.0.11, weight: 95}, {name: v2, address: 10.0.0.12, weight: 5}]}
routes:
- {name: r, action: {pool: web}}
";

#[test]
fn differences_are_told_target_by_target() {
    let old = policy(TWO);
    let new = policy(
        "version: 1
pools:
  new: {forward: l2, targets: {name: a, address: 10.0.0.9}}
  web: {forward: gue, targets: [{name: v1, address: 10.0.0.11, weight: 90}, {name: v3, address: 10.0.0.12, weight: 5}]}
routes:
- {name: r, action: pass}
",
    );
    let text = "~ r
    action: {pool: web} → pass
~ pools.new: unset → {forward: l2, targets: {name: a, address: 10.0.0.9}}
~ pools.old: {forward: l2, targets: {name: a, address: 10.0.0.9}} → unset
~ pools.web: {forward: ipip} → {forward: gue}
~ pools.web.targets.v1: {address: 10.0.0.11, weight: 95} → {address: 10.0.0.11, weight: 90}
~ pools.web.targets.v2: {address: 10.0.0.12, weight: 5} → unset
~ pools.web.targets.v3: unset → {address: 10.0.0.12, weight: 5}
";
    assert_eq!(diff(&old, &new).to_string(), text);
    assert!(diff(&old, &old).is_empty());
}

#[test]
fn a_pool_that_nobody_uses_is_told() {
    assert_eq!(
        findings(TWO),
        [
            "3:3 old | no route forwards to pool `old` | let a route have `action: {pool: old}`, or take it out"
        ]
    );
}

#[test]
fn a_route_is_added_to_a_pool_that_is_there() {
    let mut policy = policy(TWO);
    let route = |pool: &str| parse_route("t", &format!("{{name: new, action: {{pool: {pool}}}}}")).unwrap();
    let error = policy.add_route(route("wbe"), &Position::Last).unwrap_err();
    assert_eq!(error.to_string(), "route `new`: there is no pool `wbe`; did you mean `web`?");
    let error = policy.add_route(route("other"), &Position::Last).unwrap_err();
    assert!(matches!(error, EditError::Contradiction { help, .. } if help.contains("under `pools`")));
    policy.add_route(route("old"), &Position::Last).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The order in which targets are written says nothing.
    #[test]
    fn the_order_of_targets_says_nothing(weights in prop::collection::vec(any::<u16>(), 1..9)) {
        let target = |(i, weight): (usize, &u16)| format!("{{name: v{i}, address: 10.0.0.{}, weight: {weight}}}", i + 1);
        let mut targets: Vec<String> = weights.iter().enumerate().map(target).collect();
        let text = |targets: &[String]| {
            format!("version: 1\npools: {{web: {{forward: ipip, targets: [{}]}}}}\n", targets.join(", "))
        };
        let forwards = parse("t", &text(&targets)).expect("valid");
        targets.reverse();
        prop_assert_eq!(parse("t", &text(&targets)).expect("valid"), forwards);
    }
}
