//! What is wrong with limits, SYN cookies and what else a route does.

use super::errors::{each, each_route, findings};
use crate::policy::parse;
use std::fmt::Write;

/// Each limit under a name, from line 3, column 6.
fn each_limit(table: &[(&str, &str)]) {
    for (limit, finding) in table {
        let text = format!("version: 1\nlimits:\n  a: {limit}\n");
        assert_eq!(findings(&text), [format!("3:{finding}")], "in {text}");
    }
}

const RATE: &str =
    "write packets (`1kpps`), bits (`50Mbit`) or new connections (`2kcps`) a second, with k, M or G";

#[test]
fn rates() {
    let rate = |text: &str, message: &str, help: &str| {
        each_limit(&[(&format!("{{rate: {text}}}"), &format!("13 {text} | {message} | {help}"))]);
    };
    let not_a_rate = |text: &str, help: &str| rate(text, &format!("{text:?} is not a rate"), help);
    not_a_rate("1000", &format!("it has no unit: {RATE}"));
    not_a_rate("1k", &format!("it has no unit: {RATE}"));
    not_a_rate("50Mbps", "write 50Mbit");
    not_a_rate("50Mbit/s", "write 50Mbit");
    not_a_rate("2MB", &format!("rates count bits, 8 a byte: {RATE}"));
    not_a_rate("2MBps", &format!("rates count bits, 8 a byte: {RATE}"));
    not_a_rate("fast", RATE);
    not_a_rate("-1pps", RATE);
    not_a_rate("1Kpps", RATE);
    not_a_rate("1.0001kpps", RATE);
    not_a_rate("99999999999999999999Gbit", RATE);
    rate("0pps", "0pps lets nothing pass", "write `action: drop`, or a rate of at least 1");
    rate("101Gbit", "101Gbit is more than can be limited", "100Gbit is the most");
    rate("151Mpps", "151Mpps is more than can be limited", "150Mpps is the most");
    rate("1Gcps", "1Gcps is more than can be limited", "150Mcps is the most");
    rate("100bit", "100bit is not a whole number of bytes", "write 96bit or 104bit");
}

#[test]
fn the_largest_and_the_smallest_are_taken() {
    for limit in [
        "{rate: 100Gbit}",
        "{rate: 8bit}",
        "{rate: 1pps, burst: 2592000}",
        "{rate: 0.5kpps, burst: 1}",
        "{connections: 4294967295}",
        "{rate: 1cps, per: source, ipv4_prefix: 1, ipv6_prefix: 128, ban: {for: 30d, after: 65535}}",
    ] {
        assert_eq!(findings(&format!("version: 1\nlimits: {{a: {limit}}}")), [""; 0], "{limit}");
    }
}

#[test]
fn bursts_and_connections() {
    const PACKETS: &str = "write a number of packets: 2000 or 2k";
    const BYTES: &str = "write bytes, with B, kB, MB or GB: `64kB`, `1MB`";
    each_limit(&[
        ("{rate: 1kpps, burst: 2kB}", &format!("27 2kB | \"2kB\" is not a burst here | {PACKETS}")),
        ("{rate: 1Mbit, burst: 2k}", &format!("27 2k | \"2k\" is not a burst here | {BYTES}")),
        ("{rate: 1Mbit, burst: 2kb}", &format!("27 2kb | \"2kb\" is not a burst here | {BYTES}")),
        (
            "{rate: 1cps, burst: x}",
            "26 x | \"x\" is not a burst here | write a number of new connections: 2000 or 2k",
        ),
        (
            "{rate: 1kpps, burst: 0}",
            "27 0 | a burst of 0 lets nothing pass | write at least 1, or leave `burst` out",
        ),
        (
            "{rate: 1kpps, burst: 99999999G}",
            &format!("27 99999999G | a burst of 99999999G is more than can be held | {PACKETS}"),
        ),
        (
            "{rate: 1pps, burst: 3M}",
            "26 3M | at this rate the burst takes 34 days to come back | write a burst of at most 30 days' worth",
        ),
        (
            "{rate: 1Mbit, burst: 1000B}",
            "27 1000B | a burst of 1000 bytes is less than a full frame | write at least 1514B, or longer frames pass only while the bucket is full",
        ),
        ("{connections: 0}", "20 0 | 0 connections let nothing pass | write `action: drop`, or at least 1"),
        ("{connections: 5G}", "20 5G | 5G is more than can be counted | 4294967295 is the most"),
        (
            "{connections: many}",
            "20 many | \"many\" is not a number of connections | write a number of connections: 1000 or 1k",
        ),
        (
            "{connections: 5, burst: 3}",
            "23 burst | a number of connections has no burst | leave it out: the number is the most there is",
        ),
        (
            "{connections: 5, rate: 1pps}",
            "7 connections | a limit has a rate or a number of connections | make two limits of it",
        ),
        (
            "{per: source}",
            "6 {per: source} | a limit has neither `rate` nor `connections` | write `rate: 1kpps`, `rate: 50Mbit` or `connections: 1000`",
        ),
        ("{rat: 1pps}", "7 rat | a limit has no key `rat` | did you mean `rate`?"),
        ("", "3 a | `limit` has no value | write `{rate: 1kpps}` for example, or a name from `limits`"),
    ]);
}

#[test]
fn keys_and_what_goes_over() {
    each_limit(&[
        ("{rate: 1pps, per: sorce}", "24 sorce | a limit cannot be per \"sorce\" | did you mean `source`?"),
        (
            "{rate: 1pps, per: flow}",
            "24 flow | a limit cannot be per \"flow\" | write `route`, `source`, `destination` or `label`",
        ),
        (
            "{rate: 1pps, ipv4_prefix: 24}",
            "19 ipv4_prefix | `ipv4_prefix` has no address to shorten here | add `per: source` or `per: destination`, or leave it out",
        ),
        (
            "{rate: 1pps, per: label, ipv6_prefix: 64}",
            "31 ipv6_prefix | `ipv6_prefix` has no address to shorten here | add `per: source` or `per: destination`, or leave it out",
        ),
        (
            "{rate: 1pps, per: source, ipv4_prefix: 33}",
            "45 33 | \"33\" is no length of a key | write 1 to 32, bits of the address",
        ),
        (
            "{rate: 1pps, per: source, ipv6_prefix: 0}",
            "45 0 | \"0\" is no length of a key | write 1 to 128, bits of the address",
        ),
        ("{rate: 1pps, over: dorp}", "25 dorp | what goes over cannot be \"dorp\" | did you mean `drop`?"),
        (
            "{rate: 1pps, over: {}}",
            "25 {} | `over` says nothing | write `drop`, `count` or `{dscp: cs1, mark: 0x20}`",
        ),
        (
            "{rate: 1pps, over: {dscp: 99}}",
            "32 99 | \"99\" is no DSCP | write a number of 0 to 63; or a name: cs0 to cs7, af11 to af43, ef, be, le, va",
        ),
        (
            "{rate: 1pps, over: {mark: 0}}",
            "32 0 | 0 says that nothing is set | leave the key out, or write 1 to 4294967295",
        ),
        (
            "{rate: 1pps, ban: 10m}",
            "19 ban | a limit for all packets together has nobody to ban | add `per: source`, or leave `ban` out",
        ),
        (
            "{rate: 1pps, per: source, over: count, ban: 10m}",
            "45 ban | `ban` refuses what `over` lets pass | leave `over` or `ban` out",
        ),
        (
            "{rate: 1pps, per: source, ban: 10}",
            "37 10 | \"10\" is not a length of time | write a number with ms, s, m, h or d: `10s`, `10m`, `1h`",
        ),
        (
            "{rate: 1pps, per: source, ban: 31d}",
            "37 31d | 31d is not a length of time that can be used here | write 1s to 30d",
        ),
        (
            "{rate: 1pps, per: source, ban: {after: 3}}",
            "37 {after: 3} | `ban` has no `for` | write `10m`, or `{for: 10m, after: 100}`",
        ),
        (
            "{rate: 1pps, per: source, ban: {for: 1m, after: 70000}}",
            "54 70000 | \"70000\" is not a number of refused packets | write 1 to 65535",
        ),
    ]);
}

#[test]
fn names_of_limits() {
    const NAME: &str = "use a letter, then up to 63 of the characters A-Z a-z 0-9 _ . -";
    each(&[
        (
            "version: 1\nlimits: [a]",
            "2:9 [a] | `limits` must be a map of names, not a list | write each under its name: `tenant-a: {rate: 50Mbit}`",
        ),
        (
            "version: 1\nlimits: {7a: {rate: 1pps}}",
            &format!("2:10 7a | a limit's name begins with a letter | {NAME}"),
        ),
        (
            "version: 1\nlimits: {a/b: {rate: 1pps}}",
            &format!("2:10 a/b | '/' may not stand in a limit's name | {NAME}"),
        ),
        (
            "version: 1\nlimits: {none: {rate: 1pps}}",
            &format!("2:10 none | `none` cannot be a limit's name: it has a meaning of its own | {NAME}"),
        ),
        (
            "version: 1\nlimits: {a: {rate: 1pps}, a: {rate: 1pps}}",
            "2:27 a | the limit `a` is given twice | rename one of them",
        ),
    ]);
    let of = |limit: &str| {
        findings(&format!(
            "version: 1\nlimits: {{tenant-a: {{rate: 1pps}}}}\nroutes:\n- {{name: a, limit: {limit}, action: pass}}\n"
        ))
    };
    assert_eq!(
        of("tennant-a"),
        ["4:20 tennant-a | there is no limit `tennant-a` | did you mean `tenant-a`?"]
    );
    assert_eq!(
        of("other"),
        ["4:20 other | there is no limit `other` | write it under `limits`: `other: {rate: 50Mbit}`"]
    );
    assert_eq!(of("50Mbit"), ["4:20 50Mbit | \"50Mbit\" is not a limit | write `{rate: 50Mbit}`"]);
    assert_eq!(
        of("[tenant-a, tenant-a]"),
        ["4:31 tenant-a | the limit stands twice in this route | leave one of them out"]
    );
    assert_eq!(of("[]"), ["4:20 [] | `limit` is an empty list | leave `limit` out for no limit"]);
    let five = ["{rate: 1pps}"; 5].join(", ");
    assert_eq!(
        of(&format!("[{five}]")),
        [
            "4:77 {rate: 1pps} | 5 limits are more than a route can have | 4 are the most: leave out what follows here"
        ]
    );
}

#[test]
fn more_limits_than_a_policy_can_hold() {
    let mut text = String::from("version: 1\nlimits: {shared: {rate: 1pps}}\nroutes:\n");
    let own = ["{rate: 1pps}"; 4].join(", ");
    for i in 0..4_096 {
        let _ = writeln!(text, "- {{name: r{i}, limit: [{own}], action: pass}}");
    }
    let diagnostics = parse("big", &text).expect_err("one too many");
    assert_eq!(diagnostics.items().len(), 1);
    let item = &diagnostics.items()[0];
    assert_eq!((item.line, item.message.as_str()), (4_099, "with this route's limits the policy has 16385"));
    // One limit fewer is as many as there can be.
    let last = text.rfind(&own).expect("the last route");
    text.replace_range(last..last + own.len(), "{rate: 1pps}, {rate: 1pps}");
    assert!(parse("big", &text).is_ok());
}

#[test]
fn syn_cookies_and_dscp() {
    const SYN: &str = "write `always`, or `{above: 2kcps, hold: 10s}`";
    let route = |rest: &str| format!("{{name: a, {rest}}}");
    let table = [
        ("syn_cookies: alwyas, action: pass", "26 alwyas | SYN cookies cannot be \"alwyas\" | did you mean `always`?".to_owned()),
        ("syn_cookies: often, action: pass", format!("26 often | SYN cookies cannot be \"often\" | {SYN}")),
        ("syn_cookies: 2kcps, action: pass", "26 2kcps | SYN cookies cannot be \"2kcps\" | write `{above: 2kcps}`".to_owned()),
        ("syn_cookies: {hold: 10s}, action: pass", format!("26 {{hold: 10s}} | `syn_cookies` has no `above` | {SYN}")),
        ("syn_cookies: {above: 2kpps}, action: pass", "34 2kpps | 2kpps does not count connections | write new connections a second: `2kcps`".to_owned()),
        ("syn_cookies: {above: 1cps, hold: 2h}, action: pass", "46 2h | 2h is not a length of time that can be used here | write 1s to 1h".to_owned()),
        ("match: {protocol: udp}, syn_cookies: always, action: pass", "37 syn_cookies | this route matches no TCP packets, so nothing asks for a SYN cookie | leave `syn_cookies` out, or name protocol tcp".to_owned()),
        ("match: {not: {protocol: tcp}}, syn_cookies: always, action: pass", "44 syn_cookies | this route matches no TCP packets, so nothing asks for a SYN cookie | leave `syn_cookies` out, or name protocol tcp".to_owned()),
        ("match: {icmp_type: 8}, syn_cookies: always, action: pass", "36 syn_cookies | this route matches no TCP packets, so nothing asks for a SYN cookie | leave `syn_cookies` out, or name protocol tcp".to_owned()),
        ("syn_cookies: always, action: drop", "13 syn_cookies | `syn_cookies` decides what passes, and action drop lets nothing pass | leave it out, or let the route pass what is within its limits".to_owned()),
        ("limit: {rate: 1pps}, action: drop", "13 limit | `limit` decides what passes, and action drop lets nothing pass | leave it out, or let the route pass what is within its limits".to_owned()),
        ("dscp: ef, action: drop", "13 dscp | `dscp` has no effect with action drop | leave it out: the packet goes nowhere".to_owned()),
        ("dscp: af99, action: pass", "19 af99 | \"af99\" is no DSCP | write a number of 0 to 63; or a name: cs0 to cs7, af11 to af43, ef, be, le, va".to_owned()),
        ("dscp: af44, action: pass", "19 af44 | \"af44\" is no DSCP | did you mean `af41`?".to_owned()),
    ];
    for (rest, finding) in table {
        each_route(&[(&route(rest), &format!("3:{finding}"))]);
    }
    each(&[(
        "version: 1\nchecksums: yes",
        "2:12 yes | `checksums` is `verify` or `ignore`, not \"yes\" | write `verify` or `ignore`",
    )]);
}
