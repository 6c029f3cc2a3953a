//! Which route: order, prefixes, interface, protocol, and their combinations.

use super::{INTERFACE, Row, TARGET};
use crate::packet::Frame;
use gateway_common::reason::Reason;

fn policy(routes: &[String]) -> String {
    format!("version: 1\nroutes:\n{}default: drop\n", routes.concat())
}

fn route(name: &str, mark: u32, matches: &str) -> String {
    format!("  - {{name: {name}, match: {{{matches}}}, mark: {mark}, action: pass}}\n")
}

fn v4(source: &str, destination: &str) -> Vec<u8> {
    Frame::new().ipv4(source, destination).udp(4000, 53).bytes()
}

pub(super) fn rows() -> Vec<Row> {
    [order(), prefixes(), prefixes_v6(), other_dimensions()].concat()
}

fn order() -> Vec<Row> {
    let wide_first = policy(&[
        route("wide", 1, "from: 10.0.0.0/8"),
        route("narrow", 2, "from: 10.1.0.0/16, protocol: udp"),
    ]);
    let narrow_first = policy(&[
        route("narrow", 2, "from: 10.1.0.0/16, protocol: udp"),
        route("wide", 1, "from: 10.0.0.0/8"),
    ]);
    let by_kind = policy(&[
        route("to", 1, "to: 203.0.113.0/24"),
        route("from", 2, "from: 10.0.0.0/8"),
        route("protocol", 3, "protocol: udp"),
        route("port", 4, "protocol: [tcp, udp], port: 53"),
    ]);
    let frame = |source, destination| v4(source, destination);
    let tcp = Frame::new().ipv4("192.0.2.1", "192.0.2.2").tcp(1, 53).bytes();
    vec![
        Row::new("order: the first wins though wider", &wide_first, frame("10.1.2.3", "1.1.1.1"))
            .route("wide")
            .mark(1),
        Row::new("order: the first wins, narrower", &narrow_first, frame("10.1.2.3", "1.1.1.1"))
            .route("narrow")
            .mark(2),
        Row::new(
            "order: the second where the first does not hold",
            &narrow_first,
            frame("10.2.2.3", "1.1.1.1"),
        )
        .route("wide")
        .mark(1),
        Row::new("order: all four match, to is first", &by_kind, frame("10.0.0.1", "203.0.113.1"))
            .route("to")
            .mark(1),
        Row::new("order: three match, from is first", &by_kind, frame("10.0.0.1", "203.0.114.1"))
            .route("from")
            .mark(2),
        Row::new("order: two match, protocol is first", &by_kind, frame("11.0.0.1", "203.0.114.1"))
            .route("protocol")
            .mark(3),
        Row::new("order: the port alone", &by_kind, tcp).route("port").mark(4),
    ]
}

fn prefixes() -> Vec<Row> {
    let nested = policy(&[
        route("host", 1, "from: 10.1.2.3"),
        route("subnet", 2, "from: [10.1.2.0/24, 10.1.4.0/22]"),
        route("pair", 3, "from: 10.0.0.0/8, to: [192.0.2.0/24, 192.0.2.128/25]"),
        route("half", 4, "from: 0.0.0.0/1"),
        route("any-v4", 5, "from: 0.0.0.0/0, to: 224.0.0.0/4"),
        route("odd", 6, "to: 203.0.113.64/27"),
    ]);
    let row = |name: &str, source, destination| {
        Row::new(format!("prefix: {name}"), &nested, v4(source, destination))
    };
    vec![
        row("a host", "10.1.2.3", "1.1.1.1").route("host").mark(1),
        row("the host before", "10.1.2.2", "1.1.1.1").route("subnet").mark(2),
        row("a subnet's first address", "10.1.2.0", "1.1.1.1").route("subnet").mark(2),
        row("a subnet's last address", "10.1.2.255", "1.1.1.1").route("subnet").mark(2),
        row("between the two subnets", "10.1.3.0", "1.1.1.1").route("half").mark(4),
        row("the second subnet's last", "10.1.7.255", "1.1.1.1").route("subnet").mark(2),
        row("behind the second subnet", "10.1.8.0", "1.1.1.1").route("half").mark(4),
        row("source and destination", "10.200.0.1", "192.0.2.200").route("pair").mark(3),
        row("the destination alone is not enough", "11.0.0.1", "192.0.2.200").route("half").mark(4),
        row("the last address of a /1 that a host may have", "126.255.255.255", "1.1.1.1")
            .route("half")
            .mark(4),
        row("behind a /1", "128.0.0.0", "1.1.1.1").by_default().dropped(Reason::Default),
        row("/0", "255.255.255.254", "239.255.255.255").route("any-v4").mark(5),
        row("a /27's first", "200.0.0.1", "203.0.113.64").route("odd").mark(6),
        row("a /27's last", "200.0.0.1", "203.0.113.95").route("odd").mark(6),
        row("before a /27", "200.0.0.1", "203.0.113.63").by_default().dropped(Reason::Default),
        row("behind a /27", "200.0.0.1", "203.0.113.96").by_default().dropped(Reason::Default),
    ]
}

fn prefixes_v6() -> Vec<Row> {
    let nested = policy(&[
        route("host", 1, "from: \"2001:db8::1\""),
        route("odd", 2, "from: \"2001:db8:0:0:8000::/65\""),
        route("net", 3, "from: [\"2001:db8::/64\", 10.0.0.0/8]"),
        route("site", 4, "to: \"2001:db8::/32\""),
        route("any-v6", 5, "from: \"::/0\", protocol: tcp"),
    ]);
    let row = |name: &str, source, destination| {
        Row::new(
            format!("prefix: IPv6 {name}"),
            &nested,
            Frame::new().ipv6(source, destination).udp(1, 2).bytes(),
        )
    };
    let tcp = Frame::new().ipv6("fe80::1", "fe80::2").tcp(1, 2).bytes();
    let tcp_v4 = Frame::new().ipv4("11.0.0.1", "10.0.0.1").tcp(1, 2).bytes();
    // 2001:db8:: in the first 32 bits of an IPv4 address.
    let alike = v4("32.1.13.184", "32.1.13.184");
    vec![
        row("a host", "2001:db8::1", "fe80::9").route("host").mark(1),
        row("the low half of a /64", "2001:db8::2", "fe80::9").route("net").mark(3),
        row("the last before a /65", "2001:db8::7fff:ffff:ffff:ffff", "fe80::9").route("net").mark(3),
        row("a /65's first", "2001:db8::8000:0:0:0", "fe80::9").route("odd").mark(2),
        row("the /64's last, in the /65", "2001:db8::ffff:ffff:ffff:ffff", "fe80::9").route("odd").mark(2),
        row("behind the /64", "2001:db8:0:1::", "fe80::9").by_default().dropped(Reason::Default),
        row("a destination", "fe80::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff").route("site").mark(4),
        row("behind the destination", "fe80::1", "2001:db9::").by_default().dropped(Reason::Default),
        Row::new("prefix: IPv6 ::/0", &nested, tcp).route("any-v6").mark(5),
        Row::new("prefix: ::/0 is not IPv4", &nested, tcp_v4).by_default().dropped(Reason::Default),
        Row::new("prefix: both families in one list", &nested, v4("10.9.9.9", "1.1.1.1"))
            .route("net")
            .mark(3),
        Row::new("prefix: IPv4 with the bits of an IPv6 prefix", &nested, alike)
            .by_default()
            .dropped(Reason::Default),
    ]
}

fn other_dimensions() -> Vec<Row> {
    let policy = policy(&[
        route("elsewhere", 1, &format!("interface: {TARGET}")),
        route(
            "six",
            2,
            &format!(
                "interface: {INTERFACE}, from: 10.0.0.0/8, to: 192.0.2.0/24, protocol: tcp, port: 80, source_port: 1024-65535"
            ),
        ),
        route("five", 3, "from: 10.0.0.0/8, to: 192.0.2.0/24, protocol: tcp, port: [80, 81]"),
        route("here", 4, &format!("interface: [{INTERFACE}, {TARGET}], protocol: tcp")),
        route("number", 5, "protocol: [89, sctp, icmp]"),
        route("icmpv6", 6, "protocol: icmpv6"),
        route("ports", 7, "protocol: udp, port: 53, source_port: 53"),
    ]);
    let tcp = |source, destination, from, to| Frame::new().ipv4(source, destination).tcp(from, to).bytes();
    let row = |name: &str, frame| Row::new(format!("dimension: {name}"), &policy, frame);
    let ip = || Frame::new().ipv4("172.16.0.1", "172.16.0.2");
    let v6 = || Frame::new().ipv6("2001:db8::1", "2001:db8::2");
    vec![
        row("all six", tcp("10.0.0.1", "192.0.2.1", 1024, 80)).route("six").mark(2),
        row("all but the source port", tcp("10.0.0.1", "192.0.2.1", 1023, 80)).route("five").mark(3),
        row("all but the port", tcp("10.0.0.1", "192.0.2.1", 1024, 82)).route("here").mark(4),
        row("all but the source", tcp("11.0.0.1", "192.0.2.1", 1024, 80)).route("here").mark(4),
        row("all but the protocol", Frame::new().ipv4("10.0.0.1", "192.0.2.1").udp(1024, 80).bytes())
            .by_default()
            .dropped(Reason::Default),
        row("a protocol by its number", ip().raw(89, &[1; 20]).bytes()).route("number").mark(5),
        row("SCTP by name", ip().sctp(1, 2).bytes()).route("number").mark(5),
        row("ICMP by name", ip().icmp(8, 0).bytes()).route("number").mark(5),
        row("ICMPv6 by name", v6().icmpv6(128, 0).bytes()).route("icmpv6").mark(6),
        row("both ports", ip().udp(53, 53).bytes()).route("ports").mark(7),
        row("one of both ports", ip().udp(54, 53).bytes()).by_default().dropped(Reason::Default),
        row(
            "a later fragment has no port 0",
            ip().raw(17, &[0, 53, 0, 53, 0, 9, 0, 0]).fragment(3, false).bytes(),
        )
        .by_default()
        .dropped(Reason::Default),
        row("TCP in IPv6, by interface", v6().tcp(53, 53).bytes()).route("here").mark(4),
    ]
}
