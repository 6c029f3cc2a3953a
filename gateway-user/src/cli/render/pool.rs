//! Pools.

use super::super::command::pool::TargetRate;
use super::super::output::Columns;
use super::super::units::{bit_rate, bytes, number, packet_rate};
use super::{count, names};
use crate::api::types::{PoolInfo, PoolList, TargetInfo};

const PPM_IN_PERCENT: u32 = 10_000;

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
    let mut columns = Columns::new(&heads);
    for pool in &list.pools {
        let taking = pool.targets.iter().filter(|target| target.weight > 0).count();
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
        columns.row(cells);
    }
    columns.text()
}

/// A pool and its targets.
#[must_use]
pub fn one(pool: &PoolInfo, rates: Option<&[TargetRate]>, wide: bool) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key:<10}{value}\n"));
    line("pool", &pool.name);
    let port = pool.port.map_or_else(String::new, |port| format!(", port {port}"));
    line("forward", &format!("{}{port}", pool.forward));
    line("hash", &pool.hash);
    if pool.forward != "l2" {
        let chosen = "by the node's routing".to_owned();
        line("source", &if pool.source.is_empty() { chosen } else { pool.source.join(", ") });
    }
    line("routes", &if pool.routes.is_empty() { "none".to_owned() } else { names(&pool.routes) });
    let taking = pool.targets.iter().filter(|target| target.weight > 0).count();
    line("targets", &format!("{}, {taking} of them taking packets", count(pool.targets.len(), "target")));
    let mut heads = vec!["TARGET", "ADDRESS", ">WEIGHT", ">SHARE", ">PACKETS", ">BYTES"];
    if rates.is_some() {
        heads.extend([">PACKET RATE", ">BIT RATE"]);
    }
    let mut columns = Columns::new(&heads);
    for (place, target) in pool.targets.iter().enumerate() {
        let mut cells = vec![
            target.name.clone(),
            target.address.clone(),
            weight(target),
            target.share_ppm.map_or_else(|| "-".to_owned(), percent),
            number(target.sent.packets, wide),
            bytes(target.sent.bytes, wide),
        ];
        if let Some(rate) = rates.and_then(|rates| rates.get(place)) {
            cells.extend([packet_rate(rate.packets_per_sec), bit_rate(rate.bytes_per_sec)]);
        }
        columns.row(cells);
    }
    text.push('\n');
    text + &columns.text()
}

/// The weight, and the policy's where that is another.
fn weight(target: &TargetInfo) -> String {
    if target.weight == target.policy_weight {
        return target.weight.to_string();
    }
    format!("{} (policy {})", target.weight, target.policy_weight)
}

/// To a thousandth of a percent, about an element of the table.
fn percent(ppm: u32) -> String {
    format!("{}.{:03} %", ppm / PPM_IN_PERCENT, ppm % PPM_IN_PERCENT / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Counts;

    fn target(name: &str, address: &str, weight: u16, share_ppm: Option<u32>, packets: u64) -> TargetInfo {
        let sent = Counts { packets, bytes: packets * 1_000 };
        TargetInfo {
            name: name.into(),
            address: address.into(),
            weight,
            policy_weight: weight.max(5),
            share_ppm,
            sent,
        }
    }

    fn pool() -> PoolInfo {
        PoolInfo {
            name: "web".into(),
            forward: "gue".into(),
            hash: "five-tuple".into(),
            port: Some(6080),
            source: Vec::new(),
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

TARGET  ADDRESS             WEIGHT     SHARE  PACKETS    BYTES
v1      10.0.0.11               95  94.999 %    1.23M  1.23 GB
v2      2001:db8::12             5   5.000 %    64.0k  64.0 MB
v3      10.0.0.13     0 (policy 5)         -        0      0 B
";
        assert_eq!(one(&pool(), None, false), text);
        let rate = |target: &str, packets_per_sec| TargetRate {
            target: target.into(),
            packets_per_sec,
            bytes_per_sec: packets_per_sec * 1_000.0,
        };
        let rates = [rate("v1", 95_000.0), rate("v2", 5_000.0), rate("v3", 0.0)];
        let text = one(&pool(), Some(&rates), false);
        assert!(text.contains("1.23 GB    95.0 kpps   760 Mbit/s\n"), "{text}");
    }
}
