//! Limits as operators see them: counted, told, banned, forgiven; and who sends most.

use crate::node::{Node, run, wait_for};
use serde_json::{Value, json};

const POLICY: &str = "\
version: 1
limits:
  shared: {rate: 1Mbit, burst: 100kB}
routes:
  - name: dns
    match: {protocol: udp, port: 53}
    limit:
      - {rate: 1pps, burst: 5, per: source, ban: {for: 1h, after: 10}}
      - shared
    action: pass
  - {name: web, match: {protocol: tcp, port: 80}, syn_cookies: {above: 1cps, hold: 5s}, action: pass}
  - {name: ssh, match: {protocol: tcp, port: 22}, action: pass}
default: pass
";

fn started() -> Node {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), POLICY).unwrap();
    let file = format!("--policy {} --event-sample 0 --drop-sample 0", node.path("policy.yaml"));
    node.start(&file);
    node
}

fn limit(node: &Node, name: &str) -> Value {
    node.get(&format!("/v1/limits/{}", name.replace('/', "%2F"))).ok()
}

/// The kinds of alerts there were, each once, in order of their first.
fn alerts(node: &Node) -> Vec<(String, String)> {
    let list = node.get("/v1/events?alerts=true").ok();
    let mut kinds = Vec::new();
    for event in list["events"].as_array().unwrap() {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        let kind = (text("kind"), text("limit"));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

#[test]
fn what_a_limit_refuses_is_counted_told_and_banned() {
    let mut node = started();
    let mut events = node.follow("/v1/events/follow");
    node.send(40, 53);

    let own = limit(&node, "dns/1");
    let packets = |limit: &Value, what: &str| limit[what]["packets"].as_u64().unwrap();
    let (admitted, refused) = (packets(&own, "admitted"), packets(&own, "refused"));
    assert_eq!(admitted + refused, 40, "{own}");
    assert!((5..8).contains(&admitted), "{own}");
    assert_eq!((&own["keys"], &own["banned"], &own["bans"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(
        (&own["unit"], &own["rate_per_sec"], &own["burst"]),
        (&json!("packets"), &json!(1), &json!(5))
    );
    assert_eq!(
        (&own["per"], &own["ban_secs"], &own["routes"]),
        (&json!("source"), &json!(3600), &json!(["dns"]))
    );
    assert_eq!(own["text"], "1pps, burst 5, per source, ban 1h after 10");
    assert_eq!(own["top"][0]["key"], "10.9.0.2");
    let left = own["top"][0]["banned_ms"].as_u64().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{own}");
    let shared = limit(&node, "shared");
    assert_eq!(packets(&shared, "admitted"), admitted, "{shared}");
    assert!(shared["used_permille"].is_u64() && shared["top"] == json!([]), "{shared}");

    let first = events.next().unwrap();
    assert_eq!(
        (&first["kind"], &first["limit"], &first["verdict"]),
        (&json!("limit"), &json!("dns/1"), &json!("drop"))
    );
    assert!(first["refused"].as_u64().unwrap() >= 1, "{first}");
    wait_for("the ban is told", || alerts(&node).contains(&("ban".to_owned(), "dns/1".to_owned())));
    wait_for("the log tells it", || node.log_text().contains("banned"));

    let metrics = node.metrics("/metrics");
    for line in [
        format!("gateway_limit_packets_total{{limit=\"dns/1\",result=\"admitted\"}} {admitted}"),
        format!("gateway_limit_packets_total{{limit=\"dns/1\",result=\"refused\"}} {refused}"),
        "gateway_limit_banned{limit=\"dns/1\"} 1".to_owned(),
        "gateway_limit_bans_total{limit=\"dns/1\"} 1".to_owned(),
        "gateway_limit_keys{limit=\"dns/1\"} 1".to_owned(),
        "gateway_limit_evictions_total{limit=\"dns/1\"} 0".to_owned(),
        "gateway_route_under_attack{route=\"web\"} 0".to_owned(),
        "gateway_syn_cookies_sent_total{route=\"web\"} 0".to_owned(),
        "gateway_limit_series_left_out 0".to_owned(),
        "gateway_map_entries{map=\"keyed\"} 1".to_owned(),
        "gateway_map_max_entries{map=\"keyed\"} 262144".to_owned(),
        "gateway_map_entries{map=\"connections\"} 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }

    // A ban outlives the daemon.
    node.signal("KILL");
    node.wait();
    node.start(&format!("--policy {}", node.path("policy.yaml")));
    assert_eq!(limit(&node, "dns/1")["banned"], 1);
    let forgiven = node.ask("DELETE", "/v1/limits/dns%2F1/keys?key=10.9.0.2,10.9.0.7", "").ok();
    assert_eq!(forgiven, json!({"forgiven": ["10.9.0.2"], "unknown": ["10.9.0.7"]}));
    assert_eq!(limit(&node, "dns/1")["banned"], 0);
    node.send(1, 53);
    let after = limit(&node, "dns/1");
    assert_eq!(packets(&after, "admitted"), admitted + 1, "{after}");

    assert_eq!(node.get("/v1/limits/dns").refusal(), (404, "no_such_limit".to_owned()));
    let wrong = node.ask("DELETE", "/v1/limits/dns%2F1/keys?key=10.9.0.0/24", "");
    assert_eq!(wrong.refusal(), (422, "invalid_key".to_owned()));
    assert!(wrong.text.contains("its keys are /32"), "{}", wrong.text);
}

#[test]
fn an_attack_begins_and_ends() {
    let node = started();
    let list = node.get("/v1/limits").ok();
    let names: Vec<&Value> = list["limits"].as_array().unwrap().iter().map(|limit| &limit["name"]).collect();
    assert_eq!(names, ["shared", "dns/1", "web/syn"]);
    assert_eq!(limit(&node, "web/syn")["syn_cookies"]["under_attack"], false);
    node.send_syns(20, 80);
    let syn = limit(&node, "web/syn");
    assert_eq!(syn["syn_cookies"]["under_attack"], true, "{syn}");
    assert!(syn["syn_cookies"]["sent"].as_u64().unwrap() >= 15, "{syn}");
    wait_for("the attack is told", || alerts(&node) == [("attack_begins".to_owned(), "web/syn".to_owned())]);
    assert!(node.metrics("/metrics").contains("gateway_route_under_attack{route=\"web\"} 1\n"));
    let output = run(&node.inside(&format!(
        "{} --socket {} limit list",
        env!("CARGO_BIN_EXE_gateway"),
        node.path("socket")
    )));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("under attack"), "{text}");
}

#[test]
fn syns_without_more_are_half_open() {
    let node = started();
    node.send_syns(7, 22);
    let half_open = |route: &str| {
        let metrics = node.metrics("/metrics");
        let start = format!("gateway_half_open_connections{{route=\"{route}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(start.as_str()).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{metrics}"))
    };
    assert_eq!((half_open("ssh"), half_open("dns")), ("7".to_owned(), "0".to_owned()));
}

/// A scrape stays short, and every limit is in it, where there are as many as have series.
#[test]
fn ten_thousand_limits_are_scraped() {
    let node = started();
    let route = |n: u32| {
        format!(
            "  - {{name: r{n}, match: {{port: {}}}, limit: {{rate: 1kpps, per: source}}, action: pass}}\n",
            1000 + n
        )
    };
    let routes: String = (0..10_001).map(route).collect();
    node.put(&format!("version: 1\nroutes:\n{routes}default: pass\n")).ok();
    node.send(1, 1000);
    let metrics = node.metrics("/metrics");
    let series = metrics.lines().filter(|line| line.starts_with("gateway_limit_banned{")).count();
    assert_eq!(series, 10_000);
    for line in [
        "gateway_limit_packets_total{limit=\"r0/1\",result=\"admitted\"} 1",
        "gateway_limit_series_left_out 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    assert_eq!(node.get("/v1/limits").ok()["limits"].as_array().unwrap().len(), 10_001);
}

#[test]
fn talkers_are_those_who_sent_most() {
    let node = started();
    wait_for("the talkers have begun", || {
        node.send(1, 9);
        node.get("/v1/talkers?by=packets").ok()["total"].as_u64().unwrap() > 0
    });
    node.send(50, 9);
    node.send_syns(5, 22);
    let top = node.get("/v1/talkers?by=packets").ok();
    let first = &top["talkers"][0];
    assert_eq!((&first["source"], &first["error"]), (&json!("10.9.0.2"), &json!(0)));
    let sent = first["sent"].as_u64().unwrap();
    assert!((51..60).contains(&sent), "{top}");
    assert_eq!((&top["unknown_max"], &top["lost"]["packets"]), (&json!(0), &json!(0)));
    let networks = node.get("/v1/talkers?group=network&limit=1").ok();
    assert_eq!(networks["talkers"][0]["source"], "10.9.0.0/24");
    assert!(networks["talkers"][0]["sent"].as_u64().unwrap() >= 51 * 62, "{networks}");
    assert_eq!(node.get("/v1/talkers?by=colour").status, 400);
}
