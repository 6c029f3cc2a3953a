//! Health of targets: their circuits, on what terms they open, and what handshakes told.

use super::mapped::{Mapped, MappedMut};
use super::shape::stored;
use super::{Dataplane, Error, Readers};
use gateway_common::abi::{HandshakeCount, HealthGroup, TargetHealth, maps};
use gateway_common::health::{Circuit, units};
use gateway_common::image::MAX_TARGETS;
use std::collections::BTreeMap;
use std::mem::offset_of;

/// Where the health of targets lies.
pub(super) struct HealthMaps {
    pub(super) targets: MappedMut<TargetHealth>,
    pub(super) groups: MappedMut<HealthGroup>,
    pub(super) handshakes: Mapped<HandshakeCount>,
}

/// First byte of what user space writes of a target: on what terms its circuit opens.
const TERMS: usize = offset_of!(TargetHealth, window);
const CIRCUIT: usize = offset_of!(TargetHealth, circuit);
const OPEN: usize = offset_of!(TargetHealth, open);
const EJECTED: usize = offset_of!(HealthGroup, ejected);
/// `most` and `panic`.
const BOUNDS: usize = offset_of!(HealthGroup, most);

/// How often open circuits are counted while the kernel changes them.
const COUNTS: u32 = 16;

/// A circuit before and after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Before.
    pub from: Circuit,
    /// After.
    pub to: Circuit,
}

impl Readers {
    /// The health of the target of this slot.
    #[must_use]
    pub fn target_health(&self, slot: u32) -> TargetHealth {
        self.0.health.targets.load(slot).unwrap_or_default()
    }

    /// What holds of the targets together of which this slot is the lowest.
    #[must_use]
    pub fn health_group(&self, group: u32) -> HealthGroup {
        self.0.health.groups.load(group).unwrap_or_default()
    }

    /// What handshakes with the target of this slot told; sums over all CPUs since the maps were made.
    #[must_use]
    pub fn handshakes(&self, slot: u32) -> HandshakeCount {
        let mut sum = HandshakeCount::default();
        for cpu in 0..self.0.cpus {
            let Some(count) = self.0.health.handshakes.load(cpu * MAX_TARGETS as u32 + slot) else {
                continue;
            };
            for (sum, count) in sum.times.iter_mut().zip(count.times) {
                *sum += count;
            }
            sum.time_ns += count.time_ns;
            sum.unanswered += count.unanswered;
            sum.refused += count.refused;
            sum.reset += count.reset;
            sum.retransmitted += count.retransmitted;
            sum.passed_over += count.passed_over;
        }
        sum
    }

    /// The time that circuits are judged by.
    #[must_use]
    pub fn circuit_now(&self) -> u32 {
        units(self.now_ns())
    }

    /// Changes a target's circuit as `change` says, though packets change it at the same time, and the count of its
    /// group with it. Nothing where the slot does not exist.
    pub fn change_circuit(
        &self,
        slot: u32,
        mut change: impl FnMut(Circuit, &TargetHealth) -> Circuit,
    ) -> Option<Changed> {
        let health = &self.0.health;
        let terms = health.targets.load(slot)?;
        let mut changed = Changed { from: Circuit::default(), to: Circuit::default() };
        let done = health.targets.fetch_update_u64(slot, CIRCUIT, |word| {
            changed = Changed { from: Circuit(word), to: change(Circuit(word), &terms) };
            Some(changed.to.0)
        });
        let more = u64::from(changed.to.is_ejected()).wrapping_sub(changed.from.is_ejected().into());
        if done && more != 0 {
            let _ =
                health.groups.fetch_update_u64(terms.group, EJECTED, |count| Some(count.wrapping_add(more)));
        }
        done.then_some(changed)
    }

    /// Has all targets of a group used, whatever their circuits say, or not.
    pub fn set_panic(&self, group: u32, panic: bool) {
        let change = |word| Some(word & u64::from(u32::MAX) | u64::from(panic) << 32);
        let _ = self.0.health.groups.fetch_update_u64(group, BOUNDS, change);
    }

    /// Sets right how many connections a target has open: so many more, or fewer, than were counted.
    pub fn correct_open(&self, slot: u32, more: i64) {
        let change = |open: u64| Some(open.wrapping_add_signed(more));
        let _ = self.0.health.targets.fetch_update_u64(slot, OPEN, change);
    }
}

impl Dataplane {
    /// Says on what terms the circuits of these targets open, by their slots, and that the others have none: the
    /// circuit, and what was counted, of a target that had terms before stay. Of `terms` only those are looked at.
    ///
    /// # Errors
    /// Where a slot does not exist.
    pub fn set_health(
        &mut self,
        terms: &[(u32, TargetHealth)],
        groups: &[(u32, HealthGroup)],
    ) -> Result<(), Error> {
        let health = &self.readers.0.health;
        let known: BTreeMap<u32, &TargetHealth> = terms.iter().map(|(slot, terms)| (*slot, terms)).collect();
        let known_groups: BTreeMap<u32, &HealthGroup> =
            groups.iter().map(|(slot, group)| (*slot, group)).collect();
        let none = TargetHealth::default();
        let mut whole = true;
        // A group is there before its targets lean on it.
        for slot in 0..MAX_TARGETS as u32 {
            let before = health.groups.load(slot).unwrap_or_default();
            let group = known_groups.get(&slot).map_or(HealthGroup::default(), |group| **group);
            if (before.most, before.panic) != (group.most, group.panic) {
                let word = u64::from(group.most) | u64::from(group.panic) << 32;
                whole &= health.groups.store_u64(slot, BOUNDS, word);
            }
        }
        for slot in 0..MAX_TARGETS as u32 {
            let before = health.targets.load(slot).unwrap_or_default();
            let terms = known.get(&slot).copied().unwrap_or(&none);
            let words: [u64; size_of::<TargetHealth>() / 8] = bytemuck::cast(*terms);
            let old: [u64; size_of::<TargetHealth>() / 8] = bytemuck::cast(before);
            for i in TERMS / 8..words.len() {
                if words[i] != old[i] {
                    whole &= health.targets.store_u64(slot, i * 8, words[i]);
                }
            }
            if !known.contains_key(&slot) && before.circuit != 0 {
                whole &= health.targets.store_u64(slot, CIRCUIT, 0);
            }
        }
        if !(0..COUNTS).any(|_| self.count_ejected(terms)) {
            tracing::warn!(
                "circuits change faster than those that are open can be counted; counted again with the next policy"
            );
        }
        stored(maps::TARGET_HEALTH, whole)
    }

    /// Sets right how many circuits each group has open. False where the kernel has opened or closed one meanwhile: its
    /// word stands then.
    fn count_ejected(&self, terms: &[(u32, TargetHealth)]) -> bool {
        let health = &self.readers.0.health;
        let group = |slot| health.groups.load(slot).unwrap_or_default();
        let before: Vec<u64> = (0..MAX_TARGETS as u32).map(|slot| group(slot).ejected).collect();
        let mut ejected: BTreeMap<u32, u64> = BTreeMap::new();
        for (slot, terms) in terms {
            let circuit = Circuit(health.targets.load(*slot).unwrap_or_default().circuit);
            *ejected.entry(terms.group).or_default() += u64::from(circuit.is_ejected());
        }
        let mut settled = true;
        for (slot, before) in (0..).zip(before) {
            let count = ejected.get(&slot).copied().unwrap_or(0);
            if before != count {
                let right = |now| (now == before).then_some(count);
                settled &= health.groups.fetch_update_u64(slot, EJECTED, right);
            }
        }
        settled
    }
}
