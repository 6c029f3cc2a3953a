//! The programs: each hands its context to the pipeline.

use crate::act::{SkbFrame, XdpFrame, take_over};
use crate::{egress, express, maps, pipeline};
use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action, xdp_md};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use gateway_common::abi::{INTERFACE_JUDGE_IN_TC, Interface};

/// What is known of an interface; slot 0 where nobody configured it.
#[inline(always)]
pub fn interface(ifindex: u32) -> Interface {
    match maps::INTERFACES.get(ifindex & 0xffff) {
        Some(interface) if interface.ifindex == ifindex => *interface,
        _ => Interface { ifindex, slot: 0, flags: 0 },
    }
}

/// Judges every frame of a governed interface: the short way, and for what that leaves [`gateway_xdp_whole`].
///
/// Not by a call, though that would be simpler: where the processor is kept from guessing returns (against speculation
/// on the return stack), one costs as much as a limit, and the short way has none of its own so. And neither's stack
/// has to hold the other's.
#[xdp(frags)]
#[inline(always)]
pub fn gateway_xdp(ctx: XdpContext) -> u32 {
    if let Some(code) = express::go(ctx.ctx) {
        return code;
    }
    // SAFETY: a program of this object, for which user space has put it there.
    unsafe { maps::XDP_WHOLE.tail_call(&ctx, 0) };
    express::refuse(ctx.ctx).unwrap_or(xdp_action::XDP_PASS)
}

/// The whole way at XDP, for frames of which the short one has said something.
#[xdp(frags)]
#[inline(always)]
pub fn gateway_xdp_whole(ctx: XdpContext) -> u32 {
    let context: *mut xdp_md = ctx.ctx;
    // SAFETY: the context that the kernel gave to the program.
    let interface = interface(unsafe { (*context).ingress_ifindex });
    pipeline::run(&XdpFrame::new(context), &interface).unwrap_or(xdp_action::XDP_PASS)
}

/// Sets what XDP decided on the skb; judges where there is no XDP.
#[classifier]
#[inline(always)]
pub fn gateway_tc(ctx: TcContext) -> i32 {
    let context = ctx.skb.skb;
    // SAFETY: the context that the kernel gave to the program.
    let interface = interface(unsafe { (*context).ifindex });
    if interface.flags & INTERFACE_JUDGE_IN_TC == 0 {
        return take_over(context).unwrap_or(TC_ACT_UNSPEC);
    }
    pipeline::run(&SkbFrame::new(context), &interface).unwrap_or(TC_ACT_UNSPEC)
}

/// Translates what targets on this node say, or whose way led through its stack, on its way out.
#[classifier]
#[inline(always)]
pub fn gateway_tc_egress(ctx: TcContext) -> i32 {
    egress::leave(ctx.skb.skb);
    TC_ACT_UNSPEC
}

/// Passes everything: the floor of the benchmarks, and the peer that a veth needs to take XDP frames.
#[xdp(frags)]
pub fn gateway_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// For a test run: writes `bpf_jiffies64` and `bpf_ktime_get_ns` over the first 16 bytes.
#[xdp]
pub fn gateway_clock(ctx: XdpContext) -> u32 {
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + 16 > end {
        return xdp_action::XDP_ABORTED;
    }
    let words = data as *mut u64;
    // SAFETY: the comparison above shows sixteen bytes, and the helpers take no arguments.
    unsafe {
        core::ptr::write_volatile(words, bpf_jiffies64());
        core::ptr::write_volatile(words.add(1), bpf_ktime_get_ns());
    }
    xdp_action::XDP_PASS
}
