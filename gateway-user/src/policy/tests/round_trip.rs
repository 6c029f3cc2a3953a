use super::generate::{any_policy, any_route};
use super::{policy, routes};
use crate::policy::{Policy, Route, check, digest, parse, parse_route, to_yaml};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_reads_back_the_same(policy in any_policy()) {
        let text = to_yaml(&policy);
        let read = parse("written", &text);
        prop_assert_eq!(&read, &Ok(policy.clone()), "{}", text);
        prop_assert_eq!(to_yaml(&policy), text);
        let json = serde_json::to_string(&policy).expect("serializes");
        prop_assert_eq!(parse("json", &json), Ok(policy.clone()), "{}", json);
        let value: Policy = serde_json::from_str(&json).expect("deserializes");
        prop_assert_eq!(value, policy);
    }

    #[test]
    fn a_route_goes_through_json(route in any_route()) {
        let json = serde_json::to_string_pretty(&route).expect("serializes");
        prop_assert_eq!(parse_route("json", &json), Ok(route), "{}", json);
    }

    #[test]
    fn no_text_upsets_the_reader(
        policy in any_policy(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}:,#&*!|>'\"%@`~ \n\tà-]{0,3}", 0usize..4), 1..6),
    ) {
        let mut text: Vec<char> = to_yaml(&policy).chars().collect();
        for (at, insert, remove) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        let (read, diagnostics) = check("mutilated", &text);
        prop_assert_eq!(read.is_none(), diagnostics.errors() > 0);
        let rendered = diagnostics.render(false);
        prop_assert!(!rendered.contains("Failed to read"), "{}", rendered);
        for item in diagnostics.items() {
            prop_assert!(item.line >= 1 && item.column >= 1 && item.length >= 1 && !item.help.is_empty());
        }
    }
}

#[test]
fn the_canonical_text_is_the_one_people_would_write() {
    let policy = policy(
        "default: drop
malformed: {ipv4_total_length: pass}
version: 1
routes:
- {action: drop, name: deny, match: {from: [192.168.0.0/16, '10.0.0.0/8', 10.0.0.0/8]}}
- name: '10'
  priority: 0x7
  mark: 16
  match: {port: [8001-8099, 80, 443, 8000, '443'], protocol: [17, TCP, tcp], to: 203.0.113.10}
  action: {redirect: eth1}
- name: many
  match:
    interface: eth0
    from: [2001:db8:1::/48, 2001:db8:2::/48, 2001:db8:3::/48, 2001:db8:4::/48, 2001:db8:5::/48, 2001:db8:6::/48]
    protocol: [253, icmpv6]
  action: tx
",
    );
    let text = r#"version: 1
routes:
  - name: deny
    match: {from: [10.0.0.0/8, 192.168.0.0/16]}
    action: drop
  - name: "10"
    match: {to: 203.0.113.10/32, protocol: [tcp, udp], port: [80, 443, 8000-8099]}
    mark: 0x10
    priority: 7
    action: {redirect: eth1}
  - name: many
    match:
      interface: eth0
      from:
        - "2001:db8:1::/48"
        - "2001:db8:2::/48"
        - "2001:db8:3::/48"
        - "2001:db8:4::/48"
        - "2001:db8:5::/48"
        - "2001:db8:6::/48"
      protocol: [icmpv6, 253]
    action: tx
default: drop
malformed: {default: drop, ipv4_total_length: pass}
"#;
    assert_eq!(to_yaml(&policy), text);
}

#[test]
fn aliases_stand_for_what_they_name() {
    let written = routes(
        "- {name: a, match: {from: &net [10.0.0.0/8, 10.9.0.0/16]}, action: drop}\n\
         - {name: b, match: {to: *net}, action: drop}",
    );
    assert_eq!(written.routes[0].matches.from, written.routes[1].matches.to);
}

#[test]
fn the_digest_tells_policies_apart_and_stays_the_same() {
    let a = routes("- {name: a, action: drop}");
    let same = policy("version: 1\ndefault: pass\nroutes: [{\"action\": \"drop\", \"name\": \"a\"}]");
    let other = routes("- {name: a, action: pass}");
    assert_eq!(digest(&a), digest(&same));
    assert_ne!(digest(&a), digest(&other));
    // Daemons that take over from each other compare it: a change here is a change of format.
    let empty = policy("version: 1");
    assert_eq!(to_yaml(&empty), "version: 1\nroutes: []\ndefault: pass\nmalformed: drop\n");
    assert_eq!(format!("{:016x}", digest(&empty)[0]), "799a39d08dfc3597");
}

#[test]
fn json_errors_say_everything() {
    let error = serde_json::from_str::<Route>(r#"{"name": "-a", "match": {"port": 0.5}, "action": "drp"}"#);
    let text = error.expect_err("is wrong in three places").to_string();
    for part in ["may not begin with `-`", "\"0.5\" is neither a port", "did you mean `drop`?"] {
        assert!(text.contains(part), "{text}");
    }
}
