//! Times of handshakes, from the histogram that the kernel fills.

use gateway_common::abi::HANDSHAKE_BUCKETS;

/// Length of the first bucket, nanoseconds.
const UNIT_NS: u64 = 1_024;

/// What the times of a bucket are below, nanoseconds. The last bucket has no bound, and that of 17 s and more it is
/// taken for is twice its least.
#[must_use]
pub const fn bound_ns(bucket: usize) -> u64 {
    UNIT_NS << bucket
}

/// A time that this part of the handshakes, percent, took less than: the bound of the bucket in which it lies, and so
/// up to twice what it is. Nothing where there was no handshake.
#[must_use]
pub fn quantile_ns(times: &[u64], percent: u64) -> Option<u64> {
    let all: u64 = times.iter().sum();
    let rank = (all * percent).div_ceil(100).max(1);
    let mut passed = 0;
    let within = |count: &u64| {
        passed += count;
        passed >= rank
    };
    times.iter().take(HANDSHAKE_BUCKETS).position(within).map(bound_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::health::bucket;

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_that_it_lies_in() {
        let mut times = [0; HANDSHAKE_BUCKETS];
        assert_eq!(quantile_ns(&times, 50), None);
        times[3] = 1;
        assert_eq!([1, 50, 99, 100].map(|percent| quantile_ns(&times, percent)), [Some(8_192); 4]);
        times[3] = 98;
        times[10] = 1;
        times[HANDSHAKE_BUCKETS - 1] = 1;
        assert_eq!(quantile_ns(&times, 98), Some(8_192));
        assert_eq!(quantile_ns(&times, 99), Some(1_048_576));
        assert_eq!(quantile_ns(&times, 100), Some(1_024 << 25));
    }

    #[test]
    fn what_the_kernel_counts_in_a_bucket_is_below_its_bound() {
        for micros in [0, 1, 2, 3, 4, 1_023, 1_024, 16_777_215] {
            let bucket = bucket(micros) as usize;
            let ns = u64::from(micros) * UNIT_NS;
            assert!(ns < bound_ns(bucket) && (bucket == 0 || ns >= bound_ns(bucket - 1)), "{micros}");
        }
    }
}
