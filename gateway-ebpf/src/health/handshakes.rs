//! What the packets of a connection tell of its target.

use super::{FAILED, NONE, PASSED_OVER, SUCCEEDED, admission, health, note, word};
use crate::account::{self, handshakes};
use crate::maps;
use crate::pipeline::Judged;
use crate::police::now_ns;
use crate::pool::Forwarding;
use crate::scratch;
use gateway_common::abi::{
    Control, HANDSHAKE_OVER, PENDING_SYNS, Pending, TARGET_MEASURED, TargetState, Tracked,
};
use gateway_common::health::{SYN_AGAIN_NS, bucket, units};
use gateway_common::packet::{Packet, protocol};
use gateway_common::track::{COUNTED_OUT, Tag, phase};

const SYN: u8 = 2;
const FIN: u8 = 1;
const RST: u8 = 4;
const ACK: u8 = 16;

/// In [`Tracked::progress`] of one that is half open: no SYN came again.
const ASKED_ONCE: u32 = 1;

/// In [`Pending::repeated`]: the SYN came again; and so late that it counts as unanswered.
const CAME_AGAIN: u16 = 1;
const UNANSWERED: u16 = 2;

/// Whether what is remembered of a target's connections tells of its health.
#[inline(always)]
fn is_measured(state: &TargetState) -> bool {
    state.flags & TARGET_MEASURED != 0
}

/// The time in microseconds of 1,024 ns, of which 32 bits are kept.
#[inline(always)]
fn micros(control: &Control) -> u32 {
    (now_ns(control, true) >> 10) as u32
}

/// A connection to a measured target begins, in this phase. Only a SYN asks for a handshake: what becomes of a
/// connection that is taken up in its middle says nothing.
#[inline(always)]
pub fn begins(control: &Control, state: &TargetState, made: &mut Tracked, is: u8, packet: &Packet) {
    if !is_measured(state) {
        return;
    }
    if is != phase::CLOSING {
        count_open(made.slot as u32, 1);
    }
    if packet.protocol == protocol::TCP && packet.tcp_flags & (SYN | ACK) == SYN {
        made.progress = micros(control) | ASKED_ONCE;
    } else {
        made.opened |= HANDSHAKE_OVER;
    }
}

/// One ended, or what had ended goes on.
#[inline(always)]
pub fn count_open(slot: u32, change: i64) {
    if let Some(found) = health(slot) {
        // SAFETY: a word of a live element of TARGET_HEALTH.
        word(unsafe { &raw mut (*found).open }).add(change as u64);
    }
}

/// Whether the SYN of a connection that its target never answered came again, and the target is passed over by now:
/// then the client is helped by another target.
#[inline(always)]
pub fn leaves(state: &TargetState, found: &Tracked, was: Tag, judged: &Judged) -> bool {
    is_measured(state)
        && was.phase() == phase::HALF_OPEN
        && judged.packet.protocol == protocol::TCP
        && judged.packet.tcp_flags & (SYN | ACK) == SYN
        && gateway_leaves(judged.cpu, found.slot as u32, found.progress & ASKED_ONCE) != 0
}

/// Whether a target is passed over, by 1: then the SYN that came again is counted at it, and as unanswered if
/// `unanswered` is not 0. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_leaves(cpu: u32, slot: u32, unanswered: u32) -> u32 {
    let Some(control) = maps::CONTROL.get(0) else { return 0 };
    // Of one on trial any chance is good enough.
    if admission(slot, 0, units(now_ns(control, false))) != PASSED_OVER {
        return 0;
    }
    if let Some(count) = handshakes(cpu, slot) {
        count.retransmitted += 1;
        count.unanswered += (unanswered != 0) as u64;
    }
    1
}

/// The place of a connection is taken, or its client begins anew: it had not been seen to end.
#[inline(always)]
pub fn ends_unseen(state: &TargetState, slot: u32, was: Tag) {
    if is_measured(state) && was.phase() != phase::CLOSING && was.state() & COUNTED_OUT == 0 {
        count_open(slot, -1);
    }
}

/// Counts a connection of which the client alone was heard, and once, as unanswered: its place is taken.
#[inline(always)]
pub fn gave_up(cpu: u32, gone: &Tracked, was: u8) {
    if was == phase::HALF_OPEN
        && gone.protocol == protocol::TCP
        && gone.progress & ASKED_ONCE != 0
        && let Some(count) = handshakes(cpu, gone.slot as u32)
    {
        count.unanswered += 1;
    }
}

/// What the client's packet tells of a measured target's connection, that went from one phase to another.
#[inline(always)]
pub fn client_sent(
    control: &Control,
    state: &TargetState,
    found: &mut Tracked,
    (was, is): (u8, u8),
    judged: &mut Judged,
) {
    if !is_measured(state) {
        return;
    }
    let (tcp_flags, payload) = (judged.packet.tcp_flags, judged.packet.payload);
    changed(found, was, is);
    if judged.packet.protocol != protocol::TCP {
        return;
    }
    if was == phase::HALF_OPEN {
        if is != phase::HALF_OPEN {
            found.progress = 0;
        } else if tcp_flags & (SYN | ACK) == SYN && found.progress != 0 {
            let waited = micros(control).wrapping_sub(found.progress);
            let unanswered = found.progress & ASKED_ONCE != 0 && waited >= (SYN_AGAIN_NS >> 10) as u32;
            if unanswered {
                // Another bit, so that it is not zero.
                found.progress = found.progress & !ASKED_ONCE | 2;
            }
            repeated(judged, found.slot as u32, unanswered);
        }
        return;
    }
    if payload == 0 || is == phase::HALF_OPEN {
        return;
    }
    let end = judged.packet.sequence.wrapping_add(payload);
    // RFC 9293 3.4: sequence numbers are compared modulo 2^32.
    if found.progress != 0 && end.wrapping_sub(found.progress) as i32 <= 0 {
        repeated(judged, found.slot as u32, false);
    } else {
        found.progress = end;
    }
}

/// What the target's packet tells.
#[inline(always)]
pub fn target_sent(
    control: &Control,
    state: &TargetState,
    found: &mut Tracked,
    (was, is): (u8, u8),
    judged: &mut Judged,
) {
    if !is_measured(state) {
        return;
    }
    changed(found, was, is);
    let (tcp_flags, payload) = (judged.packet.tcp_flags, judged.packet.payload);
    if judged.packet.protocol != protocol::TCP || was == phase::CLOSING {
        return;
    }
    let slot = found.slot as u32;
    if tcp_flags & RST != 0 {
        let early = found.opened & HANDSHAKE_OVER == 0;
        found.opened |= HANDSHAKE_OVER;
        was_reset(judged, slot, early);
        return;
    }
    if (payload != 0 || tcp_flags & FIN != 0) && found.opened & HANDSHAKE_OVER == 0 {
        found.opened |= HANDSHAKE_OVER;
    }
    if was == phase::HALF_OPEN && is != phase::HALF_OPEN {
        let asked = found.progress;
        let took = micros(control).wrapping_sub(asked & !ASKED_ONCE);
        found.progress = 0;
        if asked != 0 && tcp_flags & (SYN | ACK) == SYN | ACK {
            // One that was asked twice may have answered either (RFC 6298 3): its time says nothing.
            answered(judged, slot, if found.packets > 1 { NONE } else { took });
        }
    }
}

#[inline(always)]
fn changed(found: &Tracked, was: u8, is: u8) {
    let closed = (is == phase::CLOSING) as i64 - (was == phase::CLOSING) as i64;
    if closed != 0 {
        count_open(found.slot as u32, -closed);
    }
}

/// A client's segment came again; `unanswered`: it was the first SYN that came again though it had waited.
#[inline(always)]
fn repeated(judged: &mut Judged, slot: u32, unanswered: bool) {
    let Some(count) = handshakes(judged.cpu, slot) else { return };
    count.retransmitted += 1;
    if unanswered {
        count.unanswered += 1;
        note(judged, slot, FAILED);
    }
}

/// A target reset a connection; `early`: before it had sent any data.
#[inline(always)]
fn was_reset(judged: &mut Judged, slot: u32, early: bool) {
    let Some(count) = handshakes(judged.cpu, slot) else { return };
    if early {
        count.refused += 1;
        note(judged, slot, FAILED);
    } else {
        count.reset += 1;
    }
}

/// A handshake succeeded, and took so many microseconds of 1,024 ns; [`NONE`] where that is not known.
#[inline(always)]
fn answered(judged: &mut Judged, slot: u32, took: u32) {
    let Some(count) = handshakes(judged.cpu, slot) else { return };
    if took != NONE {
        let times: *mut u64 = (&raw mut count.times).cast();
        count.time_ns += (took as u64) << 10;
        // SAFETY: a bucket is below the number of buckets; this CPU's element.
        unsafe { *times.add((bucket(took) & 31) as usize) += 1 };
    }
    note(judged, slot, SUCCEEDED);
}

/// Follows the handshake of the packet that this CPU judges, with a target whose answers do not pass here. A global
/// function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_pending(cpu: u32) -> u32 {
    let (Some(control), Some((judged, forwarding))) = (maps::CONTROL.get(0), scratch::forwarding(cpu)) else {
        return 0;
    };
    pending(control, judged, forwarding);
    0
}

#[inline(always)]
fn pending(control: &Control, judged: &mut Judged, forwarding: &Forwarding) {
    let (hash, slot) = (forwarding.flow_hash, forwarding.slot);
    let place = judged.cpu * PENDING_SYNS as u32 + (hash as u32 & (PENDING_SYNS as u32 - 1));
    let Some(entry) = maps::PENDING.get_ptr_mut(place) else { return };
    // SAFETY: a live element of PENDING, written on this CPU only.
    let entry = unsafe { &mut *entry };
    let tag = (hash >> 32) as u32 | 1;
    let known = entry.tag == tag && entry.slot as u32 == slot;
    let flags = judged.packet.tcp_flags;
    if flags & (SYN | ACK) == SYN {
        if known {
            let waited = now_ns(control, true).wrapping_sub(entry.time_ns);
            let unanswered = entry.repeated & UNANSWERED == 0 && waited >= SYN_AGAIN_NS;
            entry.repeated |= if unanswered { CAME_AGAIN | UNANSWERED } else { CAME_AGAIN };
            repeated(judged, slot, unanswered);
            return;
        }
        *entry = Pending { tag, slot: slot as u16, repeated: 0, time_ns: now_ns(control, true) };
        account::target_opened(judged.cpu, slot);
    } else if known && flags & (ACK | RST) != 0 {
        entry.tag = 0;
        if flags & RST == 0 {
            let took = now_ns(control, true).wrapping_sub(entry.time_ns) >> 10;
            answered(judged, slot, if entry.repeated != 0 { NONE } else { took as u32 });
        }
    }
}
