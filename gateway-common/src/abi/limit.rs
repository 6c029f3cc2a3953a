//! The state of limits: buckets, the table of keyed buckets, counters.

use super::Count;
use bytemuck::{Pod, Zeroable};

/// The state of a limit that is not by key: element `slot` of [`super::maps::BUCKETS`]. Every word is
/// changed by atomic operations of all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Bucket {
    /// When the bucket will be full again, see [`crate::limit`]; of open connections their number.
    pub full_at: u64,
    /// Until when SYN cookies are asked for, units of 2^-8 ns; 0: not since the last end was reported.
    pub attack_until: u64,
    /// Before this time no further alert is sent, nanoseconds.
    pub alert_at: u64,
    /// Zero.
    pub reserved: [u64; 5],
}

/// A keyed bucket. An empty entry is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct KeyedEntry {
    /// Upper 48 bits of the key's hash. Below them 16 bits: the refusals since the bucket was last full,
    /// or [`BANNED`]; of a limit of open connections their number.
    pub tag: u64,
    /// As [`Bucket::full_at`]. A ban is a bucket that will not be full before its end.
    pub full_at: u64,
}

/// In [`KeyedEntry::tag`].
pub const BANNED: u64 = 0xffff;
/// The low bits of [`KeyedEntry::tag`].
pub const KEYED_COUNT: u64 = 0xffff;

/// Ways of a set of keyed buckets: one cache line.
pub const KEYED_WAYS: usize = 4;

/// A set of keyed buckets. A key lies in one of its [`crate::limit::key_sets`].
pub type KeyedSet = [KeyedEntry; KEYED_WAYS];

/// Whose bucket it is, for user space: written when an entry is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct KeyName {
    /// The key: the address's first bits as in [`crate::packet::Address`], or a label set's key in the
    /// first word.
    pub key: [u64; 2],
    /// The limit's slot.
    pub slot: u32,
    /// 4 or 6 of an address, 0 of a label set.
    pub family: u32,
    /// When the entry was taken: nanoseconds shifted right by [`crate::limit::IDLE_SHIFT`].
    pub since: u32,
    /// Zero.
    pub reserved: u32,
}

/// The names of a set.
pub type KeyedNames = [KeyName; KEYED_WAYS];

/// An open connection of a limit that counts them. An empty entry is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ConnectionEntry {
    /// Hash of flow and limit, without its lowest two bits; those are the state: 1 only a SYN was
    /// seen, 2 more than that, 3 not TCP.
    pub tag: u64,
    /// Where it is counted: [`Bucket`] of this slot, or with [`OWNER_KEYED`] this entry of
    /// [`super::maps::KEYED`] (`set * KEYED_WAYS + way`).
    pub owner: u32,
    /// When the last packet came: nanoseconds shifted right by [`crate::limit::IDLE_SHIFT`].
    pub last: u32,
}

/// In [`ConnectionEntry::owner`].
pub const OWNER_KEYED: u32 = 1 << 31;
/// Ways of a set of connections.
pub const CONNECTION_WAYS: usize = 4;
/// A set of connections: one cache line.
pub type ConnectionSet = [ConnectionEntry; CONNECTION_WAYS];
/// Default of [`super::globals::CONNECTION_SETS`]: 262,144 connections in 4 MiB.
pub const CONNECTION_SETS_DEFAULT: u32 = 65_536;

/// What one CPU counted at one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LimitCount {
    /// Within the limit.
    pub admitted: Count,
    /// Over it, whatever was done with them.
    pub refused: Count,
    /// Keys that had to give way while in debt.
    pub evicted: u64,
    /// Bans.
    pub bans: u64,
    /// SYN cookies sent.
    pub cookies: u64,
    /// Sources that showed one.
    pub proven: u64,
}

/// Default of [`super::globals::LIMIT_SETS`]: 262,144 keys in 4 MiB, and their names in 8 MiB.
pub const LIMIT_SETS_DEFAULT: u32 = 65_536;
/// Default number of lines of [`super::maps::LIVE`]: 2 members each.
pub const LIVE_LINES_DEFAULT: u32 = 65_536;

const _: () = {
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<KeyedSet>() == 64);
    assert!(size_of::<KeyedNames>() == 128);
    assert!(size_of::<ConnectionSet>() == 64);
    assert!(size_of::<LimitCount>() == 64);
};
