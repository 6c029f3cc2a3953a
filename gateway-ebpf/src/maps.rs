//! Every map: what it holds, who writes it, and what happens when it is full.
//!
//! All but the ring buffers are memory-mapped arrays of a fixed size, so none of them can run full:
//! what is bounded by them (routes, interfaces, policy tables) is refused in user space with a
//! reason, and the flow memo hands its older line of a set to [`FLOWS`]. Sizes given as 1 are set by
//! the loader, from its options and the number of possible CPUs.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, RingBuf};
use aya_ebpf::macros::btf_map;
use gateway_common::abi::{
    Control, Count, Egress, FlowRecord, INTERFACE_INDEX_SPACE, Interface, InterfaceStats, Line, MAX_CPUS,
    MAX_INTERFACES, MemoAddresses, MemoSet, PacketEvent, ReasonCount, Scratch,
};

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

/// Lost and evicted. Writer: kernel.
#[btf_map]
pub static TELEMETRY: Array<u64, 1, MAPPED> = Array::new();

/// The packet that each CPU is judging. Writer: kernel.
///
/// It lies in a map and not on the stack because the verifier knows nothing of what is in a map:
/// the many ways through the parser meet again behind it, instead of each being followed through
/// classification on its own (a million instructions and more).
#[btf_map]
pub static SCRATCH: Array<Scratch, MAX_CPUS> = Array::new();

/// Flows that left the memo. Full: the flow is counted as lost, with its packets and bytes.
#[btf_map]
pub static FLOWS: RingBuf<FlowRecord, 0x80_0000> = RingBuf::new();

/// Sampled packets. Full: the event is counted as lost.
#[btf_map]
pub static EVENTS: RingBuf<PacketEvent, 0x10_0000> = RingBuf::new();
