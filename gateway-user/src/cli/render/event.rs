//! Sampled packets, alerts and changes of targets, one a line.

use super::super::units::{grouped, mark, time_of_day_us};
use super::{endpoint, protocol, verdict};
use crate::api::types::Event;

/// One line: when, where, what was decided by which route, and the packet; or what became of a target.
#[must_use]
pub fn line(event: &Event, wide: bool) -> String {
    if let (Some(target), Some(change)) = (&event.target, &event.change) {
        return format!("{} target {target} {change}\n", time_of_day_us(event.time_unix_ns));
    }
    let mut text = format!(
        "{} {} {} {} {}",
        time_of_day_us(event.time_unix_ns),
        event.interface,
        event.hook,
        verdict(&event.verdict, event.reason.as_deref(), None),
        event.route,
    );
    if event.source.is_empty() {
        text.push_str(" -");
    } else {
        text.push_str(&format!(
            " {} {} > {}",
            protocol(&event.protocol, event.icmp_type, event.icmp_code),
            endpoint(&event.source, event.source_port),
            endpoint(&event.destination, event.port),
        ));
    }
    if let Some(fragment) = &event.fragment {
        text.push_str(&format!(" {fragment} fragment"));
    }
    if !event.tcp_flags.is_empty() {
        text.push_str(&format!(" {}", event.tcp_flags));
    }
    text.push_str(&format!(" {} bytes", event.length));
    if event.mark.is_some() {
        text.push_str(&format!(" mark {}", mark(event.mark)));
    }
    if let Some(limit) = &event.limit {
        text.push_str(&format!("; {}", alert(&event.kind, limit, event)));
    }
    if wide {
        text.push_str(&format!(" generation {}", event.generation));
    }
    text.push('\n');
    text
}

/// What an alert says of its limit.
fn alert(kind: &str, limit: &str, event: &Event) -> String {
    match kind {
        "limit" => {
            format!("over limit {limit}, {} packets refused", grouped(event.refused.unwrap_or_default()))
        }
        "ban" => format!("banned by {limit}"),
        "attack_begins" => format!("attack begins, SYN cookies by {limit}"),
        "attack_ends" => format!("attack ends, no SYN cookies by {limit}"),
        other => format!("{other} {limit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            kind: "packet".into(),
            limit: None,
            target: None,
            change: None,
            refused: None,
            time_unix_ns: 1_795_237_822_123_456_789,
            interface: "eth0".into(),
            hook: "xdp".into(),
            verdict: "pass".into(),
            reason: None,
            route: "web".into(),
            generation: 42,
            length: 74,
            protocol: "tcp".into(),
            source: "2001:db8::7".into(),
            source_port: Some(4242),
            destination: "2001:db8::10".into(),
            port: Some(443),
            icmp_type: None,
            icmp_code: None,
            fragment: None,
            tcp_flags: "SYN".into(),
            mark: Some(16),
            missed: 0,
        }
    }

    #[test]
    fn a_passed_packet() {
        assert_eq!(
            line(&event(), false),
            "05:10:22.123456 eth0 xdp pass web tcp [2001:db8::7]:4242 > [2001:db8::10]:443 SYN 74 bytes mark 0x10\n"
        );
        assert!(line(&event(), true).ends_with("mark 0x10 generation 42\n"));
    }

    #[test]
    fn a_dropped_ping() {
        let event = Event {
            verdict: "drop".into(),
            reason: Some("policy".into()),
            route: "deny".into(),
            protocol: "icmp".into(),
            source: "192.0.2.1".into(),
            source_port: None,
            destination: "203.0.113.10".into(),
            port: None,
            icmp_type: Some(8),
            icmp_code: Some(0),
            fragment: Some("first".into()),
            tcp_flags: String::new(),
            mark: None,
            ..event()
        };
        assert_eq!(
            line(&event, false),
            "05:10:22.123456 eth0 xdp drop: policy deny icmp 8/0 192.0.2.1 > 203.0.113.10 first fragment 74 bytes\n"
        );
    }

    #[test]
    fn alerts() {
        let packet = "05:10:22.123456 eth0 xdp drop: limit web tcp [2001:db8::7]:4242 > [2001:db8::10]:443 SYN \
                      74 bytes mark 0x10; ";
        let alert = |kind: &str| Event {
            kind: kind.into(),
            limit: Some("web/1".into()),
            refused: (kind == "limit").then_some(12_345),
            verdict: "drop".into(),
            reason: Some("limit".into()),
            ..event()
        };
        for (kind, said) in [
            ("limit", "over limit web/1, 12,345 packets refused"),
            ("ban", "banned by web/1"),
            ("attack_begins", "attack begins, SYN cookies by web/1"),
            ("attack_ends", "attack ends, no SYN cookies by web/1"),
            ("news", "news web/1"),
        ] {
            assert_eq!(line(&alert(kind), false), format!("{packet}{said}\n"));
        }
    }

    #[test]
    fn what_could_not_be_parsed() {
        let event = Event {
            verdict: "drop".into(),
            reason: Some("eth_truncated".into()),
            route: "(malformed)".into(),
            protocol: String::new(),
            source: String::new(),
            destination: String::new(),
            tcp_flags: String::new(),
            mark: None,
            length: 12,
            ..event()
        };
        assert_eq!(
            line(&event, false),
            "05:10:22.123456 eth0 xdp drop: eth_truncated (malformed) - 12 bytes\n"
        );
    }
}
