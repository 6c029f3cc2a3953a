//! Ethernet, VLAN tags, and what is not IP.

use super::{MARK_ALL, Row};
use crate::packet::{Frame, TPID_OLD, TPID_SERVICE};

const DROP_ALL: &str = "version: 1\nroutes: []\ndefault: drop\n";

fn v4() -> Frame {
    Frame::new().ipv4("198.51.100.7", "203.0.113.10").udp(1000, 2000).payload(18)
}

fn v6() -> Frame {
    Frame::new().ipv6("2001:db8::7", "2001:db8:1::10").udp(1000, 2000).payload(18)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    type Tags = fn(Frame) -> Frame;
    let tags: [(&str, Tags); 7] = [
        ("no tag", |frame| frame),
        ("one tag", |frame| frame.tag(100)),
        ("one service tag", |frame| frame.tag_of(TPID_SERVICE, 100)),
        ("one tag of the old EtherType", |frame| frame.tag_of(TPID_OLD, 100)),
        ("two tags", |frame| frame.tag_of(TPID_SERVICE, 4094).tag(1)),
        ("two customer tags", |frame| frame.tag(1).tag(2)),
        ("a priority tag with drop eligibility", |frame| frame.tag_of(0x8100, 0xf000)),
    ];
    for (name, tag) in tags {
        rows.push(Row::marked(format!("ethernet: IPv4 behind {name}"), tag(v4()).bytes()));
        rows.push(Row::marked(format!("ethernet: IPv6 behind {name}"), tag(v6()).bytes()));
    }
    let others: [(&str, u16, usize); 8] = [
        ("ARP", 0x0806, 28),
        ("LLDP", 0x88cc, 40),
        ("EAPOL", 0x888e, 10),
        ("PPPoE session", 0x8864, 40),
        ("MPLS", 0x8847, 40),
        ("an IEEE 802.3 length", 0x0026, 38),
        ("the EtherType before IPv4's", 0x07ff, 46),
        ("the EtherType behind IPv6's", 0x86de, 46),
    ];
    for (name, ethertype, length) in others {
        let frame = Frame::new().other(ethertype, &vec![0x45; length]);
        rows.push(Row::new(format!("ethernet: {name} passes"), MARK_ALL, frame.bytes()));
        rows.push(Row::new(
            format!("ethernet: {name} passes a tag and default drop"),
            DROP_ALL,
            frame.tag(5).bytes(),
        ));
    }
    rows.push(Row::new("ethernet: a header alone passes", MARK_ALL, Frame::new().bytes()));
    rows.push(Row::new("no policy: IPv4 passes", MARK_ALL, v4().bytes()).no_policy());
    rows.push(Row::new("no policy: IPv6 passes", MARK_ALL, v6().tag(9).bytes()).no_policy());
    rows.push(Row::new("no policy: a cut IPv4 header passes", MARK_ALL, v4().cut(20)).no_policy());
    rows.push(
        Row::new("no policy: ARP passes", MARK_ALL, Frame::new().other(0x0806, &[0; 28]).bytes()).no_policy(),
    );
    rows
}
