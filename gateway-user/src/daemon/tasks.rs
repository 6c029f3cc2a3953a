//! What the daemon does beside answering: reads the ring buffers, forgets idle flows, watches
//! interfaces. None of these ends by itself; what fails is told and tried again.

use super::clock::monotonic_now_ns;
use super::events::Seen;
use super::governor::Governor;
use crate::dataplane::{EventRing, FlowAccount, FlowRing, LinkEvent, LinkWatcher};
use crate::flows::{Account, Table};
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Records taken from a ring buffer at once.
const BATCH: usize = 4096;
/// Flow records that wait for the table, while somebody walks over it, before the ring buffer must.
const WAITING_MAX: usize = 1 << 20;
const TABLE_RETRY: Duration = Duration::from_millis(1);
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// Not every change of a device is told by a link event.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Link events come in bursts; one look is enough for what comes within this time.
const LINK_PAUSE: Duration = Duration::from_millis(20);

/// Adds flows that leave the memo to the table.
pub async fn read_flows(governor: Arc<Governor>, mut ring: FlowRing) {
    let mut waiting: Vec<FlowAccount> = Vec::new();
    loop {
        match ring.next_batch(BATCH, &mut waiting).await {
            Ok(()) => governor.clear_notice("flow ring"),
            Err(error) => {
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
    /// Adds all flows unless the table is in use; says whether it did.
    fn add_flows(&self, waiting: &mut Vec<FlowAccount>) -> bool {
        let add = |table: &mut Table, waiting: &mut Vec<FlowAccount>| {
            for part in waiting.drain(..) {
                table.add(part.id, &Account::from(&part));
            }
        };
        match self.flows().try_lock() {
            Ok(mut table) => add(&mut table, waiting),
            Err(TryLockError::Poisoned(poisoned)) => add(&mut poisoned.into_inner(), waiting),
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }

    fn expire_flows(&self) {
        let idle_ns = u128::from(self.config.flow_idle_secs) * 1_000_000_000;
        let oldest_ns = u128::from(monotonic_now_ns()).saturating_sub(idle_ns) as u64;
        self.flows().lock().unwrap_or_else(PoisonError::into_inner).expire(oldest_ns);
    }
}

/// Passes sampled packets on.
pub async fn read_events(governor: Arc<Governor>, mut ring: EventRing) {
    let mut batch = Vec::new();
    let mut seen = Vec::new();
    loop {
        match ring.next_batch(BATCH, &mut batch).await {
            Ok(()) => governor.clear_notice("event ring"),
            Err(error) => {
                governor.notice("event ring", format!("packet events cannot be read: {error}"));
                sleep(FAILURE_PAUSE).await;
            }
        }
        let slot = |ifindex| governor.readers.slot_of(ifindex);
        seen.extend(batch.drain(..).map(|event| Seen { event, slot: slot(event.ifindex) }));
        governor.events.add(&seen);
        seen.clear();
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

/// Looks at the interfaces when one changes, and now and then.
pub async fn watch_links(governor: Arc<Governor>, mut watcher: LinkWatcher) {
    loop {
        match timeout(LOOK_EVERY, watcher.next()).await {
            Ok(Ok(LinkEvent::Changed { .. } | LinkEvent::Removed { .. } | LinkEvent::Missed)) => {
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
