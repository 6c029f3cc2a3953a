//! What the daemon does beside answering: reads the ring buffers, forgets idle flows, watches
//! interfaces. None of these ends by itself; what fails is told and tried again.

use super::clock::monotonic_now_ns;
use super::events::{Refusals, Seen};
use super::governor::Governor;
use crate::dataplane::{EventRing, FlowAccount, FlowRing, LinkEvent, LinkWatcher, addresses};
use crate::flows::Account;
use gateway_common::abi::EventKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Records taken from a ring buffer at once.
const BATCH: usize = 4096;
/// Flow records that wait for the table, while somebody walks over it, before the ring buffer must.
const WAITING_MAX: usize = 1 << 20;
const TABLE_RETRY: Duration = Duration::from_millis(1);
/// When flows that wait for the table are offered again though no others came.
const WAITING_RETRY: Duration = Duration::from_millis(20);
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// How exactly the talkers' halves of a minute are kept.
const TURN_EVERY: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Not every change of a device is told by a link event.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Link events come in bursts; one look is enough for what comes within this time.
const LINK_PAUSE: Duration = Duration::from_millis(20);

/// Adds flows that leave the memo to the table.
pub async fn read_flows(governor: Arc<Governor>, mut ring: FlowRing) {
    let mut waiting: Vec<FlowAccount> = Vec::new();
    loop {
        // Flows that found the table in use must not wait for others to come.
        let patience = if waiting.is_empty() { Duration::MAX } else { WAITING_RETRY };
        match timeout(patience, ring.next_batch(BATCH, &mut waiting)).await {
            Ok(Ok(())) => governor.clear_notice("flow ring"),
            Err(_) => {}
            Ok(Err(error)) => {
                governor.notice("flow ring", format!("flows cannot be read: {error}"));
                sleep(FAILURE_PAUSE).await;
            }
        }
        while !waiting.is_empty() && !governor.add_flows(&mut waiting) && waiting.len() >= WAITING_MAX {
            sleep(TABLE_RETRY).await;
        }
    }
}

impl Governor {
    /// Adds all flows unless the table or the talkers are in use; says whether it did.
    fn add_flows(&self, waiting: &mut Vec<FlowAccount>) -> bool {
        let (Some(mut table), Some(mut talkers)) = (try_lock(self.flows()), try_lock(self.talkers())) else {
            return false;
        };
        for part in waiting.drain(..) {
            table.add(part.id, &Account::from(&part));
            talkers.left(&part);
        }
        true
    }

    fn expire_flows(&self) {
        let idle_ns = u128::from(self.config.flow_idle_secs) * 1_000_000_000;
        let oldest_ns = u128::from(monotonic_now_ns()).saturating_sub(idle_ns) as u64;
        self.flows().lock().unwrap_or_else(PoisonError::into_inner).expire(oldest_ns);
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Passes sampled packets and alerts on, and writes alerts into the log.
pub async fn read_events(governor: Arc<Governor>, mut ring: EventRing) {
    let mut batch = Vec::new();
    let mut seen = Vec::new();
    let mut refusals = Refusals::from_now(&governor.readers);
    let mut log = AlertLog::default();
    loop {
        match ring.next_batch(BATCH, &mut batch).await {
            Ok(()) => governor.clear_notice("event ring"),
            Err(error) => {
                governor.notice("event ring", format!("packet events cannot be read: {error}"));
                sleep(FAILURE_PAUSE).await;
            }
        }
        // What becomes of targets is told with its reason, by whoever looks after them.
        let before = batch.len();
        batch.retain(|event| event.kind != EventKind::TargetEjected as u8);
        if batch.len() != before {
            governor.health_news.notify_one();
        }
        seen.extend(batch.drain(..).map(|event| {
            let slot = governor.readers.slot_of(event.ifindex);
            let refused_since =
                if event.limit == 0 { 0 } else { refusals.since(&governor.readers, event.limit) };
            Seen { event, slot, refused_since, told: None }
        }));
        seen.iter().filter(|seen| seen.is_alert()).for_each(|seen| log.write(&governor, seen));
        governor.events.add(&seen);
        seen.clear();
    }
}

/// Lines that alerts may add to the log in a second; the rest are counted.
const ALERT_LINES_PER_SEC: u32 = 20;

/// Writes alerts into the log, no faster than anybody could read.
#[derive(Default)]
struct AlertLog {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl AlertLog {
    /// Whether an alert of this time may be written, and how many were not, right before it.
    fn admit(&mut self, time_ns: u64) -> Option<u64> {
        let second = time_ns / 1_000_000_000;
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        if self.lines == ALERT_LINES_PER_SEC {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }

    fn write(&mut self, governor: &Governor, seen: &Seen) {
        let Some(left_out) = self.admit(seen.event.time_ns) else { return };
        if left_out > 0 {
            tracing::info!(left_out, "alerts came too fast for the log");
        }
        let (limit, route) = (governor.limit_name(seen.event.limit), governor.route_name(seen.event.counter));
        match seen.kind() {
            EventKind::Limit => tracing::info!(limit, route, refused = seen.refused_since, "limit reached"),
            EventKind::Ban => {
                let source = addresses(&seen.event).map(|(source, _)| source.to_string());
                tracing::info!(limit, route, source, "banned");
            }
            EventKind::AttackBegins => {
                tracing::info!(limit, route, "under attack: SYN cookies are asked for");
            }
            EventKind::AttackEnds => tracing::info!(limit, route, "the attack is over"),
            EventKind::Packet | EventKind::TargetEjected | EventKind::Target => {}
        }
    }
}

/// Ends a half of the talkers' time when it is over.
pub async fn turn_talkers(governor: Arc<Governor>) {
    let mut ticks = interval(TURN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        blocking(&governor, |governor| match governor.turn_talkers() {
            Ok(()) => governor.clear_notice("talkers"),
            Err(error) => governor.notice("talkers", format!("talkers cannot be counted: {error}")),
        })
        .await;
    }
}

/// Forgets idle flows.
pub async fn expire_flows(governor: Arc<Governor>) {
    let mut ticks = interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        blocking(&governor, Governor::expire_flows).await;
    }
}

/// Clears up label members whose time is over.
pub async fn sweep_members(governor: Arc<Governor>) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        blocking(&governor, Governor::sweep_members).await;
    }
}

/// Compiles the labels of a policy that was found to be live, so that the first change need not.
pub async fn build_tables(governor: Arc<Governor>) {
    blocking(&governor, Governor::build_tables).await;
}

/// Looks at the interfaces when one changes, and now and then.
pub async fn watch_links(governor: Arc<Governor>, mut watcher: LinkWatcher) {
    loop {
        match timeout(LOOK_EVERY, watcher.next()).await {
            Ok(Ok(
                LinkEvent::Changed { .. }
                | LinkEvent::Removed { .. }
                | LinkEvent::Addresses { .. }
                | LinkEvent::Missed,
            )) => {
                // What else is there belongs to the same look.
                while let Ok(Ok(_)) = timeout(LINK_PAUSE, watcher.next()).await {}
            }
            Ok(Err(error)) => {
                governor.notice("links", format!("interfaces cannot be watched: {error}"));
                sleep(FAILURE_PAUSE).await;
            }
            Err(_) => {}
        }
        blocking(&governor, Governor::look_at_interfaces).await;
    }
}

/// Runs something that blocks where that is allowed.
pub async fn blocking(governor: &Arc<Governor>, work: impl FnOnce(&Governor) + Send + 'static) {
    let own = Arc::clone(governor);
    if let Err(error) = tokio::task::spawn_blocking(move || work(&own)).await {
        tracing::error!(%error, "a task of the daemon's own broke down");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_not_flooded_by_alerts() {
        let mut log = AlertLog::default();
        let start = 7_000_000_000;
        let admitted = (0..1000).filter(|n| log.admit(start + n).is_some()).count();
        assert_eq!(admitted as u32, ALERT_LINES_PER_SEC);
        assert_eq!(log.admit(start + 1_000_000_000), Some(980));
        assert_eq!(log.admit(start + 1_000_000_001), Some(0));
    }
}
