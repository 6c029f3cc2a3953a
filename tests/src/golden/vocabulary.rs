//! Every component of a match, wanted and denied.

use super::{INTERFACE, Row, TARGET};
use crate::packet::{Extension, Frame};
use gateway_common::reason::Reason;

const V4: (&str, &str) = ("198.51.100.7", "203.0.113.10");
const V6: (&str, &str) = ("2001:db8::7", "2001:db8:1::10");

/// A component as a document names it, with frames of which it holds, or does not.
type Component = (String, Vec<(String, Frame, bool)>);

pub(super) fn rows() -> Vec<Row> {
    let all = [addresses(), ports(), icmp(), tcp_flags(), lengths(), classes(), fragments(), link(), hops()];
    let mut rows: Vec<Row> = all.concat().iter().flat_map(both_ways).collect();
    rows.extend(together());
    rows
}

/// Wanted, and denied: the packets of which it holds are just the others.
fn both_ways((component, frames): &Component) -> Vec<Row> {
    let policy = |matches: &str| {
        let route = format!("  - {{name: yes, match: {{{matches}}}, mark: 1, action: pass}}\n");
        format!("version: 1\nroutes:\n{route}default: drop\n")
    };
    let (wanted, denied) = (policy(component), policy(&format!("not: {{{component}}}")));
    let row = |what: &str, policy: &str, frame: &Frame, holds: bool| {
        let row = Row::new(format!("vocabulary: {component}, {what}"), policy, frame.bytes());
        if holds { row.route("yes").mark(1) } else { row.by_default().dropped(Reason::Default) }
    };
    let each = frames.iter().flat_map(|(name, frame, holds)| {
        [row(name, &wanted, frame, *holds), row(&format!("{name}, denied"), &denied, frame, !*holds)]
    });
    each.collect()
}

fn component(text: &str, frames: Vec<(String, Frame, bool)>) -> Component {
    (text.to_owned(), frames)
}

fn ip(v4: bool) -> Frame {
    let (source, destination) = if v4 { V4 } else { V6 };
    Frame::new().ip(source, destination)
}

fn family(v4: bool) -> &'static str {
    if v4 { "IPv4" } else { "IPv6" }
}

/// What stands behind an IP header, and whether the component holds of it.
type Shape<'a> = (&'a str, &'a dyn Fn(Frame) -> Frame, bool);

/// The same in both families.
fn in_both(frames: &[Shape<'_>]) -> Vec<(String, Frame, bool)> {
    let each = |v4| {
        frames.iter().map(move |(name, make, holds)| (format!("{} {name}", family(v4)), make(ip(v4)), *holds))
    };
    each(true).chain(each(false)).collect()
}

fn addresses() -> Vec<Component> {
    let from = |source: &str| {
        let destination = if source.contains(':') { V6.1 } else { V4.1 };
        Frame::new().ip(source, destination).udp(1, 2)
    };
    let to = |destination: &str| {
        let source = if destination.contains(':') { V6.0 } else { V4.0 };
        Frame::new().ip(source, destination).udp(1, 2)
    };
    let frames = |make: &dyn Fn(&str) -> Frame| {
        [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("2001:db8:7::", true),
            ("2001:db8:7:ffff::1", true),
            ("2001:db8:8::", false),
        ]
        .map(|(address, holds)| (address.to_owned(), make(address), holds))
        .to_vec()
    };
    vec![
        component("from: [10.0.0.0/8, \"2001:db8:7::/48\"]", frames(&from)),
        component("to: [10.0.0.0/8, \"2001:db8:7::/48\"]", frames(&to)),
        component(
            "from: 10.0.0.0/8",
            vec![("an address of the other family".to_owned(), from("2001:db8::1"), false)],
        ),
        component(
            "to: \"::/0\"",
            vec![
                ("an address of the other family".to_owned(), to("10.0.0.1"), false),
                ("any of its own".to_owned(), to("fe80::1"), true),
            ],
        ),
        component(
            &format!("interface: [{INTERFACE}]"),
            in_both(&[("arrives there", &|f| f.udp(1, 2), true)]),
        ),
        component(
            &format!("interface: [{TARGET}]"),
            in_both(&[("arrives elsewhere", &|f| f.udp(1, 2), false)]),
        ),
        component(
            "protocol: [tcp, 89]",
            in_both(&[
                ("TCP", &|f| f.tcp(1, 2), true),
                ("UDP", &|f| f.udp(1, 2), false),
                ("protocol 89", &|f| f.raw(89, &[1; 9]), true),
                ("protocol 0", &|f| f.raw(2, &[1; 9]), false),
                ("a later fragment of TCP", &|f| f.raw(6, &[0; 8]).fragment(9, false), true),
            ]),
        ),
    ]
}

fn ports() -> Vec<Component> {
    let later: &dyn Fn(Frame) -> Frame = &|f| f.raw(17, &[0, 53, 0, 53, 0, 8, 0, 0]).fragment(9, false);
    vec![
        component(
            "port: [53, 1000-2000]",
            in_both(&[
                ("UDP 53", &|f| f.udp(9, 53), true),
                ("TCP 1000", &|f| f.tcp(9, 1000), true),
                ("SCTP 2000", &|f| f.sctp(9, 2000), true),
                ("UDP 2001", &|f| f.udp(53, 2001), false),
                ("without ports", &|f| f.raw(89, &[0, 53, 0, 53]), false),
                ("a later fragment", later, false),
                ("a first fragment", &|f| f.udp(9, 53).payload(8).fragment(0, true), true),
            ]),
        ),
        component(
            "source_port: 53",
            in_both(&[
                ("UDP 53", &|f| f.udp(53, 9), true),
                ("UDP 54", &|f| f.udp(54, 53), false),
                ("without ports", &|f| f.raw(89, &[0, 53, 0, 53]), false),
                ("a later fragment", later, false),
            ]),
        ),
        component(
            "port: 0-65535",
            in_both(&[("UDP 0", &|f| f.udp(0, 0), true), ("without ports", &|f| f.raw(89, &[0; 8]), false)]),
        ),
    ]
}

fn icmp() -> Vec<Component> {
    let frames = |v4: bool, list: &[(u8, u8, bool)]| -> Vec<(String, Frame, bool)> {
        let make = |kind, code| if v4 { ip(true).icmp(kind, code) } else { ip(false).icmpv6(kind, code) };
        let name = |kind, code| format!("{} type {kind}, code {code}", family(v4));
        list.iter().map(|(kind, code, holds)| (name(*kind, *code), make(*kind, *code), *holds)).collect()
    };
    let others = || {
        vec![
            ("UDP to port 2048".to_owned(), ip(true).udp(1, 2048), false),
            ("ICMP's number in IPv6".to_owned(), ip(false).raw(1, &[8, 0, 0, 0, 0, 0, 0, 0]), false),
            (
                "a later fragment of ICMP".to_owned(),
                ip(true).raw(1, &[8, 0, 0, 0, 0, 0, 0, 0]).fragment(9, false),
                false,
            ),
        ]
    };
    vec![
        component(
            "icmp_type: [8, 128-129]",
            [
                frames(true, &[(8, 0, true), (7, 0, false), (9, 0, false), (128, 1, true)]),
                frames(false, &[(128, 0, true), (129, 0, true), (130, 8, false)]),
                others(),
            ]
            .concat(),
        ),
        component(
            "icmp_code: [0, 3-4]",
            [
                frames(true, &[(3, 3, true), (3, 4, true), (3, 1, false), (0, 0, true)]),
                frames(false, &[(1, 0, true), (1, 5, false)]),
                others(),
            ]
            .concat(),
        ),
        component("icmp_type: 3, icmp_code: 4", frames(true, &[(3, 4, true)])),
    ]
}

fn tcp_flags() -> Vec<Component> {
    let flags = |list: &[(u8, bool)]| -> Vec<(String, Frame, bool)> {
        let of = |v4| {
            list.iter().map(move |(flags, holds)| {
                (format!("{} {flags:#04x}", family(v4)), ip(v4).tcp(1, 2).tcp_with(*flags, 0), *holds)
            })
        };
        let udp = ("no TCP".to_owned(), ip(true).udp(0x0202, 0x0202), false);
        let later = ("a later fragment".to_owned(), ip(true).raw(6, &[2; 24]).fragment(9, false), false);
        of(true).chain(of(false)).chain([udp, later]).collect()
    };
    vec![
        component("tcp_flags: [syn]", flags(&[(0x02, true), (0x12, true), (0xc2, true), (0x10, false)])),
        component(
            "tcp_flags: [syn/syn+ack]",
            flags(&[(0x02, true), (0x12, false), (0xc2, true), (0x10, false)]),
        ),
        component("tcp_flags: [syn+ack]", flags(&[(0x02, false), (0x12, true), (0x10, false)])),
        component(
            "tcp_flags: [none/ack]",
            flags(&[(0x02, true), (0x04, true), (0x10, false), (0x12, false)]),
        ),
        component("tcp_flags: [rst, fin]", flags(&[(0x04, true), (0x11, true), (0x14, true), (0x10, false)])),
        component(
            "tcp_flags: [psh, ece, cwr, urg]",
            flags(&[(0x18, true), (0x50, true), (0x90, true), (0x30, true), (0x10, false)]),
        ),
    ]
}

fn lengths() -> Vec<Component> {
    vec![
        component(
            "length: [28, 100-200]",
            vec![
                ("28 in IPv4".to_owned(), ip(true).udp(1, 2), true),
                ("28 and padding".to_owned(), ip(true).udp(1, 2).trailer(32), true),
                ("28 behind tags".to_owned(), ip(true).tag(1).tag(2).udp(1, 2), true),
                ("29".to_owned(), ip(true).udp(1, 2).payload(1), false),
                ("100 in IPv6".to_owned(), ip(false).udp(1, 2).payload(52), true),
                ("99 in IPv6".to_owned(), ip(false).udp(1, 2).payload(51), false),
                ("200 with options".to_owned(), ip(true).options(10).udp(1, 2).payload(132), true),
                ("201 in IPv6".to_owned(), ip(false).udp(1, 2).payload(153), false),
                (
                    "100 with an extension header".to_owned(),
                    ip(false).extension(Extension::Destination(1)).udp(1, 2).payload(44),
                    true,
                ),
            ],
        ),
        component("length: 21-65535", in_both(&[("any", &|f| f.udp(1, 2), true)])),
    ]
}

fn classes() -> Vec<Component> {
    let class = |list: &[(u8, bool)]| -> Vec<(String, Frame, bool)> {
        let of = |v4| {
            list.iter().map(move |(class, holds)| {
                (format!("{} {class:#04x}", family(v4)), ip(v4).traffic_class(*class).udp(1, 2), *holds)
            })
        };
        of(true).chain(of(false)).collect()
    };
    let label = |list: &[(u32, bool)]| -> Vec<(String, Frame, bool)> {
        let each = list
            .iter()
            .map(|(label, holds)| (format!("{label:#x}"), ip(false).flow_label(*label).udp(1, 2), *holds));
        let dense = ("no flow label in IPv4".to_owned(), ip(true).traffic_class(0xff).udp(1, 2), false);
        let beside = (
            "beside the traffic class".to_owned(),
            ip(false).traffic_class(0xff).flow_label(1).udp(1, 2),
            list[0].0 <= 1 && list[0].1,
        );
        each.chain([dense, beside]).collect()
    };
    vec![
        component(
            "dscp: ef",
            class(&[(0xb8, true), (0xbb, true), (0xb4, false), (0xbc, false), (0x00, false)]),
        ),
        component(
            "dscp: [0, 10-12, cs7]",
            class(&[(0x00, true), (0x03, true), (0x28, true), (0x33, true), (0x34, false), (0xe0, true)]),
        ),
        component(
            "flow_label: [0, 100-200, 1048575]",
            label(&[(0, true), (100, true), (200, true), (201, false), (0xf_ffff, true), (0xf_fffe, false)])
                .into_iter()
                .filter(|(name, ..)| !name.starts_with("beside"))
                .collect(),
        ),
        component("flow_label: 1", label(&[(1, true), (2, false), (0x1_0001, false)])),
        component("flow_label: 0-1048575", label(&[(1, true), (0xf_ffff, true)])),
    ]
}

fn fragments() -> Vec<Component> {
    let v4 = |offset, more| {
        ip(true).raw(17, &[0, 1, 0, 2, 0, 24, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]).fragment(offset, more)
    };
    let v6 = |offset, more| {
        ip(false).raw(17, &[0, 1, 0, 2, 0, 24, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]).fragment(offset, more)
    };
    // Whole, whole and not to be fragmented, first, middle, last; then the last three in IPv6.
    let frames = |holds: [bool; 5]| {
        let [whole, dont, first, middle, last] = holds;
        vec![
            ("IPv4 whole".to_owned(), ip(true).may_be_fragmented().udp(1, 2), whole),
            ("IPv4 not to be fragmented".to_owned(), ip(true).udp(1, 2), dont),
            ("IPv4 first".to_owned(), v4(0, true), first),
            ("IPv4 middle".to_owned(), v4(9, true), middle),
            ("IPv4 last".to_owned(), v4(9, false), last),
            ("IPv6 whole".to_owned(), ip(false).udp(1, 2), whole),
            ("IPv6 atomic".to_owned(), ip(false).udp(1, 2).fragment(0, false), whole),
            ("IPv6 first".to_owned(), v6(0, true), first),
            ("IPv6 middle".to_owned(), v6(9, true), middle),
            ("IPv6 last".to_owned(), v6(9, false), last),
        ]
    };
    vec![
        component("fragment: dont", frames([false, true, false, false, false])),
        component("fragment: first", frames([false, false, true, false, false])),
        component("fragment: later", frames([false, false, false, true, true])),
        component("fragment: last", frames([false, false, false, false, true])),
        component("fragment: [dont, last]", frames([false, true, false, false, true])),
        component("fragment: [first, later]", frames([false, false, true, true, true])),
    ]
}

fn link() -> Vec<Component> {
    vec![
        component(
            "vlan: [100, 200-300]",
            in_both(&[
                ("no tag", &|f| f.udp(1, 2), false),
                ("tag 100", &|f| f.tag(100).udp(1, 2), true),
                ("tag 100 with a priority", &|f| f.tag_of(0x8100, 0xf064).udp(1, 2), true),
                ("service tag 300", &|f| f.tag_of(0x88a8, 300).udp(1, 2), true),
                ("tag 301", &|f| f.tag(301).udp(1, 2), false),
                ("tag 100 inside", &|f| f.tag(5).tag(100).udp(1, 2), false),
                ("tag 100 outside", &|f| f.tag(100).tag(5).udp(1, 2), true),
            ]),
        ),
        component(
            "vlan: untagged",
            in_both(&[
                ("no tag", &|f| f.udp(1, 2), true),
                ("tag 1", &|f| f.tag(1).udp(1, 2), false),
                ("a tag that bears only a priority", &|f| f.tag_of(0x8100, 0xe000).udp(1, 2), true),
                ("tag 4094", &|f| f.tag(4094).udp(1, 2), false),
            ]),
        ),
    ]
}

fn hops() -> Vec<Component> {
    vec![component(
        "ttl: [1, 64-128]",
        in_both(&[
            ("0", &|f| f.hop_limit(0).udp(1, 2), false),
            ("1", &|f| f.hop_limit(1).udp(1, 2), true),
            ("2", &|f| f.hop_limit(2).udp(1, 2), false),
            ("64", &|f| f.hop_limit(64).udp(1, 2), true),
            ("128", &|f| f.hop_limit(128).udp(1, 2), true),
            ("255", &|f| f.hop_limit(255).udp(1, 2), false),
        ]),
    )]
}

/// Several components, and one packet of a flow that fares otherwise than the one before.
fn together() -> Vec<Row> {
    let route = |name: &str, mark, matches: &str| {
        format!("  - {{name: {name}, match: {{{matches}}}, mark: {mark}, action: pass}}\n")
    };
    let policy = [
        "version: 1\nroutes:\n".to_owned(),
        route("probe", 1, "protocol: tcp, port: 80, tcp_flags: syn/syn+ack, length: 40-60, ttl: 1-64, not: {from: 10.0.0.0/8, dscp: ef}"),
        route("elsewhere", 2, "to: 203.0.113.0/24, not: {port: [80, 443], from: 10.1.0.0/16}"),
        route("odd", 3, "protocol: tcp, not: {tcp_flags: [ack, syn], fragment: [later]}"),
        route("rest", 4, "not: {vlan: untagged}"),
        "default: drop\n".to_owned(),
    ]
    .concat();
    let from = |source: &str| Frame::new().ip(source, V4.1);
    let row =
        |name: &str, frame: Frame| Row::new(format!("vocabulary: together, {name}"), &policy, frame.bytes());
    vec![
        row("all hold", from(V4.0).tcp(1, 80)).route("probe").mark(1),
        row("the same flow with ACK", from(V4.0).tcp(1, 80).tcp_with(0x10, 0))
            .by_default()
            .dropped(Reason::Default),
        row("the same flow with RST", from(V4.0).tcp(1, 80).tcp_with(0x04, 0)).route("odd").mark(3),
        row("the same flow, longer", from(V4.0).tcp(1, 80).payload(21)).by_default().dropped(Reason::Default),
        row("the same flow, with EF", from(V4.0).traffic_class(0xb8).tcp(1, 80))
            .by_default()
            .dropped(Reason::Default),
        row("the same flow, from afar", from(V4.0).hop_limit(65).tcp(1, 80))
            .by_default()
            .dropped(Reason::Default),
        row("a denied source", from("10.9.0.1").tcp(1, 80)).by_default().dropped(Reason::Default),
        row("another port", from("10.9.0.1").tcp(1, 81)).route("elsewhere").mark(2),
        row("both denied", from("10.1.0.1").udp(1, 443)).by_default().dropped(Reason::Default),
        row("one of both denied", from("10.1.0.1").udp(1, 444)).by_default().dropped(Reason::Default),
        row("without ports", from("10.9.0.1").raw(47, &[0; 4])).route("elsewhere").mark(2),
        row("a tag", Frame::new().tag(7).ip(V6.0, V6.1).udp(1, 2)).route("rest").mark(4),
        row("no tag", Frame::new().ip(V6.0, V6.1).udp(1, 2)).by_default().dropped(Reason::Default),
    ]
}
