//! Who sends: labels of a policy, and what comes to them without one.

use super::Row;
use crate::model::Member;
use crate::packet::Frame;
use gateway_common::reason::Reason;

const POLICY: &str = "\
version: 1
labels:
  inner: [10.0.0.0/8, \"2001:db8::/32\"]
  lab: [10.1.0.0/16, \"2001:db8:1::/48\"]
  odd: [10.1.2.0/25, 10.1.3.7, 192.0.2.0/24, \"2001:db8:1::7\"]
  banned: []
routes:
  - {name: banned, match: {from: banned}, mark: 1, action: pass}
  - {name: all, match: {from: {all: [lab, odd]}}, mark: 2, action: pass}
  - {name: web, match: {from: [odd, lab], protocol: tcp, port: 80}, mark: 3, action: pass}
  - {name: strange, match: {not: {from: [inner, odd]}, protocol: tcp}, mark: 4, action: pass}
  - {name: mixed, match: {from: [lab, 203.0.113.0/24, \"fe80::/10\"]}, mark: 5, action: pass}
  - {name: not-all, match: {protocol: udp, not: {from: {all: [inner, lab]}}}, mark: 6, action: pass}
  - {name: neither, match: {protocol: 47, not: {from: [lab, 192.0.2.0/25]}}, mark: 7, action: pass}
default: drop
";

fn from(source: &str) -> Frame {
    Frame::new().ip(source, if source.contains(':') { "fe80::9" } else { "198.51.100.1" })
}

fn members() -> Vec<Member> {
    let member = |label: &str, prefix: &str, expired| {
        let prefix = prefix.parse().unwrap_or_else(|_| panic!("{prefix} is a prefix"));
        Member { label: label.to_owned(), prefix, expired }
    };
    vec![
        member("banned", "203.0.113.9/32", false),
        member("banned", "2001:db8:1::/64", false),
        member("banned", "198.18.0.0/15", true),
        member("lab", "192.0.2.128/25", false),
        member("odd", "203.0.113.0/24", false),
        member("inner", "172.16.0.0/12", false),
        member("lab", "172.16.9.0/24", false),
        member("odd", "172.16.9.9/32", false),
        member("odd", "10.1.0.0/16", true),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, frame, expected) in fixed() {
        rows.push(expect(Row::new(format!("labels: {name}"), POLICY, frame.bytes()), expected));
    }
    for (name, frame, expected) in live() {
        let row = Row::new(format!("labels, live: {name}"), POLICY, frame.bytes()).members(members());
        rows.push(expect(row, expected));
    }
    rows
}

/// The route with its mark, or the default.
type Expected = Option<(&'static str, u32)>;

fn expect(row: Row, expected: Expected) -> Row {
    match expected {
        Some((route, mark)) => row.route(route).mark(mark),
        None => row.by_default().dropped(Reason::Default),
    }
}

fn fixed() -> Vec<(&'static str, Frame, Expected)> {
    vec![
        ("both of two", from("10.1.2.127").udp(1, 2), Some(("all", 2))),
        ("both of two, a single address", from("10.1.3.7").udp(1, 2), Some(("all", 2))),
        ("both of two, IPv6", from("2001:db8:1::7").udp(1, 2), Some(("all", 2))),
        ("one of two is not all", from("10.1.2.128").udp(1, 2), Some(("mixed", 5))),
        ("any of two, the first", from("192.0.2.1").tcp(1, 80), Some(("web", 3))),
        ("any of two, the second", from("10.1.255.255").tcp(1, 80), Some(("web", 3))),
        ("any of two, IPv6", from("2001:db8:1:ffff::").tcp(1, 80), Some(("web", 3))),
        ("none of two", from("172.16.0.1").tcp(1, 80), Some(("strange", 4))),
        ("none of two, IPv6", from("2001:db9::").tcp(1, 80), Some(("strange", 4))),
        ("one of those denied", from("10.9.0.1").tcp(1, 81), None),
        ("the other of those denied", from("192.0.2.1").tcp(1, 81), None),
        ("a prefix beside a label", from("203.0.113.9").udp(1, 2), Some(("mixed", 5))),
        ("a prefix beside a label, IPv6", from("fe80::7").udp(1, 2), Some(("mixed", 5))),
        ("without both of two", from("10.9.0.1").udp(1, 2), Some(("not-all", 6))),
        ("without either of two", from("172.16.9.9").udp(1, 2), Some(("not-all", 6))),
        ("outside label and prefix", from("192.0.2.128").raw(47, &[0; 4]), Some(("neither", 7))),
        ("outside label and prefix, IPv6", from("2001:db8:2::").raw(47, &[0; 4]), Some(("neither", 7))),
        ("inside the denied prefix", from("192.0.2.127").raw(47, &[0; 4]), None),
        ("before a label's prefix", from("9.255.255.255").raw(89, &[0; 4]), None),
    ]
}

fn live() -> Vec<(&'static str, Frame, Expected)> {
    vec![
        ("a label that nothing else is in", from("203.0.113.9").udp(1, 2), Some(("banned", 1))),
        ("the same, IPv6", from("2001:db8:1::7").udp(1, 2), Some(("banned", 1))),
        ("one beside it, IPv6", from("2001:db8:1:1::7").udp(1, 2), Some(("mixed", 5))),
        ("one whose time is over", from("198.18.0.1").udp(1, 2), Some(("not-all", 6))),
        ("one more of all that are asked for", from("192.0.2.200").udp(1, 2), Some(("all", 2))),
        ("not one more", from("192.0.2.127").udp(1, 2), Some(("not-all", 6))),
        ("any of two", from("203.0.113.8").tcp(1, 80), Some(("web", 3))),
        ("no longer none of two", from("172.16.0.1").tcp(1, 80), None),
        ("two of them, nested", from("172.16.9.8").udp(1, 2), Some(("mixed", 5))),
        ("three of them, nested", from("172.16.9.9").udp(1, 2), Some(("all", 2))),
        ("a fixed one, and one whose time is over", from("10.1.9.9").udp(1, 2), Some(("mixed", 5))),
        ("no longer outside label and prefix", from("192.0.2.128").raw(47, &[0; 4]), Some(("all", 2))),
        ("still outside of both", from("172.16.8.8").raw(47, &[0; 4]), Some(("neither", 7))),
    ]
}
