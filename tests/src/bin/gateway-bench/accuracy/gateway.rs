//! The cells of a run, put to the real program by test runs, with the real clock.

use super::cells::{Amount, Cell, Kind, Run, plan};
use super::{Measured, SETTLE_MAX};
use crate::kernel::{Arrival, Bench, Gateway, Node};
use anyhow::{Context, Result, ensure};
use gateway_common::abi::{LimitCount, programs};
use gateway_user::dataplane::Readers;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Frames of one test run: some ten milliseconds.
const BATCH: u32 = 65_536;
/// The interface that frames arrive on: loopback, which nobody governs.
const IFINDEX: u32 = 1;
/// Part of what a sender can offer that is planned with.
const PLANNED: f64 = 0.8;

/// The gateway, and a sender for each CPU.
pub struct Subject {
    gateway: Gateway,
    senders: Vec<Bench>,
    readers: Readers,
    /// Slot of the next run's first limit: each run has buckets of its own.
    next_limit: u32,
    /// The longest that a test run took beyond the shortest: as long a sender may have been silent.
    pub held: Duration,
}

impl Subject {
    pub fn load(cpus: usize) -> Result<Subject> {
        let gateway = Gateway::with(|options| options.arena_lines = 1 << 16)?;
        let program = gateway.program_fd(programs::XDP)?;
        let mut senders = Vec::new();
        for _ in 0..cpus {
            let mut bench = Bench::load()?;
            bench.aim(&program)?;
            senders.push(bench);
        }
        let readers = gateway.dataplane.readers();
        Ok(Subject { gateway, senders, readers, next_limit: 1, held: Duration::ZERO })
    }

    /// Frames a second that these CPUs together can be relied upon to offer.
    pub fn capacity(&mut self, cpus: usize) -> Result<f64> {
        let cells = Kind::ALL.map(|kind| Cell {
            kind,
            amount: Amount::Packets(10_000),
            burst_ms: 100,
            length: 64,
            cpus,
        });
        let run = plan(&cells, f64::MAX).pop().context("no cell")?;
        let (measured, offered) = self.measure(&run, Duration::from_millis(500))?;
        ensure!(measured.len() == cells.len(), "a cell is missing");
        Ok(offered * PLANNED)
    }

    /// The cells of a run, in its order, and frames a second that were offered.
    pub fn measure(&mut self, run: &Run, time: Duration) -> Result<(Vec<Measured>, f64)> {
        let first = run.cells.first().context("an empty run")?;
        let slots: Vec<u32> = (self.next_limit..).take(run.cells.len()).collect();
        let node = Node { first_limit: self.next_limit, ..Node::default() };
        self.next_limit += run.cells.len() as u32;
        self.gateway.apply(&run.policy(), node)?;
        let frames = run.frames()?;
        for sender in &mut self.senders[..first.cpus] {
            sender.load_frames(&frames)?;
        }
        let arrival = Arrival { length: first.length, ifindex: IFINDEX };
        let (stop, readers) = (&AtomicBool::new(false), &self.readers);
        thread::scope(|scope| {
            let start = Instant::now();
            let mut threads = Vec::new();
            for (cpu, sender) in self.senders[..first.cpus].iter_mut().enumerate() {
                threads.push(scope.spawn(move || -> Result<Duration> {
                    crate::pin(&[cpu])?;
                    let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        sender.put(arrival, BATCH)?;
                        shortest = shortest.min(start.elapsed());
                        longest = longest.max(start.elapsed());
                    }
                    Ok(longest.saturating_sub(shortest))
                }));
            }
            settle(readers, &slots);
            let before: Vec<_> = slots.iter().map(|slot| read(readers, *slot)).collect();
            thread::sleep(time);
            let after: Vec<_> = slots.iter().map(|slot| read(readers, *slot)).collect();
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                let held = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                self.held = self.held.max(held);
            }
            let counts = before.iter().zip(&after);
            let frames = counts.clone().map(|((_, before), (_, after))| frames_of(after) - frames_of(before));
            let offered = frames.sum::<u64>() as f64 / time.as_secs_f64();
            let cells = run.cells.iter().zip(counts);
            Ok((
                cells.map(|(cell, (before, after))| measured(cell, start, *before, *after)).collect(),
                offered,
            ))
        })
    }

    /// Packets refused because CPUs were at the same bucket at once too often.
    pub fn contended(&self) -> u64 {
        self.readers.telemetry().limit_contended
    }
}

/// Waits until every limit has refused something for a while: the bursts are used up then.
fn settle(readers: &Readers, slots: &[u32]) {
    const REFUSED: u64 = 64;
    let start = Instant::now();
    let refuses = |slot: &u32| readers.limit_counts(*slot).refused.packets >= REFUSED;
    while !slots.iter().all(refuses) && start.elapsed() < SETTLE_MAX {
        thread::sleep(Duration::from_millis(10));
    }
}

type Reading = (Instant, LimitCount);

fn read(readers: &Readers, slot: u32) -> Reading {
    (Instant::now(), readers.limit_counts(slot))
}

fn frames_of(count: &LimitCount) -> u64 {
    count.admitted.packets + count.refused.packets
}

fn measured(cell: &Cell, start: Instant, before: Reading, after: Reading) -> Measured {
    let bytes = matches!(cell.amount, Amount::Megabits(_));
    let admitted = |count: &LimitCount| if bytes { count.admitted.bytes } else { count.admitted.packets };
    let keys = cell.keys() as f64;
    let rate = cell.rate();
    let within = |time: Duration| keys * rate.per_second as f64 * time.as_secs_f64();
    let allowed = within(after.0 - before.0);
    let offered = (frames_of(&after.1) - frames_of(&before.1)) * cell.units();
    Measured {
        steady: (admitted(&after.1) - admitted(&before.1)) as f64 / allowed,
        with_burst: Some(admitted(&after.1) as f64 / (within(after.0 - start) + keys * rate.burst as f64)),
        offered: offered as f64 / allowed,
    }
}
