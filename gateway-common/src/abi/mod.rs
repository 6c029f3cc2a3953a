//! Layouts of everything that crosses between kernel and user space through a map, and the maps'
//! names and shapes.
//!
//! Every type is plain words with explicit padding; sizes are asserted here and held against the
//! object's BTF by the tests. All integers are in host byte order unless a field says `_be`.
//!
//! Per-CPU state lives in ordinary, memory-mappable arrays laid out CPU by CPU (element
//! `cpu * per_cpu + i`), so that user space reads counters and flows without a system call and the
//! kernel's look-up is inlined on every supported version.

mod flow;
mod health;
mod limit;
mod names;
mod pool;
mod report;
mod track;

pub use flow::{
    FlowAddresses, FlowRecord, MEMO_CONNECTION, MEMO_COUNTER, MEMO_EXTRA, MEMO_RETURNS, MEMO_TARGET,
    MEMO_UNTIL, MEMO_WAYS, MemoAddresses, MemoLine, MemoSet, STAMP_ONCE,
};
pub use health::{HANDSHAKE_BUCKETS, HandshakeCount, HealthGroup, PENDING_SYNS, Pending, TargetHealth};
pub use limit::{
    BANNED, Bucket, CONNECTION_SETS_DEFAULT, CONNECTION_WAYS, ConnectionEntry, ConnectionSet, KEYED_COUNT,
    KEYED_WAYS, KeyName, KeyedEntry, KeyedNames, KeyedSet, LIMIT_SETS_DEFAULT, LIVE_LINES_DEFAULT,
    LimitCount, OWNER_KEYED,
};
pub use names::{globals, maps, programs};
pub use pool::{
    HOPS, NEXT_HOP_EVERY_NS, NEXT_HOP_XDP_FRAMES, Neighbour, NextHop, NextHopState, OuterEnds, PATH_GUE,
    PATH_IPV6, Path, PathMtu,
};
pub use report::{
    EventKind, METADATA_MAGIC, METADATA_SHIFT, Metadata, PacketEvent, REDIRECT_BY_FIB, REDIRECT_NEIGHBOUR,
    REDIRECT_PROXY,
};
pub use track::{
    FRAGMENT_FOR_NS, FRAGMENT_SETS, FRAGMENT_WAYS, FragmentEntry, FragmentSet, HANDSHAKE_OVER, OwnAddresses,
    ReturnSet, TARGET_DRAINS, TARGET_KNOWN, TARGET_MEASURED, TRACK_SETS_DEFAULT, TRACK_WAYS,
    TRACKED_AFFINITY, TagSet, TargetCount, TargetState, Tracked,
};

use bytemuck::{Pod, Zeroable};

/// Version of everything in this crate that is shared through maps. Pins live in a folder that
/// carries it, and [`Control::abi`] repeats it: a daemon adopts only what it understands.
pub const ABI_VERSION: u32 = 6;

/// CPUs that a machine may have: each has its own part of every counter and a scratch element.
pub const MAX_CPUS: usize = 1024;
/// Interface slots; slot 0 counts what arrives on an interface that nobody configured.
pub const MAX_INTERFACES: usize = 256;
/// Routes in a policy.
pub const MAX_ROUTES: usize = 65_536;
/// Elements of [`maps::INTERFACES`], indexed by the low 16 bits of the interface index.
pub const INTERFACE_INDEX_SPACE: usize = 65_536;
/// Counter slot of packets that no route matched.
pub const COUNTER_DEFAULT: u32 = 0;
/// Counter slot of frames that pass unjudged: not IP, or IPv6's neighbour discovery.
pub const COUNTER_NOT_IP: u32 = 1;
/// Counter slot of malformed packets, passed or dropped.
pub const COUNTER_MALFORMED: u32 = 2;
/// Counter slot of packets that arrived while no policy was loaded.
pub const COUNTER_NO_POLICY: u32 = 3;
/// First counter slot that is given to a route.
pub const COUNTER_FIRST_ROUTE: u32 = 16;
/// Counter slots for each CPU: every route that has a name, past ones included, keeps its own.
pub const ROUTE_COUNTERS: usize = 131_072;
/// Default of [`globals::MEMO_SETS`]: 12 MiB for each CPU, 131,072 flows.
pub const MEMO_SETS_DEFAULT: u32 = 32_768;
/// Lost-and-evicted counters for each CPU.
pub const TELEMETRY_WORDS: usize = 32;
/// Priority or mark that is not to be set.
pub const UNSET: u32 = 0;

/// What a packet met with in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// Handed to the stack (or to the next program).
    Pass = 0,
    /// Dropped, with a reason.
    Drop = 1,
    /// Sent back out of the interface it came from.
    Tx = 2,
    /// Sent out of another interface.
    Redirect = 3,
}

impl Verdict {
    /// All verdicts, by code.
    pub const ALL: [Verdict; 4] = [Verdict::Pass, Verdict::Drop, Verdict::Tx, Verdict::Redirect];

    /// The name in metrics, events and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
            Verdict::Tx => "tx",
            Verdict::Redirect => "redirect",
        }
    }

    /// The verdict with this code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Verdict> {
        match code {
            0 => Some(Verdict::Pass),
            1 => Some(Verdict::Drop),
            2 => Some(Verdict::Tx),
            3 => Some(Verdict::Redirect),
            _ => None,
        }
    }
}

/// Where a packet was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hook {
    /// XDP, native or generic.
    Xdp = 0,
    /// tc ingress.
    TcIngress = 1,
}

impl Hook {
    /// All hooks, by code.
    pub const ALL: [Hook; 2] = [Hook::Xdp, Hook::TcIngress];

    /// The name in metrics, events and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Hook::Xdp => "xdp",
            Hook::TcIngress => "tc_ingress",
        }
    }
}

/// Indices into a CPU's part of [`maps::TELEMETRY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Telemetry {
    /// Packet events that found the ring buffer full.
    EventsLost = 0,
    /// Flow records that found the ring buffer full.
    FlowsLost = 1,
    /// Packets of those flows.
    FlowPacketsLost = 2,
    /// Bytes of those flows.
    FlowBytesLost = 3,
    /// Flow records handed over.
    FlowsEvicted = 4,
    /// Packets that were classified; all other IP packets found their flow in the memo.
    MemoMisses = 5,
    /// Packets whose mark could not be carried to tc, because the driver takes no metadata.
    MetadataRefused = 6,
    /// Keys of limits that found their places taken by keys still in debt, and took one of them.
    KeysEvicted = 7,
    /// Connections that found no place in the table of open ones, and were refused.
    ConnectionsRefused = 8,
    /// Limits that many CPUs changed at once: the packet was refused.
    LimitContended = 9,
    /// SYN cookies sent.
    SynCookiesSent = 10,
    /// SYN cookies that came back.
    SynCookiesProven = 11,
    /// RSTs to a route under attack that held no cookie.
    SynCookiesWrong = 12,
    /// Packets that tc could not send where it was to, or hand to a socket: counted as redirected, sent back or
    /// passed, and lost.
    SendsFailed = 13,
    /// Connections of translating pools that found no place, and were refused.
    TrackedRefused = 14,
    /// ICMP errors of the gateway's own that were sent.
    ErrorsSent = 15,
    /// ICMP errors of the gateway's own that were not sent, to keep their rate.
    ErrorsSuppressed = 16,
    /// First fragments that pushed out another's entry before its time.
    FragmentsEvicted = 17,
}

/// The one element of [`maps::CONTROL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Control {
    /// What judges: `stamp << 32 | flags | line of the header in the arena`; 0 while no policy is live.
    /// Written with one store, read once for each packet.
    ///
    /// The stamp advances with every policy and every live change of a label, and makes what the memo
    /// decided before it stale. While a policy is live it is neither 0 nor [`STAMP_ONCE`]. The header's line has 24 bits;
    /// the flags are [`ACTIVE_ODD`], [`ACTIVE_VARIANTS`], [`ACTIVE_UNMEMOIZABLE`],
    /// [`ACTIVE_CHECKSUMS`], [`ACTIVE_PER_SOURCE`], [`ACTIVE_TRACKS`] and [`ACTIVE_POOLS`].
    pub active: u64,
    /// A packet is reported when a low-discrepancy sequence falls below this: `rate * 2^64`; 0 is never.
    pub sample_below: u64,
    /// The same for dropped packets.
    pub sample_drops_below: u64,
    /// [`ABI_VERSION`].
    pub abi: u32,
    /// [`CONTROL_FLOWS`].
    pub flags: u32,
    /// The generation that judges, for readers in user space: the kernel finds it in the header.
    pub generation: u64,
    /// Zero.
    pub reserved: [u64; 3],
    /// Nanoseconds of a jiffy.
    pub ns_per_jiffy: u64,
    /// `CLOCK_MONOTONIC` at jiffy 0, nanoseconds modulo 2^64: jiffies times [`Control::ns_per_jiffy`] plus
    /// this is the time now, late by less than a jiffy.
    pub jiffies_offset_ns: u64,
    /// The time now where the object was loaded with [`globals::FIXED_CLOCK`], nanoseconds: for tests.
    pub fixed_now_ns: u64,
    /// Seed of the hash of limits' keys; as old as the maps, so that a key keeps its bucket.
    pub limit_seed: u64,
    /// Zero.
    pub reserved2: [u64; 4],
}

/// In [`Control::active`]: the generation is odd. The rest of it stands in the header.
pub const ACTIVE_ODD: u64 = 1 << 24;
/// In [`Control::active`]: routes name what differs between packets of a flow.
pub const ACTIVE_VARIANTS: u64 = 1 << 25;
/// In [`Control::active`]: there are too many variants for the memo to tell apart, so that every packet
/// is classified.
pub const ACTIVE_UNMEMOIZABLE: u64 = 1 << 26;
/// In [`Control::active`]: checksums are verified.
pub const ACTIVE_CHECKSUMS: u64 = 1 << 27;
/// In [`Control::active`]: a limit is by whole source address.
pub const ACTIVE_PER_SOURCE: u64 = 1 << 28;
/// In [`Control::active`]: a pool of the policy translates, so that connections are tracked.
pub const ACTIVE_TRACKS: u64 = 1 << 29;
/// In [`Control::active`]: a route forwards to a pool.
pub const ACTIVE_POOLS: u64 = 1 << 30;
/// Most lines of the arena.
pub const ARENA_LINES_MAX: u32 = 1 << 24;

/// Coarse time for times to live: steps of 256 jiffies (2.56, 1.02, 0.85 or 0.26 s), low 32 bits.
#[inline(always)]
#[must_use]
pub const fn ticks(jiffies: u64) -> u32 {
    (jiffies >> 8) as u32
}

/// In [`Control::flags`]: keep flow accounts.
pub const CONTROL_FLOWS: u32 = 1;

impl Control {
    /// The word for [`Control::active`]; `flags` are its own.
    #[must_use]
    pub const fn active_word(stamp: u32, generation: u32, flags: u64, header_line: u32) -> u64 {
        (stamp as u64) << 32
            | flags
            | ((generation as u64 & 1) * ACTIVE_ODD)
            | (header_line & (ARENA_LINES_MAX - 1)) as u64
    }
    /// The stamp in an active word.
    #[inline(always)]
    #[must_use]
    pub const fn stamp_of(active: u64) -> u32 {
        (active >> 32) as u32
    }
    /// The generation's lowest bit.
    #[inline(always)]
    #[must_use]
    pub const fn parity_of(active: u64) -> u32 {
        (active / ACTIVE_ODD) as u32 & 1
    }
    /// The header's line in an active word.
    #[inline(always)]
    #[must_use]
    pub const fn header_of(active: u64) -> u32 {
        active as u32 & (ARENA_LINES_MAX - 1)
    }
}

/// 64 bytes of the arena: the unit of every policy table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct Line(pub [u64; 8]);

/// What the program must know of the interface that a packet arrived on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Interface {
    /// The whole interface index: the element's place holds its low 16 bits only. 0: not governed.
    pub ifindex: u32,
    /// Slot, 1..MAX_INTERFACES.
    pub slot: u16,
    /// [`INTERFACE_JUDGE_IN_TC`], [`INTERFACE_TX_BY_TC`], [`INTERFACE_TX_BY_REDIRECT`],
    /// [`INTERFACE_NATIVE`], [`INTERFACE_LOOPBACK`].
    pub flags: u16,
}

/// No XDP here: tc ingress judges.
pub const INTERFACE_JUDGE_IN_TC: u16 = 1;
/// XDP_TX does not arrive (a veth whose peer takes no XDP frames): tc sends instead.
pub const INTERFACE_TX_BY_TC: u16 = 2;
/// XDP_TX does not arrive though a redirect does (a veth whose peer merges packets but has no program:
/// `veth_xdp_flush` wakes only one that has): what is sent back is redirected to where it came from.
pub const INTERFACE_TX_BY_REDIRECT: u16 = 8;
/// Native XDP: a redirect needs a target that takes XDP frames ([`EGRESS_XDP_FRAMES`]).
pub const INTERFACE_NATIVE: u16 = 4;

/// The loopback device: addresses that no packet on a wire has are at home there.
pub const INTERFACE_LOOPBACK: u16 = 16;

/// Where a redirect goes, by interface slot; changed live when an interface comes, goes or changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Egress {
    /// Interface index, 0 while the interface is not there.
    pub ifindex: u32,
    /// [`EGRESS_XDP_FRAMES`].
    pub flags: u32,
}

/// The device takes frames by `ndo_xdp_xmit`.
pub const EGRESS_XDP_FRAMES: u32 = 1;

/// Packets and bytes. Bytes are the frame's length without FCS, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Counters of one CPU, interface, hook and generation parity. `received` is counted on entry and
/// each verdict on exit, so that their sum can be held against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InterfaceStats {
    /// Counted on entry.
    pub received: Count,
    /// Counted on exit, by [`Verdict`].
    pub verdicts: [Count; 4],
    /// Zero.
    pub reserved: [u64; 6],
}

/// Packets with one drop reason on one interface, by what was done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ReasonCount {
    /// Dropped.
    pub dropped: u64,
    /// Malformed, and passed because the policy says so.
    pub passed: u64,
}

/// Element of [`maps::STATS`]. `generation` matters by its lowest bit: the two halves let user
/// space settle the accounts of a generation once its last packet is through.
#[inline(always)]
#[must_use]
pub const fn stats_index(cpu: u32, slot: u32, hook: u32, generation: u32) -> u32 {
    ((cpu * MAX_INTERFACES as u32 + slot) * 2 + hook) * 2 + (generation & 1)
}

/// Elements of [`maps::STATS`] for each CPU.
pub const STATS_PER_CPU: usize = MAX_INTERFACES * 4;

/// Element of [`maps::REASONS`].
#[inline(always)]
#[must_use]
pub const fn reason_index(cpu: u32, slot: u32, reason: u32) -> u32 {
    (cpu * MAX_INTERFACES as u32 + slot) * crate::reason::Reason::COUNT as u32 + reason
}

/// Elements of [`maps::REASONS`] for each CPU.
pub const REASONS_PER_CPU: usize = MAX_INTERFACES * crate::reason::Reason::COUNT;

const _: () = {
    assert!(size_of::<Control>() == 128);
    assert!(size_of::<Line>() == 64);
    assert!(size_of::<Interface>() == 8);
    assert!(size_of::<Egress>() == 8);
    assert!(size_of::<Count>() == 16);
    assert!(size_of::<InterfaceStats>() == 128);
    assert!(size_of::<ReasonCount>() == 16);
    assert!(size_of::<MemoLine>() == 64);
    assert!(size_of::<FlowRecord>() == 96);
    assert!(size_of::<PacketEvent>() == 88);
    assert!(size_of::<Metadata>() == 32);
    assert!(core::mem::offset_of!(Metadata, magic) >= METADATA_SHIFT);
};
