//! The one hash, used by the policy tables (where user space places what the kernel looks up) and
//! by the flow memo.
//!
//! Multiply–xorshift in the manner of MurmurHash3's 64-bit finalizer (Appleby, 2011): each word is
//! folded in with an odd multiplier, and the high half is brought down between rounds. It is keyed
//! by a seed, but is no MAC: the memo compares whole keys, so a collision costs time, never a verdict.

const K1: u64 = 0x9E37_79B9_7F4A_7C15;
const K2: u64 = 0xBF58_476D_1CE4_E5B9;
const K3: u64 = 0x94D0_49BB_1331_11EB;

/// Folds `word` into `state`.
#[inline(always)]
#[must_use]
pub const fn fold(state: u64, word: u64) -> u64 {
    let h = (state ^ word).wrapping_mul(K1);
    h ^ (h >> 32)
}

/// Final avalanche: every input bit reaches every output bit.
#[inline(always)]
#[must_use]
pub const fn finish(state: u64) -> u64 {
    let h = (state ^ (state >> 30)).wrapping_mul(K2);
    let h = (h ^ (h >> 27)).wrapping_mul(K3);
    h ^ (h >> 31)
}

/// Hash of a table key: three words and a tag. The third word is 0 for most keys, and then costs
/// nothing.
#[inline(always)]
#[must_use]
pub const fn table_key(a: u64, b: u64, c: u64, tag: u32) -> u64 {
    finish(fold(fold(tag as u64, a), b ^ c.wrapping_mul(K2)))
}
