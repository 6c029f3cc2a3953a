//! Health of targets: which of them new connections pass over, and what their handshakes tell.
//!
//! Only what is looked after pays for it: a pool's packets that are sent for the first time, and of connections that
//! are remembered those of measured targets ([`gateway_common::abi::TARGET_MEASURED`]).

mod handshakes;

pub use handshakes::{begins, client_sent, ends_unseen, gateway_pending, gave_up, leaves, target_sent};

use crate::account::handshakes as counted;
use crate::atomic::Word;
use crate::classify;
use crate::maps;
use crate::pipeline::Judged;
use crate::police::now_ns;
use crate::scratch;
use gateway_common::abi::{Control, EventKind, HealthGroup, TargetHealth};
use gateway_common::hash::finish;
use gateway_common::health::{Circuit, WHOLE, units};
use gateway_common::image::{MAX_TARGETS, TargetEntry};
use gateway_common::target::element;

/// A new connection may go there.
const ADMITTED: u32 = 0;
/// It goes to another target.
const PASSED_OVER: u32 = 1;
/// It may not: the target has as many as it may have.
const FULL: u32 = 2;

/// No place among a pool's targets.
pub const NONE: u32 = u32::MAX;
/// How many places of the table are tried until one is admitted: with half of the targets out, one new connection in
/// four billion finds none.
const TRIES: u32 = 32;
/// How often a circuit that another CPU changed in between is tried again.
const CIRCUIT_TRIES: u32 = 4;

/// Outcomes of a handshake, in [`Judged::handshake`] above the target's slot.
const FAILED: u32 = 1 << 16;
const SUCCEEDED: u32 = 2 << 16;
const _: () = assert!(MAX_TARGETS <= 1 << 16);

#[inline(always)]
fn health(slot: u32) -> Option<*mut TargetHealth> {
    maps::TARGET_HEALTH.get_ptr_mut(slot & (MAX_TARGETS as u32 - 1))
}

#[inline(always)]
fn group(health: *mut TargetHealth) -> Option<*mut HealthGroup> {
    // SAFETY: a live element of TARGET_HEALTH.
    let group = unsafe { (*health).group };
    maps::HEALTH_GROUPS.get_ptr_mut(group & (MAX_TARGETS as u32 - 1))
}

/// A word of an element of the two maps.
#[inline(always)]
fn word(word: *mut u64) -> Word {
    // SAFETY: a word of a live element, aligned, which outlives the program and which all change by atomic
    // operations only.
    unsafe { Word::new(word) }
}

/// Whether a client with this hash goes on to have its new connections with the target that it had.
#[inline(always)]
pub fn keeps(slot: u32, hash: u64, now_ns: u64) -> bool {
    admission(slot, chance(hash), units(now_ns)) == ADMITTED
}

/// What decides, of a hash, where only a part of new connections goes to a target.
#[inline(always)]
fn chance(hash: u64) -> u32 {
    finish(hash) as u32 & (WHOLE - 1)
}

/// Whether a new connection may go to a target: `chance` is below [`gateway_common::health::WHOLE`], and decides
/// where only a part may.
#[inline(always)]
fn admission(slot: u32, chance: u32, now: u32) -> u32 {
    let Some(found) = health(slot) else { return ADMITTED };
    // SAFETY: a live element of TARGET_HEALTH; its terms are words that user space changes one at a time.
    let terms = unsafe { &*found };
    // SAFETY: the same element.
    let (circuit, open) = unsafe { (word(&raw mut (*found).circuit), word(&raw mut (*found).open)) };
    if terms.connections != 0 && open.load() as i64 >= terms.connections as i64 {
        return FULL;
    }
    let circuit = Circuit(circuit.load());
    if circuit.is_closed() || chance < circuit.share(now, terms) {
        return ADMITTED;
    }
    // SAFETY: a live element of HEALTH_GROUPS.
    if group(found).is_some_and(|group| unsafe { (*group).panic } != 0) { ADMITTED } else { PASSED_OVER }
}

/// The target that a new connection with this hash goes to, by its place among those of the pool: the first of some
/// places of the table at which one is admitted. Where all are passed over it is the first, since one that may be down
/// is better than none; [`NONE`] where all are full. A global function, see [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_admitted(cpu: u32, table: u32, size: u32, targets: u32, hash: u64) -> u32 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return NONE };
    admitted(control, judged, (table, size, targets), hash).unwrap_or(NONE)
}

#[inline(always)]
fn admitted(
    control: &Control,
    judged: &Judged,
    (table, size, targets): (u32, u32, u32),
    hash: u64,
) -> Option<u32> {
    let now = units(now_ns(control, false));
    // The target that it would have gone to, and the first place that is not full.
    let (mut wanted, mut first) = (NONE, NONE);
    let mut attempt = 0;
    while attempt < TRIES {
        let hash = if attempt == 0 { hash } else { finish(hash.wrapping_add(attempt as u64)) };
        let place = classify::element(judged, table, element(hash, size))? as u32;
        let target: &TargetEntry = bytemuck::cast_ref(maps::ARENA.get(targets.wrapping_add(place))?);
        let said = admission(target.slot, chance(hash), now);
        let place = judged.forgotten(place);
        if said == ADMITTED {
            if wanted != NONE {
                passed_over(judged.cpu, wanted);
            }
            return Some(place);
        }
        if wanted == NONE {
            wanted = target.slot;
        }
        if said == PASSED_OVER && first == NONE {
            first = place;
        }
        (wanted, first) = (judged.forgotten(wanted), judged.forgotten(first));
        attempt += 1;
    }
    Some(first)
}

#[inline(always)]
fn passed_over(cpu: u32, slot: u32) {
    if let Some(count) = counted(cpu, slot) {
        count.passed_over += 1;
    }
}

/// Notes how the handshake with a target ended. Its circuit is told at the end of the packet's way: the stacks of all
/// that are under way now have no room for that.
#[inline(always)]
fn note(judged: &mut Judged, slot: u32, outcome: u32) {
    judged.handshake = outcome | slot & 0xffff;
}

/// Tells the circuit of a target how the handshake ended that the packet which this CPU judges was part of
/// ([`Judged::handshake`]). A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_handshake(cpu: u32) -> u32 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return 0 };
    if judged.handshake == 0 {
        return 0;
    }
    let slot = judged.handshake & 0xffff;
    let succeeded = judged.handshake & SUCCEEDED != 0;
    judged.handshake = 0;
    let Some(found) = health(slot) else { return 0 };
    // SAFETY: a live element of TARGET_HEALTH, as in `admission`.
    let terms = unsafe { &*found };
    // SAFETY: the same element.
    let circuit = word(unsafe { &raw mut (*found).circuit });
    let Some(group) = group(found) else { return 0 };
    // SAFETY: a live element of HEALTH_GROUPS.
    let (ejected, most) = unsafe { (word(&raw mut (*group).ejected), (*group).most) };
    let now = units(now_ns(control, false));
    let mut tries = 0;
    while tries < CIRCUIT_TRIES {
        let old = Circuit(circuit.load());
        let mut new = if succeeded { old.succeeded(now, terms) } else { old.failed(now, terms) };
        if new.0 == old.0 {
            return 0;
        }
        let spared = new.is_ejected() && !old.is_ejected() && ejected.load() >= most as u64;
        if spared {
            new = old.spared(now);
        }
        if circuit.replace(old.0, new.0) {
            let more = (new.is_ejected() as u64).wrapping_sub(old.is_ejected() as u64);
            if more != 0 {
                ejected.add(more);
            }
            if new.opens_after(old) {
                // SAFETY: a word of the same element.
                word(unsafe { &raw mut (*found).trips }).add(1);
                judged.raise(EventKind::TargetEjected, slot, old.failures() + 1);
            } else if spared {
                // SAFETY: a word of the same element.
                word(unsafe { &raw mut (*found).spared }).add(1);
            }
            return 0;
        }
        tries += 1;
    }
    0
}
