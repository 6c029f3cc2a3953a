//! Which entry of a set a key has: the pure half.

/// None of them.
pub const NONE: u32 = u32::MAX;

/// Which of four words is 0, or [`NONE`]. Of several it is the last: two CPUs that took an entry for one key at one time
/// took two. `top` is a word's top bit, as a function of which the compiler knows nothing: it would make branches of it.
#[inline(always)]
#[must_use]
pub fn zero_of(words: [u64; 4], top: impl Fn(u64) -> u32) -> u32 {
    // The top bit is set unless the word is 0.
    let [a, b, c, d] = words.map(|word| word | word.wrapping_neg());
    let upper = c & d;
    if top(a & b & upper) != 0 {
        return NONE;
    }
    // Of the upper two d decides whether it is the odd one, and where neither is 0, so that d's bit is set, b does.
    let odd = d & (b | !upper);
    3 ^ (top(odd) | top(upper) << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_is_zero_is_found() {
        for others in [1, 2, 0x8000_0000, 1 << 63, u64::MAX, 0x0123_4567_89ab_cdef] {
            for zeros in 0..16_u32 {
                let words = [0, 1, 2, 3].map(|way| if zeros >> way & 1 != 0 { 0 } else { others });
                let last = words.iter().rposition(|word| *word == 0).map_or(NONE, |way| way as u32);
                assert_eq!(zero_of(words, |word| (word >> 63) as u32), last, "{words:x?}");
            }
        }
    }
}
