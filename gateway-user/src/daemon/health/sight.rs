//! The health of pools and targets as readers see it: what the daemon knows beside what the kernel counts.

use super::book::{Now, Watched};
use crate::api::types::{
    CheckInfo, CircuitInfo, HandshakesInfo, HealthState, PoolHealthInfo, TargetHealthInfo,
};
use crate::daemon::governor::Governor;
use crate::dataplane::Readers;
use crate::handshakes::quantile_ns;
use crate::policy::{Check, CheckKind, Health, Pool, duration_text};
use gateway_common::abi::HandshakeCount;
use gateway_common::health::{Circuit, Standing, WHOLE};
use std::collections::BTreeMap;
use std::time::Duration;

const MILLION: u64 = 1_000_000;

/// The health of a pool's targets at a moment.
#[derive(Clone, Debug)]
pub struct PoolSight {
    /// Whether all targets are used, since so little is in service.
    pub panic: bool,
    /// Its targets, by name.
    pub targets: BTreeMap<String, TargetSight>,
}

/// The health of a target at a moment.
#[derive(Clone, Debug)]
pub struct TargetSight {
    /// Its slot.
    pub slot: u32,
    /// In a word.
    pub state: HealthState,
    /// Why.
    pub reason: String,
    /// Since when, Unix milliseconds.
    pub since_unix_ms: u64,
    /// Its circuit.
    pub circuit: Circuit,
    /// How that stands.
    pub standing: Standing,
    /// How often it opened by itself.
    pub trips: u64,
    /// How often it would have, had not so many others been open.
    pub spared: u64,
    /// Part of [`WHOLE`] of its new connections that it gets.
    pub share: u32,
    /// Its weight; 0 while it drains, or while its checks fail and the pool does not panic.
    pub weight: u16,
    /// What its checks say, if they say anything yet.
    pub passes: Option<bool>,
    /// Its last check: the time that the answer took, or what was wrong.
    pub last: Option<Result<Duration, String>>,
    /// What handshakes told.
    pub handshakes: HandshakeCount,
}

impl TargetSight {
    fn of(watched: &Watched, panic: bool, readers: &Readers, now: Now) -> TargetSight {
        let found = readers.target_health(watched.slot);
        let circuit = Circuit(found.circuit);
        let passes = watched.passes();
        TargetSight {
            slot: watched.slot,
            state: state(passes, watched.standing),
            reason: watched.reason.clone(),
            since_unix_ms: watched.since_unix_ms,
            circuit,
            standing: circuit.standing(now.circuit, &found),
            trips: found.trips,
            spared: found.spared,
            share: if panic { WHOLE } else { circuit.share(now.circuit, &found) },
            weight: if passes == Some(false) && !panic { 0 } else { watched.weight },
            passes,
            last: watched.last.clone(),
            handshakes: readers.handshakes(watched.slot),
        }
    }

    /// Its weight, and of that its share.
    #[must_use]
    pub fn effective_weight(&self) -> f64 {
        f64::from(self.weight) * f64::from(self.share) / f64::from(WHOLE)
    }

    /// Whether new connections go to it at all.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.weight > 0 && self.share > 0
    }

    /// As the API shows it.
    pub(in crate::daemon) fn info(self, check: Option<&Check>) -> TargetHealthInfo {
        TargetHealthInfo {
            state: self.state,
            circuit: CircuitInfo {
                state: self.standing.name().to_owned(),
                held: self.circuit.is_held(),
                strikes: self.circuit.strikes() as u32,
                trips: self.trips,
                spared: self.spared,
            },
            share_ppm: (u64::from(self.share) * MILLION / u64::from(WHOLE)) as u32,
            effective_weight: self.effective_weight(),
            check: check.map(|check| CheckInfo {
                kind: check.kind.name().to_owned(),
                passes: self.passes,
                took_us: self.last.as_ref().and_then(|last| last.as_ref().ok()).map(micros),
                error: self.last.as_ref().and_then(|last| last.as_ref().err()).cloned(),
            }),
            handshakes: handshakes(&self.handshakes),
            reason: self.reason,
            since_unix_ms: self.since_unix_ms,
        }
    }
}

fn micros(time: &Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// In a word: what checks say comes before what the circuit does.
fn state(passes: Option<bool>, standing: Standing) -> HealthState {
    match (passes, standing) {
        (Some(false), _) => HealthState::Down,
        (_, Standing::Closed) => HealthState::Up,
        (_, Standing::Open) => HealthState::Open,
        (_, Standing::Trial) => HealthState::HalfOpen,
        (_, Standing::Recovering) => HealthState::Recovering,
    }
}

fn handshakes(count: &HandshakeCount) -> HandshakesInfo {
    let quantile = |percent| quantile_ns(&count.times, percent).map(|ns| ns.div_ceil(1_000));
    HandshakesInfo {
        answered: count.times.iter().sum(),
        p50_us: quantile(50),
        p99_us: quantile(99),
        time_us: count.time_ns / 1_000,
        times: count.times.to_vec(),
        unanswered: count.unanswered,
        refused: count.refused,
        reset: count.reset,
        retransmitted: count.retransmitted,
        passed_over: count.passed_over,
    }
}

/// A pool's terms in words.
pub(in crate::daemon) fn pool_info(health: &Health, panic: bool) -> PoolHealthInfo {
    let time = duration_text;
    let passive = health.passive.map(|passive| {
        format!(
            "{} failed handshakes, {}% of all, within {}",
            passive.failures,
            passive.ratio,
            time(passive.window)
        )
    });
    let eject = health.eject;
    PoolHealthInfo {
        panic,
        panic_percent: health.panic,
        check: health.check.as_ref().map(check_text),
        passive,
        eject: format!(
            "for {}, each time twice as long up to {}, {}% of the targets at most",
            time(eject.base),
            time(eject.most),
            eject.at_most
        ),
        slow_start: time(health.slow_start),
        trial_percent: health.trial,
        connections_max: health.connections,
    }
}

fn check_text(check: &Check) -> String {
    let (what, port) = match &check.kind {
        CheckKind::Http { port, path, .. } => (format!("http {path}"), *port),
        CheckKind::Tcp { port } | CheckKind::Tls { port, .. } => (check.kind.name().to_owned(), *port),
        CheckKind::Icmp => (check.kind.name().to_owned(), None),
    };
    format!(
        "{what}{} every {}, {} to answer, up after {}, down after {}",
        port.map_or_else(String::new, |port| format!(", port {port},")),
        duration_text(check.interval),
        duration_text(check.timeout),
        check.rise,
        check.fall,
    )
}

impl Governor {
    /// The health of the targets of a pool of the live policy, where it is looked after.
    pub(in crate::daemon) fn pool_sight(&self, (name, pool): (&str, &Pool)) -> Option<PoolSight> {
        pool.health.as_ref()?;
        let now = Now::of(self);
        let book = self.health();
        let panic = book.panics(name);
        let sight = |target: &String| {
            let watched = book.target(name, target)?;
            Some((target.clone(), TargetSight::of(watched, panic, self.readers(), now)))
        };
        Some(PoolSight { panic, targets: pool.targets.keys().filter_map(sight).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse;

    fn sight(weight: u16, share: u32) -> TargetSight {
        let mut handshakes = HandshakeCount { time_ns: 5_000, unanswered: 3, ..HandshakeCount::default() };
        (handshakes.times[0], handshakes.times[4]) = (1, 2);
        TargetSight {
            slot: 1,
            state: HealthState::Recovering,
            reason: "its share grows for 30s".to_owned(),
            since_unix_ms: 7,
            circuit: Circuit::default(),
            standing: Standing::Recovering,
            trips: 2,
            spared: 1,
            share,
            weight,
            passes: Some(true),
            last: Some(Ok(Duration::from_micros(1_500))),
            handshakes,
        }
    }

    #[test]
    fn a_weight_counts_by_its_share() {
        for (weight, share, effective) in
            [(100, WHOLE, 100.0), (100, WHOLE / 4, 25.0), (100, 0, 0.0), (0, WHOLE, 0.0), (3, WHOLE / 2, 1.5)]
        {
            let sight = sight(weight, share);
            assert_eq!((sight.effective_weight(), sight.takes()), (effective, effective > 0.0));
        }
    }

    #[test]
    fn what_checks_say_comes_first() {
        assert_eq!(state(Some(false), Standing::Closed), HealthState::Down);
        assert_eq!(state(None, Standing::Closed), HealthState::Up);
        assert_eq!(state(Some(true), Standing::Open), HealthState::Open);
        assert_eq!(state(None, Standing::Trial), HealthState::HalfOpen);
    }

    #[test]
    fn as_the_api_shows_it() {
        let policy = parse(
            "t",
            "version: 1
pools:
  web:
    forward: dnat
    targets: [{name: a, address: 10.0.0.1, port: 80}]
    health: {check: {http: {path: /up, port: 81}}, passive: {failures: 7}, slow_start: 5s, connections: 9}
",
        )
        .unwrap();
        let health = policy.pools["web"].health.as_ref().unwrap();
        let info = sight(100, WHOLE / 2).info(health.check.as_ref());
        assert_eq!((info.share_ppm, info.effective_weight), (500_000, 50.0));
        let check = CheckInfo { kind: "http".into(), passes: Some(true), took_us: Some(1_500), error: None };
        assert_eq!(info.check, Some(check));
        let told = &info.handshakes;
        assert_eq!((told.answered, told.p50_us, told.p99_us, told.time_us), (3, Some(17), Some(17), 5));
        let failed = TargetSight { last: Some(Err("connection refused".into())), ..sight(1, 0) };
        let check = failed.info(health.check.as_ref()).check.unwrap();
        assert_eq!((check.took_us, check.error.as_deref()), (None, Some("connection refused")));
        assert_eq!(sight(1, 0).info(None).check, None);
        let words = pool_info(health, true);
        assert_eq!(
            words.check.as_deref(),
            Some("http /up, port 81, every 2s, 1s to answer, up after 2, down after 3")
        );
        assert_eq!(words.passive.as_deref(), Some("7 failed handshakes, 50% of all, within 10s"));
        assert_eq!(words.eject, "for 10s, each time twice as long up to 5m, 50% of the targets at most");
        assert_eq!((words.panic, words.panic_percent, words.connections_max), (true, 50, Some(9)));
    }
}
