//! Recent packet events, and those who follow them.

use gateway_common::abi::PacketEvent;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::broadcast;

/// Events kept for `GET /v1/events`.
pub const RECENT_MAX: usize = 10_000;
/// How far a follower may fall behind before it misses events.
const FOLLOWER_BACKLOG: usize = 8192;

/// An event with what is known only when it is read.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// As the kernel reported it.
    pub event: PacketEvent,
    /// Slot of the interface it arrived on, 0 if that is not governed.
    pub slot: u8,
}

/// A bounded log: the newest [`RECENT_MAX`] events, and a channel to followers.
#[derive(Debug)]
pub struct EventLog {
    recent: Mutex<VecDeque<Seen>>,
    followers: broadcast::Sender<Seen>,
    received: AtomicU64,
    missed: AtomicU64,
}

impl Default for EventLog {
    fn default() -> EventLog {
        EventLog {
            recent: Mutex::new(VecDeque::new()),
            followers: broadcast::channel(FOLLOWER_BACKLOG).0,
            received: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }
}

impl EventLog {
    /// Adds events in their order.
    pub fn add(&self, events: &[Seen]) {
        self.received.fetch_add(events.len() as u64, Ordering::Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in events {
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back(*seen);
            // Without followers there is nobody to tell.
            let _ = self.followers.send(*seen);
        }
    }

    /// The newest events, the oldest of them first.
    #[must_use]
    pub fn newest(&self, limit: usize) -> Vec<Seen> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().skip(recent.len().saturating_sub(limit)).copied().collect()
    }

    /// Events from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Seen> {
        self.followers.subscribe()
    }

    /// Notes that a follower was too slow.
    pub fn add_missed(&self, events: u64) {
        self.missed.fetch_add(events, Ordering::Relaxed);
    }

    /// Events received, and events that followers missed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.missed.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_counts_all() {
        let log = EventLog::default();
        let mut follower = log.follow();
        let seen = |n: u32| Seen { event: PacketEvent { length: n, ..PacketEvent::default() }, slot: 1 };
        let events: Vec<Seen> = (0..RECENT_MAX as u32 + 5).map(seen).collect();
        log.add(&events);
        let newest: Vec<u32> = log.newest(2).iter().map(|seen| seen.event.length).collect();
        assert_eq!(newest, [RECENT_MAX as u32 + 3, RECENT_MAX as u32 + 4]);
        assert_eq!(log.newest(usize::MAX).len(), RECENT_MAX);
        assert_eq!(log.counts().0, RECENT_MAX as u64 + 5);
        let Err(broadcast::error::TryRecvError::Lagged(missed)) = follower.try_recv() else {
            panic!("the follower is behind");
        };
        log.add_missed(missed);
        assert_eq!(log.counts().1, missed);
    }
}
