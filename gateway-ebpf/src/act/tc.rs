//! Verdicts at tc, and what XDP left word of.

use super::{by_neighbour, egress, verdict};
use crate::account::telemetry;
use crate::forward::gateway_forward_tc;
use crate::frame::{Bytes, Checked};
use crate::icmp_error;
use crate::maps;
use crate::next_hop::gateway_next_hop_tc;
use crate::owner::gateway_quoted_tc;
use crate::pipeline::{Hook, Judged};
use crate::pool::{BY_NEIGHBOUR, BY_STACK, Forwarding, next_hop};
use crate::proxy::gateway_assign;
use crate::rewrite::rewrite;
use crate::scratch;
use crate::translate::gateway_translate_tc;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_redir_neigh};
use aya_ebpf::helpers::{
    bpf_get_smp_processor_id, bpf_redirect, bpf_redirect_neigh, bpf_skb_change_head, bpf_skb_pull_data,
};
use core::arch::asm;
use core::mem::offset_of;
use gateway_common::abi::{
    Interface, METADATA_MAGIC, METADATA_SHIFT, Metadata, REDIRECT_BY_FIB, REDIRECT_NEIGHBOUR, REDIRECT_PROXY,
    Telemetry, UNSET, Verdict,
};
use gateway_common::image::Forward;
use gateway_common::packet::protocol;
use gateway_common::parse::{Carries, Frame, Header, parse};
use gateway_common::reason::Reason;

/// Bytes of a non-linear skb that are made readable: more than any header chain but absurd ones.
const PULL: u32 = 512;

/// A frame at tc ingress.
pub struct SkbFrame {
    context: *mut __sk_buff,
    bytes: Bytes,
}

impl SkbFrame {
    #[inline(always)]
    pub fn new(context: *mut __sk_buff) -> SkbFrame {
        // SAFETY: the context that the kernel gave to the program.
        let length = unsafe { (*context).len };
        let wanted = if length < PULL { length } else { PULL };
        if Bytes::of_skb(context).len() < wanted {
            // SAFETY: the program's own context; the packet pointers are read anew below. A failure
            // leaves the linear part as it was, and parsing says what is missing.
            unsafe { bpf_skb_pull_data(context, wanted) };
        }
        SkbFrame::as_it_is(context)
    }

    /// With nothing made readable that is not: the packet pointers of whoever calls stay good.
    #[inline(always)]
    pub fn as_it_is(context: *mut __sk_buff) -> SkbFrame {
        SkbFrame { context, bytes: Bytes::of_skb(context) }
    }

    /// Writes what a pool's packet is sent in, and sends it.
    #[inline(always)]
    fn forward(&self, judged: &mut Judged, forwarding: &Forwarding) -> i32 {
        let translates = forwarding.forward == Forward::Dnat as u32;
        let done = (!translates || gateway_translate_tc(self.context.cast(), judged.cpu) == 0)
            && gateway_forward_tc(self.context.cast(), judged.cpu) == 0;
        let Some(hop) = next_hop(judged.cpu, forwarding.hop).filter(|_| done) else {
            judged.refuse(Reason::NoRoom);
            return TC_ACT_SHOT;
        };
        self.set(judged.mark, judged.priority);
        match forwarding.way {
            BY_STACK => TC_ACT_UNSPEC,
            BY_NEIGHBOUR => redirect(by_neighbour(forwarding, hop)),
            _ => redirect(hop.ifindex),
        }
    }

    /// Drops the frame, or sends back what tells its sender why.
    #[inline(always)]
    fn drop(&self, interface: &Interface, judged: &Judged) -> i32 {
        let slot = interface.slot as u32;
        if icmp_error::is_due(judged)
            && icmp_error::gateway_error_tc(self.context.cast(), judged.cpu, slot) == 0
        {
            return redirect(interface.ifindex);
        }
        TC_ACT_SHOT
    }

    #[inline(always)]
    fn set(&self, mark: u32, priority: u32) {
        // SAFETY: fields of the program's own context that it may write.
        unsafe {
            if mark != UNSET {
                (*self.context).mark = mark;
            }
            if priority != UNSET {
                (*self.context).priority = priority;
            }
        }
    }
}

/// A word at any address: assembly, since an unaligned read becomes one of single bytes.
///
/// # Safety
/// Four bytes from there must be within what was checked.
#[inline(always)]
unsafe fn load(at: usize) -> u32 {
    let value: u64;
    // SAFETY: the caller's promise.
    unsafe {
        asm!("{v} = *(u32 *)({p} + 0)", v = out(reg) value, p = in(reg) at as u64, options(readonly, nostack));
    }
    value as u32
}

/// Sends the packet as [`Metadata::redirect`] says, or drops and counts it where that cannot be.
#[inline(always)]
fn redirect(redirect: u32) -> i32 {
    let code = try_redirect(redirect);
    if code == TC_ACT_SHOT { failed() } else { code }
}

/// Drops a packet that cannot be sent. Its verdict was counted where it was judged.
#[inline(always)]
fn failed() -> i32 {
    // SAFETY: a helper without arguments.
    telemetry(unsafe { bpf_get_smp_processor_id() }, Telemetry::SendsFailed, 1);
    TC_ACT_SHOT
}

#[inline(always)]
fn try_redirect(redirect: u32) -> i32 {
    if redirect & REDIRECT_BY_FIB != 0 {
        // SAFETY: a helper that takes plain numbers, and no parameters of the neighbour.
        return unsafe {
            bpf_redirect_neigh(redirect & !REDIRECT_BY_FIB, core::ptr::null_mut(), 0, 0) as i32
        };
    }
    if redirect & REDIRECT_NEIGHBOUR == 0 {
        // SAFETY: a helper that takes plain numbers.
        return unsafe { bpf_redirect(redirect, 0) as i32 };
    }
    let Some(neighbour) = maps::NEIGHBOURS.get_ptr_mut(redirect & !REDIRECT_NEIGHBOUR) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: a live element of NEIGHBOURS, which begins as the helper wants it; it reads no more than that.
    unsafe {
        let ifindex = core::ptr::read_volatile(&raw const (*neighbour).ifindex);
        bpf_redirect_neigh(ifindex, neighbour.cast(), size_of::<bpf_redir_neigh>() as i32, 0) as i32
    }
}

/// Carries out what XDP left word of: sets mark and priority, redirects if asked. Nothing if there
/// is no word.
#[inline(always)]
pub fn take_over(context: *mut __sk_buff) -> Option<i32> {
    // SAFETY: the context that the kernel gave to the program.
    let (meta, data) = unsafe { ((*context).data_meta as usize, (*context).data as usize) };
    if meta + size_of::<Metadata>() > data {
        return None;
    }
    let magic = meta + offset_of!(Metadata, magic);
    // SAFETY: the comparison above shows that all of it is there.
    let whole = unsafe { load(magic) } == METADATA_MAGIC;
    let magic = if whole { magic } else { magic - METADATA_SHIFT };
    // SAFETY: as above; four words from there on are within it.
    let (seen, mark, priority, to) =
        unsafe { (load(magic), load(magic + 4), load(magic + 8), load(magic + 12)) };
    if seen != METADATA_MAGIC {
        return None;
    }
    // Carried out once: a frame that meets another gateway later does not speak for this one.
    // SAFETY: as above.
    unsafe { core::ptr::write_unaligned(magic as *mut u32, 0) };
    // SAFETY: fields of the program's own context that it may write.
    unsafe {
        if mark != UNSET {
            (*context).mark = mark;
        }
        if priority != UNSET {
            (*context).priority = priority;
        }
    }
    if to == 0 {
        return Some(TC_ACT_UNSPEC);
    }
    // What leaves here is cut off at the Ethernet header, which the kernel has lost sight of: room for
    // another one.
    // SAFETY: the program's own context; no packet pointer is used afterwards.
    if !whole && unsafe { bpf_skb_change_head(context, METADATA_SHIFT as u32, 0) } != 0 {
        return Some(failed());
    }
    if to & REDIRECT_PROXY != 0 {
        return Some(hand_over(context, to & !REDIRECT_PROXY));
    }
    Some(redirect(to))
}

/// Hands a packet that XDP has judged to the socket that listens at a port.
#[inline(always)]
fn hand_over(context: *mut __sk_buff, port: u32) -> i32 {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(judged) = scratch::judged(cpu) else { return failed() };
    judged.open(cpu, 0);
    let parsed = parse(&SkbFrame::new(context), &mut judged.packet);
    if matches!(parsed, Ok(Carries::Ip)) && gateway_assign(context.cast(), cpu, port) == 0 {
        return TC_ACT_UNSPEC;
    }
    failed()
}

impl Frame for SkbFrame {
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
        // SAFETY: the context that the kernel gave to the program.
        unsafe {
            if (*self.context).vlan_present != 0 { Some((*self.context).vlan_tci as u16) } else { None }
        }
    }
}

impl Hook for SkbFrame {
    const HOOK: u32 = gateway_common::abi::Hook::TcIngress as u32;
    type Code = i32;

    /// What comes here may be several segments in one, whose checksum the device or the kernel has
    /// found right and then not kept.
    #[inline(always)]
    fn wrong_checksum(&self, _cpu: u32) -> u32 {
        0
    }

    #[inline(always)]
    fn length(&self, _end: u32) -> u32 {
        // SAFETY: the context that the kernel gave to the program.
        unsafe { (*self.context).len }
    }

    #[inline(always)]
    fn segment(&self, judged: &Judged) -> u32 {
        let packet = &judged.packet;
        // SAFETY: the context that the kernel gave to the program.
        let size = unsafe { (*self.context).gso_size };
        if size == 0 {
            return packet.end.wrapping_sub(packet.l3_offset as u32);
        }
        let l4_offset = packet.l4_offset as u32;
        let header = match self.header::<20>(l4_offset) {
            Some(tcp) if packet.protocol == protocol::TCP => (tcp.be16::<12>() >> 12) as u32 * 4,
            _ => 8,
        };
        l4_offset.wrapping_sub(packet.l3_offset as u32).wrapping_add(header).wrapping_add(size)
    }

    #[inline(always)]
    fn read_quoted(&self, cpu: u32) -> u32 {
        gateway_quoted_tc(self.context.cast(), cpu)
    }

    #[inline(always)]
    fn ask_next_hop(&self, cpu: u32) {
        gateway_next_hop_tc(self.context.cast(), cpu);
    }

    #[inline(always)]
    fn act(&self, interface: &Interface, judged: &mut Judged, forwarding: &Forwarding) -> i32 {
        if !rewrite(&Bytes::of_skb(self.context), judged) {
            return TC_ACT_SHOT;
        }
        let ifindex = match verdict(judged) {
            Verdict::Drop => return self.drop(interface, judged),
            _ if judged.pool != 0 => return self.forward(judged, forwarding),
            Verdict::Pass => {
                if judged.proxy != 0 && gateway_assign(self.context.cast(), judged.cpu, judged.proxy) != 0 {
                    judged.refuse(Reason::NoListener);
                    return TC_ACT_SHOT;
                }
                self.set(judged.mark, judged.priority);
                return TC_ACT_UNSPEC;
            }
            Verdict::Tx => {
                if let Some(ethernet) = Bytes::of_skb(self.context).header::<14>(0) {
                    ethernet.swap_ethernet_addresses();
                }
                interface.ifindex
            }
            Verdict::Redirect => match egress(judged.egress_slot) {
                Some(egress) => egress.ifindex,
                None => {
                    judged.refuse(Reason::RedirectTarget);
                    return TC_ACT_SHOT;
                }
            },
        };
        self.set(judged.mark, judged.priority);
        redirect(ifindex)
    }
}
