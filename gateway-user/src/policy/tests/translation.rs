//! Pools that translate: how they are written, and what can be wrong with them.

use super::errors::findings;
use super::policy;
use crate::policy::{
    Dnat, Forward, Mss, OuterSource, PortRange, Target, Timeouts, Translation, parse, to_yaml,
};
use std::time::Duration;

#[test]
fn a_pool_that_translates_is_read_and_written_canonically() {
    let text = "version: 1
pools:
  web:
    forward: dnat
    mss: 1400
    affinity: 600s
    timeouts: {udp: 120s, established: 18h, half_open: 1500ms}
    ports: 61000-65535
    source: masquerade
    targets:
      - {name: v1, port: 8080, address: 10.0.0.11, weight: 95}
      - {name: v2, address: 10.0.0.11, port: 8081}
      - {name: v3, address: '2001:db8::13'}
  plain: {forward: dnat, hash: source, targets: [{name: a, address: 10.0.0.9}]}
  ours: {forward: dnat, ports: 1024, source: [10.0.0.1, '2001:db8::1'], targets: [{name: a, address: 10.0.0.9}, {name: b, address: '2001:db8::9'}]}
  tunnel: {forward: ipip, mss: clamp, targets: [{name: a, address: 10.0.0.9}]}
routes:
- {name: r1, action: {pool: web}}
- {name: r2, action: {pool: plain}}
- {name: r3, action: {pool: ours}}
- {name: r4, action: {pool: tunnel}}
";
    let policy = policy(text);
    let web = &policy.pools["web"];
    let expected = Dnat {
        source: Some(Translation { addresses: OuterSource::default(), ports: Translation::PORTS }),
        timeouts: Timeouts {
            established: Duration::from_secs(64_800),
            half_open: Duration::from_millis(1_500),
            ..Timeouts::default()
        },
        affinity: Some(Duration::from_secs(600)),
    };
    assert_eq!((web.forward, web.mss), (Forward::Dnat(expected), Some(Mss::AtMost(1_400))));
    let first = Target { port: Some(8_080), weight: 95, ..Target::new("10.0.0.11".parse().unwrap()) };
    assert_eq!((&web.targets["v1"], first.to_string().as_str()), (&first, "10.0.0.11:8080"));
    assert_eq!(policy.pools["plain"].forward, Forward::Dnat(Dnat::default()));
    let ports = policy.pools["ours"].forward.dnat().unwrap().source.unwrap().ports;
    assert_eq!(ports, PortRange { first: 1_024, last: 1_024 });
    let canonical = r#"version: 1
pools:
  ours:
    forward: dnat
    source: [10.0.0.1, "2001:db8::1"]
    ports: 1024
    targets: [{name: a, address: 10.0.0.9}, {name: b, address: "2001:db8::9"}]
  plain: {forward: dnat, hash: source, targets: {name: a, address: 10.0.0.9}}
  tunnel: {forward: ipip, mss: clamp, targets: {name: a, address: 10.0.0.9}}
  web:
    forward: dnat
    source: masquerade
    timeouts: {established: 18h, half_open: 1500ms}
    affinity: 10m
    mss: 1400
    targets:
      - {name: v1, address: 10.0.0.11, port: 8080, weight: 95}
      - {name: v2, address: 10.0.0.11, port: 8081}
      - {name: v3, address: "2001:db8::13"}
"#;
    let written = to_yaml(&policy);
    assert_eq!(written.split("routes:").next(), Some(canonical));
    assert_eq!(parse("again", &written), Ok(policy));
}

/// Each of these keys stands in line 3 from column 9 in a pool to which a route forwards.
fn each_key(table: &[(&str, &str)]) {
    for (keys, finding) in table {
        let text = format!(
            "version: 1\npools:\n  web: {{{keys}, targets: [{{name: a, address: 10.0.0.9}}]}}\n\
             routes: [{{name: r, action: {{pool: web}}}}]\n"
        );
        assert_eq!(findings(&text), [format!("3:{finding}")], "in {text}");
    }
}

#[test]
fn keys_stand_where_they_mean_something() {
    each_key(&[
        (
            "forward: dnat, port: 80",
            "24 port | a pool that translates has a port for each target | write it at the targets: `{name: v1, address: 10.0.0.11, port: 8080}`",
        ),
        (
            "forward: dnat, ports: 1024-2047",
            "24 ports | `ports` are those of translated sources: these stay | write `source: masquerade` too, or leave `ports` out",
        ),
        (
            "forward: l2, affinity: 10m",
            "22 affinity | `l2` remembers no client | leave `affinity` out, or write `forward: dnat`",
        ),
        (
            "forward: ipip, timeouts: {udp: 1m}",
            "24 timeouts | `ipip` remembers no connection that could time out | leave `timeouts` out, or write `forward: dnat`",
        ),
        (
            "forward: gue, ports: 1024-2047",
            "23 ports | `gue` translates no port | leave `ports` out, or write `forward: dnat`",
        ),
        (
            "forward: ipip, source: masquerade",
            "32 masquerade | `ipip` translates no source | leave `source` out to let the node's routing choose, or write `forward: dnat`",
        ),
        (
            "forward: nat",
            "18 nat | a pool cannot forward by \"nat\" | write `dnat`, with `source: masquerade` to translate sources too",
        ),
        (
            "forward: proxy",
            "18 proxy | a pool cannot forward by \"proxy\" | hand packets to a proxy of this node by a route's `action: {proxy: 15001}`",
        ),
        (
            "forward: dnat, source: '2001:db8::1'",
            "24 source | no target of pool `web` has an IPv6 address: 2001:db8::1 is never used | leave it out; an address is translated to one of its family",
        ),
    ]);
}

#[test]
fn values_are_what_they_must_be() {
    const TIME: &str = "write a number with ms, s, m, h or d: `10s`, `10m`, `1h`";
    const MSS: &str = "write `clamp` for what fits the way to the target, or 536 to 65535 bytes";
    each_key(&[
        (
            "forward: dnat, source: masq",
            "32 masq | \"masq\" is not an address | write the address of one interface: 10.0.0.11 or \"2001:db8::11\"; host names are not looked up",
        ),
        (
            "forward: dnat, source: []",
            "32 [] | `source` is an empty list | write `masquerade`, or leave `source` out to keep clients' addresses",
        ),
        (
            "forward: dnat, source: masquerade, ports: 0-10",
            "51 0-10 | \"0-10\" is neither a port nor a range of ports | write a port (61000) or a range (61000-65535), each 1 to 65535",
        ),
        (
            "forward: dnat, source: masquerade, ports: 20-10",
            "51 20-10 | the range 20-10 runs backwards | write 10-20",
        ),
        ("forward: dnat, affinity: 10", &format!("34 10 | \"10\" is not a length of time | {TIME}")),
        (
            "forward: dnat, affinity: 19h",
            "34 19h | 19h is not a length of time that can be used here | write 1s to 18h",
        ),
        (
            "forward: dnat, timeouts: {udp: 500ms}",
            "40 500ms | 500ms is not a length of time that can be used here | write 1s to 18h",
        ),
        ("forward: dnat, timeouts: {upd: 1h}", "35 upd | `timeouts` has no key `upd` | did you mean `udp`?"),
        (
            "forward: dnat, timeouts: {syn: 1h}",
            "35 syn | `timeouts` has no key `syn` | the keys are `established`, `half_open`, `closing`, `udp` and `unanswered`",
        ),
        (
            "forward: dnat, timeouts: 1h",
            "34 1h | `timeouts` must be a map, not a single value | its keys are `established`, `half_open`, `closing`, `udp` and `unanswered`",
        ),
        (
            "forward: l2, mss: 535",
            &format!("27 535 | an MSS of 535 is less than every host takes (RFC 9293 3.7.1) | {MSS}"),
        ),
        ("forward: l2, mss: clmp", &format!("27 clmp | \"clmp\" is not an MSS | {MSS}")),
    ]);
}

#[test]
fn a_target_has_one_port_and_a_place_of_its_own() {
    let with = |forward: &str, targets: &str| {
        findings(&format!(
            "version: 1\npools: {{web: {{forward: {forward}, targets: [{targets}]}}}}\n\
             routes: [{{name: r, action: {{pool: web}}}}]\n"
        ))
    };
    assert_eq!(
        with("dnat", "{name: a, address: 10.0.0.1, port: 0}"),
        ["2:75 0 | \"0\" is not a port | write 1 to 65535, or leave `port` out to keep packets'"]
    );
    assert_eq!(
        with("ipip", "{name: a, address: 10.0.0.1, port: 80}"),
        [
            "2:69 port | `ipip` translates no port: packets keep theirs | leave `port` out, or write `forward: dnat`"
        ]
    );
    let two = "{name: a, address: 10.0.0.1, port: 80}, {name: b, address: 10.0.0.1, port: 80}";
    assert_eq!(
        with("dnat", two),
        [
            "2:99 10.0.0.1 | the address 10.0.0.1:80 is given twice in this pool | the first is in line 2: give that one both their weights"
        ]
    );
    assert!(with("dnat", "{name: a, address: 10.0.0.1, port: 80}, {name: b, address: 10.0.0.1}").is_empty());
}
