//! What is known of each target, and what follows from what is heard of it.

use super::checks::{CheckCounts, Unmade};
use crate::compile::target_name;
use crate::dataplane::Readers;
use crate::policy::{Check, Health, Policy, duration_text};
use crate::store::TargetChanges;
use gateway_common::abi::{HandshakeCount, TargetHealth};
use gateway_common::health::{Circuit, Standing, UNIT_SHIFT};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Why a target's circuit is closed.
const IN_SERVICE: &str = "in service";

/// All targets of the live policy whose health is looked after.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Book {
    pools: BTreeMap<String, OfPool>,
    /// Checks in number.
    pub counts: CheckCounts,
    /// What was found of targets when they were looked after first, until it is told.
    found: Vec<Told>,
    unmade: Unmade,
}

#[derive(Debug)]
struct OfPool {
    health: Health,
    /// The lowest slot of its targets.
    group: u32,
    panic: bool,
    targets: BTreeMap<String, Watched>,
}

/// What is known of a target.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Watched {
    name: Arc<str>,
    pub slot: u32,
    /// Its weight, whatever its health.
    pub weight: u16,
    /// Good, and bad, answers in a row.
    good: u32,
    bad: u32,
    /// What its checks say; nothing while they have not said it often enough.
    passes: Option<bool>,
    /// The last answer: the time that it took, or what was wrong.
    pub last: Option<Result<Duration, String>>,
    /// As it was seen last.
    pub standing: Standing,
    /// Why, and since when.
    pub reason: String,
    pub since_unix_ms: u64,
    /// Handshakes that had failed one to two windows ago, and up to one ago; and when that was.
    failed: [Failed; 2],
    failed_at: u32,
}

/// Handshakes with a target that failed, since its counts began. Those of a window are kept apart from what was before,
/// so that an opening is told with all that led to it.
#[derive(Clone, Copy, Debug)]
struct Failed {
    unanswered: u64,
    refused: u64,
}

impl Failed {
    fn of(slot: u32, readers: &Readers) -> Failed {
        let HandshakeCount { unanswered, refused, .. } = readers.handshakes(slot);
        Failed { unanswered, refused }
    }
}

/// The time, by both clocks that are needed.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct Now {
    /// Of circuits.
    pub circuit: u32,
    /// Of people.
    pub unix_ms: u64,
}

/// Something that an operator should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Told {
    /// `web/v1`, or a pool's name.
    pub subject: Arc<str>,
    /// What became of it, and why.
    pub text: String,
    /// Whether it is bad news.
    pub bad: bool,
}

impl Book {
    /// Keeps what is known of targets that stay in the policy, learns of others from the kernel, and forgets the rest.
    pub fn follow(
        &mut self,
        policy: &Policy,
        changes: &TargetChanges,
        readers: &Readers,
        slot: impl Fn(&str) -> Option<u32>,
        now: Now,
    ) {
        let mut before = std::mem::take(&mut self.pools);
        for (pool, of) in &policy.pools {
            let Some(health) = &of.health else { continue };
            let old = before.remove(pool);
            let panic = old.as_ref().is_some_and(|old| old.panic);
            let mut known = old.map(|old| old.targets).unwrap_or_default();
            let mut targets = BTreeMap::new();
            for (target, of_target) in &of.targets {
                let name = target_name(pool, target);
                let Some(slot) = slot(&name) else { continue };
                let weight = match changes.drains.get(&name) {
                    Some(_) => 0,
                    None => changes.weights.get(&name).copied().unwrap_or(of_target.weight),
                };
                let mut watched = known.remove(target).unwrap_or_else(|| {
                    let watched = Watched::found(&name, slot, readers, now);
                    self.found.extend(watched.as_found());
                    watched
                });
                watched.weight = weight;
                if health.check.is_none() {
                    watched.unchecked(readers, now);
                }
                targets.insert(target.clone(), watched);
            }
            let Some(group) = targets.values().map(|target| target.slot).min() else { continue };
            self.pools.insert(pool.clone(), OfPool { health: health.clone(), group, panic, targets });
        }
        let mut unmade = std::mem::take(&mut self.unmade);
        unmade.keep(self.checks().map(|(name, _)| name));
        self.unmade = unmade;
    }

    /// Pools of which all targets are used.
    pub fn panics(&self, pool: &str) -> bool {
        self.pools.get(pool).is_some_and(|pool| pool.panic)
    }

    /// What is known of a target.
    pub fn target(&self, pool: &str, target: &str) -> Option<&Watched> {
        self.pools.get(pool)?.targets.get(target)
    }

    /// Targets that take nothing since their checks fail, by name.
    pub fn out(&self) -> BTreeSet<String> {
        let of_pool = |pool: &OfPool| -> Vec<String> {
            let fail = pool.targets.values().filter(|target| target.passes == Some(false) && !pool.panic);
            fail.map(|target| target.name.to_string()).collect()
        };
        self.pools.values().flat_map(of_pool).collect()
    }

    /// Slots of targets whose connections are limited.
    pub fn limited(&self) -> Vec<u32> {
        let limited = self.pools.values().filter(|pool| pool.health.connections.is_some());
        limited.flat_map(|pool| pool.targets.values().map(|target| target.slot)).collect()
    }

    /// What is to be asked of whom: names and checks.
    pub fn checks(&self) -> impl Iterator<Item = (&Arc<str>, &Check)> {
        self.pools.values().flat_map(|pool| {
            let check = pool.health.check.as_ref();
            pool.targets.values().filter_map(move |target| Some((&target.name, check?)))
        })
    }

    /// A check could not be made, for a reason of this node's, which says nothing of the target.
    pub fn could_not_check(&mut self, name: &Arc<str>, why: String) {
        self.counts.unmade += 1;
        self.unmade.add(name, why);
    }

    /// What to say of the targets that cannot be checked, if there are any.
    pub fn unmade(&self) -> Option<String> {
        self.unmade.text()
    }

    /// How a check ended.
    pub fn checked(
        &mut self,
        name: &str,
        outcome: Result<Duration, String>,
        readers: &Readers,
        now: Now,
    ) -> Option<Told> {
        match outcome {
            Ok(_) => self.counts.passed += 1,
            Err(_) => self.counts.failed += 1,
        }
        self.unmade.remove(name);
        let (pool, target) = name.split_once('/')?;
        let of = self.pools.get_mut(pool)?;
        let check = of.health.check.clone()?;
        of.targets.get_mut(target)?.checked(&check, outcome, readers, now)
    }

    /// Somebody wants the target to be used: its circuit closes, and its checks must fail anew.
    pub fn enable(&mut self, pool: &str, target: &str, readers: &Readers, now: Now) {
        let Some(watched) = self.pools.get_mut(pool).and_then(|pool| pool.targets.get_mut(target)) else {
            return;
        };
        (watched.good, watched.bad, watched.passes) = (0, 0, None);
        readers.change_circuit(watched.slot, |_, _| Circuit::default());
        watched.stands(Standing::Closed, "enabled by hand".to_owned(), now);
    }

    /// Looks at all circuits, and decides which pools must use all of their targets. What was found at first is told
    /// with it.
    pub fn look(&mut self, readers: &Readers, now: Now) -> Vec<Told> {
        let mut told = std::mem::take(&mut self.found);
        for pool in self.pools.values_mut() {
            for target in pool.targets.values_mut() {
                told.extend(target.look(&pool.health, readers, now));
            }
        }
        told.extend(self.decide_panics(readers));
        told
    }

    /// Decides which pools must use all of their targets, before a pool's table is left without any.
    pub fn decide_panics(&mut self, readers: &Readers) -> Vec<Told> {
        self.pools.iter_mut().filter_map(|(name, pool)| pool.decide_panic(name, readers)).collect()
    }
}

impl OfPool {
    /// Whether so little is in service that all targets are used.
    fn decide_panic(&mut self, name: &str, readers: &Readers) -> Option<Told> {
        let all: u64 = self.targets.values().map(|target| u64::from(target.weight)).sum();
        let serving = self.targets.values().filter(|target| target.standing != Standing::Open);
        let serving: u64 = serving.map(|target| u64::from(target.weight)).sum();
        let panic = serving * 100 < all * u64::from(self.health.panic);
        if panic == self.panic {
            return None;
        }
        self.panic = panic;
        readers.set_panic(self.group, panic);
        let text = if panic {
            format!(
                "panic: {serving} of {all} weight in service is less than {}%, all targets are used",
                self.health.panic
            )
        } else {
            format!("no panic any more: {serving} of {all} weight is in service")
        };
        Some(Told { subject: name.into(), text, bad: panic })
    }
}

impl Watched {
    /// As the kernel has it: a circuit that is held was so by the daemon before.
    fn found(name: &str, slot: u32, readers: &Readers, now: Now) -> Watched {
        let health = readers.target_health(slot);
        let circuit = Circuit(health.circuit);
        let standing = circuit.standing(now.circuit, &health);
        let reason = match standing {
            Standing::Closed => IN_SERVICE.to_owned(),
            _ => "as before the daemon started".to_owned(),
        };
        Watched {
            name: name.into(),
            slot,
            weight: 0,
            good: 0,
            bad: 0,
            passes: circuit.is_held().then_some(false),
            last: None,
            standing,
            reason,
            since_unix_ms: now.unix_ms,
            failed: [Failed::of(slot, readers); 2],
            failed_at: now.circuit,
        }
    }

    /// What there is to tell of one that was not in service when it was found.
    fn as_found(&self) -> Option<Told> {
        if self.standing == Standing::Closed {
            return None;
        }
        let text = format!("{}: {}", self.standing.name(), self.reason);
        Some(Told { subject: Arc::clone(&self.name), text, bad: self.standing == Standing::Open })
    }

    /// Nobody asks it: nobody holds it.
    fn unchecked(&mut self, readers: &Readers, now: Now) {
        if self.passes.take() == Some(false) {
            readers.change_circuit(self.slot, |circuit, _| circuit.released());
            self.stands(self.standing, "not checked any more".to_owned(), now);
        }
        (self.good, self.bad, self.last) = (0, 0, None);
    }

    fn stands(&mut self, standing: Standing, reason: String, now: Now) {
        (self.standing, self.reason, self.since_unix_ms) = (standing, reason, now.unix_ms);
    }

    /// What its checks say, if they say anything.
    pub fn passes(&self) -> Option<bool> {
        self.passes
    }

    fn checked(
        &mut self,
        check: &Check,
        outcome: Result<Duration, String>,
        readers: &Readers,
        now: Now,
    ) -> Option<Told> {
        let news = match &outcome {
            Ok(took) => {
                (self.good, self.bad) = (self.good.saturating_add(1), 0);
                if self.passes == Some(true) || self.good < u32::from(check.rise) {
                    None
                } else {
                    let news = self.passes.replace(true) == Some(false);
                    readers.change_circuit(self.slot, |circuit, _| circuit.released());
                    news.then(|| {
                        format!(
                            "{} answered {} times in a row, last in {took:.1?}",
                            check.kind.name(),
                            self.good
                        )
                    })
                }
            }
            Err(reason) => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                if self.bad < u32::from(check.fall) {
                    None
                } else {
                    // Again and again, so that its time does not run out should the daemon end.
                    let news = self.passes.replace(false) != Some(false);
                    readers.change_circuit(self.slot, |circuit, terms| circuit.held(now.circuit, terms));
                    news.then(|| format!("{}: {reason}, {} times in a row", check.kind.name(), self.bad))
                }
            }
        };
        let bad = outcome.is_err();
        self.last = Some(outcome);
        let reason = news?;
        let text = format!("{}: {reason}", if bad { "down" } else { "up" });
        // One that is up again is open still, until its time is over.
        self.stands(if bad { Standing::Open } else { self.standing }, reason, now);
        Some(Told { subject: Arc::clone(&self.name), text, bad })
    }

    /// How its circuit stands now.
    fn look(&mut self, health: &Health, readers: &Readers, now: Now) -> Option<Told> {
        let mut found = readers.target_health(self.slot);
        let mut circuit = Circuit(found.circuit);
        if self.passes == Some(true) && self.comes_back(circuit, health, &found, now) {
            let changed = readers.change_circuit(self.slot, |circuit, _| circuit.recovering(now.circuit))?;
            (circuit, found.circuit) = (changed.to, changed.to.0);
        }
        let standing = circuit.standing(now.circuit, &found);
        let told = (standing != self.standing)
            .then(|| self.changes_to(standing, circuit, health, &found, readers, now));
        if now.circuit.wrapping_sub(self.failed_at) > found.window && found.failures != 0 {
            self.failed = [self.failed[1], Failed::of(self.slot, readers)];
            self.failed_at = now.circuit;
        }
        told
    }

    /// How its circuit stands is another than before.
    fn changes_to(
        &mut self,
        standing: Standing,
        circuit: Circuit,
        health: &Health,
        found: &TargetHealth,
        readers: &Readers,
        now: Now,
    ) -> Told {
        let (word, reason) = match standing {
            Standing::Closed => ("closed", IN_SERVICE.to_owned()),
            Standing::Open => ("open", self.why_open(circuit, found, readers, now)),
            Standing::Trial => ("half-open", format!("{}% of its new connections try it", health.trial)),
            Standing::Recovering => {
                ("recovering", format!("its share grows for {}", duration_text(health.slow_start)))
            }
        };
        let text = format!("{word}: {reason}");
        self.stands(standing, reason, now);
        Told { subject: Arc::clone(&self.name), text, bad: standing == Standing::Open }
    }

    /// Whether a target whose checks pass need not wait for clients to try it: nobody counts their handshakes, or too
    /// few come.
    fn comes_back(&self, circuit: Circuit, health: &Health, found: &TargetHealth, now: Now) -> bool {
        let tried = circuit.standing(now.circuit, found) == Standing::Trial;
        tried && (health.passive.is_none() || circuit.tried_for(now.circuit) >= found.base)
    }

    fn why_open(&self, circuit: Circuit, found: &TargetHealth, readers: &Readers, now: Now) -> String {
        if circuit.is_held() {
            return self.reason.clone();
        }
        let (before, failed) = (self.failed[0], Failed::of(self.slot, readers));
        let left = Duration::from_nanos(u64::from(circuit.left(now.circuit, found)) << UNIT_SHIFT);
        let left = duration_text(Duration::from_secs(left.as_secs_f64().round() as u64));
        format!(
            "{} handshakes unanswered and {} reset of late; tried again in {left}, time {} in a row",
            failed.unanswered - before.unanswered,
            failed.refused - before.refused,
            circuit.strikes(),
        )
    }
}
