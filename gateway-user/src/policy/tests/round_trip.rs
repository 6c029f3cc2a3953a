use super::generate::{any_policy, any_route, file_text};
use super::{policy, routes};
use crate::policy::{LabelFiles, Policy, Route, check_with, digest, parse_route, parse_with, to_yaml};
use proptest::prelude::*;
use std::io;

/// The files of a policy's own labels.
struct Own<'p>(&'p Policy);

impl LabelFiles for Own<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let label = path.strip_suffix(".txt").and_then(|name| self.0.labels.get(name));
        label.map(|label| file_text(&label.prefixes).into_bytes()).ok_or(io::ErrorKind::NotFound.into())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_reads_back_the_same(policy in any_policy()) {
        let text = to_yaml(&policy);
        let files = Own(&policy);
        let read = parse_with("written", &text, &files);
        prop_assert_eq!(&read, &Ok(policy.clone()), "{}", text);
        prop_assert_eq!(to_yaml(&policy), text);
        let json = serde_json::to_string(&policy).expect("serializes");
        prop_assert_eq!(parse_with("json", &json, &files), Ok(policy.clone()), "{}", json);
        if policy.labels.values().all(|label| label.file.is_none()) {
            let value: Policy = serde_json::from_str(&json).expect("deserializes");
            prop_assert_eq!(value, policy);
        }
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
        let (read, diagnostics) = check_with("mutilated", &text, &Own(&policy));
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
fn the_canonical_text_of_labels_limits_and_rare_components() {
    let policy = policy(
        "version: 1
checksums: verify
limits: {tenant-a: {rate: 50Mbit, burst: 1000kB}, b: {connections: 2k, per: label}}
labels: {staging: 10.20.0.0/16, live: [], x: ['::1', 10.0.0.0/8]}
routes:
- name: web
  limit: [{per: source, ipv4_prefix: 24, rate: 1.5kpps, ban: 600s}, tenant-a,
          {rate: 80kbit, burst: 1500B, over: {mark: 32, dscp: 8}}]
  syn_cookies: {above: 2000cps}
  dscp: 18
  match:
    from: [10.0.0.0/8, staging, live]
    tcp_flags: [syn/ack+syn, none/ack, SYN]
    not: {vlan: [1-4094, untagged], dscp: 46, icmp_type: [8, 0-3, 4], ttl: 0x10, fragment: [last, dont]}
  action: pass
- {name: both, match: {from: {all: [staging, live]}, not: {from: {all: [x]}}}, action: drop}
- {name: open, limit: {rate: 1kcps, over: count}, action: pass}
",
    );
    let text = r#"version: 1
labels:
  live: []
  staging: 10.20.0.0/16
  x: [10.0.0.0/8, "::1/128"]
limits:
  b: {connections: 2000, per: label}
  tenant-a: {rate: 50Mbit, burst: 1MB}
routes:
  - name: web
    match:
      from: [live, staging, 10.0.0.0/8]
      tcp_flags: [none/ack, syn, syn/syn+ack]
      not: {icmp_type: [0-4, 8], dscp: ef, fragment: [dont, last], vlan: [untagged, 1-4094], ttl: 16}
    limit:
      - {rate: 1500pps, burst: 150, per: source, ipv4_prefix: 24, ban: {for: 10m, after: 1}}
      - tenant-a
      - {rate: 80kbit, burst: 1500B, over: {dscp: cs1, mark: 0x20}}
    syn_cookies: {above: 2kcps, hold: 10s}
    dscp: af21
    action: pass
  - name: both
    match: {from: {all: [live, staging]}, not: {from: x}}
    action: drop
  - name: open
    limit: {rate: 1kcps, burst: 100, over: count}
    action: pass
default: pass
malformed: drop
checksums: verify
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

/// A label's file holds something else.
#[test]
fn the_digest_covers_label_files() {
    struct File(&'static str);
    impl LabelFiles for File {
        fn read(&self, _: &str) -> io::Result<Vec<u8>> {
            Ok(self.0.as_bytes().to_vec())
        }
    }
    let of = |content| {
        let text = "version: 1\nlabels: {blocked: {file: blocked.txt}}";
        parse_with("t", text, &File(content)).expect("is valid")
    };
    let (a, same, other) =
        (of("10.0.0.0/8\n::1\n"), of("# said again\n::1/128\r\n10.0.0.0/8\n::1"), of("::1"));
    assert_eq!((digest(&a), &a), (digest(&same), &same));
    assert_ne!(digest(&a), digest(&other));
    assert_eq!(to_yaml(&other).lines().nth(2), Some("  blocked: {file: blocked.txt}"), "{}", to_yaml(&other));
    assert!(to_yaml(&other).contains("\n  # 1 prefixes, sha256 "), "{}", to_yaml(&other));
}

#[test]
fn json_errors_say_everything() {
    let error = serde_json::from_str::<Route>(r#"{"name": "-a", "match": {"port": 0.5}, "action": "drp"}"#);
    let text = error.expect_err("is wrong in three places").to_string();
    for part in ["may not begin with `-`", "\"0.5\" is neither a port", "did you mean `drop`?"] {
        assert!(text.contains(part), "{text}");
    }
}
