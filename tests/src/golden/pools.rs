//! Packets of pools: what they are sent in, and where; see [`crate::ways`].

use super::errors::{time_exceeded, too_big};
use super::{Row, TARGET, TARGET_WITHOUT_XDP};
use crate::packet::checksum::internet;
use crate::packet::{DESTINATION_MAC, Extension, Frame, SOURCE_MAC, TPID_OLD};
use gateway_common::abi::{Hook, Verdict};
use gateway_common::reason::Reason;

/// Each pool has one target, so that it is known where a packet goes; the port says which pool.
pub(super) const POLICY: &str = "\
version: 1
pools:
  ip4: {forward: ipip, source: 203.0.113.77, targets: [{name: a, address: 198.18.1.11}]}
  ip6: {forward: ipip, source: '2001:db8:ff::77', targets: [{name: a, address: '2001:db8:f1::12'}]}
  gue4: {forward: gue, source: 203.0.113.77, targets: [{name: a, address: 198.18.2.11}]}
  gue6: {forward: gue, port: 5555, targets: [{name: a, address: '2001:db8:f1::11'}]}
  l2: {forward: l2, targets: [{name: a, address: 198.18.1.12}]}
  back: {forward: ipip, targets: [{name: a, address: 198.18.0.11}]}
  narrow4: {forward: ipip, targets: [{name: a, address: 198.18.3.11}]}
  narrow6: {forward: gue, targets: [{name: a, address: '2001:db8:f3::11'}]}
  narrow: {forward: l2, targets: [{name: a, address: 198.18.3.11}]}
  silent4: {forward: ipip, targets: [{name: a, address: 198.18.1.99}]}
  silent6: {forward: l2, targets: [{name: a, address: '2001:db8:f0::99'}]}
  silent: {forward: l2, targets: [{name: a, address: 198.18.1.99}]}
  nowhere: {forward: ipip, targets: [{name: a, address: 198.18.4.11}]}
  itself: {forward: l2, targets: [{name: a, address: 198.18.1.1}]}
  empty: {forward: ipip, targets: [{name: a, address: 198.18.1.11, weight: 0}]}
routes:
  - {name: ip4, match: {protocol: [tcp, udp], port: 1}, action: {pool: ip4}}
  - {name: ip6, match: {protocol: [tcp, udp], port: 2}, action: {pool: ip6}}
  - {name: gue4, match: {protocol: [tcp, udp], port: 3}, action: {pool: gue4}}
  - {name: gue6, match: {protocol: [tcp, udp], port: 4}, action: {pool: gue6}}
  - {name: l2, match: {protocol: [tcp, udp], port: 5}, action: {pool: l2}}
  - {name: back, match: {protocol: [tcp, udp], port: 6}, action: {pool: back}}
  - {name: narrow4, match: {protocol: [tcp, udp], port: 7}, action: {pool: narrow4}}
  - {name: narrow6, match: {protocol: [tcp, udp], port: 8}, action: {pool: narrow6}}
  - {name: narrow, match: {protocol: [tcp, udp], port: 9}, action: {pool: narrow}}
  - {name: silent4, match: {protocol: [tcp, udp], port: 10}, action: {pool: silent4}}
  - {name: silent6, match: {protocol: [tcp, udp], port: 11}, action: {pool: silent6}}
  - {name: nowhere, match: {protocol: [tcp, udp], port: 12}, action: {pool: nowhere}}
  - {name: itself, match: {protocol: [tcp, udp], port: 13}, action: {pool: itself}}
  - {name: empty, match: {protocol: [tcp, udp], port: 14}, action: {pool: empty}}
  - {name: dscp, match: {protocol: [tcp, udp], port: 15}, dscp: ef, mark: 9, action: {pool: ip4}}
  - {name: silent, match: {protocol: [tcp, udp], port: 16}, action: {pool: silent}}
  - {name: later, match: {to: [198.51.100.0/24]}, action: {pool: ip4}}
default: pass
";

/// MAC addresses as [`crate::ways`] gives them: of an interface and a neighbour behind it.
pub(super) fn macs(place: u8, host: u8) -> ([u8; 6], [u8; 6]) {
    ([2, 0, 0, 0, 0x0f, place], [2, 0, 0, 0, 0x10 + place, host])
}

/// What shows of a flow's hash: the gateways' own agreement, held by `gateway_common::target`'s tests.
struct Hashed {
    port: u16,
    label: u32,
}

impl Hashed {
    fn of(source: &str, destination: &str, protocol: u8, ports: (u16, u16)) -> Hashed {
        use gateway_common::image::HashOver;
        use gateway_common::packet::{Packet, address_of, flags};
        use gateway_common::target::{flow_label, hash, source_port};
        let words = |address: &str| address.parse().map(address_of).unwrap_or_default();
        let packet = Packet {
            source: words(source),
            destination: words(destination),
            protocol,
            source_port: ports.0,
            port: ports.1,
            family: if source.contains(':') { 6 } else { 4 },
            flags: flags::HAS_PORTS,
            ..Packet::default()
        };
        let hash = hash(HashOver::FiveTuple as u8, &packet);
        Hashed { port: source_port(hash), label: flow_label(hash) }
    }
}

/// An IPv4 header around a packet: RFC 2003 3.1.
pub(super) fn outer4(
    (source, target): (&str, &str),
    class: u8,
    flags: u16,
    protocol: u8,
    inside: &[u8],
) -> Vec<u8> {
    let mut ip = vec![0x45, class];
    ip.extend((20 + inside.len() as u16).to_be_bytes());
    ip.extend([0, 0]);
    ip.extend(flags.to_be_bytes());
    ip.extend([64, protocol, 0, 0]);
    for address in [source, target] {
        ip.extend(address.split('.').map(|part| part.parse::<u8>().unwrap_or(0)));
    }
    let sum = internet(&[&ip]).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    ip.extend(inside);
    ip
}

/// A UDP header without checksum.
fn udp(source: u16, destination: u16, inside: &[u8]) -> Vec<u8> {
    let mut out = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    out.extend((8 + inside.len() as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(inside);
    out
}

/// Ethernet around an IP packet, as a next hop gets it.
pub(super) fn to_next_hop((source, destination): ([u8; 6], [u8; 6]), ip: &[u8]) -> Vec<u8> {
    let ethertype = if ip[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    Frame::new().macs(source, destination).other(ethertype, ip).bytes()
}

/// The IP packet of a frame, with one hop less than it came with.
pub(super) fn inner(frame: &Frame, hops: u8) -> Vec<u8> {
    frame.clone().hop_limit(hops).bytes()[frame.l3_offset()..].to_vec()
}

pub(super) const V4: (&str, &str) = ("198.51.100.7", "203.0.113.10");
pub(super) const V6: (&str, &str) = ("2001:db8::7", "2001:db8:1::10");

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    type Make = fn(u16) -> Frame;
    let frames: [(&str, (&str, &str), u8, Make); 5] = [
        ("IPv4 UDP", V4, 17, |port| Frame::new().ip(V4.0, V4.1).traffic_class(0xb9).udp(9, port).payload(99)),
        ("IPv6 TCP", V6, 6, |port| Frame::new().ip(V6.0, V6.1).traffic_class(0x4b).tcp(9, port).payload(100)),
        ("tagged IPv4 TCP with options", V4, 6, |port| {
            Frame::new().tag(7).ip(V4.0, V4.1).options(2).tcp(9, port)
        }),
        ("twice tagged IPv6 UDP", V6, 17, |port| Frame::new().tag(7).tag(8).ip(V6.0, V6.1).udp(9, port)),
        ("IPv6 UDP behind options", V6, 17, |port| {
            Frame::new().ip(V6.0, V6.1).extension(Extension::HopByHop(1)).udp(9, port).payload(1_000)
        }),
    ];
    for (name, (source, destination), protocol, make) in frames {
        wrapped(&mut rows, name, &make, &|port| Hashed::of(source, destination, protocol, (9, port)));
    }
    awkward(&mut rows);
    rows
}

/// Each way of forwarding.
fn wrapped(rows: &mut Vec<Row>, name: &str, make: &dyn Fn(u16) -> Frame, hashed: &dyn Fn(u16) -> Hashed) {
    let class = |packet: &[u8]| if packet[0] >> 4 == 4 { packet[1] } else { packet[0] << 4 | packet[1] >> 4 };
    let number = |packet: &[u8]| if packet[0] >> 4 == 4 { 4 } else { 41 };
    let row = |what: &str, port: u16| {
        let frame = make(port);
        (Row::new(format!("pool: {what}, {name}"), POLICY, frame.bytes()), inner(&frame, 63))
    };
    let outer6 = |(source, target), packet: &[u8], protocol: u8, inside: &[u8], label: u32| {
        let ip = Frame::new().ipv6(source, target).traffic_class(class(packet)).flow_label(label);
        ip.raw(protocol, inside).bytes()[14..].to_vec()
    };
    let (ip4, packet) = row("in IPv4", 1);
    let out = outer4(("203.0.113.77", "198.18.1.11"), class(&packet), 0x4000, number(&packet), &packet);
    rows.push(ip4.route("ip4").sent_to("ip4/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 11), &out)));
    let (ip6, packet) = row("in IPv6", 2);
    let ends = ("2001:db8:ff::77", "2001:db8:f1::12");
    let out = outer6(ends, &packet, number(&packet), &packet, hashed(2).label);
    rows.push(ip6.route("ip6").sent_to("ip6/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 12), &out)));
    let (gue4, packet) = row("in UDP over IPv4", 3);
    let datagram = udp(hashed(3).port, 6_080, &packet);
    let out = outer4(("203.0.113.77", "198.18.2.11"), class(&packet), 0x4000, 17, &datagram);
    rows.push(
        gue4.route("gue4")
            .sent_to("gue4/a", Some(TARGET_WITHOUT_XDP))
            .comes_out_as(to_next_hop(macs(2, 11), &out)),
    );
    let (gue6, packet) = row("in UDP over IPv6", 4);
    let datagram = udp(hashed(4).port, 5_555, &packet);
    let out = outer6(("2001:db8:f0::1", "2001:db8:f1::11"), &packet, 17, &datagram, hashed(4).label);
    rows.push(
        gue6.route("gue6").sent_to("gue6/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 11), &out)),
    );
    let (l2, packet) = row("as it is", 5);
    rows.push(l2.route("l2").sent_to("l2/a", Some(TARGET)).comes_out_as(to_next_hop(macs(1, 12), &packet)));
    let (back, packet) = row("back out of the interface", 6);
    let out = outer4(("198.18.0.1", "198.18.0.11"), class(&packet), 0x4000, number(&packet), &packet);
    rows.push(back.route("back").sent_to("back/a", None).comes_out_as(to_next_hop(macs(0, 11), &out)));
    let (silent, packet) = row("to a neighbour that is not known", 10);
    let out = outer4(("198.18.0.1", "198.18.1.99"), class(&packet), 0x4000, number(&packet), &packet);
    let unknown = (SOURCE_MAC, DESTINATION_MAC);
    rows.push(
        silent
            .route("silent4")
            .sent_to("silent4/a", Some(TARGET))
            .waits()
            .comes_out_as(to_next_hop(unknown, &out)),
    );
    let (silent, packet) = row("as it is, to a neighbour that is not known", 11);
    rows.push(
        silent
            .route("silent6")
            .sent_to("silent6/a", None)
            .waits()
            .comes_out_as(to_next_hop(unknown, &packet)),
    );
    let (silent, packet) = row("as it is, to a neighbour of IPv4 that is not known", 16);
    rows.push(if packet[0] >> 4 == 6 {
        // The kernel would ask for nobody.
        silent.route("silent").dropped(Reason::NoRoute)
    } else {
        let out = to_next_hop(unknown, &packet);
        silent.route("silent").sent_to("silent/a", Some(TARGET)).waits().comes_out_as(out)
    });
    rows.push(row("no route", 12).0.route("nowhere").dropped(Reason::NoRoute));
    rows.push(row("a target that is this node", 13).0.route("itself").dropped(Reason::NoRoute));
    rows.push(row("no target", 14).0.route("empty").dropped(Reason::NoTarget));
    let (dscp, mut packet) = row("with DSCP", 15);
    set_dscp(&mut packet, 46);
    let out = outer4(("203.0.113.77", "198.18.1.11"), class(&packet), 0x4000, number(&packet), &packet);
    let out = to_next_hop(macs(1, 11), &out);
    rows.push(dscp.route("dscp").mark(9).sent_to("ip4/a", Some(TARGET)).comes_out_as(out));
}

/// The packet with another DSCP and its right checksum.
fn set_dscp(packet: &mut [u8], dscp: u8) {
    if packet[0] >> 4 == 6 {
        let class = dscp << 2 | packet[1] >> 4 & 3;
        packet[0] = 0x60 | class >> 4;
        packet[1] = class << 4 | packet[1] & 15;
        return;
    }
    packet[1] = dscp << 2 | packet[1] & 3;
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 15) * 4;
    let sum = internet(&[&packet[..header]]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
}

/// Hops, lengths and fragments.
fn awkward(rows: &mut Vec<Row>) {
    let named = |name: &str, frame: &Frame| Row::new(format!("pool: {name}"), POLICY, frame.bytes());
    let unknown = (SOURCE_MAC, DESTINATION_MAC);
    let cut = |row: Row| Row { verdict: Verdict::Pass, ..row };
    for (family, ends) in [("IPv4", V4), ("IPv6", V6)] {
        for hops in [0, 1] {
            let frame = Frame::new().ip(ends.0, ends.1).hop_limit(hops).udp(9, 1);
            let row = named(&format!("{family} with {hops} hops"), &frame);
            rows.push(row.route("ip4").dropped(Reason::TtlExceeded).told(time_exceeded(&frame, ends.0)));
        }
        let frame = Frame::new().ip(ends.0, ends.1).hop_limit(2).udp(9, 5);
        let out = to_next_hop(macs(1, 12), &inner(&frame, 1));
        let row = named(&format!("{family} with 2 hops"), &frame);
        rows.push(row.route("l2").sent_to("l2/a", Some(TARGET)).comes_out_as(out));
        // 600 bytes of way: 20 of the outer header.
        let header = if family == "IPv4" { 28 } else { 48 };
        let number = if family == "IPv4" { 4 } else { 41 };
        let frame =
            |bytes: usize, port: u16| Frame::new().ip(ends.0, ends.1).udp(9, port).payload(bytes - header);
        let fits = frame(580, 7);
        let out = outer4(("198.18.0.1", "198.18.3.11"), 0, 0x4000, number, &inner(&fits, 63));
        let row = named(&format!("{family} that just fits"), &fits);
        let out = to_next_hop(macs(1, 11), &out);
        rows.push(row.route("narrow4").sent_to("narrow4/a", Some(TARGET)).comes_out_as(out));
        let big = frame(581, 7);
        let row = named(&format!("{family} that does not fit"), &big).route("narrow4");
        rows.push(if family == "IPv4" {
            row.dropped(Reason::TooBig).told(too_big(&big, ends.0, 580))
        } else {
            // No link of IPv6 may refuse it.
            let out = outer4(("198.18.0.1", "198.18.3.11"), 0, 0, 41, &inner(&big, 63));
            cut(row.sent_to("narrow4/a", None).comes_out_as(to_next_hop(unknown, &out)))
        });
        let row = named(&format!("{family} that does not fit in UDP over IPv6"), &frame(1_233, 8));
        let row = row.route("narrow6").dropped(Reason::TooBig);
        rows.push(if family == "IPv4" { row.told(too_big(&frame(1_233, 8), ends.0, 1_232)) } else { row });
        let row = named(&format!("{family} that does not fit as it is"), &frame(601, 9));
        let row = row.route("narrow").dropped(Reason::TooBig);
        rows.push(if family == "IPv4" { row.told(too_big(&frame(601, 9), ends.0, 600)) } else { row });
    }
    let long = Frame::new().ip(V4.0, V4.1).may_be_fragmented().udp(9, 7).payload(553);
    let out = outer4(("198.18.0.1", "198.18.3.11"), 0, 0, 4, &inner(&long, 63));
    let row = named("what does not fit and may be cut goes up the stack", &long).route("narrow4");
    rows.push(cut(row.sent_to("narrow4/a", None).comes_out_as(to_next_hop(unknown, &out))));
    let later = Frame::new().ip("203.0.113.9", "198.51.100.1").raw(47, &[1; 80]).fragment(9, true);
    let out = outer4(("203.0.113.77", "198.18.1.11"), 0, 0x4000, 4, &inner(&later, 63));
    let row =
        named("a later fragment of what has no ports", &later).route("later").sent_to("ip4/a", Some(TARGET));
    rows.push(row.comes_out_as(to_next_hop(macs(1, 11), &out)));
    // The kernel knows no such tag, and takes none off at tc.
    let old = Frame::new().tag_of(TPID_OLD, 7).ip(V4.0, V4.1).udp(9, 5);
    let out = to_next_hop(macs(1, 12), &inner(&old, 63));
    let row = named("a tag of before 802.1ad", &old).route("l2");
    rows.push(row.at(Hook::Xdp).sent_to("l2/a", Some(TARGET)).comes_out_as(out));
    let row = named("a tag of before 802.1ad at tc", &old).route("l2");
    rows.push(row.at(Hook::TcIngress).dropped(Reason::NoRoom));
    let padded = Frame::new().ip(V4.0, V4.1).udp(9, 1).trailer(18);
    let packet = inner(&padded, 63);
    let out = outer4(("203.0.113.77", "198.18.1.11"), 0, 0x4000, 4, &packet[..packet.len() - 18]);
    let out = [to_next_hop(macs(1, 11), &out), vec![0; 18]].concat();
    let row = named("Ethernet's padding stays behind", &padded);
    rows.push(row.route("ip4").sent_to("ip4/a", Some(TARGET)).comes_out_as(out));
}
