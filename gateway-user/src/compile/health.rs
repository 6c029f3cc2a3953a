//! Targets' health → on what terms the kernel opens their circuits.

use super::target_name;
use crate::policy::{Check, Health, Policy};
use gateway_common::abi::{HealthGroup, TargetHealth};
use gateway_common::health::{UNIT_SHIFT, WHOLE};
use std::time::Duration;

/// What the kernel is told of a policy's targets, by slot, and of each pool's together, by the lowest slot among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthTerms {
    /// Of each target; only the words that user space writes mean anything.
    pub targets: Vec<(u32, TargetHealth)>,
    /// Of each pool's targets together.
    pub groups: Vec<(u32, HealthGroup)>,
}

/// The terms of a policy's pools whose health is looked after. `panics` says of which pools all targets are used, `slot`
/// which slot a target has ([`target_name`]).
#[must_use]
pub fn health_terms(
    policy: &Policy,
    panics: impl Fn(&str) -> bool,
    slot: impl Fn(&str) -> Option<u32>,
) -> HealthTerms {
    let mut terms = HealthTerms::default();
    for (name, pool) in &policy.pools {
        let Some(health) = &pool.health else { continue };
        let slots: Vec<u32> =
            pool.targets.keys().filter_map(|target| slot(&target_name(name, target))).collect();
        let Some(group) = slots.iter().min() else { continue };
        let of_each = TargetHealth { group: *group, ..of(health) };
        terms.targets.extend(slots.iter().map(|slot| (*slot, of_each)));
        let most = slots.len() * usize::from(health.eject.at_most) / 100;
        terms.groups.push((
            *group,
            HealthGroup { ejected: 0, most: most.max(1) as u32, panic: u32::from(panics(name)) },
        ));
    }
    terms
}

fn of(health: &Health) -> TargetHealth {
    let passive = health.passive;
    TargetHealth {
        window: passive.map_or(0, |passive| units(passive.window)),
        base: units(health.eject.base),
        most: units(health.eject.most),
        slow_start: units(health.slow_start),
        failures: passive.map_or(0, |passive| passive.failures),
        ratio: passive.map_or(0, |passive| passive.ratio),
        rise: health.check.as_ref().map_or(Check::RISE, |check| check.rise),
        connections: health.connections.unwrap_or(0),
        trial: u32::from(health.trial) * WHOLE / 100,
        ..TargetHealth::default()
    }
}

/// Units of [`UNIT_SHIFT`], rounded up: no time but zero is none.
fn units(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1 << UNIT_SHIFT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse;

    #[test]
    fn a_policys_words_in_the_kernels() {
        let policy = parse(
            "t",
            "version: 1
pools:
  plain: {forward: l2, targets: [{name: a, address: 10.0.0.9}]}
  web:
    forward: dnat
    targets: [{name: a, address: 10.0.0.1, port: 80}, {name: b, address: 10.0.0.2, port: 80}, {name: c, address: 10.0.0.3, port: 80}]
    health: {check: tcp, rise: 4, passive: {failures: 7, ratio: 20%, window: 2s}, eject: {base: 1s, most: 8s, at_most: 50%}, slow_start: 0s, trial: 50%, connections: 9}
",
        )
        .unwrap();
        let slot =
            |name: &str| ["web/c", "web/a", "plain/a", "web/b"].iter().position(|known| *known == name);
        let terms =
            health_terms(&policy, |pool| pool == "web", |name| slot(name).map(|slot| slot as u32 + 5));
        assert_eq!(terms.groups, [(5, HealthGroup { ejected: 0, most: 1, panic: 1 })]);
        let slots: Vec<u32> = terms.targets.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(slots, [6, 8, 5]);
        let TargetHealth {
            window,
            base,
            most,
            slow_start,
            failures,
            ratio,
            rise,
            connections,
            trial,
            group,
            ..
        } = terms.targets[0].1;
        assert_eq!((window, base, most, slow_start), (1_908, 954, 7_630, 0));
        assert_eq!((failures, ratio, rise, connections, trial, group), (7, 20, 4, 9, WHOLE / 2, 5));
    }
}
