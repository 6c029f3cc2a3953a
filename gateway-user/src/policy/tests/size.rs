use crate::policy::{check, parse};
use std::fmt::Write;

#[test]
fn ten_thousand_routes() {
    let mut text = String::from("version: 1\nroutes:\n");
    for i in 0..10_000u32 {
        let (b, c) = (i >> 8, i & 255);
        let _ = writeln!(
            text,
            "  - {{name: r{i}, match: {{from: 10.{b}.{c}.0/24, protocol: tcp, port: 443}}, action: drop}}"
        );
    }
    let (policy, diagnostics) = check("big", &text);
    assert_eq!(policy.expect("is valid").routes.len(), 10_000);
    assert!(diagnostics.is_empty());
}

/// In a list over many lines, and in one line of two megabytes.
#[test]
fn a_hundred_thousand_prefixes() {
    for (before, between) in [("[", ", "), ("\n      - ", "\n      - ")] {
        let prefixes: Vec<String> = (0..100_000u32)
            .map(|i| format!("{}.{}.{}.0/24", 10 + (i >> 16), (i >> 8) & 255, i & 255))
            .collect();
        let after = if before == "[" { "]" } else { "" };
        let text = format!(
            "version: 1\nroutes:\n- name: a\n  match:\n    from: {before}{}{after}\n  action: drop\n",
            prefixes.join(between)
        );
        let (policy, diagnostics) = check("big", &text);
        let policy = policy.unwrap_or_else(|| panic!("{}", diagnostics.render(false)));
        assert_eq!(policy.routes[0].matches.from.as_ref().map(Vec::len), Some(100_000));

        // All wrong: all found, a hundred shown, and that no wider than a screen allows.
        let wrong = text.replace("0/24", "1/24");
        let diagnostics = parse("big", &wrong).expect_err("every prefix is wrong");
        assert_eq!(diagnostics.errors(), 100_000);
        let rendered = diagnostics.render(false);
        assert!(rendered.contains("… and 99900 more\n100000 errors\n"));
        assert!(rendered.lines().all(|line| line.chars().count() < 300));
    }
}

#[test]
fn too_many_routes() {
    let mut text = String::from("version: 1\nroutes:\n");
    for i in 0..65_536u32 {
        let _ = writeln!(text, "- {{name: r{i}, action: drop}}");
    }
    let diagnostics = parse("big", &text).expect_err("one too many");
    assert_eq!(diagnostics.items().len(), 1);
    let item = &diagnostics.items()[0];
    assert_eq!((item.line, item.column), (65_538, 3));
    assert_eq!(item.message, "65536 routes are more than a policy can hold");
}

/// An alias of an alias of an alias: small to write, too large to hold.
#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = String::from("version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let before = format!("*a{}", i - 1);
        let _ = writeln!(text, "a{i}: &a{i} [{}]", vec![before; 10].join(", "));
    }
    let diagnostics = parse("bomb", &text).expect_err("is refused");
    assert!(diagnostics.items()[0].message.contains("multiply"), "{diagnostics}");
}

/// Routes that use every component, and limits.
#[test]
fn ten_thousand_routes_of_every_component() {
    let mut text = String::from("version: 1\nlabels:\n");
    for i in 0..1_000 {
        let _ = writeln!(text, "  l{i}: [10.{}.{}.0/24, '2001:db8:{i:x}::/48']", i >> 8, i & 255);
    }
    text.push_str("limits: {shared: {rate: 1Gbit, per: source}}\nroutes:\n");
    for i in 0..10_000u32 {
        let (a, b, n) = (i % 1_000, (i * 7 + 1) % 1_000, i % 64);
        let _ =
            writeln!(
            text,
            "- {{name: r{i}, match: {{interface: eth{}, from: [l{a}, l{b}], to: 192.0.{}.{}, protocol: tcp,
               port: [80, {}], source_port: 1024-65535, tcp_flags: syn/syn+ack, length: 40-{}, dscp: {n},
               fragment: [dont, first], vlan: {}, ttl: {n}-255, not: {{from: 10.0.0.0/30, port: {n}}}}},
               limit: shared, action: pass}}",
            i % 8, i >> 8 & 255, i & 255, 8_000 + i % 1_000, 100 + n, 1 + i % 4_000,
        );
    }
    let (policy, diagnostics) = check("big", &text);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    assert_eq!(policy.expect("is valid").routes.len(), 10_000);
}
