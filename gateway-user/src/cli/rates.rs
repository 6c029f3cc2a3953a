//! Rates of flows, from two looks at their accounts.

use super::args::RateColumn;
use crate::api::types::{Counts, Flow};
use serde::Serialize;
use std::collections::HashMap;

/// A flow and how fast it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rated {
    /// The flow.
    #[serde(flatten)]
    pub flow: Flow,
    /// Bytes a second since the look before.
    pub bytes_per_sec: f64,
    /// Packets a second since the look before.
    pub packets_per_sec: f64,
}

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Top {
    /// Flows that had packets since the look before, the fastest first.
    pub flows: Vec<Rated>,
    /// Flows that fit the query, active or not.
    pub known: u64,
    /// How many of the flows looked at were active.
    pub active: u64,
    /// Bytes a second of the active flows.
    pub bytes_per_sec: f64,
    /// Packets a second of the active flows.
    pub packets_per_sec: f64,
}

/// What tells one flow from another.
type Key = (String, u16, String, String, String, [Option<u16>; 4], bool);

fn key(flow: &Flow) -> Key {
    let numbers = [flow.source_port, flow.port, flow.icmp_type.map(u16::from), flow.icmp_code.map(u16::from)];
    (
        flow.interface.clone(),
        flow.vlan,
        flow.protocol.clone(),
        flow.source.clone(),
        flow.destination.clone(),
        numbers,
        flow.later_fragment,
    )
}

/// The look before.
#[derive(Debug, Default)]
pub struct Looks {
    before: HashMap<Key, Counts>,
    at_unix_ms: u64,
}

impl Looks {
    /// Takes a look and compares it with the one before. A flow may be in `flows` more than once.
    ///
    /// A flow that was not there before counts from its start if it began since, and else from the
    /// next look on; one whose account began anew counts from there.
    pub fn look(&mut self, flows: Vec<Flow>, known: u64, at_unix_ms: u64, by: RateColumn) -> Top {
        let secs = (at_unix_ms.saturating_sub(self.at_unix_ms)).max(1) as f64 / 1e3;
        let mut after = HashMap::with_capacity(flows.len());
        let mut rated = Vec::new();
        for flow in flows {
            let key = key(&flow);
            let before = match self.before.get(&key) {
                Some(&before) if before.packets <= flow.counts.packets => before,
                Some(_) => Counts::default(),
                None if flow.first_seen_unix_ms >= self.at_unix_ms => Counts::default(),
                None => flow.counts,
            };
            if after.insert(key, flow.counts).is_some() {
                continue;
            }
            let packets = flow.counts.packets - before.packets;
            if packets > 0 {
                let bytes = flow.counts.bytes.saturating_sub(before.bytes);
                rated.push(Rated {
                    flow,
                    bytes_per_sec: bytes as f64 / secs,
                    packets_per_sec: packets as f64 / secs,
                });
            }
        }
        let speed = |rated: &Rated| match by {
            RateColumn::Bytes => rated.bytes_per_sec,
            RateColumn::Packets => rated.packets_per_sec,
        };
        rated.sort_by(|a, b| speed(b).total_cmp(&speed(a)));
        self.before = after;
        self.at_unix_ms = at_unix_ms;
        Top {
            known,
            active: rated.len() as u64,
            bytes_per_sec: rated.iter().map(|rated| rated.bytes_per_sec).sum(),
            packets_per_sec: rated.iter().map(|rated| rated.packets_per_sec).sum(),
            flows: rated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16, packets: u64, first_seen_unix_ms: u64) -> Flow {
        Flow {
            interface: "eth0".into(),
            vlan: 0,
            protocol: "udp".into(),
            source: "192.0.2.1".into(),
            source_port: Some(1),
            destination: "192.0.2.2".into(),
            port: Some(port),
            icmp_type: None,
            icmp_code: None,
            later_fragment: false,
            counts: Counts { packets, bytes: packets * 100 },
            first_seen_unix_ms,
            last_seen_unix_ms: first_seen_unix_ms,
            tcp_flags: String::new(),
            verdict: "pass".into(),
            reason: None,
            route: "r".into(),
            mark: None,
            priority: None,
            redirect: None,
        }
    }

    fn speeds(top: &Top) -> Vec<(Option<u16>, f64)> {
        top.flows.iter().map(|rated| (rated.flow.port, rated.packets_per_sec)).collect()
    }

    #[test]
    fn rates_are_of_the_time_between_looks() {
        let mut looks = Looks::default();
        looks.look(vec![flow(1, 1000, 0), flow(2, 10, 0), flow(3, 50, 0)], 3, 10_000, RateColumn::Packets);
        let top = looks.look(
            vec![
                flow(1, 1000, 0),     // idle
                flow(2, 410, 0),      // 400 in 2 s
                flow(2, 410, 0),      // the same again
                flow(3, 4, 11_000),   // began anew
                flow(4, 100, 11_000), // new
                flow(5, 9999, 500),   // was there before, but not looked at
            ],
            5,
            12_000,
            RateColumn::Packets,
        );
        assert_eq!(speeds(&top), [(Some(2), 200.0), (Some(4), 50.0), (Some(3), 2.0)]);
        assert_eq!((top.active, top.known), (3, 5));
        assert_eq!(top.packets_per_sec, 252.0);
        let top = looks.look(vec![flow(5, 10_000, 500)], 5, 13_000, RateColumn::Packets);
        assert_eq!(speeds(&top), [(Some(5), 1.0)]);
    }
}
