//! The only writer of counters, and of lost-and-found figures. Every packet opens an account on
//! entry and closes it with its verdict, once.
//!
//! All counters are per CPU and plainly added to: XDP and tc run with softirqs off, so nothing on
//! the same CPU comes between. User space reads them through its mapping.

use crate::maps;
use gateway_common::abi::{
    InterfaceStats, ROUTE_COUNTERS, TELEMETRY_WORDS, Telemetry, Verdict, reason_index, stats_index,
};
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
    pub fn open(cpu: u32, slot: u32, hook: u32, generation: u32) -> Option<Account> {
        let stats = maps::STATS.get_ptr_mut(stats_index(cpu, slot, hook, generation))?;
        // SAFETY: a live element of STATS, written on this CPU only.
        let received = unsafe { &mut (*stats).received };
        let sequence = received.packets;
        received.packets += 1;
        Some(Account { stats, cpu, slot, sequence })
    }

    /// Counts what became of it.
    #[inline(always)]
    pub fn close(&self, verdict: Verdict, counter: u32, length: u32) {
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
    pub fn reason(&self, reason: u8, dropped: bool) {
        let code = reason as u32 & (Reason::COUNT as u32 - 1);
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

/// Adds to a telemetry word of this CPU.
#[inline(always)]
pub fn telemetry(cpu: u32, word: Telemetry, add: u64) {
    if let Some(total) = maps::TELEMETRY.get_ptr_mut(cpu * TELEMETRY_WORDS as u32 + word as u32) {
        // SAFETY: a live element of TELEMETRY, written on this CPU only.
        unsafe { *total += add };
    }
}
