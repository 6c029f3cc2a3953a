//! Which entry of a set a key has. Without a branch for each, since which it is is a coin toss: all entries are fetched
//! at once then, and nothing waits for a branch that the processor guessed wrong.

use core::arch::asm;

/// None of them.
pub const NONE: u32 = u32::MAX;

/// Which of four words is 0, or [`NONE`]. At most one may be.
#[inline(always)]
pub fn zero_of(words: [u64; 4]) -> u32 {
    let [a, b, c, d] = words.map(|word| word | word.wrapping_neg());
    let (odd, upper) = (b & d, c & d);
    if top(a & c & odd) != 0 {
        return NONE;
    }
    3 ^ (top(odd) | top(upper) << 1)
}

/// 1 if the word is 0, else 0.
#[inline(always)]
pub fn is_zero(word: u64) -> u32 {
    top(word | word.wrapping_neg()) ^ 1
}

/// The top bit, which `word | -word` has unless the word is 0. In assembly, or the compiler makes a branch of it.
#[inline(always)]
fn top(mut word: u64) -> u32 {
    // SAFETY: plain arithmetic on a register.
    unsafe { asm!("{0} >>= 63", inout(reg) word, options(pure, nomem, nostack)) };
    word as u32
}
