//! Which entry of a set a key has. Without a branch for each, since which it is is a coin toss: all entries are fetched
//! at once then, and nothing waits for a branch that the processor guessed wrong.

use core::arch::asm;
pub use gateway_common::ways::NONE;

/// As [`gateway_common::ways::zero_of`].
#[inline(always)]
pub fn zero_of(words: [u64; 4]) -> u32 {
    gateway_common::ways::zero_of(words, top)
}

/// 1 if the word is 0, else 0.
#[inline(always)]
pub fn is_zero(word: u64) -> u32 {
    top(word | word.wrapping_neg()) ^ 1
}

/// The top bit. In assembly, or the compiler makes a branch of it.
#[inline(always)]
fn top(mut word: u64) -> u32 {
    // SAFETY: plain arithmetic on a register.
    unsafe { asm!("{0} >>= 63", inout(reg) word, options(pure, nomem, nostack)) };
    word as u32
}
