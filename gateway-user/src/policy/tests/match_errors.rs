//! What is wrong with match components.

use super::errors::{each, each_route, findings};

/// Each component alone in a match, of a policy with some labels: the finding behind the value's place.
fn each_component(table: &[(&str, &str)]) {
    for (component, finding) in table {
        let text = format!(
            "version: 1\nlabels: {{blocked: [], staging: []}}\nroutes:\n- name: a\n  match: {{{component}}}\n  action: pass\n"
        );
        let column = "  match: {".len() + component.find(": ").expect("a value") + ": ".len() + 1;
        assert_eq!(findings(&text), [format!("5:{column} {finding}")], "in {text}");
    }
}

#[test]
fn numbers_and_names() {
    const DSCP: &str = "write a DSCP (46) or a range (8-15), each 0 to 63; or a name: cs0 to cs7, af11 to af43, ef, be, le, va";
    each_component(&[
        (
            "icmp_type: 256",
            "256 | \"256\" is neither an ICMP type nor a range of ICMP types | write an ICMP type (8) or a range (0-18), each 0 to 255",
        ),
        (
            "icmp_code: x",
            "x | \"x\" is neither an ICMP code nor a range of ICMP codes | write an ICMP code (4) or a range (0-15), each 0 to 255",
        ),
        (
            "length: 70000",
            "70000 | \"70000\" is neither a length of an IP packet in bytes nor a range of lengths | write a length of an IP packet in bytes (1500) or a range (0-576), each 0 to 65535",
        ),
        ("length: 576-0", "576-0 | the range 576-0 runs backwards | write 0-576"),
        ("dscp: 64", &format!("64 | \"64\" is neither a DSCP nor a range of DSCPs | {DSCP}")),
        ("dscp: af14", &format!("af14 | \"af14\" is neither a DSCP nor a range of DSCPs | {DSCP}")),
        ("dscp: ef-cs1", "ef-cs1 | the range ef-cs1 runs backwards | write cs1-ef"),
        (
            "flow_label: 0x100000",
            "0x100000 | \"0x100000\" is neither a flow label nor a range of flow labels | write a flow label (0x12345) or a range (1-255), each 0 to 1048575",
        ),
        (
            "vlan: 0",
            "0 | \"0\" is neither a VLAN identifier nor a range of VLAN identifiers | write a VLAN identifier (100) or a range (100-199), each 1 to 4094; or `untagged`",
        ),
        (
            "vlan: 4095",
            "4095 | \"4095\" is neither a VLAN identifier nor a range of VLAN identifiers | write a VLAN identifier (100) or a range (100-199), each 1 to 4094; or `untagged`",
        ),
        (
            "ttl: -1",
            "-1 | \"-1\" is neither a TTL or hop limit nor a range of them | write a TTL or hop limit (255) or a range (1-4), each 0 to 255",
        ),
        ("fragment: frist", "frist | \"frist\" is no kind of fragment | did you mean `first`?"),
        (
            "fragment: none",
            "none | \"none\" is no kind of fragment | write `dont`, `first`, `later` or `last`",
        ),
        ("ttl: []", "[] | `ttl` is an empty list: it would match nothing | leave `ttl` out to match any"),
    ]);
}

#[test]
fn tcp_flags() {
    const HELP: &str = "write flags with `+` between them (fin, syn, rst, psh, ack, urg, ece, cwr), and behind a `/` those that matter: `syn/syn+ack`";
    each_component(&[
        ("tcp_flags: sny", "sny | \"sny\" is no TCP flag | did you mean `syn`?"),
        ("tcp_flags: syn+", &format!("syn+ | \"\" is no TCP flag | {HELP}")),
        ("tcp_flags: syn/", &format!("syn/ | \"\" is no TCP flag | {HELP}")),
        ("tcp_flags: everything", &format!("everything | \"everything\" is no TCP flag | {HELP}")),
        (
            "tcp_flags: none",
            "none | `none` alone says nothing about any flag | say which flags are unset: `none/syn` for example",
        ),
        (
            "tcp_flags: syn/ack",
            "syn/ack | \"syn/ack\" wants flags set that its mask leaves out | write `syn/syn+ack`",
        ),
    ]);
}

#[test]
fn senders() {
    each_component(&[
        ("from: blokced", "blokced | there is no label `blokced` | did you mean `blocked`?"),
        (
            "from: example.com",
            "example.com | there is no label `example.com` | write it under `labels`, `example.com: [10.0.0.0/8]` for example; host names are not looked up",
        ),
        (
            "from: any",
            "any | `any` cannot be a label's name: it has a meaning of its own | use a letter, then up to 63 of the characters A-Z a-z 0-9 _ . -",
        ),
        (
            "from: a!",
            "a! | '!' may not stand in a label's name | use a letter, then up to 63 of the characters A-Z a-z 0-9 _ . -",
        ),
        ("from: []", "[] | `from` is an empty list: it would match nothing | leave `from` out to match any"),
    ]);
    let of = |match_: &str| {
        let text = format!(
            "version: 1\nlabels: {{blocked: [], staging: []}}\nroutes:\n- {{name: a, match: {match_}, action: drop}}\n"
        );
        findings(&text)
    };
    assert_eq!(
        of("{from: {all: [blocked, 10.0.0.0/8]}}"),
        [
            "4:43 10.0.0.0/8 | 10.0.0.0/8 is a prefix and not a label | name labels here; prefixes stand in a list: `from: [10.0.0.0/8]`"
        ]
    );
    assert_eq!(of("{from: {al: [blocked]}}"), ["4:28 al | `from` has no key `al` | did you mean `all`?"]);
    assert_eq!(
        of("{from: {all: []}}"),
        [
            "4:33 [] | `all` is an empty list: it would match nothing | name the labels that a sender must carry, all of them"
        ]
    );
    assert_eq!(
        of("{to: blocked}"),
        [
            "4:25 blocked | \"blocked\" is neither an address nor a prefix | write prefixes, 10.0.0.0/8 or 2001:db8::/32 for example: labels tell who sends and stand in `from`, and host names are not looked up"
        ]
    );
    assert_eq!(
        of("{not: {from: [blockd, staging]}}"),
        ["4:34 blockd | there is no label `blockd` | did you mean `blocked`?"]
    );
}

#[test]
fn negation() {
    const KEYS: &str = "`interface`, `from`, `to`, `protocol`, `port`, `source_port`, `icmp_type`, `icmp_code`, `tcp_flags`, `length`, `dscp`, `fragment`, `flow_label`, `vlan` and `ttl`";
    let nested =
        "3:26 not | `not` stands within `not` | write the component itself: what is not not so is so";
    each_route(&[
        ("{name: a, match: {not: {not: {port: 22}}}, action: drop}", &nested.replacen("3:26", "3:27", 1)),
        (
            "{name: a, match: {not: {}}, action: drop}",
            "3:26 {} | `not` names nothing | write what must not be so, `not: {port: 22}` for example",
        ),
        (
            "{name: a, match: {not: 22}, action: drop}",
            &format!("3:26 22 | `not` must be a map, not a single value | its keys are {KEYS}"),
        ),
        (
            "{name: a, match: {not: }, action: drop}",
            "3:21 not | `not` has no value | write one, or leave `not` out",
        ),
        (
            "{name: a, match: {not: {prot: tcp}}, action: drop}",
            "3:27 prot | `not` has no key `prot` | did you mean `protocol`?",
        ),
        (
            "{name: a, match: {not: {port: 1, port: 2}}, action: drop}",
            "3:36 port | `port` stands twice | the first is in line 3: keep one of them",
        ),
        (
            "{name: a, match: {not: {port: x}}, action: drop}",
            "3:33 x | \"x\" is neither a port nor a range of ports | write a port (80) or a range (8000-8099), each 0 to 65535",
        ),
    ]);
}

#[test]
fn what_cannot_match() {
    let nothing = |match_: &str, column: usize, key: &str, what: &str, help: &str| {
        let route = format!("{{name: a, match: {match_}, action: drop}}");
        let finding = format!("3:{column} {key} | nothing can match: {what} | {help}");
        each_route(&[(&route, &finding)]);
    };
    const LESS: &str = "let `not` name less, or leave the route out";
    nothing(
        "{protocol: udp, tcp_flags: syn}",
        36,
        "tcp_flags",
        "protocol udp has no TCP flags",
        "leave `tcp_flags` out, or name protocol tcp",
    );
    nothing(
        "{protocol: tcp, icmp_type: 8}",
        36,
        "icmp_type",
        "protocol tcp has no ICMP type or code",
        "leave `icmp_type` out, or name protocol icmp or icmpv6",
    );
    nothing(
        "{port: 80, icmp_code: 0}",
        31,
        "icmp_code",
        "no packet has both ports and ICMP type or code",
        "leave `port` or `icmp_code` out",
    );
    nothing(
        "{tcp_flags: syn, icmp_type: 8}",
        21,
        "tcp_flags",
        "no packet has both ICMP type or code and TCP flags",
        "leave `icmp_type` or `tcp_flags` out",
    );
    nothing(
        "{to: 10.0.0.0/8, flow_label: 1}",
        37,
        "flow_label",
        "only IPv4 packets can, and they have no flow label",
        "leave `flow_label` out, or name IPv6 prefixes",
    );
    nothing(
        "{to: '::/0', fragment: dont}",
        33,
        "fragment",
        "IPv6 packets have no don't-fragment bit",
        "leave `fragment` out, or name IPv4 prefixes",
    );
    nothing(
        "{port: 80, fragment: [later, last]}",
        21,
        "port",
        "a later fragment has no ports",
        "leave `port` out, or `fragment`",
    );
    nothing("{port: 80-90, not: {port: 0-100}}", 34, "not", "`not` takes away all that `port` leaves", LESS);
    nothing("{not: {ttl: [0-100, 101-255]}}", 21, "not", "`not` takes away all that `ttl` leaves", LESS);
    nothing(
        "{port: 80, not: {protocol: [tcp, udp, sctp]}}",
        31,
        "not",
        "`not` takes away all that `protocol` leaves",
        LESS,
    );
    nothing(
        "{from: 10.1.0.0/16, not: {from: 10.0.0.0/8}}",
        40,
        "not",
        "`not` takes away all that `from` leaves",
        LESS,
    );
    nothing(
        "{not: {vlan: [untagged, 1-4094], dscp: 0-63}}",
        21,
        "not",
        "`not` takes away all that `dscp` leaves",
        LESS,
    );
    each(&[(
        "version: 1\nlabels: {x: [], y: []}\nroutes: [{name: a, match: {from: x, not: {from: [x, y]}}, action: drop}]",
        "3:37 not | nothing can match: `not` takes away all that `from` leaves | let `not` name less, or leave the route out",
    )]);
}

#[test]
fn what_few_of_them_match() {
    each_route(&[(
        "{name: a, match: {protocol: [tcp, gre], tcp_flags: syn}, action: drop}",
        "3:21 protocol | protocol gre has no TCP flags: a route that names TCP flags never matches it | take gre out, or give it a route of its own without `tcp_flags`",
    )]);
    let fine = [
        "{not: {port: 22}}",
        "{not: {protocol: tcp}, port: 53}",
        "{icmp_type: 8, icmp_code: 0, protocol: [icmp, icmpv6]}",
        "{port: 80, fragment: [first, later]}",
        "{from: 10.0.0.0/8, not: {from: 10.1.0.0/16, flow_label: 3}}",
        "{tcp_flags: [none/syn+ack, fin], port: 80, source_port: 1}",
    ];
    for match_ in fine {
        let text = format!("version: 1\nroutes:\n- {{name: a, match: {match_}, action: pass}}\n");
        assert_eq!(findings(&text), [""; 0], "in {text}");
    }
}
