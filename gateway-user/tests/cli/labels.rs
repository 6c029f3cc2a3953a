//! Labels and their live members.

use crate::script::{Daemon, assert_output, ok, refusal};
use serde_json::{Value, json};

#[test]
fn labels_are_listed_and_shown() {
    let list = json!({"generation": 42, "labels": [
        {"name": "blocked", "in_policy": true, "file": "blocked.txt", "prefixes": 1_000_000, "members": 1},
        {"name": "staging", "in_policy": true, "prefixes": 2, "members": 0},
    ]});
    let info = json!({"name": "blocked", "in_policy": true, "file": "blocked.txt", "prefixes": 1_000_000,
        "members": 1, "first_prefixes": ["10.0.0.0/8"],
        "first_members": [{"prefix": "203.0.113.0/24", "since_unix_secs": 1_795_237_822_u64,
            "expires_at_unix_ms": 1_795_238_422_000_u64, "remaining_secs": 599}]});
    let daemon = Daemon::start(vec![("GET /v1/labels", ok(&list)), ("GET /v1/labels/blocked", ok(&info))]);
    assert_output(
        &daemon.gateway("label list"),
        0,
        "NAME     PREFIXES  LIVE MEMBERS  FROM\n\
         blocked     1.00M             1  blocked.txt\n\
         staging         2             0  policy\n",
        "",
    );
    assert_output(
        &daemon.gateway("label show blocked --limit 1"),
        0,
        "name          blocked\n\
         from          blocked.txt\n\
         prefixes      1,000,000\n\
         live members  1\n\
         \n\
         LIVE MEMBER     ENDS IN  SINCE\n\
         203.0.113.0/24   9m 59s  2026-11-21 05:10:22 UTC\n\
         \n\
         PREFIX\n\
         10.0.0.0/8\n\
         and 999,999 more: --limit 100000\n",
        "",
    );
    assert_eq!(daemon.asked()[1].0, "GET /v1/labels/blocked?limit=1");
    let output = daemon.gateway("label show blocked -o json");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), info);
    let output = daemon.gateway("label list -o yaml");
    assert_eq!(serde_saphyr::from_str::<Value>(std::str::from_utf8(&output.stdout).unwrap()).unwrap(), list);
}

#[test]
fn live_members_are_added_and_deleted() {
    let report = |added: u64, removed: u64| {
        ok(&json!({"label": "blocked", "generation": 42, "added": added, "replaced": 0, "removed": removed,
            "members": 2, "total_us": 850}))
    };
    let gone = json!({"code": "no_such_member", "message": "`other` has no live member ::1/128",
        "help": "gateway label show other lists the members"});
    let daemon = Daemon::start(vec![
        ("POST /v1/labels/blocked/members", report(2, 0)),
        ("DELETE /v1/labels/blocked/members", report(0, 1)),
        ("DELETE /v1/labels/other/members", refusal(404, &gone)),
    ]);
    let added = "blocked: 2 live members added; it has 2 now\n";
    assert_output(&daemon.gateway("label add blocked 203.0.113.0/24 2001:db8::1 --ttl 10m"), 0, added, "");
    assert_output(
        &daemon.gateway("label add blocked 203.0.113.0/24 2001:db8::1 -o wide"),
        0,
        &format!("{added}  generation 42, in 850 µs\n"),
        "",
    );
    let deleted = "blocked: 1 live member deleted; it has 2 now\n";
    assert_output(&daemon.gateway("label delete blocked 203.0.113.0/24 2001:db8::/32"), 0, deleted, "");
    assert_output(&daemon.gateway("label delete blocked --all"), 0, deleted, "");
    assert_output(
        &daemon.gateway("label delete other ::1"),
        1,
        "",
        "error: `other` has no live member ::1/128\nhelp: gateway label show other lists the members\n",
    );
    let asked: Vec<(String, Value)> = daemon
        .asked()
        .into_iter()
        .map(|(request, body)| (request, serde_json::from_str(&body).unwrap_or(Value::Null)))
        .collect();
    let prefixes = json!(["203.0.113.0/24", "2001:db8::1"]);
    let delete = |query: &str| (format!("DELETE /v1/labels/{query}"), Value::Null);
    assert_eq!(
        asked,
        [
            ("POST /v1/labels/blocked/members".to_owned(), json!({"prefixes": prefixes, "ttl_secs": 600})),
            ("POST /v1/labels/blocked/members".to_owned(), json!({"prefixes": prefixes})),
            delete("blocked/members?prefix=203.0.113.0%2F24&prefix=2001%3Adb8%3A%3A%2F32"),
            delete("blocked/members?all=true"),
            delete("other/members?prefix=%3A%3A1"),
        ]
    );
}
