//! What a pool and a target are to the kernel.

use bytemuck::{Pod, Zeroable};

/// Most pools of a policy; index 0 is never used.
pub const MAX_POOLS: usize = 4_096;
/// Target slots: every target that has a name, past ones included, keeps its own. Slot 0 is never used.
pub const MAX_TARGETS: usize = 16_384;

/// How a packet gets to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Forward {
    /// In an IP header of its own (RFC 2003, RFC 2473): 4in4, 4in6, 6in6, 6in4.
    Ipip = 0,
    /// In UDP, the inner packet straight behind its header: GUE variant 1 (draft-ietf-intarea-gue 4),
    /// which is also what Linux's `fou` takes with `ipproto 4` or `41`.
    Gue = 1,
    /// As it is, to the target's link-layer address.
    L2 = 2,
}

/// What of a packet chooses its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HashOver {
    /// Addresses, protocol and ports (of a fragment: addresses and protocol).
    FiveTuple = 0,
    /// The source address.
    Source = 1,
    /// Source and destination address.
    SourceDestination = 2,
}

/// A pool; one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PoolEntry {
    /// First line of the Maglev table: u16 elements, 32 a line, each a target's place in
    /// [`PoolEntry::targets`].
    pub table: u32,
    /// Elements of the table, a prime; 0 where no target takes packets.
    pub size: u32,
    /// First line of the targets, one a line.
    pub targets: u32,
    /// How many targets there are.
    pub count: u16,
    /// [`Forward`].
    pub forward: u8,
    /// [`HashOver`].
    pub hash: u8,
    /// UDP destination port of [`Forward::Gue`].
    pub port: u16,
    /// Zero.
    pub reserved: [u16; 3],
    /// Zero.
    pub reserved2: [u64; 5],
}

/// A target; one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TargetEntry {
    /// Its address, as [`crate::packet::Address`].
    pub address: [u64; 2],
    /// Source address of the outer header, of the same family; zero for [`Forward::L2`].
    pub source: [u64; 2],
    /// Slot of its counters and next hop, the target's for as long as its name lives; below
    /// [`MAX_TARGETS`].
    pub slot: u32,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Zero.
    pub reserved2: [u64; 3],
}

const _: () = {
    assert!(size_of::<PoolEntry>() == 64);
    assert!(size_of::<TargetEntry>() == 64);
};
