//! Flows that left the kernel's memo.

use super::Account;
use crate::dataplane::FlowId;
use std::collections::HashMap;

/// When full, room is made for this part of the table at once, so that the search for the oldest
/// costs little for each flow that comes.
const EVICTED_AT_ONCE: usize = 16;

/// How many flows left a [`Table`], and what they held. Only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounters {
    /// Flows that made room for others.
    pub evicted_flows: u64,
    /// Their packets.
    pub evicted_packets: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Flows forgotten because they were idle.
    pub expired_flows: u64,
}

/// A bounded table of flow accounts. Full: those whose last packet is longest ago make room, and
/// are counted.
#[derive(Debug)]
pub struct Table {
    accounts: HashMap<FlowId, Account>,
    entries_max: usize,
    counters: TableCounters,
}

impl Table {
    /// An empty table for at most `entries_max` flows (at least one).
    #[must_use]
    pub fn new(entries_max: usize) -> Table {
        Table {
            accounts: HashMap::new(),
            entries_max: entries_max.max(1),
            counters: TableCounters::default(),
        }
    }

    /// Adds an account to its flow's.
    pub fn add(&mut self, key: FlowId, account: &Account) {
        if let Some(known) = self.accounts.get_mut(&key) {
            known.merge(account);
            return;
        }
        if self.accounts.len() >= self.entries_max {
            self.evict();
        }
        self.accounts.insert(key, *account);
    }

    /// Forgets the flows whose last packet came before `oldest_ns`.
    pub fn expire(&mut self, oldest_ns: u64) {
        let before = self.accounts.len();
        self.accounts.retain(|_, account| account.last_ns >= oldest_ns);
        self.counters.expired_flows += (before - self.accounts.len()) as u64;
        if self.accounts.capacity() / 4 > self.accounts.len() {
            self.accounts.shrink_to(self.accounts.len() * 2);
        }
    }

    /// The account of a flow.
    #[must_use]
    pub fn get(&self, key: &FlowId) -> Option<&Account> {
        self.accounts.get(key)
    }

    /// Every flow, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&FlowId, &Account)> {
        self.accounts.iter()
    }

    /// Flows in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Flows it can hold.
    #[must_use]
    pub fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// What left it so far.
    #[must_use]
    pub fn counters(&self) -> TableCounters {
        self.counters
    }

    /// Makes room: the part of the table that was idle longest goes.
    fn evict(&mut self) {
        let room = (self.entries_max / EVICTED_AT_ONCE).max(1).min(self.accounts.len());
        let mut last: Vec<u64> = self.accounts.values().map(|account| account.last_ns).collect();
        let (_, newest_to_go, _) = last.select_nth_unstable(room - 1);
        let newest_to_go = *newest_to_go;
        // Of those seen at the very same time only as many go as are needed.
        let older = last[..room].iter().filter(|time| **time < newest_to_go).count();
        let mut equal_to_go = room - older;
        let counters = &mut self.counters;
        self.accounts.retain(|_, account| {
            if account.last_ns > newest_to_go {
                return true;
            }
            if account.last_ns == newest_to_go {
                if equal_to_go == 0 {
                    return true;
                }
                equal_to_go -= 1;
            }
            counters.evicted_flows += 1;
            counters.evicted_packets += account.packets;
            counters.evicted_bytes += account.bytes;
            false
        });
    }
}
