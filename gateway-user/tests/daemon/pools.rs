//! Pools as operators see them: applied, told, kept.

use crate::node::{Node, run, wait_for};
use serde_json::{Value, json};

const POLICY: &str = "\
version: 1
pools:
  web:
    forward: ipip
    targets:
      - {name: v1, address: 10.9.0.11, weight: 95}
      - {name: v2, address: 10.9.0.12, weight: 5}
  near: {forward: l2, hash: source, targets: [{name: a, address: \"2001:db8::9\"}]}
routes:
  - {name: web, match: {protocol: tcp, port: 80}, action: {pool: web}}
  - {name: near, match: {protocol: tcp, port: 81}, action: {pool: near}}
default: pass
";

fn started() -> Node {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), POLICY).unwrap();
    let file = format!("--policy {}", node.path("policy.yaml"));
    node.start(&file);
    node
}

/// Each target's part of the table, millionths.
fn shares(pool: &Value) -> Vec<u64> {
    pool["targets"].as_array().unwrap().iter().map(|target| target["share_ppm"].as_u64().unwrap()).collect()
}

#[test]
fn pools_are_applied_told_and_taken_over() {
    let mut node = started();
    let list = node.get("/v1/pools").ok();
    assert_eq!(list["generation"], 1);
    assert_eq!((&list["pools"][0]["name"], &list["pools"][1]["name"]), (&json!("near"), &json!("web")));
    let web = node.get("/v1/pools/web").ok();
    assert_eq!((&web["forward"], &web["hash"]), (&json!("ipip"), &json!("five-tuple")));
    assert_eq!(web["routes"], json!(["web"]));
    assert_eq!(
        (&web["targets"][1]["name"], &web["targets"][1]["address"], &web["targets"][1]["weight"]),
        (&json!("v2"), &json!("10.9.0.12"), &json!(5))
    );
    let [v1, v2] = shares(&web)[..] else { panic!("{web}") };
    assert!((949_980..=950_020).contains(&v1) && (49_980..=50_020).contains(&v2), "{web}");
    assert_eq!(web["targets"][0]["sent"], json!({"packets": 0, "bytes": 0}));
    assert_eq!(node.get("/v1/pools/wbe").refusal(), (404, "no_such_pool".to_owned()));
    assert_eq!(node.get("/v1/routes/web").ok()["action_text"], "pool web");
    let metrics = node.metrics("/metrics");
    assert!(metrics.contains("gateway_target_packets_total{pool=\"web\",target=\"v2\"} 0\n"), "{metrics}");
    assert!(metrics.contains("gateway_target_bytes_total{pool=\"near\",target=\"a\"} 0\n"), "{metrics}");

    // Another weight.
    let changed = node.put(&POLICY.replace("weight: 5}", "weight: 0}")).ok();
    assert_eq!((&changed["generation"], &changed["diff"]["settings_changed"]), (&json!(2), &json!(true)));
    assert_eq!(shares(&node.get("/v1/pools/web").ok()), [1_000_000, 0]);

    // A route alone, by its words; a pool that is not there is none.
    let patch =
        |pool: &str| node.ask("PATCH", "/v1/routes/near", &json!({"action": {"pool": pool}}).to_string());
    assert_eq!(patch("wbe").refusal(), (422, "invalid_route".to_owned()));
    assert_eq!(patch("web").ok()["generation"], 3);
    assert_eq!(node.get("/v1/pools/web").ok()["routes"], json!(["web", "near"]));

    node.signal("TERM");
    assert!(node.wait().success());
    node.start("");
    let status = node.get("/v1/status").ok();
    assert_eq!((&status["adopted"], &status["policy"]["generation"]), (&json!(true), &json!(3)));
    assert_eq!(node.get("/v1/pools/web").ok()["routes"], json!(["web", "near"]));
    // Of what was taken over, all of it is known again.
    assert_eq!(node.put(POLICY).ok()["generation"], 4);
    let [v1, v2] = shares(&node.get("/v1/pools/web").ok())[..] else { panic!() };
    assert!(v1 > 940_000 && v2 < 60_000);
}

#[test]
fn a_target_that_no_route_leads_to_needs_a_source() {
    let node = started();
    let far = POLICY.replace("10.9.0.12", "198.51.100.12").replace("10.9.0.11", "203.0.113.11");
    let refused = node.put(&far);
    assert_eq!(refused.refusal(), (422, "not_compilable".to_owned()));
    for lost in ["`web/v1`", "`web/v2`", "no way to 198.51.100.12", "name a `source` of its family"] {
        assert!(refused.text.contains(lost), "{lost}: {}", refused.text);
    }
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 1);
    // With one it does, and with a route as well.
    let sourced = far.replace("forward: ipip", "forward: ipip\n    source: 10.9.0.1");
    assert_eq!(node.put(&sourced).ok()["generation"], 2);
    run(&node.inside("ip route add default via 10.9.0.2"));
    assert_eq!(node.put(&far).ok()["generation"], 3);
}

/// The daemon asks the labels' prefixes for live members before anybody asks for the pools' tables.
#[test]
fn shares_are_known_after_a_restart_beside_a_live_member() {
    let mut node = started();
    let labelled = POLICY.replacen("pools:", "labels:\n  blocked: [198.51.100.0/24]\npools:", 1);
    let labelled =
        labelled.replacen("routes:", "routes:\n  - {name: no, match: {from: blocked}, action: drop}", 1);
    node.put(&labelled).ok();
    node.ask("POST", "/v1/labels/blocked/members", r#"{"prefixes": ["203.0.113.7"]}"#).ok();
    node.signal("TERM");
    assert!(node.wait().success());
    node.start("");
    assert_eq!(node.get("/v1/status").ok()["adopted"], true);
    wait_for("the tables are there", || node.get("/v1/pools/web").ok()["targets"][0]["share_ppm"].is_u64());
}

#[test]
fn a_live_weight_stays_across_policies_and_restarts() {
    let mut node = started();
    let set = |node: &Node, target: &str, body: &str| {
        let path = format!("/v1/pools/web/targets/{target}/weight");
        let taking = r#"{"state": "taking"}"#;
        match body {
            "" => node.ask("PUT", &path.replace("weight", "state"), taking),
            body => node.ask("PUT", &path, body),
        }
    };
    assert_eq!(set(&node, "v3", r#"{"weight": 1}"#).refusal(), (404, "no_such_target".to_owned()));
    assert_eq!(set(&node, "v1", r#"{"weight": 70000}"#).status, 400);
    let pool = set(&node, "v2", r#"{"weight": 95}"#).ok();
    assert_eq!(
        (&pool["targets"][1]["weight"], &pool["targets"][1]["policy_weight"]),
        (&json!(95), &json!(5))
    );
    let halves = |node: &Node| {
        let [v1, v2] = shares(&node.get("/v1/pools/web").ok())[..] else { panic!() };
        assert!(v1.abs_diff(v2) < 100, "{v1} {v2}");
    };
    halves(&node);
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 2);
    // What is asked for again changes nothing.
    assert_eq!(set(&node, "v2", r#"{"weight": 95}"#).status, 200);
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 2);

    // Another policy with the target, a restart, and one after which the kernel had forgotten everything.
    assert_eq!(node.put(&POLICY.replace("port: 81", "port: 82")).ok()["generation"], 3);
    halves(&node);
    node.signal("TERM");
    assert!(node.wait().success());
    node.start("");
    let status = node.get("/v1/status").ok();
    assert_eq!((&status["adopted"], &status["policy"]["generation"]), (&json!(true), &json!(3)));
    wait_for("the tables are there", || node.get("/v1/pools/web").ok()["targets"][0]["share_ppm"].is_u64());
    halves(&node);
    node.ask("POST", "/v1/detach", "").ok();
    assert!(node.wait().success());
    node.start("");
    assert_eq!(node.get("/v1/status").ok()["adopted"], false);
    halves(&node);

    // The policy's own again; and a target that a policy does not have loses what was given to it.
    let pool = set(&node, "v2", "").ok();
    assert_eq!(pool["targets"][1]["weight"], 5);
    set(&node, "v1", r#"{"weight": 0}"#).ok();
    assert_eq!(shares(&node.get("/v1/pools/web").ok()), [0, 1_000_000]);
    node.put(&POLICY.replace("name: v1", "name: v9")).ok();
    node.put(POLICY).ok();
    assert_eq!(node.get("/v1/pools/web").ok()["targets"][0]["weight"], 95);
}
