//! Actions: pass, drop, mark, priority, tx, redirect.

use super::{ABSENT, Row, TARGET, TARGET_WITHOUT_XDP};
use crate::packet::{Extension, Frame};
use gateway_common::reason::Reason;

fn by_port() -> String {
    let redirects = [(10, TARGET), (11, TARGET_WITHOUT_XDP), (12, ABSENT)]
        .map(|(port, to)| format!("  - {{name: to-{to}, match: {{protocol: [tcp, udp], port: {port}}}, action: {{redirect: {to}}}}}\n"));
    format!(
        "version: 1\nroutes:\n\
         \x20 - {{name: pass, match: {{protocol: [tcp, udp], port: 1}}, action: pass}}\n\
         \x20 - {{name: drop, match: {{protocol: [tcp, udp], port: 2}}, action: drop}}\n\
         \x20 - {{name: mark, match: {{protocol: [tcp, udp], port: 3}}, mark: 0xffffffff, action: pass}}\n\
         \x20 - {{name: priority, match: {{protocol: [tcp, udp], port: 4}}, priority: 6, action: pass}}\n\
         \x20 - {{name: both, match: {{protocol: [tcp, udp], port: 5}}, mark: 1, priority: 7, action: pass}}\n\
         \x20 - {{name: tx, match: {{protocol: [tcp, udp], port: 6}}, action: tx}}\n{}",
        redirects.concat()
    )
}

pub(super) fn rows() -> Vec<Row> {
    let policy = by_port();
    let mut rows = Vec::new();
    type Make = fn(u16) -> Frame;
    let frames: [(&str, Make); 5] = [
        ("IPv4 UDP", |port| Frame::new().ipv4("198.51.100.7", "203.0.113.10").udp(9, port).payload(100)),
        ("IPv6 TCP", |port| Frame::new().ipv6("2001:db8::7", "2001:db8:1::10").tcp(9, port).payload(1300)),
        ("tagged IPv4 TCP", |port| Frame::new().tag(100).ipv4("198.51.100.7", "203.0.113.10").tcp(9, port)),
        ("twice tagged IPv6 UDP", |port| {
            Frame::new().tag(1).tag(2).ipv6("2001:db8::7", "2001:db8:1::10").udp(9, port)
        }),
        ("IPv6 UDP behind options", |port| {
            Frame::new().ipv6("2001:db8::7", "2001:db8:1::10").extension(Extension::HopByHop(1)).udp(9, port)
        }),
    ];
    for (name, make) in frames {
        let row =
            |action: &str, port| Row::new(format!("action: {action}, {name}"), &policy, make(port).bytes());
        rows.push(row("pass", 1).route("pass"));
        rows.push(row("drop", 2).route("drop").dropped(Reason::Route));
        rows.push(row("mark", 3).route("mark").mark(u32::MAX));
        rows.push(row("priority", 4).route("priority").priority(6));
        rows.push(row("mark and priority", 5).route("both").mark(1).priority(7));
        rows.push(row("tx", 6).route("tx").sent_back());
        rows.push(row("redirect", 10).route("to-gold1").redirected(TARGET));
        rows.push(
            row("redirect to an interface without XDP", 11).route("to-gold2").redirected(TARGET_WITHOUT_XDP),
        );
        rows.push(
            row("redirect to an interface that is not there", 12)
                .route("to-gold9")
                .dropped(Reason::RedirectTarget),
        );
        rows.push(row("default pass", 13).by_default());
        let drop_default = format!("{policy}default: drop\n");
        let row = Row::new(format!("action: default drop, {name}"), &drop_default, make(13).bytes());
        rows.push(row.by_default().dropped(Reason::Default));
    }
    rows
}
