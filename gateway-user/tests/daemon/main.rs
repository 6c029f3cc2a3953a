//! The real daemon on a real kernel: what it answers, what it survives, what it leaves behind.
//! Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs)]

mod labels;
mod limits;
mod node;
mod pools;
mod target_health;
mod translation;

use node::{Node, run, wait_for};
use serde_json::{Value, json};

const POLICY: &str = "\
version: 1
routes:
  - {name: dns, match: {from: 10.9.0.2, protocol: udp, port: 53}, mark: 0x10, action: pass}
  - {name: chargen, match: {protocol: udp, port: 19}, action: drop}
default: pass
";

fn started(policy: &str) -> Node {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), policy).unwrap();
    let file = format!("--policy {}", node.path("policy.yaml"));
    node.start(&file);
    node
}

#[test]
fn a_policy_governs_and_is_changed_as_a_whole() {
    let node = started(POLICY);
    let status = node.get("/v1/status").ok();
    assert_eq!((&status["ready"], &status["adopted"]), (&json!(true), &json!(false)));
    assert_eq!(status["policy"]["generation"], 1);
    assert_eq!(node.health("/readyz"), "200");

    node.send(7, 53);
    node.send(5, 19);
    assert_eq!((node.route_packets("dns"), node.route_packets("chargen")), (7, 5));
    let flows = node.get("/v1/flows/top?by=packets&limit=1").ok();
    let flow = &flows["flows"][0];
    assert_eq!((&flow["packets"], &flow["route"], &flow["mark"]), (&json!(7), &json!("dns"), &json!(16)));
    assert_eq!((&flow["source"], &flow["port"]), (&json!("10.9.0.2"), &json!(53)));
    let chargen = node.get("/v1/flows?route=chargen").ok();
    assert_eq!(chargen["flows"][0]["reason"], "route");
    let interfaces = node.get("/v1/interfaces").ok();
    assert_eq!(interfaces["interfaces"][0]["drops"]["route"], 5);

    let wrong = node.put("version: 1\nroutes:\n  - {name: a, match: {port: 99999}, acton: drop}\n");
    assert_eq!(wrong.refusal(), (422, "invalid_policy".to_owned()));
    let error = &wrong.json()["error"];
    assert!(error["diagnostics"].as_array().unwrap().len() >= 2, "all at once: {error}");
    assert!(error["rendered"].as_str().unwrap().contains("acton"));
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 1);

    let same = node.put(POLICY).ok();
    assert_eq!((&same["changed"], &same["generation"]), (&json!(false), &json!(1)));
    let changed = node.put(&POLICY.replace("drop", "pass")).ok();
    assert_eq!((&changed["generation"], &changed["diff"]["changed"]), (&json!(2), &json!(["chargen"])));
    node.send(5, 19);
    assert_eq!(node.route_packets("chargen"), 10);
    assert_eq!(node.get("/v1/policy").ok()["text"], POLICY.replace("drop", "pass"));

    let checked = node.ask("POST", "/v1/policy/check?source=x.yaml", POLICY).ok();
    assert_eq!((&checked["routes"], &checked["warnings"]), (&json!(2), &json!([])));
    let diff = node.ask("POST", "/v1/policy/diff", POLICY).ok();
    assert_eq!((&diff["generation"], &diff["diff"]["changed"]), (&json!(2), &json!(["chargen"])));
}

#[test]
fn routes_are_edited_one_by_one() {
    let node = started(POLICY);
    let new = json!({"route": {"name": "web", "match": {"protocol": ["tcp"], "port": ["80", "8000-8099"]},
        "action": "drop"}, "position": {"before": "chargen"}});
    let added = node.ask("POST", "/v1/routes?base_generation=1", &new.to_string());
    assert_eq!(added.ok()["diff"]["added"], json!(["web"]));
    let again = node.ask("POST", "/v1/routes", &new.to_string());
    assert_eq!(again.refusal(), (409, "route_exists".to_owned()));
    let moved = node.ask("DELETE", "/v1/routes/web?base_generation=1", "");
    assert_eq!(moved.refusal(), (409, "generation_moved".to_owned()));
    assert_eq!(moved.json()["error"]["generation"], 2);

    let list = node.get("/v1/routes").ok();
    let names: Vec<&Value> = list["routes"].as_array().unwrap().iter().map(|route| &route["name"]).collect();
    assert_eq!(names, ["dns", "web", "chargen"]);
    assert_eq!(list["routes"][1]["match_text"], "protocol tcp port 80,8000-8099");

    node.send(3, 53);
    let patch = json!({"match": {"from": []}, "mark": 0, "action": "drop", "position": "last"});
    let set = node.ask("PATCH", "/v1/routes/dns", &patch.to_string()).ok();
    assert_eq!((&set["diff"]["changed"], &set["generation"]), (&json!(["dns"]), &json!(3)));
    node.send(2, 53);
    let dns = node.get("/v1/routes/dns").ok();
    assert_eq!((&dns["position"], &dns["packets"], &dns["action"]), (&json!(3), &json!(5), &json!("drop")));
    assert_eq!((&dns["match"]["from"], &dns["mark"]), (&Value::Null, &Value::Null));

    let spec = json!({"match": {"port": ["99999"]}, "action": "pass"});
    assert_eq!(node.ask("PUT", "/v1/routes/x", &spec.to_string()).refusal().1, "invalid_policy");
    let spec = json!({"match": {"protocol": ["udp"]}, "action": {"redirect": "nowhere"}});
    let put = node.ask("PUT", "/v1/routes/x?dry_run=true", &spec.to_string()).ok();
    assert_eq!((&put["dry_run"], &put["generation"]), (&json!(true), &json!(3)));
    assert!(put["rendered"].as_str().unwrap().contains("nowhere"), "{put}");
    assert_eq!(node.ask("DELETE", "/v1/routes/x", "").refusal(), (404, "no_such_route".to_owned()));
    node.ask("DELETE", "/v1/routes/dns", "").ok();
    // Its counters wait for the name.
    let spec = json!({"match": {"protocol": ["udp"], "port": ["53"]}, "action": "pass"});
    node.ask("PUT", "/v1/routes/dns", &spec.to_string()).ok();
    assert_eq!(node.route_packets("dns"), 5);
}

#[test]
fn a_killed_daemon_is_missed_by_nobody() {
    let mut node = started(POLICY);
    node.send(10, 53);
    node.ask("PATCH", "/v1/routes/chargen", &json!({"mark": 5}).to_string()).ok();
    node.signal("KILL");
    node.wait();
    node.send(10, 53);
    node.send(10, 19);

    let file = format!("--policy {}", node.path("policy.yaml"));
    node.start(&file);
    let status = node.get("/v1/status").ok();
    assert_eq!((&status["adopted"], &status["policy"]["generation"]), (&json!(true), &json!(2)));
    assert_eq!(status["policy"]["source"], "route set chargen");
    let notices = status["notices"].to_string();
    assert!(notices.contains("differs from the live policy"), "{notices}");
    assert_eq!((node.route_packets("dns"), node.route_packets("chargen")), (20, 10));
    node.send(1, 53);
    assert_eq!(node.route_packets("dns"), 21);

    // An end in good order leaves the programs as well, but not the socket.
    node.signal("TERM");
    assert!(node.wait().success());
    assert!(!std::path::Path::new(&node.path("socket")).exists());
    node.send(1, 53);
    node.start("");
    assert_eq!(node.route_packets("dns"), 22);
    node.signal("HUP");
    assert!(node.get("/v1/status").ok()["ready"].as_bool().unwrap());
}

/// The daemon ended between the flip and the confirmation, or before the flip.
#[test]
fn a_change_that_was_cut_off_is_settled_by_what_is_live() {
    let mut node = started(POLICY);
    let candidate = node.path("state/candidate.json");
    let record = |generation: u32, digest: &Value, text: &str| {
        let words: Vec<u64> = (0..4)
            .map(|i| u64::from_str_radix(&digest.as_str().unwrap()[i * 16..][..16], 16).unwrap())
            .collect();
        let record = json!({"generation": generation, "digest": words, "text": text, "source": "cut off",
            "applied_at_unix_secs": 1});
        json!({"record": record, "slots": {"routes": {"later": 99}, "interfaces": {}, "first_free_route": 100}})
    };
    let live = node.get("/v1/status").ok()["policy"]["digest"].clone();
    let other = format!("# went live\n{POLICY}");
    // Generation 1 is live, so this one had gone live; of generation 2 nothing is to be seen.
    for (generation, text) in [(1, other.as_str()), (2, "# did not go live")] {
        node.signal("KILL");
        node.wait();
        std::fs::write(&candidate, record(generation, &live, text).to_string()).unwrap();
        node.start("");
        let policy = node.get("/v1/policy").ok();
        assert_eq!((&policy["source"], &policy["text"]), (&json!("cut off"), &json!(other)), "{generation}");
        assert!(!std::path::Path::new(&candidate).exists());
    }
    node.ask("PUT", "/v1/routes/later", &json!({"action": "pass"}).to_string()).ok();
    node.send(1, 4000);
    assert_eq!(node.route_packets("later"), 1);
}

#[test]
fn a_lost_store_never_mixes_counters_up() {
    let mut node = started(POLICY);
    node.send(10, 53);
    node.signal("KILL");
    node.wait();
    std::fs::remove_dir_all(node.path("state")).unwrap();
    node.start("");
    let status = node.get("/v1/status").ok();
    assert_eq!(status["policy"]["source"], "unknown");
    assert!(status["notices"].to_string().contains("not the stored policy"), "{status}");
    assert_eq!(node.get("/v1/policy").refusal(), (409, "unknown_policy".to_owned()));
    let edit = node.ask("PATCH", "/v1/routes/dns", "{\"mark\": 1}");
    assert_eq!(edit.refusal(), (409, "unknown_policy".to_owned()));
    node.put("version: 1\nroutes: [{name: other, match: {protocol: udp}, action: pass}]\n").ok();
    assert_eq!(node.route_packets("other"), 0);
    node.send(2, 53);
    assert_eq!(node.route_packets("other"), 2);
}

#[test]
fn who_may_only_read_changes_nothing() {
    let node = started(POLICY);
    let socket = node.path("socket");
    run(&format!("chmod 755 {} && chmod 666 {socket}", node.folder.path().display()));
    let nobody = |arguments: &str| {
        let curl = format!("curl -s -w '\\n%{{http_code}}' --unix-socket {socket} {arguments}");
        let command = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {curl}");
        String::from_utf8(run(&command).stdout).unwrap()
    };
    assert!(nobody("http://g/v1/routes").ends_with("200"));
    let changes = [
        "-X PUT --data-binary 'version: 1' http://g/v1/policy",
        "-X POST -d '{}' http://g/v1/routes",
        "-X PUT -d '{}' http://g/v1/routes/dns",
        "-X PATCH -d '{}' http://g/v1/routes/dns",
        "-X DELETE http://g/v1/routes/dns",
        "-X POST -d '{}' http://g/v1/labels/x/members",
        "-X DELETE http://g/v1/labels/x/members?all=true",
        "-X POST http://g/v1/detach",
    ];
    for change in changes {
        let answer = nobody(change);
        assert!(answer.ends_with("403") && answer.contains("forbidden"), "{change}: {answer}");
    }
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 1);

    // Only the rights that it needs: CAP_NET_ADMIN 12, CAP_PERFMON 38, CAP_BPF 39.
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(status.contains(&format!("{set}:\t000000c000001000")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"));
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let node = started(POLICY);
    assert_eq!(node.get("/v1/nothing").refusal(), (404, "not_found".to_owned()));
    assert_eq!(node.ask("DELETE", "/v1/status", "").refusal(), (405, "method_not_allowed".to_owned()));
    for path in ["/v1/flows?limit=0", "/v1/flows?limit=10001", "/v1/flows?by=x", "/v1/events?bad=1"] {
        assert_eq!(node.get(path).refusal(), (400, "bad_request".to_owned()), "{path}");
    }
    assert_eq!(node.get("/v1/flows?route=nix").refusal().1, "no_such_route");
    assert_eq!(node.ask("POST", "/v1/routes", "{").refusal(), (400, "bad_request".to_owned()));
    let typo = json!({"route": {"name": "a", "action": "pass", "makr": 1}}).to_string();
    assert_eq!(node.ask("POST", "/v1/routes", &typo).refusal(), (400, "bad_request".to_owned()));
    let long = format!("{{\"route\": \"{}\"", "x".repeat(9 << 20));
    assert_eq!(node.ask("POST", "/v1/routes", &long).refusal(), (413, "too_large".to_owned()));
    assert_eq!(node.get("/openapi.json").ok()["openapi"], "3.1.0");
}

#[test]
fn metrics_and_events_tell_what_happened() {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), POLICY).unwrap();
    let file = node.path("policy.yaml");
    node.start(&format!("--policy {file} --event-sample 1 --drop-sample 1"));
    let mut follower = node.follow("/v1/events/follow");
    node.send(4, 19);
    let event = follower.find(|event| event["route"] == "chargen").unwrap();
    assert_eq!(
        (&event["verdict"], &event["reason"], &event["hook"]),
        (&json!("drop"), &json!("route"), &json!("xdp"))
    );
    assert_eq!(
        (&event["interface"], &event["port"], &event["generation"]),
        (&json!("v0"), &json!(19), &json!(1))
    );
    wait_for("all events are in the list", || {
        let list = node.get("/v1/events?limit=1000").ok();
        list["events"].as_array().unwrap().iter().filter(|event| event["route"] == "chargen").count() == 4
    });

    let text = node.metrics("/metrics");
    for line in [
        "gateway_route_packets_total{route=\"chargen\"} 4",
        "gateway_packets_total{interface=\"v0\",hook=\"xdp\",verdict=\"drop\"} 4",
        "gateway_drops_total{interface=\"v0\",reason=\"route\"} 4",
        "gateway_drops_total{interface=\"v0\",reason=\"udp_length\"} 0",
        "gateway_route_packets_total{route=\"(no_policy)\"} 0",
        "gateway_policy_generation 1",
        "gateway_events_lost_total 0",
        "gateway_map_entries{map=\"routes\"} 2",
        "gateway_map_max_entries{map=\"routes\"} 131056",
        "gateway_ready 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("gateway_interface_mode{interface=\"v0\",mode="));
    let flows = node.metrics("/metrics/flows");
    assert!(flows.contains("source=\"10.9.0.2\""), "{flows}");
    assert!(
        flows.contains("gateway_flow_bytes{interface=\"\",vlan=\"\",protocol=\"\",source=\"other\""),
        "{flows}"
    );
    assert_eq!(node.health("/healthz"), "200");
}

#[test]
fn flows_that_leave_the_memo_are_added_up_or_counted() {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), POLICY).unwrap();
    let file = node.path("policy.yaml");
    node.start(&format!("--policy {file} --flow-sets 64 --flow-table 1000"));
    node.send_to_ports(30_000, 3_000);
    let number = |totals: &Value, key: &str| totals[key].as_u64().unwrap();
    let mut totals = Value::Null;
    wait_for("every packet is in a flow, evicted or lost", || {
        totals = node.get("/v1/flows?limit=1").ok()["totals"].clone();
        let known = number(&totals, "packets");
        known + number(&totals, "evicted_packets") + number(&totals, "lost_packets") >= 30_000
    });
    let all = ["packets", "evicted_packets", "lost_packets"].map(|key| number(&totals, key));
    // A few packets of the neighbour discovery of the kernel itself may be among them.
    assert!(all.iter().sum::<u64>() < 30_050, "{totals}");
    assert!(number(&totals, "evicted_flows") > 0, "{totals}");
    assert!(number(&totals, "flows") < 3_000, "{totals}");
}

#[test]
fn an_interface_that_goes_and_comes_is_governed_again() {
    let node = started(POLICY);
    node.send(2, 53);
    node.unplug();
    wait_for("it is seen that the interface is gone", || node.health("/readyz") == "503");
    let status = node.get("/v1/status").ok();
    assert_eq!((&status["interfaces"][0]["index"], &status["ready"]), (&Value::Null, &json!(false)));
    node.plug_in();
    wait_for("the interface is governed again", || node.health("/readyz") == "200");
    node.send(3, 53);
    assert_eq!(node.route_packets("dns"), 5);
}

#[test]
fn detach_takes_everything_off_and_the_policy_is_kept() {
    let mut node = started(POLICY);
    node.put(&POLICY.replace("drop", "pass")).ok();
    assert_eq!(node.ask("POST", "/v1/detach", "").ok()["interfaces"], json!(["v0"]));
    assert!(node.wait().success());
    assert!(!node.pins().exists());
    let links = String::from_utf8(run(&node.inside("ip -d link show v0")).stdout).unwrap();
    assert!(!links.contains("xdp"), "{links}");
    node.start("");
    let policy = node.get("/v1/policy").ok();
    assert_eq!(policy["text"], POLICY.replace("drop", "pass"));
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let mut node = Node::new();
    std::fs::write(node.path("bad.yaml"), "version: 1\nroutes: [{name: a, acton: drop}]\n").unwrap();
    let file = format!("--policy {}", node.path("bad.yaml"));
    let (status, log) = node.start_in_vain(&file);
    assert!(!status.success() && log.contains("acton"), "{log}");
    assert!(!node.pins().exists() && !std::path::Path::new(&node.path("socket")).exists());
    let (status, log) = node.start_in_vain("--policy /does/not/exist.yaml");
    assert!(!status.success() && log.contains("/does/not/exist.yaml"), "{log}");

    // Where something judges, a bad file is told and the live policy kept.
    std::fs::write(node.path("good.yaml"), POLICY).unwrap();
    let good = format!("--policy {}", node.path("good.yaml"));
    node.start(&good);
    let again = node.inside(&format!(
        "{} --socket {} run --interface v0 --pin-dir {} --state-dir {} --metrics off",
        env!("CARGO_BIN_EXE_gateway"),
        node.path("socket"),
        node.pins().display(),
        node.path("state2"),
    ));
    let output = std::process::Command::new("sh").args(["-c", &again]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("another daemon answers"), "{said}");
    node.signal("TERM");
    node.wait();
    node.start(&file);
    let status = node.get("/v1/status").ok();
    assert_eq!(status["policy"]["generation"], 1);
    assert!(status["notices"].to_string().contains("bad.yaml is not valid"), "{status}");
}
