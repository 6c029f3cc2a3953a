//! The only writer of packets, and the only place where a verdict becomes `XDP_*` or `TC_ACT_*`.

use crate::account::telemetry;
use crate::frame::{Bytes, Checked};
use crate::maps;
use crate::pipeline::{Hook, Judged};
use core::arch::asm;
use core::mem::offset_of;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action, xdp_md};
use aya_ebpf::helpers::{
    bpf_get_smp_processor_id, bpf_redirect, bpf_skb_pull_data, bpf_xdp_adjust_meta, bpf_xdp_get_buff_len,
};
use gateway_common::abi::{
    EGRESS_XDP_FRAMES, Egress, INTERFACE_NATIVE, INTERFACE_TX_BY_REDIRECT, INTERFACE_TX_BY_TC, Interface,
    METADATA_MAGIC, METADATA_SHIFT, Metadata, Telemetry, UNSET, Verdict,
};
use gateway_common::parse::Frame;
use gateway_common::reason::Reason;

/// Bytes of a non-linear skb that are made readable: more than any header chain but absurd ones.
const PULL: u32 = 512;

/// A frame at the XDP hook.
pub struct XdpFrame {
    context: *mut xdp_md,
    bytes: Bytes,
}

impl XdpFrame {
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> XdpFrame {
        XdpFrame { context, bytes: Self::bytes(context) }
    }

    #[inline(always)]
    fn bytes(context: *mut xdp_md) -> Bytes {
        // SAFETY: the context that the kernel gave to the program. Volatile, so that each caller
        // gets pointers of its own and none is kept alive from the parser to the verdict.
        let (data, end) = unsafe {
            (
                core::ptr::read_volatile(&raw const (*context).data),
                core::ptr::read_volatile(&raw const (*context).data_end),
            )
        };
        Bytes::new(data as usize, end as usize)
    }

    /// Leaves word for the tc program in front of the frame.
    #[inline(always)]
    fn leave(&self, judged: &Judged<'_>, generation: u32, redirect_ifindex: u32) -> bool {
        // SAFETY: the program's own context; room is made in front of the frame.
        if unsafe { bpf_xdp_adjust_meta(self.context, -(size_of::<Metadata>() as i32)) } != 0 {
            return false;
        }
        // SAFETY: the context again, whose pointers the helper has moved.
        let (meta, data) = unsafe { ((*self.context).data_meta as usize, (*self.context).data as usize) };
        if meta + size_of::<Metadata>() > data {
            return false;
        }
        let metadata = Metadata {
            redirect_ifindex,
            generation,
            reserved: [0; 2],
            magic: METADATA_MAGIC,
            mark: judged.mark,
            priority: judged.priority,
            counter: judged.counter,
        };
        // SAFETY: the comparison above shows room for all of it, and metadata is 4-byte aligned.
        unsafe { *(meta as *mut Metadata) = metadata };
        true
    }

    /// Passes the frame with an order for tc to send it out.
    #[inline(always)]
    fn send_by_tc(&self, ifindex: u32, generation: u32, judged: &mut Judged<'_>) -> u32 {
        if self.leave(judged, generation, ifindex) {
            return xdp_action::XDP_PASS;
        }
        no_metadata();
        self.refuse(judged)
    }

    #[inline(always)]
    fn refuse(&self, judged: &mut Judged<'_>) -> u32 {
        judged.verdict = Verdict::Drop;
        judged.reason = Reason::RedirectTarget.code();
        xdp_action::XDP_DROP
    }
}

#[inline(always)]
fn no_metadata() {
    // SAFETY: a helper without arguments.
    telemetry(unsafe { bpf_get_smp_processor_id() }, Telemetry::MetadataRefused, 1);
}

/// Where a redirect goes, if the interface is there.
#[inline(always)]
fn egress(slot: u8) -> Option<Egress> {
    maps::EGRESS.get(slot as u32).copied().filter(|egress| egress.ifindex != 0)
}

impl Frame for XdpFrame {
    type Header<const N: usize> = Checked<N>;

    #[inline(always)]
    fn header<const N: usize>(&self, offset: u32) -> Option<Checked<N>> {
        self.bytes.header(offset)
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
    fn length(&self, end: u32) -> u32 {
        // A frame in several buffers carries a packet longer than the first of them; for all
        // others the helper's call is spared.
        let first = Self::bytes(self.context).len();
        if end != 0 && end <= first {
            return first;
        }
        // SAFETY: the program's own context.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn act(&self, interface: &Interface, generation: u32, judged: &mut Judged<'_>) -> u32 {
        match judged.verdict {
            Verdict::Drop => xdp_action::XDP_DROP,
            Verdict::Pass => {
                if (judged.mark != UNSET || judged.priority != UNSET) && !self.leave(judged, generation, 0) {
                    no_metadata();
                }
                xdp_action::XDP_PASS
            }
            Verdict::Tx => {
                if let Some(ethernet) = Self::bytes(self.context).header::<14>(0) {
                    ethernet.swap_ethernet_addresses();
                }
                if interface.flags & INTERFACE_TX_BY_TC != 0 {
                    return self.send_by_tc(interface.ifindex, generation, judged);
                }
                if interface.flags & INTERFACE_TX_BY_REDIRECT != 0 {
                    // SAFETY: a helper that takes plain numbers.
                    return unsafe { bpf_redirect(interface.ifindex, 0) as u32 };
                }
                xdp_action::XDP_TX
            }
            Verdict::Redirect => {
                let Some(egress) = egress(judged.egress_slot) else {
                    return self.refuse(judged);
                };
                if interface.flags & INTERFACE_NATIVE != 0 && egress.flags & EGRESS_XDP_FRAMES == 0 {
                    return self.send_by_tc(egress.ifindex, generation, judged);
                }
                // SAFETY: a helper that takes plain numbers.
                unsafe { bpf_redirect(egress.ifindex, 0) as u32 }
            }
        }
    }
}

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
        if Self::bytes(context).len() < wanted {
            // SAFETY: the program's own context; the packet pointers are read anew below. A failure
            // leaves the linear part as it was, and parsing says what is missing.
            unsafe { bpf_skb_pull_data(context, wanted) };
        }
        SkbFrame { context, bytes: Self::bytes(context) }
    }

    #[inline(always)]
    fn bytes(context: *mut __sk_buff) -> Bytes {
        // SAFETY: the context that the kernel gave to the program. Volatile: see `XdpFrame::bytes`.
        let (data, end) = unsafe {
            (
                core::ptr::read_volatile(&raw const (*context).data),
                core::ptr::read_volatile(&raw const (*context).data_end),
            )
        };
        Bytes::new(data as usize, end as usize)
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
    let (magic, redirect_ifindex) = if unsafe { load(magic) } == METADATA_MAGIC {
        // SAFETY: as above.
        (magic, unsafe { load(meta + offset_of!(Metadata, redirect_ifindex)) })
    } else {
        (magic - METADATA_SHIFT, 0)
    };
    // SAFETY: as above; three words from there on are within it.
    let (seen, mark, priority) = unsafe { (load(magic), load(magic + 4), load(magic + 8)) };
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
    if redirect_ifindex != 0 {
        // SAFETY: a helper that takes plain numbers.
        return Some(unsafe { bpf_redirect(redirect_ifindex, 0) as i32 });
    }
    Some(TC_ACT_UNSPEC)
}

impl Frame for SkbFrame {
    type Header<const N: usize> = Checked<N>;

    #[inline(always)]
    fn header<const N: usize>(&self, offset: u32) -> Option<Checked<N>> {
        self.bytes.header(offset)
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

    #[inline(always)]
    fn length(&self, _end: u32) -> u32 {
        // SAFETY: the context that the kernel gave to the program.
        unsafe { (*self.context).len }
    }

    #[inline(always)]
    fn act(&self, interface: &Interface, _generation: u32, judged: &mut Judged<'_>) -> i32 {
        let ifindex = match judged.verdict {
            Verdict::Drop => return TC_ACT_SHOT,
            Verdict::Pass => {
                self.set(judged.mark, judged.priority);
                return TC_ACT_UNSPEC;
            }
            Verdict::Tx => {
                if let Some(ethernet) = Self::bytes(self.context).header::<14>(0) {
                    ethernet.swap_ethernet_addresses();
                }
                interface.ifindex
            }
            Verdict::Redirect => match egress(judged.egress_slot) {
                Some(egress) => egress.ifindex,
                None => {
                    judged.verdict = Verdict::Drop;
                    judged.reason = Reason::RedirectTarget.code();
                    return TC_ACT_SHOT;
                }
            },
        };
        self.set(judged.mark, judged.priority);
        // SAFETY: a helper that takes plain numbers.
        unsafe { bpf_redirect(ifindex, 0) as i32 }
    }
}
