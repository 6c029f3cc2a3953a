//! The flow memo, and the flows that leave it.

use bytemuck::{Pod, Zeroable};

/// A line of the per-CPU memo: the account of one flow, and what was decided for it.
///
/// A flow lies in set `hash & mask` or in set `(hash >> 32) & mask` of its CPU's part, hash being
/// [`crate::packet::FlowKey::hash`]. A line is one cache line and is all that an IPv4 packet touches;
/// an IPv6 flow's addresses lie in [`super::maps::MEMO_ADDRESSES`] at the same element and way.
///
/// A reader in user space copies the line (and addresses) and reads `generation`, `key` and `first`
/// again: the kernel sets `generation` to 0 before it gives the line to another flow, and writes it
/// last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MemoLine {
    /// See [`crate::packet::FlowKey::words`]. 0: the line is empty.
    pub key: u64,
    /// IPv4: `source << 32 | destination`; IPv6: a hash of both addresses, which stand in [`super::maps::MEMO_ADDRESSES`].
    pub key_addresses: u64,
    /// The generation that decided.
    pub generation: u32,
    /// Counter slot of the route.
    pub counter: u32,
    /// [`super::Verdict`].
    pub verdict: u8,
    /// [`crate::reason::Reason`] of a drop, else 0.
    pub reason: u8,
    /// TCP flags seen, all packets' or-ed.
    pub tcp_flags: u8,
    /// Interface slot that a redirect goes to.
    pub egress_slot: u8,
    /// skb mark, [`super::UNSET`] if none.
    pub mark: u32,
    /// Packets since the line was taken.
    pub packets: u64,
    /// Bytes since the line was taken.
    pub bytes: u64,
    /// Jiffies (low 32 bits) of the first packet.
    pub first: u32,
    /// Jiffies (low 32 bits) of the last packet.
    pub last: u32,
    /// skb priority, [`super::UNSET`] if none.
    pub priority: u32,
    /// Zero.
    pub reserved: u32,
}

/// Ways of a memo set.
pub const MEMO_WAYS: usize = 2;

/// A set of the memo.
pub type MemoSet = [MemoLine; MEMO_WAYS];

/// The addresses of an IPv6 flow, host byte order, high word first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FlowAddresses {
    /// Source.
    pub source: [u64; 2],
    /// Destination.
    pub destination: [u64; 2],
}

/// The addresses of a set's IPv6 flows.
pub type MemoAddresses = [FlowAddresses; MEMO_WAYS];

/// A flow that left the memo: what [`super::maps::FLOWS`] carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FlowRecord {
    /// The line as it was.
    pub line: MemoLine,
    /// Of an IPv6 flow; of an IPv4 flow whatever stood there.
    pub addresses: FlowAddresses,
}
