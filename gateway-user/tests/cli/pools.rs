//! Pools.

use crate::script::{Daemon, assert_output, ok, refusal};
use serde_json::{Value, json};

fn pool() -> Value {
    let target = |name: &str, address: &str, weight: u16, share: u32, packets: u64| {
        json!({
            "name": name, "address": address, "weight": weight, "policy_weight": weight, "share_ppm": share,
            "state": "taking", "sent": {"packets": packets, "bytes": packets * 100},
        })
    };
    json!({
        "name": "web", "forward": "ipip", "hash": "source", "source": ["10.0.0.1"], "routes": ["web"],
        "targets": [target("v1", "10.0.0.11", 95, 949_998, 12_345), target("v2", "10.0.0.12", 5, 50_002, 67)],
    })
}

#[test]
fn pools_are_listed_and_shown() {
    let list = json!({"generation": 42, "pools": [pool()]});
    let none = json!({"code": "no_such_pool", "message": "no pool is named `wbe`"});
    let daemon = Daemon::start(vec![
        ("GET /v1/pools", ok(&list)),
        ("GET /v1/pools/web", ok(&pool())),
        ("GET /v1/pools/wbe", refusal(404, &none)),
        ("PUT /v1/pools/web/targets/v2/weight", ok(&pool())),
        ("PUT /v1/pools/web/targets/v2/state", ok(&pool())),
    ]);
    assert_output(
        &daemon.gateway("pool list -o wide"),
        0,
        "NAME  FORWARD  HASH    TARGETS  TAKING  PACKETS    BYTES  ROUTES\n\
         web   ipip     source        2       2    12412  1241200  web\n",
        "",
    );
    let output = daemon.gateway("pool list -o yaml");
    assert_eq!(serde_saphyr::from_str::<Value>(std::str::from_utf8(&output.stdout).unwrap()).unwrap(), list);
    assert_output(
        &daemon.gateway("pool show web"),
        0,
        "pool      web\nforward   ipip\nhash      source\nsource    10.0.0.1\nroutes    web\n\
         targets   2 targets, 2 of them taking packets\n\n\
         TARGET  ADDRESS    WEIGHT     SHARE  STATE   PACKETS    BYTES\n\
         v1      10.0.0.11      95  94.999 %  taking    12.3k  1.23 MB\n\
         v2      10.0.0.12       5   5.000 %  taking       67  6.70 kB\n",
        "",
    );
    let output = daemon.gateway("pool show web -o json");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), pool());
    let output = daemon.gateway("pool show web --rate -o json");
    let rated = serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(rated["rates"][1], json!({"target": "v2", "packets_per_sec": 0.0, "bytes_per_sec": 0.0}));
    assert_eq!(rated["targets"], pool()["targets"]);
    let verbs = [
        "set web/v2 --weight 20",
        "drain web/v2",
        "drain web/v2 --for 10m",
        "disable web/v2",
        "enable web/v2",
    ];
    for verb in verbs {
        let output = daemon.gateway(&format!("target {verb} -o json"));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), pool());
    }
    let asked = daemon.asked();
    let changes = asked.iter().filter(|(request, _)| request.starts_with("PUT"));
    let changes: Vec<(&str, &str)> =
        changes.map(|(request, body)| (request.rsplit('/').next().unwrap(), body.as_str())).collect();
    assert_eq!(
        changes,
        [
            ("weight", r#"{"weight":20}"#),
            ("state", r#"{"state":"draining"}"#),
            ("state", r#"{"state":"draining","for_secs":600}"#),
            ("state", r#"{"state":"off"}"#),
            ("state", r#"{"state":"taking"}"#),
        ]
    );
    let output = daemon.gateway("target drain web/v2 --for 31d");
    assert_eq!(output.status.code(), Some(2));
    assert_output(&daemon.gateway("pool show wbe"), 1, "", "error: no pool is named `wbe`\n");
}

#[test]
fn connections_are_listed_as_they_are_asked_for() {
    let connection = json!({
        "family": 4, "protocol": "udp", "client": "198.51.100.7", "client_port": 4242,
        "service": "203.0.113.53", "service_port": 53, "target_name": "dns/a", "target": "10.0.0.11",
        "target_port": 5353, "state": "answered", "age_ms": 2_147, "left_ms": 119_185,
        "sent": {"packets": 1, "bytes": 100}, "returned": {"packets": 1, "bytes": 300}, "route": "dns",
    });
    let list = json!({"connections": [connection], "matched": 1, "all": 3, "max": 262_144});
    let daemon = Daemon::start(vec![("GET /v1/connections", ok(&list))]);
    assert_output(
        &daemon.gateway(
            "connection list --route dns --pool dns --target dns/a --client 198.51.100.0/24 --limit 5",
        ),
        0,
        "PROTOCOL  CLIENT             SERVICE          TARGET  STATE      AGE    LEFT  PACKETS  BYTES\n\
         udp       198.51.100.7:4242  203.0.113.53:53  dns/a   answered  2.1s  1m 59s        2  400 B\n\n\
         1 asked for; 3 in all, 262,144 at most\n",
        "",
    );
    let query = "limit=5&route=dns&pool=dns&target=dns%2Fa&client=198.51.100.0%2F24";
    assert_eq!(daemon.asked(), [(format!("GET /v1/connections?{query}"), String::new())]);

    let bad = json!({"code": "bad_request", "message": "\"here\" is neither an address nor a prefix"});
    let daemon = Daemon::start(vec![("GET /v1/connections", refusal(400, &bad))]);
    let output = daemon.gateway("connection list --client here");
    assert_output(&output, 1, "", "error: \"here\" is neither an address nor a prefix\n");
}
