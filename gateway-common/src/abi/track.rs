//! Tracked connections: what a translating pool remembers of each, and the tables that find it.
//!
//! A connection is an element of [`super::maps::TRACKED`]. Its tag, one word, stands at the same place in
//! [`super::maps::TRACK_TAGS`] (set `index / TRACK_WAYS`, way `index % TRACK_WAYS`): a set of tags is one
//! cache line, in which packets of the client find it. Packets of the target find it through
//! [`super::maps::TRACK_RETURNS`], whose words name the element. Both are set-associative with two choices,
//! see [`crate::track::sets`]; a word that names an element which is not the packet's is stale and counts
//! as free.

use bytemuck::{Pod, Zeroable};

/// Ways of a set of tags, and of a set of returns: one cache line.
pub const TRACK_WAYS: usize = 8;
/// A set of tags, see [`crate::track::Tag`]; an empty one is 0.
pub type TagSet = [u64; TRACK_WAYS];
/// A set of returns: `hash's upper half << 32 | element + 1`; an empty one is 0.
pub type ReturnSet = [u64; TRACK_WAYS];
/// Default of [`super::globals::TRACK_SETS`]: 262,144 connections in 36 MiB.
pub const TRACK_SETS_DEFAULT: u32 = 32_768;

/// A tracked connection; two cache lines. Which of its words are right is said by its tag: they are written
/// before the tag makes them valid, and then only its counts change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Tracked {
    /// The client's address, as [`crate::packet::Address`].
    pub client: [u64; 2],
    /// The address that it asks for. Of an affinity [`PoolEntry::affinity_key`](crate::image::PoolEntry) in the
    /// first word.
    pub service: [u64; 2],
    /// The client's port; of ICMP echo the identifier.
    pub client_port: u16,
    /// The port that it asks for; of ICMP echo 0.
    pub service_port: u16,
    /// IP protocol; [`TRACKED_AFFINITY`] of an affinity.
    pub protocol: u8,
    /// 4 or 6, of all four addresses.
    pub family: u8,
    /// MSS that SYNs are held to, 0 for as they come.
    pub mss: u16,
    /// Counter slot of the route that it came by.
    pub counter: u32,
    /// Where health is looked after ([`TARGET_MEASURED`]): while it is half open when its SYN came, microseconds of
    /// 1,024 ns, bit 0 set until that has come again, and 0 where it began with another packet; then the sequence
    /// number behind what the client has sent, 0 while that is not known.
    pub progress: u32,
    /// Time-outs in units of [`crate::track::UNIT_SHIFT`]: while it is open, half open and closing.
    pub idle: u16,
    /// See `idle`.
    pub half_open: u16,
    /// See `idle`.
    pub closing: u16,
    /// Slot of the target.
    pub slot: u16,
    /// Packets of the client.
    pub packets: u64,
    /// The target's address.
    pub target: [u64; 2],
    /// The source that the target sees: the client's, or one of this node.
    pub source: [u64; 2],
    /// The target's port; of ICMP echo 0.
    pub target_port: u16,
    /// The port of [`Tracked::source`]; of ICMP echo the identifier.
    pub source_port: u16,
    /// When it began, in units of [`crate::track::UNIT_SHIFT`], of which there are 24 bits; and [`HANDSHAKE_OVER`].
    pub opened: u32,
    /// Bytes of the client.
    pub bytes: u64,
    /// Packets of the target.
    pub return_packets: u64,
    /// Bytes of the target.
    pub return_bytes: u64,
}

/// In [`Tracked::opened`], where health is looked after: a reset by the target does not tell of its handshake any more,
/// since it has sent data or its end before, or there was no handshake.
pub const HANDSHAKE_OVER: u32 = 1 << 31;

/// In [`Tracked::protocol`]: no connection, but the target that a client's next one goes to.
pub const TRACKED_AFFINITY: u8 = 255;

/// What holds of a target beyond the policy's image, by its slot: an element of
/// [`super::maps::TARGET_STATES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TargetState {
    /// Its address: connections to another one under its name have ended.
    pub address: [u64; 2],
    /// When its connections end, `CLOCK_MONOTONIC` nanoseconds; 0 never.
    pub ends_at_ns: u64,
    /// [`TARGET_KNOWN`], [`TARGET_DRAINS`], [`TARGET_MEASURED`].
    pub flags: u32,
    /// Its port, 0 where packets keep theirs.
    pub port: u32,
}

/// In [`TargetState::flags`]: it is in the live policy.
pub const TARGET_KNOWN: u32 = 1;
/// In [`TargetState::flags`]: no new connections, whatever an affinity says.
pub const TARGET_DRAINS: u32 = 2;
/// In [`TargetState::flags`]: its handshakes are measured.
pub const TARGET_MEASURED: u32 = 4;

/// What one CPU counted at one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TargetCount {
    /// Sent to it.
    pub sent: super::Count,
    /// What came back, where that passes here.
    pub returned: super::Count,
    /// Connections that began.
    pub opened: u64,
    /// Half-open connections that gave way to others.
    pub evicted: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// The fragments that follow a first one: an entry of [`super::maps::FRAGMENTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FragmentEntry {
    /// [`crate::fragment::key`], combined by exclusive or with the other word (`until << 32 | ports`).
    pub key: u64,
    /// The first fragment's source and destination port: `source << 16 | destination`; of ICMP
    /// `identifier << 16 | type << 8 | code`.
    pub ports: u32,
    /// When it ends, in units of [`crate::fragment::UNIT_SHIFT`].
    pub until: u32,
}

/// Ways of a set of fragments: one cache line.
pub const FRAGMENT_WAYS: usize = 4;
/// A set of fragments.
pub type FragmentSet = [FragmentEntry; FRAGMENT_WAYS];
/// Sets of [`super::maps::FRAGMENTS`]: 16,384 packets at once, in 256 KiB.
pub const FRAGMENT_SETS: usize = 4_096;
/// How long later fragments may follow, nanoseconds (net/ipv4 `IP_FRAG_TIME`).
pub const FRAGMENT_FOR_NS: u64 = 30_000_000_000;

/// The node's own addresses, by interface slot, from which it tells senders what went wrong: an element of
/// [`super::maps::OWN_ADDRESSES`]. Zero where an interface has none of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct OwnAddresses {
    /// As [`crate::packet::Address`].
    pub ipv4: [u64; 2],
    /// A global one.
    pub ipv6: [u64; 2],
}

const _: () = {
    assert!(size_of::<TagSet>() == 64);
    assert!(size_of::<Tracked>() == 128);
    assert!(core::mem::offset_of!(Tracked, target) == 64);
    assert!(size_of::<TargetState>() == 32);
    assert!(size_of::<TargetCount>() == 64);
    assert!(size_of::<FragmentSet>() == 64);
};
