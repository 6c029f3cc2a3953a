//! Asks targets from this node whether they serve: TCP connections, TLS handshakes, HTTP requests and ICMP echoes,
//! again and again, thousands at once. It only asks and tells; what follows from the answers is for who reads them.
//!
//! Each probe is a task of its own, which sleeps on the runtime's timer wheel between its questions. One task with a
//! heap of due times, which begins a task for each question, was measured beside it: at 5,000 TCP probes each second
//! both took a quarter of a core, most of it in the system calls of the connections, beside which no way to keep time
//! counts. So the way with nothing shared is taken; it costs less than two kilobytes of memory for each probe.

mod ask;
mod descriptors;
mod echo;
mod failure;
mod http;
mod icmp;
mod schedule;
mod tls;

#[cfg(test)]
mod tests;

pub use failure::{Failure, Stage};
pub use icmp::IcmpSockets;

use crate::policy::Check;
use ask::Means;
use schedule::Schedule;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

/// Reports that wait to be read, before probes wait for them.
const REPORTS_WAITING: usize = 8_192;

/// One target that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which it is: no other has the same.
    pub key: Arc<str>,
    /// Whom it asks; for an ICMP echo the port is 0.
    pub address: SocketAddr,
    /// What, and how often. That its `kind` names a port is of no meaning here: `address` has the one that is asked.
    pub check: Check,
}

/// What came of asking once.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who was asked. Where a probe gave way to another one of the same key, reports of the former may still wait to
    /// be read; this tells them apart.
    pub probe: Arc<Probe>,
    /// How long the answer took, from the beginning of the question to the last of what was waited for.
    pub outcome: Result<Duration, Failure>,
    /// How much later than planned it began.
    pub late: Duration,
    /// How many that were planned since the last report were left out, because it still went on.
    pub skipped: u64,
    /// When it ended.
    pub at: Instant,
}

/// Why no prober can be had.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// The runtime does not take the ICMP sockets.
    #[error("the sockets for ICMP cannot be used: {0}")]
    Icmp(io::Error),
    /// The limit of open files can be neither read nor raised.
    #[error("the limit of open files cannot be raised: {0}")]
    Descriptors(io::Error),
    /// The TLS library does not take its configuration.
    #[error("TLS cannot be spoken: {0}")]
    Tls(tokio_rustls::rustls::Error),
}

/// Keeps a set of probes going.
#[derive(Debug)]
pub struct Prober {
    means: Arc<Means>,
    reports: mpsc::Sender<Report>,
    runtime: Handle,
    running: HashMap<Arc<str>, Running>,
}

/// A probe and its task, which ends with it.
#[derive(Debug)]
struct Running {
    probe: Arc<Probe>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// A prober that asks nobody yet, and where its reports come. Raises this process's limit of open files as far as
    /// it may be raised, since each connection takes one. Without `icmp` each ICMP probe fails with
    /// [`Failure::NoIcmp`].
    ///
    /// # Errors
    /// See [`ProberError`].
    ///
    /// # Panics
    /// Outside a runtime of tokio, which it keeps to.
    pub fn new(icmp: Option<IcmpSockets>) -> Result<(Prober, mpsc::Receiver<Report>), ProberError> {
        let means = Arc::new(Means::new(icmp)?);
        let (reports, reader) = mpsc::channel(REPORTS_WAITING);
        Ok((Prober { means, reports, runtime: Handle::current(), running: HashMap::new() }, reader))
    }

    /// Makes exactly these probes go on. One that is as before (key, address and check) is not disturbed and keeps its
    /// times; others begin, or end. Of two with the same key the latter counts.
    pub fn set(&mut self, wanted: impl Iterator<Item = Probe>) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.running);
        for probe in wanted {
            let kept = before.remove(&probe.key).filter(|running| *running.probe == probe);
            let running = kept.unwrap_or_else(|| self.begin(probe, now));
            self.running.insert(running.probe.key.clone(), running);
        }
    }

    /// Whether this probe still goes on: reports of one that gave way may come yet.
    #[must_use]
    pub fn keeps(&self, probe: &Arc<Probe>) -> bool {
        self.running.get(&probe.key).is_some_and(|running| Arc::ptr_eq(&running.probe, probe))
    }

    fn begin(&self, probe: Probe, now: Instant) -> Running {
        let probe = Arc::new(probe);
        let schedule = Schedule::new(&probe.key, probe.check.interval, now);
        let task = keep_asking(probe.clone(), schedule, self.means.clone(), self.reports.clone());
        Running { probe, task: self.runtime.spawn(task) }
    }
}

/// Asks as planned until nobody reads the reports any more.
async fn keep_asking(
    probe: Arc<Probe>,
    mut schedule: Schedule,
    means: Arc<Means>,
    reports: mpsc::Sender<Report>,
) {
    let mut skipped = 0;
    loop {
        sleep_until(schedule.due().into()).await;
        let permit = means.permit(&probe.check.kind).await;
        let begun = Instant::now();
        let late = begun.saturating_duration_since(schedule.due());
        let outcome = means.ask(&probe, begun).await;
        drop(permit);
        let at = Instant::now();
        let report = Report { probe: probe.clone(), outcome, late, skipped, at };
        if reports.send(report).await.is_err() {
            return;
        }
        skipped = schedule.advance(Instant::now());
    }
}
