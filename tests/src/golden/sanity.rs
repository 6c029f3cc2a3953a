//! Headers that are whole and still cannot be right: flags, checksums, addresses.

use super::{MALFORMED_PASS, MARK_ALL, Row};
use crate::model::Counter;
use crate::packet::{ETHERNET, Extension, Frame};
use gateway_common::abi::Hook;
use gateway_common::reason::Reason::{self, *};

const VERIFY: &str =
    "version: 1\nchecksums: verify\nroutes:\n  - {name: all, mark: 0x77, action: pass}\ndefault: drop\n";
const VERIFY_PASS: &str = "version: 1\nchecksums: verify\nmalformed: pass\nroutes:\n  - {name: all, mark: 0x77, action: pass}\ndefault: drop\n";

const V4: (&str, &str) = ("198.51.100.7", "203.0.113.10");
const V6: (&str, &str) = ("2001:db8::7", "2001:db8:1::10");

type Case = (Reason, String, Vec<u8>);

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (reason, name, frame) in [flags(), land(), martian()].concat() {
        rows.extend(bad(reason, &name, &frame, MARK_ALL, MALFORMED_PASS));
    }
    for (reason, name, frame) in wrong_checksums() {
        rows.extend(bad(reason, &name, &frame, VERIFY, VERIFY_PASS).map(|row| row.at(Hook::Xdp)));
        // An skb may wait for its device to fill the checksum in: tc verifies none.
        let at_tc = Row::new(format!("sanity: {}, {name}, at tc", reason.name()), VERIFY, frame.clone());
        rows.push(at_tc.route("all").mark(0x77).at(Hook::TcIngress));
        let ignored = format!("sanity: {}, {name}, not verified", reason.name());
        rows.push(Row::marked(ignored, frame));
    }
    for (name, frame) in good_flags().into_iter().chain(good_addresses()) {
        rows.push(Row::marked(format!("sanity: {name}"), frame));
    }
    for (name, frame) in good_checksums() {
        let row = Row::new(format!("sanity: verified, {name}"), VERIFY, frame);
        rows.push(row.route("all").mark(0x77));
    }
    // Both hold: checksums are judged before addresses.
    let own = Frame::new().ip(V4.0, V4.0).udp(5, 5);
    let own = spoiled(&own, own.l4_offset() + 6);
    rows.extend(
        bad(UdpChecksum, "of a packet to itself", &own, VERIFY, VERIFY_PASS).map(|row| row.at(Hook::Xdp)),
    );
    // A neighbour's question passes whatever is in it.
    let mut discovery =
        Frame::new().ip("fe80::1", "fe80::1").icmpv6(135, 0).hop_limit(255).payload(20).bytes();
    discovery[ETHERNET + 42] ^= 1;
    rows.push(Row::new("sanity: neighbour discovery is not judged", VERIFY, discovery));
    rows
}

fn bad(reason: Reason, name: &str, frame: &[u8], dropping: &str, passing: &str) -> [Row; 2] {
    let row = |policy, what: &str| {
        let mut row = Row::new(format!("sanity: {}, {name}, {what}", reason.name()), policy, frame.to_vec());
        row.counter = Counter::Malformed;
        row.reason = Some(reason);
        row
    };
    [row(dropping, "dropped").dropped(reason), row(passing, "passed")]
}

fn ip(v4: bool) -> Frame {
    let (source, destination) = if v4 { V4 } else { V6 };
    Frame::new().ip(source, destination)
}

fn family(v4: bool) -> &'static str {
    if v4 { "IPv4" } else { "IPv6" }
}

fn flags() -> Vec<Case> {
    let mut cases = Vec::new();
    for v4 in [true, false] {
        for (name, flags) in [
            ("none", 0x00),
            ("all", 0xff),
            ("FIN alone", 0x01),
            ("SYN and FIN", 0x03),
            ("SYN and RST", 0x06),
            ("FIN, PSH and URG", 0x29),
            ("PSH alone", 0x08),
            ("URG alone", 0x20),
            ("RST and URG", 0x24),
            ("SYN, ACK and URG", 0x32),
            ("RST and FIN", 0x15),
            ("ECE and CWR alone", 0xc0),
        ] {
            let frame = ip(v4).tcp(1, 2).tcp_with(flags, 0).bytes();
            cases.push((TcpFlags, format!("{} {name}", family(v4)), frame));
        }
        let first = ip(v4).tcp(1, 2).tcp_with(0x03, 4).fragment(0, true).bytes();
        cases.push((TcpFlags, format!("{} first fragment", family(v4)), first));
    }
    // The header's length is judged before its flags.
    let both = ip(true).tcp(1, 2).tcp_with(0, 0).claim_data_offset(6).bytes();
    cases.push((TcpDataOffset, "no flag and too short".to_owned(), both));
    cases
}

fn good_flags() -> Vec<(String, Vec<u8>)> {
    let mut rows = Vec::new();
    for v4 in [true, false] {
        for flags in [0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30, 0x18, 0x38, 0xc2, 0xda, 0x0a] {
            let frame = ip(v4).tcp(1, 2).tcp_with(flags, 0).bytes();
            rows.push((format!("{} TCP flags {flags:#04x}", family(v4)), frame));
        }
    }
    rows
}

fn land() -> Vec<Case> {
    let mut cases = Vec::new();
    for (v4, address) in [(true, V4.1), (false, V6.1)] {
        let own = || Frame::new().ip(address, address);
        for (name, frame) in [
            ("TCP", own().tcp(139, 139)),
            ("UDP", own().udp(7, 7)),
            ("SCTP", own().sctp(7, 7)),
            ("without ports", own().raw(47, &[0; 8])),
            ("a later fragment", own().raw(17, &[0; 8]).fragment(9, false)),
            ("a first fragment", own().udp(7, 7).payload(8).fragment(0, true)),
            ("behind two tags", own().tag(1).tag(2).tcp(9, 9)),
        ] {
            cases.push((Land, format!("{} {name}", family(v4)), frame.bytes()));
        }
    }
    cases.push((Land, "IPv4 ICMP".to_owned(), Frame::new().ip(V4.0, V4.0).icmp(8, 0).bytes()));
    cases.push((Land, "IPv6 ICMPv6".to_owned(), Frame::new().ip(V6.0, V6.0).icmpv6(128, 0).bytes()));
    // Both hold: land is judged first.
    cases.push((
        Land,
        "IPv4 loopback".to_owned(),
        Frame::new().ip("127.0.0.1", "127.0.0.1").udp(1, 1).bytes(),
    ));
    cases.push((Land, "IPv6 loopback".to_owned(), Frame::new().ip("::1", "::1").udp(1, 1).bytes()));
    cases
}

fn martian() -> Vec<Case> {
    let v4 = [
        ("from 224.0.0.1", "224.0.0.1", V4.1),
        ("from 239.255.255.255", "239.255.255.255", V4.1),
        ("from 255.255.255.255", "255.255.255.255", V4.1),
        ("from 127.0.0.1", "127.0.0.1", V4.1),
        ("from 127.255.255.255", "127.255.255.255", V4.1),
        ("from 0.0.0.0", "0.0.0.0", V4.1),
        ("from 0.0.0.0 to a multicast group", "0.0.0.0", "224.0.0.1"),
        ("from 0.0.0.1", "0.0.0.1", "255.255.255.255"),
        ("from 0.255.255.255", "0.255.255.255", V4.1),
        ("to 127.0.0.1", V4.0, "127.0.0.1"),
        ("to 127.255.255.255", V4.0, "127.255.255.255"),
        ("to 0.0.0.0", V4.0, "0.0.0.0"),
        ("to 0.255.255.255", V4.0, "0.255.255.255"),
        ("loopback to loopback", "127.0.0.1", "127.0.0.2"),
    ];
    let v6 = [
        ("from ff02::1", "ff02::1", V6.1),
        ("from ff00::", "ff00::", V6.1),
        ("from the last multicast address", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", V6.1),
        ("from ::1", "::1", V6.1),
        ("to ::1", V6.0, "::1"),
        ("to ::", V6.0, "::"),
    ];
    let frames = |(name, source, destination): (&str, &str, &str)| {
        let ip = Frame::new().ip(source, destination);
        let (udp, later) = (ip.clone().udp(1, 2), ip.raw(17, &[0; 8]).fragment(9, false));
        [
            (Martian, name.to_owned(), udp.bytes()),
            (Martian, format!("{name}, a later fragment"), later.bytes()),
        ]
    };
    v4.into_iter().chain(v6).flat_map(frames).collect()
}

fn good_addresses() -> Vec<(String, Vec<u8>)> {
    let udp = |source, destination| Frame::new().ip(source, destination).udp(68, 67).bytes();
    [
        ("a host asks for an address", udp("0.0.0.0", "255.255.255.255")),
        ("behind loopback", udp("128.0.0.0", "126.255.255.255")),
        ("before multicast", udp("223.255.255.255", "224.0.0.1")),
        ("behind multicast", udp("240.0.0.1", "239.255.255.255")),
        ("behind 0/8", udp("1.0.0.0", "1.0.0.1")),
        ("to everybody", udp(V4.0, "255.255.255.255")),
        ("IPv6 without an address", udp("::", "ff02::1:2")),
        ("IPv6 before multicast", udp("feff:ffff::1", "ff02::1")),
        ("IPv6 behind loopback", udp("::2", "::3")),
        ("to itself, from another port", udp(V4.0, V4.0)),
        ("IPv6 to itself, from another port", udp(V6.0, V6.0)),
    ]
    .map(|(name, frame)| (name.to_owned(), frame))
    .into()
}

/// One byte of the frame changed.
fn spoiled(frame: &Frame, at: usize) -> Vec<u8> {
    let mut bytes = frame.bytes();
    bytes[at] ^= 0x01;
    bytes
}

fn wrong_checksums() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |reason, name: String, bytes| cases.push((reason, name, bytes));
    let udp = ip(true).udp(1, 2).payload(9);
    add(Ipv4Checksum, "its high byte".to_owned(), spoiled(&udp, ETHERNET + 10));
    add(Ipv4Checksum, "the identification".to_owned(), spoiled(&udp, ETHERNET + 5));
    let options = ip(true).options(10).tag(3).udp(1, 2);
    add(Ipv4Checksum, "the last option".to_owned(), spoiled(&options, ETHERNET + 4 + 59));
    let later = ip(true).raw(17, &[0; 8]).fragment(9, false);
    add(Ipv4Checksum, "of a later fragment".to_owned(), spoiled(&later, ETHERNET + 11));
    let mut both = spoiled(&udp, ETHERNET + 10);
    both[ETHERNET + 26] ^= 1;
    add(Ipv4Checksum, "before UDP's".to_owned(), both);
    for v4 in [true, false] {
        let name = |what: &str| format!("{} {what}", family(v4));
        for (what, payload) in [("no payload", 0), ("an odd payload", 7), ("a long payload", 1_400)] {
            for (reason, frame) in [
                (TcpChecksum, ip(v4).tcp(1, 2).tcp_with(0x18, 12).payload(payload)),
                (UdpChecksum, ip(v4).udp(1, 2).payload(payload)),
            ] {
                add(reason, name(what), spoiled(&frame, frame.l4_offset()));
                let last = frame.bytes().len() - 1;
                add(reason, name(&format!("{what}, its last byte")), spoiled(&frame, last));
            }
        }
        let trailer = ip(v4).udp(1, 2).payload(5).trailer(9);
        add(UdpChecksum, name("before padding"), spoiled(&trailer, trailer.l4_offset() + 12));
    }
    for (name, frame) in [("behind tags", ip(true).tag(1).tag(2)), ("behind options", ip(true).options(3))] {
        let frame = frame.tcp(1, 2).payload(11);
        add(TcpChecksum, name.to_owned(), spoiled(&frame, frame.l4_offset() + 16));
    }
    add(UdpChecksum, "IPv6 without one".to_owned(), without_udp_checksum(&ip(false).udp(1, 2).payload(4)));
    let echo = ip(true).icmp(8, 0).payload(56);
    add(IcmpChecksum, "of an echo request".to_owned(), spoiled(&echo, echo.l4_offset() + 2));
    let unknown = ip(true).icmp(250, 9).payload(3);
    add(IcmpChecksum, "of an unknown type".to_owned(), spoiled(&unknown, unknown.l4_offset() + 10));
    let echo = ip(false).icmpv6(128, 0).payload(56);
    add(Icmpv6Checksum, "of an echo request".to_owned(), spoiled(&echo, echo.l4_offset() + 3));
    add(Icmpv6Checksum, "of its source".to_owned(), spoiled(&echo, ETHERNET + 23));
    cases
}

fn without_udp_checksum(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.bytes();
    let at = frame.l4_offset() + 6;
    bytes[at..at + 2].fill(0);
    bytes
}

fn good_checksums() -> Vec<(String, Vec<u8>)> {
    let mut rows = Vec::new();
    for v4 in [true, false] {
        let mut add = |name: &str, bytes| rows.push((format!("{} {name}", family(v4)), bytes));
        for payload in [0, 1, 2, 7, 63, 64, 65, 500, 1_459] {
            add(&format!("TCP with {payload}"), ip(v4).tcp(1, 2).tcp_with(0x10, 9).payload(payload).bytes());
            add(&format!("UDP with {payload}"), ip(v4).udp(1, 2).payload(payload).bytes());
        }
        let echo = if v4 { ip(v4).icmp(8, 0) } else { ip(v4).icmpv6(128, 0) };
        add("ICMP", echo.clone().bytes());
        add("ICMP with an odd payload", echo.payload(57).bytes());
        add("UDP shorter than its packet", udp_in_longer_packet(v4));
        add("a later fragment has none", ip(v4).raw(6, &[1; 24]).fragment(9, true).bytes());
        let first = ip(v4).udp(1, 2).payload(16).fragment(0, true);
        add("nor has a first one alone", spoiled(&first, first.l4_offset() + 7));
        let sctp = ip(v4).sctp(1, 2).payload(16);
        add("SCTP is not verified", spoiled(&sctp, sctp.l4_offset() + 8));
        let other = ip(v4).raw(89, &[7; 30]);
        add("what is unknown is not verified", other.bytes());
        add("padding is not part of it", ip(v4).tcp(1, 2).payload(3).trailer(6).bytes());
        let longer = ip(v4).tcp(1, 2).payload(2_048);
        add("what is longer is not verified", spoiled(&longer, longer.l4_offset() + 17));
    }
    // A segment is left: the sum is made for another destination.
    let routed = ip(false).extension(Extension::Routing(3)).tcp(1, 2);
    let mut spoiled_routed = spoiled(&routed, routed.l4_offset() + 17);
    spoiled_routed[ETHERNET + 40 + 3] = 1;
    rows.push(("IPv6 on its way to another destination".to_owned(), spoiled_routed));
    for (name, extension) in
        [("options", Extension::HopByHop(1)), ("an atomic fragment header", Extension::Fragment(0, false))]
    {
        let behind = ip(false).extension(extension).udp(1, 2);
        let frame = spoiled(&behind, behind.l4_offset() + 7);
        rows.push((format!("IPv6 behind {name} is not verified"), frame));
    }
    let absent = without_udp_checksum(&ip(true).udp(1, 2).payload(4));
    rows.push(("IPv4 UDP without one".to_owned(), absent));
    rows.push((
        "IPv4 behind options and tags".to_owned(),
        ip(true).tag(1).tag(2).options(10).udp(1, 2).bytes(),
    ));
    let last = ip(true).tcp(1, 2).payload(2_048 - 40);
    rows.push(("IPv4, the longest that is verified".to_owned(), last.bytes()));
    rows
}

/// The UDP length ends before the packet, and the checksum is that of the shorter datagram.
fn udp_in_longer_packet(v4: bool) -> Vec<u8> {
    let mut frame = ip(v4).udp(1, 2).payload(6).bytes();
    let header = if v4 { 20 } else { 40 };
    frame.extend([0xab; 5]);
    let length = frame.len() - ETHERNET - if v4 { 0 } else { 40 };
    let at = ETHERNET + if v4 { 2 } else { 4 };
    frame[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes());
    if v4 {
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = crate::packet::checksum::internet(&[&frame[ETHERNET..ETHERNET + header]]);
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}
