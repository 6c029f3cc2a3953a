//! The health of targets, for `/metrics`: of pools that have it looked after.

use super::catalog as c;
use super::family::Family;
use crate::daemon::{CheckCounts, Governor, TargetSight};
use crate::dataplane::TrackCounts;
use crate::handshakes::bound_ns;
use gateway_common::abi::HandshakeCount;
use gateway_common::health::{Standing, WHOLE};

const NS_IN_SEC: f64 = 1e9;
const STANDINGS: [Standing; 4] = [Standing::Closed, Standing::Open, Standing::Trial, Standing::Recovering];

/// The families of targets' health.
pub fn collect(governor: &Governor, connections: &TrackCounts) -> Vec<Family> {
    let mut states = States::new();
    let mut told = Told::new();
    let mut half_open = Family::new(c::TARGET_HALF_OPEN);
    let mut panic = Family::new(c::POOL_PANIC);
    for (pool, sight) in governor.pool_sights() {
        panic.count(&[&pool], sight.panic.into());
        for (target, of_target) in &sight.targets {
            let labels = [pool.as_str(), target.as_str()];
            states.add(labels, of_target);
            told.add(labels, of_target);
            if governor.readers().target_state(of_target.slot).is_some() {
                half_open.count(&labels, connections.half_open_of(of_target.slot));
            }
        }
    }
    let mut families = vec![half_open, panic];
    families.extend(checks(&governor.check_counts()));
    families.extend(states.families());
    families.extend(told.families());
    families
}

/// How the checks themselves do.
fn checks(counts: &CheckCounts) -> [Family; 2] {
    let mut made = Family::new(c::CHECKS);
    for (outcome, count) in [
        ("passed", counts.passed),
        ("failed", counts.failed),
        ("unmade", counts.unmade),
        ("skipped", counts.skipped),
    ] {
        made.count(&[outcome], count);
    }
    let mut late = Family::new(c::CHECK_LATE);
    let [bounded @ .., beyond] = counts.late;
    let bound = |(bucket, count)| (bound_ns(bucket) as f64 / NS_IN_SEC, count);
    late.histogram(&[], bounded.into_iter().enumerate().map(bound), beyond, counts.late_sum.as_secs_f64());
    [made, late]
}

/// What holds of targets now.
struct States {
    up: Family,
    passing: Family,
    circuit: Family,
    weight: Family,
    share: Family,
}

impl States {
    fn new() -> States {
        States {
            up: Family::new(c::TARGET_UP),
            passing: Family::new(c::TARGET_CHECK_PASSING),
            circuit: Family::new(c::TARGET_CIRCUIT),
            weight: Family::new(c::TARGET_EFFECTIVE_WEIGHT),
            share: Family::new(c::TARGET_SHARE),
        }
    }

    fn add(&mut self, labels: [&str; 2], sight: &TargetSight) {
        self.up.count(&labels, sight.takes().into());
        if let Some(passes) = sight.passes {
            self.passing.count(&labels, passes.into());
        }
        let [pool, target] = labels;
        for standing in STANDINGS {
            self.circuit.count(&[pool, target, standing.name()], (standing == sight.standing).into());
        }
        self.weight.value(&labels, sight.effective_weight());
        self.share.value(&labels, f64::from(sight.share) / f64::from(WHOLE));
    }

    fn families(self) -> [Family; 5] {
        [self.up, self.passing, self.circuit, self.weight, self.share]
    }
}

/// What was counted of targets.
struct Told {
    handshake: Family,
    /// Counts, in the order of [`counts`].
    counters: [Family; 7],
}

fn counts(sight: &TargetSight) -> [u64; 7] {
    let HandshakeCount { unanswered, refused, reset, retransmitted, passed_over, .. } = sight.handshakes;
    [unanswered, refused, reset, retransmitted, passed_over, sight.trips, sight.spared]
}

impl Told {
    fn new() -> Told {
        let counters = [
            c::TARGET_UNANSWERED,
            c::TARGET_REFUSED,
            c::TARGET_RESETS,
            c::TARGET_RETRANSMISSIONS,
            c::TARGET_PASSED_OVER,
            c::TARGET_EJECTIONS,
            c::TARGET_SPARED,
        ];
        Told { handshake: Family::new(c::TARGET_HANDSHAKE), counters: counters.map(Family::new) }
    }

    fn add(&mut self, labels: [&str; 2], sight: &TargetSight) {
        let HandshakeCount { times, time_ns, .. } = sight.handshakes;
        let [bounded @ .., beyond] = times;
        let bound = |(bucket, count)| (bound_ns(bucket) as f64 / NS_IN_SEC, count);
        let buckets = bounded.into_iter().enumerate().map(bound);
        self.handshake.histogram(&labels, buckets, beyond, time_ns as f64 / NS_IN_SEC);
        for (family, count) in self.counters.iter_mut().zip(counts(sight)) {
            family.count(&labels, count);
        }
    }

    fn families(self) -> impl Iterator<Item = Family> {
        self.counters.into_iter().chain([self.handshake])
    }
}
