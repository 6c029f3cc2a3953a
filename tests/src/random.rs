//! Seeded random numbers: a run prints its seed and can be repeated with `GATEWAY_SEED`.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seedable, good enough to choose test inputs.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A sequence that depends on the seed alone.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// Whether an event of probability `numerator / denominator` happens.
    pub fn chance(&mut self, numerator: usize, denominator: usize) -> bool {
        self.below(denominator) < numerator
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// Between 1 and `most` different members of a list, in the list's order.
    pub fn some<T: Clone>(&mut self, list: &[T], most: usize) -> Vec<T> {
        let want = 1 + self.below(most.min(list.len()));
        let mut left = want;
        let mut out = Vec::new();
        for (i, item) in list.iter().enumerate() {
            if self.chance(left, list.len() - i) {
                out.push(item.clone());
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        out
    }
}

/// The seed of this run: `GATEWAY_SEED` (decimal, or hexadecimal behind `0x`), else the clock.
///
/// # Panics
/// If `GATEWAY_SEED` is set to something that is not a number.
#[must_use]
pub fn seed() -> u64 {
    let Ok(text) = std::env::var("GATEWAY_SEED") else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        return Random::new(now.as_nanos() as u64).bits();
    };
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("GATEWAY_SEED is not a number: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_gives_at_least_one_and_no_more_than_asked() {
        let mut random = Random::new(7);
        for _ in 0..1000 {
            let got = random.some(&[1, 2, 3, 4, 5], 3);
            assert!((1..=3).contains(&got.len()) && got.is_sorted());
        }
    }
}
