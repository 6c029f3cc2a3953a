use super::routes;
use crate::policy::Policy;
use crate::policy::{Action, Change, EditError, Position, RoutePatch, diff, parse_patch, parse_route};

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
    assert_eq!(patch.from, Change::Clear);
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
    let error = parse_patch("command line", "{name: x, mark: 0, limit: 3}").expect_err("is wrong");
    let messages: Vec<&str> = error.items().iter().map(|item| item.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "a change to a route has no key `name`",
            "0 says that nothing is set",
            "`limit` is not supported by this version"
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
