//! Recent packet events, and those who follow them.

use super::clock::monotonic_now_ns;
use crate::dataplane::Readers;
use gateway_common::abi::{EventKind, PacketEvent};
use gateway_common::image::MAX_LIMITS;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Sampled packets kept for `GET /v1/events`, and as many alerts beside them.
pub const RECENT_MAX: usize = 10_000;
/// How far a follower may fall behind before it misses events.
const FOLLOWER_BACKLOG: usize = 8192;

/// An event with what is known only when it is read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As the kernel reported it.
    pub event: PacketEvent,
    /// Slot of the interface it arrived on, 0 if that is not governed.
    pub slot: u8,
    /// Of a limit: packets that it has refused since its event before.
    pub refused_since: u64,
    /// Of a target or a pool: which, and what became of it. No packet told that.
    pub told: Option<Arc<(Arc<str>, String)>>,
}

impl Seen {
    /// What it tells; a kind that is not known counts as a packet.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        EventKind::from_code(self.event.kind).unwrap_or(EventKind::Packet)
    }

    /// Whether it is more than a sampled packet.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        self.kind() != EventKind::Packet
    }
}

/// How much each limit had refused when it was told of last.
pub struct Refusals {
    told: Vec<u64>,
}

impl Refusals {
    /// Nothing of what was refused until now will be told.
    #[must_use]
    pub fn from_now(readers: &Readers) -> Refusals {
        let refused = |slot| readers.limit_counts(slot).refused.packets;
        Refusals { told: (0..MAX_LIMITS as u32).map(refused).collect() }
    }

    /// What a limit has refused since it was asked about last.
    pub fn since(&mut self, readers: &Readers, slot: u32) -> u64 {
        let Some(told) = self.told.get_mut(slot as usize) else { return 0 };
        let now = readers.limit_counts(slot).refused.packets;
        now.saturating_sub(std::mem::replace(told, now))
    }
}

/// A bounded log: the newest events, and a channel to followers. Alerts have a place of their own, so
/// that sampled packets do not push them out.
#[derive(Debug)]
pub struct EventLog {
    packets: Mutex<VecDeque<Seen>>,
    alerts: Mutex<VecDeque<Seen>>,
    followers: broadcast::Sender<Seen>,
    received: AtomicU64,
    missed: AtomicU64,
}

impl Default for EventLog {
    fn default() -> EventLog {
        EventLog {
            packets: Mutex::default(),
            alerts: Mutex::default(),
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
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in events {
            let recent = if seen.is_alert() { &mut *alerts } else { &mut *packets };
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back(seen.clone());
            // Without followers there is nobody to tell.
            let _ = self.followers.send(seen.clone());
        }
    }

    /// Adds what became of a target or a pool.
    pub fn add_told(&self, subject: Arc<str>, text: String) {
        let kind = EventKind::Target as u8;
        let event = PacketEvent { time_ns: monotonic_now_ns(), kind, ..PacketEvent::default() };
        self.add(&[Seen { event, slot: 0, refused_since: 0, told: Some(Arc::new((subject, text))) }]);
    }

    /// The newest events, or the newest alerts alone, the oldest of them first.
    #[must_use]
    pub fn newest(&self, limit: usize, alerts_only: bool) -> Vec<Seen> {
        let newest = |recent: &Mutex<VecDeque<Seen>>| -> Vec<Seen> {
            let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.iter().skip(recent.len().saturating_sub(limit)).cloned().collect()
        };
        let mut events = newest(&self.alerts);
        if !alerts_only {
            events.extend(newest(&self.packets));
            events.sort_by_key(|seen| seen.event.time_ns);
            events.drain(..events.len().saturating_sub(limit));
        }
        events
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
        let seen = |n: u32| {
            let event = PacketEvent { length: n, time_ns: n.into(), ..PacketEvent::default() };
            Seen { event, slot: 1, refused_since: 0, told: None }
        };
        let events: Vec<Seen> = (0..RECENT_MAX as u32 + 5).map(seen).collect();
        log.add(&events);
        let newest: Vec<u32> = log.newest(2, false).iter().map(|seen| seen.event.length).collect();
        assert_eq!(newest, [RECENT_MAX as u32 + 3, RECENT_MAX as u32 + 4]);
        assert_eq!(log.newest(usize::MAX, false).len(), RECENT_MAX);
        assert_eq!(log.counts().0, RECENT_MAX as u64 + 5);
        let Err(broadcast::error::TryRecvError::Lagged(missed)) = follower.try_recv() else {
            panic!("the follower is behind");
        };
        log.add_missed(missed);
        assert_eq!(log.counts().1, missed);
    }

    #[test]
    fn sampled_packets_do_not_push_alerts_out() {
        let log = EventLog::default();
        let seen = |time_ns: u64, kind: EventKind| Seen {
            event: PacketEvent { time_ns, kind: kind as u8, ..PacketEvent::default() },
            slot: 1,
            refused_since: 0,
            told: None,
        };
        log.add(&[seen(1, EventKind::Ban)]);
        let packets: Vec<Seen> = (2..RECENT_MAX as u64 + 100).map(|n| seen(n, EventKind::Packet)).collect();
        log.add(&packets);
        let last = RECENT_MAX as u64 + 100;
        log.add(&[seen(last, EventKind::Limit)]);
        let times = |events: Vec<Seen>| events.iter().map(|seen| seen.event.time_ns).collect::<Vec<_>>();
        assert_eq!(times(log.newest(10, true)), [1, last]);
        assert_eq!(times(log.newest(2, false)), [last - 1, last]);
        assert_eq!(log.newest(usize::MAX, false)[0].kind(), EventKind::Ban);
    }
}
