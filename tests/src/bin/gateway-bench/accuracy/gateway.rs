//! The cells of a run, put to the real program by test runs, with the real clock.

use super::cells::{Amount, Cell, Kind, Run, plan};
use super::ideal::{Ideal, arrivals, longest_silence};
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
    /// The longest time in which a sender put no frame.
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
        let start = now()?;
        for sender in &mut self.senders[..first.cpus] {
            sender.begin_progress(start)?;
        }
        let arrival = Arrival { length: first.length, ifindex: IFINDEX };
        let (stop, readers) = (&AtomicBool::new(false), &self.readers);
        let (before, after) = thread::scope(|scope| -> Result<_> {
            let mut threads = Vec::new();
            for (cpu, sender) in self.senders[..first.cpus].iter_mut().enumerate() {
                threads.push(scope.spawn(move || -> Result<()> {
                    crate::pin(&[cpu])?;
                    while !stop.load(Ordering::Relaxed) {
                        sender.put_watched(arrival, BATCH)?;
                    }
                    Ok(())
                }));
            }
            settle(readers, &slots);
            let read = || slots.iter().map(|slot| read(readers, *slot)).collect::<Result<Vec<_>>>();
            let before = read();
            thread::sleep(time);
            let after = read();
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            Ok((before?, after?))
        })?;
        let points = self.senders[..first.cpus].iter().map(Bench::progress).collect::<Result<Vec<_>>>()?;
        self.held = points.iter().map(longest_silence).fold(self.held, Duration::max);
        let counts = before.iter().zip(&after);
        let frames = counts.clone().map(|((_, before), (_, after))| frames_of(after) - frames_of(before));
        let offered = frames.sum::<u64>() as f64 / time.as_secs_f64();
        let turns = run.turns();
        let cells = run.cells.iter().enumerate().zip(counts);
        let measured = |((n, cell), (before, after)): ((usize, &Cell), _)| {
            let of_keys: Vec<Vec<u64>> = (0..cell.keys())
                .map(|key| {
                    let places =
                        (0..).zip(&turns).filter(|(_, turn)| **turn == (n, key)).map(|(place, _)| place);
                    arrivals(start, &points, &places.collect::<Vec<u64>>(), turns.len() as u64)
                })
                .collect();
            measured(cell, start, &of_keys, before, after)
        };
        Ok((cells.map(measured).collect(), offered))
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

/// When it was read, `CLOCK_MONOTONIC` nanoseconds, and what.
type Reading = (u64, LimitCount);

fn read(readers: &Readers, slot: u32) -> Result<Reading> {
    Ok((now()?, readers.limit_counts(slot)))
}

/// The kernel's clock, by which silences are noted.
fn now() -> Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(Duration::from(now).as_nanos())?)
}

fn frames_of(count: &LimitCount) -> u64 {
    count.admitted.packets + count.refused.packets
}

/// `of_keys`: when the frames of each key came.
fn measured(cell: &Cell, start: u64, of_keys: &[Vec<u64>], before: &Reading, after: &Reading) -> Measured {
    let bytes = matches!(cell.amount, Amount::Megabits(_));
    let admitted = |count: &LimitCount| if bytes { count.admitted.bytes } else { count.admitted.packets };
    let rate = cell.rate();
    let within = |ns: f64| rate.per_second as f64 * ns / 1e9;
    let frames = (frames_of(&after.1) - frames_of(&before.1)) as f64;
    let time_of = |units: u64| units as f64 / rate.per_second as f64 * 1e9;
    let elapsed = (after.0 - before.0) as f64;
    let since_start = (after.0 - start) as f64;
    let (mut allowed, mut with_burst, mut lost) = (0.0, 0.0, 0.0);
    for arrivals in of_keys {
        let mut ideal = Ideal::full(start, time_of(rate.burst), time_of(cell.units()));
        let came = ideal.go_on(arrivals, before.0);
        let then = ideal;
        ideal.go_on(&arrivals[came..], after.0);
        // What it held at first could be admitted too, and what it holds at last was not.
        let missed = ideal.missed - then.missed;
        allowed += within(elapsed - missed + then.level - ideal.level);
        with_burst += within(since_start - ideal.missed + ideal.depth - ideal.level);
        lost += missed / of_keys.len() as f64;
    }
    Measured {
        steady: (admitted(&after.1) - admitted(&before.1)) as f64 / allowed,
        with_burst: Some(admitted(&after.1) as f64 / with_burst),
        offered: frames * cell.units() as f64 / allowed,
        missed: lost / elapsed,
    }
}
