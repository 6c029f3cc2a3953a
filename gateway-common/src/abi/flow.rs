//! The flow memo, and the flows that leave it.

use super::UNSET;
use bytemuck::{Pod, Zeroable};

/// A line of the per-CPU memo: the account of one flow, and what was decided for it.
///
/// A flow lies in set `hash & mask` or in set `(hash >> 32) & mask` of its CPU's part, hash being
/// [`crate::packet::FlowKey::hash`]. A line is one cache line; an IPv6 flow's addresses lie in [`super::maps::MEMO_ADDRESSES`] at the same element and way.
///
/// A reader in user space copies the line (and addresses) and reads `stamp`, `key` and `first`
/// again: the kernel sets `stamp` to 0 before it gives the line to another flow, and writes it
/// last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MemoLine {
    /// See [`crate::packet::FlowKey::words`]. 0: the line is empty.
    pub key: u64,
    /// IPv4: `source << 32 | destination`; IPv6: a hash of both addresses, which stand in [`super::maps::MEMO_ADDRESSES`].
    pub key_addresses: u64,
    /// The stamp under which the decision was made, see [`super::Control::active`]; [`STAMP_ONCE`] where
    /// it was for one packet only, 0 while the line changes hands.
    pub stamp: u32,
    /// The packet variant that it was made for, see [`crate::classify::variant`].
    pub variant: u16,
    /// Until when it holds, in [`super::ticks`] (low 16 bits), if [`MEMO_UNTIL`] is set: a live member
    /// of a label has a time to live. With [`MEMO_TARGET`] the slot of the flow's target.
    pub until: u16,
    /// Counter slot of the route in the low 24 bits; above them [`super::Verdict`], [`MEMO_EXTRA`],
    /// [`MEMO_UNTIL`], [`MEMO_RETURNS`], [`MEMO_TARGET`], [`MEMO_CONNECTION`].
    pub decision: u32,
    /// skb mark, [`super::UNSET`] if none.
    pub mark: u32,
    /// skb priority, [`super::UNSET`] if none; with [`MEMO_CONNECTION`] the flow's connection.
    pub priority: u32,
    /// Index of the route in its policy.
    pub route: u16,
    /// Of a drop the [`crate::reason::Reason`], of a redirect the interface slot it goes to, else 0.
    pub detail: u8,
    /// TCP flags seen, all packets' or-ed.
    pub tcp_flags: u8,
    /// Packets since the line was taken.
    pub packets: u64,
    /// Bytes since the line was taken.
    pub bytes: u64,
    /// Jiffies (low 32 bits) of the first packet.
    pub first: u32,
    /// Jiffies (low 32 bits) of the last packet.
    pub last: u32,
}

impl MemoLine {
    /// Counter slot of the route.
    #[inline(always)]
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.decision & MEMO_COUNTER
    }
    /// Code of the [`super::Verdict`].
    #[inline(always)]
    #[must_use]
    pub const fn verdict(&self) -> u8 {
        (self.decision >> 24) as u8 & 3
    }
    /// skb priority, [`super::UNSET`] if none.
    #[inline(always)]
    #[must_use]
    pub const fn skb_priority(&self) -> u32 {
        if self.decision & MEMO_CONNECTION == 0 { self.priority } else { UNSET }
    }
}

/// A stamp that is never live.
pub const STAMP_ONCE: u32 = u32::MAX;
/// Bits of [`MemoLine::decision`] that are the counter slot.
pub const MEMO_COUNTER: u32 = 0xff_ffff;
/// In [`MemoLine::decision`]: the route's entry says more, see [`crate::image::ROUTE_EXTRA`].
pub const MEMO_EXTRA: u32 = 1 << 26;
/// In [`MemoLine::decision`]: it holds until [`MemoLine::until`].
pub const MEMO_UNTIL: u32 = 1 << 27;
/// In [`MemoLine::decision`]: [`MemoLine::until`] is the slot of the target that the flow's packets go to, whose
/// [`super::Path`] says how. Not of those with [`MEMO_UNTIL`].
pub const MEMO_TARGET: u32 = 1 << 29;
/// In [`MemoLine::decision`]: the sender is a target whose connections are tracked, so that the packet may be one's
/// return half, which no route decides.
pub const MEMO_RETURNS: u32 = 1 << 28;

/// In [`MemoLine::decision`]: the flow's packets are a tracked connection's, and [`MemoLine::priority`] is its element
/// in [`super::maps::TRACKED`], counted from 1. A connection's place may have become another's meanwhile: who follows
/// compares its ends. Only of routes with neither mark nor priority.
pub const MEMO_CONNECTION: u32 = 1 << 30;

/// Ways of a memo set.
pub const MEMO_WAYS: usize = 4;

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
