//! Targets that are changed live: weights in the place of the policy's, and targets that drain.

use super::GovernError;
use super::clock::{Calendar, unix_now};
use super::governor::{Governor, Writer};
use super::health;
use super::live::{Document, Live};
use super::pools::policy_of;
use crate::api::types::{PoolInfo, SetTargetState, TargetCondition};
use crate::compile::{HealthTerms, health_terms, target_name, target_names};
use crate::policy::{Policy, Pool, Target};
use crate::store::{Drain, NewSlots, TargetChanges};
use gateway_common::abi::{TARGET_DRAINS, TARGET_KNOWN, TARGET_MEASURED, TargetState};
use gateway_common::packet::address_of;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What holds of a policy's targets in the place of what it says.
pub(super) type Changes = Arc<TargetChanges>;

/// The longest time that connections are given to end by themselves, seconds.
const DRAIN_SECS_MAX: u64 = 30 * 86_400;

/// Those of a policy's own targets: what a policy does not have loses what was changed of it, and so does the
/// drain of a pool that remembers no connections any more.
pub(super) fn of_policy(changes: &Changes, policy: &Policy) -> Changes {
    if changes.is_empty() {
        return Arc::clone(changes);
    }
    let names: HashSet<String> = target_names(policy).into_iter().collect();
    let mut mine = TargetChanges::clone(changes);
    mine.weights.retain(|name, _| names.contains(name));
    let tracks = |name: &str| {
        let pool = name.split_once('/').and_then(|(pool, _)| policy.pools.get(pool));
        pool.is_some_and(|pool| pool.forward.dnat().is_some())
    };
    mine.drains.retain(|name, _| names.contains(name) && tracks(name));
    mine.out.retain(|name| names.contains(name));
    Arc::new(mine)
}

/// A policy whose targets have the weights that hold; of those that drain, or fail, 0.
pub(super) fn weighed<'p>(policy: &'p Policy, changes: &Changes) -> Cow<'p, Policy> {
    if changes.is_empty() {
        return Cow::Borrowed(policy);
    }
    let mut policy = policy.clone();
    for (pool, of) in &mut policy.pools {
        for (name, target) in &mut of.targets {
            let name = target_name(pool, name);
            if changes.drains.contains_key(&name) || changes.out.contains(&name) {
                target.weight = 0;
            } else if let Some(weight) = changes.weights.get(&name) {
                target.weight = *weight;
            }
        }
    }
    Cow::Owned(policy)
}

/// What holds of a target.
pub(super) struct Status {
    /// Its weight, or the one that it gets back when it takes connections again.
    pub weight: u16,
    pub condition: TargetCondition,
    pub drains_until_unix_ms: Option<u64>,
}

/// What holds of a target of the live policy.
pub(super) fn status(live: &Live, (pool, of): (&str, &Pool), (name, target): (&str, &Target)) -> Status {
    let name = target_name(pool, name);
    let weight = live.changes.weights.get(&name).copied().unwrap_or(target.weight);
    let drain = live.changes.drains.get(&name);
    let ends_at = drain.and_then(|drain| drain.ends_at_unix_ms);
    let has_ended = ends_at.is_some_and(|end| u128::from(end) <= unix_now().as_millis());
    let condition = match drain {
        Some(_) if has_ended => TargetCondition::Off,
        Some(_) => TargetCondition::Draining,
        None if weight > 0 => TargetCondition::Taking,
        None if of.forward.dnat().is_some() => TargetCondition::Draining,
        None => TargetCondition::Off,
    };
    Status { weight, condition, drains_until_unix_ms: ends_at.filter(|_| !has_ended) }
}

/// The states of the targets of translating pools, by their slots.
fn states(
    policy: &Policy,
    changes: &TargetChanges,
    calendar: &Calendar,
    slot: impl Fn(&str) -> Option<u32>,
) -> Vec<(u32, TargetState)> {
    let mut states = Vec::new();
    let translating = policy.pools.iter().filter(|(_, pool)| pool.forward.dnat().is_some());
    for (name, target, measured) in translating.flat_map(|(pool, of)| {
        let measured = of.health.is_some();
        of.targets.iter().map(move |(target, of_target)| (target_name(pool, target), of_target, measured))
    }) {
        let Some(slot) = slot(&name) else { continue };
        let drain = changes.drains.get(&name);
        let weight = changes.weights.get(&name).copied().unwrap_or(target.weight);
        let drains = drain.is_some() || weight == 0;
        let end_ms = drain.and_then(|drain| drain.ends_at_unix_ms);
        // 0 is "never": what ended before the machine started has ended all the same.
        let end_ns = |ms: u64| calendar.monotonic_ns_of(ms.saturating_mul(1_000_000)).max(1);
        let state = TargetState {
            address: address_of(target.address),
            ends_at_ns: end_ms.map_or(0, end_ns),
            flags: TARGET_KNOWN
                | if drains { TARGET_DRAINS } else { 0 }
                | if measured { TARGET_MEASURED } else { 0 },
            port: target.port.unwrap_or(0).into(),
        };
        states.push((slot, state));
    }
    states
}

impl Governor {
    /// The states of a policy's targets; `new` are slots that are not given out yet.
    pub(super) fn target_states(
        &self,
        document: &Document,
        changes: &Changes,
        new: &NewSlots,
    ) -> Vec<(u32, TargetState)> {
        let slots = self.slots();
        let slot = |name: &str| slots.target(name).or_else(|| new.target(name));
        states(&document.policy, changes, &Calendar::now(), slot)
    }

    /// Has the health of this policy's targets looked after: on what terms the kernel does its part.
    fn follow_policy(&self, policy: &Policy, changes: &TargetChanges) -> HealthTerms {
        let slots = self.slots();
        let slot = |name: &str| slots.target(name);
        let mut book = self.health();
        book.follow(policy, changes, &self.readers, slot, health::Now::of(self));
        health_terms(policy, |pool| book.panics(pool), slot)
    }

    /// Tells the data plane of the live policy's targets, and that there are no others.
    pub(super) fn tell_target_states(&self, writer: &mut Writer) {
        let Some(live) = self.live() else { return };
        let Some(document) = &live.document else { return };
        let states = self.target_states(document, &live.changes, &NewSlots::default());
        let terms = self.follow_policy(&document.policy, &live.changes);
        let told = writer.dataplane().and_then(|dataplane| {
            dataplane.set_target_states(&states)?;
            Ok(dataplane.set_health(&terms.targets, &terms.groups)?)
        });
        if let Err(error) = told {
            self.notice("targets", format!("the kernel could not be told of all targets: {error}"));
        }
    }

    /// Gives a target a weight in the place of the policy's, and ends its drain. It holds until another is
    /// given, the target is to take connections again as the policy says, or a policy goes live that has no
    /// such target.
    ///
    /// # Errors
    /// [`GovernError::NoSuchPool`], [`GovernError::NoSuchTarget`], [`GovernError::UnknownPolicy`], or where
    /// it cannot go live; nothing has changed then.
    pub fn set_weight(&self, pool: &str, target: &str, weight: u16) -> Result<PoolInfo, GovernError> {
        self.change_target(pool, target, |_, name, changes| {
            changes.weights.insert(name.to_owned(), weight);
            changes.drains.remove(name);
            Ok(())
        })
    }

    /// Lets a target take connections as the policy says, drain, or end.
    ///
    /// # Errors
    /// As [`Governor::set_weight`], [`GovernError::NotTracked`] and [`GovernError::DrainTime`].
    pub fn set_target_state(
        &self,
        pool: &str,
        target: &str,
        asked: SetTargetState,
    ) -> Result<PoolInfo, GovernError> {
        let drains = asked.state == TargetCondition::Draining;
        if asked.for_secs.is_some_and(|secs| !drains || !(1..=DRAIN_SECS_MAX).contains(&secs)) {
            return Err(GovernError::DrainTime);
        }
        let changed = self.change_target(pool, target, |of, name, changes| {
            let tracks = of.forward.dnat().is_some();
            if asked.state == TargetCondition::Taking {
                changes.weights.remove(name);
                changes.drains.remove(name);
                return Ok(());
            }
            if !tracks && drains {
                let forward = of.forward.name();
                return Err(GovernError::NotTracked { target: name.to_owned(), forward });
            }
            if !tracks {
                changes.weights.insert(name.to_owned(), 0);
                return Ok(());
            }
            let now = unix_now();
            let end = match asked.for_secs {
                Some(secs) => Some(now + Duration::from_secs(secs)),
                None if drains => None,
                None => Some(now),
            };
            let ends_at_unix_ms = end.map(|end| u64::try_from(end.as_millis()).unwrap_or(u64::MAX));
            changes.drains.insert(name.to_owned(), Drain { ends_at_unix_ms });
            Ok(())
        })?;
        if asked.state != TargetCondition::Taking {
            return Ok(changed);
        }
        self.health().enable(pool, target, &self.readers, health::Now::of(self));
        self.pool(pool)
    }

    fn change_target(
        &self,
        pool: &str,
        target: &str,
        change: impl FnOnce(&Pool, &str, &mut TargetChanges) -> Result<(), GovernError>,
    ) -> Result<PoolInfo, GovernError> {
        let mut writer = self.writer();
        writer.dataplane()?;
        let none = || GovernError::NoSuchPool { name: pool.to_owned() };
        let live = self.live().ok_or_else(none)?;
        let of = policy_of(&live)?.pools.get(pool).ok_or_else(none)?;
        if !of.targets.contains_key(target) {
            let (pool, name) = (pool.to_owned(), target.to_owned());
            return Err(GovernError::NoSuchTarget { pool, name });
        }
        let name = target_name(pool, target);
        let mut changes = TargetChanges::clone(&live.changes);
        change(of, &name, &mut changes)?;
        if changes != *live.changes {
            let (weight, drain) = (changes.weights.get(&name).copied(), changes.drains.get(&name).copied());
            self.compile_again(&mut writer, &Live { changes: Arc::new(changes), ..Live::clone(&live) })?;
            tracing::info!(subject = name, weight, ?drain, "target changed");
        }
        drop(writer);
        self.pool(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse;

    const POLICY: &str = "version: 1
pools:
  nat: {forward: dnat, targets: [{name: a, address: 10.0.0.1, port: 80}, {name: b, address: 10.0.0.2, weight: 0}]}
  tun: {forward: ipip, targets: [{name: a, address: 10.0.0.1}]}
";

    fn changes() -> Changes {
        let drain = |ends_at_unix_ms| Drain { ends_at_unix_ms };
        Arc::new(TargetChanges {
            weights: [("tun/a".to_owned(), 7), ("nat/gone".to_owned(), 1)].into(),
            drains: [("nat/a".to_owned(), drain(Some(5))), ("tun/a".to_owned(), drain(None))].into(),
            out: Default::default(),
        })
    }

    #[test]
    fn a_policy_keeps_what_is_of_its_targets() {
        let policy = parse("t", POLICY).unwrap();
        let mine = of_policy(&changes(), &policy);
        assert_eq!(mine.weights.keys().collect::<Vec<_>>(), ["tun/a"]);
        assert_eq!(mine.drains.keys().collect::<Vec<_>>(), ["nat/a"]);
        let weighed = weighed(&policy, &mine);
        assert_eq!(
            (weighed.pools["nat"].targets["a"].weight, weighed.pools["tun"].targets["a"].weight),
            (0, 7)
        );
        assert_eq!(policy.pools["nat"].targets["a"].weight, 100);
    }

    #[test]
    fn the_kernel_is_told_of_targets_of_translating_pools() {
        let policy = parse("t", POLICY).unwrap();
        let slot = |name: &str| (name != "nat/unknown").then_some(name.len() as u32);
        let states = states(&policy, &of_policy(&changes(), &policy), &Calendar::now(), slot);
        let [(5, a), (5, b)] = states[..] else { panic!("{states:?}") };
        // Its drain ended in 1970: it has ended, however long ago.
        assert_eq!((a.flags, a.ends_at_ns, a.port), (TARGET_KNOWN | TARGET_DRAINS, 1, 80));
        // The policy's own weight of 0 drains too.
        assert_eq!((b.flags, b.ends_at_ns, b.port), (TARGET_KNOWN | TARGET_DRAINS, 0, 0));
        assert_eq!(b.address, address_of("10.0.0.2".parse().unwrap()));
    }
}
