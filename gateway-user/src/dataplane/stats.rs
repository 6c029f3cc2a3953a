//! Counters, read from mapped memory without a system call.

use super::clock::ClockSource;
use super::flows::{FlowScan, Memo};
use super::health::HealthMaps;
use super::limits::LimitMaps;
use super::mapped::Mapped;
use super::tracked::TrackMaps;
use super::{Clock, Error};
use bytemuck::Pod;
use gateway_common::abi::{
    Control, Count, Hook, INTERFACE_INDEX_SPACE, Interface, InterfaceStats, MAX_INTERFACES, ROUTE_COUNTERS,
    ReasonCount, TELEMETRY_WORDS, TargetCount, Telemetry, reason_index, stats_index,
};
use gateway_common::image::MAX_TARGETS;
use gateway_common::reason::Reason;
use std::collections::HashMap;
use std::sync::Arc;

/// What the kernel could not tell, and how the memo does; sums over all CPUs since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelemetryCounts {
    /// Packet events that found the ring buffer full.
    pub events_lost: u64,
    /// Flow records that found the ring buffer full.
    pub flows_lost: u64,
    /// Packets of those flows.
    pub flow_packets_lost: u64,
    /// Bytes of those flows.
    pub flow_bytes_lost: u64,
    /// Flow records handed over.
    pub flows_evicted: u64,
    /// Packets that were classified; all other IP packets found their flow in the memo.
    pub memo_misses: u64,
    /// Packets whose mark could not be carried to tc, because the driver takes no metadata.
    pub metadata_refused: u64,
    /// Keys of limits that took the place of a key still in debt.
    pub keys_evicted: u64,
    /// Connections that found no place in the table of open ones, and were refused.
    pub connections_refused: u64,
    /// Packets refused because too many CPUs changed their limit at once.
    pub limit_contended: u64,
    /// SYN cookies sent.
    pub syn_cookies_sent: u64,
    /// SYN cookies that came back.
    pub syn_cookies_proven: u64,
    /// RSTs to a route under attack that held no cookie.
    pub syn_cookies_wrong: u64,
    /// Packets that tc could not send where it was to.
    pub sends_failed: u64,
    /// Connections of translating pools that found no place, and were refused.
    pub tracked_refused: u64,
    /// ICMP errors of the gateway's own that were sent.
    pub errors_sent: u64,
    /// ICMP errors of the gateway's own that were not sent, to keep their rate.
    pub errors_suppressed: u64,
    /// First fragments that pushed out another's entry before its time.
    pub fragments_evicted: u64,
}

/// The maps that the kernel writes.
pub(super) struct Maps {
    pub(super) cpus: u32,
    pub(super) memo_sets: u32,
    pub(super) control: Mapped<Control>,
    pub(super) interfaces: Mapped<Interface>,
    pub(super) stats: Mapped<InterfaceStats>,
    pub(super) reasons: Mapped<ReasonCount>,
    pub(super) routes: Mapped<Count>,
    pub(super) targets: Mapped<TargetCount>,
    pub(super) memo: Memo,
    pub(super) telemetry: Mapped<u64>,
    pub(super) limits: LimitMaps,
    pub(super) track: TrackMaps,
    pub(super) health: HealthMaps,
    pub(super) clock: ClockSource,
}

/// Reads what the kernel counts. Cheap to clone, usable from any thread, never in the way of an
/// [`super::Dataplane::apply`]. Counters never go back as long as the maps live, which is until
/// `gateway detach`.
#[derive(Clone)]
pub struct Readers(pub(super) Arc<Maps>);

impl Readers {
    /// Totals of an interface slot (0: interfaces that nobody configured), by [`Hook`]. In each,
    /// `received` is not below the sum of the verdicts; it is above by packets under way.
    #[must_use]
    pub fn interface_stats(&self, slot: u8) -> [InterfaceStats; Hook::ALL.len()] {
        Hook::ALL.map(|hook| {
            let mut sum = self.half(slot, hook, 0);
            add_stats(&mut sum, &self.half(slot, hook, 1));
            sum
        })
    }

    /// What one parity of generations counted.
    pub(super) fn half(&self, slot: u8, hook: Hook, generation: u32) -> InterfaceStats {
        let mut sum = InterfaceStats::default();
        for cpu in 0..self.0.cpus {
            let index = stats_index(cpu, u32::from(slot), hook as u32, generation);
            if let Some(stats) = self.0.stats.load(index) {
                add_stats(&mut sum, &stats);
            }
        }
        sum
    }

    /// Drop reasons that an interface slot has met with, in order of their codes.
    #[must_use]
    pub fn reasons(&self, slot: u8) -> Vec<(Reason, ReasonCount)> {
        let mut found = Vec::new();
        for &reason in Reason::ALL {
            let index = |cpu| reason_index(cpu, u32::from(slot), u32::from(reason.code()));
            let mut sum = ReasonCount::default();
            for count in self.per_cpu(&self.0.reasons, index) {
                sum.dropped += count.dropped;
                sum.passed += count.passed;
            }
            if sum != ReasonCount::default() {
                found.push((reason, sum));
            }
        }
        found
    }

    /// Packets and bytes of a counter slot; zero for a slot that does not exist.
    #[must_use]
    pub fn route_counts(&self, slot: u32) -> Count {
        let mut sum = Count::default();
        if (slot as usize) < ROUTE_COUNTERS {
            for count in self.per_cpu(&self.0.routes, |cpu| cpu * ROUTE_COUNTERS as u32 + slot) {
                add_count(&mut sum, &count);
            }
        }
        sum
    }

    /// What the target of this slot was sent and sent back; zero for a slot that does not exist. Bytes are
    /// those of the frames that came in.
    #[must_use]
    pub fn target_counts(&self, slot: u32) -> TargetCount {
        let mut sum = TargetCount::default();
        if (slot as usize) < MAX_TARGETS {
            for count in self.per_cpu(&self.0.targets, |cpu| cpu * MAX_TARGETS as u32 + slot) {
                add_count(&mut sum.sent, &count.sent);
                add_count(&mut sum.returned, &count.returned);
                sum.opened += count.opened;
                sum.evicted += count.evicted;
            }
        }
        sum
    }

    /// Lost, evicted, hit and missed.
    #[must_use]
    pub fn telemetry(&self) -> TelemetryCounts {
        let sum = |word: Telemetry| {
            self.per_cpu(&self.0.telemetry, |cpu| cpu * TELEMETRY_WORDS as u32 + word as u32).sum()
        };
        TelemetryCounts {
            events_lost: sum(Telemetry::EventsLost),
            flows_lost: sum(Telemetry::FlowsLost),
            flow_packets_lost: sum(Telemetry::FlowPacketsLost),
            flow_bytes_lost: sum(Telemetry::FlowBytesLost),
            flows_evicted: sum(Telemetry::FlowsEvicted),
            memo_misses: sum(Telemetry::MemoMisses),
            metadata_refused: sum(Telemetry::MetadataRefused),
            keys_evicted: sum(Telemetry::KeysEvicted),
            connections_refused: sum(Telemetry::ConnectionsRefused),
            limit_contended: sum(Telemetry::LimitContended),
            syn_cookies_sent: sum(Telemetry::SynCookiesSent),
            syn_cookies_proven: sum(Telemetry::SynCookiesProven),
            syn_cookies_wrong: sum(Telemetry::SynCookiesWrong),
            sends_failed: sum(Telemetry::SendsFailed),
            tracked_refused: sum(Telemetry::TrackedRefused),
            errors_sent: sum(Telemetry::ErrorsSent),
            errors_suppressed: sum(Telemetry::ErrorsSuppressed),
            fragments_evicted: sum(Telemetry::FragmentsEvicted),
        }
    }

    /// Flows that the memo of any CPU holds. A flow that several CPUs saw is there several times.
    ///
    /// # Errors
    /// Where the kernel's clock cannot be read.
    pub fn flows_live(&self) -> Result<FlowScan, Error> {
        Ok(self.0.memo.scan(&self.clock()?))
    }

    /// TCP connections that look half open, by counter slot: flows in the memo that are not dropped, of
    /// which no packet but a SYN was seen, the last of them at `oldest_ns` (`CLOCK_MONOTONIC`) or later.
    ///
    /// What the client's side shows: whether the server answered is not looked at, a SYN that a limit
    /// refused is among them, and one whose flow has left the memo is not. It is no count of what a
    /// server's stack holds, but rises with it.
    ///
    /// # Errors
    /// Where the kernel's clock cannot be read.
    pub fn half_open(&self, oldest_ns: u64) -> Result<HashMap<u32, u64>, Error> {
        Ok(self.0.memo.half_open(&self.clock()?, oldest_ns))
    }

    /// Lines of the flow memo, all CPUs together.
    #[must_use]
    pub fn memo_lines(&self) -> u64 {
        u64::from(self.0.cpus) * u64::from(self.0.memo_sets) * gateway_common::abi::MEMO_WAYS as u64
    }

    /// The kernel's clocks now. The first call takes 60 ms, later ones some microseconds.
    ///
    /// # Errors
    /// Where the clock's program cannot be run.
    pub fn clock(&self) -> Result<Clock, Error> {
        self.0.clock.read()
    }

    /// The generation that judges now, 0 while no policy is loaded.
    #[must_use]
    pub fn generation(&self) -> u32 {
        let offset = std::mem::offset_of!(Control, generation);
        self.0.control.load_u64(0, offset).map_or(0, |word| word as u32)
    }

    /// Slot of the interface with this index, 0 if it is not governed. What events name.
    #[must_use]
    pub fn slot_of(&self, ifindex: u32) -> u8 {
        let entry = self.0.interfaces.load(ifindex % INTERFACE_INDEX_SPACE as u32).unwrap_or_default();
        if entry.ifindex == ifindex && usize::from(entry.slot) < MAX_INTERFACES {
            entry.slot as u8
        } else {
            0
        }
    }

    pub(super) fn per_cpu<T: Pod>(
        &self,
        map: &Mapped<T>,
        index: impl Fn(u32) -> u32,
    ) -> impl Iterator<Item = T> {
        (0..self.0.cpus).filter_map(move |cpu| map.load(index(cpu)))
    }
}

/// Adds up packets and bytes.
pub(super) fn add_count(sum: &mut Count, count: &Count) {
    sum.packets += count.packets;
    sum.bytes += count.bytes;
}

/// Adds up an interface's counters.
pub(super) fn add_stats(sum: &mut InterfaceStats, stats: &InterfaceStats) {
    add_count(&mut sum.received, &stats.received);
    for (sum, count) in sum.verdicts.iter_mut().zip(&stats.verdicts) {
        add_count(sum, count);
    }
}

/// What was counted since `before`.
pub(super) fn stats_since(now: &InterfaceStats, before: &InterfaceStats) -> InterfaceStats {
    let since = |now: Count, before: Count| Count {
        packets: now.packets.wrapping_sub(before.packets),
        bytes: now.bytes.wrapping_sub(before.bytes),
    };
    let mut result = InterfaceStats { received: since(now.received, before.received), ..Default::default() };
    for (i, count) in result.verdicts.iter_mut().enumerate() {
        *count = since(now.verdicts[i], before.verdicts[i]);
    }
    result
}
