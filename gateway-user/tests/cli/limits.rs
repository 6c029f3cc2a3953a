//! Limits, talkers and alerts.

use crate::script::{Answer, Daemon, assert_output, ok, refusal};
use serde_json::{Value, json};

fn limit(name: &str) -> Value {
    json!({
        "name": name, "routes": ["web"], "text": "1kpps, burst 2k, per source, ban 10m", "unit": "packets",
        "rate_per_sec": 1000, "burst": 2000, "per": "source", "ipv4_prefix": 32, "ipv6_prefix": 128,
        "over": "drop", "ban_secs": 600, "ban_after": 1,
        "admitted": {"packets": 12345, "bytes": 1234567}, "refused": {"packets": 67, "bytes": 6700},
        "keys": 2, "banned": 1, "evicted": 0, "bans": 1,
    })
}

#[test]
fn limits_are_listed_shown_and_forgiven() {
    let tables = json!({"keys": 3, "keys_in_debt": 2, "keys_max": 262_144, "keys_evicted": 0, "connections": 0,
                        "connections_max": 262_144, "connections_refused": 0, "contended": 0});
    let list = json!({"generation": 42, "limits": [limit("web/1")], "tables": tables});
    let mut detail = limit("web/1");
    detail["top"] = json!([
        {"key": "198.51.100.7", "banned_ms": 599_000},
        {"key": "2001:db8::7", "used_permille": 125, "full_in_ms": 250},
    ]);
    let report = json!({"forgiven": ["198.51.100.7"], "unknown": ["192.0.2.1"]});
    let none = json!({"code": "no_such_limit", "message": "no limit is named `web`"});
    let daemon = Daemon::start(vec![
        ("GET /v1/limits", ok(&list)),
        ("GET /v1/limits/web%2F1", ok(&detail)),
        ("GET /v1/limits/web", refusal(404, &none)),
        ("DELETE /v1/limits/web%2F1/keys", ok(&report)),
    ]);
    assert_output(
        &daemon.gateway("limit list"),
        0,
        "NAME   LIMIT                                 ADMITTED  REFUSED  KEYS  BANNED  STATE\n\
         web/1  1kpps, burst 2k, per source, ban 10m     12.3k       67     2       1  bans\n\
         3 of 262,144 keys in use, 2 in debt; 0 of 262,144 connections open\n",
        "",
    );
    let output = daemon.gateway("limit list -o yaml");
    assert_eq!(serde_saphyr::from_str::<Value>(std::str::from_utf8(&output.stdout).unwrap()).unwrap(), list);
    let output = daemon.gateway("limit show web/1 --limit 2 -o json");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), detail);
    let output = daemon.gateway("limit show web/1");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.ends_with("198.51.100.7  banned for 9m 59s\n2001:db8::7   12.5 % used, full in 0.2s\n"),
        "{text}"
    );
    assert_output(
        &daemon.gateway("limit unban web/1 198.51.100.7 192.0.2.1"),
        0,
        "198.51.100.7 has a full bucket now\n192.0.2.1 was neither banned nor in debt\n",
        "",
    );
    assert_output(&daemon.gateway("limit show web"), 1, "", "error: no limit is named `web`\n");
    let asked: Vec<String> = daemon.asked().into_iter().map(|(request, _)| request).collect();
    assert_eq!(
        asked,
        [
            "GET /v1/limits",
            "GET /v1/limits",
            "GET /v1/limits/web%2F1?limit=2",
            "GET /v1/limits/web%2F1?limit=20",
            "DELETE /v1/limits/web%2F1/keys?key=198.51.100.7%2C192.0.2.1",
            "GET /v1/limits/web?limit=20",
        ]
    );
}

#[test]
fn talkers_are_shown_once() {
    let list = json!({
        "enabled": true, "by": "packets", "group": "network", "since_unix_ms": 1, "milliseconds": 90_000,
        "talkers": [{"source": "198.51.100.0/24", "sent": 9_000_000, "error": 100}], "total": 18_000_000,
        "unknown_max": 100, "lost": {"packets": 0, "bytes": 0},
    });
    let daemon = Daemon::start(vec![("GET /v1/talkers", ok(&list))]);
    assert_output(
        &daemon.gateway("flow top --sources --networks --by packets --once"),
        0,
        "last 1m 30s: 200 kpps, 18.0M packets; who is unknown sent 100 at most\n\n    \
         RATE   SENT   SHARE  SOURCE\n\
         100 kpps  9.00M  50.0 %  198.51.100.0/24\n",
        "",
    );
    assert_eq!(daemon.asked()[0].0, "GET /v1/talkers?limit=20&by=packets&group=network");
    let output = daemon.gateway("flow top --sources -o json");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), list);
}

#[test]
fn alerts_are_told_from_packets() {
    let packet = json!({
        "time_unix_ns": 1_795_237_822_123_456_789_u64, "interface": "eth0", "hook": "xdp", "verdict": "drop",
        "reason": "limit", "route": "web", "generation": 42, "length": 60, "protocol": "udp",
        "source": "192.0.2.1", "source_port": 53, "destination": "192.0.2.2", "port": 4242, "icmp_type": null,
        "icmp_code": null, "fragment": null, "tcp_flags": "", "mark": null,
    });
    let mut alert = packet.clone();
    alert["kind"] = json!("limit");
    alert["limit"] = json!("web/1");
    alert["refused"] = json!(12_345);
    let body = format!("{packet}\n{alert}\n{packet}\n");
    let totals = json!({"sample_rate": 0.0, "drop_sample_rate": 0.0, "received": 1, "lost": 0, "missed": 0});
    let daemon = Daemon::start(vec![
        ("GET /v1/events/follow", Answer { status: 200, body }),
        ("GET /v1/events", ok(&json!({"events": [alert], "totals": totals}))),
    ]);
    let line = "05:10:22.123456 eth0 xdp drop: limit web udp 192.0.2.1:53 > 192.0.2.2:4242 60 bytes; \
                over limit web/1, 12,345 packets refused\n";
    assert_output(&daemon.gateway("event follow --alerts --count 1"), 0, line, "");
    assert_output(&daemon.gateway("event list --alerts"), 0, line, "");
    assert_eq!(daemon.asked()[1].0, "GET /v1/events?limit=100&alerts=true");
}
