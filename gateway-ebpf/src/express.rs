//! The short way, at XDP: from the frame to its verdict, for packets of which nothing is to be decided.
//!
//! The memo's line says what becomes of a flow's packets: for a pool it names the target, of which [`crate::paths`]
//! holds all that is needed, or the connection, which says where they go. It is for what most packets are. What is
//! not like that (another protocol, a fragment, a packet without hops or too long for the way; one over a limit; a way
//! that is to be asked for again; a new policy) goes the whole way in [`crate::pipeline`], which alone decides, and of
//! which all this is the memory.
//!
//! That it is a way of its own and not the whole one with much left out is what makes it short: nearly every step of
//! that one puts questions to packets which these are not, and whoever forwards 64 bytes every 100 ns pays for each.

use crate::account::Account;
use crate::act::{XdpFrame, egress, gateway_checksum, leave};
use crate::admit::admit;
use crate::classify::{generation, variant};
use crate::forward::{ETHERNET, count_down, put_ethernet};
use crate::frame::{Bytes, Checked};
use crate::paths::{goes_with_its_flow, make_room, path_to, write};
use crate::pipeline::{Hook as _, Judged, MEMO_SEED, MEMO_SETS, jiffies};
use crate::police::DONE;
use crate::programs::interface;
use crate::rewrite::set_dscp;
use crate::translate::translate_frame;
use crate::{account, event, maps, memo, pool, scratch, track};
use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_redirect};
use gateway_common::abi::{
    ACTIVE_CHECKSUMS, CONTROL_FLOWS, COUNTER_DEFAULT, Control, EGRESS_XDP_FRAMES, Hook, INTERFACE_NATIVE,
    INTERFACE_TX_BY_REDIRECT, INTERFACE_TX_BY_TC, Interface, MEMO_CONNECTION, MEMO_EXTRA, MEMO_RETURNS,
    MEMO_TARGET, METADATA_MAGIC, MemoLine, Metadata, NEXT_HOP_XDP_FRAMES, NextHopState, UNSET, Verdict,
};
use gateway_common::packet::FlowKey;
use gateway_common::parse::{Frame, plain};
use gateway_common::reason::Reason;

/// What the short way says of a frame, for [`crate::programs::gateway_xdp_whole`].
#[derive(Clone, Copy)]
pub struct Said(pub u64);

/// It went the short way; the low bits are what the program returns.
const WENT: u64 = 1 << 63;
/// It is counted as received, under [`Judged::active`].
const OPENED: u64 = 1 << 62;
/// The packet is parsed, and its line in the memo is the one that the low bits tell.
const KNOWN: u64 = 1 << 61;
/// It was put to limits: [`Judged::left`] of them are left.
const POLICED: u64 = 1 << 60;

impl Said {
    /// The whole way is to be gone from its beginning.
    pub const NOTHING: Said = Said(0);

    /// What the program returns, if the frame went the short way.
    #[inline(always)]
    pub fn code(self) -> Option<u32> {
        if self.0 & WENT != 0 { Some(self.0 as u32) } else { None }
    }
    #[inline(always)]
    pub fn is_opened(self) -> bool {
        self.0 & OPENED != 0
    }
    #[inline(always)]
    pub fn is_known(self) -> bool {
        self.0 & KNOWN != 0
    }
    #[inline(always)]
    pub fn is_policed(self) -> bool {
        self.0 & POLICED != 0
    }
    /// Of a known one the line, for [`memo::again`].
    #[inline(always)]
    pub fn place(self) -> u32 {
        self.0 as u32
    }
}

/// A frame of which only the first buffer is read, and which is all in it.
struct FirstBuffer(Bytes);

impl Frame for FirstBuffer {
    type Header<const N: usize> = Checked<N>;

    #[inline(always)]
    fn header<const N: usize>(&self, offset: u32) -> Option<Checked<N>> {
        self.0.header(offset)
    }
    #[inline(always)]
    fn sum<const N: usize>(&self, offset: u32, sum: u32) -> Option<u32> {
        self.0.header::<N>(offset)?.sum(sum)
    }
    #[inline(always)]
    fn holds(&self, length: u32) -> bool {
        length <= self.0.len()
    }
    #[inline(always)]
    fn stripped_tag(&self) -> Option<u16> {
        None
    }
}

/// Where a frame came from, and when.
struct Arrived {
    context: *mut xdp_md,
    interface: Interface,
    cpu: u32,
    active: u64,
    jiffies: u64,
}

/// What became of a packet.
struct Outcome {
    verdict: Verdict,
    /// What the program returns; of a redirect it is for [`Arrived::send`] to find.
    code: u32,
    /// The interface that it leaves by, if it does.
    ifindex: u32,
    /// Counter slot.
    counter: u32,
}

/// Puts the frame to the short way: what the program returns, if that was the way to go. Else the scratch element holds
/// what is to be said of it.
#[inline(always)]
pub fn go(context: *mut xdp_md) -> Option<u32> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let judged = scratch::judged(cpu)?;
    let said = Said(express(context, cpu, judged).unwrap_or(Said::NOTHING.0));
    let code = said.code();
    if code.is_none() {
        judged.said = said.0;
    }
    code
}

/// Refuses a frame that would go the whole way where there is none, as one for which the policy's tables point outside
/// themselves, and counts it: what the program returns. Nothing where no policy is live.
#[inline(always)]
pub fn refuse(context: *mut xdp_md) -> Option<u32> {
    // SAFETY: the context that the kernel gave to the program, and a helper without arguments.
    let (ifindex, cpu) = unsafe { ((*context).ingress_ifindex, bpf_get_smp_processor_id()) };
    let judged = scratch::judged(cpu)?;
    if !Said(judged.said).is_opened() {
        return None;
    }
    let (slot, parity) = (interface(ifindex).slot as u32, Control::parity_of(judged.active));
    let account = Account::again(cpu, slot, Hook::Xdp as u32, parity)?;
    account.reason(Reason::PolicyFault.code() as u32, true);
    account.close(Verdict::Drop as u32, COUNTER_DEFAULT, XdpFrame::new(context).length(0));
    Some(xdp_action::XDP_DROP)
}

#[inline(always)]
fn express(context: *mut xdp_md, cpu: u32, judged: &mut Judged) -> Option<u64> {
    let control = maps::CONTROL.get_ptr(0)?;
    // SAFETY: the one element of CONTROL. Read once: a packet is judged by exactly one generation.
    let active = unsafe { core::ptr::read_volatile(&raw const (*control).active) };
    if active == 0 {
        return None;
    }
    // SAFETY: the same element; user space changes its words one at a time.
    let control: &Control = unsafe { &*control };
    // SAFETY: the context that the kernel gave to the program.
    let ifindex = unsafe { (*context).ingress_ifindex };
    let interface = interface(ifindex);
    let arrived = Arrived { context, interface, cpu, active, jiffies: jiffies() };
    judged.open(cpu, active);
    let account = Account::open(cpu, interface.slot as u32, Hook::Xdp as u32, Control::parity_of(active))?;
    if event::is_sampled(control, account.sequence, false) {
        return Some(OPENED);
    }
    Some(OPENED | judge(control, &arrived, &account, judged).unwrap_or(0))
}

#[inline(always)]
fn judge(control: &Control, arrived: &Arrived, account: &Account, judged: &mut Judged) -> Option<u64> {
    let (cpu, active) = (arrived.cpu, arrived.active);
    let bytes = Bytes::of_xdp(arrived.context);
    if !plain(&FirstBuffer(bytes), &mut judged.packet) {
        return None;
    }
    judged.length = bytes.len();
    let seed = MEMO_SEED.load();
    let key = FlowKey::new(arrived.interface.slot, &judged.packet, seed);
    let (place, line) = memo::at_hand(MEMO_SETS.load(), seed, key, cpu, &judged.packet)?;
    // SAFETY: a line of a live element of MEMO, written on this CPU only.
    let decided = unsafe { &*line };
    if !memo::holds(decided, Control::stamp_of(active), variant(judged)?, arrived.jiffies) {
        return None;
    }
    // What the memo does not know is verified on the whole way.
    if active & ACTIVE_CHECKSUMS != 0 && gateway_checksum(arrived.context, cpu) != 0 {
        return None;
    }
    let mut known = KNOWN | place as u64;
    if decided.decision & (MEMO_EXTRA | MEMO_RETURNS) == MEMO_EXTRA {
        judged.left = admit(control, decided.route as u32, judged);
        known |= POLICED;
        if judged.left != DONE || judged.proxy != 0 {
            return Some(known);
        }
    }
    let Some(outcome) = outcome(control, arrived, account, judged, decided) else { return Some(known) };
    if control.flags & CONTROL_FLOWS != 0 {
        memo::account(line, judged.length, judged.packet.tcp_flags, arrived.jiffies as u32);
    }
    account.close(outcome.verdict as u32, outcome.counter, judged.length);
    Some(WENT | arrived.send(&outcome) as u64)
}

/// Does what the line says; nothing where that takes more. A DSCP may be written by then, which the whole way writes
/// again.
#[inline(always)]
fn outcome(
    control: &Control,
    arrived: &Arrived,
    account: &Account,
    judged: &mut Judged,
    line: &MemoLine,
) -> Option<Outcome> {
    if line.decision & (MEMO_TARGET | MEMO_CONNECTION) == 0 {
        // Who comes to its pool for the first time, or is a target, has more to be asked.
        if judged.pool | line.decision & MEMO_RETURNS != 0 {
            return None;
        }
        return by_verdict(control, arrived, account, judged, line);
    }
    if !goes_with_its_flow(&judged.packet) {
        return None;
    }
    if line.decision & MEMO_TARGET != 0 {
        by_path(arrived, judged, line)
    } else {
        by_connection(control, arrived, judged, line)
    }
}

impl Arrived {
    /// What the program returns.
    #[inline(always)]
    fn send(&self, outcome: &Outcome) -> u32 {
        let verdict = outcome.verdict as u32;
        let sent_back = verdict == Verdict::Tx as u32 && self.interface.flags & INTERFACE_TX_BY_REDIRECT == 0;
        if verdict <= Verdict::Drop as u32 || sent_back {
            return outcome.code;
        }
        // SAFETY: a helper that takes plain numbers.
        unsafe { bpf_redirect(outcome.ifindex, 0) as u32 }
    }

    /// The verdict on a packet that leaves by an interface; nothing where it would have to go by tc.
    #[inline(always)]
    fn verdict(&self, ifindex: u32, takes_xdp_frames: bool) -> Option<Verdict> {
        if ifindex == self.interface.ifindex {
            return if self.interface.flags & INTERFACE_TX_BY_TC == 0 { Some(Verdict::Tx) } else { None };
        }
        if self.takes(takes_xdp_frames) { Some(Verdict::Redirect) } else { None }
    }

    /// Writes the DSCP that the route asks for; the headers stand where they stood.
    #[inline(always)]
    fn dress(&self, judged: &Judged) {
        if judged.dscp != 0 {
            set_dscp(&Bytes::of_xdp(self.context), &judged.packet, judged.dscp as u8 & !3);
        }
    }

    /// Whether it can be redirected to an interface that takes XDP frames, or does not.
    #[inline(always)]
    fn takes(&self, takes_xdp_frames: bool) -> bool {
        self.interface.flags & INTERFACE_NATIVE == 0 || takes_xdp_frames
    }
}

/// A packet that its route passes, redirects or drops.
#[inline(always)]
fn by_verdict(
    control: &Control,
    arrived: &Arrived,
    account: &Account,
    judged: &Judged,
    line: &MemoLine,
) -> Option<Outcome> {
    let (counter, detail) = (line.counter(), line.detail as u32);
    if line.verdict() == Verdict::Pass as u8 {
        if line.mark != UNSET || line.priority != UNSET {
            let metadata = Metadata {
                counter,
                generation: generation(arrived.active),
                reserved: [0; 2],
                magic: METADATA_MAGIC,
                mark: line.mark,
                priority: line.priority,
                redirect: 0,
            };
            if !leave(arrived.context, metadata) {
                return None;
            }
        }
        arrived.dress(judged);
        return Some(Outcome { verdict: Verdict::Pass, code: xdp_action::XDP_PASS, ifindex: 0, counter });
    }
    if line.verdict() == Verdict::Redirect as u8 {
        let egress = egress(detail).filter(|egress| arrived.takes(egress.flags & EGRESS_XDP_FRAMES != 0))?;
        arrived.dress(judged);
        return Some(Outcome { verdict: Verdict::Redirect, code: 0, ifindex: egress.ifindex, counter });
    }
    if line.verdict() != Verdict::Drop as u8 || event::is_sampled(control, account.sequence, true) {
        return None;
    }
    account.reason(detail, true);
    Some(Outcome { verdict: Verdict::Drop, code: xdp_action::XDP_DROP, ifindex: 0, counter })
}

/// Sends a packet to the target that its flow has.
#[inline(always)]
fn by_path(arrived: &Arrived, judged: &Judged, line: &MemoLine) -> Option<Outcome> {
    let (cpu, slot, packet) = (arrived.cpu, line.until as u32, &judged.packet);
    // SAFETY: a live element of PATHS, written on this CPU only, and not while this is held.
    let path = unsafe { &*path_to(cpu, slot)? };
    let segment = packet.end.wrapping_sub(packet.l3_offset as u32);
    if !path.holds(arrived.jiffies as u32, Control::stamp_of(arrived.active))
        || segment.wrapping_add(path.outer_length as u32) > path.mtu as u32
    {
        return None;
    }
    let verdict = arrived.verdict(path.ifindex, path.flags as u32 & NEXT_HOP_XDP_FRAMES != 0)?;
    arrived.dress(judged);
    write(arrived.context, judged, path)?;
    account::target(cpu, slot, judged.length);
    Some(Outcome { verdict, code: xdp_action::XDP_TX, ifindex: path.ifindex, counter: line.counter() })
}

/// Sends a packet on in the connection of its flow.
#[inline(always)]
fn by_connection(
    control: &Control,
    arrived: &Arrived,
    judged: &mut Judged,
    line: &MemoLine,
) -> Option<Outcome> {
    let (cpu, packet, returns) = (arrived.cpu, &judged.packet, line.decision & MEMO_RETURNS != 0);
    let connection = track::going_on(control, line.priority.wrapping_sub(1), packet, returns)?;
    let ends = connection.ends();
    let hop = pool::next_hop(cpu, connection.hop())?;
    let is_known = hop.address[0] == ends.target[0]
        && hop.address[1] == ends.target[1]
        && hop.family == connection.family()
        && hop.holds(arrived.jiffies as u32)
        && hop.state == NextHopState::Reachable as u32;
    let segment = packet.end.wrapping_sub(packet.l3_offset as u32);
    if !is_known || hop.mtu != 0 && segment > hop.mtu {
        return None;
    }
    let verdict = arrived.verdict(hop.ifindex, hop.flags & NEXT_HOP_XDP_FRAMES != 0)?;
    arrived.dress(judged);
    make_room(arrived.context, packet.l3_offset as u32, 0)?;
    let bytes = Bytes::of_xdp(arrived.context);
    let l4_offset = (packet.l4_offset.wrapping_sub(packet.l3_offset) as u32).wrapping_add(ETHERNET);
    count_down(&bytes, packet.family as u32, ETHERNET)?;
    translate_frame(&bytes, packet, (ETHERNET, l4_offset), &ends)?;
    put_ethernet(&bytes, hop.ethernet_be, packet.family as u32)?;
    let slot = connection.slot();
    let counter = if returns { connection.counter() } else { line.counter() };
    connection.follow(control, judged);
    if returns {
        account::target_returned(cpu, slot, judged.length);
    } else {
        account::target(cpu, slot, judged.length);
    }
    Some(Outcome { verdict, code: xdp_action::XDP_TX, ifindex: hop.ifindex, counter })
}
