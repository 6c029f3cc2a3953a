//! The short way of packets of pools, at XDP: from the frame to its verdict, for those of which nothing is to be decided.
//!
//! The memo's line names the target, and a line of [`maps::PATHS`] holds all that its packets are sent with; or it names
//! the connection, which says where the packet goes. It is for what most packets are. What is not like that (a SYN, a
//! fragment, a packet without hops or too long for the way; a way that is to be asked for again; a new policy) goes the
//! whole way in [`crate::pipeline`] and [`crate::pool`], which alone decide, and of which this is the memory.
//!
//! That it is a way of its own and not the whole one with much left out is what makes it short: nearly every step of
//! that one puts questions to packets which these are not, and whoever forwards 64 bytes every 100 ns pays for each.

use crate::forward::{ETHERNET, Outer, count_down, put_ethernet, tells_flows};
use crate::frame::{Bytes, Checked};
use crate::pipeline::{Judged, MEMO_SEED, MEMO_SETS, jiffies};
use crate::pool::{self, DIRECT, FOLLOWING, Forwarding};
use crate::translate::translate_frame;
use crate::{account, classify, maps, memo, scratch, track};
use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head};
use gateway_common::abi::{
    ACTIVE_CHECKSUMS, ACTIVE_VARIANTS, CONTROL_FLOWS, Control, INTERFACE_NATIVE, INTERFACE_TX_BY_REDIRECT,
    INTERFACE_TX_BY_TC, Interface, MEMO_CONNECTION, MEMO_COUNTER, MEMO_EXTRA, MEMO_RETURNS, MEMO_TARGET,
    MemoLine, NEXT_HOP_XDP_FRAMES, NextHopState, Path, Verdict,
};
use gateway_common::image::{Forward, HashOver, MAX_TARGETS, RouteEntry};
use gateway_common::packet::{FlowKey, Packet, flags, set_address};
use gateway_common::parse::{Frame, plain};
use gateway_common::target::hash;

/// In [`Judged::pool`]: the packet is sent by the [`Path`] of [`Judged::target`].
pub const EXPRESS: u32 = FOLLOWING - 1;

/// What [`gateway_keep_path`] says beside the slot: the route says nothing beyond its pool.
const ONLY: u32 = 1 << 31;
const _: () = assert!(MAX_TARGETS <= 1 << 16);

const SYN: u8 = 2;

/// The path to a target.
#[inline(always)]
fn path_to(cpu: u32, slot: u32) -> Option<*mut Path> {
    maps::PATHS.get_ptr_mut(cpu * MAX_TARGETS as u32 + (slot & (MAX_TARGETS as u32 - 1)))
}

/// The path to the packet's target.
#[inline(always)]
pub fn path(judged: &Judged) -> Option<&'static Path> {
    // SAFETY: a live element of PATHS, written on this CPU only, and not while this is held.
    path_to(judged.cpu, judged.target).map(|path| unsafe { &*path })
}

/// Whether of this kind of packet every one of a flow has the same target and the same way.
#[inline(always)]
fn is_plain(packet: &Packet) -> bool {
    packet.flags & (flags::FIRST_FRAGMENT | flags::LATER_FRAGMENT) == 0
        && packet.tcp_flags & SYN == 0
        && packet.ttl > 1
}

/// Whether the packet, whose flow has a target but whose route says more, can be sent by its path. `segment` is the longest IP packet in
/// it, bytes.
#[inline(always)]
pub fn holds(judged: &Judged, segment: u32) -> bool {
    let Some(path) = path(judged) else { return false };
    is_plain(&judged.packet)
        && path.holds(jiffies() as u32, Control::stamp_of(judged.active))
        && segment.wrapping_add(path.outer_length as u32) <= path.mtu as u32
}

/// Puts the packet to its path, if nothing has answered or dropped it.
#[inline(always)]
pub fn run(interface: &Interface, judged: &mut Judged) {
    if judged.verdict != Verdict::Redirect as u32 {
        judged.pool = 0;
        return;
    }
    judged.pool = EXPRESS;
    if path(judged).is_some_and(|path| path.ifindex == interface.ifindex) {
        judged.verdict = Verdict::Tx as u32;
    }
}

/// Keeps in mind how this packet went the whole way, for those that follow.
#[inline(always)]
pub fn learn(line: *mut MemoLine, judged: &Judged, forwarding: &Forwarding) {
    let is_sent = judged.verdict == Verdict::Tx as u32 || judged.verdict == Verdict::Redirect as u32;
    if !is_sent || line.is_null() {
        return;
    }
    let stamp = Control::stamp_of(judged.active);
    if judged.connection != 0 {
        // An ICMP error that is nobody's has a connection of its own, but is looked at each time.
        if judged.packet.flags & flags::HAS_PORTS != 0 && memo::is_news(line, stamp, judged.connection) {
            memo::know(line, judged.connection, gateway_is_only_pool(judged.cpu) != 0);
        }
        return;
    }
    if judged.pool == FOLLOWING || !is_plain(&judged.packet) {
        return;
    }
    if forwarding.forward == Forward::Dnat as u32 || forwarding.way != DIRECT {
        return;
    }
    let learned = gateway_keep_path(judged.cpu);
    if learned != 0 {
        memo::aim(line, stamp, learned, learned & ONLY != 0);
    }
}

/// Has the way to a target looked at again by the next packet.
#[inline(always)]
pub fn forget(cpu: u32, slot: u32) {
    if let Some(path) = path_to(cpu, slot) {
        // SAFETY: a live element of PATHS, written on this CPU only.
        unsafe { (*path).stamp = 0 };
    }
}

/// Whether a route that forwards to a pool says nothing beyond that.
#[inline(always)]
fn is_only_pool(route: &RouteEntry) -> bool {
    route.limits[0] | route.syn_cookies | route.dscp as u16 == 0
}

/// 1 if the route of the packet that this CPU judges says nothing beyond its pool. A global function, see
/// [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_is_only_pool(cpu: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return 0 };
    classify::entry(judged, judged.route).is_some_and(is_only_pool) as u32
}

/// Writes the path that this CPU's packet goes: its target's slot, with [`ONLY`], or 0 where there is none. A
/// global function, see [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_keep_path(cpu: u32) -> u32 {
    let Some((judged, forwarding)) = scratch::forwarding(cpu) else { return 0 };
    let (Some(hop), Some(path)) = (pool::next_hop(cpu, forwarding.hop), path_to(cpu, forwarding.slot)) else {
        return 0;
    };
    let Some(route) = classify::entry(judged, judged.route) else { return 0 };
    // SAFETY: a live element of PATHS, written on this CPU only.
    let path = unsafe { &mut *path };
    let learned = if is_only_pool(route) { forwarding.slot | ONLY } else { forwarding.slot };
    let stamp = Control::stamp_of(judged.active);
    if path.stamp == stamp && path.until == hop.until {
        return learned;
    }
    set_address(&mut path.source, &forwarding.source);
    set_address(&mut path.target, &forwarding.target);
    path.ethernet = hop.ethernet;
    path.stamp = stamp;
    path.until = hop.until;
    path.ifindex = hop.ifindex;
    path.mtu = if hop.mtu == 0 || hop.mtu > u16::MAX as u32 { u16::MAX } else { hop.mtu as u16 };
    path.port = forwarding.port as u16;
    path.forward = forwarding.forward as u8;
    path.family = forwarding.family as u8;
    path.outer_length = forwarding.outer_length as u8;
    path.flags = hop.flags as u8;
    learned
}

/// Writes what a packet of this traffic class is sent in. The same as [`crate::forward`] does, of which it shares the
/// parts.
#[inline(always)]
pub fn write(context: *mut xdp_md, packet: &Packet, traffic_class: u32, path: &Path) -> Option<()> {
    let (l3_offset, outer_length) = (packet.l3_offset as u32, path.outer_length as u32);
    make_room(context, l3_offset, outer_length)?;
    let bytes = Bytes::of_xdp(context);
    count_down(&bytes, packet.family as u32, ETHERNET.wrapping_add(outer_length))?;
    if outer_length == 0 {
        return put_ethernet(&bytes, path.ethernet, packet.family as u32);
    }
    let (family, forward) = (path.family as u32, path.forward as u32);
    put_ethernet(&bytes, path.ethernet, family)?;
    let outer = Outer {
        source: &path.source,
        target: &path.target,
        family,
        forward,
        port: path.port as u32,
        flow_hash: if tells_flows(family, forward) { hash(HashOver::FiveTuple as u8, packet) } else { 0 },
        may_be_cut: false,
        length: packet.end.wrapping_sub(l3_offset).wrapping_add(outer_length),
        carries: packet.family as u32,
        traffic_class,
    };
    outer.write(&bytes)
}

/// Takes tags off the frame, and makes room for an outer header.
#[inline(always)]
fn make_room(context: *mut xdp_md, l3_offset: u32, outer_length: u32) -> Option<()> {
    let more = l3_offset.wrapping_sub(ETHERNET).wrapping_sub(outer_length);
    // SAFETY: the program's own context; the packet pointers are read anew afterwards.
    if more != 0 && unsafe { bpf_xdp_adjust_head(context, more as i32) } != 0 {
        return None;
    }
    Some(())
}

/// What [`gateway_express`] says of a frame.
#[derive(Clone, Copy)]
pub struct Said(pub u64);

/// It was sent, and is to be counted: counter slot in the low 24 bits, above them verdict and `XDP_*` code, and from
/// bit 32 on the frame's length.
const SENT: u64 = 1 << 63;
/// The packet is parsed and recalled, and its line in the memo is the one that the low bits tell.
const KNOWN: u64 = 1 << 62;

impl Said {
    /// The whole way is to be gone.
    pub const NOTHING: Said = Said(0);

    #[inline(always)]
    pub fn is_sent(self) -> bool {
        self.0 & SENT != 0
    }
    #[inline(always)]
    pub fn is_known(self) -> bool {
        self.0 & KNOWN != 0
    }
    /// Of a known one the line, for [`memo::again`].
    #[inline(always)]
    pub fn place(self) -> u32 {
        self.0 as u32
    }
    #[inline(always)]
    pub fn counter(self) -> u32 {
        self.0 as u32 & MEMO_COUNTER
    }
    #[inline(always)]
    pub fn verdict(self) -> u32 {
        (self.0 >> 24) as u32 & 3
    }
    /// What the program returns.
    #[inline(always)]
    pub fn code(self) -> u32 {
        (self.0 >> 26) as u32 & 7
    }
    /// Bytes.
    #[inline(always)]
    pub fn length(self) -> u32 {
        (self.0 >> 32) as u32 & 0xff_ffff
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
    cpu: u32,
    ifindex: u32,
    /// Of the interface.
    flags: u16,
    active: u64,
    jiffies: u64,
}

/// How a packet left.
struct Sent {
    ifindex: u32,
    verdict: Verdict,
    counter: u32,
}

/// Whether packets can go the short way under a policy: what is asked of each of them is all in the memo's key.
#[inline(always)]
pub const fn is_open(active: u64) -> bool {
    active != 0 && active & (ACTIVE_VARIANTS | ACTIVE_CHECKSUMS) == 0
}

/// Sends the frame, if its flow and the way are known: see [`Said`]. `arrived` is the slot of the interface, and above
/// 16 bits its flags. A global function, see [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_express(
    context: *mut xdp_md,
    cpu: u32,
    ifindex: u32,
    arrived: u32,
    active: u64,
) -> u64 {
    let arrived_on =
        Arrived { context, cpu, ifindex, flags: (arrived >> 16) as u16, active, jiffies: jiffies() };
    express(&arrived_on, arrived as u16).unwrap_or(0)
}

#[inline(always)]
fn express(arrived: &Arrived, slot: u16) -> Option<u64> {
    let judged = scratch::judged(arrived.cpu)?;
    judged.open(arrived.cpu, arrived.active);
    let bytes = Bytes::of_xdp(arrived.context);
    if !plain(&FirstBuffer(bytes), &mut judged.packet) {
        return None;
    }
    let length = bytes.len();
    let packet = &judged.packet;
    let seed = MEMO_SEED.load();
    let key = FlowKey::new(slot, packet, seed);
    let (place, line) = memo::at_hand(MEMO_SETS.load(), seed, key, arrived.cpu, packet)?;
    // SAFETY: a line of a live element of MEMO, written on this CPU only.
    let decided = unsafe { &*line };
    if !memo::holds(decided, Control::stamp_of(arrived.active), 0, arrived.jiffies) {
        return None;
    }
    let sent = if !is_plain(packet) {
        None
    } else if decided.decision & (MEMO_TARGET | MEMO_EXTRA) == MEMO_TARGET {
        by_path(arrived, packet, decided, length)
    } else if decided.decision & MEMO_CONNECTION != 0
        && decided.decision & (MEMO_EXTRA | MEMO_RETURNS) != MEMO_EXTRA
    {
        by_connection(arrived, packet, decided, length)
    } else {
        None
    };
    let Some(sent) = sent else {
        judged.recall(decided);
        return Some(KNOWN | place as u64);
    };
    if maps::CONTROL.get(0)?.flags & CONTROL_FLOWS != 0 {
        memo::account(line, length, packet.tcp_flags, arrived.jiffies as u32);
    }
    let is_back = sent.verdict as u32 == Verdict::Tx as u32;
    let code = if is_back && arrived.flags & INTERFACE_TX_BY_REDIRECT == 0 {
        xdp_action::XDP_TX
    } else {
        // SAFETY: a helper that takes plain numbers.
        unsafe { bpf_redirect(sent.ifindex, 0) as u32 }
    };
    let said = sent.counter as u64 | (sent.verdict as u64) << 24 | (code as u64 & 7) << 26;
    Some(SENT | said | (length as u64) << 32)
}

impl Arrived {
    /// The verdict on a packet that leaves by an interface; nothing where it would have to go by tc.
    #[inline(always)]
    fn verdict(&self, ifindex: u32, takes_xdp_frames: bool) -> Option<Verdict> {
        if ifindex == self.ifindex {
            return if self.flags & INTERFACE_TX_BY_TC == 0 { Some(Verdict::Tx) } else { None };
        }
        if self.flags & INTERFACE_NATIVE == 0 || takes_xdp_frames { Some(Verdict::Redirect) } else { None }
    }
}

/// Sends a packet to the target that its flow has.
#[inline(always)]
fn by_path(arrived: &Arrived, packet: &Packet, line: &MemoLine, length: u32) -> Option<Sent> {
    let (cpu, slot) = (arrived.cpu, line.until as u32);
    // SAFETY: a live element of PATHS, written on this CPU only, and not while this is held.
    let path = unsafe { &*path_to(cpu, slot)? };
    let segment = packet.end.wrapping_sub(packet.l3_offset as u32);
    if !path.holds(arrived.jiffies as u32, Control::stamp_of(arrived.active))
        || segment.wrapping_add(path.outer_length as u32) > path.mtu as u32
    {
        return None;
    }
    let verdict = arrived.verdict(path.ifindex, path.flags as u32 & NEXT_HOP_XDP_FRAMES != 0)?;
    write(arrived.context, packet, packet.traffic_class as u32, path)?;
    account::target(cpu, slot, length);
    Some(Sent { ifindex: path.ifindex, verdict, counter: line.counter() })
}

/// Sends a packet on in the connection of its flow.
#[inline(always)]
fn by_connection(arrived: &Arrived, packet: &Packet, line: &MemoLine, length: u32) -> Option<Sent> {
    let (cpu, returns) = (arrived.cpu, line.decision & MEMO_RETURNS != 0);
    let connection = track::going_on(line.priority.wrapping_sub(1), packet, returns)?;
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
    make_room(arrived.context, packet.l3_offset as u32, 0)?;
    let bytes = Bytes::of_xdp(arrived.context);
    let l4_offset = (packet.l4_offset.wrapping_sub(packet.l3_offset) as u32).wrapping_add(ETHERNET);
    count_down(&bytes, packet.family as u32, ETHERNET)?;
    translate_frame(&bytes, packet, (ETHERNET, l4_offset), &ends)?;
    put_ethernet(&bytes, hop.ethernet, packet.family as u32)?;
    let slot = connection.slot();
    let counter = if returns { connection.counter() } else { line.counter() };
    connection.follow(packet, length);
    if returns {
        account::target_returned(cpu, slot, length);
    } else {
        account::target(cpu, slot, length);
    }
    Some(Sent { ifindex: hop.ifindex, verdict, counter })
}
