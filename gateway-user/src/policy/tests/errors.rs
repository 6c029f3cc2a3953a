use crate::policy::{Diagnostic, Diagnostics, Severity, check, parse};

/// What is wrong with a document, as `line:column underlined | message | help`.
pub(super) fn findings(text: &str) -> Vec<String> {
    let (_, diagnostics) = check("policy.yaml", text);
    let line = |item: &Diagnostic| {
        let Diagnostic { line, column, message, help, .. } = item;
        format!("{line}:{column} {} | {message} | {help}", diagnostics.underlined(item))
    };
    diagnostics.items().iter().map(line).collect()
}

/// Each document has just this finding.
pub(super) fn each(table: &[(&str, &str)]) {
    for (text, finding) in table {
        assert_eq!(findings(text), [*finding], "in {text:?}");
    }
}

/// The same for a route, which stands in line 3 from column 3.
pub(super) fn each_route(table: &[(&str, &str)]) {
    for (route, finding) in table {
        let text = format!("version: 1\nroutes:\n- {route}\n");
        assert_eq!(findings(&text), [*finding], "in {text:?}");
    }
}

#[test]
fn the_document() {
    let empty =
        |shown: &str| format!("1:1 {shown} | the document is empty | write `version: 1`, then `routes:`");
    each(&[
        ("", &empty("")),
        ("# nothing yet\n\n# at all\n", &empty("#")),
        ("---\n...\n", &empty("-")),
        ("{}", "1:1 {} | the policy has no `version` | write `version: 1` first"),
        (
            "- a\n- b",
            "1:1 - a | the policy must be a map, not a list | its keys are `version`, `labels`, `limits`, `pools`, `routes`, `default`, `malformed` and `checksums`",
        ),
        ("routes: []", "1:1 routes: [] | the policy has no `version` | write `version: 1` first"),
        ("version: 2", "1:10 2 | version 2 is not known here | write `version: 1`"),
        ("version:", "1:1 version | `version` must be 1, not nothing | write `version: 1`"),
        ("verson: 1", "1:1 verson | the policy has no key `verson` | did you mean `version`?"),
        (
            "version: 1\nversion: 1",
            "2:1 version | `version` stands twice | the first is in line 1: keep one of them",
        ),
        (
            "version: 1\nroutes: web",
            "2:9 web | `routes` must be a list, not a single value | write each route as an item: `- {name: web, action: pass}`",
        ),
        (
            "version: 1\n? [a]\n: b",
            "2:3 [a] | a key must be a single word, not a list | the keys are `version`, `labels`, `limits`, `pools`, `routes`, `default`, `malformed` and `checksums`",
        ),
        (
            "version: 1\n--- \nversion: 1",
            "2:1 --- | a second document begins here | put each policy into its own file",
        ),
        (
            "version: !!int 1",
            "1:16 1 | YAML tags are not read here | leave out the word that begins with `!`",
        ),
    ]);
}

#[test]
fn what_is_not_yaml() {
    each(&[(
        "version: 1\nroutes:\n\t- {name: a}\n",
        "3:2 - | this is not YAML: tabs disallowed within this context (block indentation) | mend this first: what follows could not be read",
    )]);
    for text in ["a: [", "a: b: c", "a: *b", "\"", "{a: 1}}", "\u{0}", "a: |\n b\nc"] {
        let diagnostics = parse("t", text).expect_err("is not YAML");
        assert!(diagnostics.items()[0].message.starts_with("this is not YAML: "), "{diagnostics}");
    }
}

#[test]
fn default_and_malformed() {
    each(&[
        (
            "version: 1\ndefault: accept",
            "2:10 accept | `default` is `pass` or `drop`, not \"accept\" | write `pass`",
        ),
        (
            "version: 1\ndefault: tx",
            "2:10 tx | `default` is `pass` or `drop`, not \"tx\" | write `pass` or `drop`",
        ),
        (
            "version: 1\ndefault: [drop]",
            "2:10 [drop] | `default` is `pass` or `drop`, not a list | write `pass` or `drop`",
        ),
        ("version: 1\ndefault:", "2:1 default | `default` has no value | write `pass` or `drop`"),
        (
            "version: 1\nmalformed: dorp",
            "2:12 dorp | `malformed` is `pass` or `drop`, not \"dorp\" | did you mean `drop`?",
        ),
        (
            "version: 1\nmalformed: {udp_lenght: pass}",
            "2:13 udp_lenght | there is no reason `udp_lenght` | did you mean `udp_length`?",
        ),
        (
            "version: 1\nmalformed: {redirect_target: pass}",
            "2:13 redirect_target | `redirect_target` is not a way to be malformed | only what is wrong with a packet itself can be passed: `ipv4_total_length`, for example",
        ),
        (
            "version: 1\nmalformed: {udp_length: pass, udp_length: drop}",
            "2:31 udp_length | `udp_length` stands twice | the first is in line 2: keep one of them",
        ),
        (
            "version: 1\nmalformed: {udp_length: tx}",
            "2:25 tx | `udp_length` is `pass` or `drop`, not \"tx\" | write `pass` or `drop`",
        ),
    ]);
}

#[test]
fn a_routes_keys() {
    const KEYS: &str =
        "the keys are `name`, `match`, `limit`, `syn_cookies`, `mark`, `priority`, `dscp` and `action`";
    let unknown = format!("3:13 colour | a route has no key `colour` | {KEYS}");
    each_route(&[
        (
            "web",
            "3:3 web | a route must be a map, not a single value | its keys are `name`, `match`, `limit`, `syn_cookies`, `mark`, `priority`, `dscp` and `action`",
        ),
        (
            "{action: drop}",
            "3:3 {action: drop} | a route has no `name` | give it a name: its counters follow it",
        ),
        (
            "{name: a}",
            "3:3 {name: a} | a route has no `action` | write `pass`, `drop`, `tx`, `{redirect: eth1}`, `{pool: web}` or `{proxy: 15001}`",
        ),
        ("{name: a, acton: drop}", "3:13 acton | a route has no key `acton` | did you mean `action`?"),
        (
            "{name: a, action: drop, match: []}",
            "3:34 [] | a match must be a map, not a list | its keys are `interface`, `from`, `to`, `protocol`, `port`, `source_port`, `icmp_type`, `icmp_code`, `tcp_flags`, `length`, `dscp`, `fragment`, `flow_label`, `vlan`, `ttl` and `not`",
        ),
        (
            "{name: a, action: drop, match: }",
            "3:27 match | `match` has no value | leave `match` out to match every IP packet",
        ),
        ("{name: a, colour: red, action: drop}", &unknown),
        (
            "{name: a, action: drop, <<: {mark: 1}}",
            "3:27 << | a route has no key `<<` | YAML merge keys are not read: write the keys out",
        ),
        (
            "{name: a, match: {proto: tcp}, action: drop}",
            "3:21 proto | a match has no key `proto` | did you mean `protocol`?",
        ),
        (
            "{name: a, match: {source-port: 1}, action: drop}",
            "3:21 source-port | a match has no key `source-port` | did you mean `source_port`?",
        ),
    ]);
}

#[test]
fn names() {
    const HELP: &str = "use 1 to 64 of the characters A-Z a-z 0-9 _ . - and no `-` in front";
    let long = "x".repeat(65);
    let route = |name: &str| format!("{{name: {name}, action: drop}}");
    each_route(&[
        (
            &route("'web server'"),
            &format!("3:10 'web server' | ' ' may not stand in a route's name | {HELP}"),
        ),
        (&route("ü"), &format!("3:10 ü | 'ü' may not stand in a route's name | {HELP}")),
        (&route("-a"), &format!("3:10 -a | a route's name may not begin with `-` | {HELP}")),
        (&route("''"), &format!("3:10 '' | a route's name is empty | {HELP}")),
        (&route(&long), &format!("3:10 {long} | a name of 65 bytes is too long | {HELP}")),
        (
            &route("[a]"),
            "3:10 [a] | `name` takes single values, not a list | write `name` as a plain word or number",
        ),
        (&route("~"), "3:10 ~ | `name` has no value | write one"),
    ]);
    each(&[(
        "version: 1\nroutes:\n- {name: a, match: {protocol: tcp}, action: drop}\n- {name: a, action: tx}",
        "4:10 a | the name `a` is given twice | the first is in line 3: rename one of them, counters follow the name",
    )]);
}

#[test]
fn marks_and_actions() {
    const NUMBER: &str = "write 1 to 4294967295, or 0x1 to 0xffffffff";
    const ACTION: &str = "write `pass`, `drop`, `tx`, `{redirect: eth1}`, `{pool: web}` or `{proxy: 15001}`";
    let not_a_number = |text: &str| format!("3:19 {text} | {text:?} is not a number of 32 bits | {NUMBER}");
    let mark = |text: &str| format!("{{name: a, mark: {text}, action: pass}}");
    for text in ["4294967296", "-1", "0x", "0x+1", "0x1_0", "ten", "1.5", "+1", "0x100000000"] {
        each_route(&[(&mark(text), &not_a_number(text))]);
    }
    let action = |text: &str| format!("{{name: a, action: {text}}}");
    let at = |finding: &str| format!("3:21 {finding}");
    each_route(&[
        (&mark("0"), "3:19 0 | 0 says that nothing is set | leave the key out, or write 1 to 4294967295"),
        (&mark(""), "3:13 mark | `mark` has no value | write one, or leave `mark` out"),
        (&action("accept"), &at("accept | there is no action \"accept\" | write `pass`")),
        (&action("Drop"), &at("Drop | there is no action \"Drop\" | did you mean `drop`?")),
        (
            &action("redirect"),
            &at("redirect | there is no action \"redirect\" | say where to: `{redirect: eth1}`"),
        ),
        (&action("explode"), &at(&format!("explode | there is no action \"explode\" | {ACTION}"))),
        (&action("[drop]"), &at(&format!("[drop] | a route has one action, not a list | {ACTION}"))),
        (&action("{}"), &at(&format!("{{}} | `action` has no value | {ACTION}"))),
        (
            &action("{proxy: web}"),
            "3:29 web | \"web\" is not a port | write the port that the proxy listens on, 1 to 65535",
        ),
        (
            &action("{redirect: ''}"),
            "3:32 '' | an interface's name is empty | name an interface as `ip link` shows it",
        ),
        (
            &action("{redirect: [eth0]}"),
            "3:32 [eth0] | `redirect` takes single values, not a list | write `redirect` as a plain word or number",
        ),
    ]);
}

#[test]
fn match_values() {
    const PORT: &str = "write a port (80) or a range (8000-8099), each 0 to 65535";
    const PREFIX: &str = "write an address or a prefix: 192.0.2.1, 10.0.0.0/8, 2001:db8::/32";
    const LABEL: &str = "write prefixes, 10.0.0.0/8 or 2001:db8::/32 for example: labels tell who sends and stand in `from`, and host names are not looked up";
    let table = [
        ("from: 10.0.0.1/8", "10.0.0.1/8 | 10.0.0.1/8 has bits set behind its prefix | write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address".to_owned()),
        ("to: '2001:db8::1/32'", "'2001:db8::1/32' | 2001:db8::1/32 has bits set behind its prefix | write 2001:db8::/32 for the network, or 2001:db8::1 for the one address".to_owned()),
        ("to: 10.0.0.0/33", "10.0.0.0/33 | \"33\" is no prefix length here | write a length of 0 to 32: 10.0.0.0/32".to_owned()),
        ("to: 10.0.0.0/", "10.0.0.0/ | \"\" is no prefix length here | write a length of 0 to 32: 10.0.0.0/32".to_owned()),
        ("to: 10.0.0/8", format!("10.0.0/8 | \"10.0.0/8\" is neither an address nor a prefix | {PREFIX}")),
        ("to: blocked", format!("blocked | \"blocked\" is neither an address nor a prefix | {LABEL}")),
        ("to: {file: a.txt}", "{file: a.txt} | `to` takes single values, not a map | write `to` as a plain word or number".to_owned()),
        ("to: []", "[] | `to` is an empty list: it would match nothing | leave `to` out to match any".to_owned()),
        ("to: [10.0.0.0/8, ]", String::new()),
        ("to: ~", "~ | `to` has no value | write one, or leave `to` out".to_owned()),
        ("port: 65536", format!("65536 | \"65536\" is neither a port nor a range of ports | {PORT}")),
        ("port: http", format!("http | \"http\" is neither a port nor a range of ports | {PORT}")),
        ("port: 1-2-3", format!("1-2-3 | \"1-2-3\" is neither a port nor a range of ports | {PORT}")),
        ("port: 90-80", "90-80 | the range 90-80 runs backwards | write 80-90".to_owned()),
        ("protocol: 256", "256 | \"256\" is no IP protocol that is known here | write a name (tcp, udp, sctp, icmp, icmpv6, gre, esp, ah, …) or a number of 0 to 255".to_owned()),
        ("protocol: ucp", "ucp | \"ucp\" is no IP protocol that is known here | did you mean `tcp`?".to_owned()),
        ("interface: a/b", "a/b | \"a/b\" is no interface name: '/' may not stand in one | name an interface as `ip link` shows it".to_owned()),
        ("interface: abcdefghijklmnop", "abcdefghijklmnop | \"abcdefghijklmnop\" is no interface name: 16 bytes, 15 are the most | name an interface as `ip link` shows it".to_owned()),
        ("interface: ..", ".. | \"..\" is no interface name | name an interface as `ip link` shows it".to_owned()),
    ];
    for (component, finding) in table {
        let text = format!("version: 1\nroutes:\n- name: a\n  match: {{{component}}}\n  action: drop\n");
        if finding.is_empty() {
            assert_eq!(findings(&text), [""; 0], "in {text}");
            continue;
        }
        let column = "  match: {".len() + component.find(": ").expect("a value") + ": ".len() + 1;
        assert_eq!(findings(&text), [format!("4:{column} {finding}")], "in {text}");
    }
}

#[test]
fn combinations() {
    let families = "3:39 to | nothing can match: `from` holds only IPv4 prefixes, `to` only IPv6 | give both prefixes of the same family";
    each_route(&[
        ("{name: a, match: {from: 10.0.0.0/8, to: '2001:db8::/32'}, action: drop}", families),
        (
            "{name: a, match: {protocol: [icmp, gre], port: 80}, action: drop}",
            "3:44 port | nothing can match: protocol icmp, gre has no ports | leave `port` out, or name protocol tcp, udp or sctp",
        ),
        (
            "{name: a, match: {source_port: 80, protocol: 58}, action: drop}",
            "3:21 source_port | nothing can match: protocol icmpv6 has no ports | leave `source_port` out, or name protocol tcp, udp or sctp",
        ),
    ]);
    let (policy, diagnostics) =
        check("t", "version: 1\nroutes:\n- {name: a, match: {protocol: icmp, port: 1}, action: tx}");
    assert!(policy.is_none());
    assert_eq!(diagnostics.items()[0].severity, Severity::Error);
}

#[test]
fn doubtful_things_are_warnings() {
    let table = [
        (
            "{name: a, match: {from: [10.0.0.0/8, '::/0'], to: 10.0.0.0/8}, action: drop}",
            "3:49 to | `from` holds IPv6 prefixes, `to` none: they never match | add IPv6 prefixes to `to`, or take them out of `from`",
        ),
        (
            "{name: a, match: {protocol: [tcp, gre], port: 80}, action: drop}",
            "3:21 protocol | protocol gre has no ports: a route that names ports never matches it | take gre out, or give it a route of its own without `port`",
        ),
        (
            "{name: a, match: {to: '2001:db8::/32', protocol: icmp}, action: drop}",
            "3:42 protocol | only IPv6 packets can match, and they do not carry icmp | did you mean `icmpv6`?",
        ),
        (
            "{name: a, mark: 1, action: drop}",
            "3:13 mark | `mark` has no effect with action drop | leave it out: the packet does not reach the stack",
        ),
    ];
    each_route(&table);
    for (route, _) in table {
        let (policy, diagnostics) = check("t", &format!("version: 1\nroutes:\n- {route}"));
        assert!(policy.is_some());
        assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1));
    }
    each(&[(
        "version: 1\nroutes:\n- {name: a, match: {from: 10.0.0.0/8}, action: drop}\n- name: b\n  match: {from: 10.1.0.0/16}\n  action: pass\n",
        "4:9 b | route `b` can never match: `a` takes all its packets first | move `b` in front, or take it out",
    )]);
}

const WRONG: &str = "version: 1
routes:
  - name: web
    match: {from: 10.0.0.1/8, prot: tcp}
    action: accept
  - name: web
    action: drop
";

#[test]
fn all_errors_are_told_at_once_and_drawn() {
    let diagnostics = parse("policy.yaml", WRONG).expect_err("is wrong");
    let expected = "  \
  × 10.0.0.1/8 has bits set behind its prefix
   ╭─[policy.yaml:4:19]
 3 │   - name: web
 4 │     match: {from: 10.0.0.1/8, prot: tcp}
   ·                   ──────────
 5 │     action: accept
   ╰────
  help: write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address

  × a match has no key `prot`
   ╭─[policy.yaml:4:31]
 3 │   - name: web
 4 │     match: {from: 10.0.0.1/8, prot: tcp}
   ·                               ────
 5 │     action: accept
   ╰────
  help: did you mean `protocol`?

  × there is no action \"accept\"
   ╭─[policy.yaml:5:13]
 4 │     match: {from: 10.0.0.1/8, prot: tcp}
 5 │     action: accept
   ·             ──────
 6 │   - name: web
   ╰────
  help: write `pass`

  × the name `web` is given twice
   ╭─[policy.yaml:6:11]
 5 │     action: accept
 6 │   - name: web
   ·           ───
 7 │     action: drop
   ╰────
  help: the first is in line 3: rename one of them, counters follow the name

4 errors
";
    assert_eq!(diagnostics.render(false), expected);
    assert!(diagnostics.render(true).contains("\u{1b}["));
}

#[test]
fn a_place_deep_in_a_long_line_is_drawn_with_what_is_around_it() {
    let ports: Vec<String> = (0..1000).map(|port| (port * 2).to_string()).collect();
    let text = format!(
        "{{version: 1, routes: [{{name: a, match: {{port: [{}, x]}}, action: drop}}]}}",
        ports.join(", ")
    );
    let diagnostics = parse("t", &text).expect_err("x is no port");
    let rendered = diagnostics.render(false);
    assert_eq!(diagnostics.underlined(&diagnostics.items()[0]), "x");
    assert!(rendered.contains(&format!("[t:1:{}]", text.find("x]").expect("x") + 1)), "{rendered}");
    assert!(rendered.contains("1998, x]}, action: drop}]}"), "{rendered}");
}

#[test]
fn diagnostics_are_data_too() {
    let diagnostics = parse("policy.yaml", "version: 1\ndefault: dorp").expect_err("is wrong");
    let json = serde_json::to_value(&diagnostics).expect("serializes");
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error",
            "message": "`default` is `pass` or `drop`, not \"dorp\"",
            "file": "policy.yaml",
            "line": 2,
            "column": 10,
            "length": 4,
            "help": "did you mean `drop`?",
        }])
    );
    let items = serde_json::from_value(json).expect("deserializes");
    assert_eq!(Diagnostics::new(diagnostics.text(), items).render(false), diagnostics.render(false));
    assert_eq!(
        diagnostics.to_string(),
        "policy.yaml:2:10: error: `default` is `pass` or `drop`, not \"dorp\"; did you mean `drop`?"
    );
}
