//! The kernel's monotonic clock against the calendar's.

pub use crate::dataplane::monotonic_now_ns;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NS_PER_SEC: u64 = 1_000_000_000;

/// Unix time now.
#[must_use]
pub fn unix_now() -> Duration {
    // A clock before 1970 is not set; 0 says so.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Turns monotonic times into Unix times, by what both clocks say when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    unix_ns: u64,
    monotonic_ns: u64,
}

impl Calendar {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Calendar {
        Calendar { unix_ns: unix_now().as_nanos() as u64, monotonic_ns: monotonic_now_ns() }
    }

    /// The monotonic time when it was made, nanoseconds.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns
    }

    /// The monotonic time, nanoseconds, of a Unix time in nanoseconds; 0 where that is before its beginning.
    #[must_use]
    pub fn monotonic_ns_of(&self, unix_ns: u64) -> u64 {
        let ahead_ns = i128::from(unix_ns) - i128::from(self.unix_ns);
        u64::try_from(i128::from(self.monotonic_ns) + ahead_ns).unwrap_or(0)
    }

    /// Unix time, nanoseconds, of a monotonic time in nanoseconds.
    #[must_use]
    pub fn unix_ns(&self, monotonic_ns: u64) -> u64 {
        let age_ns = i128::from(self.monotonic_ns) - i128::from(monotonic_ns);
        u64::try_from(i128::from(self.unix_ns) - age_ns).unwrap_or(0)
    }

    /// Unix time, milliseconds, of a monotonic time in milliseconds.
    #[must_use]
    pub fn unix_ms(&self, monotonic_ms: u64) -> u64 {
        let ns_per_ms = NS_PER_SEC / 1000;
        self.unix_ns(monotonic_ms.saturating_mul(ns_per_ms)) / ns_per_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_ago_is_a_second_ago() {
        let calendar = Calendar { unix_ns: 1_700_000_000 * NS_PER_SEC, monotonic_ns: 50 * NS_PER_SEC };
        assert_eq!(calendar.unix_ns(49 * NS_PER_SEC), 1_699_999_999 * NS_PER_SEC);
        assert_eq!(calendar.unix_ms(50_001), 1_700_000_000_001);
        assert_eq!(calendar.monotonic_ns_of(1_700_000_002 * NS_PER_SEC), 52 * NS_PER_SEC);
        assert_eq!(calendar.monotonic_ns_of(1), 0);
        assert_eq!(Calendar { unix_ns: 5, ..calendar }.unix_ns(0), 0);
        assert!(monotonic_now_ns() > 0);
    }
}
