//! What is cut short, lies or contradicts itself: dropped with its reason, or passed and counted.

use super::{MALFORMED_PASS, MARK_ALL, Row};
use crate::model::Counter;
use crate::packet::{Extension::*, Frame};
use gateway_common::reason::Reason::{self, *};

fn ip4() -> Frame {
    Frame::new().ipv4("198.51.100.7", "203.0.113.10")
}

fn ip6() -> Frame {
    Frame::new().ipv6("2001:db8::7", "2001:db8:1::10")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (reason, name, frame) in [link(), ipv4(), ipv6(), transport()].concat() {
        let row = |policy, what: &str| {
            let mut row =
                Row::new(format!("malformed: {}, {name}, {what}", reason.name()), policy, frame.clone());
            row.counter = Counter::Malformed;
            row.reason = Some(reason);
            row
        };
        rows.push(row(MARK_ALL, "dropped").dropped(reason));
        rows.push(row(MALFORMED_PASS, "passed"));
    }
    rows
}

type Case = (Reason, &'static str, Vec<u8>);

fn link() -> Vec<Case> {
    let udp = || ip4().udp(1, 2);
    vec![
        (EthTruncated, "13 bytes", udp().cut(13)),
        (EthTruncated, "two bytes", udp().cut(2)),
        (VlanTruncated, "nothing behind the EtherType", udp().tag(1).cut(14)),
        (VlanTruncated, "one tag, 3 bytes of it", udp().tag(1).cut(17)),
        (VlanTruncated, "the second tag is missing", udp().tag(1).tag(2).cut(18)),
        (VlanTruncated, "the second tag, 1 byte of it", udp().tag(1).tag(2).cut(19)),
        (VlanDepth, "three tags", udp().tag(1).tag(2).tag(3).bytes()),
        (VlanDepth, "three tags, ARP", Frame::new().other(0x0806, &[0; 28]).tag(1).tag(2).tag(3).bytes()),
        (VlanDepth, "the third tag is cut", udp().tag(1).tag(2).tag(3).cut(22)),
    ]
}

fn ipv4() -> Vec<Case> {
    let udp = || ip4().udp(1, 2).payload(12);
    let raw = |bytes: &[u8]| ip4().raw(17, bytes);
    vec![
        (Ipv4Truncated, "no byte", udp().cut(14)),
        (Ipv4Truncated, "one byte", udp().cut(15)),
        (Ipv4Truncated, "19 bytes", udp().cut(33)),
        (Ipv4Truncated, "19 bytes behind two tags", udp().tag(1).tag(2).cut(41)),
        (Ipv4Version, "version 6", udp().claim_version(6).bytes()),
        (Ipv4Version, "version 0", udp().claim_version(0).bytes()),
        (
            Ipv4Version,
            "an IPv6 packet under IPv4's EtherType",
            ip6().udp(1, 2).claim_ethertype(0x0800).bytes(),
        ),
        (Ipv4HeaderLength, "four words", udp().claim_header_words(4).bytes()),
        (Ipv4HeaderLength, "no word", udp().claim_header_words(0).bytes()),
        (Ipv4TotalLength, "0", udp().claim_length(0).bytes()),
        (Ipv4TotalLength, "one byte less than the header", udp().claim_length(19).bytes()),
        (Ipv4TotalLength, "less than header and options", udp().options(3).claim_length(31).bytes()),
        (Ipv4BeyondFrame, "one byte more than there is", udp().claim_length(41).bytes()),
        (Ipv4BeyondFrame, "65,535", udp().claim_length(65535).bytes()),
        (Ipv4BeyondFrame, "the frame is cut by a byte", udp().cut(53)),
        (Ipv4BeyondFrame, "the frame ends inside the options", udp().options(5).cut(14 + 39)),
        (Ipv4FragmentOverrun, "the highest offset", raw(&[0; 16]).fragment(8191, false).bytes()),
        (Ipv4FragmentOverrun, "by one byte", raw(&[0; 4]).fragment(8189, false).bytes()),
        (Ipv4FragmentOverrun, "by its options", raw(&[0; 3]).options(1).fragment(8189, false).bytes()),
        (Ipv4FragmentLength, "nine bytes", raw(&[0; 9]).fragment(4, true).bytes()),
        (
            Ipv4FragmentLength,
            "a first fragment of 21 bytes",
            ip4().udp(1, 2).payload(13).fragment(0, true).bytes(),
        ),
    ]
}

fn ipv6() -> Vec<Case> {
    let udp = || ip6().udp(1, 2).payload(12);
    let six = || (0..6).fold(udp(), |frame, _| frame.extension(Destination(1)));
    vec![
        (Ipv6Truncated, "no byte", udp().cut(14)),
        (Ipv6Truncated, "39 bytes", udp().cut(53)),
        (Ipv6Truncated, "39 bytes behind a tag", udp().tag(1).cut(57)),
        (Ipv6Version, "version 4", udp().claim_version(4).bytes()),
        (
            Ipv6Version,
            "an IPv4 packet under IPv6's EtherType",
            ip4().udp(1, 2).payload(40).claim_ethertype(0x86dd).bytes(),
        ),
        (Ipv6BeyondFrame, "one byte more than there is", udp().claim_length(21).bytes()),
        (Ipv6BeyondFrame, "65,535", udp().claim_length(65535).bytes()),
        (Ipv6BeyondFrame, "the frame is cut by a byte", udp().cut(73)),
        (
            Ipv6ExtensionTruncated,
            "hop-by-hop options missing",
            udp().extension(HopByHop(1)).claim_length(0).bytes(),
        ),
        (
            Ipv6ExtensionTruncated,
            "one byte of destination options",
            udp().extension(Destination(1)).claim_length(1).bytes(),
        ),
        (
            Ipv6ExtensionTruncated,
            "7 bytes of a fragment header",
            udp().fragment(0, false).claim_length(7).bytes(),
        ),
        (
            Ipv6ExtensionTruncated,
            "a routing header longer than the packet",
            udp().extension(Routing(5)).claim_length(39).bytes(),
        ),
        (
            Ipv6ExtensionTruncated,
            "an authentication header longer than the packet",
            udp().extension(Authentication(7)).claim_length(27).bytes(),
        ),
        (
            Ipv6ExtensionTruncated,
            "the second",
            udp().extension(HopByHop(1)).extension(Destination(2)).claim_length(20).bytes(),
        ),
        (Ipv6ExtensionDepth, "seven", six().extension(Destination(1)).bytes()),
        (Ipv6ExtensionDepth, "the seventh is a fragment header", six().fragment(0, false).bytes()),
        (Ipv6ExtensionDepth, "the seventh is hop-by-hop options", six().extension(HopByHop(1)).bytes()),
        (
            Ipv6HopByHopOrder,
            "behind destination options",
            udp().extension(Destination(1)).extension(HopByHop(1)).bytes(),
        ),
        (Ipv6HopByHopOrder, "twice", udp().extension(HopByHop(1)).extension(HopByHop(1)).bytes()),
        (
            Ipv6FragmentOverrun,
            "the highest offset and eight bytes",
            ip6().raw(17, &[0; 8]).fragment(8191, false).bytes(),
        ),
        (
            Ipv6FragmentOverrun,
            "by the header before it",
            ip6().raw(17, &[0; 7]).extension(HopByHop(1)).fragment(8191, false).bytes(),
        ),
        (Ipv6FragmentLength, "nine bytes", ip6().raw(17, &[0; 9]).fragment(4, true).bytes()),
        (
            Ipv6FragmentLength,
            "a first fragment of 21 bytes",
            ip6().udp(1, 2).payload(13).fragment(0, true).bytes(),
        ),
    ]
}

fn transport() -> Vec<Case> {
    let mut cases = Vec::new();
    for (ip, v4) in [(ip4(), true), (ip6(), false)] {
        let name = |four, six| if v4 { four } else { six };
        let mut add = |reason, what, frame: Frame| cases.push((reason, what, frame.bytes()));
        add(TcpTruncated, name("IPv4, no byte", "IPv6, no byte"), ip.clone().raw(6, &[]));
        add(TcpTruncated, name("IPv4, 19 bytes", "IPv6, 19 bytes"), ip.clone().raw(6, &[0x50; 19]));
        add(
            TcpTruncated,
            name("IPv4, a first fragment of 16", "IPv6, a first fragment of 16"),
            ip.clone().raw(6, &[0x50; 16]).fragment(0, true),
        );
        add(
            TcpTruncated,
            name("IPv4, padding does not count", "IPv6, padding does not count"),
            ip.clone().raw(6, &[0x50; 19]).trailer(40),
        );
        add(
            TcpDataOffset,
            name("IPv4, four words", "IPv6, four words"),
            ip.clone().tcp(1, 2).claim_data_offset(4),
        );
        add(
            TcpDataOffset,
            name("IPv4, beyond the packet", "IPv6, beyond the packet"),
            ip.clone().tcp(1, 2).claim_data_offset(6),
        );
        add(
            TcpDataOffset,
            name(
                "IPv4, a first fragment with half its options",
                "IPv6, a first fragment with half its options",
            ),
            ip.clone().tcp(1, 2).payload(4).claim_data_offset(15).fragment(0, true),
        );
        add(TcpTinyFragment, name("IPv4", "IPv6"), ip.clone().raw(6, &[0; 16]).fragment(1, true));
        add(
            TcpTinyFragment,
            name("IPv4, the last one", "IPv6, the last one"),
            ip.clone().raw(6, &[0; 3]).fragment(1, false),
        );
        add(UdpTruncated, name("IPv4, no byte", "IPv6, no byte"), ip.clone().raw(17, &[]));
        add(UdpTruncated, name("IPv4, 7 bytes", "IPv6, 7 bytes"), ip.clone().raw(17, &[0; 7]));
        add(UdpLength, name("IPv4, 7", "IPv6, 7"), ip.clone().udp(1, 2).payload(9).claim_udp_length(7));
        add(UdpLength, name("IPv4, 0", "IPv6, 0"), ip.clone().udp(1, 2).payload(9).claim_udp_length(0));
        add(
            UdpLength,
            name("IPv4, one more than there is", "IPv6, one more than there is"),
            ip.clone().udp(1, 2).payload(9).claim_udp_length(18),
        );
        add(
            UdpLength,
            name("IPv4, padding does not count", "IPv6, padding does not count"),
            ip.clone().udp(1, 2).payload(9).claim_udp_length(18).trailer(9),
        );
        add(
            UdpLength,
            name("IPv4, a first fragment with 7", "IPv6, a first fragment with 7"),
            ip.clone().udp(1, 2).payload(16).claim_udp_length(7).fragment(0, true),
        );
        add(SctpTruncated, name("IPv4, 11 bytes", "IPv6, 11 bytes"), ip.clone().raw(132, &[0; 11]));
        add(SctpTruncated, name("IPv4, no byte", "IPv6, no byte"), ip.clone().raw(132, &[]));
    }
    cases.push((IcmpTruncated, "7 bytes", ip4().raw(1, &[8; 7]).bytes()));
    cases.push((IcmpTruncated, "no byte", ip4().raw(1, &[]).bytes()));
    cases.push((Icmpv6Truncated, "3 bytes", ip6().raw(58, &[128; 3]).bytes()));
    cases.push((
        Icmpv6Truncated,
        "no byte, behind options",
        ip6().raw(58, &[]).extension(Destination(1)).bytes(),
    ));
    cases.push((
        UdpTruncated,
        "behind an atomic fragment",
        ip6().raw(17, &[0; 4]).fragment(0, false).bytes(),
    ));
    cases.push((
        TcpDataOffset,
        "behind options and two tags",
        ip4().options(4).tag(1).tag(2).tcp(1, 2).claim_data_offset(9).bytes(),
    ));
    cases
}
