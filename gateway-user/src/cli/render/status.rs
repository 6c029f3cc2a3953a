//! The node at a glance.

use super::super::output::Columns;
use super::super::units::{date_time, grouped, number, span};
use super::{count, flow};
use crate::api::types::{Counts, InterfaceInfo, Status};
use std::collections::BTreeMap;

/// The verdicts, in the order and the words of the conservation line.
const VERDICTS: [(&str, &str); 4] =
    [("pass", "passed"), ("drop", "dropped"), ("tx", "sent back"), ("redirect", "redirected")];

/// Everything that `gateway status` tells.
#[must_use]
pub fn status(status: &Status, interfaces: &[InterfaceInfo], now_unix_secs: u64, wide: bool) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key:<10}{value}\n"));
    line("policy", &policy(status, now_unix_secs));
    line("daemon", &daemon(status, now_unix_secs, wide));
    line("packets", &conservation(interfaces));
    let drops = reasons(interfaces.iter().map(|interface| &interface.drops));
    line("drops", if drops.is_empty() { "none" } else { &drops });
    let malformed = reasons(interfaces.iter().map(|interface| &interface.malformed_passed));
    if !malformed.is_empty() {
        line("malformed", &format!("passed: {malformed}"));
    }
    line("flows", &flows(status));
    line("events", &events(status));
    if wide {
        line("tables", &tables(status));
    }
    for notice in &status.notices {
        line("notice", notice);
    }
    text.push('\n');
    text.push_str(&table(interfaces, wide));
    text
}

fn policy(status: &Status, now: u64) -> String {
    let Some(policy) = &status.policy else {
        return "none: every packet passes; gateway policy apply FILE".to_owned();
    };
    format!(
        "generation {}, {}, default {}; from {}, applied {} ({} ago)",
        policy.generation,
        count(policy.routes as usize, "route"),
        policy.default,
        policy.source,
        date_time(policy.applied_at_unix_secs),
        span(now.saturating_sub(policy.applied_at_unix_secs)),
    )
}

fn daemon(status: &Status, now: u64, wide: bool) -> String {
    let mut text = format!(
        "{}, version {}, up {}, pid {}",
        if status.ready { "ready" } else { "not ready" },
        status.version,
        span(now.saturating_sub(status.started_at_unix_secs)),
        status.pid
    );
    if status.adopted {
        text.push_str("; adopted what an earlier one left governing");
    }
    if wide {
        text.push_str(&format!("; abi {}, object {}", status.abi, status.object));
    }
    text
}

/// Received and what became of it. They differ by packets that were on their way while it was read.
fn conservation(interfaces: &[InterfaceInfo]) -> String {
    let mut received = 0;
    let mut verdicts = [0; VERDICTS.len()];
    for interface in interfaces {
        let totals = totals(interface);
        received += totals.0.packets;
        for (sum, counts) in verdicts.iter_mut().zip(totals.1) {
            *sum += counts.packets;
        }
    }
    let decided: u64 = verdicts.iter().sum();
    let parts: Vec<String> = VERDICTS
        .iter()
        .zip(verdicts)
        .map(|((_, word), packets)| format!("{} {word}", grouped(packets)))
        .collect();
    let mut text = format!("{} received = {}", grouped(received), parts.join(" + "));
    if decided != received {
        let sign = if received > decided { "+" } else { "-" };
        text.push_str(&format!(" {sign} {} on their way", grouped(received.abs_diff(decided))));
    }
    text
}

/// What an interface received, and its verdicts in the order of [`VERDICTS`].
fn totals(interface: &InterfaceInfo) -> (Counts, [Counts; VERDICTS.len()]) {
    let mut received = Counts::default();
    let mut verdicts = [Counts::default(); VERDICTS.len()];
    for hook in &interface.hooks {
        add(&mut received, hook.received);
        for (sum, (name, _)) in verdicts.iter_mut().zip(VERDICTS) {
            add(sum, hook.verdicts.get(name).copied().unwrap_or_default());
        }
    }
    (received, verdicts)
}

fn add(sum: &mut Counts, counts: Counts) {
    sum.packets += counts.packets;
    sum.bytes += counts.bytes;
}

/// `policy 30,000, ipv4_checksum 12`: the most frequent first.
fn reasons<'a>(of: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, packets) in of.flatten() {
        *sums.entry(name).or_default() += packets;
    }
    let mut sums: Vec<_> = sums.into_iter().filter(|&(_, packets)| packets > 0).collect();
    sums.sort_by_key(|&(_, packets)| std::cmp::Reverse(packets));
    let parts: Vec<String> =
        sums.into_iter().map(|(name, packets)| format!("{name} {}", grouped(packets))).collect();
    parts.join(", ")
}

fn flows(status: &Status) -> String {
    if !status.flows.enabled {
        return "not accounted for".to_owned();
    }
    let lost = flow::lost(&status.flows);
    format!("{} known; {}", grouped(status.flows.flows), if lost.is_empty() { "none lost" } else { &lost })
}

fn events(status: &Status) -> String {
    let events = &status.events;
    let one_in = |rate: f64, what: &str| match rate {
        r if r <= 0.0 => format!("no {what}s"),
        r if r >= 1.0 => format!("every {what}"),
        r => format!("1 in {} {what}s", grouped((1.0 / r).round() as u64)),
    };
    let mut text = format!(
        "{} reported ({}, {}); {}",
        grouped(events.received),
        one_in(events.sample_rate, "packet"),
        one_in(events.drop_sample_rate, "drop"),
        if events.lost == 0 { "none lost".to_owned() } else { format!("{} lost", grouped(events.lost)) },
    );
    if events.missed > 0 {
        text.push_str(&format!(", {} missed by slow readers", grouped(events.missed)));
    }
    text
}

fn tables(status: &Status) -> String {
    let parts: Vec<String> = status
        .maps
        .iter()
        .map(|map| format!("{} {} of {}", map.map, grouped(map.entries), grouped(map.max_entries)))
        .collect();
    parts.join(", ")
}

fn table(interfaces: &[InterfaceInfo], wide: bool) -> String {
    let mut heads =
        vec!["INTERFACE", "MODE", ">RECEIVED", ">PASSED", ">DROPPED", ">SENT BACK", ">REDIRECTED"];
    if wide {
        heads.extend([">INDEX", ">RECEIVED BYTES"]);
    }
    heads.push("NOTE");
    let mut columns = Columns::new(&heads);
    for interface in interfaces {
        let (received, verdicts) = totals(interface);
        let state = &interface.status;
        let mode = if state.governed { state.mode.clone() } else { "target only".to_owned() };
        let mut cells = vec![state.name.clone(), mode, number(received.packets, wide)];
        cells.extend(verdicts.map(|counts| number(counts.packets, wide)));
        if wide {
            cells.push(state.index.map_or_else(|| "-".to_owned(), |index| index.to_string()));
            cells.push(received.bytes.to_string());
        }
        cells.push(state.note.clone().unwrap_or_default());
        columns.row(cells);
    }
    columns.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{EventTotals, FlowTotals, HookCounts, InterfaceStatus, MapUsage, PolicySummary};

    fn interface(
        name: &str,
        governed: bool,
        note: Option<&str>,
        verdicts: [u64; 4],
        received: u64,
    ) -> InterfaceInfo {
        let counts = |packets| Counts { packets, bytes: packets * 100 };
        InterfaceInfo {
            status: InterfaceStatus {
                name: name.into(),
                index: Some(7),
                governed,
                mode: if note.is_some() { "generic" } else { "native" }.into(),
                note: note.map(str::to_owned),
            },
            hooks: vec![HookCounts {
                hook: "xdp".into(),
                received: counts(received),
                verdicts: VERDICTS
                    .iter()
                    .zip(verdicts)
                    .map(|((name, _), n)| ((*name).to_owned(), counts(n)))
                    .collect(),
            }],
            drops: [("policy".to_owned(), verdicts[1]), ("ipv4_checksum".to_owned(), 0)].into(),
            malformed_passed: BTreeMap::new(),
        }
    }

    fn sample() -> (Status, Vec<InterfaceInfo>) {
        let interfaces = vec![
            interface("eth0", true, None, [1_000_000, 30_000, 0, 5], 1_030_006),
            interface("eth1", true, Some("the driver has no native XDP"), [10, 0, 0, 0], 10),
            interface("eth2", false, None, [0; 4], 0),
        ];
        let status = Status {
            version: "0.1.0".into(),
            abi: 1,
            object: "ab12".into(),
            pid: 4711,
            started_at_unix_secs: 1_795_230_000,
            adopted: true,
            ready: true,
            policy: Some(PolicySummary {
                generation: 42,
                digest: "d".into(),
                source: "policy.yaml".into(),
                applied_at_unix_secs: 1_795_237_630,
                routes: 12,
                default: "pass".into(),
            }),
            interfaces: interfaces.iter().map(|interface| interface.status.clone()).collect(),
            flows: FlowTotals { enabled: true, flows: 12_345, ..FlowTotals::default() },
            events: EventTotals {
                sample_rate: 0.001,
                drop_sample_rate: 1.0,
                received: 31_000,
                lost: 3,
                missed: 0,
            },
            maps: vec![MapUsage { map: "arena".into(), entries: 100, max_entries: 1_048_576 }],
            notices: vec!["eth1 is governed by generic XDP".into()],
        };
        (status, interfaces)
    }

    #[test]
    fn the_whole() {
        let (node, interfaces) = sample();
        assert_eq!(
            status(&node, &interfaces, 1_795_237_822, false),
            "\
policy    generation 42, 12 routes, default pass; from policy.yaml, applied 2026-11-21 05:07:10 UTC (3m 12s ago)
daemon    ready, version 0.1.0, up 2h 10m, pid 4711; adopted what an earlier one left governing
packets   1,030,016 received = 1,000,010 passed + 30,000 dropped + 0 sent back + 5 redirected + 1 on their way
drops     policy 30,000
flows     12,345 known; none lost
events    31,000 reported (1 in 1,000 packets, every drop); 3 lost
notice    eth1 is governed by generic XDP

INTERFACE  MODE         RECEIVED  PASSED  DROPPED  SENT BACK  REDIRECTED  NOTE
eth0       native          1.03M   1.00M    30.0k          0           5
eth1       generic            10      10        0          0           0  the driver has no native XDP
eth2       target only         0       0        0          0           0
"
        );
    }

    #[test]
    fn without_a_policy() {
        let (node, _) = sample();
        let node = Status { policy: None, ready: false, ..node };
        let text = status(&node, &[], 1_795_237_822, true);
        assert!(
            text.starts_with("policy    none: every packet passes; gateway policy apply FILE\n"),
            "{text}"
        );
        assert!(text.contains("packets   0 received = 0 passed"), "{text}");
        assert!(text.contains("tables    arena 100 of 1,048,576\n"), "{text}");
    }
}
