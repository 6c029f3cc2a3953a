//! How it is written that a pool's targets are looked after, and how differences of it are told.

use super::health_errors::with_health;
use super::policy;
use crate::policy::{Check, CheckKind, Eject, Health, Passive, diff, parse, to_yaml};
use std::time::Duration;

/// A pool with everything, and pools with as little as there can be.
const ALL: &str = "version: 1
pools:
  web:
    forward: dnat
    health:
      connections: 10k
      trial: 10%
      slow_start: 0s
      panic: 0%
      eject: {at_most: 100%, most: 1h, base: 60s}
      passive: {window: 500ms, ratio: 100 %, failures: 10}
      fall: 1
      rise: 3
      timeout: 250ms
      interval: 1000ms
      check: {http: {status: [404, 200-249, '250', 240-299], host: 'a.example:8080', port: 8080, path: /up?a=b}}
    targets: [{name: a, address: 10.0.0.8}, {name: b, address: 10.0.0.9}]
  usual:
    forward: dnat
    health:
      check: {http: {path: /, status: 200-299}}
      interval: 2s
      timeout: 1s
      rise: 2
      fall: 3
      passive: {failures: 10, ratio: 50%, window: 10s}
      eject: {base: 10s, most: 5m, at_most: 50%}
      panic: 50%
      slow_start: 30s
      trial: 5%
    targets: [{name: a, address: 10.0.0.8, port: 80}, {name: b, address: 10.0.0.9, port: 80}]
  short: {forward: l2, health: {check: {icmp: {}}, interval: 500ms}, targets: {name: a, address: 10.0.0.8}}
  slow: {forward: l2, health: {check: {tls: {name: a.example, port: 443}}, interval: 500ms, timeout: 100ms}, targets: {name: a, address: 10.0.0.8}}
  most: {forward: dnat, health: {connections: 1}, targets: {name: a, address: 10.0.0.8}}
";

#[test]
fn health_is_read_and_written_canonically() {
    let policy = policy(ALL);
    let health = |pool: &str| policy.pools[pool].health.clone().unwrap();
    let secs = Duration::from_secs;
    let http = CheckKind::Http {
        port: Some(8_080),
        path: "/up?a=b".to_owned(),
        host: Some("a.example:8080".to_owned()),
        status: vec![200..=299, 404..=404],
    };
    let check =
        Check { kind: http, interval: secs(1), timeout: Duration::from_millis(250), rise: 3, fall: 1 };
    let expected = Health {
        check: Some(check),
        passive: Some(Passive { failures: 10, ratio: 100, window: Duration::from_millis(500) }),
        eject: Eject { base: secs(60), most: secs(3_600), at_most: 100 },
        panic: 0,
        slow_start: Duration::ZERO,
        trial: 10,
        connections: Some(10_000),
    };
    assert_eq!(health("web"), expected);
    let check = health("short").check.unwrap();
    let half = Duration::from_millis(500);
    assert_eq!(check, Check { kind: CheckKind::Icmp, interval: half, timeout: half, rise: 2, fall: 3 });
    assert_eq!(health("most"), Health { connections: Some(1), ..Health::new() });
    let canonical = r#"version: 1
pools:
  most: {forward: dnat, health: {connections: 1}, targets: {name: a, address: 10.0.0.8}}
  short: {forward: l2, health: {check: icmp, interval: 500ms}, targets: {name: a, address: 10.0.0.8}}
  slow:
    forward: l2
    health: {check: {tls: {port: 443, name: a.example}}, interval: 500ms, timeout: 100ms}
    targets: {name: a, address: 10.0.0.8}
  usual:
    forward: dnat
    health: {check: http, passive: {}}
    targets: [{name: a, address: 10.0.0.8, port: 80}, {name: b, address: 10.0.0.9, port: 80}]
  web:
    forward: dnat
    health:
      check: {http: {path: "/up?a=b", port: 8080, host: "a.example:8080", status: [200-299, 404]}}
      interval: 1s
      timeout: 250ms
      rise: 3
      fall: 1
      passive: {ratio: 100%, window: 500ms}
      eject: {base: 1m, most: 1h, at_most: 100%}
      panic: 0%
      slow_start: 0s
      trial: 10%
      connections: 10000
    targets: [{name: a, address: 10.0.0.8}, {name: b, address: 10.0.0.9}]
"#;
    let written = to_yaml(&policy);
    assert_eq!(written.split("routes:").next(), Some(canonical));
    assert_eq!(parse("again", &written), Ok(policy));
}

#[test]
fn differences_of_health_are_told_by_themselves() {
    let with = |health: &str| policy(&with_health("l2", health, "{name: a, address: 10.0.0.8}"));
    let (icmp, both) = (with("{check: icmp}"), with("{check: icmp, passive: {failures: 5}, panic: 20%}"));
    let none = policy(
        &with_health("l2", "{check: icmp}", "{name: a, address: 10.0.0.8}")
            .replace("    health: {check: icmp}\n", ""),
    );
    assert_eq!(
        diff(&icmp, &both).to_string(),
        "~ pools.web.health: {check: icmp} → {check: icmp, passive: {failures: 5}, panic: 20%}\n"
    );
    assert_eq!(diff(&none, &icmp).to_string(), "~ pools.web.health: unset → {check: icmp}\n");
    assert_eq!(diff(&icmp, &none).to_string(), "~ pools.web.health: {check: icmp} → unset\n");
    assert!(diff(&both, &both).is_empty());
}
