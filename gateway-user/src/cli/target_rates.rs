//! What goes to targets, and how they answer, from two looks at their counters.

use crate::api::types::{HandshakesInfo, HealthState, PoolInfo, TargetCondition, TargetInfo};
use crate::handshakes::quantile_ns;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetTop {
    /// Pools of which all targets are used, since so little is in service.
    pub panics: Vec<String>,
    /// Targets, in the order of their pools.
    pub targets: Vec<RatedTarget>,
}

/// A target, and what happened since the look before; nothing of what is not known of its pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatedTarget {
    /// `web/v2`.
    pub target: String,
    /// Its health, or else whether it takes connections; `draining` and `off` come before health.
    pub state: String,
    /// Whether it is in service.
    pub up: bool,
    /// The weight that counts now.
    pub weight: f64,
    /// Connections that are open.
    pub connections_open: Option<u64>,
    /// New connections a second.
    pub connections_per_sec: Option<f64>,
    /// Packets a second.
    pub packets_per_sec: f64,
    /// Bytes a second.
    pub bytes_per_sec: f64,
    /// What half of the handshakes took less than, microseconds.
    pub handshake_p50_us: Option<u64>,
    /// Unanswered handshakes a second.
    pub unanswered_per_sec: Option<f64>,
    /// Resets by the target a second, at whatever time of a connection.
    pub resets_per_sec: Option<f64>,
    /// Segments that clients sent again, a second.
    pub retransmissions_per_sec: Option<f64>,
}

/// Compares two looks. A target that was not there before has no rates yet.
#[must_use]
pub fn compare(before: &[PoolInfo], now: &[PoolInfo], elapsed: Duration) -> TargetTop {
    let all = |pools: &'_ [PoolInfo]| -> Vec<(String, TargetInfo)> {
        let of = |pool: &PoolInfo| -> Vec<(String, TargetInfo)> {
            let named = |target: &TargetInfo| (format!("{}/{}", pool.name, target.name), target.clone());
            pool.targets.iter().map(named).collect()
        };
        pools.iter().flat_map(of).collect()
    };
    let before: HashMap<String, TargetInfo> = all(before).into_iter().collect();
    let rated = |(name, target): (String, TargetInfo)| {
        let then = before.get(&name).unwrap_or(&target);
        rated(name, then, &target, elapsed.as_secs_f64())
    };
    let panics = now.iter().filter(|pool| pool.health.as_ref().is_some_and(|health| health.panic));
    TargetTop {
        panics: panics.map(|pool| pool.name.clone()).collect(),
        targets: all(now).into_iter().map(rated).collect(),
    }
}

fn rated(name: String, then: &TargetInfo, now: &TargetInfo, secs: f64) -> RatedTarget {
    let per_sec = |then: u64, now: u64| now.saturating_sub(then) as f64 / secs;
    let none = HandshakesInfo::default();
    let before = then.health.as_ref().map_or(&none, |health| &health.handshakes);
    let told = now.health.as_ref().map(|health| &health.handshakes);
    let rate = |count: fn(&HandshakesInfo) -> u64| told.map(|told| per_sec(count(before), count(told)));
    let opened = match (&then.connections, &now.connections) {
        (Some(then), Some(now)) => Some(per_sec(then.opened, now.opened)),
        _ => rate(|told| told.answered),
    };
    let half = told.and_then(|told| {
        let earlier = before.times.iter().copied().chain(std::iter::repeat(0));
        let times: Vec<u64> =
            told.times.iter().zip(earlier).map(|(now, then)| now.saturating_sub(then)).collect();
        quantile_ns(&times, 50)
    });
    let takes = now.state == TargetCondition::Taking;
    let (state, up) = match (&now.health, now.state) {
        (_, TargetCondition::Draining) => ("draining", false),
        (_, TargetCondition::Off) => ("off", false),
        (Some(health), TargetCondition::Taking) => (health.state.name(), health.state == HealthState::Up),
        (None, TargetCondition::Taking) => ("taking", true),
    };
    let plain_weight = if takes { f64::from(now.weight) } else { 0.0 };
    RatedTarget {
        target: name,
        state: state.to_owned(),
        up,
        weight: now.health.as_ref().map_or(plain_weight, |health| health.effective_weight),
        connections_open: now.connections.as_ref().map(|connections| connections.open),
        connections_per_sec: opened,
        packets_per_sec: per_sec(then.sent.packets, now.sent.packets),
        bytes_per_sec: per_sec(then.sent.bytes, now.sent.bytes),
        handshake_p50_us: half.map(|ns| ns.div_ceil(1_000)),
        unanswered_per_sec: rate(|told| told.unanswered),
        resets_per_sec: rate(|told| told.refused + told.reset),
        retransmissions_per_sec: rate(|told| told.retransmitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{CircuitInfo, Counts, TargetConnections, TargetHealthInfo};
    use std::collections::BTreeMap;

    fn target(health: Option<HandshakesInfo>, packets: u64) -> TargetInfo {
        let health = health.map(|handshakes| TargetHealthInfo {
            state: HealthState::Recovering,
            reason: String::new(),
            since_unix_ms: 0,
            circuit: CircuitInfo { state: "recovering".into(), held: false, strikes: 1, trips: 1, spared: 0 },
            share_ppm: 250_000,
            effective_weight: 2.5,
            check: None,
            handshakes,
        });
        TargetInfo {
            name: "a".into(),
            address: "10.0.0.1".into(),
            port: None,
            labels: BTreeMap::new(),
            weight: 10,
            policy_weight: 10,
            share_ppm: None,
            state: TargetCondition::Taking,
            drains_until_unix_ms: None,
            sent: Counts { packets, bytes: packets * 100 },
            connections: None,
            health,
        }
    }

    fn told(scale: u64) -> HandshakesInfo {
        HandshakesInfo {
            answered: 10 * scale,
            times: vec![0, 4 * (scale > 1) as u64, 5 * scale, 5 * scale],
            unanswered: scale,
            refused: 2 * scale,
            reset: 3 * scale,
            retransmitted: 4 * scale,
            ..HandshakesInfo::default()
        }
    }

    #[test]
    fn rates_are_of_the_time_between_looks() {
        let rated = rated("web/a".into(), &target(Some(told(1)), 10), &target(Some(told(3)), 50), 2.0);
        let wanted = RatedTarget {
            target: "web/a".into(),
            state: "recovering".into(),
            up: false,
            weight: 2.5,
            connections_open: None,
            connections_per_sec: Some(10.0),
            packets_per_sec: 20.0,
            bytes_per_sec: 2_000.0,
            // 4, 10 and 10 in the buckets below 2, 4 and 8 units.
            handshake_p50_us: Some(5),
            unanswered_per_sec: Some(1.0),
            resets_per_sec: Some(5.0),
            retransmissions_per_sec: Some(4.0),
        };
        assert_eq!(rated, wanted);
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        let mut plain = target(None, 5);
        let first = rated("web/a".into(), &plain, &plain, 1.0);
        assert_eq!((first.state.as_str(), first.up, first.weight), ("taking", true, 10.0));
        assert_eq!(
            (first.connections_per_sec, first.unanswered_per_sec, first.handshake_p50_us),
            (None, None, None)
        );
        let returned = Counts { packets: 0, bytes: 0 };
        let connections = |opened| TargetConnections { open: 7, half_open: 2, opened, evicted: 0, returned };
        plain.connections = Some(connections(5));
        plain.state = TargetCondition::Draining;
        let later = TargetInfo { connections: Some(connections(9)), ..plain.clone() };
        let second = rated("web/a".into(), &plain, &later, 2.0);
        assert_eq!((second.connections_open, second.connections_per_sec), (Some(7), Some(2.0)));
        assert_eq!((second.state.as_str(), second.weight), ("draining", 0.0));
    }
}
