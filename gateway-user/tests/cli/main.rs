//! The built binary against a daemon that answers from a script: what is sent, what is printed where,
//! and with which exit code it ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod labels;
mod limits;
mod pools;
mod script;

use script::{Answer, Daemon, assert_output, gateway, ok, refusal};
use serde_json::{Value, json};
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn route(name: &str) -> Value {
    json!({
        "position": 1, "name": name, "match": {"protocol": ["tcp"]}, "mark": 16, "action": {"redirect": "eth1"},
        "match_text": "protocol tcp", "action_text": "redirect eth1", "packets": 12345, "bytes": 1234567,
    })
}

fn report() -> Value {
    let names: [&str; 0] = [];
    json!({
        "generation": 43, "digest": "d", "changed": true, "dry_run": false,
        "diff": {"added": ["web"], "removed": names, "changed": names, "moved": names,
                 "settings_changed": false, "text": ""},
        "warnings": [], "rendered": "",
        "timing": {"parse_us": 1, "compile_us": 2, "apply_us": 3, "store_us": 4, "total_us": 10},
    })
}

#[test]
fn routes_are_listed() {
    let list = json!({"generation": 42, "routes": [route("web")], "others": {"default": {"packets": 1, "bytes": 60}}});
    let daemon = Daemon::start(vec![("GET /v1/routes", ok(&list))]);
    assert_output(
        &daemon.gateway("route list"),
        0,
        "#  NAME       MATCH             ACTION         MARK  PACKETS    BYTES\n\
         1  web        protocol tcp      redirect eth1  0x10    12.3k  1.23 MB\n\
         -  (default)  no route matches  -              -           1     60 B\n",
        "",
    );
    let output = daemon.gateway("route list -o json");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), list);
    let output = daemon.gateway("route list -o yaml");
    assert_eq!(serde_saphyr::from_str::<Value>(std::str::from_utf8(&output.stdout).unwrap()).unwrap(), list);
}

#[test]
fn a_route_is_added_set_and_deleted() {
    let daemon = Daemon::start(vec![
        ("POST /v1/routes", ok(&report())),
        ("PATCH /v1/routes/a%2Fb", ok(&report())),
        ("DELETE /v1/routes/web", ok(&report())),
    ]);
    let done = "generation 43 is live, in 10 µs\n  + 1 route added: web\n";
    let add = "route add web --to 203.0.113.10 --port 80,443 --mark 0x10 --action redirect:eth1 --after dns";
    assert_output(&daemon.gateway(add), 0, done, "");
    assert_output(&daemon.gateway("route set a/b --mark none --from any --first --dry-run"), 0, done, "");
    assert_output(&daemon.gateway("route delete web --if-generation 42"), 0, done, "");
    let asked: Vec<(String, Value)> = daemon
        .asked()
        .into_iter()
        .map(|(request, body)| (request, serde_json::from_str(&body).unwrap_or(Value::Null)))
        .collect();
    let added = json!({
        "route": {"name": "web", "match": {"to": ["203.0.113.10"], "port": ["80", "443"]}, "mark": 16,
                  "action": {"redirect": "eth1"}},
        "position": {"after": "dns"},
    });
    assert_eq!(
        asked,
        [
            ("POST /v1/routes".to_owned(), added),
            (
                "PATCH /v1/routes/a%2Fb?dry_run=true".to_owned(),
                json!({"match": {"from": []}, "mark": 0, "position": "first"})
            ),
            ("DELETE /v1/routes/web?base_generation=42".to_owned(), Value::Null),
        ]
    );
}

#[test]
fn a_policy_file_is_named_by_its_absolute_path() {
    let daemon = Daemon::start(vec![("PUT /v1/policy", ok(&report()))]);
    let file = daemon.folder.path().join("policy.yaml");
    std::fs::write(&file, "version: 1\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .current_dir(daemon.folder.path())
        .args(["--socket", "socket", "policy", "apply", "policy.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let source = file.display().to_string().replace('/', "%2F");
    assert_eq!(daemon.asked()[0].0, format!("PUT /v1/policy?source={source}"));
}

#[test]
fn a_flag_for_each_word_of_a_route() {
    let daemon =
        Daemon::start(vec![("POST /v1/routes", ok(&report())), ("PATCH /v1/routes/web", ok(&report()))]);
    let done = "generation 43 is live, in 10 µs\n  + 1 route added: web\n";
    let add = "route add web --interface eth0 --from blocked,10.0.0.0/8 --icmp-type 8,128 --icmp-code 0 \
               --tcp-flags syn/syn+ack,none/ack --length 0-128 --dscp ef --fragment dont --flow-label 1-9 \
               --vlan untagged,100 --ttl 2-255 --not-from x+y --not-port 22 --not-vlan 7 --set-dscp af21 \
               --limit tenant-a --limit rate=1kpps,burst=2k,per=source --syn-cookies 2kcps,hold=1m --action pass";
    assert_output(&daemon.gateway(add), 0, done, "");
    let set = "route set web --from a+b --not-port any --limit none --syn-cookies none --set-dscp none";
    assert_output(&daemon.gateway(set), 0, done, "");
    let asked: Vec<Value> =
        daemon.asked().into_iter().map(|(_, body)| serde_json::from_str(&body).unwrap()).collect();
    let matches = json!({
        "interface": ["eth0"], "from": ["blocked", "10.0.0.0/8"], "icmp_type": ["8", "128"], "icmp_code": ["0"],
        "tcp_flags": ["syn/syn+ack", "none/ack"], "length": ["0-128"], "dscp": ["ef"], "fragment": ["dont"],
        "flow_label": ["1-9"], "vlan": ["untagged", "100"], "ttl": ["2-255"],
        "not": {"from": {"all": ["x", "y"]}, "port": ["22"], "vlan": ["7"]},
    });
    let limit = json!(["tenant-a", {"rate": "1kpps", "burst": "2k", "per": "source"}]);
    let added = json!({
        "name": "web", "match": matches, "limit": limit, "syn_cookies": {"above": "2kcps", "hold": "1m"},
        "dscp": "af21", "action": "pass",
    });
    assert_eq!(asked[0]["route"], added);
    assert_eq!(
        asked[1],
        json!({"match": {"from": {"all": ["a", "b"]}, "not": {"port": []}}, "limit": [], "syn_cookies": "none",
               "dscp": "none"})
    );
    let wrong = daemon.gateway("route add web --limit rate=1kpps,brust=2k --action pass");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("a limit has no key `brust`"));
}

#[test]
fn a_policy_is_sent_as_it_is() {
    let daemon = Daemon::start(vec![("PUT /v1/policy", ok(&report()))]);
    let text = "version: 1 # with a comment\nroutes: []\n";
    let output = gateway(&daemon.socket(), "policy apply - --if-generation 42", text);
    assert_output(&output, 0, "generation 43 is live, in 10 µs\n  + 1 route added: web\n", "");
    let request = "PUT /v1/policy?source=standard%20input&base_generation=42";
    assert_eq!(daemon.asked(), [(request.to_owned(), text.to_owned())]);
}

#[test]
fn warnings_go_to_standard_error() {
    let mut report = report();
    report["rendered"] = json!("warning: `web` can never match\n");
    let daemon = Daemon::start(vec![("PUT /v1/policy", ok(&report))]);
    let output = gateway(&daemon.socket(), "policy apply -", "");
    assert_output(
        &output,
        0,
        "generation 43 is live, in 10 µs\n  + 1 route added: web\n",
        "warning: `web` can never match\n",
    );
}

#[test]
fn a_refusal_is_1() {
    let moved = json!({"code": "generation_moved", "message": "the live generation is 44, not 42",
                       "help": "look at it again: gateway policy diff", "generation": 44});
    let invalid = json!({"code": "invalid_policy", "message": "the policy is wrong", "diagnostics": [],
                         "rendered": "standard input:1:1: what is this?\n"});
    let daemon = Daemon::start(vec![
        ("DELETE /v1/routes/web", refusal(409, &moved)),
        ("PUT /v1/policy", refusal(422, &invalid)),
    ]);
    assert_output(
        &daemon.gateway("route delete web --if-generation 42"),
        1,
        "",
        "error: the live generation is 44, not 42\nhelp: look at it again: gateway policy diff\n",
    );
    assert_output(
        &gateway(&daemon.socket(), "policy apply -", "x"),
        1,
        "",
        "error: the policy is wrong\nstandard input:1:1: what is this?\n",
    );
}

#[test]
fn what_is_wrong_with_flags_is_told_without_their_json() {
    let diagnostic = json!({"severity": "error", "message": "there is no protocol `tpc`", "file": "request",
                            "line": 1, "column": 20, "length": 3, "help": "did you mean `tcp`?"});
    let invalid = json!({"code": "invalid_policy", "message": "request is not valid: 1 error",
                         "diagnostics": [diagnostic], "rendered": "request:1:20: ..."});
    let daemon = Daemon::start(vec![("POST /v1/routes", refusal(422, &invalid))]);
    assert_output(
        &daemon.gateway("route add web --protocol tpc --action pass"),
        1,
        "",
        "error: request is not valid: 1 error\n  there is no protocol `tpc`\n    help: did you mean `tcp`?\n",
    );
}

#[test]
fn wrong_usage_is_2() {
    let daemon = Daemon::start(vec![]);
    for arguments in [
        "",
        "route",
        "route fly",
        "route add web",
        "status -o xml",
        "policy apply /no/such/file",
        "route set web",
        "label add blocked",
        "label add blocked ::1 --ttl 1x",
        "label delete blocked",
        "run",
    ] {
        let output = daemon.gateway(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments}: {output:?}");
    }
    assert_eq!(daemon.asked(), []);
    assert_output(
        &daemon.gateway("route set web"),
        2,
        "",
        "error: nothing to set\nhelp: name what changes, such as --mark 0x20 or --action drop\n",
    );
}

#[test]
fn a_daemon_that_is_not_there_is_3() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let output = gateway(&missing, "status", "");
    assert_output(
        &output,
        3,
        "",
        &format!(
            "error: the daemon cannot be reached at {}: there is no such socket\n\
             help: start the daemon with `gateway run`, or name its socket with --socket\n",
            missing.display()
        ),
    );
    let dead = folder.path().join("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let output = gateway(&dead, "route list", "");
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nobody listens on it"), "{text}");
}

#[test]
fn an_answer_that_is_not_understood_is_3() {
    let daemon = Daemon::start(vec![("GET /v1/routes", ok(&json!({"routes": 5})))]);
    assert_eq!(daemon.gateway("route list").status.code(), Some(3));
    assert_eq!(daemon.gateway("status").status.code(), Some(3));
}

#[test]
fn events_are_followed_until_the_daemon_ends() {
    let event = json!({
        "time_unix_ns": 1_795_237_822_123_456_789_u64, "interface": "eth0", "hook": "xdp", "verdict": "drop",
        "reason": "policy", "route": "deny", "generation": 42, "length": 60, "protocol": "udp",
        "source": "192.0.2.1", "source_port": 53, "destination": "192.0.2.2", "port": 4242, "icmp_type": null,
        "icmp_code": null, "fragment": null, "tcp_flags": "", "mark": null, "missed": 7, "kind": "packet",
    });
    let body = format!("{event}\n\n{event}\n");
    let daemon = Daemon::start(vec![("GET /v1/events/follow", Answer { status: 200, body })]);
    let line = "05:10:22.123456 eth0 xdp drop: policy deny udp 192.0.2.1:53 > 192.0.2.2:4242 60 bytes\n";
    let missed = "7 events missed: reading is too slow\n";
    assert_output(
        &daemon.gateway("event follow"),
        3,
        &line.repeat(2),
        &format!("{}error: the daemon ended\n", missed.repeat(2)),
    );
    let output = daemon.gateway("event follow --count 1 -o json");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), event);
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1, "{output:?}");
    assert_output(&Output { stdout: vec![], ..output }, 0, "", missed);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let routes: Vec<Value> = (0..5_000).map(|i| route(&format!("route-{i}"))).collect();
    let list = json!({"generation": 42, "routes": routes, "others": {}});
    let daemon = Daemon::start(vec![("GET /v1/routes", ok(&list))]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--socket")
        .arg(daemon.socket())
        .args(["route", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_output(&child.wait_with_output().unwrap(), 0, "", "");
}

#[test]
fn help_and_version_are_0() {
    for arguments in ["--help", "--version", "route add --help", "run --help"] {
        let output = gateway(Path::new("/nowhere"), arguments, "");
        assert_eq!(output.status.code(), Some(0), "{arguments}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{arguments}");
    }
}
