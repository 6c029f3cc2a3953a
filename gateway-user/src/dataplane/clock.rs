//! The flow memo's coarse clock: jiffies to nanoseconds.

use super::shape::stored;
use super::{Dataplane, Error};
use aya::programs::Xdp;
use aya::{TestRun, TestRunOptions};
use gateway_common::abi::{self, Control, maps, programs};
use gateway_common::live;
use std::mem::offset_of;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Kernel configurations of `CONFIG_HZ`.
const FREQUENCIES_HZ: [u64; 4] = [100, 250, 300, 1000];
/// Long enough that one jiffy more or less cannot be taken for another frequency.
const SAMPLE_APART: Duration = Duration::from_millis(60);
const NS_PER_SEC: u64 = 1_000_000_000;
/// Steps of [`abi::ticks`].
const JIFFIES_PER_TICK: u64 = 256;
/// Jiffies that are seen to begin before the clock's origin is taken as known.
const BEGINNINGS_SEEN: u32 = 3;
/// Long enough for that at 100 Hz.
const ORIGIN_TIME_MAX: Duration = Duration::from_millis(100);
/// Longer than the kernel's least for a test run.
const FRAME_LEN: usize = 64;

/// A moment on both clocks of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    jiffies: u64,
    ktime_ns: u64,
    ns_per_jiffy: u64,
}

impl Clock {
    /// `CLOCK_MONOTONIC` nanoseconds at this moment.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.ktime_ns
    }

    /// Jiffies since some time before the machine started.
    #[must_use]
    pub fn jiffies(&self) -> u64 {
        self.jiffies
    }

    /// Nanoseconds of a jiffy.
    #[must_use]
    pub fn ns_per_jiffy(&self) -> u64 {
        self.ns_per_jiffy
    }

    /// When `span` from now is over, in ticks ([`abi::ticks`]), for [`live::Member::until`]: never
    /// before, and late by at most one tick. Never [`live::FOR_EVER`]. Right for spans below 2^31 ticks
    /// (17 years at 1,000 Hz).
    #[must_use]
    pub fn ticks_after(&self, span: Duration) -> u32 {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).div_ceil(self.ns_per_jiffy);
        // This jiffy has begun already.
        let end = self.jiffies.saturating_add(1).saturating_add(span);
        match abi::ticks(end.saturating_add(JIFFIES_PER_TICK - 1)) {
            live::FOR_EVER => live::FOR_EVER.wrapping_add(1),
            tick => tick,
        }
    }

    /// `CLOCK_MONOTONIC` nanoseconds of a time stamp that holds the low 32 bits of jiffies, exact to
    /// a jiffy. Right for stamps not older than 2^31 jiffies (24 days at 1,000 Hz).
    #[must_use]
    pub fn ns_of(&self, jiffies: u32) -> u64 {
        let age = i64::from((self.jiffies as u32).wrapping_sub(jiffies) as i32);
        let now = self.ktime_ns as i64;
        now.saturating_sub(age.saturating_mul(self.ns_per_jiffy as i64)).max(0) as u64
    }
}

/// `CLOCK_MONOTONIC` now, nanoseconds.
#[must_use]
pub fn monotonic_now_ns() -> u64 {
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    // It exists on every kernel, so this does not fail.
    nix::time::clock_gettime(clock).map_or(0, |now| Duration::from(now).as_nanos() as u64)
}

/// Reads the clock by running a program of ours in the kernel.
#[derive(Debug)]
pub(super) struct ClockSource {
    program: Xdp,
    frequency_hz: OnceLock<u64>,
}

impl ClockSource {
    pub(super) fn new(program: Xdp) -> Self {
        ClockSource { program, frequency_hz: OnceLock::new() }
    }

    /// The clock now. The first call takes 60 ms to find the tick's frequency out.
    pub(super) fn read(&self) -> Result<Clock, Error> {
        let frequency_hz = match self.frequency_hz.get() {
            Some(frequency_hz) => *frequency_hz,
            None => {
                let first = self.sample()?;
                thread::sleep(SAMPLE_APART);
                let found = frequency(first, self.sample()?)?;
                *self.frequency_hz.get_or_init(|| found)
            }
        };
        let (jiffies, ktime_ns) = self.sample()?;
        Ok(Clock { jiffies, ktime_ns, ns_per_jiffy: NS_PER_SEC / frequency_hz })
    }

    /// `CLOCK_MONOTONIC` at jiffy 0, nanoseconds modulo 2^64: what must be added to a number of jiffies,
    /// in nanoseconds, to have a time that is never ahead, and behind by less than a jiffy. Takes some
    /// jiffies, since it is known best when one has just begun.
    pub(super) fn origin(&self, ns_per_jiffy: u64) -> Result<u64, Error> {
        let start = Instant::now();
        let (mut jiffies, mut best) = (0, None);
        let mut beginnings = 0;
        while beginnings <= BEGINNINGS_SEEN && start.elapsed() < ORIGIN_TIME_MAX {
            let (now, ktime_ns) = self.sample()?;
            beginnings += u32::from(now != jiffies);
            jiffies = now;
            let origin = ktime_ns.wrapping_sub(now.wrapping_mul(ns_per_jiffy));
            let least = best.is_none_or(|best| (origin.wrapping_sub(best) as i64) < 0);
            if least {
                best = Some(origin);
            }
        }
        best.ok_or_else(|| Error::Clock { reason: "no time to read it".to_owned() })
    }

    fn sample(&self) -> Result<(u64, u64), Error> {
        let mut out = [0; FRAME_LEN];
        let options =
            TestRunOptions { data_in: Some(&[0; FRAME_LEN]), data_out: Some(&mut out), ..Default::default() };
        self.program.test_run(options).map_err(Error::program("running", programs::CLOCK))?;
        let words: &[u64; FRAME_LEN / 8] = &bytemuck::cast(out);
        Ok((words[0], words[1]))
    }
}

impl Dataplane {
    /// Tells the programs how jiffies become the time that limits count in.
    ///
    /// # Errors
    /// Where the clock cannot be read.
    pub(super) fn tell_time(&mut self) -> Result<(), Error> {
        let source = &self.readers.0.clock;
        let ns_per_jiffy = source.read()?.ns_per_jiffy;
        let origin_ns = source.origin(ns_per_jiffy)?;
        for (offset, value) in [
            (offset_of!(Control, ns_per_jiffy), ns_per_jiffy),
            (offset_of!(Control, jiffies_offset_ns), origin_ns),
        ] {
            stored(maps::CONTROL, self.control.store_u64(0, offset, value))?;
        }
        Ok(())
    }
}

/// The tick's frequency from two samples.
fn frequency(first: (u64, u64), second: (u64, u64)) -> Result<u64, Error> {
    let ticks = second.0.wrapping_sub(first.0);
    let ns = second.1.wrapping_sub(first.1);
    let measured =
        (u128::from(ticks) * u128::from(NS_PER_SEC)).checked_div(u128::from(ns)).unwrap_or(0) as u64;
    let nearest = FREQUENCIES_HZ.into_iter().min_by_key(|hz| hz.abs_diff(measured)).unwrap_or(measured);
    if measured == 0 || nearest.abs_diff(measured) * 4 > nearest {
        return Err(Error::Clock { reason: format!("{ticks} ticks in {ns} ns fit no frequency") });
    }
    Ok(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_frequency_though_a_tick_is_missed() {
        for hz in FREQUENCIES_HZ {
            let ticks = hz * 60 / 1000;
            for ticks in [ticks - 1, ticks, ticks + 1] {
                assert_eq!(frequency((7, 11), (7 + ticks, 11 + 60_000_000)).unwrap(), hz);
            }
        }
        assert!(frequency((0, 0), (0, 0)).is_err());
        assert!(frequency((0, 0), (1_000_000, 1_000)).is_err());
    }

    #[test]
    fn converts_across_the_wrap_of_32_bits() {
        let clock = Clock { jiffies: (5 << 32) + 10, ktime_ns: 1_000_000_000_000, ns_per_jiffy: 4_000_000 };
        assert_eq!(clock.ns_of(10), clock.now_ns());
        assert_eq!(clock.ns_of(0), clock.now_ns() - 40_000_000);
        assert_eq!(clock.ns_of(u32::MAX), clock.now_ns() - 44_000_000);
        assert_eq!(clock.ns_of(11), clock.now_ns() + 4_000_000);
        assert_eq!(Clock { ktime_ns: 5, ..clock }.ns_of(0), 0);
    }

    #[test]
    fn an_end_is_never_early_and_late_by_a_tick_at_most() {
        let tick_ns = JIFFIES_PER_TICK * 4_000_000;
        for jiffies in [0, 1, 255, 256, 257, (1 << 40) - 2, (1 << 40) - 257] {
            let clock = Clock { jiffies, ktime_ns: 0, ns_per_jiffy: 4_000_000 };
            for span_ns in [1, 4_000_000, 999_999_999, tick_ns, 365 * 86_400 * NS_PER_SEC] {
                let until = clock.ticks_after(Duration::from_nanos(span_ns));
                assert_ne!(until, live::FOR_EVER);
                // The jiffy in which it ends for the kernel, from this one.
                let ticks = until.wrapping_sub(abi::ticks(jiffies));
                let lasts = u64::from(ticks) * JIFFIES_PER_TICK - jiffies % JIFFIES_PER_TICK;
                // Now may be as late as the end of this jiffy.
                let least_ns = (lasts - 1) * 4_000_000;
                let slack = if until == 0 { 2 } else { 1 };
                assert!(least_ns >= span_ns, "{jiffies} {span_ns}");
                assert!(lasts * 4_000_000 <= span_ns + slack * tick_ns + 8_000_000, "{jiffies} {span_ns}");
            }
        }
    }
}
