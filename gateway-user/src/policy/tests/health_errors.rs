//! What can be wrong with how a pool's targets are looked after.

use super::errors::findings;

/// A document whose pool has this health, which stands in line 4 from column 13, and is used.
pub(super) fn with_health(forward: &str, health: &str, targets: &str) -> String {
    format!(
        "version: 1\npools:\n  web:\n    health: {health}\n    forward: {forward}\n    targets: [{targets}]\n\
         routes: [{{name: r, action: {{pool: web}}}}]\n"
    )
}

/// Each has just this finding, in a pool of two targets with ports.
fn each_health(table: &[(&str, &str)]) {
    let targets = "{name: a, address: 10.0.0.8, port: 80}, {name: b, address: 10.0.0.9, port: 80}";
    for (health, finding) in table {
        let text = with_health("dnat", health, targets);
        assert_eq!(findings(&text), [*finding], "in {text}");
    }
}

#[test]
fn what_health_is() {
    each_health(&[
        (
            "",
            "4:5 health | `health` has no value | write `check: tcp` to ask the targets, `passive: {}` to count the handshakes of clients that fail, or both",
        ),
        (
            "tcp",
            "4:13 tcp | `health` must be a map, not a single value | its keys are `check`, `interval`, `timeout`, `rise`, `fall`, `passive`, `eject`, `panic`, `slow_start`, `trial` and `connections`",
        ),
        (
            "{}",
            "4:13 {} | `health` looks after nothing: it has no `check`, no `passive` and no `connections` | write `check: tcp` to ask the targets, `passive: {}` to count the handshakes of clients that fail, or both",
        ),
        (
            "{rise: 2, panic: 10%}",
            "4:13 {rise: 2, panic: 10%} | `health` looks after nothing: it has no `check`, no `passive` and no `connections` | write `check: tcp` to ask the targets, `passive: {}` to count the handshakes of clients that fail, or both",
        ),
        ("{chekc: tcp, rise: 3}", "4:14 chekc | `health` has no key `chekc` | did you mean `check`?"),
        (
            "{check: tcp, retries: 3}",
            "4:26 retries | `health` has no key `retries` | the keys are `check`, `interval`, `timeout`, `rise`, `fall`, `passive`, `eject`, `panic`, `slow_start`, `trial` and `connections`",
        ),
        (
            "{passive: {}, interval: 1s}",
            "4:27 interval | `interval` is a check's, and there is none | add `check: tcp`, or leave `interval` out",
        ),
        (
            "{connections: 5, fall: 1}",
            "4:30 fall | `fall` is a check's, and there is none | add `check: tcp`, or leave `fall` out",
        ),
        (
            "{connections: 5, slow_start: 1m}",
            "4:30 slow_start | `slow_start` says what follows where a target fails, and nothing looks whether one does | add `check: tcp` or `passive: {}`, or leave `slow_start` out",
        ),
        (
            "{passive: }",
            "4:14 passive | `passive` has no value | write `passive: {}` for 10 failures, half of all, in 10s",
        ),
        (
            "{passive: true}",
            "4:23 true | `passive` must be a map, not a single value | its keys are `failures`, `ratio` and `window`",
        ),
        (
            "{passive: {failurs: 3}}",
            "4:24 failurs | `passive` has no key `failurs` | did you mean `failures`?",
        ),
        (
            "{check: tcp, eject: 10s}",
            "4:33 10s | `eject` must be a map, not a single value | its keys are `base`, `most` and `at_most`",
        ),
    ]);
}

#[test]
fn what_a_check_is() {
    each_health(&[
        ("{check: }", "4:14 check | `check` has no value | write one"),
        ("{check: tpc}", "4:21 tpc | a target cannot be checked by \"tpc\" | did you mean `tcp`?"),
        (
            "{check: grpc}",
            "4:21 grpc | a target cannot be checked by \"grpc\" | write `tcp`, `tls`, `http` or `icmp`, or with keys: `{http: {path: /healthz}}`",
        ),
        (
            "{check: https}",
            "4:21 https | a target cannot be checked by \"https\" | write `tls`: a handshake, and nothing asked behind it",
        ),
        (
            "{check: ping}",
            "4:21 ping | a target cannot be checked by \"ping\" | write `icmp`: an echo of the target's family",
        ),
        ("{check: connect}", "4:21 connect | a target cannot be checked by \"connect\" | write `tcp`"),
        ("{check: none}", "4:21 none | a target cannot be checked by \"none\" | leave `check` out"),
        (
            "{check: {}}",
            "4:21 {} | `check` asks nothing | write `tcp`, `tls`, `http` or `icmp`, or with keys: `{http: {path: /healthz}}`",
        ),
        (
            "{check: [tcp, http]}",
            "4:21 [tcp, http] | a pool has one check, not a list | keep the one that says most: `http` asks all that `tcp` does",
        ),
        ("{check: {tcp: {}, http: {}}}", "4:31 http | a pool has one check, not two | keep `tcp` or `http`"),
        ("{check: {htpp: {}}}", "4:22 htpp | `check` has no key `htpp` | did you mean `http`?"),
        ("{check: {http: }}", "4:22 http | `http` has no value | write `check: http`"),
        ("{check: {tcp: 80}}", "4:27 80 | `tcp` must be a map, not a single value | its keys are `port`"),
        ("{check: {tcp: {path: /}}}", "4:28 path | `tcp` has no key `path` | the key is `port`"),
        ("{check: {icmp: {port: 80}}}", "4:28 {port: 80} | an ICMP check has no keys | write `check: icmp`"),
        (
            "{check: {tcp: {port: 0}}}",
            "4:34 0 | \"0\" is not a port | write 1 to 65535, or leave `port` out for the target's",
        ),
        (
            "{check: {tls: {name: 10.0.0.9}}}",
            "4:34 10.0.0.9 | 10.0.0.9 is an address, which TLS asks for by no name (RFC 6066 3) | leave `name` out, or write a name: www.example.org",
        ),
        (
            "{check: {tls: {name: example.org.}}}",
            "4:34 example.org. | \"example.org.\" is not a host's name | write example.org",
        ),
        (
            "{check: {tls: {name: bücher.example}}}",
            "4:34 bücher.example | \"bücher.example\" is not a host's name | write it as DNS has it, in ASCII: xn--…",
        ),
        (
            "{check: {tls: {name: -a.example}}}",
            "4:34 -a.example | \"-a.example\" is not a host's name | write a name: www.example.org",
        ),
    ]);
}

#[test]
fn what_an_http_check_asks() {
    each_health(&[
        (
            "{check: {http: {path: healthz}}}",
            "4:35 healthz | the path \"healthz\" does not begin with `/` | write `/healthz`",
        ),
        (
            "{check: {http: {path: 'http://a/b'}}}",
            "4:35 'http://a/b' | the path \"http://a/b\" does not begin with `/` | write what follows the host: `/healthz`",
        ),
        (
            "{check: {http: {path: /a b}}}",
            "4:35 /a b | ' ' may not stand in a path | write `%20` for it (RFC 3986 2.1)",
        ),
        (
            "{check: {http: {path: \"/a\\r\\nX: y\"}}}",
            "4:35 \"/a\\r\\nX: y\" | '\\r' may not stand in a path | write `%0D` for it (RFC 3986 2.1)",
        ),
        (
            "{check: {http: {path: /ü}}}",
            "4:35 /ü | 'ü' may not stand in a path | write `%C3%BC` for it (RFC 3986 2.1)",
        ),
        (
            "{check: {http: {path: /a#b}}}",
            "4:35 /a#b | '#' may not stand in a path | write `%23` for it (RFC 3986 2.1)",
        ),
        (
            "{check: {http: {host: a b}}}",
            "4:35 a b | \"a b\" is not a host | write a name or an address, and a port if one follows: www.example.org or \"[2001:db8::1]:8080\"",
        ),
        (
            "{check: {http: {host: '2001:db8::1'}}}",
            "4:35 '2001:db8::1' | \"2001:db8::1\" is not a host | write a name or an address, and a port if one follows: www.example.org or \"[2001:db8::1]:8080\"",
        ),
        (
            "{check: {http: {host: 'a.example:0'}}}",
            "4:35 'a.example:0' | \"a.example:0\" is not a host | write a name or an address, and a port if one follows: www.example.org or \"[2001:db8::1]:8080\"",
        ),
        (
            "{check: {http: {host: '[10.0.0.1]'}}}",
            "4:35 '[10.0.0.1]' | \"[10.0.0.1]\" is not a host | write a name or an address, and a port if one follows: www.example.org or \"[2001:db8::1]:8080\"",
        ),
        (
            "{check: {http: {status: 2xx}}}",
            "4:37 2xx | \"2xx\" is neither a status nor a range of them | write a status (404) or a range (200-299), each 100 to 599",
        ),
        (
            "{check: {http: {status: [200, 600]}}}",
            "4:43 600 | \"600\" is neither a status nor a range of them | write a status (404) or a range (200-299), each 100 to 599",
        ),
        (
            "{check: {http: {status: 299-200}}}",
            "4:37 299-200 | the range 299-200 runs backwards | write 200-299",
        ),
        (
            "{check: {http: {status: []}}}",
            "4:37 [] | `status` is an empty list: it would match nothing | leave `status` out to expect 200-299",
        ),
        ("{check: {http: {paht: /}}}", "4:29 paht | `http` has no key `paht` | did you mean `path`?"),
    ]);
}

#[test]
fn numbers_are_within_their_bounds() {
    each_health(&[
        (
            "{check: tcp, interval: 2}",
            "4:36 2 | \"2\" is not a length of time | write a number with ms, s, m, h or d: `10s`, `10m`, `1h`",
        ),
        (
            "{check: tcp, interval: 99ms}",
            "4:36 99ms | 99ms is not a length of time that can be used here | write 100ms to 1h",
        ),
        (
            "{check: tcp, timeout: 9ms}",
            "4:35 9ms | 9ms is not a length of time that can be used here | write 10ms to 1h",
        ),
        (
            "{check: tcp, timeout: 3s}",
            "4:35 3s | a timeout of 3s is longer than the interval, 2s | write at most 2s, or a longer `interval`",
        ),
        ("{check: tcp, rise: 0}", "4:32 0 | \"0\" is not a number of answers | write 1 to 100"),
        ("{check: tcp, fall: 101}", "4:32 101 | \"101\" is not a number of answers | write 1 to 100"),
        ("{passive: {failures: 2001}}", "4:34 2001 | \"2001\" is not a number of failures | write 1 to 2000"),
        ("{passive: {ratio: 0%}}", "4:31 0% | 0% is not a part that can be used here | write 1% to 100%"),
        ("{passive: {ratio: 0.5}}", "4:31 0.5 | \"0.5\" is not a percentage | write 1% to 100%"),
        (
            "{passive: {window: 2h}}",
            "4:32 2h | 2h is not a length of time that can be used here | write 100ms to 1h",
        ),
        (
            "{passive: {}, eject: {base: 50ms}}",
            "4:41 50ms | 50ms is not a length of time that can be used here | write 100ms to 1d",
        ),
        (
            "{passive: {}, eject: {base: 10m}}",
            "4:41 10m | the first time, 10m, is longer than the longest, 5m | write `most: 10m` or more, or a shorter `base`",
        ),
        (
            "{passive: {}, eject: {base: 10m, most: 1m}}",
            "4:52 1m | the first time, 10m, is longer than the longest, 1m | write `most: 10m` or more, or a shorter `base`",
        ),
        (
            "{passive: {}, eject: {at_most: 101%}}",
            "4:44 101% | 101% is not a part that can be used here | write 1% to 100%",
        ),
        ("{passive: {}, panic: 50}", "4:34 50 | \"50\" is not a percentage | write 50%"),
        ("{passive: {}, panic: 101}", "4:34 101 | \"101\" is not a percentage | write 0% to 100%"),
        ("{passive: {}, panic: -1%}", "4:34 -1% | \"-1%\" is not a percentage | write 0% to 100%"),
        (
            "{passive: {}, slow_start: 61m}",
            "4:39 61m | 61m is not a length of time that can be used here | write 0s to 1h",
        ),
        ("{passive: {}, trial: 0%}", "4:34 0% | 0% is not a part that can be used here | write 1% to 100%"),
        (
            "{connections: 0}",
            "4:27 0 | 0 connections let nothing pass | write `weight: 0` at the targets, or at least 1",
        ),
        (
            "{connections: 4294967296}",
            "4:27 4294967296 | 4294967296 is more than can be counted | 4294967295 is the most",
        ),
    ]);
}

#[test]
fn only_pools_that_translate_count_connections() {
    let targets = "{name: a, address: 10.0.0.8}, {name: b, address: 10.0.0.9}";
    assert_eq!(
        findings(&with_health("ipip", "{connections: 100}", targets)),
        [
            "4:14 connections | `ipip` remembers no connection that could be counted | leave `connections` out, or write `forward: dnat`"
        ]
    );
    assert!(findings(&with_health("dnat", "{connections: 100}", targets)).is_empty());
}

#[test]
fn a_check_has_a_port_to_ask() {
    let two = "{name: a, address: 10.0.0.8}, {name: b, address: 10.0.0.9, port: 80}";
    let found = |forward: &str, check: &str, targets: &str| {
        findings(&with_health(forward, &format!("{{check: {check}}}"), targets))
    };
    assert_eq!(
        found("dnat", "tls", two),
        [
            "4:21 tls | the check names no port, and target `a` has none | write the one to ask: `check: {tls: {port: 443}}`, or give each target its `port`"
        ]
    );
    let ten: Vec<String> = (0..10).map(|i| format!("{{name: t{i}, address: 10.0.0.{}}}", i + 1)).collect();
    assert_eq!(
        found("l2", "{http: {path: /healthz}}", &ten.join(", ")),
        [
            "4:21 {http: {path: /healthz}} | the check names no port, and targets `t0`, `t1`, `t2`, `t3`, `t4`, `t5`, `t6`, `t7` and 2 more have none | write the one to ask: `check: {http: {port: 80}}`"
        ]
    );
    for (forward, check) in [("dnat", "icmp"), ("dnat", "{icmp: {}}"), ("dnat", "{tcp: {port: 80}}")] {
        assert!(found(forward, check, two).is_empty(), "{check}");
    }
    assert!(found("ipip", "{http: {port: 8080}}", &ten.join(", ")).is_empty());
}

#[test]
fn what_is_wrong_with_health_is_told_at_once() {
    let text = "version: 1
pools:
  web:
    forward: gue
    health:
      check: {http: {path: x, port: y, host: /, status: 1}}
      interval: 1ms
      timeout: 1ms
      rise: x
      passive: {failures: 0, ratio: 1, window: 0s}
      eject: {base: x, at_most: 0%}
      panic: x
      slow_start: 1
      trial: 200%
      connections: 5
    targets: [{name: a, address: x}]
";
    let found = findings(text);
    let lines: Vec<&str> = found.iter().filter_map(|line| line.split(' ').next()).collect();
    let expected = [
        "6:28", "6:37", "6:46", "6:57", "7:17", "8:16", "9:13", "10:27", "10:37", "10:48", "11:21", "11:33",
        "12:14", "13:19", "14:14", "15:7", "16:34",
    ];
    assert_eq!(lines, expected, "{found:#?}");
}

#[test]
fn what_passive_hardly_means_is_told() {
    let one = "{name: a, address: 10.0.0.8}, {name: b, address: 10.0.0.9, weight: 0}";
    assert_eq!(
        findings(&with_health("l2", "{passive: {}}", one)),
        [
            "4:5 health | only one target of pool `web` takes packets: where it is passed over none is left | add a target, or write `check` instead of `passive` to see how this one does"
        ]
    );
    assert!(findings(&with_health("l2", "{check: icmp}", one)).is_empty());
    let of = |protocol: &str| {
        findings(&format!(
            "version: 1
pools:
  dns: {{forward: dnat, health: {{passive: {{}}}}, targets: [{{name: a, address: 10.0.0.8}}, {{name: b, address: 10.0.0.9}}]}}
routes: [{{name: r, match: {{protocol: {protocol}}}, action: {{pool: dns}}}}]
"
        ))
    };
    assert_eq!(
        of("udp"),
        [
            "3:3 dns | pool `dns` has `passive`, which counts TCP handshakes, and no route forwards TCP to it | write `check: icmp` or another check instead"
        ]
    );
    assert!(of("[tcp, udp]").is_empty());
}
