//! The arithmetic of limits: pure functions with time as a parameter.
//!
//! GCRA, the generic cell rate algorithm (ITU-T I.371, ATM Forum TM 4.0): a bucket is one word, the time
//! at which it will be full again. A packet that costs `c` moves that time on by `c`, and is refused if
//! it would then be more than the burst's worth ahead of now. It is a token bucket without a clock that
//! must tick: one word, one compare-and-swap.
//!
//! Time is counted in units of 2^-8 ns modulo 2^64 (it turns over every 833 days), so that at
//! 100 Gbit/s a 64-byte frame's cost of 5.12 ns is exact to 0.05 %. A bucket that says it is further
//! ahead than it ever can be is a bucket of long ago: it is full.

use crate::hash::{finish, fold};

/// `1 << TIME_SHIFT` units are a nanosecond.
pub const TIME_SHIFT: u32 = 8;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unit {
    /// Packets.
    Packets = 0,
    /// Bytes of the frame.
    Bytes = 1,
    /// Packets that open a connection.
    NewConnections = 2,
    /// Connections open at once.
    OpenConnections = 3,
}

/// Whose packets share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// All.
    All = 0,
    /// By source prefix.
    Source = 1,
    /// By destination prefix.
    Destination = 2,
    /// By the sender's set of labels.
    Label = 3,
}

/// What happens to what goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exceed {
    /// Dropped.
    Drop = 0,
    /// Passed on with another DSCP or mark.
    Demote = 1,
    /// Passed on.
    Count = 2,
}

/// Nanoseconds to units of time, modulo 2^64.
#[inline(always)]
#[must_use]
pub const fn time(ns: u64) -> u64 {
    ns << TIME_SHIFT
}

/// What `units` cost: `units * cost >> shift`. `cost` is below 2^44 and `units` at most 2^18.
#[inline(always)]
#[must_use]
pub const fn price(units: u32, cost: u64, shift: u8) -> u64 {
    (units as u64 * cost) >> (shift & 63)
}

/// How far a bucket is ahead of now: 0 for a full one. `horizon` is the most it can be.
#[inline(always)]
#[must_use]
pub const fn ahead(full_at: u64, now: u64, horizon: u64) -> u64 {
    let ahead = full_at.wrapping_sub(now);
    // 0 is a bucket that was never used, and not one of when the clock turns over.
    if full_at == 0 || ahead > horizon { 0 } else { ahead }
}

/// Takes `price` out of a bucket that is `ahead`: how far it is ahead then, or nothing if that is more
/// than `depth`. A packet dearer than the whole bucket passes when it is full, and leaves a debt.
#[inline(always)]
#[must_use]
pub const fn take(ahead: u64, price: u64, depth: u64) -> Option<u64> {
    let after = ahead.wrapping_add(price);
    if after <= depth || ahead == 0 { Some(after) } else { None }
}

/// The cost and shift of [`price`] for a rate, to 43 significant bits or 2^-19 units of time. `per_second` is at least 1.
#[must_use]
pub const fn cost(per_second: u64) -> (u64, u8) {
    const SECOND: u128 = 1_000_000_000 << TIME_SHIFT;
    let mut shift = 40;
    while shift > 0 && (SECOND << shift) / per_second as u128 >= 1 << 44 {
        shift -= 1;
    }
    let whole = SECOND << shift;
    (((whole + per_second as u128 / 2) / per_second as u128) as u64, shift as u8)
}

/// How far a bucket can be ahead: its depth and a ban, the debt of one dear packet, and what whoever
/// looks is behind whoever wrote.
#[inline(always)]
#[must_use]
pub const fn horizon(depth: u64, hold: u64, cost: u64, shift: u8) -> u64 {
    depth.saturating_add(hold).saturating_add(price(UNITS_MAX, cost, shift)).saturating_add(BEHIND)
}

/// How long something lasts yet that ends at `until` and lasts `hold` at most: an attack, or the time for
/// which a source has shown a SYN cookie.
#[inline(always)]
#[must_use]
pub const fn left(until: u64, now: u64, hold: u64) -> u64 {
    ahead(until, now, hold.saturating_add(BEHIND))
}

/// A reader's time may be behind the writer's: the clock goes on between reading it and the bucket, on a
/// virtual machine for as long as its processor is held. A second is more than that.
const BEHIND: u64 = time(1_000_000_000);

/// Most units of one packet: bytes of the longest frame, and to spare.
pub const UNITS_MAX: u32 = 1 << 18;
/// Longer than any ban or burst: what is further ahead is a time long ago.
pub const AHEAD_MAX: u64 = time(40 * 86_400 * 1_000_000_000);
/// Times of keys and connections count steps of `1 << IDLE_SHIFT` ns, some 1.05 ms.
pub const IDLE_SHIFT: u32 = 20;
/// An open connection of which only a SYN was seen is forgotten after this long without a packet, steps of [`IDLE_SHIFT`]: 30 s.
pub const IDLE_HALF_OPEN: u32 = (30_000_000_000_u64 >> IDLE_SHIFT) as u32;
/// Any other TCP connection: an hour.
pub const IDLE_TCP: u32 = (3_600_000_000_000_u64 >> IDLE_SHIFT) as u32;
/// What is not TCP: a minute.
pub const IDLE_OTHER: u32 = (60_000_000_000_u64 >> IDLE_SHIFT) as u32;
/// A source that showed a SYN cookie need not show another for this long, nanoseconds: ten minutes.
pub const PROVEN_NS: u64 = 600_000_000_000;
/// One alert of a limit a second at most, nanoseconds.
pub const ALERT_EVERY_NS: u64 = 1_000_000_000;

/// The hash of whose a key is, whatever the limit: `key` is an address's first bits with zeros behind
/// them, or a label set's key, which has family 0. Its low bits say where the key's first choice of a set
/// is, which can so be fetched before the limit is known.
#[inline(always)]
#[must_use]
pub const fn owner_hash(seed: u64, family: u32, key: [u64; 2]) -> u64 {
    // A seed for each family, and nobody knows how they differ.
    let seed = seed.rotate_left(family & 7);
    let first = fold(seed, key[0]);
    // The others have no second word.
    finish(if family == 6 { fold(first, key[1]) } else { first })
}

/// The hash of an owner's key of the limit `slot`.
#[inline(always)]
#[must_use]
pub const fn key_hash(owner: u64, slot: u32) -> u64 {
    finish(fold(owner, slot as u64))
}

/// The two sets that a key has to choose from, of `mask + 1`.
#[inline(always)]
#[must_use]
pub const fn key_sets(owner: u64, key: u64, mask: u32) -> [u32; 2] {
    [owner as u32 & mask, (key >> 32) as u32 & mask]
}

#[cfg(test)]
mod tests;
