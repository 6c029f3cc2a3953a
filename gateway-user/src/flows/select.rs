//! The merge of both homes of a flow, and the greatest flows of it.

use super::{Account, Table};
use crate::dataplane::FlowId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// What makes a flow great.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Bytes.
    Bytes,
    /// Packets.
    Packets,
    /// A late last packet.
    Last,
}

impl Order {
    fn rank(self, account: &Account) -> u64 {
        match self {
            Order::Bytes => account.bytes,
            Order::Packets => account.packets,
            Order::Last => account.last_ns,
        }
    }
}

/// Which flows are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that this counter slot's route decided.
    pub counter: Option<u32>,
    /// Only those with a packet at this time or later, `CLOCK_MONOTONIC` nanoseconds.
    pub seen_since_ns: u64,
}

impl Filter {
    fn admits(&self, account: &Account) -> bool {
        account.last_ns >= self.seen_since_ns && self.counter.is_none_or(|counter| counter == account.counter)
    }
}

/// Flows, packets and bytes added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Flows.
    pub flows: u64,
    /// Their packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sums {
    fn add(&mut self, account: &Account) {
        self.flows += 1;
        self.packets += account.packets;
        self.bytes += account.bytes;
    }
}

/// The greatest flows, and sums of what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The greatest, in order.
    pub flows: Vec<(FlowId, Account)>,
    /// Of the flows that the filter admits.
    pub matched: Sums,
    /// Of all flows seen since [`Filter::seen_since_ns`], whatever else the filter says.
    pub all: Sums,
}

/// Merges the table with the lines of the memo, and picks the `limit` greatest flows.
///
/// A flow may have a line on each CPU and an entry in the table; it is one flow here. Whoever calls
/// this holds the table still from before it read the memo: a line that leaves the memo meanwhile
/// may be missing for a moment, but is never counted twice.
#[must_use]
pub fn select(
    table: &Table,
    live: impl IntoIterator<Item = (FlowId, Account)>,
    filter: Filter,
    order: Order,
    limit: usize,
) -> Selection {
    let mut memo: HashMap<FlowId, Account> = HashMap::new();
    for (key, account) in live {
        memo.entry(key).and_modify(|known| known.merge(&account)).or_insert(account);
    }
    let mut picker =
        Picker { filter, order, limit, heap: BinaryHeap::new(), selection: Selection::default() };
    for (key, account) in table.iter() {
        match memo.remove(key) {
            Some(mut merged) => {
                merged.merge(account);
                picker.offer(*key, merged);
            }
            None => picker.offer(*key, *account),
        }
    }
    for (key, account) in memo {
        picker.offer(key, account);
    }
    picker.finish()
}

/// Keeps the greatest of what it is offered. Rank, then key, so that the answer does not depend on
/// the order in which flows are met.
struct Picker {
    filter: Filter,
    order: Order,
    limit: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
    selection: Selection,
}

struct Ranked {
    rank: (u64, Reverse<FlowId>),
    account: Account,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl Picker {
    fn offer(&mut self, key: FlowId, account: Account) {
        if account.last_ns < self.filter.seen_since_ns {
            return;
        }
        self.selection.all.add(&account);
        if !self.filter.admits(&account) {
            return;
        }
        self.selection.matched.add(&account);
        let candidate = Reverse(Ranked { rank: (self.order.rank(&account), Reverse(key)), account });
        if self.heap.len() < self.limit {
            self.heap.push(candidate);
        } else if let Some(mut least) = self.heap.peek_mut()
            && *least > candidate
        {
            *least = candidate;
        }
    }

    fn finish(mut self) -> Selection {
        self.selection.flows = self
            .heap
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse(Ranked { rank: (_, Reverse(key)), account })| (key, account))
            .collect();
        self.selection
    }
}
