//! The DSCP that a route writes: ECN's bits and a right checksum stay.

use super::{Row, TARGET};
use crate::packet::{Extension, Frame};

const POLICY: &str = "\
version: 1
routes:
  - {name: pass, match: {protocol: [tcp, udp], port: 1}, dscp: af21, action: pass}
  - {name: tx, match: {protocol: [tcp, udp], port: 2}, dscp: ef, action: tx}
  - {name: redirect, match: {protocol: [tcp, udp], port: 3}, dscp: 63, mark: 4, action: {redirect: gold1}}
  - {name: clear, match: {protocol: [tcp, udp], port: 4}, dscp: 0, action: pass}
  - {name: drop, match: {protocol: [tcp, udp], port: 5}, action: drop}
  - {name: rest, dscp: le, priority: 2, action: pass}
default: drop
";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    type Make = fn(u8, u16) -> Frame;
    let frames: [(&str, Make); 6] = [
        ("IPv4", |class, port| {
            Frame::new().ipv4("198.51.100.7", "203.0.113.10").traffic_class(class).udp(9, port)
        }),
        ("IPv4 behind a tag, with options", |class, port| {
            Frame::new()
                .tag(9)
                .ipv4("198.51.100.7", "203.0.113.10")
                .options(3)
                .traffic_class(class)
                .tcp(9, port)
        }),
        ("IPv4 behind two tags", |class, port| {
            Frame::new()
                .tag(9)
                .tag(8)
                .ipv4("10.0.0.1", "10.0.0.2")
                .traffic_class(class)
                .udp(9, port)
                .payload(100)
        }),
        ("IPv6", |class, port| {
            Frame::new()
                .ipv6("2001:db8::7", "2001:db8:1::10")
                .traffic_class(class)
                .flow_label(0xf_5a5a)
                .tcp(9, port)
        }),
        ("IPv6 behind two tags", |class, port| {
            Frame::new().tag(9).tag(8).ipv6("2001:db8::7", "2001:db8:1::10").traffic_class(class).udp(9, port)
        }),
        ("IPv6 with extension headers", |class, port| {
            let extended =
                Frame::new().ipv6("2001:db8::7", "2001:db8:1::10").extension(Extension::HopByHop(1));
            extended.traffic_class(class).udp(9, port).payload(1_200)
        }),
    ];
    for (name, make) in frames {
        for class in [0x00, 0x03, 0x49, 0xb9, 0xff] {
            let row = |what: &str, port: u16, dscp: u8| {
                let name = format!("dscp: {what}, {name}, class {class:#04x}");
                let row = Row::new(name, POLICY, make(class, port).bytes());
                row.comes_out_as(make(dscp << 2 | class & 3, port).bytes())
            };
            rows.push(row("passed", 1, 18).route("pass"));
            rows.push(row("sent back", 2, 46).route("tx").sent_back());
            rows.push(row("redirected", 3, 63).route("redirect").mark(4).redirected(TARGET));
            rows.push(row("cleared", 4, 0).route("clear"));
            rows.push(row("by a name", 9, 1).route("rest").priority(2));
        }
    }
    let dropped = Frame::new().ipv4("198.51.100.7", "203.0.113.10").traffic_class(7).udp(9, 5).bytes();
    rows.push(
        Row::new("dscp: what is dropped stays as it is", POLICY, dropped)
            .route("drop")
            .dropped(gateway_common::reason::Reason::Route),
    );
    let later = |class| {
        Frame::new().ipv4("10.0.0.1", "10.0.0.2").traffic_class(class).raw(17, &[1; 8]).fragment(9, false)
    };
    rows.push(
        Row::new("dscp: a later fragment", POLICY, later(2).bytes())
            .comes_out_as(later(6).bytes())
            .route("rest")
            .priority(2),
    );
    rows
}
