//! The only writer of counters, and of lost-and-found figures. Every packet opens an account on
//! entry and closes it with its verdict, once.
//!
//! All counters are per CPU and plainly added to: XDP and tc run with softirqs off, so nothing on
//! the same CPU comes between. User space reads them through its mapping.

use crate::maps;
use gateway_common::abi::{
    HandshakeCount, InterfaceStats, LimitCount, ROUTE_COUNTERS, TELEMETRY_WORDS, TargetCount, Telemetry,
    reason_index, stats_index,
};
use gateway_common::image::{MAX_LIMITS, MAX_TARGETS};
use gateway_common::reason::Reason;

/// An open account of one packet.
#[derive(Clone, Copy)]
pub struct Account {
    stats: *mut InterfaceStats,
    cpu: u32,
    slot: u32,
    /// Packets received before this one, on this CPU, interface, hook and generation parity.
    pub sequence: u64,
}

impl Account {
    /// Counts a packet as received.
    #[inline(always)]
    pub fn open(cpu: u32, slot: u32, hook: u32, parity: u32) -> Option<Account> {
        let stats = maps::STATS.get_ptr_mut(stats_index(cpu, slot, hook, parity))?;
        // SAFETY: a live element of STATS, written on this CPU only.
        let received = unsafe { &mut (*stats).received };
        let sequence = received.packets;
        received.packets += 1;
        Some(Account { stats, cpu, slot, sequence })
    }

    /// The account of a packet that is counted as received already.
    #[inline(always)]
    pub fn again(cpu: u32, slot: u32, hook: u32, parity: u32) -> Option<Account> {
        let stats = maps::STATS.get_ptr_mut(stats_index(cpu, slot, hook, parity))?;
        // SAFETY: a live element of STATS, written on this CPU only.
        let sequence = unsafe { (*stats).received.packets }.wrapping_sub(1);
        Some(Account { stats, cpu, slot, sequence })
    }

    /// Counts what became of it.
    #[inline(always)]
    pub fn close(&self, verdict: u32, counter: u32, length: u32) {
        let length = length as u64;
        // SAFETY: the element that `open` got, written on this CPU only.
        let stats = unsafe { &mut *self.stats };
        stats.received.bytes += length;
        let count = &mut stats.verdicts[verdict as usize & 3];
        count.packets += 1;
        count.bytes += length;
        if counter < ROUTE_COUNTERS as u32
            && let Some(count) = maps::ROUTES.get_ptr_mut(self.cpu * ROUTE_COUNTERS as u32 + counter)
        {
            // SAFETY: a live element of ROUTES, written on this CPU only.
            let count = unsafe { &mut *count };
            count.packets += 1;
            count.bytes += length;
        }
    }

    /// Counts a reason.
    #[inline(always)]
    pub fn reason(&self, reason: u32, dropped: bool) {
        let code = reason & (Reason::COUNT as u32 - 1);
        if let Some(count) = maps::REASONS.get_ptr_mut(reason_index(self.cpu, self.slot, code)) {
            // SAFETY: a live element of REASONS, written on this CPU only.
            let count = unsafe { &mut *count };
            if dropped {
                count.dropped += 1;
            } else {
                count.passed += 1;
            }
        }
    }
}

/// Counts a packet at a limit: how many were refused there on this CPU so far.
#[inline(always)]
pub fn limit(cpu: u32, slot: u32, refused: bool, length: u32) -> u64 {
    let Some(count) = limit_count(cpu, slot) else { return 0 };
    let side = if refused { &mut count.refused } else { &mut count.admitted };
    side.packets += 1;
    side.bytes += length as u64;
    side.packets
}

/// Counts a ban.
#[inline(always)]
pub fn limit_banned(cpu: u32, slot: u32) {
    if let Some(count) = limit_count(cpu, slot) {
        count.bans += 1;
    }
}

/// Counts a key that gave way while in debt.
#[inline(always)]
pub fn limit_evicted(cpu: u32, slot: u32) {
    if let Some(count) = limit_count(cpu, slot) {
        count.evicted += 1;
    }
}

/// Counts a SYN cookie sent.
#[inline(always)]
pub fn limit_cookie(cpu: u32, slot: u32) {
    if let Some(count) = limit_count(cpu, slot) {
        count.cookies += 1;
    }
}

/// Counts a SYN cookie that came back.
#[inline(always)]
pub fn limit_proven(cpu: u32, slot: u32) {
    if let Some(count) = limit_count(cpu, slot) {
        count.proven += 1;
    }
}

#[inline(always)]
fn limit_count(cpu: u32, slot: u32) -> Option<&'static mut LimitCount> {
    let index = cpu * MAX_LIMITS as u32 + (slot & (MAX_LIMITS as u32 - 1));
    // SAFETY: a live element of LIMITS, written on this CPU only.
    maps::LIMITS.get_ptr_mut(index).map(|count| unsafe { &mut *count })
}

/// Counts a packet that was sent to a pool's target.
#[inline(always)]
pub fn target(cpu: u32, slot: u32, length: u32) {
    if let Some(count) = target_count(cpu, slot) {
        count.sent.packets += 1;
        count.sent.bytes += length as u64;
    }
}

/// Counts a packet that came back from a pool's target.
#[inline(always)]
pub fn target_returned(cpu: u32, slot: u32, length: u32) {
    if let Some(count) = target_count(cpu, slot) {
        count.returned.packets += 1;
        count.returned.bytes += length as u64;
    }
}

/// Counts a connection to a target.
#[inline(always)]
pub fn target_opened(cpu: u32, slot: u32) {
    if let Some(count) = target_count(cpu, slot) {
        count.opened += 1;
    }
}

/// Counts a half-open connection of a target that gave way to another.
#[inline(always)]
pub fn target_evicted(cpu: u32, slot: u32) {
    if let Some(count) = target_count(cpu, slot) {
        count.evicted += 1;
    }
}

#[inline(always)]
fn target_count(cpu: u32, slot: u32) -> Option<&'static mut TargetCount> {
    let index = cpu * MAX_TARGETS as u32 + (slot & (MAX_TARGETS as u32 - 1));
    // SAFETY: a live element of TARGETS, written on this CPU only.
    maps::TARGETS.get_ptr_mut(index).map(|count| unsafe { &mut *count })
}

/// What this CPU counted of a target's handshakes.
#[inline(always)]
pub fn handshakes(cpu: u32, slot: u32) -> Option<&'static mut HandshakeCount> {
    let index = cpu * MAX_TARGETS as u32 + (slot & (MAX_TARGETS as u32 - 1));
    // SAFETY: a live element of HANDSHAKES, written on this CPU only.
    maps::HANDSHAKES.get_ptr_mut(index).map(|count| unsafe { &mut *count })
}

/// Adds to a telemetry word of this CPU.
#[inline(always)]
pub fn telemetry(cpu: u32, word: Telemetry, add: u64) {
    if let Some(total) = maps::TELEMETRY.get_ptr_mut(cpu * TELEMETRY_WORDS as u32 + word as u32) {
        // SAFETY: a live element of TELEMETRY, written on this CPU only.
        unsafe { *total += add };
    }
}
