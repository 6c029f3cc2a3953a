//! Who sends most: by packets and by bytes, by address and by network, with a memory that does not grow
//! under a million spoofed sources.
//!
//! Fed by flow accounts: those that leave the kernel's memo, and, when it is asked, those that are still
//! in it. Time is cut into halves of [`HALF_NS`]; an answer speaks of the one that runs and the one
//! before it. Each half and each of the four questions has a [`Sketch`] of [`COUNTERS`] counters, so that
//! nobody is told to have sent more than he did by more than a [`COUNTERS`]th of all that was sent in
//! that time, and nobody who sent more than that is left out. What was lost on the way out of the memo
//! is missing, and said. What a flow sent before it was first looked at counts with its last packet.

mod credits;
mod sketch;
#[cfg(test)]
mod tests;

pub use sketch::{Estimate, Sketch, greatest};

use crate::api::types::Counts;
use crate::dataplane::{FlowAccount, FlowId};
use crate::flows::Account;
use credits::Credits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Half of the time that an answer speaks of, nanoseconds.
pub const HALF_NS: u64 = 60_000_000_000;
/// Counters of a sketch: some 600 KB each, eight of them.
pub const COUNTERS: u32 = 4096;
/// Flows of which it is remembered what was told: some 10 MB at most.
const CREDITS: usize = 1 << 17;
/// Bits of an address that are a network.
const NETWORK_V4: u8 = 24;
const NETWORK_V6: u8 = 48;

/// What makes a talker great.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes.
    Bytes = 0,
    /// Packets.
    Packets = 1,
}

/// Who is one talker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// A source address.
    Address = 0,
    /// A network: the first 24 bits of an IPv4 address, 48 of an IPv6 address.
    Network = 1,
}

impl Grouping {
    /// The talker that a source belongs to: an address with zeros behind the part that counts.
    #[must_use]
    pub fn talker(self, source: IpAddr) -> IpAddr {
        match (self, source) {
            (Grouping::Address, source) => source,
            (Grouping::Network, IpAddr::V4(source)) => {
                IpAddr::V4(Ipv4Addr::from_bits(source.to_bits() & (u32::MAX << (32 - NETWORK_V4))))
            }
            (Grouping::Network, IpAddr::V6(source)) => {
                IpAddr::V6(Ipv6Addr::from_bits(source.to_bits() & (u128::MAX << (128 - NETWORK_V6))))
            }
        }
    }

    /// The talker as text: `192.0.2.1`, `192.0.2.0/24`.
    #[must_use]
    pub fn text(self, talker: IpAddr) -> String {
        match (self, talker) {
            (Grouping::Address, talker) => talker.to_string(),
            (Grouping::Network, IpAddr::V4(talker)) => format!("{talker}/{NETWORK_V4}"),
            (Grouping::Network, IpAddr::V6(talker)) => format!("{talker}/{NETWORK_V6}"),
        }
    }
}

/// One half of the time, by [`Measure`] and [`Grouping`].
#[derive(Debug)]
struct Half {
    since_ns: u64,
    /// What the kernel had lost when it began.
    lost_before: Counts,
    sketches: [[Sketch<IpAddr>; 2]; 2],
}

impl Half {
    fn new(since_ns: u64, lost_before: Counts, counters: u32) -> Half {
        let sketches = || [Sketch::new(counters), Sketch::new(counters)];
        Half { since_ns, lost_before, sketches: [sketches(), sketches()] }
    }

    fn add(&mut self, source: IpAddr, counts: Counts) {
        for grouping in [Grouping::Address, Grouping::Network] {
            let talker = grouping.talker(source);
            self.sketches[Measure::Bytes as usize][grouping as usize].add(talker, counts.bytes);
            self.sketches[Measure::Packets as usize][grouping as usize].add(talker, counts.packets);
        }
    }
}

/// The talkers of the last one or two minutes.
#[derive(Debug)]
pub struct Talkers {
    current: Half,
    previous: Half,
    credits: Credits,
    /// Whether it is known what lived before.
    begun: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The greatest, in order, by what was asked for.
    pub talkers: Vec<Estimate<IpAddr>>,
    /// From when on, `CLOCK_MONOTONIC` nanoseconds.
    pub since_ns: u64,
    /// All that was sent since, by what was asked for.
    pub total: u64,
    /// Nobody who is not among all that are known sent more than this.
    pub unknown_max: u64,
    /// What the kernel could not hand over since.
    pub lost: Counts,
}

impl Talkers {
    /// Begins at a time, and with what the kernel has lost until then. Nothing counts before the first
    /// [`Talkers::turn`], which tells what was sent before.
    #[must_use]
    pub fn new(now_ns: u64, lost: Counts) -> Talkers {
        Talkers::with_counters(now_ns, lost, COUNTERS, CREDITS)
    }

    fn with_counters(now_ns: u64, lost: Counts, counters: u32, credits: usize) -> Talkers {
        Talkers {
            current: Half::new(now_ns, lost, counters),
            previous: Half::new(now_ns, lost, counters),
            credits: Credits::new(credits),
            begun: false,
        }
    }

    /// Takes an account that left the memo.
    pub fn left(&mut self, part: &FlowAccount) {
        let counts = Counts { packets: part.packets, bytes: part.bytes };
        let due = self.credits.left(part.id, counts);
        if !self.begun {
            return;
        }
        if part.last_ns >= self.current.since_ns {
            self.current.add(part.id.source, due);
        } else if part.last_ns >= self.previous.since_ns {
            self.previous.add(part.id.source, due);
        }
    }

    /// Whether the half that runs is over.
    #[must_use]
    pub fn is_over(&self, now_ns: u64) -> bool {
        !self.begun || now_ns.saturating_sub(self.current.since_ns) >= HALF_NS
    }

    /// Ends the half that runs. `live` are the accounts in the memo, each flow once; between the look
    /// that found them and this call no account that left the memo may be taken.
    pub fn turn(&mut self, live: &HashMap<FlowId, Account>, now_ns: u64, lost: Counts) {
        let current = &mut self.current;
        let begun = std::mem::replace(&mut self.begun, true);
        self.credits.look(live, |id, account, due| {
            if begun && account.last_ns >= current.since_ns {
                current.add(id.source, due);
            }
        });
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.since_ns = now_ns;
        self.current.lost_before = lost;
        self.current.sketches.iter_mut().flatten().for_each(Sketch::clear);
    }

    /// The greatest talkers. `live` as for [`Talkers::turn`].
    #[must_use]
    pub fn top(
        &self,
        live: &HashMap<FlowId, Account>,
        lost: Counts,
        measure: Measure,
        grouping: Grouping,
        limit: usize,
    ) -> Top {
        let of = |half: &Half| half.sketches[measure as usize][grouping as usize].clone();
        let (mut current, previous) = (of(&self.current), of(&self.previous));
        let recent = |account: &Account| self.begun && account.last_ns >= self.previous.since_ns;
        for (id, account) in live.iter().filter(|(_, account)| recent(account)) {
            let due = self.credits.due(id, credits::counts(account));
            let weight = if measure == Measure::Bytes { due.bytes } else { due.packets };
            current.add(grouping.talker(id.source), weight);
        }
        let before = self.previous.lost_before;
        Top {
            talkers: greatest(&current, &previous, limit),
            since_ns: self.previous.since_ns,
            total: current.total().saturating_add(previous.total()),
            unknown_max: current.floor().saturating_add(previous.floor()),
            lost: Counts {
                packets: lost.packets.saturating_sub(before.packets),
                bytes: lost.bytes.saturating_sub(before.bytes),
            },
        }
    }
}
