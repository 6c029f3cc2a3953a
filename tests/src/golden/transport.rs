//! TCP, UDP, SCTP, ICMP and ICMPv6: the shortest, the longest, and the ports' edges.

use super::Row;
use crate::packet::Frame;
use gateway_common::reason::Reason;

const V4: (&str, &str) = ("198.51.100.7", "203.0.113.10");
const V6: (&str, &str) = ("2001:db8::7", "2001:db8:1::10");

const PORTS: &str = "\
version: 1
routes:
  - {name: edges, match: {protocol: [tcp, udp, sctp], port: [80, 443, 1000-2000, 65535]}, mark: 1, action: pass}
  - {name: from-edge, match: {protocol: [tcp, udp, sctp], source_port: [1, 60000-65535]}, mark: 2, action: pass}
default: drop
";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, (source, destination)) in [("IPv4", V4), ("IPv6", V6)] {
        let ip = Frame::new().ip(source, destination);
        for (name, frame) in [
            ("TCP without options", ip.clone().tcp(1, 2)),
            ("TCP with forty bytes of options", ip.clone().tcp(1, 2).tcp_with(0x18, 40)),
            ("TCP with options and payload", ip.clone().tcp(1, 2).tcp_with(0xd8, 12).payload(1400)),
            ("UDP without payload", ip.clone().udp(1, 2)),
            ("UDP shorter than the IP payload", ip.clone().udp(1, 2).payload(20).claim_udp_length(8)),
            (
                "UDP first fragment of a longer datagram",
                ip.clone().udp(1, 2).payload(24).fragment(0, true).claim_udp_length(4000),
            ),
            ("SCTP header alone", ip.clone().sctp(1, 2)),
            ("SCTP with a chunk", ip.clone().sctp(1, 2).payload(20)),
        ] {
            rows.push(Row::marked(format!("transport: {family} {name}"), frame.bytes()));
        }
        for (protocol, frame) in
            [("TCP", ip.clone().tcp(5, 80)), ("UDP", ip.clone().udp(5, 80)), ("SCTP", ip.clone().sctp(5, 80))]
        {
            let row = Row::new(format!("transport: {family} {protocol} to port 80"), PORTS, frame.bytes());
            rows.push(row.route("edges").mark(1));
        }
    }
    let udp = |source, destination| Frame::new().ip(V4.0, V4.1).udp(source, destination).bytes();
    for port in [80, 443, 1000, 1500, 2000, 65535] {
        rows.push(
            Row::new(format!("ports: {port} is in the list"), PORTS, udp(5, port)).route("edges").mark(1),
        );
    }
    for port in [0, 79, 81, 442, 444, 999, 2001, 65534] {
        let row = Row::new(format!("ports: {port} is beside the list"), PORTS, udp(5, port));
        rows.push(row.by_default().dropped(Reason::Default));
    }
    for port in [1, 60000, 65535] {
        rows.push(
            Row::new(format!("ports: source {port} is in the list"), PORTS, udp(port, 5))
                .route("from-edge")
                .mark(2),
        );
    }
    for port in [0, 2, 59999] {
        let row = Row::new(format!("ports: source {port} is beside the list"), PORTS, udp(port, 5));
        rows.push(row.by_default().dropped(Reason::Default));
    }
    for (name, frame) in [
        ("echo request", Frame::new().ip(V4.0, V4.1).icmp(8, 0).payload(56)),
        ("the shortest ICMP", Frame::new().ip(V4.0, V4.1).icmp(3, 4)),
        ("ICMPv6 echo request", Frame::new().ip(V6.0, V6.1).icmpv6(128, 0).payload(56)),
        ("the shortest ICMPv6", Frame::new().ip(V6.0, V6.1).raw(58, &[1, 0, 0, 0])),
        ("a later ICMP fragment", Frame::new().ip(V4.0, V4.1).raw(1, &[8]).fragment(9, false)),
    ] {
        rows.push(Row::marked(format!("icmp: {name}"), frame.bytes()));
    }
    let discovery = [
        ("router solicitation", 133),
        ("router advertisement", 134),
        ("neighbour solicitation", 135),
        ("neighbour advertisement", 136),
        ("redirect", 137),
    ];
    let drop_all = "version: 1\nroutes:\n  - {name: all, match: {}, action: drop}\ndefault: drop\n";
    for (name, kind) in discovery {
        let frame = Frame::new().ip("fe80::1", "ff02::1:ff00:2").icmpv6(kind, 0).payload(24);
        let near = frame.clone().hop_limit(255);
        rows.push(Row::new(format!("icmp: {name} passes whatever the policy"), drop_all, near.bytes()));
        let row = Row::new(format!("icmp: {name} from afar is judged"), drop_all, frame.bytes());
        rows.push(row.route("all").dropped(Reason::Route));
    }
    for (name, frame) in [
        ("a type before them", Frame::new().ip("fe80::1", "ff02::1").icmpv6(132, 0)),
        ("a type behind them", Frame::new().ip("fe80::1", "ff02::1").icmpv6(138, 0)),
        (
            "a first fragment of one",
            Frame::new().ip("fe80::1", "fe80::2").icmpv6(135, 0).fragment(0, true).payload(16),
        ),
    ] {
        let row =
            Row::new(format!("icmp: {name} is judged"), drop_all, frame.hop_limit(255).payload(16).bytes());
        rows.push(row.route("all").dropped(Reason::Route));
    }
    // Type and code stand where a port would: no port route may match them.
    let echo = Frame::new().ip(V4.0, V4.1).icmp(8, 0);
    let policy = "version: 1\nroutes:\n  - {name: port, match: {protocol: icmp}, mark: 3, action: pass}\n  - {name: n, match: {protocol: udp, port: 2048}, action: drop}\n";
    rows.push(Row::new("icmp: type 8 code 0 is not port 2048", policy, echo.bytes()).route("port").mark(3));
    rows
}
