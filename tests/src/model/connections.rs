//! Connections open at once, as they look from the client's side: the other one's packets need not come
//! this way.
//!
//! A connection that has been silent for too long is closed, though not at once: nobody walks over all of
//! them. Until then it may count or not, and where that decides, both answers are right.

use super::bucket::Tie;
use super::limits::Key;
use super::{Flow, Parsed};
use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;
/// The clock of connections ticks in steps of a millisecond.
const TICKS: u64 = 3_000_000;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;

/// What was seen of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing but SYNs.
    HalfOpen,
    Established,
    /// Of a protocol that does not say when it ends.
    Connectionless,
}

impl Stage {
    fn patience(self) -> u64 {
        match self {
            Stage::HalfOpen => 30 * SECOND,
            Stage::Established => 3_600 * SECOND,
            Stage::Connectionless => 60 * SECOND,
        }
    }
}

/// A connection that a limit counts.
#[derive(Clone, Copy, Debug)]
struct Open {
    stage: Stage,
    /// When its last packet came, nanoseconds.
    last: u64,
    /// It was silent for too long before its last packet, and may have been closed by then.
    doubtful: bool,
}

impl Open {
    fn counts_surely(&self, now: u64) -> bool {
        !self.doubtful && now - self.last < self.stage.patience() - TICKS
    }
}

/// Those of all limits.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    open: BTreeMap<(String, Key), BTreeMap<Flow, Open>>,
}

impl Connections {
    /// A packet under a limit of so many open connections: whether it is within it, and whether that
    /// hung on when a silent one was closed.
    pub(super) fn offer(
        &mut self,
        (limit, key): (&str, &Key),
        packet: &Parsed,
        most: u32,
        opens: bool,
        now: u64,
        tie: Tie,
    ) -> (bool, bool) {
        let open = self.open.entry((limit.to_owned(), key.clone())).or_default();
        let flow = Flow::from(packet);
        let tcp = packet.protocol == 6;
        let found = open.remove(&flow);
        if found.is_some() && tcp && packet.tcp_flags & (FIN | RST) != 0 {
            return (true, false);
        }
        let seen = match (tcp, opens) {
            (true, true) => Stage::HalfOpen,
            (true, false) => Stage::Established,
            (false, _) => Stage::Connectionless,
        };
        let stage = found.map_or(seen, |found| found.stage.max(seen));
        if let Some(found) = found.filter(|found| !opens || found.counts_surely(now)) {
            let doubtful = !found.counts_surely(now);
            open.insert(flow, Open { stage, last: now, doubtful });
            return (true, false);
        }
        if !opens {
            return (true, false);
        }
        let surely = open.values().filter(|open| open.counts_surely(now)).count();
        let (surely_over, surely_within) = (surely >= most as usize, open.len() < most as usize);
        let hung = !surely_over && !surely_within;
        // A silent one of this very flow was there, or was not.
        let hung = hung || (found.is_some() && surely_over);
        let admitted = surely_within || (hung && tie == Tie::Admit);
        if admitted {
            open.insert(flow, Open { stage, last: now, doubtful: found.is_some() && stage != seen });
        }
        (admitted, hung)
    }
}
