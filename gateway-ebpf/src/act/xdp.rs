//! Verdicts at XDP. What only an skb can carry goes to tc as metadata.

use super::{by_neighbour, egress, verdict};
use crate::account::telemetry;
use crate::classify::generation;
use crate::forward::gateway_forward_xdp;
use crate::frame::{Bytes, Checked};
use crate::icmp_error;
use crate::next_hop::gateway_next_hop_xdp;
use crate::owner::gateway_quoted_xdp;
use crate::pipeline::{Hook, Judged};
use crate::pool::{BY_NEIGHBOUR, BY_STACK, Forwarding, next_hop};
use crate::rewrite::rewrite;
use crate::scratch;
use crate::translate::gateway_translate_xdp;
use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_redirect, bpf_xdp_adjust_meta, bpf_xdp_get_buff_len};
use gateway_common::abi::{
    EGRESS_XDP_FRAMES, INTERFACE_NATIVE, INTERFACE_TX_BY_REDIRECT, INTERFACE_TX_BY_TC, Interface,
    METADATA_MAGIC, Metadata, NEXT_HOP_XDP_FRAMES, REDIRECT_PROXY, Telemetry, UNSET, Verdict,
};
use gateway_common::image::Forward;
use gateway_common::parse::{Frame, checksum};
use gateway_common::reason::Reason;

/// A frame at the XDP hook.
pub struct XdpFrame {
    context: *mut xdp_md,
    bytes: Bytes,
}

impl XdpFrame {
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> XdpFrame {
        XdpFrame { context, bytes: Bytes::of_xdp(context) }
    }

    /// Leaves word for the tc program; `redirect` is as in [`Metadata::redirect`].
    #[inline(always)]
    fn leave(&self, judged: &Judged, redirect: u32) -> bool {
        let metadata = Metadata {
            counter: judged.counter,
            generation: generation(judged.active),
            reserved: [0; 2],
            magic: METADATA_MAGIC,
            mark: judged.mark,
            priority: judged.priority,
            redirect,
        };
        leave(self.context, metadata)
    }

    /// Passes the frame, with mark and priority.
    #[inline(always)]
    fn pass(&self, judged: &mut Judged) -> u32 {
        if judged.proxy != 0 {
            return self.send_by_tc(judged.proxy | REDIRECT_PROXY, judged);
        }
        if (judged.mark != UNSET || judged.priority != UNSET) && !self.leave(judged, 0) {
            no_metadata();
        }
        xdp_action::XDP_PASS
    }

    /// Sends the frame out of the interface that it came from.
    #[inline(always)]
    fn send_back(&self, interface: &Interface, judged: &mut Judged) -> u32 {
        if interface.flags & INTERFACE_TX_BY_TC != 0 {
            return self.send_by_tc(interface.ifindex, judged);
        }
        if interface.flags & INTERFACE_TX_BY_REDIRECT != 0 {
            // SAFETY: a helper that takes plain numbers.
            return unsafe { bpf_redirect(interface.ifindex, 0) as u32 };
        }
        xdp_action::XDP_TX
    }

    /// Sends the frame out of another interface.
    #[inline(always)]
    fn send_out(&self, interface: &Interface, ifindex: u32, xdp_frames: bool, judged: &mut Judged) -> u32 {
        if interface.flags & INTERFACE_NATIVE != 0 && !xdp_frames {
            return self.send_by_tc(ifindex, judged);
        }
        // SAFETY: a helper that takes plain numbers.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }

    /// Writes what a pool's packet is sent in, and sends it.
    #[inline(always)]
    fn forward(&self, interface: &Interface, judged: &mut Judged, forwarding: &Forwarding) -> u32 {
        let translates = forwarding.forward == Forward::Dnat as u32;
        let done = (!translates || gateway_translate_xdp(self.context, judged.cpu) == 0)
            && gateway_forward_xdp(self.context, judged.cpu) == 0;
        let Some(hop) = next_hop(judged.cpu, forwarding.hop).filter(|_| done) else {
            judged.refuse(Reason::NoRoom);
            return xdp_action::XDP_DROP;
        };
        if forwarding.way == BY_STACK {
            return self.pass(judged);
        }
        if forwarding.way == BY_NEIGHBOUR {
            return self.send_by_tc(by_neighbour(forwarding, hop), judged);
        }
        if hop.ifindex == interface.ifindex {
            return self.send_back(interface, judged);
        }
        self.send_out(interface, hop.ifindex, hop.flags & NEXT_HOP_XDP_FRAMES != 0, judged)
    }

    /// Drops the frame, or sends back what tells its sender why.
    #[inline(always)]
    fn drop(&self, interface: &Interface, judged: &mut Judged) -> u32 {
        if !icmp_error::is_due(judged)
            || icmp_error::gateway_error_xdp(self.context, judged.cpu, interface.slot as u32) != 0
        {
            return xdp_action::XDP_DROP;
        }
        let reason = judged.reason;
        (judged.mark, judged.priority) = (UNSET, UNSET);
        let code = self.send_back(interface, judged);
        // Should that not be possible, the packet was still dropped for its own reason.
        judged.reason = reason;
        code
    }

    /// Passes the frame with an order for tc to send it out, or to hand it over.
    #[inline(always)]
    fn send_by_tc(&self, redirect: u32, judged: &mut Judged) -> u32 {
        if self.leave(judged, redirect) {
            return xdp_action::XDP_PASS;
        }
        no_metadata();
        self.refuse(judged)
    }

    #[inline(always)]
    fn refuse(&self, judged: &mut Judged) -> u32 {
        judged.refuse(Reason::RedirectTarget);
        xdp_action::XDP_DROP
    }
}

/// Leaves word for the tc program in front of the frame.
#[inline(always)]
pub fn leave(context: *mut xdp_md, metadata: Metadata) -> bool {
    // SAFETY: the program's own context; room is made in front of the frame.
    if unsafe { bpf_xdp_adjust_meta(context, -(size_of::<Metadata>() as i32)) } != 0 {
        return false;
    }
    // SAFETY: the context again, whose pointers the helper has moved.
    let (meta, data) = unsafe { ((*context).data_meta as usize, (*context).data as usize) };
    if meta + size_of::<Metadata>() > data {
        return false;
    }
    // SAFETY: the comparison above shows room for all of it, and metadata is 4-byte aligned.
    unsafe { *(meta as *mut Metadata) = metadata };
    true
}

/// Verifies the checksums of the packet that this CPU judges: 0 if they are right, else the [`Reason`].
/// A global function, see [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_checksum(context: *mut xdp_md, cpu: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return 0 };
    let frame = XdpFrame::new(context);
    let verified = checksum::verify(&frame, &judged.packet, |word| judged.forgotten(word));
    verified.map_or_else(|reason| reason.code() as u32, |()| 0)
}

#[inline(always)]
fn no_metadata() {
    // SAFETY: a helper without arguments.
    telemetry(unsafe { bpf_get_smp_processor_id() }, Telemetry::MetadataRefused, 1);
}

impl Frame for XdpFrame {
    type Header<const N: usize> = Checked<N>;

    #[inline(always)]
    fn header<const N: usize>(&self, offset: u32) -> Option<Checked<N>> {
        self.bytes.header(offset)
    }
    #[inline(always)]
    fn sum<const N: usize>(&self, offset: u32, sum: u32) -> Option<u32> {
        self.bytes.header::<N>(offset)?.sum(sum)
    }
    #[inline(always)]
    fn holds(&self, length: u32) -> bool {
        length <= self.bytes.len() || length <= self.length(u32::MAX)
    }
    #[inline(always)]
    fn stripped_tag(&self) -> Option<u16> {
        None
    }
}

impl Hook for XdpFrame {
    const HOOK: u32 = gateway_common::abi::Hook::Xdp as u32;
    type Code = u32;

    #[inline(always)]
    fn wrong_checksum(&self, cpu: u32) -> u32 {
        gateway_checksum(self.context, cpu)
    }

    #[inline(always)]
    fn length(&self, end: u32) -> u32 {
        // A frame in several buffers carries a packet longer than the first of them; for all
        // others the helper's call is spared.
        let first = Bytes::of_xdp(self.context).len();
        if end != 0 && end <= first {
            return first;
        }
        // SAFETY: the program's own context.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn segment(&self, judged: &Judged) -> u32 {
        judged.packet.end.wrapping_sub(judged.packet.l3_offset as u32)
    }

    #[inline(always)]
    fn read_quoted(&self, cpu: u32) -> u32 {
        gateway_quoted_xdp(self.context, cpu)
    }

    #[inline(always)]
    fn ask_next_hop(&self, cpu: u32) {
        gateway_next_hop_xdp(self.context, cpu);
    }

    #[inline(always)]
    fn act(&self, interface: &Interface, judged: &mut Judged, forwarding: &Forwarding) -> u32 {
        if !rewrite(&Bytes::of_xdp(self.context), judged) {
            return xdp_action::XDP_DROP;
        }
        match verdict(judged) {
            Verdict::Drop => self.drop(interface, judged),
            _ if judged.pool != 0 => self.forward(interface, judged, forwarding),
            Verdict::Pass => self.pass(judged),
            Verdict::Tx => {
                if let Some(ethernet) = Bytes::of_xdp(self.context).header::<14>(0) {
                    ethernet.swap_ethernet_addresses();
                }
                self.send_back(interface, judged)
            }
            Verdict::Redirect => {
                let Some(egress) = egress(judged.egress_slot) else {
                    return self.refuse(judged);
                };
                self.send_out(interface, egress.ifindex, egress.flags & EGRESS_XDP_FRAMES != 0, judged)
            }
        }
    }
}
