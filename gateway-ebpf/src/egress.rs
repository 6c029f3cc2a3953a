//! tc egress: the return half of connections whose targets are on this node, or whose packets came back through
//! the stack. Routing has found their way already; only the addresses are exchanged.

use crate::act::SkbFrame;
use crate::classify::gateway_is_target;
use crate::health::gateway_handshake;
use crate::pipeline::Hook;
use crate::scratch;
use crate::track::{FOLLOWS, gateway_return};
use crate::translate::gateway_translate_tc;
use crate::{account, maps};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use gateway_common::abi::ACTIVE_TRACKS;
use gateway_common::parse::{Carries, parse};

/// Translates a packet that leaves, if it is a tracked connection's. Nothing is judged or dropped here.
#[inline(always)]
pub fn leave(context: *mut __sk_buff) -> Option<()> {
    let control = maps::CONTROL.get_ptr(0)?;
    // SAFETY: the one element of CONTROL, read once.
    let active = unsafe { core::ptr::read_volatile(&raw const (*control).active) };
    if active & ACTIVE_TRACKS == 0 {
        return None;
    }
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let (judged, forwarding) = scratch::forwarding(cpu)?;
    judged.open(cpu, active);
    let frame = SkbFrame::new(context);
    if !matches!(parse(&frame, &mut judged.packet), Ok(Carries::Ip)) {
        return None;
    }
    judged.length = frame.length(0);
    if gateway_is_target(cpu) == 0 || gateway_return(cpu) != FOLLOWS {
        return None;
    }
    if judged.handshake != 0 {
        gateway_handshake(cpu);
    }
    if gateway_translate_tc(context.cast(), cpu) == 0 {
        account::target_returned(cpu, forwarding.slot, judged.length);
    }
    Some(())
}
