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
    /// With destination, and source if asked for, translated; the connection is tracked.
    Dnat = 3,
}

/// What of a packet chooses its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HashOver {
    /// Addresses, protocol and ports.
    FiveTuple = 0,
    /// The source address.
    Source = 1,
    /// Source and destination address.
    SourceDestination = 2,
}

/// A pool; one line.
///
/// A translating pool has a table for each family, since addresses are exchanged for such of their own
/// family; of others `table6` and `size6` are 0 and `table` is for all packets.
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
    /// MSS that SYNs are held to, 0 for as they come; [`MSS_OF_WAY`] for what the way takes.
    pub mss: u16,
    /// Table of a translating pool's IPv6 targets, as [`PoolEntry::table`].
    pub table6: u32,
    /// As [`PoolEntry::size`].
    pub size6: u32,
    /// Ports that sources are translated to, first and last; 0 where sources stay.
    pub ports: [u16; 2],
    /// Time-outs of tracked connections, units of [`crate::track::UNIT_SHIFT`]: TCP open, half open and
    /// closing; other protocols answered and unanswered.
    pub timeouts: [u16; 5],
    /// How long a client keeps its target once its last connection began, the same units; 0: it does not.
    pub affinity: u16,
    /// [`POOL_HEALTH`].
    pub flags: u32,
    /// Names the pool in affinities, the same for as long as its name and its targets' sources.
    pub affinity_key: u64,
    /// Zero.
    pub reserved2: u64,
}

/// In [`PoolEntry::flags`]: its targets' health is looked after, so that a target may be passed over.
pub const POOL_HEALTH: u32 = 1;

/// In [`PoolEntry::mss`]: what fits the way to the target.
pub const MSS_OF_WAY: u16 = 1;

/// A target; one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TargetEntry {
    /// Its address, as [`crate::packet::Address`].
    pub address: [u64; 2],
    /// Source address of the outer header, of the same family; of a translating pool what sources are
    /// translated to; zero where there is neither, or the target is this node.
    pub source: [u64; 2],
    /// Slot of its counters and next hop, the target's for as long as its name lives; below
    /// [`MAX_TARGETS`].
    pub slot: u32,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: u8,
    /// Port that destinations are translated to; 0 where packets keep theirs.
    pub port: u16,
    /// Zero.
    pub reserved2: [u64; 3],
}

const _: () = {
    assert!(size_of::<PoolEntry>() == 64);
    assert!(size_of::<TargetEntry>() == 64);
};
