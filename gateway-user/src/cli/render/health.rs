//! The health of pools and targets.

use super::super::units::{duration_us, grouped, span};
use super::pool::percent;
use crate::api::types::{CheckInfo, HealthState, PoolInfo, TargetHealthInfo, TargetInfo};

/// Heads of what a wide table says of a target's health.
pub const WIDE: [&str; 9] = [
    ">GETS",
    ">HANDSHAKE P50",
    ">P99",
    ">UNANSWERED",
    ">REFUSED",
    ">RESET",
    ">RETRANSMITTED",
    ">TRIPS",
    "LAST CHECK",
];

/// A target's health in one word; `-` where nobody looks after it.
#[must_use]
pub fn word(target: &TargetInfo) -> &'static str {
    target.health.as_ref().map_or("-", |health| health.state.name())
}

/// The cells under [`WIDE`].
#[must_use]
pub fn wide(target: &TargetInfo) -> [String; 9] {
    let Some(health) = &target.health else { return std::array::from_fn(|_| "-".to_owned()) };
    let told = &health.handshakes;
    let time = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), |us| format!("<{}", duration_us(us)));
    [
        percent(health.share_ppm),
        time(told.p50_us),
        time(told.p99_us),
        told.unanswered.to_string(),
        told.refused.to_string(),
        told.reset.to_string(),
        told.retransmitted.to_string(),
        health.circuit.trips.to_string(),
        health.check.as_ref().map_or_else(|| "-".to_owned(), last),
    ]
}

/// `http 1.2 ms`, `http: connection refused`, `http pending`.
fn last(check: &CheckInfo) -> String {
    match (&check.error, check.took_us) {
        (Some(error), _) => format!("{}: {error}", check.kind),
        (None, Some(us)) => format!("{} {}", check.kind, duration_us(us)),
        (None, None) => format!("{} pending", check.kind),
    }
}

/// A pool's health in a list: `2 of 3 up`, `panic, 1 of 3 up`, or `-`.
#[must_use]
pub fn of_pool(pool: &PoolInfo) -> String {
    let Some(terms) = &pool.health else { return "-".to_owned() };
    let up = pool.targets.iter().filter(|target| health_of(target, HealthState::Up)).count();
    let panic = if terms.panic { "panic, " } else { "" };
    format!("{panic}{up} of {} up", pool.targets.len())
}

fn health_of(target: &TargetInfo, state: HealthState) -> bool {
    target.health.as_ref().is_some_and(|health| health.state == state)
}

/// What is to be said of a pool's health below its targets: a panic, and each target that is not up; nothing where all
/// is well.
#[must_use]
pub fn troubles(pool: &PoolInfo, now_unix_ms: u64) -> String {
    let mut text = String::new();
    if let Some(terms) = pool.health.as_ref().filter(|terms| terms.panic) {
        text.push_str(&format!(
            "panic: less than {}% of the weight is in service, all targets are used\n",
            terms.panic_percent
        ));
    }
    for target in &pool.targets {
        if let Some(health) = target.health.as_ref().filter(|health| health.state != HealthState::Up) {
            text.push_str(&trouble(&pool.name, &target.name, health, now_unix_ms));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// `web/v2 down for 12s: tcp: connection refused, 3 times in a row`.
fn trouble(pool: &str, target: &str, health: &TargetHealthInfo, now_unix_ms: u64) -> String {
    let since = span(now_unix_ms.saturating_sub(health.since_unix_ms) / 1_000);
    let passed_over = match health.handshakes.passed_over {
        0 => String::new(),
        count => format!("; passed over {} times so far", grouped(count)),
    };
    format!("{pool}/{target} {} for {since}: {}{passed_over}\n", health.state.name(), health.reason)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::types::{CircuitInfo, Counts, HandshakesInfo, PoolHealthInfo, TargetCondition};
    use crate::cli::render::pool::{list, one};
    use std::collections::BTreeMap;

    fn health(state: HealthState, reason: &str) -> TargetHealthInfo {
        let up = state == HealthState::Up;
        TargetHealthInfo {
            state,
            reason: reason.into(),
            since_unix_ms: 88_000,
            circuit: CircuitInfo {
                state: if up { "closed" } else { "open" }.into(),
                held: state == HealthState::Down,
                strikes: 1,
                trips: 2,
                spared: 0,
            },
            share_ppm: if up { 1_000_000 } else { 0 },
            effective_weight: if up { 100.0 } else { 0.0 },
            check: Some(CheckInfo {
                kind: "http".into(),
                passes: Some(up),
                took_us: up.then_some(1_200),
                error: (!up).then(|| "connection refused".into()),
            }),
            handshakes: HandshakesInfo {
                answered: 10,
                p50_us: Some(132),
                p99_us: Some(2_098),
                unanswered: 3,
                refused: 1,
                retransmitted: 5,
                passed_over: if up { 0 } else { 1_234 },
                ..HandshakesInfo::default()
            },
        }
    }

    fn target(name: &str, health: TargetHealthInfo) -> TargetInfo {
        TargetInfo {
            name: name.into(),
            address: "10.0.0.11".into(),
            port: None,
            labels: BTreeMap::new(),
            weight: 100,
            policy_weight: 100,
            share_ppm: Some(500_000),
            state: TargetCondition::Taking,
            drains_until_unix_ms: None,
            sent: Counts { packets: 67, bytes: 6_700 },
            connections: None,
            health: Some(health),
        }
    }

    /// A pool of which one target is up, and the other is not.
    pub fn pool(panic: bool) -> PoolInfo {
        PoolInfo {
            name: "web".into(),
            forward: "l2".into(),
            hash: "source".into(),
            port: None,
            source: Vec::new(),
            translation: None,
            mss: None,
            health: Some(PoolHealthInfo {
                panic,
                panic_percent: 50,
                check: Some("http / every 2s, 1s to answer, up after 2, down after 3".into()),
                passive: None,
                eject: "for 10s".into(),
                slow_start: "30s".into(),
                trial_percent: 5,
                connections_max: None,
            }),
            routes: vec!["web".into()],
            targets: vec![
                target("v1", health(HealthState::Up, "in service")),
                target("v2", health(HealthState::Down, "http: connection refused, 3 times in a row")),
            ],
        }
    }

    #[test]
    fn a_pool_with_a_target_that_is_down() {
        let text = "\
pool      web
forward   l2
hash      source
check     http / every 2s, 1s to answer, up after 2, down after 3
passive   none
eject     for 10s
routes    web
targets   2 targets, 2 of them taking packets

TARGET  ADDRESS    WEIGHT     SHARE  STATE   HEALTH  PACKETS    BYTES
v1      10.0.0.11     100  50.000 %  taking  up           67  6.70 kB
v2      10.0.0.11     100  50.000 %  taking  down         67  6.70 kB

web/v2 down for 12s: http: connection refused, 3 times in a row; passed over 1,234 times so far
";
        assert_eq!(one(&pool(false), None, 100_000, false), text);
        let panics = one(&pool(true), None, 100_000, false);
        let said =
            "6.70 kB\n\npanic: less than 50% of the weight is in service, all targets are used\nweb/v2 down";
        assert!(panics.contains(said), "{panics}");
    }

    #[test]
    fn a_wide_table_tells_what_handshakes_told() {
        let text = one(&pool(false), None, 100_000, true);
        let table: Vec<&str> = text.lines().filter(|line| line.starts_with(['T', 'v'])).collect();
        assert_eq!(
            table,
            [
                "TARGET  ADDRESS    WEIGHT     SHARE  STATE   HEALTH  PACKETS  BYTES       GETS  HANDSHAKE P50      P99  \
                 UNANSWERED  REFUSED  RESET  RETRANSMITTED  TRIPS  LAST CHECK",
                "v1      10.0.0.11     100  50.000 %  taking  up           67   6700  100.000 %        <132 µs  <2.1 ms  \
                 \u{20}        3        1      0              5      2  http 1.2 ms",
                "v2      10.0.0.11     100  50.000 %  taking  down         67   6700    0.000 %        <132 µs  <2.1 ms  \
                 \u{20}        3        1      0              5      2  http: connection refused",
            ]
        );
    }

    #[test]
    fn a_list_tells_how_many_are_up() {
        let plain = PoolInfo { name: "plain".into(), health: None, ..pool(false) };
        let pools =
            crate::api::types::PoolList { generation: 1, pools: vec![plain, pool(false), pool(true)] };
        let text = "\
NAME   FORWARD  HASH    TARGETS  TAKING  HEALTH            PACKETS    BYTES
plain  l2       source        2       2  -                     134  13.4 kB
web    l2       source        2       2  1 of 2 up             134  13.4 kB
web    l2       source        2       2  panic, 1 of 2 up      134  13.4 kB
";
        assert_eq!(list(&pools, false), text);
    }

    #[test]
    fn a_check_that_has_not_answered_yet() {
        let check = CheckInfo { kind: "tcp".into(), passes: None, took_us: None, error: None };
        assert_eq!(last(&check), "tcp pending");
    }
}
