//! Flow accounts: what the memo holds now, and what left it.

use super::mapped::Mapped;
use super::{Clock, Error, Readers, ring::Ring};
use gateway_common::abi::{FlowRecord, MEMO_WAYS, MemoAddresses, MemoLine, MemoSet, Verdict, maps};
use gateway_common::packet::protocol::TCP;
use gateway_common::packet::{Address, FlowKey};
use gateway_common::reason::Reason;
use std::collections::HashMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{Ordering, fence};

/// Flags of a TCP header (RFC 9293 3.1).
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// How often a line that changes under the reader is read again.
const TRIES: u32 = 16;

/// What tells one flow from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    /// [`FlowKey::words`]: interface slot, VLAN, protocol, ports.
    pub words: u64,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
}

impl FlowId {
    /// The key's accessors (slot, VLAN, protocol, ports, flags).
    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey { words: self.words, addresses: 0 }
    }
}

/// The account of a flow, or of a part of it: a flow that moved between CPUs, or left the memo and
/// came back, has several, to be added up by [`FlowId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowAccount {
    /// Which flow.
    pub id: FlowId,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// First packet, `CLOCK_MONOTONIC` nanoseconds, exact to a jiffy.
    pub first_ns: u64,
    /// Last packet, the same.
    pub last_ns: u64,
    /// TCP flags seen, or-ed.
    pub tcp_flags: u8,
    /// The last verdict.
    pub verdict: Verdict,
    /// The reason, where that was a drop.
    pub reason: Option<Reason>,
    /// Counter slot of the route.
    pub counter: u32,
    /// The stamp under which it was decided, see [`gateway_common::abi::MemoLine::stamp`].
    pub stamp: u32,
    /// skb mark, 0 if none.
    pub mark: u32,
    /// skb priority, 0 if none.
    pub priority: u32,
    /// Interface slot that a redirect goes to.
    pub egress_slot: u8,
}

impl FlowAccount {
    /// The account in a record; nothing if its line is empty or holds no packets.
    #[must_use]
    pub fn from_record(record: &FlowRecord, clock: &Clock) -> Option<FlowAccount> {
        let FlowRecord { line, addresses } = record;
        if line.key == 0 || line.packets == 0 {
            return None;
        }
        let key = FlowKey { words: line.key, addresses: line.key_addresses };
        let (source, destination) = if key.family() == 6 {
            (IpAddr::V6(ipv6(addresses.source)), IpAddr::V6(ipv6(addresses.destination)))
        } else {
            let ipv4 = |bits: u64| IpAddr::V4(Ipv4Addr::from_bits(bits as u32));
            (ipv4(line.key_addresses >> 32), ipv4(line.key_addresses))
        };
        let verdict = Verdict::from_code(line.verdict()).unwrap_or(Verdict::Pass);
        let dropped = verdict == Verdict::Drop;
        Some(FlowAccount {
            id: FlowId { words: line.key, source, destination },
            packets: line.packets,
            bytes: line.bytes,
            first_ns: clock.ns_of(line.first),
            last_ns: clock.ns_of(line.last),
            tcp_flags: line.tcp_flags,
            verdict,
            reason: if dropped { Reason::from_code(line.detail) } else { None },
            counter: line.counter(),
            stamp: line.stamp,
            mark: line.mark,
            priority: line.skb_priority(),
            egress_slot: if dropped { 0 } else { line.detail },
        })
    }
}

fn ipv6([high, low]: Address) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
}

/// What a walk over the memo found.
#[derive(Clone, Debug, Default)]
pub struct FlowScan {
    /// The accounts, in no order.
    pub flows: Vec<FlowAccount>,
    /// Lines that changed hands each time they were read; their flows come with the next walk or
    /// through the ring buffer.
    pub unsettled: u64,
}

/// The memo and what belongs to it.
pub(super) struct Memo {
    pub(super) sets: Mapped<MemoSet>,
    pub(super) addresses: Mapped<MemoAddresses>,
}

impl Memo {
    /// Walks over all lines.
    pub(super) fn scan(&self, clock: &Clock) -> FlowScan {
        let mut found = FlowScan::default();
        for set in 0..self.sets.len() {
            for way in 0..MEMO_WAYS {
                match self.read(set, way) {
                    Read::Record(record) => found.flows.extend(FlowAccount::from_record(&record, clock)),
                    Read::Empty => {}
                    Read::Unsettled => found.unsettled += 1,
                }
            }
        }
        found
    }

    /// TCP connections that look half open, by counter slot: see [`Readers::half_open`].
    pub(super) fn half_open(&self, clock: &Clock, oldest_ns: u64) -> HashMap<u32, u64> {
        let mut open: HashMap<FlowId, u32> = HashMap::new();
        self.tcp_accounts(clock, |account| {
            let begun = account.tcp_flags & (SYN | ACK | FIN | RST) == SYN;
            if begun && account.last_ns >= oldest_ns && account.verdict != Verdict::Drop {
                open.insert(account.id, account.counter);
            }
        });
        if !open.is_empty() {
            // What another CPU saw of the same flow.
            self.tcp_accounts(clock, |account| {
                if account.tcp_flags & (ACK | FIN | RST) != 0 {
                    open.remove(&account.id);
                }
            });
        }
        let mut counts = HashMap::new();
        for counter in open.into_values() {
            *counts.entry(counter).or_default() += 1;
        }
        counts
    }

    /// Walks over the lines of TCP flows.
    fn tcp_accounts(&self, clock: &Clock, mut each: impl FnMut(&FlowAccount)) {
        for set in 0..self.sets.len() {
            for way in 0..MEMO_WAYS {
                let offset = way * size_of::<MemoLine>() + offset_of!(MemoLine, key);
                let words = self.sets.load_u64(set, offset).unwrap_or_default();
                if words == 0 || (FlowKey { words, addresses: 0 }).protocol() != TCP {
                    continue;
                }
                if let Read::Record(record) = self.read(set, way)
                    && let Some(account) = FlowAccount::from_record(&record, clock)
                {
                    each(&account);
                }
            }
        }
    }

    /// Reads a line as [`MemoLine`] tells: the copy counts if stamp, key and first packet are the same
    /// before and after, and the stamp is not 0.
    fn read(&self, set: u32, way: usize) -> Read {
        let word = |offset| self.sets.load_u64(set, way * size_of::<MemoLine>() + offset).unwrap_or(0);
        for _ in 0..TRIES {
            let identity = || {
                let stamp = word(offset_of!(MemoLine, stamp)) as u32;
                (stamp, word(offset_of!(MemoLine, key)), word(offset_of!(MemoLine, first)) as u32)
            };
            let before = identity();
            if before.1 == 0 {
                return Read::Empty;
            }
            let (Some(lines), Some(addresses)) = (self.sets.load(set), self.addresses.load(set)) else {
                return Read::Empty;
            };
            fence(Ordering::Acquire);
            if before.0 != 0 && before == identity() {
                return Read::Record(FlowRecord { line: lines[way], addresses: addresses[way] });
            }
            std::hint::spin_loop();
        }
        Read::Unsettled
    }
}

enum Read {
    Record(FlowRecord),
    Empty,
    Unsettled,
}

/// Flows as they leave the memo.
///
/// There is one for a data plane. Records that nobody has read yet wait in the ring buffer, also
/// while no daemon runs; what finds it full is counted in [`super::TelemetryCounts::flows_lost`].
pub struct FlowRing {
    ring: Ring,
    readers: Readers,
}

impl FlowRing {
    pub(super) fn open(path: &std::path::Path, readers: Readers) -> Result<FlowRing, Error> {
        Ok(FlowRing { ring: Ring::open(maps::FLOWS, path)?, readers })
    }

    /// Waits for records and appends up to `max` of them to `batch`; none may have come. Cancelling
    /// it loses nothing.
    ///
    /// # Errors
    /// Where waiting fails or the clock cannot be read; a record of the wrong size is skipped and
    /// told in the log.
    pub async fn next_batch(&mut self, max: usize, batch: &mut Vec<FlowAccount>) -> Result<(), Error> {
        self.ring.ready().await?;
        self.take(max, batch)
    }

    /// Appends what is there now, up to `max`, without waiting.
    ///
    /// # Errors
    /// Where the clock cannot be read.
    pub fn take(&mut self, max: usize, batch: &mut Vec<FlowAccount>) -> Result<(), Error> {
        let clock = self.readers.clock()?;
        self.ring.drain(max, |record: &FlowRecord| batch.extend(FlowAccount::from_record(record, &clock)));
        Ok(())
    }
}
