//! The health of targets as operators see it: in the pool, in the metrics, among the events, on the command line.

use crate::node::{Node, run, wait_for};
use serde_json::{Value, json};

/// Of `web` the client answers pings, and nobody has the other address; nobody at all answers of `dead`.
const POLICY: &str = "\
version: 1
pools:
  web:
    forward: dnat
    targets: [{name: v1, address: 10.9.0.2, port: 80}, {name: v2, address: 10.9.0.77, port: 80}]
    health: {check: icmp, interval: 200ms, timeout: 100ms, fall: 2, passive: {failures: 5}, panic: 20%}
  dead:
    forward: l2
    targets: [{name: a, address: 10.9.0.78}]
    health: {check: icmp, interval: 200ms, timeout: 100ms, fall: 2}
  plain: {forward: l2, targets: [{name: a, address: 10.9.0.2}]}
routes:
  - {name: web, match: {protocol: tcp, port: 80}, action: {pool: web}}
  - {name: dead, match: {protocol: tcp, port: 81}, action: {pool: dead}}
  - {name: plain, match: {protocol: tcp, port: 82}, action: {pool: plain}}
default: pass
";

fn health(node: &Node, pool: &str, target: usize) -> Value {
    node.get(&format!("/v1/pools/{pool}")).ok()["targets"][target]["health"].clone()
}

/// Whether the metrics have this series with this value.
fn has(metrics: &str, series: &str) -> bool {
    metrics.lines().any(|line| line == series)
}

#[test]
fn what_becomes_of_targets_is_seen() {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), POLICY).unwrap();
    let file = format!("--policy {}", node.path("policy.yaml"));
    node.start(&file);
    wait_for("v1's checks pass", || health(&node, "web", 0)["check"]["passes"] == true);
    wait_for("v2 is down", || health(&node, "web", 1)["state"] == "down");
    wait_for("dead panics", || node.get("/v1/pools/dead").ok()["health"]["panic"] == true);
    wait_for("the table follows", || node.get("/v1/pools/web").ok()["targets"][1]["share_ppm"] == 0);

    let v1 = health(&node, "web", 0);
    assert_eq!((&v1["state"], &v1["reason"]), (&json!("up"), &json!("in service")));
    assert_eq!((&v1["share_ppm"], &v1["effective_weight"]), (&json!(1_000_000), &json!(100.0)));
    assert!(v1["check"]["took_us"].is_u64() && v1["check"]["error"].is_null(), "{v1}");
    assert_eq!(v1["handshakes"]["times"].as_array().unwrap().len(), 26);
    let v2 = health(&node, "web", 1);
    assert!(v2["reason"].as_str().unwrap().starts_with("icmp: "), "{v2}");
    assert_eq!(v2["circuit"]["state"], "open");
    assert_eq!((&v2["circuit"]["held"], &v2["circuit"]["trips"]), (&json!(true), &json!(0)));
    assert_eq!((&v2["share_ppm"], &v2["effective_weight"]), (&json!(0), &json!(0.0)));
    assert!(v2["since_unix_ms"].as_u64().unwrap() > 1_600_000_000_000, "{v2}");
    assert_eq!(v2["check"]["passes"], false);
    // Its checks fail, and it is used all the same.
    let dead = health(&node, "dead", 0);
    assert_eq!((&dead["state"], &dead["effective_weight"]), (&json!("down"), &json!(100.0)));
    let plain = node.get("/v1/pools/plain").ok();
    assert!(plain["health"].is_null() && plain["targets"][0]["health"].is_null(), "{plain}");

    metrics_tell_it(&node);
    the_command_line_tells_it(&node);
}

fn metrics_tell_it(node: &Node) {
    let metrics = node.metrics("/metrics");
    for series in [
        "gateway_target_up{pool=\"web\",target=\"v1\"} 1",
        "gateway_target_up{pool=\"web\",target=\"v2\"} 0",
        "gateway_target_up{pool=\"dead\",target=\"a\"} 1",
        "gateway_target_check_passing{pool=\"web\",target=\"v2\"} 0",
        "gateway_target_circuit{pool=\"web\",target=\"v2\",state=\"open\"} 1",
        "gateway_target_circuit{pool=\"web\",target=\"v2\",state=\"closed\"} 0",
        "gateway_target_effective_weight{pool=\"web\",target=\"v1\"} 100",
        "gateway_target_share_ratio{pool=\"web\",target=\"v2\"} 0",
        "gateway_target_half_open_connections{pool=\"web\",target=\"v1\"} 0",
        "gateway_target_handshake_seconds_bucket{pool=\"web\",target=\"v1\",le=\"0.000001024\"} 0",
        "gateway_target_handshake_seconds_bucket{pool=\"web\",target=\"v1\",le=\"+Inf\"} 0",
        "gateway_target_handshakes_unanswered_total{pool=\"web\",target=\"v1\"} 0",
        "gateway_pool_panic{pool=\"web\"} 0",
        "gateway_pool_panic{pool=\"dead\"} 1",
    ] {
        assert!(has(&metrics, series), "{series}\n{metrics}");
    }
    assert!(!metrics.contains("gateway_target_up{pool=\"plain\""), "{metrics}");
    assert!(!metrics.contains("gateway_target_half_open_connections{pool=\"dead\""), "{metrics}");
}

fn the_command_line_tells_it(node: &Node) {
    let said = |command: &str| {
        let socket = node.path("socket");
        let gateway = env!("CARGO_BIN_EXE_gateway");
        String::from_utf8(run(&format!("{gateway} --socket {socket} {command}")).stdout).unwrap()
    };
    let web = said("pool show web");
    assert!(web.contains("\nweb/v2 down for ") && !web.contains("\nweb/v1 "), "{web}");
    let dead = said("pool show dead");
    assert!(
        dead.contains("\npanic: less than 50% of the weight is in service, all targets are used\n"),
        "{dead}"
    );
    assert!(said("pool list").contains("panic, 0 of 1 up"));
    let top: Value = serde_json::from_str(&said("pool top --interval 100ms -o json")).unwrap();
    assert_eq!((&top["panics"], &top["targets"][3]["state"]), (&json!(["dead"]), &json!("down")));
    assert_eq!(top["targets"][3]["target"], "web/v2");
    let alerts = said("event list --alerts");
    assert!(
        alerts.contains(" target web/v2 down: icmp: ") && alerts.contains(" target dead panic: "),
        "{alerts}"
    );
    let events: Value = serde_json::from_str(&said("event list --alerts -o json")).unwrap();
    let told = |event: &&Value| event["kind"] == "target" && event["target"] == "web/v2";
    let event = events["events"].as_array().unwrap().iter().find(told).unwrap();
    assert!(event["change"].as_str().unwrap().starts_with("down: icmp: "), "{event}");
}

#[test]
fn an_enabled_target_is_up_until_its_checks_fail_anew() {
    let mut node = Node::new();
    // One that is asked so seldom that it does not fail often enough once it is enabled.
    let slow = POLICY.replacen(
        "interval: 200ms, timeout: 100ms, fall: 2",
        "interval: 1h, timeout: 100ms, fall: 100",
        1,
    );
    std::fs::write(node.path("policy.yaml"), POLICY).unwrap();
    let file = format!("--policy {}", node.path("policy.yaml"));
    node.start(&file);
    wait_for("v2 is down", || health(&node, "web", 1)["state"] == "down");
    node.put(&slow).ok();
    let pool = node.ask("PUT", "/v1/pools/web/targets/v2/state", r#"{"state": "taking"}"#).ok();
    let v2 = &pool["targets"][1]["health"];
    assert_eq!((&v2["state"], &v2["reason"]), (&json!("up"), &json!("enabled by hand")));
    assert_eq!((&v2["circuit"]["state"], &v2["effective_weight"]), (&json!("closed"), &json!(100.0)));
    assert!(v2["check"]["passes"].is_null(), "{v2}");
}
