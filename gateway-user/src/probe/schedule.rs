//! When a probe is due.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// A new target is asked for the first time within this, however long its interval.
const FIRST_WAIT_MOST: Duration = Duration::from_secs(1);

/// The times of one probe: a grid with the interval as its step, so that lateness never adds up, and before that a
/// first one soon. Where in the interval the grid lies comes of the key's hash: probes that begin together, which is
/// all of them when the policy is applied, do not fall on one moment.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Instant,
    /// A point of the grid, the earliest.
    grid: Instant,
    interval: Duration,
}

impl Schedule {
    /// One that begins now. The interval is not zero.
    pub(super) fn new(key: &str, interval: Duration, now: Instant) -> Schedule {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let part = hasher.finish() as f64 / u64::MAX as f64;
        let grid = now + interval.mul_f64(part);
        Schedule { due: now + interval.min(FIRST_WAIT_MOST).mul_f64(part), grid, interval }
    }

    /// When the probe is to begin.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Goes on to the next time, which is not before `now`; how many were left out because they were.
    pub(super) fn advance(&mut self, now: Instant) -> u64 {
        let next = self.after(self.due);
        if now <= next {
            self.due = next;
            return 0;
        }
        self.due = self.after(now);
        let skipped = (self.due - next).as_nanos() / self.interval.as_nanos();
        u64::try_from(skipped).unwrap_or(u64::MAX)
    }

    /// The first point of the grid that is later than this.
    fn after(&self, time: Instant) -> Instant {
        let Some(since) = time.checked_duration_since(self.grid) else { return self.grid };
        let into = since.as_nanos() % self.interval.as_nanos();
        time + self.interval - Duration::from_nanos_u128(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn times_are_a_grid_whose_step_is_the_interval() {
        let now = Instant::now();
        let mut schedule = Schedule::new("web/a", SECOND, now);
        let first = schedule.due();
        assert!(first >= now && first <= now + SECOND);
        for n in 1..=1_000 {
            // It ends at another time within the interval each time.
            let took = SECOND.mul_f64(f64::from(n % 10) / 11.0);
            assert_eq!(schedule.advance(schedule.due() + took), 0);
            assert_eq!(schedule.due(), first + SECOND * n);
        }
    }

    #[test]
    fn what_is_missed_is_left_out_and_counted() {
        let now = Instant::now();
        let mut schedule = Schedule::new("web/a", SECOND, now);
        let first = schedule.due();
        assert_eq!(schedule.advance(first + SECOND * 3 + SECOND / 2), 3);
        assert_eq!(schedule.due(), first + SECOND * 4);
        assert_eq!(schedule.advance(first + SECOND * 5), 0, "what is due just now is not missed");
        assert_eq!(schedule.due(), first + SECOND * 5);
    }

    #[test]
    fn a_long_interval_begins_soon_and_goes_on_spread_over_the_whole_of_it() {
        let now = Instant::now();
        let hour = Duration::from_secs(3_600);
        let mut quarters = [0; 4];
        for n in 0..1_000 {
            let mut schedule = Schedule::new(&format!("web/{n}"), hour, now);
            assert!(schedule.due() <= now + SECOND);
            assert_eq!(schedule.advance(schedule.due()), 0);
            quarters[((schedule.due() - now).as_secs() / 900).min(3) as usize] += 1;
        }
        assert!(quarters.iter().all(|&count| count > 200), "{quarters:?}");
    }
}
