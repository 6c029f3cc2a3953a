//! Pools that translate, as operators see them: connections listed, drained, ended, kept.

use crate::node::{Node, run, wait_for};
use serde_json::{Value, json};

/// Both targets are at the client's own end of the wire, so that the client's side answers itself; only
/// with its source translated does what comes back pass here.
const POLICY: &str = "\
version: 1
pools:
  web:
    forward: dnat
    source: masquerade
    ports: 61000-61999
    timeouts: {udp: 1h, unanswered: 1h}
    targets:
      - {name: v1, address: 10.9.0.2, port: 8080, labels: {version: v1}}
      - {name: v2, address: 10.9.0.2, port: 8081, weight: 0, labels: {version: v2}}
  near: {forward: l2, targets: [{name: a, address: 10.9.0.2}]}
routes:
  - {name: staging, match: {to: 203.0.113.11, protocol: udp, port: 80}, action: {pool: web, targets: {version: v1}}}
  - {name: web, match: {to: 203.0.113.10, protocol: udp, port: 80}, action: {pool: web}}
  - {name: near, match: {to: 203.0.113.12, protocol: udp}, action: {pool: near}}
default: pass
";

fn started() -> Node {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), POLICY).unwrap();
    run(&node.inside("sysctl -qw net.ipv4.ip_forward=1"));
    run(&node.beside("ip route add 203.0.113.0/24 via 10.9.0.1"));
    // A sender that leaves checksums to its device shows others than a wire would.
    run(&node.beside("ethtool -K v1 tx off"));
    let options = format!("--policy {} --connections 1024", node.path("policy.yaml"));
    node.start(&options);
    node
}

/// Asks from this port, and says which port of the targets' heard it, and from whom; the client has
/// heard the answer then.
fn exchange(node: &Node, service: &str, client_port: u16) -> String {
    let code = format!(
        "import select, socket\n\
         def bound(port): s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.9.0.2', port)); return s\n\
         servers, client = [bound(8080), bound(8081)], bound({client_port})\n\
         client.sendto(b'ask', ('{service}', 80))\n\
         ready = select.select(servers, [], [], 30)[0][0]\n\
         data, source = ready.recvfrom(100)\n\
         ready.sendto(b'answer', source)\n\
         client.settimeout(30)\n\
         assert client.recvfrom(100) == (b'answer', ('{service}', 80))\n\
         print(ready.getsockname()[1], source[0], 61000 <= source[1] <= 61999)"
    );
    let output = run(&node.beside(&format!("python3 -c \"{code}\"")));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn set_state(node: &Node, target: &str, body: &Value) -> Value {
    node.ask("PUT", &format!("/v1/pools/web/targets/{target}/state"), &body.to_string()).ok()
}

fn connections(node: &Node, query: &str) -> Value {
    node.get(&format!("/v1/connections{query}")).ok()
}

#[test]
fn connections_are_listed_drained_and_ended() {
    let node = started();
    assert_eq!(exchange(&node, "203.0.113.10", 4242), "8080 10.9.0.1 True");
    assert_eq!(exchange(&node, "203.0.113.11", 4300), "8080 10.9.0.1 True");
    let list = connections(&node, "?route=web");
    assert_eq!((&list["matched"], &list["all"], &list["max"]), (&json!(1), &json!(2), &json!(1024)));
    let found = &list["connections"][0];
    for (key, value) in [
        ("family", json!(4)),
        ("protocol", json!("udp")),
        ("client", json!("10.9.0.2")),
        ("client_port", json!(4242)),
        ("service", json!("203.0.113.10")),
        ("service_port", json!(80)),
        ("target_name", json!("web/v1")),
        ("target", json!("10.9.0.2")),
        ("target_port", json!(8080)),
        ("source", json!("10.9.0.1")),
        ("state", json!("open")),
        ("route", json!("web")),
    ] {
        assert_eq!(found[key], value, "{key} in {found}");
    }
    assert_eq!((&found["sent"]["packets"], &found["returned"]["packets"]), (&json!(1), &json!(1)));
    assert!(found["left_ms"].as_u64().unwrap() > 3_500_000, "{found}");
    for (query, matched) in [
        ("?pool=web", 2),
        ("?target=web/v1", 2),
        ("?target=web/v2", 0),
        ("?client=10.9.0.0/24", 2),
        ("?client=10.9.1.0/24", 0),
        ("?limit=1", 2),
    ] {
        assert_eq!(connections(&node, query)["matched"], matched, "{query}");
    }
    assert_eq!(node.get("/v1/connections?client=here").refusal(), (400, "bad_request".to_owned()));
    assert_eq!(node.get("/v1/connections?pool=wbe").refusal(), (404, "no_such_pool".to_owned()));
    assert_eq!(node.get("/v1/connections?target=web/v9").refusal(), (404, "no_such_target".to_owned()));

    // Drained, the target keeps its connection and gets no other.
    node.ask("PUT", "/v1/pools/web/targets/v2/weight", r#"{"weight": 1}"#).ok();
    let pool = set_state(&node, "v1", &json!({"state": "draining"}));
    let v1 = &pool["targets"][0];
    assert_eq!(
        (&v1["state"], &v1["connections"]["open"], &v1["weight"]),
        (&json!("draining"), &json!(2), &json!(100))
    );
    assert_eq!((&v1["share_ppm"], &pool["targets"][1]["share_ppm"]), (&json!(0), &json!(1_000_000)));
    assert_eq!(exchange(&node, "203.0.113.10", 4242), "8080 10.9.0.1 True");
    assert_eq!(exchange(&node, "203.0.113.10", 4243), "8081 10.9.0.1 True");
    let metrics = node.metrics("/metrics");
    for line in [
        "gateway_target_connections{pool=\"web\",target=\"v1\"} 2\n",
        "gateway_target_connections{pool=\"web\",target=\"v2\"} 1\n",
        "gateway_target_connections_total{pool=\"web\",target=\"v1\"} 2\n",
        "gateway_target_returned_packets_total{pool=\"web\",target=\"v1\"} 3\n",
        "gateway_map_max_entries{map=\"tracked\"} 1024\n",
        "gateway_map_entries{map=\"tracked\"} 3\n",
        "gateway_connections_refused_total 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert!(!metrics.contains("gateway_target_connections{pool=\"near\""), "{metrics}");

    // Off, its connections are over: who goes on finds another target.
    let pool = set_state(&node, "v1", &json!({"state": "off"}));
    assert_eq!(
        (&pool["targets"][0]["state"], &pool["targets"][0]["connections"]["open"]),
        (&json!("off"), &json!(0))
    );
    assert_eq!(connections(&node, "?target=web/v1")["matched"], 0);
    assert_eq!(exchange(&node, "203.0.113.10", 4242), "8081 10.9.0.1 True");
}

#[test]
fn what_drains_goes_on_draining_after_a_restart() {
    let mut node = started();
    let pool = set_state(&node, "v1", &json!({"state": "draining", "for_secs": 600}));
    let until = pool["targets"][0]["drains_until_unix_ms"].as_u64().unwrap();
    set_state(&node, "v2", &json!({"state": "off"}));
    let same = |node: &Node| {
        let pool = node.get("/v1/pools/web").ok();
        let (v1, v2) = (&pool["targets"][0], &pool["targets"][1]);
        assert_eq!((&v1["state"], &v1["drains_until_unix_ms"]), (&json!("draining"), &json!(until)));
        assert_eq!(v2["state"], "off");
    };
    same(&node);
    node.signal("TERM");
    assert!(node.wait().success());
    node.start("");
    assert_eq!(node.get("/v1/status").ok()["adopted"], true);
    same(&node);
    // A policy that has the targets, and a start after which the kernel had forgotten everything.
    node.put(&POLICY.replace("udp: 1h", "udp: 2h")).ok();
    same(&node);
    node.ask("POST", "/v1/detach", "").ok();
    assert!(node.wait().success());
    node.start("");
    assert_eq!(node.get("/v1/status").ok()["adopted"], false);
    same(&node);
    wait_for("the tables are there", || node.get("/v1/pools/web").ok()["targets"][0]["share_ppm"].is_u64());

    // As the policy says: v1 takes connections, and v2 has weight 0 there.
    set_state(&node, "v2", &json!({"state": "taking"}));
    let pool = set_state(&node, "v1", &json!({"state": "taking"}));
    let states: Vec<&Value> =
        pool["targets"].as_array().unwrap().iter().map(|target| &target["state"]).collect();
    assert_eq!(states, [&json!("taking"), &json!("draining")]);
    assert_eq!(exchange(&node, "203.0.113.10", 4242), "8080 10.9.0.1 True");
}

#[test]
fn where_nothing_is_remembered_nothing_drains() {
    let node = started();
    let near = |body: Value| node.ask("PUT", "/v1/pools/near/targets/a/state", &body.to_string());
    let refused = near(json!({"state": "draining"}));
    assert_eq!(refused.refusal(), (422, "not_tracked".to_owned()));
    for part in ["`near/a` cannot drain", "forwards by `l2`", "gateway target disable"] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    assert_eq!(near(json!({"state": "off", "for_secs": 5})).refusal(), (400, "bad_request".to_owned()));
    let pool = near(json!({"state": "off"})).ok();
    let target = &pool["targets"][0];
    assert_eq!(
        (&target["state"], &target["weight"], &target["connections"]),
        (&json!("off"), &json!(0), &Value::Null)
    );
    assert_eq!(near(json!({"state": "taking"})).ok()["targets"][0]["state"], "taking");

    let refused = node.put(&POLICY.replace("version: v1}}}", "version: v3}}}"));
    assert_eq!(refused.refusal(), (422, "invalid_policy".to_owned()));
    assert!(refused.text.contains("no target of pool `web` has `version: v3`"), "{}", refused.text);
    let route = node.get("/v1/routes/staging").ok();
    assert_eq!(route["action"], json!({"pool": "web", "targets": {"version": "v1"}}));
    assert_eq!(route["action_text"], "pool web version=v1");
}
