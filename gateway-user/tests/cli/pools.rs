//! Pools.

use crate::script::{Daemon, assert_output, ok, refusal};
use serde_json::{Value, json};

fn pool() -> Value {
    let target = |name: &str, address: &str, weight: u16, share: u32, packets: u64| {
        json!({
            "name": name, "address": address, "weight": weight, "policy_weight": weight, "share_ppm": share,
            "sent": {"packets": packets, "bytes": packets * 100},
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
        ("DELETE /v1/pools/web/targets/v2/weight", ok(&pool())),
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
         TARGET  ADDRESS    WEIGHT     SHARE  PACKETS    BYTES\n\
         v1      10.0.0.11      95  94.999 %    12.3k  1.23 MB\n\
         v2      10.0.0.12       5   5.000 %       67  6.70 kB\n",
        "",
    );
    let output = daemon.gateway("pool show web -o json");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), pool());
    let output = daemon.gateway("pool show web --rate -o json");
    let rated = serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(rated["rates"][1], json!({"target": "v2", "packets_per_sec": 0.0, "bytes_per_sec": 0.0}));
    assert_eq!(rated["targets"], pool()["targets"]);
    for verb in ["set web/v2 --weight 20", "disable web/v2", "enable web/v2"] {
        let output = daemon.gateway(&format!("target {verb} -o json"));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), pool());
    }
    let asked = daemon.asked();
    let weights = asked.iter().filter(|(request, _)| request.ends_with("/weight"));
    let weights: Vec<(&str, &str)> =
        weights.map(|(request, body)| (request.split(' ').next().unwrap(), body.as_str())).collect();
    assert_eq!(weights, [("PUT", r#"{"weight":20}"#), ("PUT", r#"{"weight":0}"#), ("DELETE", "")]);
    assert_output(&daemon.gateway("pool show wbe"), 1, "", "error: no pool is named `wbe`\n");
}
