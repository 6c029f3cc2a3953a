//! Limits: sequences of packets at given times, and what becomes of each.

use super::{Row, Sequence, Step, TARGET};
use crate::model::Member;
use crate::packet::Frame;
use gateway_common::reason::Reason;

const MILLISECOND: u64 = 1_000_000;

/// What a step's packet meets with.
#[derive(Clone, Copy)]
enum Fate {
    /// Within the limits, or over one that only counts.
    Ok,
    /// Over one that drops.
    Over,
    /// Its sender is banned.
    Banned,
}
use Fate::{Banned, Ok, Over};

/// A packet at a time in milliseconds.
type Shot = (u64, Frame, Fate);

pub(super) fn document(labels: &str, limits: &str, limit: &str) -> String {
    format!(
        "version: 1\n{labels}{limits}routes:\n  - {{name: web, match: {{to: [203.0.113.0/24, \"2001:db8:1::/48\"]}}, limit: {limit}, action: pass}}\ndefault: drop\n"
    )
}

fn sequence(name: &str, policy: &str, shots: Vec<Shot>) -> Sequence {
    let step = |(i, (at_ms, frame, fate)): (usize, Shot)| {
        let row = Row::new(format!("limits: {name}, packet {}", i + 1), policy, frame.bytes()).route("web");
        let row = match fate {
            Ok => row,
            Over => row.dropped(Reason::Limit),
            Banned => row.dropped(Reason::Banned),
        };
        Step { at_ns: at_ms * MILLISECOND, row }
    };
    Sequence { name: format!("limits: {name}"), steps: shots.into_iter().enumerate().map(step).collect() }
}

fn from(source: &str) -> Frame {
    Frame::new().ip(source, if source.contains(':') { "2001:db8:1::10" } else { "203.0.113.10" })
}

/// An IPv4 UDP packet, and an IPv6 one.
fn v4() -> Frame {
    from("198.51.100.7").udp(9, 80)
}

fn v6() -> Frame {
    from("2001:db8::7").udp(9, 80)
}

pub(super) fn sequences() -> Vec<Sequence> {
    [quantities(), connections(), keys(), order(), over(), bans(), names()].concat()
}

fn quantities() -> Vec<Sequence> {
    let one = |limit: &str| document("", "", limit);
    // 100 bytes of frame each.
    let (hundred, hundred_v6) = (v4().payload(58), v6().payload(38));
    let long = v4().payload(1_458);
    vec![
        sequence(
            "packets",
            &one("{rate: 10pps, burst: 3}"),
            vec![
                (0, v4(), Ok),
                (0, v6(), Ok),
                (0, v4(), Ok),
                (0, v4(), Over),
                (99, v6(), Over),
                (101, v6(), Ok),
                (101, v4(), Over),
                (201, v4(), Ok),
                (10_000, v4(), Ok),
                (10_000, v4(), Ok),
                (10_000, v4(), Ok),
                (10_000, v4(), Over),
            ],
        ),
        sequence(
            "packets, one at a time",
            &one("{rate: 1pps, burst: 1}"),
            vec![
                (0, v4(), Ok),
                (0, v4(), Over),
                (999, v4(), Over),
                (1_001, v4(), Ok),
                (2_000, v4(), Over),
                (2_002, v4(), Ok),
            ],
        ),
        sequence(
            "packets, after a year",
            &one("{rate: 1pps, burst: 2}"),
            vec![
                (0, v4(), Ok),
                (0, v4(), Ok),
                (31_536_000_000, v4(), Ok),
                (31_536_000_000, v4(), Ok),
                (31_536_000_000, v4(), Over),
            ],
        ),
        sequence(
            "bytes",
            &one("{rate: 8kbit, burst: 300B}"),
            vec![
                (0, hundred.clone(), Ok),
                (0, hundred_v6.clone(), Ok),
                (0, hundred.clone(), Ok),
                (0, hundred.clone(), Over),
                (50, hundred.clone(), Over),
                // 60 bytes are there, and the frame has so many.
                (60, v4().payload(18), Ok),
                (159, hundred.clone(), Over),
                (161, hundred.clone(), Ok),
            ],
        ),
        sequence(
            "bytes, dearer than the bucket",
            &one("{rate: 8kbit, burst: 300B}"),
            vec![
                (0, long.clone(), Ok),
                (0, long.clone(), Over),
                // The debt of 1,200 bytes is paid.
                (1_100, hundred.clone(), Over),
                (1_301, hundred.clone(), Ok),
                (1_400, long.clone(), Over),
                (1_701, long, Ok),
            ],
        ),
        sequence(
            "new connections",
            &one("{rate: 1cps, burst: 2}"),
            vec![
                (0, from("198.51.100.7").tcp(1, 80), Ok),
                (0, from("198.51.100.7").tcp(1, 80).tcp_with(0x10, 0), Ok),
                (0, from("2001:db8::7").tcp(1, 80), Ok),
                (0, from("198.51.100.8").tcp(1, 80), Over),
                (0, from("198.51.100.8").tcp(1, 80).tcp_with(0x12, 0), Ok),
                (0, from("198.51.100.8").tcp(1, 80).tcp_with(0x18, 0).payload(100), Ok),
                (1_001, from("198.51.100.8").udp(1, 80), Ok),
                // A flow that is known opens nothing.
                (1_001, from("198.51.100.8").udp(1, 80), Ok),
                (1_001, from("198.51.100.8").udp(2, 80), Over),
                (1_001, from("198.51.100.8").raw(47, &[0; 4]), Over),
            ],
        ),
    ]
}

fn connections() -> Vec<Sequence> {
    let tcp = |port, flags| from("198.51.100.7").tcp(port, 80).tcp_with(flags, 0);
    vec![
        sequence(
            "open connections",
            &document("", "", "{connections: 2}"),
            vec![
                (0, tcp(1, 0x02), Ok),
                (0, tcp(1, 0x10), Ok),
                (1, tcp(2, 0x02), Ok),
                (2, tcp(3, 0x02), Over),
                (3, tcp(2, 0x02), Ok),
                (4, tcp(2, 0x04), Ok),
                (5, tcp(3, 0x02), Ok),
                (6, tcp(4, 0x02), Over),
                // Nothing but a SYN for half a minute.
                (31_000, tcp(4, 0x02), Ok),
            ],
        ),
        sequence(
            "open connections by source",
            &document("", "", "{connections: 1, per: source}"),
            vec![
                (0, from("198.51.100.7").tcp(1, 80), Ok),
                (0, from("198.51.100.7").tcp(2, 80), Over),
                (0, from("198.51.100.8").tcp(2, 80), Ok),
                (0, from("2001:db8::7").tcp(2, 80), Ok),
                (0, from("2001:db8::7").tcp(3, 80), Over),
            ],
        ),
    ]
}

fn keys() -> Vec<Sequence> {
    let labels = "labels: {a: [10.0.0.0/8], b: [10.1.0.0/16, \"2001:db8::/32\"], c: []}\n";
    let to = |destination: &str| {
        Frame::new()
            .ip(if destination.contains(':') { "2001:db8::7" } else { "198.51.100.7" }, destination)
            .udp(9, 80)
    };
    let udp = |source| from(source).udp(9, 80);
    let mut by_label = sequence(
        "by label",
        &document(labels, "", "{rate: 1pps, burst: 1, per: label}"),
        vec![
            (0, udp("10.2.0.1"), Ok),
            (0, udp("10.3.0.1"), Over),
            (0, udp("10.1.0.1"), Ok),
            (0, udp("10.1.0.2"), Over),
            (0, udp("2001:db8::1"), Ok),
            (0, udp("2001:db8::2"), Over),
            // Without a label.
            (0, udp("198.51.100.1"), Ok),
            (0, udp("2001:db9::1"), Over),
            // A live member: its set is another one.
            (0, udp("10.9.0.1"), Ok),
            (0, udp("10.9.0.2"), Over),
        ],
    );
    let member = Member {
        label: "c".to_owned(),
        prefix: "10.9.0.0/16".parse().unwrap_or_else(|_| panic!("a prefix")),
        expired: false,
    };
    for step in &mut by_label.steps {
        step.row.members = vec![member.clone()];
    }
    vec![
        by_label,
        sequence(
            "by source",
            &document("", "", "{rate: 1pps, burst: 1, per: source}"),
            vec![
                (0, udp("198.51.100.7"), Ok),
                (0, udp("198.51.100.7"), Over),
                (0, udp("198.51.100.8"), Ok),
                (0, udp("2001:db8::7"), Ok),
                (0, udp("2001:db8::7"), Over),
                (0, udp("2001:db8::8"), Ok),
                // The same bits in the other family.
                (0, udp("32.1.13.184"), Ok),
                (1_001, udp("198.51.100.7"), Ok),
            ],
        ),
        sequence(
            "by source prefix",
            &document("", "", "{rate: 1pps, burst: 1, per: source, ipv4_prefix: 24, ipv6_prefix: 48}"),
            vec![
                (0, udp("198.51.100.7"), Ok),
                (0, udp("198.51.100.255"), Over),
                (0, udp("198.51.101.0"), Ok),
                (0, udp("2001:db8:7::1"), Ok),
                (0, udp("2001:db8:7:ffff::"), Over),
                (0, udp("2001:db8:8::"), Ok),
                (0, udp("2001:db8::1"), Ok),
                // The first 48 bits of that one, in the other family.
                (0, udp("32.1.13.184"), Ok),
            ],
        ),
        sequence(
            "by destination",
            &document("", "", "{rate: 1pps, burst: 1, per: destination, ipv4_prefix: 31}"),
            vec![
                (0, to("203.0.113.10"), Ok),
                (0, to("203.0.113.11"), Over),
                (0, to("203.0.113.12"), Ok),
                (0, to("2001:db8:1::10"), Ok),
                (0, to("2001:db8:1::11"), Ok),
                (0, to("2001:db8:1::11"), Over),
            ],
        ),
    ]
}

fn order() -> Vec<Sequence> {
    let (one, other) = (from("198.51.100.7").udp(9, 80), from("198.51.100.8").udp(9, 80));
    vec![
        // What the second refuses, the first has charged.
        sequence(
            "two in order",
            &document("", "", "[{rate: 1pps, burst: 3}, {rate: 1pps, burst: 1, per: source}]"),
            vec![
                (0, one.clone(), Ok),
                (0, one.clone(), Over),
                (0, one.clone(), Over),
                (0, other.clone(), Over),
            ],
        ),
        // What the first refuses, the second never sees.
        sequence(
            "two in the other order",
            &document("", "", "[{rate: 1pps, burst: 1, per: source}, {rate: 1pps, burst: 3}]"),
            vec![
                (0, one.clone(), Ok),
                (0, one.clone(), Over),
                (0, one, Over),
                (0, other, Ok),
                (0, from("2001:db8::7").udp(9, 80), Ok),
                (0, from("2001:db8::8").udp(9, 80), Over),
            ],
        ),
    ]
}

fn over() -> Vec<Sequence> {
    let counted = sequence(
        "over, counted",
        &document("", "", "[{rate: 1pps, burst: 1, over: count}, {rate: 1pps, burst: 3}]"),
        vec![(0, v4(), Ok), (0, v4(), Ok), (0, v6(), Ok), (0, v6(), Over)],
    );
    [vec![counted], demoted()].concat()
}

/// What is over goes on with another DSCP and mark, whatever the action.
fn demoted() -> Vec<Sequence> {
    let limit = "[{rate: 1pps, burst: 1, over: {dscp: cs1, mark: 0x20}}, {rate: 1pps, burst: 2, over: {mark: 0x30}}, {rate: 1pps, burst: 3}]";
    let policy = |action: &str| {
        format!(
            "version: 1\nroutes:\n  - {{name: web, dscp: ef, mark: 0x10, priority: 5, limit: {limit}, action: {action}}}\n"
        )
    };
    let mut sequences = Vec::new();
    for (action, redirect, back) in
        [("pass", false, false), ("tx", false, true), ("{redirect: gold1}", true, false)]
    {
        for (family, ip) in [("IPv4", from("198.51.100.7")), ("IPv6", from("2001:db8::7"))] {
            let name = format!("limits: demoted, {family}, {action}");
            let policy = policy(action);
            let frame = |class| ip.clone().traffic_class(class).tcp(9, 80).bytes();
            let row = |packet: usize, mark, class| {
                let row = Row::new(format!("{name}, packet {packet}"), &policy, frame(0x02)).route("web");
                let row = row.comes_out_as(frame(class)).mark(mark).priority(5);
                match (redirect, back) {
                    (true, _) => row.redirected(TARGET),
                    (_, true) => row.sent_back(),
                    _ => row,
                }
            };
            let last = Row::new(format!("{name}, packet 4"), &policy, frame(0x02))
                .route("web")
                .dropped(Reason::Limit);
            // EF is 46 and CS1 is 8; ECN says 2.
            let rows = [row(1, 0x10, 0xba), row(2, 0x20, 0x22), row(3, 0x30, 0x22), last];
            let steps = rows.into_iter().map(|row| Step { at_ns: 0, row }).collect();
            sequences.push(Sequence { name, steps });
        }
    }
    sequences
}

fn bans() -> Vec<Sequence> {
    let (bad, other) = (from("198.51.100.7"), from("198.51.100.8"));
    let (bad_v6, beside) = (from("2001:db8::7"), from("2001:db8::1:0:0:8"));
    let tcp = |port, flags| from("198.51.100.7").tcp(port, 80).tcp_with(flags, 0);
    vec![
        sequence(
            "a ban after two",
            &document("", "", "{rate: 10pps, burst: 1, per: source, ban: {for: 10m, after: 2}}"),
            vec![
                (0, bad.clone().udp(9, 80), Ok),
                (1, bad.clone().udp(9, 80), Over),
                (2, bad.clone().udp(9, 80), Over),
                (3, bad.clone().udp(9, 80), Banned),
                (4, bad.clone().tcp(9, 81), Banned),
                (5, other.clone().udp(9, 80), Ok),
                (599_999, bad.clone().udp(9, 80), Banned),
                (600_003, bad.clone().udp(9, 80), Ok),
                (600_004, bad.clone().udp(9, 80), Over),
                (600_104, bad.clone().udp(9, 80), Ok),
            ],
        ),
        sequence(
            "a ban at once, of a prefix",
            &document("", "", "{rate: 1pps, burst: 1, per: source, ipv6_prefix: 64, ban: 90s}"),
            vec![
                (0, bad_v6.clone().udp(9, 80), Ok),
                (0, beside.clone().udp(9, 80), Over),
                (1, bad_v6.clone().udp(9, 80), Banned),
                (89_999, beside.clone().udp(9, 80), Banned),
                (90_001, beside.udp(9, 80), Ok),
                (90_002, bad_v6.udp(9, 80), Over),
            ],
        ),
        sequence(
            "refusals before the bucket was full are forgotten",
            &document("", "", "{rate: 10pps, burst: 1, per: source, ban: {for: 10m, after: 2}}"),
            vec![
                (0, bad.clone().udp(9, 80), Ok),
                (1, bad.clone().udp(9, 80), Over),
                (200, bad.clone().udp(9, 80), Ok),
                (201, bad.clone().udp(9, 80), Over),
                (400, bad.clone().udp(9, 80), Ok),
                (401, bad.clone().udp(9, 80), Over),
                (402, bad.udp(9, 80), Over),
                (403, other.udp(9, 80), Ok),
            ],
        ),
        sequence(
            "a ban by new connections holds for all packets",
            &document("", "", "{rate: 1cps, burst: 1, per: source, ban: 1m}"),
            vec![
                (0, tcp(1, 0x02), Ok),
                (0, tcp(1, 0x10), Ok),
                (0, tcp(2, 0x02), Over),
                (1, tcp(1, 0x10), Banned),
                (60_001, tcp(1, 0x10), Ok),
            ],
        ),
    ]
}

/// A named limit is one, whichever routes name it, and outlives a change of policy.
fn names() -> Vec<Sequence> {
    let policy = |more: &str| {
        format!(
            "version: 1\nlimits: {{shared: {{rate: 1pps, burst: 3}}}}\nroutes:\n\
             {more}\
             \x20 - {{name: tcp, match: {{protocol: tcp}}, limit: shared, action: pass}}\n\
             \x20 - {{name: udp, match: {{protocol: udp}}, limit: [shared, {{rate: 1pps, burst: 2}}], action: pass}}\n"
        )
    };
    let (before, after) =
        (policy(""), policy("  - {name: icmp, match: {protocol: [icmp, icmpv6]}, action: drop}\n"));
    let tcp = || from("198.51.100.7").tcp(9, 80).bytes();
    let udp = || from("2001:db8::7").udp(9, 80).bytes();
    let row = |i: usize, policy: &str, frame, route| {
        Row::new(format!("limits: a named one, packet {i}"), policy, frame).route(route)
    };
    let rows = vec![
        (0, row(1, &before, tcp(), "tcp")),
        (0, row(2, &before, udp(), "udp")),
        (0, row(3, &after, tcp(), "tcp")),
        (0, row(4, &after, udp(), "udp").dropped(Reason::Limit)),
        (0, row(5, &before, tcp(), "tcp").dropped(Reason::Limit)),
        (1_001, row(6, &after, udp(), "udp")),
    ];
    let steps = rows.into_iter().map(|(at_ms, row)| Step { at_ns: at_ms * MILLISECOND, row }).collect();
    vec![Sequence { name: "limits: a named one".to_owned(), steps }]
}
