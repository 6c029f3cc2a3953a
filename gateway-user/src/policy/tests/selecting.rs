//! Labels of targets, routes that choose among targets by them, and proxies.

use super::errors::{each_route, findings};
use super::policy;
use crate::policy::{Action, Position, diff, parse, parse_patch, parse_route, to_yaml};

const TWO: &str = "version: 1
pools:
  web:
    forward: dnat
    targets:
      - {name: v1, address: 10.0.0.11, labels: {version: v1, zone: a}}
      - {name: v2, address: 10.0.0.12, weight: 0, labels: {version: v2, zone: a}}
      - {name: v3, address: 10.0.0.13, labels: {zone: b, 'yes': 1e3}}
  bare: {forward: l2, targets: {name: a, address: 10.0.0.9}}
routes:
- {name: a, match: {from: 10.20.0.0/16}, action: {pool: web, targets: {zone: a, version: v1}}}
- {name: b, match: {to: 192.0.2.1, protocol: [tcp, udp]}, action: {proxy: 15001}}
- {name: c, match: {to: 192.0.2.2}, action: {pool: web}}
- {name: d, match: {to: 192.0.2.3}, action: {pool: bare}}
";

#[test]
fn what_routes_ask_of_targets_is_read_and_written() {
    let policy = policy(TWO);
    let Action::Pool { pool, targets } = &policy.routes[0].action else { panic!("{policy:?}") };
    let selected: Vec<&String> = policy.pools[pool].selected(targets).map(|(name, _)| name).collect();
    assert_eq!(selected, ["v1"]);
    assert_eq!(policy.routes[1].action, Action::Proxy { port: 15_001 });
    assert_eq!(policy.routes[2].action, Action::pool("web"));
    let written = to_yaml(&policy);
    for line in [
        "      - {name: v1, address: 10.0.0.11, labels: {version: v1, zone: a}}\n",
        "      - {name: v2, address: 10.0.0.12, weight: 0, labels: {version: v2, zone: a}}\n",
        "      - {name: v3, address: 10.0.0.13, labels: {\"yes\": \"1e3\", zone: b}}\n",
        "    action: {pool: web, targets: {version: v1, zone: a}}\n",
        "    action: {proxy: 15001}\n",
        "    action: {pool: web}\n",
    ] {
        assert!(written.contains(line), "{line}{written}");
    }
    assert_eq!(parse("again", &written), Ok(policy.clone()));

    let mut changed = policy.clone();
    changed.set_route("a", &parse_patch("t", "action: {pool: web, targets: {zone: b}}").unwrap()).unwrap();
    changed.pools.get_mut("web").unwrap().targets.get_mut("v1").unwrap().labels.remove("version");
    assert_eq!(
        diff(&policy, &changed).to_string(),
        "~ a
    action: {pool: web, targets: {version: v1, zone: a}} → {pool: web, targets: {zone: b}}
~ pools.web.targets.v1: {address: 10.0.0.11, labels: {version: v1, zone: a}} → {address: 10.0.0.11, labels: {zone: a}}
"
    );
}

#[test]
fn what_a_route_asks_for_is_there() {
    let with = |from: &str, to: &str| findings(&TWO.replace(from, to));
    let asked = "targets: {zone: a, version: v1}";
    assert_eq!(
        with(asked, "targets: {zone: b, version: v1}"),
        [
            "11:71 {zone: b, version: v1} | no target of pool `web` has `version: v1` and `zone: b` | the labels there are `version: v1`, `version: v2`, `yes: 1e3`, `zone: a`, `zone: b`"
        ]
    );
    assert_eq!(
        with("{pool: bare}", "{pool: bare, targets: {zone: a}}"),
        [
            "14:67 {zone: a} | no target of pool `bare` has `zone: a` | its targets have no labels: write them at a target, `labels: {version: v2}`"
        ]
    );
    assert_eq!(
        with(asked, "targets: {version: v2}"),
        [
            "11:10 a | no target of pool `web` that route `a` asks for takes packets: all have weight 0 | what it sends there is dropped until one has a weight"
        ]
    );
    assert_eq!(
        with(asked, "targets: {}"),
        ["11:71 {} | `targets` has no value | write labels, `{version: v2}`, or leave it out for all"]
    );
    assert_eq!(
        with(asked, "targets: [v1]"),
        [
            "11:71 [v1] | `targets` must be a map of labels, not a list | write each with its value: `{version: v2}`"
        ]
    );
    // Targets that could not be read may have had them.
    let found = with("address: 10.0.0.13", "address: here");
    assert_eq!(found.len(), 1, "{found:?}");

    let route = |targets: &str| {
        parse_route("t", &format!("{{name: new, action: {{pool: web, targets: {targets}}}}}")).unwrap()
    };
    let mut policy = policy(TWO);
    let error = policy.add_route(route("{version: v9}"), &Position::Last).unwrap_err().to_string();
    assert_eq!(
        error,
        "route `new`: no target of pool `web` has `version: v9`; the labels there are `version: v1`, `version: v2`, `yes: 1e3`, `zone: a`, `zone: b`"
    );
    policy.add_route(route("{zone: b}"), &Position::Last).unwrap();
}

#[test]
fn labels_are_words() {
    let with = |labels: &str| findings(&TWO.replace("{zone: b, 'yes': 1e3}", labels));
    assert_eq!(
        with("{2nd: b}"),
        [
            "8:49 2nd | a label's name begins with a letter | use a letter, then up to 63 of the characters A-Z a-z 0-9 _ . -"
        ]
    );
    assert_eq!(
        with("{zone: 'a b'}"),
        [
            "8:55 'a b' | ' ' may not stand in a label's value | use 1 to 64 of the characters A-Z a-z 0-9 _ . -"
        ]
    );
    assert_eq!(
        with("{zone: b, zone: c}"),
        ["8:58 zone | the label `zone` is given twice | keep one of them"]
    );
    assert_eq!(
        with("{zone: [b]}"),
        ["8:55 [b] | `zone` takes single values, not a list | write `zone` as a plain word or number"]
    );
}

#[test]
fn one_way_to_go() {
    each_route(&[
        (
            "{name: a, action: {redirect: eth1, proxy: 1}}",
            "3:38 proxy | a route has one action, not two | keep one of them: a packet goes one way",
        ),
        (
            "{name: a, action: {redirect: eth1, targets: {a: b}}}",
            "3:38 targets | `targets` chooses among those of a pool | write `{pool: web, targets: {version: v2}}`",
        ),
        (
            "{name: a, match: {protocol: tcp}, action: {proxy: 0}}",
            "3:53 0 | \"0\" is not a port | write the port that the proxy listens on, 1 to 65535",
        ),
        (
            "{name: a, action: proxy}",
            "3:21 proxy | there is no action \"proxy\" | say where it listens: `{proxy: 15001}`",
        ),
        (
            "{name: a, action: {proxy: 15001}}",
            "3:13 action | a proxy takes TCP and UDP, and this route matches other protocols too | name them: `match: {protocol: [tcp, udp]}`, or one of them",
        ),
        (
            "{name: a, match: {protocol: [tcp, sctp]}, action: {proxy: 15001}}",
            "3:45 action | a proxy takes TCP and UDP, and this route matches other protocols too | name them: `match: {protocol: [tcp, udp]}`, or one of them",
        ),
    ]);
}
