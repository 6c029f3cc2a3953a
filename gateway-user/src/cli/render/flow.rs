//! Flows.

use super::super::output::Columns;
use super::super::rates::{Rated, Top};
use super::super::units::{age_ms, bit_rate, bytes, grouped, mark, number, packet_rate};
use super::{endpoint, protocol, verdict};
use crate::api::types::{Flow, FlowList, FlowTotals};

/// Flows as a table, and below it how many there are and what was lost.
#[must_use]
pub fn list(list: &FlowList, now_unix_ms: u64, wide: bool) -> String {
    let mut heads = Vec::from(IDENTITY);
    heads.extend([">PACKETS", ">BYTES", ">LAST"]);
    if wide {
        heads.extend([">FIRST", "INTERFACE", "VLAN", "FLAGS"]);
    }
    let mut columns = Columns::new(&heads);
    for flow in &list.flows {
        let mut cells = Vec::from(identity(flow));
        cells.extend([
            number(flow.counts.packets, wide),
            bytes(flow.counts.bytes, wide),
            age_ms(now_unix_ms.saturating_sub(flow.last_seen_unix_ms)),
        ]);
        if wide {
            cells.extend([
                age_ms(now_unix_ms.saturating_sub(flow.first_seen_unix_ms)),
                flow.interface.clone(),
                if flow.vlan == 0 { "-".to_owned() } else { flow.vlan.to_string() },
                flags(flow),
            ]);
        }
        columns.row(cells);
    }
    let mut text = columns.text();
    text.push_str(&footer(list));
    text
}

/// The heads of [`identity`].
const IDENTITY: [&str; 6] = ["PROTOCOL", "SOURCE", "DESTINATION", "ROUTE", "VERDICT", "MARK"];

/// What tells a flow from others, and what was decided for it.
fn identity(flow: &Flow) -> [String; 6] {
    let mut kind = protocol(&flow.protocol, flow.icmp_type, flow.icmp_code);
    if flow.later_fragment {
        kind.push_str(" frag");
    }
    [
        kind,
        endpoint(&flow.source, flow.source_port),
        endpoint(&flow.destination, flow.port),
        flow.route.clone(),
        verdict(&flow.verdict, flow.reason.as_deref(), flow.redirect.as_deref()),
        mark(flow.mark),
    ]
}

fn flags(flow: &Flow) -> String {
    if flow.tcp_flags.is_empty() { "-".to_owned() } else { flow.tcp_flags.clone() }
}

fn footer(list: &FlowList) -> String {
    if !list.totals.enabled {
        return "flow accounting is off (--flow-accounting on)\n".to_owned();
    }
    let shown = list.flows.len() as u64;
    let mut text = format!("{} of {} flows", grouped(shown), grouped(list.matched));
    if shown < list.matched {
        text.push_str("; --limit shows more");
    }
    let lost = lost(&list.totals);
    if !lost.is_empty() {
        text.push_str(&format!("; {lost}"));
    }
    text.push('\n');
    text
}

/// What the accounts do not hold, in words; empty if they hold all.
#[must_use]
pub fn lost(totals: &FlowTotals) -> String {
    let mut parts = Vec::new();
    if totals.lost_flows > 0 {
        parts.push(format!(
            "{} records lost ({} packets)",
            grouped(totals.lost_flows),
            grouped(totals.lost_packets)
        ));
    }
    if totals.evicted_flows > 0 {
        parts.push(format!(
            "{} evicted from the full table ({} packets)",
            grouped(totals.evicted_flows),
            grouped(totals.evicted_packets)
        ));
    }
    parts.join(", ")
}

/// A look at the fastest flows.
#[must_use]
pub fn top(top: &Top, limit: usize, wide: bool) -> String {
    let mut text = format!(
        "{}, {}; {} of {} flows active\n\n",
        bit_rate(top.bytes_per_sec),
        packet_rate(top.packets_per_sec),
        grouped(top.active),
        grouped(top.known),
    );
    // What is asked for comes first: a narrow terminal cuts the addresses and not the rates.
    let mut heads = vec![">BITS", ">PACKETS", ">TOTAL"];
    if wide {
        heads.extend(["INTERFACE", "FLAGS"]);
    }
    heads.extend(IDENTITY);
    let mut columns = Columns::new(&heads);
    for Rated { flow, bytes_per_sec, packets_per_sec } in top.flows.iter().take(limit) {
        let mut cells =
            vec![bit_rate(*bytes_per_sec), packet_rate(*packets_per_sec), bytes(flow.counts.bytes, false)];
        if wide {
            cells.extend([flow.interface.clone(), flags(flow)]);
        }
        cells.extend(identity(flow));
        columns.row(cells);
    }
    text.push_str(&columns.text());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Counts;

    fn flow() -> Flow {
        Flow {
            interface: "eth0".into(),
            vlan: 0,
            protocol: "tcp".into(),
            source: "198.51.100.7".into(),
            source_port: Some(4242),
            destination: "203.0.113.10".into(),
            port: Some(443),
            icmp_type: None,
            icmp_code: None,
            later_fragment: false,
            counts: Counts { packets: 1_234_567, bytes: 1_500_000_000 },
            first_seen_unix_ms: 1_000_000,
            last_seen_unix_ms: 1_064_600,
            tcp_flags: "SYN,ACK".into(),
            verdict: "pass".into(),
            reason: None,
            route: "web".into(),
            mark: Some(16),
            priority: None,
            redirect: None,
        }
    }

    fn sample() -> FlowList {
        let ping = Flow {
            protocol: "icmpv6".into(),
            source: "2001:db8::7".into(),
            source_port: None,
            destination: "2001:db8::10".into(),
            port: None,
            icmp_type: Some(128),
            icmp_code: Some(0),
            counts: Counts { packets: 3, bytes: 312 },
            tcp_flags: String::new(),
            verdict: "drop".into(),
            reason: Some("policy".into()),
            route: "(default)".into(),
            mark: None,
            ..flow()
        };
        let totals = FlowTotals {
            enabled: true,
            flows: 12_000,
            lost_flows: 5,
            lost_packets: 9,
            ..FlowTotals::default()
        };
        FlowList { flows: vec![flow(), ping], matched: 12_000, totals }
    }

    #[test]
    fn a_list() {
        assert_eq!(
            list(&sample(), 1_065_000, false),
            "\
PROTOCOL      SOURCE             DESTINATION       ROUTE      VERDICT       MARK  PACKETS    BYTES  LAST
tcp           198.51.100.7:4242  203.0.113.10:443  web        pass          0x10    1.23M  1.50 GB  0.4s
icmpv6 128/0  2001:db8::7        2001:db8::10      (default)  drop: policy  -           3    312 B  0.4s
2 of 12,000 flows; --limit shows more; 5 records lost (9 packets)
"
        );
    }

    #[test]
    fn a_wide_list_holds_all() {
        let text = list(&sample(), 1_065_000, true);
        assert!(text.contains("1234567  1500000000  0.4s  1m 5s  eth0       -     SYN,ACK"), "{text}");
    }

    #[test]
    fn accounting_off_is_said() {
        let empty = FlowList { flows: vec![], matched: 0, totals: FlowTotals::default() };
        assert!(list(&empty, 0, false).ends_with("flow accounting is off (--flow-accounting on)\n"));
    }

    #[test]
    fn the_top() {
        let rated = Rated { flow: flow(), bytes_per_sec: 150e6, packets_per_sec: 104_900.0 };
        let look = Top {
            flows: vec![rated],
            known: 12,
            active: 1,
            bytes_per_sec: 150e6,
            packets_per_sec: 104_900.0,
        };
        assert_eq!(
            top(&look, 10, false),
            "\
1.20 Gbit/s, 105 kpps; 1 of 12 flows active

       BITS   PACKETS    TOTAL  PROTOCOL  SOURCE             DESTINATION       ROUTE  VERDICT  MARK
1.20 Gbit/s  105 kpps  1.50 GB  tcp       198.51.100.7:4242  203.0.113.10:443  web    pass     0x10
"
        );
    }
}
