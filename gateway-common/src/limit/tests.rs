//! The arithmetic against a token bucket in exact fractions, and its bounds.

use super::*;
use proptest::prelude::*;

const SECOND_NS: u64 = 1_000_000_000;
/// 100 Gbit/s in bytes.
const RATE_MAX: u64 = 12_500_000_000;

/// A bucket as the kernel keeps it.
struct Bucket {
    full_at: u64,
    cost: u64,
    shift: u8,
    depth: u64,
}

impl Bucket {
    fn new(per_second: u64, burst: u64, now_ns: u64) -> Bucket {
        let (cost, shift) = cost(per_second);
        let depth = ((u128::from(burst) * u128::from(cost)) >> shift) as u64;
        Bucket { full_at: time(now_ns), cost, shift, depth }
    }

    fn admits(&mut self, units: u32, now_ns: u64) -> bool {
        let now = time(now_ns);
        let horizon = horizon(self.depth, 0, self.cost, self.shift);
        let ahead = ahead(self.full_at, now, horizon);
        match take(ahead, price(units, self.cost, self.shift), self.depth) {
            Some(after) => {
                self.full_at = now.wrapping_add(after);
                true
            }
            None => false,
        }
    }
}

/// A rate and a burst that a policy may name: up to thirty days' worth.
fn rate() -> impl Strategy<Value = (u64, u64)> {
    let rates = prop_oneof![1..100u64, 1..1_000_000u64, 1..=RATE_MAX, Just(1), Just(RATE_MAX)];
    let bursts = prop_oneof![1..10u64, 1..1_000_000u64, 1..10_000_000_000u64];
    (rates, bursts).prop_map(|(rate, burst)| (rate, burst.min(rate.saturating_mul(30 * 86_400))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What passes in any stretch of time is at most the burst, what the rate gives, and one packet
    /// (whose debt may be outstanding at its end); for a sender that never stops, at least that less one packet.
    #[test]
    fn admitted_is_within_burst_and_rate(
        (rate, burst) in rate(),
        start in any::<u32>(),
        packets in prop::collection::vec((1..2_000u32, 0..3_000_000u64), 1..300),
    ) {
        let start = u64::from(start) * 1_000;
        let mut bucket = Bucket::new(rate, burst, start);
        let (mut now, mut admitted, mut dearest) = (start, 0u128, 0u128);
        for (units, gap) in packets {
            now += gap;
            dearest = dearest.max(u128::from(units));
            if bucket.admits(units, now) {
                admitted += u128::from(units);
            }
            let elapsed = u128::from(now - start);
            let allowed = u128::from(burst) + u128::from(rate) * elapsed / u128::from(SECOND_NS);
            // Rounding: a price may be a unit of time too small, 2^-8 ns.
            let rounding = 300 * u128::from(rate) / (u128::from(SECOND_NS) << TIME_SHIFT) + allowed / 1_000_000 + 2;
            prop_assert!(admitted <= allowed + dearest + rounding, "{admitted} of {allowed}");
        }
    }

    /// A sender who always has a packet gets his rate.
    #[test]
    fn a_greedy_sender_gets_the_rate(rate in 1_000..1_000_000u64, burst in 1..10_000u64) {
        let mut bucket = Bucket::new(rate, burst, 0);
        let step = SECOND_NS / rate / 3 + 1;
        let (mut now, mut admitted) = (0, 0u64);
        while now < SECOND_NS / 10 {
            admitted += u64::from(bucket.admits(1, now));
            now += step;
        }
        let allowed = burst + rate / 10;
        prop_assert!(admitted + 2 + allowed / 100 >= allowed.min(now / step), "{admitted} of {allowed}");
        prop_assert!(admitted <= allowed + 1, "{admitted} of {allowed}");
    }

    /// After any time of silence, however long and wherever the clock turns over, a bucket is full and
    /// not more than full.
    #[test]
    fn idleness_fills_and_no_more((rate, burst) in rate(), start in any::<u64>(), idle_days in 31..300u64) {
        let mut bucket = Bucket::new(rate, burst, start);
        while bucket.admits(UNITS_MAX, start) {}
        let later = start.wrapping_add(idle_days * 86_400 * SECOND_NS);
        let now = time(later);
        let horizon = horizon(bucket.depth, 0, bucket.cost, bucket.shift);
        prop_assert_eq!(ahead(bucket.full_at, now, horizon), 0);
        // A price loses less than a unit of time, which is much of what one byte costs at the highest rates.
        let most = bucket.depth / price(1, bucket.cost, bucket.shift) + 1;
        let mut admitted = 0u64;
        while admitted <= most && admitted < 5_000 && bucket.admits(1, later) {
            admitted += 1;
        }
        prop_assert!(admitted <= most, "{} of {}", admitted, burst);
        prop_assert!(admitted + 1 >= burst.min(5_000) - burst.min(5_000) / 1_000, "{} of {}", admitted, burst);
    }

    /// A clock that steps back by up to a second (another CPU's) frees nothing.
    #[test]
    fn a_step_back_frees_nothing((rate, burst) in rate(), start in 1u64 << 30..1 << 50, back in 0..=SECOND_NS) {
        let mut bucket = Bucket::new(rate, burst, start);
        while bucket.admits(UNITS_MAX, start) {}
        let horizon = horizon(bucket.depth, 0, bucket.cost, bucket.shift);
        let before = ahead(bucket.full_at, time(start), horizon);
        let after = ahead(bucket.full_at, time(start - back), horizon);
        prop_assert_eq!(after, before + time(back));
    }

    /// Nothing overflows, whatever the numbers.
    #[test]
    fn no_number_overflows(full_at: u64, now: u64, depth: u64, hold: u64, rate in 1..=u64::MAX / 2, units in 0..=UNITS_MAX) {
        let (cost, shift) = cost(rate);
        prop_assert!(cost < 1 << 44 && shift <= 40);
        let horizon = horizon(depth, hold, cost, shift);
        let ahead = ahead(full_at, now, horizon);
        prop_assert!(ahead <= horizon);
        let _ = take(ahead, price(units, cost, shift), depth);
    }

    /// A price is right to 2^-8 ns and one part in a million.
    #[test]
    fn prices_are_exact(rate in 1..=RATE_MAX, units in 1..=UNITS_MAX) {
        let (cost, shift) = cost(rate);
        let exact = (u128::from(SECOND_NS) << TIME_SHIFT) * u128::from(units) / u128::from(rate);
        let price = u128::from(price(units, cost, shift));
        prop_assert!(price.abs_diff(exact) <= 1 + exact / 1_000_000, "{price} for {exact}");
    }
}

#[test]
fn a_packet_dearer_than_the_bucket_passes_when_it_is_full_and_leaves_a_debt() {
    let mut bucket = Bucket::new(1_000, 100, 0);
    assert!(bucket.admits(1_500, 0));
    assert!(!bucket.admits(1, 0));
    assert!(!bucket.admits(1_500, SECOND_NS));
    assert!(!bucket.admits(1_500, SECOND_NS * 3 / 2 - 1));
    assert!(bucket.admits(1_500, SECOND_NS * 3 / 2 + 1));
}

/// The map's zeros are no time that is soon to come, also where the clock is about to turn over.
#[test]
fn a_bucket_that_was_never_used_is_full() {
    for before in [1, SECOND_NS, 40 * 86_400 * SECOND_NS] {
        assert_eq!(ahead(0, time(0_u64.wrapping_sub(before)), AHEAD_MAX), 0);
    }
}

/// Slots 5 and 7, and two prefixes that differ in the same bit.
#[test]
fn neighbouring_limits_and_neighbouring_keys_are_told_apart() {
    let prefix = 0x2001_0db8_0000_0000;
    let hash = |slot, family, key| key_hash(owner_hash(1, family, key), slot);
    assert_ne!(hash(5, 6, [prefix | 2, 0]), hash(7, 6, [prefix, 0]));
    assert_ne!(hash(5, 6, [prefix, 2]), hash(5, 6, [prefix | 2, 0]));
    assert_ne!(hash(5, 4, [prefix, 0]), hash(5, 6, [prefix ^ 2 << 32, 0]));
}

#[test]
fn an_attack_that_another_cpu_saw_a_moment_ago_is_seen() {
    let (now, hold) = (time(50 * SECOND_NS), time(2 * SECOND_NS));
    for behind in [0, 1, 4_000_000, SECOND_NS] {
        let left = left(now + hold, now - time(behind), hold);
        assert_eq!(left, hold + time(behind), "{behind} ns behind");
    }
    assert_eq!(left(now, now, hold), 0);
    assert_eq!(left(0, now, hold), 0);
}
