//! A SYN for a pool asks for no longer segments than the pool allows: its MSS option is lowered, never raised,
//! and the checksum follows (RFC 1624, equation 3).

use crate::act::{SkbFrame, XdpFrame};
use crate::context;
use crate::pipeline::Judged;
use crate::pool::{self, Forwarding};
use crate::rewrite::changed;
use crate::scratch;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::{bpf_l4_csum_replace, bpf_skb_store_bytes};
use gateway_common::mss::{find, may_ask, most, summand};
use gateway_common::parse::{Frame, Header};

/// Where TCP's checksum stands in its header.
const CHECKSUM: u32 = 16;

/// Whether the packet is to be looked at.
#[inline(always)]
pub fn is_due(judged: &Judged, forwarding: &Forwarding) -> bool {
    forwarding.mss != 0 && may_ask(&judged.packet)
}

/// What is lowered: where it stands, and the values before and after.
struct Lowered {
    at: u32,
    before: u16,
    after: u16,
}

/// Holds the SYN that this CPU judges to what its pool allows. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_clamp_xdp(context: *mut xdp_md, cpu: u32) -> u32 {
    let frame = XdpFrame::new(context);
    let Some((judged, lowered)) = lowered(&frame, cpu) else { return 0 };
    let l4 = judged.packet.l4_offset as u32;
    let Some(tcp) = frame.header::<20>(l4) else { return 0 };
    let (before, after) = summands(&lowered, l4);
    tcp.put16::<16>(changed(tcp.be16::<16>(), before, after));
    if let Some(value) = frame.header::<2>(lowered.at) {
        value.put16::<0>(lowered.after);
    }
    0
}

/// The same at tc, where the kernel's helpers know how the checksum is made.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_clamp_tc(context: *mut context::__sk_buff, cpu: u32) -> u32 {
    let context: *mut __sk_buff = context.cast();
    let Some((judged, lowered)) = lowered(&SkbFrame::as_it_is(context), cpu) else { return 0 };
    let l4 = judged.packet.l4_offset as u32;
    let (before, after) = summands(&lowered, l4);
    judged.headers[0] = lowered.after.to_be() as u32;
    let from = (&raw const judged.headers).cast();
    // SAFETY: the program's own context, and two bytes of this CPU's element; the helpers check the offsets.
    unsafe {
        let at = l4.wrapping_add(CHECKSUM);
        if bpf_l4_csum_replace(context, at, before.to_be() as u64, after.to_be() as u64, 2) == 0 {
            bpf_skb_store_bytes(context, lowered.at, from, 2, 0);
        }
    }
    0
}

#[inline(always)]
fn summands(lowered: &Lowered, l4: u32) -> (u16, u16) {
    (summand(lowered.before, lowered.at, l4), summand(lowered.after, lowered.at, l4))
}

#[inline(always)]
fn lowered(frame: &impl Frame, cpu: u32) -> Option<(&'static mut Judged, Lowered)> {
    let (judged, forwarding) = scratch::forwarding(cpu)?;
    let hop = pool::next_hop(cpu, forwarding.hop)?;
    let most = most(forwarding.mss, hop.mtu, forwarding.outer_length, judged.packet.family);
    let at = find(frame, &judged.packet, |word| judged.forgotten(word))?;
    let before = frame.header::<2>(at)?.be16::<0>();
    if most == 0 || before as u32 <= most {
        return None;
    }
    Some((judged, Lowered { at, before, after: most as u16 }))
}
