//! Every map: what it holds, who writes it, and what happens when it is full.
//!
//! All but the ring buffers, the array of a program and the scratch memory are memory-mapped arrays of a
//! fixed size. What user space writes (routes, interfaces, policy tables, live members) it refuses with a
//! reason when there is no room; what the kernel fills says itself what happens then. Sizes given as 1 are
//! set by the loader, from its options and the number of possible CPUs.

use crate::scratch::Scratch;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, ProgramArray, RingBuf};
use aya_ebpf::macros::btf_map;
use gateway_common::abi::{
    Bucket, ConnectionSet, Control, Count, Egress, FRAGMENT_SETS, FlowRecord, FragmentSet, HandshakeCount,
    HealthGroup, INTERFACE_INDEX_SPACE, Interface, InterfaceStats, KeyedNames, KeyedSet, LimitCount, Line,
    MAX_CPUS, MAX_INTERFACES, MemoAddresses, MemoSet, Neighbour, NextHop, OwnAddresses, PacketEvent, Path,
    PathMtu, Pending, ReasonCount, ReturnSet, TagSet, TargetCount, TargetHealth, TargetState, Tracked,
};
use gateway_common::image::{MAX_LIMITS, MAX_TARGETS};

const MAPPED: usize = BPF_F_MMAPABLE as usize;

/// The active policy. Writer: user space.
#[btf_map]
pub static CONTROL: Array<Control, 1, MAPPED> = Array::new();

/// The policy images. Writer: user space, in lines that no live image uses.
#[btf_map]
pub static ARENA: Array<Line, 1, MAPPED> = Array::new();

/// Governed interfaces by the low 16 bits of their index. Writer: user space.
#[btf_map]
pub static INTERFACES: Array<Interface, INTERFACE_INDEX_SPACE, MAPPED> = Array::new();

/// Redirect targets by interface slot. Writer: user space.
#[btf_map]
pub static EGRESS: Array<Egress, MAX_INTERFACES, MAPPED> = Array::new();

/// Packets and bytes by interface, hook, generation parity and verdict. Writer: kernel.
#[btf_map]
pub static STATS: Array<InterfaceStats, 1, MAPPED> = Array::new();

/// Packets by interface and reason. Writer: kernel.
#[btf_map]
pub static REASONS: Array<ReasonCount, 1, MAPPED> = Array::new();

/// Packets and bytes by route. Writer: kernel.
#[btf_map]
pub static ROUTES: Array<Count, 1, MAPPED> = Array::new();

/// The flow memo. Writer: kernel. A full set gives up its least recently used line, to `FLOWS`.
#[btf_map]
pub static MEMO: Array<MemoSet, 1, MAPPED> = Array::new();

/// The addresses of the memo's IPv6 flows. Writer: kernel.
#[btf_map]
pub static MEMO_ADDRESSES: Array<MemoAddresses, 1, MAPPED> = Array::new();

/// Live members of labels. Writer: user space, which refuses what does not fit.
#[btf_map]
pub static LIVE: Array<Line, 1, MAPPED> = Array::new();

/// Limits that are not by key, by slot. Writer: kernel.
#[btf_map]
pub static BUCKETS: Array<Bucket, MAX_LIMITS, MAPPED> = Array::new();

/// Buckets by key. Writer: kernel. Where a key's eight places are taken, the one nearest to full gives
/// way: with its bucket full nothing is lost; else its key begins with a full bucket again, and is
/// counted as evicted.
#[btf_map]
pub static KEYED: Array<KeyedSet, 1, MAPPED> = Array::new();

/// Whose buckets they are. Writer: kernel.
#[btf_map]
pub static KEYED_NAMES: Array<KeyedNames, 1, MAPPED> = Array::new();

/// What limits admit and refuse. Writer: kernel.
#[btf_map]
pub static LIMITS: Array<LimitCount, 1, MAPPED> = Array::new();

/// Open connections of limits that count them. Writer: kernel. Where a new one's eight places are taken
/// by live ones it is refused, and counted.
#[btf_map]
pub static CONNECTIONS: Array<ConnectionSet, 1, MAPPED> = Array::new();

/// What was sent to each target and came back, by its slot. Writer: kernel.
#[btf_map]
pub static TARGETS: Array<TargetCount, 1, MAPPED> = Array::new();

/// Whether targets take connections, by slot. Writer: user space.
#[btf_map]
pub static TARGET_STATES: Array<TargetState, MAX_TARGETS, MAPPED> = Array::new();

/// Health of targets by slot. Writers: kernel and user space, each its own words and the circuit by turns. Every
/// target has a place.
#[btf_map]
pub static TARGET_HEALTH: Array<TargetHealth, MAX_TARGETS, MAPPED> = Array::new();

/// What holds of a pool's targets together, by the lowest slot among them. Writers: kernel and user space.
#[btf_map]
pub static HEALTH_GROUPS: Array<HealthGroup, MAX_TARGETS, MAPPED> = Array::new();

/// What handshakes with each target told, by its slot. Writer: kernel. Every target has a place.
#[btf_map]
pub static HANDSHAKES: Array<HandshakeCount, 1, MAPPED> = Array::new();

/// SYNs that went to targets whose answers do not pass here. Writer: kernel. A place is taken by whoever came last;
/// the handshake that had it is not measured.
#[btf_map]
pub static PENDING: Array<Pending, 1, MAPPED> = Array::new();

/// Tags of tracked connections. Writer: kernel. Where a new one's sixteen places are taken, the half-open
/// one that ends first gives way; where all are open the new one is refused. Both are counted.
#[btf_map]
pub static TRACK_TAGS: Array<TagSet, 1, MAPPED> = Array::new();

/// Where targets' packets find their connections. Writer: kernel. Where a new connection's sixteen places
/// are taken it is refused, and counted.
#[btf_map]
pub static TRACK_RETURNS: Array<ReturnSet, 1, MAPPED> = Array::new();

/// Tracked connections, each where its tag is. Writer: kernel.
#[btf_map]
pub static TRACKED: Array<Tracked, 1, MAPPED> = Array::new();

/// First fragments whose later ones are to follow. Writer: kernel, any CPU. Where a new one's four places are
/// taken, the one that ends first gives way, and is counted if it had not ended.
#[btf_map]
pub static FRAGMENTS: Array<FragmentSet, FRAGMENT_SETS, MAPPED> = Array::new();

/// What routers told of the paths to targets, by the target's slot. Writer: kernel, any CPU, the last one wins.
#[btf_map]
pub static PATH_MTUS: Array<PathMtu, MAX_TARGETS, MAPPED> = Array::new();

/// The node's own addresses by interface slot. Writer: user space.
#[btf_map]
pub static OWN_ADDRESSES: Array<OwnAddresses, MAX_INTERFACES, MAPPED> = Array::new();

/// The way to each target, by CPU and the target's slot, and behind them those to clients of translating pools.
/// Writer: kernel. Every target has a place; two clients with one place take turns.
#[btf_map]
pub static NEXT_HOPS: Array<NextHop, 1, MAPPED> = Array::new();

/// All that packets for a target are sent with, by CPU and the target's slot: see [`crate::paths`]. Writer:
/// kernel. Every target has a place.
#[btf_map]
pub static PATHS: Array<Path, 1, MAPPED> = Array::new();

/// Whom packets for a target go to while its link-layer address is not known, by the target's slot: tc may
/// run on another CPU than XDP. Writer: kernel, any CPU, the last one wins.
#[btf_map]
pub static NEIGHBOURS: Array<Neighbour, MAX_TARGETS, MAPPED> = Array::new();

/// Lost and evicted. Writer: kernel.
#[btf_map]
pub static TELEMETRY: Array<u64, 1, MAPPED> = Array::new();

/// The program that goes the whole way at XDP, where that of the short one goes on. Writer: user space, before either is
/// attached.
#[btf_map]
pub static XDP_WHOLE: ProgramArray<1> = ProgramArray::new();

/// The packet that each CPU is judging, see [`crate::scratch`]. Writer: kernel.
#[btf_map]
pub static SCRATCH: Array<Scratch, MAX_CPUS> = Array::new();

/// Flows that left the memo. Full: the flow is counted as lost, with its packets and bytes.
#[btf_map]
pub static FLOWS: RingBuf<FlowRecord, 0x80_0000> = RingBuf::new();

/// Sampled packets. Full: the event is counted as lost.
#[btf_map]
pub static EVENTS: RingBuf<PacketEvent, 0x10_0000> = RingBuf::new();
