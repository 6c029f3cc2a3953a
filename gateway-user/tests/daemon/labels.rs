//! Labels: who is a live member, how long, and what survives what.

use crate::node::{Node, run, wait_for};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const POLICY: &str = "\
version: 1
labels:
  blocked: [198.51.100.0/24]
  staging: []
  empty: []
routes:
  - {name: deny, match: {from: {all: [blocked, staging]}}, action: drop}
  - {name: bad, match: {from: blocked, protocol: udp}, mark: 1, action: pass}
  - {name: rest, match: {protocol: udp}, action: pass}
default: pass
";

fn started(policy: &str) -> Node {
    let mut node = Node::new();
    std::fs::write(node.path("policy.yaml"), policy).unwrap();
    let file = format!("--policy {}", node.path("policy.yaml"));
    node.start(&file);
    node
}

fn again(node: &mut Node) {
    let file = format!("--policy {}", node.path("policy.yaml"));
    node.start(&file);
}

fn add(node: &Node, label: &str, body: &Value) -> Value {
    node.ask("POST", &format!("/v1/labels/{label}/members"), &body.to_string()).ok()
}

fn counts(node: &Node) -> [u64; 3] {
    ["deny", "bad", "rest"].map(|name| node.route_packets(name))
}

/// Prefixes of the live members of a label.
fn members(node: &Node, label: &str) -> Vec<String> {
    let answer = node.get(&format!("/v1/labels/{label}"));
    if answer.status == 404 {
        return Vec::new();
    }
    let members = answer.ok()["first_members"].as_array().unwrap().clone();
    members.iter().map(|member| member["prefix"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn members_count_from_the_next_packet_on_and_survive_all() {
    let mut node = started(POLICY);
    node.send(3, 53);
    assert_eq!(counts(&node), [0, 0, 3]);
    let report = add(&node, "blocked", &json!({"prefixes": ["10.9.0.2", "2001:db8::/32"]}));
    assert_eq!(
        (&report["added"], &report["members"], &report["generation"]),
        (&json!(2), &json!(2), &json!(1))
    );
    node.send(4, 53);
    assert_eq!(counts(&node), [0, 4, 3]);

    // A set of labels that the policy was not compiled for: a generation more, and the text is the same.
    let report = add(&node, "staging", &json!({"prefixes": ["10.9.0.0/24"]}));
    assert_eq!(report["generation"], 2);
    node.send(5, 53);
    assert_eq!(counts(&node), [5, 4, 3]);
    // Known sets need none.
    let report = add(&node, "staging", &json!({"prefixes": ["192.0.2.1", "10.9.0.2"], "ttl_secs": 86400}));
    assert_eq!((&report["generation"], &report["added"]), (&json!(2), &json!(2)));
    assert_eq!(node.get("/v1/policy").ok()["text"], POLICY);

    node.put(&POLICY.replace("mark: 1", "mark: 2")).ok();
    node.send(1, 53);
    assert_eq!(counts(&node), [6, 4, 3]);
    node.signal("KILL");
    node.wait();
    node.send(1, 53);
    again(&mut node);
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 3, "{}", node.log_text());
    node.send(1, 53);
    assert_eq!(counts(&node), [8, 4, 3]);
    // Without the maps, from the store alone.
    node.signal("TERM");
    node.wait();
    run(&format!("rm -rf {}", node.pins().display()));
    again(&mut node);
    node.send(2, 53);
    assert_eq!(counts(&node), [2, 0, 0]);

    let gone = node.ask("DELETE", "/v1/labels/staging/members?prefix=10.9.0.2&prefix=10.9.0.0/24", "").ok();
    assert_eq!((&gone["removed"], &gone["members"]), (&json!(2), &json!(1)));
    node.send(3, 53);
    assert_eq!(counts(&node), [2, 3, 0]);
    let gone = node.ask("DELETE", "/v1/labels/blocked/members?all=true", "").ok();
    assert_eq!((&gone["removed"], &gone["members"]), (&json!(2), &json!(0)));
    node.send(4, 53);
    assert_eq!(counts(&node), [2, 3, 4]);
    let metrics = node.metrics("/metrics");
    assert!(metrics.contains("gateway_label_prefixes{label=\"blocked\"} 1\n"), "{metrics}");
    assert!(metrics.contains("gateway_label_members{label=\"staging\"} 1\n"), "{metrics}");
    assert!(metrics.contains("gateway_map_entries{map=\"live\"} 1\n"), "{metrics}");
}

/// A label alone needs no generation, unless a prefix of the policy gives the source another label, and
/// a restart finds that so.
#[test]
fn the_first_member_of_a_label_needs_no_generation() {
    let mut node = started(POLICY);
    let generation =
        |prefix: &str| add(&node, "staging", &json!({"prefixes": [prefix]}))["generation"].clone();
    assert_eq!(generation("10.9.0.2"), 1);
    assert_eq!(generation("2001:db8::/32"), 1);
    assert_eq!(add(&node, "blocked", &json!({"prefixes": ["192.0.2.1"]}))["generation"], 1);
    node.signal("KILL");
    node.wait();
    again(&mut node);
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 1, "{}", node.log_text());

    // 198.51.100.0/24 is `blocked`: within it, and around it.
    for (generation, prefix) in [(2, "198.51.100.7"), (2, "198.51.0.0/16")] {
        let added = add(&node, "staging", &json!({"prefixes": [prefix]}));
        assert_eq!(added["generation"], generation, "{prefix}: {}", node.log_text());
    }
    // A restart tells members of the one kind from those of the other.
    assert_eq!(add(&node, "empty", &json!({"prefixes": ["203.0.113.1"]}))["generation"], 2);
    node.signal("KILL");
    node.wait();
    again(&mut node);
    assert_eq!(node.get("/v1/status").ok()["policy"]["generation"], 2, "{}", node.log_text());
    assert_eq!(add(&node, "empty", &json!({"prefixes": ["198.51.0.0/16"]}))["generation"], 3);
    assert_eq!(add(&node, "empty", &json!({"prefixes": ["192.0.2.0/24"]}))["generation"], 4);
    assert_eq!(counts(&node), [0, 0, 0]);
    node.send(2, 53);
    assert_eq!(counts(&node), [0, 0, 2]);
    add(&node, "blocked", &json!({"prefixes": ["10.9.0.2"]}));
    node.send(3, 53);
    assert_eq!(counts(&node), [3, 0, 2]);
}

#[test]
fn a_time_to_live_ends_by_itself() {
    let mut node = started(POLICY);
    add(&node, "blocked", &json!({"prefixes": ["10.9.0.2"], "ttl_secs": 3}));
    let begun = Instant::now();
    node.send(1, 53);
    assert_eq!(counts(&node), [0, 1, 0]);
    let shown = node.get("/v1/labels/blocked").ok();
    let left = shown["first_members"][0]["remaining_secs"].as_u64().unwrap();
    assert!((1..=3).contains(&left), "{shown}");
    wait_for("it is over for the kernel", || {
        node.send(1, 53);
        counts(&node)[2] > 0
    });
    assert!(begun.elapsed() >= Duration::from_secs(3), "early: {:?}", begun.elapsed());
    wait_for("it is cleared up", || members(&node, "blocked").is_empty());
    let status = node.get("/v1/status").ok();
    let live = status["maps"].as_array().unwrap().iter().find(|map| map["map"] == "live").unwrap().clone();
    assert_eq!(live["entries"], 0);

    // With nobody there to clear up. Long enough that a busy machine gets its packet through before.
    add(&node, "blocked", &json!({"prefixes": ["10.9.0.2"], "ttl_secs": 8}));
    let [_, bad, rest] = counts(&node);
    node.signal("KILL");
    node.wait();
    node.send(1, 53);
    std::thread::sleep(Duration::from_secs(11));
    node.send(1, 53);
    again(&mut node);
    assert_eq!(counts(&node), [0, bad + 1, rest + 1]);
    assert_eq!(members(&node, "blocked"), [""; 0]);
    assert!(node.log_text().contains("the time to live of a label's member is over"), "{}", node.log_text());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let node = started(POLICY);
    let ask = |label: &str, body: Value| {
        node.ask("POST", &format!("/v1/labels/{label}/members"), &body.to_string())
    };
    let unknown = ask("blokced", json!({"prefixes": ["10.0.0.1"]}));
    assert_eq!(unknown.refusal(), (404, "no_such_label".to_owned()));
    assert_eq!(unknown.json()["error"]["help"], "did you mean `blocked`?");
    assert_eq!(node.get("/v1/labels/blokced").refusal().0, 404);
    let wrong = ask("blocked", json!({"prefixes": ["10.0.0.1", "10.0.0.1/8", "example.org"]}));
    assert_eq!(wrong.refusal(), (422, "invalid_policy".to_owned()));
    assert_eq!(wrong.json()["error"]["diagnostics"].as_array().unwrap().len(), 2, "{}", wrong.text);
    for body in [
        json!({"prefixes": []}),
        json!({"prefixes": ["10.0.0.1#"]}),
        json!({"prefixes": [""]}),
        json!({"prefixes": ["10.0.0.1"], "ttl_secs": 0}),
        json!({"prefixes": ["10.0.0.1"], "ttl_secs": 31_536_001}),
        json!({"prefix": ["10.0.0.1"]}),
    ] {
        assert_eq!(ask("blocked", body.clone()).refusal(), (400, "bad_request".to_owned()), "{body}");
    }
    let missing = node.ask("DELETE", "/v1/labels/blocked/members?prefix=198.51.100.0/24", "");
    assert_eq!(missing.refusal(), (404, "no_such_member".to_owned()));
    assert!(missing.json()["error"]["help"].as_str().unwrap().contains("stands in the policy"));
    assert_eq!(node.ask("DELETE", "/v1/labels/blocked/members", "").refusal().0, 400);
    assert_eq!(node.get("/v1/labels/blocked?limit=0").refusal().0, 400);

    let labels: String = (0..5).map(|i| format!("  l{i}: []\n")).collect();
    node.put(&format!("version: 1\nlabels:\n{labels}routes: []\n")).ok();
    for i in 0..4 {
        ask(&format!("l{i}"), json!({"prefixes": [format!("10.{i}.0.0/16"), "10.9.0.2"]})).ok();
    }
    let fifth = ask("l4", json!({"prefixes": ["192.0.2.1", "10.0.0.0/8"]}));
    assert_eq!(fifth.refusal(), (422, "too_many_labels".to_owned()));
    assert!(fifth.json()["error"]["message"].as_str().unwrap().contains("10.9.0.2/32"), "{}", fifth.text);
    assert_eq!(members(&node, "l4"), [""; 0]);
    // A label that the policy no longer names keeps its members, and says so.
    node.put("version: 1\nlabels: {l0: []}\nroutes: []\n").ok();
    let list = node.get("/v1/labels").ok();
    let l3 = list["labels"].as_array().unwrap().iter().find(|label| label["name"] == "l3").unwrap().clone();
    assert_eq!((&l3["in_policy"], &l3["members"]), (&json!(false), &json!(2)));
    ask("l3", json!({"prefixes": ["192.0.2.9"]})).ok();
    assert_eq!(ask("l4", json!({"prefixes": ["192.0.2.9"]})).refusal().1, "no_such_label");
}

#[test]
fn label_files_are_read_once_and_kept() {
    let mut node = Node::new();
    let policy = "version: 1\nlabels: {listed: {file: lists/listed.txt}}\nroutes:\n  \
                  - {name: listed, match: {from: listed}, action: drop}\n  - {name: rest, action: pass}\n";
    std::fs::create_dir(node.path("lists")).unwrap();
    let file = node.path("lists/listed.txt");
    std::fs::write(&file, "# who is not welcome\n10.9.0.2\n10.9.0.2/32\n2001:db8::/32\n").unwrap();
    std::fs::write(node.path("policy.yaml"), policy).unwrap();
    again(&mut node);
    let dropped = |node: &Node| {
        let before = node.route_packets("listed");
        node.send(1, 53);
        node.route_packets("listed") - before
    };
    assert_eq!(dropped(&node), 1);
    let shown = node.get("/v1/labels/listed?limit=1").ok();
    assert_eq!((&shown["file"], &shown["prefixes"]), (&json!("lists/listed.txt"), &json!(2)));
    assert_eq!(shown["first_prefixes"], json!(["10.9.0.2/32"]));

    // Nothing that is done from now on needs the file.
    std::fs::remove_file(&file).unwrap();
    node.ask("PATCH", "/v1/routes/rest", &json!({"mark": 5}).to_string()).ok();
    node.signal("KILL");
    node.wait();
    again(&mut node);
    node.ask("PATCH", "/v1/routes/rest", &json!({"mark": 6}).to_string()).ok();
    node.signal("TERM");
    node.wait();
    run(&format!("rm -rf {}", node.pins().display()));
    again(&mut node);
    assert_eq!(dropped(&node), 1);

    // To apply the document is to read it, and what is not right changes nothing.
    let put =
        |node: &Node| node.ask("PUT", &format!("/v1/policy?source={}", node.path("policy.yaml")), policy);
    let refused = put(&node);
    assert_eq!(refused.refusal(), (422, "invalid_policy".to_owned()));
    assert!(refused.text.contains("lists/listed.txt cannot be read"), "{}", refused.text);
    let mut lines = "192.0.2.0/24\n".repeat(70_000);
    lines.push_str("192.0.2.0/24 192.0.3.0/24\n10.9.0.2/8\n");
    std::fs::write(&file, &lines).unwrap();
    let refused = put(&node).json()["error"]["diagnostics"].clone();
    assert_eq!((&refused[0]["line"], &refused[1]["line"]), (&json!(70_001), &json!(70_002)), "{refused}");
    assert_eq!(dropped(&node), 1);
    std::fs::write(&file, "192.0.2.0/24\n").unwrap();
    put(&node).ok();
    assert_eq!(dropped(&node), 0);
    // The same document, another content: SIGHUP finds it.
    std::fs::write(&file, "10.9.0.0/24\n").unwrap();
    node.signal("HUP");
    wait_for("the file is read again", || dropped(&node) == 1);

    // A document without a folder has only absolute paths.
    let nowhere = node.put(policy);
    assert!(nowhere.text.contains("no folder"), "{}", nowhere.text);
    node.put(&policy.replace("lists/listed.txt", &file)).ok();
    // Who may only read has the daemon read nothing.
    let nobody = format!(
        "setpriv --reuid 65534 --regid 0 --clear-groups curl -s --unix-socket {} -X POST --data-binary @{} \
         http://gateway/v1/policy/check?source={}",
        node.path("socket"),
        node.path("policy.yaml"),
        node.path("policy.yaml"),
    );
    run(&format!("chmod 755 {} && chmod 644 {}", node.folder.path().display(), node.path("policy.yaml")));
    let answer = String::from_utf8(run(&nobody).stdout).unwrap();
    assert!(answer.contains("only who may change the policy"), "{answer}");
}
