//! Pools.

use super::super::command::pool::TargetRate;
use super::super::output::Columns;
use super::super::units::{bit_rate, bytes, date_time, number, packet_rate};
use super::{count, endpoint, health, names};
use crate::api::types::{PoolInfo, PoolList, TargetCondition, TargetInfo};

const PPM_IN_PERCENT: u32 = 10_000;
/// Column of a list.
const TAKING: usize = 4;

/// Pools as a table.
#[must_use]
pub fn list(list: &PoolList, wide: bool) -> String {
    if list.pools.is_empty() {
        return "the live policy has no pools\n".to_owned();
    }
    let mut heads = vec!["NAME", "FORWARD", "HASH", ">TARGETS", ">TAKING", ">PACKETS", ">BYTES"];
    if wide {
        heads.push("ROUTES");
    }
    let looked_after = list.pools.iter().any(|pool| pool.health.is_some());
    if looked_after {
        heads.insert(TAKING + 1, "HEALTH");
    }
    let mut columns = Columns::new(&heads);
    for pool in &list.pools {
        let taking = pool.targets.iter().filter(|target| takes(target)).count();
        let packets = pool.targets.iter().map(|target| target.sent.packets).sum();
        let sent = pool.targets.iter().map(|target| target.sent.bytes).sum();
        let mut cells = vec![
            pool.name.clone(),
            pool.forward.clone(),
            pool.hash.clone(),
            pool.targets.len().to_string(),
            taking.to_string(),
            number(packets, wide),
            bytes(sent, wide),
        ];
        if wide {
            cells.push(pool.routes.join(","));
        }
        if looked_after {
            cells.insert(TAKING + 1, health::of_pool(pool));
        }
        columns.row(cells);
    }
    columns.text()
}

/// A pool and its targets.
#[must_use]
pub fn one(pool: &PoolInfo, rates: Option<&[TargetRate]>, now_unix_ms: u64, wide: bool) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key:<10}{value}\n"));
    line("pool", &pool.name);
    let port = pool.port.map_or_else(String::new, |port| format!(", port {port}"));
    line("forward", &format!("{}{port}", pool.forward));
    line("hash", &pool.hash);
    if let Some(source) = source(pool) {
        line("source", &source);
    }
    if let Some(translation) = &pool.translation {
        let timeouts: Vec<String> =
            translation.timeouts.iter().map(|timeout| format!("{} {}", timeout.key, timeout.time)).collect();
        line("timeouts", &timeouts.join(", "));
        line("affinity", translation.affinity.as_deref().unwrap_or("none"));
    }
    if let Some(mss) = &pool.mss {
        line("mss", mss);
    }
    if let Some(terms) = &pool.health {
        line("check", terms.check.as_deref().unwrap_or("none"));
        line("passive", terms.passive.as_deref().unwrap_or("none"));
        line("eject", &terms.eject);
    }
    line("routes", &if pool.routes.is_empty() { "none".to_owned() } else { names(&pool.routes) });
    let taking = pool.targets.iter().filter(|target| takes(target)).count();
    line("targets", &format!("{}, {taking} of them taking packets", count(pool.targets.len(), "target")));
    text.push('\n');
    text + &targets(pool, rates, wide) + &health::troubles(pool, now_unix_ms)
}

/// What the targets' network sees for a source, where it is not the client's own.
fn source(pool: &PoolInfo) -> Option<String> {
    let translated = pool.translation.as_ref().map(|translation| translation.sources);
    let chosen = || "by the node's routing".to_owned();
    let named = if pool.source.is_empty() { chosen() } else { pool.source.join(", ") };
    match translated {
        None if pool.forward == "l2" => None,
        None => Some(named),
        Some(false) => Some("clients keep theirs".to_owned()),
        Some(true) => {
            let ports = pool.translation.as_ref().and_then(|translation| translation.ports.clone());
            Some(format!("{named}, ports {}", ports.unwrap_or_default()))
        }
    }
}

fn targets(pool: &PoolInfo, rates: Option<&[TargetRate]>, wide: bool) -> String {
    let tracks = pool.targets.iter().any(|target| target.connections.is_some());
    let labels = pool.targets.iter().any(|target| !target.labels.is_empty());
    let health = pool.health.is_some();
    let mut heads = vec!["TARGET", "ADDRESS", ">WEIGHT", ">SHARE", "STATE"];
    if health {
        heads.push("HEALTH");
    }
    if tracks {
        heads.extend([">OPEN", ">OPENED"]);
    }
    heads.extend([">PACKETS", ">BYTES"]);
    if tracks {
        heads.extend([">RETURNED", ">RETURNED BYTES"]);
    }
    if rates.is_some() {
        heads.extend([">PACKET RATE", ">BIT RATE"]);
    }
    if health && wide {
        heads.extend(health::WIDE);
    }
    if labels {
        heads.push("LABELS");
    }
    let mut columns = Columns::new(&heads);
    for (place, target) in pool.targets.iter().enumerate() {
        let mut cells = vec![
            target.name.clone(),
            endpoint(&target.address, target.port),
            weight(target),
            target.share_ppm.map_or_else(|| "-".to_owned(), percent),
            state(target),
        ];
        if health {
            cells.push(health::word(target).to_owned());
        }
        let connections = target.connections.as_ref();
        cells.extend(connections.map(|of| number(of.open, wide)));
        cells.extend(connections.map(|of| number(of.opened, wide)));
        cells.extend([number(target.sent.packets, wide), bytes(target.sent.bytes, wide)]);
        cells.extend(connections.map(|of| number(of.returned.packets, wide)));
        cells.extend(connections.map(|of| bytes(of.returned.bytes, wide)));
        if let Some(rates) = rates {
            let rate = rates.get(place);
            cells.push(rate.map_or_else(String::new, |rate| packet_rate(rate.packets_per_sec)));
            cells.push(rate.map_or_else(String::new, |rate| bit_rate(rate.bytes_per_sec)));
        }
        if health && wide {
            cells.extend(health::wide(target));
        }
        if labels {
            let labels: Vec<String> =
                target.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            cells.push(labels.join(","));
        }
        columns.row(cells);
    }
    columns.text()
}

fn takes(target: &TargetInfo) -> bool {
    target.state == TargetCondition::Taking
}

/// `taking`, `draining`, `draining until 2026-11-21 05:10:22 UTC` or `off`.
fn state(target: &TargetInfo) -> String {
    match (target.state, target.drains_until_unix_ms) {
        (TargetCondition::Taking, _) => "taking".to_owned(),
        (TargetCondition::Off, _) => "off".to_owned(),
        (TargetCondition::Draining, None) => "draining".to_owned(),
        (TargetCondition::Draining, Some(end_ms)) => format!("draining until {}", date_time(end_ms / 1_000)),
    }
}

/// The weight, and the policy's where that is another.
fn weight(target: &TargetInfo) -> String {
    if target.weight == target.policy_weight {
        return target.weight.to_string();
    }
    format!("{} (policy {})", target.weight, target.policy_weight)
}

/// To a thousandth of a percent, about an element of the table.
pub(super) fn percent(ppm: u32) -> String {
    format!("{}.{:03} %", ppm / PPM_IN_PERCENT, ppm % PPM_IN_PERCENT / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Counts, TargetConnections, TimeoutInfo, TranslationInfo};
    use std::collections::BTreeMap;

    fn target(name: &str, address: &str, weight: u16, share_ppm: Option<u32>, packets: u64) -> TargetInfo {
        let sent = Counts { packets, bytes: packets * 1_000 };
        TargetInfo {
            name: name.into(),
            address: address.into(),
            weight,
            policy_weight: weight.max(5),
            share_ppm,
            state: if weight > 0 { TargetCondition::Taking } else { TargetCondition::Off },
            drains_until_unix_ms: None,
            port: None,
            labels: BTreeMap::new(),
            sent,
            connections: None,
            health: None,
        }
    }

    fn pool() -> PoolInfo {
        PoolInfo {
            name: "web".into(),
            forward: "gue".into(),
            hash: "five-tuple".into(),
            port: Some(6080),
            source: Vec::new(),
            translation: None,
            mss: None,
            health: None,
            routes: vec!["web".into(), "web6".into()],
            targets: vec![
                target("v1", "10.0.0.11", 95, Some(949_998), 1_234_567),
                target("v2", "2001:db8::12", 5, Some(50_002), 64_000),
                target("v3", "10.0.0.13", 0, None, 0),
            ],
        }
    }

    #[test]
    fn a_list() {
        let list = PoolList { generation: 3, pools: vec![pool()] };
        let text = "\
NAME  FORWARD  HASH        TARGETS  TAKING  PACKETS    BYTES
web   gue      five-tuple        3       2    1.30M  1.30 GB
";
        assert_eq!(super::list(&list, false), text);
        let none = PoolList { generation: 3, pools: Vec::new() };
        assert_eq!(super::list(&none, false), "the live policy has no pools\n");
    }

    #[test]
    fn one_pool() {
        let text = "\
pool      web
forward   gue, port 6080
hash      five-tuple
source    by the node's routing
routes    web, web6
targets   3 targets, 2 of them taking packets

TARGET  ADDRESS             WEIGHT     SHARE  STATE   PACKETS    BYTES
v1      10.0.0.11               95  94.999 %  taking    1.23M  1.23 GB
v2      2001:db8::12             5   5.000 %  taking    64.0k  64.0 MB
v3      10.0.0.13     0 (policy 5)         -  off           0      0 B
";
        assert_eq!(one(&pool(), None, 0, false), text);
        let rate = |target: &str, packets_per_sec| TargetRate {
            target: target.into(),
            packets_per_sec,
            bytes_per_sec: packets_per_sec * 1_000.0,
        };
        let rates = [rate("v1", 95_000.0), rate("v2", 5_000.0), rate("v3", 0.0)];
        let text = one(&pool(), Some(&rates), 0, false);
        assert!(text.contains("1.23 GB    95.0 kpps   760 Mbit/s\n"), "{text}");
    }

    #[test]
    fn a_pool_that_translates() {
        let mut pool = pool();
        let timeouts = vec![TimeoutInfo { key: "udp".into(), time: "2m".into() }];
        pool.forward = "dnat".into();
        pool.port = None;
        pool.mss = Some("clamp".into());
        pool.translation = Some(TranslationInfo {
            sources: true,
            ports: Some("61000-65535".into()),
            timeouts,
            affinity: Some("10m".into()),
        });
        for target in &mut pool.targets {
            let returned = Counts { packets: 7, bytes: 700 };
            target.connections =
                Some(TargetConnections { open: 3, half_open: 1, opened: 9, evicted: 0, returned });
        }
        pool.targets[0].port = Some(8_080);
        pool.targets[1].state = TargetCondition::Draining;
        pool.targets[1].drains_until_unix_ms = Some(1_700_000_000_000);
        pool.targets[1].labels = [("version".to_owned(), "v2".to_owned())].into();
        pool.targets.truncate(2);
        let text = "\
pool      web
forward   dnat
hash      five-tuple
source    by the node's routing, ports 61000-65535
timeouts  udp 2m
affinity  10m
mss       clamp
routes    web, web6
targets   2 targets, 1 of them taking packets

TARGET  ADDRESS         WEIGHT     SHARE  STATE                                   OPEN  OPENED  PACKETS    BYTES  RETURNED  RETURNED BYTES  LABELS
v1      10.0.0.11:8080      95  94.999 %  taking                                     3       9    1.23M  1.23 GB         7           700 B
v2      2001:db8::12         5   5.000 %  draining until 2023-11-14 22:13:20 UTC     3       9    64.0k  64.0 MB         7           700 B  version=v2
";
        let plain: Vec<String> =
            one(&pool, None, 0, false).lines().map(|line| line.trim_end().to_owned()).collect();
        let expected: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(plain, expected);
    }
}
