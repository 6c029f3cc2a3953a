//! The task that looks after targets: asks them, hears of their circuits, and makes the policy's tables follow.

use super::book::{Now, Told};
use super::checks::CheckCounts;
use crate::daemon::clock::unix_now;
use crate::daemon::governor::Governor;
use crate::daemon::tasks::blocking;
use crate::policy::{CheckKind, Policy};
use crate::probe::{IcmpSockets, Probe, Prober, Report};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// How often circuits are looked at; the kernel's events are heard at once.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Tables follow the first news at once, and what comes soon after it together.
const TABLES_EVERY: Duration = Duration::from_millis(250);
/// A walk over all connections is not for every second.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Subjects of notices.
const SUBJECT: &str = "checks";
const TABLES: &str = "health";
/// Reports taken at once.
const BATCH: usize = 1_024;

/// Looks after the targets of the live policy, whichever it is.
pub(in crate::daemon) async fn look_after(governor: Arc<Governor>, icmp: Option<IcmpSockets>) {
    let (mut prober, mut reports) = match Prober::new(icmp) {
        Ok(made) => made,
        Err(error) => return governor.notice(SUBJECT, format!("targets cannot be checked: {error}")),
    };
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH);
    let mut asked = 0;
    let mut tables_at = Instant::now();
    loop {
        let mut looked = true;
        tokio::select! {
            _ = ticks.tick() => governor.look_at_circuits(),
            () = governor.health_news.notified() => governor.look_at_circuits(),
            count = reports.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return governor.notice(SUBJECT, "targets are not checked any more".to_owned());
                }
                looked = false;
            }
        }
        let generation = governor.generation();
        if generation != asked {
            asked = generation;
            prober.set(governor.probes().into_iter());
            governor.tell_unmade();
        }
        // Nearly all reports say what those before them said: not each is a reason to look at all targets.
        let news = governor.hear(&prober, &mut batch);
        if (looked || news) && governor.tables_are_behind() {
            sleep_until(tables_at).await;
            tables_at = Instant::now() + TABLES_EVERY;
            drain(&prober, &mut reports, &governor).await;
            blocking(&governor, Governor::follow_health).await;
        }
    }
}

/// Hears what came meanwhile, so that the tables are built for it too.
async fn drain(prober: &Prober, reports: &mut Receiver<Report>, governor: &Governor) {
    let mut batch = Vec::new();
    if timeout(Duration::ZERO, reports.recv_many(&mut batch, BATCH)).await.is_ok() {
        governor.hear(prober, &mut batch);
    }
}

/// Sets right how many connections targets have open, where that is limited: the kernel does not see one end whose
/// time is over.
pub(in crate::daemon) async fn count_open(governor: Arc<Governor>) {
    let mut ticks = interval(COUNT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        blocking(&governor, Governor::count_open).await;
    }
}

impl Now {
    pub(in crate::daemon) fn of(governor: &Governor) -> Now {
        Now { circuit: governor.readers.circuit_now(), unix_ms: unix_now().as_millis() as u64 }
    }
}

impl Governor {
    /// Takes reports of checks into account, and tells what is new; says whether anything is. Those of a target that
    /// is asked otherwise by now, or not at all, are of the past.
    fn hear(&self, prober: &Prober, reports: &mut Vec<Report>) -> bool {
        reports.retain(|report| prober.keeps(&report.probe));
        if reports.is_empty() {
            return false;
        }
        let now = Now::of(self);
        let mut told = Vec::new();
        {
            let mut book = self.health();
            for report in reports.drain(..) {
                let key = &report.probe.key;
                book.counts.began(report.late, report.skipped);
                if let Err(failure) = &report.outcome
                    && failure.is_local()
                {
                    book.could_not_check(key, failure.to_string());
                    continue;
                }
                let outcome = report.outcome.map_err(|failure| failure.to_string());
                told.extend(book.checked(key, outcome, &self.readers, now));
            }
            if !told.is_empty() {
                told.extend(book.decide_panics(&self.readers));
            }
        }
        self.tell_unmade();
        let news = !told.is_empty();
        self.tell(told);
        news
    }

    /// Says of which targets the checks cannot be made.
    fn tell_unmade(&self) {
        let unmade = self.health().unmade();
        match unmade {
            Some(text) => self.notice(SUBJECT, text),
            None => self.clear_notice(SUBJECT),
        }
    }

    /// Looks at all circuits, and tells what is new.
    fn look_at_circuits(&self) {
        let told = self.health().look(&self.readers, Now::of(self));
        self.tell(told);
    }

    fn tell(&self, told: Vec<Told>) {
        for Told { subject, text, bad } in told {
            if bad {
                tracing::warn!(subject = &*subject, "{text}");
            } else {
                tracing::info!(subject = &*subject, "{text}");
            }
            self.events.add_told(subject, text);
        }
    }

    fn count_open(&self) {
        let limited = self.health().limited();
        if limited.is_empty() {
            return;
        }
        let open = |slot: &u32| self.readers.target_health(*slot).open as i64;
        let before: Vec<i64> = limited.iter().map(open).collect();
        let counts = self.readers.open_connections();
        for (slot, before) in limited.iter().zip(before) {
            // What began or ended during the walk may be counted or not: only beyond that it is wrong.
            let (after, found) = (open(slot), i64::from(counts.get(*slot as usize).copied().unwrap_or(0)));
            let more = found - found.clamp(before.min(after), before.max(after));
            if more != 0 {
                self.readers.correct_open(*slot, more);
            }
        }
    }

    /// Checks in number.
    #[must_use]
    pub fn check_counts(&self) -> CheckCounts {
        self.health().counts
    }

    /// What is to be asked of the live policy's targets.
    fn probes(&self) -> Vec<Probe> {
        let Some(live) = self.live() else { return Vec::new() };
        let Some(document) = &live.document else { return Vec::new() };
        let book = self.health();
        let probe = |(key, check): (&Arc<str>, &crate::policy::Check)| {
            let address = address(&document.policy, key, &check.kind)?;
            Some(Probe { key: Arc::clone(key), address, check: check.clone() })
        };
        book.checks().filter_map(probe).collect()
    }

    /// Whether the live tables are for other targets than those that take packets.
    fn tables_are_behind(&self) -> bool {
        self.live().is_some_and(|live| live.document.is_some() && live.changes.out != self.health().out())
    }

    /// Makes the live tables follow the health of their targets.
    fn follow_health(&self) {
        let mut writer = self.writer();
        let Some(live) = self.live() else { return };
        if live.changes.out == self.health().out() {
            return;
        }
        match self.compile_again(&mut writer, &live) {
            Ok(()) => self.clear_notice(TABLES),
            Err(error) => {
                self.notice(TABLES, format!("pools' tables could not follow their targets: {error}"));
            }
        }
    }
}

/// Where a target is asked.
fn address(policy: &Policy, name: &str, kind: &CheckKind) -> Option<SocketAddr> {
    let (pool, target) = name.split_once('/')?;
    let target = policy.pools.get(pool)?.targets.get(target)?;
    let port = match kind {
        CheckKind::Tcp { port } | CheckKind::Tls { port, .. } | CheckKind::Http { port, .. } => {
            port.or(target.port)?
        }
        CheckKind::Icmp => 0,
    };
    Some(SocketAddr::new(target.address, port))
}
