//! The flow memo's coarse clock: jiffies to nanoseconds.

use super::Error;
use aya::programs::Xdp;
use aya::{TestRun, TestRunOptions};
use gateway_common::abi::programs;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// Kernel configurations of `CONFIG_HZ`.
const FREQUENCIES_HZ: [u64; 4] = [100, 250, 300, 1000];
/// Long enough that one jiffy more or less cannot be taken for another frequency.
const SAMPLE_APART: Duration = Duration::from_millis(60);
const NS_PER_SEC: u64 = 1_000_000_000;
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

    /// `CLOCK_MONOTONIC` nanoseconds of a time stamp that holds the low 32 bits of jiffies, exact to
    /// a jiffy. Right for stamps not older than 2^31 jiffies (24 days at 1,000 Hz).
    #[must_use]
    pub fn ns_of(&self, jiffies: u32) -> u64 {
        let age = i64::from((self.jiffies as u32).wrapping_sub(jiffies) as i32);
        let now = self.ktime_ns as i64;
        now.saturating_sub(age.saturating_mul(self.ns_per_jiffy as i64)).max(0) as u64
    }
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

    fn sample(&self) -> Result<(u64, u64), Error> {
        let mut out = [0; FRAME_LEN];
        let options =
            TestRunOptions { data_in: Some(&[0; FRAME_LEN]), data_out: Some(&mut out), ..Default::default() };
        self.program.test_run(options).map_err(Error::program("running", programs::CLOCK))?;
        let words: &[u64; FRAME_LEN / 8] = &bytemuck::cast(out);
        Ok((words[0], words[1]))
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
}
