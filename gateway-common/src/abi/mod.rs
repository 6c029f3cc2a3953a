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
mod names;
mod report;

pub use flow::{FlowAddresses, FlowRecord, MEMO_WAYS, MemoAddresses, MemoLine, MemoSet};
pub use names::{globals, maps, programs};
pub use report::{METADATA_MAGIC, METADATA_SHIFT, Metadata, PacketEvent};

use bytemuck::{Pod, Zeroable};

/// Version of everything in this crate that is shared through maps. Pins live in a folder that
/// carries it, and [`Control::abi`] repeats it: a daemon adopts only what it understands.
pub const ABI_VERSION: u32 = 1;

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
pub const MEMO_SETS_DEFAULT: u32 = 65_536;
/// Lost-and-evicted counters for each CPU.
pub const TELEMETRY_WORDS: usize = 8;
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
}

/// The one element of [`maps::CONTROL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Control {
    /// `generation << 32 | line of the header in the arena`; 0 while no policy is live. Written
    /// with one store, read once for each packet.
    pub active: u64,
    /// A packet is reported when a low-discrepancy sequence falls below this: `rate * 2^64`; 0 is never.
    pub sample_below: u64,
    /// The same for dropped packets.
    pub sample_drops_below: u64,
    /// [`ABI_VERSION`].
    pub abi: u32,
    /// [`CONTROL_FLOWS`].
    pub flags: u32,
    /// Zero.
    pub reserved: [u64; 4],
}

/// In [`Control::flags`]: keep flow accounts.
pub const CONTROL_FLOWS: u32 = 1;

impl Control {
    /// The word for [`Control::active`].
    #[must_use]
    pub const fn active_word(generation: u32, header_line: u32) -> u64 {
        (generation as u64) << 32 | header_line as u64
    }
    /// The generation in an active word.
    #[inline(always)]
    #[must_use]
    pub const fn generation_of(active: u64) -> u32 {
        (active >> 32) as u32
    }
    /// The header's line in an active word.
    #[inline(always)]
    #[must_use]
    pub const fn header_of(active: u64) -> u32 {
        active as u32
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
    /// [`INTERFACE_NATIVE`].
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

/// A CPU's scratch memory: the packet that it is judging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Scratch {
    /// The packet, as far as it could be parsed.
    pub packet: crate::packet::Packet,
    /// Through which values are made unknown to the verifier.
    pub forget: u32,
    /// Zero: keeps CPUs from sharing a cache line.
    pub reserved: [u32; 3],
}

const _: () = {
    assert!(size_of::<Control>() == 64);
    assert!(size_of::<Line>() == 64);
    assert!(size_of::<Interface>() == 8);
    assert!(size_of::<Egress>() == 8);
    assert!(size_of::<Count>() == 16);
    assert!(size_of::<InterfaceStats>() == 128);
    assert!(size_of::<ReasonCount>() == 16);
    assert!(size_of::<MemoLine>() == 64);
    assert!(size_of::<FlowRecord>() == 96);
    assert!(size_of::<PacketEvent>() == 72);
    assert!(size_of::<Metadata>() == 32);
    assert!(core::mem::offset_of!(Metadata, magic) >= METADATA_SHIFT);
    assert!(size_of::<Scratch>() == 64);
};
