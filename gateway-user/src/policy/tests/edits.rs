use super::routes;
use crate::policy::{
    Action, Change, Component, EditError, Position, RoutePatch, diff, parse_patch, parse_route,
};
use crate::policy::{Policy, to_yaml};

fn three() -> Policy {
    routes(
        "- {name: api, match: {to: 10.0.0.1, protocol: icmp}, action: pass}
- {name: web, match: {from: 10.0.0.0/8, port: 80}, mark: 1, action: pass}
- {name: rest, action: drop}",
    )
}

fn order(policy: &Policy) -> Vec<&str> {
    policy.routes.iter().map(|route| route.name.as_str()).collect()
}

#[test]
fn a_route_goes_where_it_is_told() {
    for (position, expected) in [
        (Position::First, ["new", "api", "web", "rest"]),
        (Position::Last, ["api", "web", "rest", "new"]),
        (Position::Before("web".into()), ["api", "new", "web", "rest"]),
        (Position::After("web".into()), ["api", "web", "new", "rest"]),
    ] {
        let mut policy = three();
        let route = parse_route("t", "{name: new, action: tx}").expect("valid");
        policy.add_route(route, &position).expect("fits");
        assert_eq!(order(&policy), expected);
    }
}

#[test]
fn refused_edits_leave_the_policy_alone() {
    let mut policy = three();
    let web = policy.routes[1].clone();
    let exists = EditError::NameExists { name: "web".into() };
    assert_eq!(policy.add_route(web.clone(), &Position::Last), Err(exists));

    let error = policy.delete_route("wbe").expect_err("is not there");
    assert_eq!(error.to_string(), "no route is named `wbe`; did you mean `web`?");
    let error = policy.delete_route("something").expect_err("is not there");
    assert_eq!(error.to_string(), "no route is named `something`");
    let mut new = web;
    new.name = "new".into();
    assert!(policy.add_route(new, &Position::Before("no".into())).is_err());

    let patch = parse_patch("t", "match: {port: 80}").expect("valid");
    let error = policy.set_route("api", &patch).expect_err("icmp has no ports");
    assert_eq!(
        error.to_string(),
        "route `api`: nothing can match: protocol icmp has no ports; \
         leave `port` out, or name protocol tcp, udp or sctp"
    );
    assert_eq!(policy, three());
}

#[test]
fn a_change_replaces_what_it_names_and_null_takes_away() {
    let mut policy = three();
    let patch =
        parse_patch("t", r#"{"match": {"port": [443, 80], "from": null}, "mark": "0x20"}"#).expect("valid");
    assert_eq!(patch.components, [Component::Port, Component::From]);
    assert_eq!(patch.matches.from, None);
    assert_eq!(patch.priority, Change::Keep);
    policy.set_route("web", &patch).expect("makes sense");
    assert_eq!(
        policy.routes[1],
        parse_route("t", "{name: web, match: {port: [80, 443]}, mark: 32, action: pass}").expect("valid")
    );
    let patch = parse_patch("t", "{match: null, mark: null, action: {redirect: eth1}}").expect("valid");
    policy.set_route("web", &patch).expect("makes sense");
    assert_eq!(policy.routes[1], parse_route("t", "{name: web, action: {redirect: eth1}}").expect("valid"));
    assert_eq!(
        policy.delete_route("web").expect("is there").action,
        Action::Redirect { interface: "eth1".into() }
    );
    assert_eq!(order(&policy), ["api", "rest"]);
}

#[test]
fn a_change_that_is_wrong_is_told_like_a_document() {
    let error = parse_patch("command line", "{name: x, mark: 0, pool: 3}").expect_err("is wrong");
    let messages: Vec<&str> = error.items().iter().map(|item| item.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "a change to a route has no key `name`",
            "0 says that nothing is set",
            "a change to a route has no key `pool`"
        ]
    );
    assert_eq!(parse_patch("t", "{}").expect("changes nothing"), RoutePatch::default());
}

#[test]
fn a_difference_is_told_in_lines() {
    let old = three();
    let new = super::policy(
        "version: 1
default: drop
malformed: {default: drop, udp_length: pass}
routes:
- {name: rest, action: drop}
- {name: api, match: {to: 10.0.0.1, protocol: icmp}, action: pass}
- {name: new, match: {from: [10.0.0.0/8, '2001:db8::/32'], port: 80-90}, mark: 0x10, action: tx}
",
    );
    assert_eq!(
        diff(&old, &new).to_string(),
        "\
- web from 10.0.0.0/8 port 80 mark 0x1 action pass
+ new from [10.0.0.0/8, \"2001:db8::/32\"] port 80-90 mark 0x10 action tx  (after api)
~ rest  (moved first)
~ default: pass → drop
~ malformed: drop → {default: drop, udp_length: pass}
"
    );
    assert!(diff(&old, &old).is_empty());
    assert_eq!(diff(&old, &old).to_string(), "");
}

#[test]
fn changed_fields_are_named_and_long_lists_told_by_what_came_and_went() {
    let mut old = three();
    let list = |range: std::ops::Range<u8>| -> RoutePatch {
        let prefixes: Vec<String> = range.map(|i| format!("10.{i}.0.0/16")).collect();
        parse_patch("t", &format!("match: {{from: [{}]}}", prefixes.join(", "))).expect("valid")
    };
    old.set_route("web", &list(0..20)).expect("makes sense");
    let mut new = old.clone();
    new.set_route("web", &list(1..30)).expect("makes sense");
    let patch = parse_patch("t", "{mark: 2, priority: 3, match: {port: null}}").expect("valid");
    new.set_route("web", &patch).expect("makes sense");
    let difference = diff(&old, &new);
    assert_eq!(
        difference.to_string(),
        "\
~ web
    match.from - 10.0.0.0/16
    match.from + 10.20.0.0/16, 10.21.0.0/16, 10.22.0.0/16, 10.23.0.0/16, 10.24.0.0/16, 10.25.0.0/16, \
10.26.0.0/16, 10.27.0.0/16, … 2 more
    match.port: 80 → unset
    mark: 0x1 → 0x2
    priority: unset → 3
"
    );
    let json = serde_json::to_value(&difference).expect("serializes");
    assert_eq!(json["changed"][0]["route"], "web");
    assert_eq!(json["changed"][0]["fields"][2], serde_json::json!({"field": "mark", "from": 1, "to": 2}));
}

/// A policy with labels and limits, and a route that uses most words.
fn rich() -> Policy {
    super::policy(
        "version: 1
labels: {blocked: [], staging: [10.20.0.0/16]}
limits: {tenant-a: {rate: 50Mbit}, tenant-b: {rate: 1kpps}}
routes:
- name: web
  match: {from: [staging, 10.0.0.0/8], tcp_flags: syn, ttl: 64, not: {port: 22, vlan: 7}}
  limit: [tenant-a, {rate: 1kpps, per: source}]
  syn_cookies: always
  dscp: ef
  action: pass
",
    )
}

#[test]
fn every_part_can_be_set_and_taken_away() {
    let set = |change: &str| {
        let mut policy = rich();
        policy.set_route("web", &parse_patch("t", change).expect("valid")).expect("makes sense");
        to_yaml(&policy)
    };
    let before = to_yaml(&rich());
    for (change, old, new) in [
        ("match: {from: blocked}", "from: [staging, 10.0.0.0/8]", "from: blocked"),
        (
            "match: {from: {all: [blocked, staging]}}",
            "from: [staging, 10.0.0.0/8]",
            "from: {all: [blocked, staging]}",
        ),
        ("match: {from: '::/0'}", "from: [staging, 10.0.0.0/8]", "from: \"::/0\""),
        ("match: {from: null}", "from: [staging, 10.0.0.0/8], ", ""),
        ("match: {tcp_flags: [none/ack, fin]}", "tcp_flags: syn", "tcp_flags: [none/ack, fin]"),
        ("match: {tcp_flags: null}", "tcp_flags: syn, ", ""),
        ("match: {ttl: null, length: 0-99}", "ttl: 64", "length: 0-99"),
        ("match: {tcp_flags: null, ttl: null, fragment: dont}", "tcp_flags: syn, ttl: 64", "fragment: dont"),
        ("match: {ttl: 1-2, vlan: untagged, flow_label: null}", "ttl: 64", "vlan: untagged, ttl: 1-2"),
        ("match: {not: {icmp_type: 8}}", "not: {port: 22, vlan: 7}", "not: {icmp_type: 8}"),
        ("match: {not: null}", ", not: {port: 22, vlan: 7}", ""),
        ("limit: tenant-b", "limit: [tenant-a, {rate: 1kpps, burst: 100, per: source}]", "limit: tenant-b"),
        ("syn_cookies: {above: 1kcps}", "syn_cookies: always", "syn_cookies: {above: 1kcps, hold: 10s}"),
        ("syn_cookies: null", "    syn_cookies: always\n", ""),
        ("dscp: null", "    dscp: ef\n", ""),
        ("dscp: 0", "dscp: ef", "dscp: cs0"),
        ("limit: null", "    limit: [tenant-a, {rate: 1kpps, burst: 100, per: source}]\n", ""),
    ] {
        assert!(before.contains(old), "{old} in {before}");
        assert_eq!(set(change), before.replacen(old, new, 1), "{change}");
    }
}

#[test]
fn a_route_names_what_the_policy_has() {
    let refused = |route: &str| {
        let mut policy = rich();
        let route = parse_route("t", route).expect("valid by itself");
        let error = policy.add_route(route, &Position::Last).expect_err("names what is not there");
        assert_eq!(policy, rich());
        error.to_string()
    };
    assert_eq!(
        refused("{name: a, match: {from: blokced}, action: drop}"),
        "route `a`: there is no label `blokced`; did you mean `blocked`?"
    );
    assert_eq!(
        refused("{name: a, match: {not: {from: other}}, action: drop}"),
        "route `a`: there is no label `other`; write it under `labels` and apply the policy first"
    );
    assert_eq!(
        refused("{name: a, limit: tenant-c, action: pass}"),
        "route `a`: there is no limit `tenant-c`; did you mean `tenant-a`?"
    );
    let mut policy = rich();
    let error = policy.set_route("web", &parse_patch("t", "action: drop").expect("valid"));
    assert_eq!(
        error.expect_err("limits what is dropped").to_string(),
        "route `web`: `limit` decides what passes, and action drop lets nothing pass; \
         leave it out, or let the route pass what is within its limits"
    );
    let full =
        parse_patch("t", "limit: [tenant-b, {rate: 1pps}, {rate: 2pps}, {rate: 3pps}]").expect("valid");
    // Replaced limits make room for others.
    for i in 0..4_095 {
        let route = format!(
            "{{name: r{i}, limit: [{{rate: 1pps}}, {{rate: 1pps}}, {{rate: 1pps}}, {{rate: 1pps}}], action: pass}}"
        );
        let route = parse_route("t", &route).expect("valid");
        policy.routes.push(route);
    }
    let error = policy.set_route("web", &full).expect_err("is one limit too many");
    assert_eq!(
        error.to_string(),
        "route `web`: no more limits fit in the policy; 16383 are the most: let routes share named ones"
    );
    policy.routes.pop();
    policy.set_route("web", &full).expect("fits");
}

#[test]
fn differences_of_labels_and_limits_are_told() {
    let old = rich();
    let new = super::policy(
        "version: 1
checksums: verify
labels: {staging: [10.20.0.0/16, '2001:db8::/32'], new: ['::1']}
limits: {tenant-a: {rate: 60Mbit}, tenant-b: {rate: 1kpps}}
routes:
- name: web
  match: {from: staging, ttl: 64, not: {port: 22}}
  limit: [tenant-a]
  action: pass
",
    );
    assert_eq!(
        diff(&old, &new).to_string(),
        "\
~ web
    match.from: [staging, 10.0.0.0/8] → staging
    match.tcp_flags: syn → unset
    match.not: {port: 22, vlan: 7} → {port: 22}
    limit: [tenant-a, {rate: 1kpps, burst: 100, per: source}] → tenant-a
    syn_cookies: always → unset
    dscp: ef → unset
~ labels.blocked: [] → unset
~ labels.new: unset → \"::1/128\"
~ labels.staging: 10.20.0.0/16 → [10.20.0.0/16, \"2001:db8::/32\"]
~ limits.tenant-a: {rate: 50Mbit, burst: 625kB} → {rate: 60Mbit, burst: 750kB}
~ checksums: ignore → verify
"
    );
}
