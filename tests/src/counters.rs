//! What the kernel counted between two points: nothing may appear or vanish unseen.

use gateway_common::abi::{Count, Hook, InterfaceStats, Verdict};
use gateway_common::reason::Reason;
use gateway_user::dataplane::Readers;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// All counters that a test cares about, at one point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By interface slot and hook.
    pub stats: BTreeMap<(u8, usize), InterfaceStats>,
    /// By interface slot and reason: dropped, passed.
    pub reasons: BTreeMap<(u8, Reason), (u64, u64)>,
    /// By counter slot.
    pub routes: BTreeMap<u32, Count>,
    /// By limit slot: admitted, refused.
    pub limits: BTreeMap<u32, (Count, Count)>,
    /// By target slot: sent to it.
    pub targets: BTreeMap<u32, Count>,
    /// By target slot: what came back from it.
    pub returned: BTreeMap<u32, Count>,
    /// By target slot: connections that began.
    pub opened: BTreeMap<u32, u64>,
    /// ICMP errors of the gateway's own: sent, and suppressed.
    pub errors: (u64, u64),
}

impl Snapshot {
    /// Reads the counters of these interface slots (slot 0 is always among them), counter slots, limit
    /// slots and target slots.
    #[must_use]
    pub fn take(
        readers: &Readers,
        interfaces: impl IntoIterator<Item = u8>,
        routes: impl IntoIterator<Item = u32>,
        limits: impl IntoIterator<Item = u32>,
        targets: impl IntoIterator<Item = u32>,
    ) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for slot in std::iter::once(0).chain(interfaces) {
            for (hook, stats) in readers.interface_stats(slot).into_iter().enumerate() {
                snapshot.stats.insert((slot, hook), stats);
            }
            for (reason, count) in readers.reasons(slot) {
                snapshot.reasons.insert((slot, reason), (count.dropped, count.passed));
            }
        }
        for slot in routes {
            snapshot.routes.insert(slot, readers.route_counts(slot));
        }
        for slot in limits {
            let count = readers.limit_counts(slot);
            snapshot.limits.insert(slot, (count.admitted, count.refused));
        }
        for slot in targets {
            let count = readers.target_counts(slot);
            snapshot.targets.insert(slot, count.sent);
            snapshot.returned.insert(slot, count.returned);
            snapshot.opened.insert(slot, count.opened);
        }
        let telemetry = readers.telemetry();
        snapshot.errors = (telemetry.errors_sent, telemetry.errors_suppressed);
        snapshot
    }

    /// What was counted since `before`; what did not change is left out.
    ///
    /// # Panics
    /// If a counter went back.
    #[must_use]
    pub fn since(&self, before: &Snapshot) -> Snapshot {
        let mut delta = Snapshot::default();
        for (key, now) in &self.stats {
            let then = before.stats.get(key).copied().unwrap_or_default();
            let mut stats =
                InterfaceStats { received: minus(now.received, then.received), ..Default::default() };
            for (i, verdict) in stats.verdicts.iter_mut().enumerate() {
                *verdict = minus(now.verdicts[i], then.verdicts[i]);
            }
            if stats != InterfaceStats::default() {
                delta.stats.insert(*key, stats);
            }
        }
        for (key, now) in &self.reasons {
            let then = before.reasons.get(key).copied().unwrap_or_default();
            let change = (now.0 - then.0, now.1 - then.1);
            if change != (0, 0) {
                delta.reasons.insert(*key, change);
            }
        }
        delta.routes = changed(&self.routes, &before.routes);
        delta.targets = changed(&self.targets, &before.targets);
        delta.returned = changed(&self.returned, &before.returned);
        for (slot, now) in &self.opened {
            let opened = now - before.opened.get(slot).copied().unwrap_or_default();
            if opened != 0 {
                delta.opened.insert(*slot, opened);
            }
        }
        delta.errors = (self.errors.0 - before.errors.0, self.errors.1 - before.errors.1);
        for (slot, (admitted, refused)) in &self.limits {
            let (admitted_then, refused_then) = before.limits.get(slot).copied().unwrap_or_default();
            let change = (minus(*admitted, admitted_then), minus(*refused, refused_then));
            if change != Default::default() {
                delta.limits.insert(*slot, change);
            }
        }
        delta
    }

    /// Received = passed + dropped + sent back + redirected, in packets and bytes, for every
    /// interface and hook; and as many packets were counted by a reason as were dropped.
    ///
    /// # Errors
    /// Where that does not hold, in words.
    pub fn conserved(&self) -> Result<(), String> {
        for ((slot, hook), stats) in &self.stats {
            let packets: u64 = stats.verdicts.iter().map(|count| count.packets).sum();
            let bytes: u64 = stats.verdicts.iter().map(|count| count.bytes).sum();
            if packets != stats.received.packets || bytes != stats.received.bytes {
                return Err(format!("slot {slot}, hook {hook}: received and verdicts differ: {stats:?}"));
            }
        }
        let slots: std::collections::BTreeSet<u8> = self.stats.keys().map(|(slot, _)| *slot).collect();
        for slot in slots {
            let stats = Hook::ALL.iter().filter_map(|hook| self.stats.get(&(slot, *hook as usize)));
            let dropped: u64 = stats.map(|stats| stats.verdicts[Verdict::Drop as usize].packets).sum();
            let with_reason: u64 =
                self.reasons.iter().filter(|((of, _), _)| *of == slot).map(|(_, (dropped, _))| dropped).sum();
            if dropped != with_reason {
                return Err(format!("slot {slot}: {dropped} dropped, {with_reason} with a reason"));
            }
        }
        Ok(())
    }

    /// What was counted since `before`, once that is [`Snapshot::conserved`]: a packet that a CPU judges right now is
    /// received and has no verdict yet. It is waited for, for five seconds at most.
    ///
    /// # Errors
    /// Where it does not become so, in words.
    pub fn at_rest(take: impl Fn() -> Snapshot, before: &Snapshot) -> anyhow::Result<Snapshot> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let delta = take().since(before);
            match delta.conserved() {
                Ok(()) => return Ok(delta),
                Err(broken) if Instant::now() > deadline => return Err(anyhow::Error::msg(broken)),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// What one frame of this length must have changed.
    #[must_use]
    pub fn of_one_frame(
        slot: u8,
        hook: Hook,
        length: usize,
        verdict: Verdict,
        reason: Option<Reason>,
        route: u32,
    ) -> Snapshot {
        let one = Count { packets: 1, bytes: length as u64 };
        let mut stats = InterfaceStats { received: one, ..Default::default() };
        stats.verdicts[verdict as usize] = one;
        let dropped = u64::from(verdict == Verdict::Drop);
        Snapshot {
            stats: [((slot, hook as usize), stats)].into(),
            reasons: reason.map(|reason| ((slot, reason), (dropped, 1 - dropped))).into_iter().collect(),
            routes: [(route, one)].into(),
            limits: BTreeMap::new(),
            targets: BTreeMap::new(),
            returned: BTreeMap::new(),
            opened: BTreeMap::new(),
            errors: (0, 0),
        }
    }
}

/// What changed.
fn changed(now: &BTreeMap<u32, Count>, before: &BTreeMap<u32, Count>) -> BTreeMap<u32, Count> {
    let change = |(slot, now): (&u32, &Count)| {
        let change = minus(*now, before.get(slot).copied().unwrap_or_default());
        (change != Count::default()).then_some((*slot, change))
    };
    now.iter().filter_map(change).collect()
}

fn minus(now: Count, then: Count) -> Count {
    Count { packets: now.packets - then.packets, bytes: now.bytes - then.bytes }
}
