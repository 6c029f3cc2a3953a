//! All that packets for a pool's target are sent with, kept by CPU and target: what the whole way found out once, for
//! the packets that follow, at XDP.
//!
//! Only the whole way in [`crate::pool`] decides. Of a pool that translates, the connection alone is kept in mind, in
//! the memo's line: what becomes of its packets is asked of that each time.

use crate::forward::{ETHERNET, Outer, count_down, put_ethernet, tells_flows, traffic_class};
use crate::frame::Bytes;
use crate::pipeline::Judged;
use crate::pool::{self, DIRECT, FOLLOWING, Forwarding};
use crate::{classify, maps, memo, scratch};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use gateway_common::abi::{Control, MemoLine, OuterEnds, PATH_GUE, PATH_IPV6, Path, Verdict};
use gateway_common::image::{Forward, HashOver, MAX_TARGETS, RouteEntry};
use gateway_common::packet::{Packet, flags};
use gateway_common::target::hash;

/// What [`gateway_keep_path`] says beside the slot: the route says nothing beyond its pool.
const ONLY: u32 = 1 << 31;
const _: () = assert!(MAX_TARGETS <= 1 << 16);

const SYN: u8 = 2;

/// The path to a target.
#[inline(always)]
pub fn path_to(cpu: u32, slot: u32) -> Option<*mut Path> {
    maps::PATHS.get_ptr_mut(cpu * MAX_TARGETS as u32 + (slot & (MAX_TARGETS as u32 - 1)))
}

/// Whether of this kind of packet every one of a flow has the same target and the same way.
#[inline(always)]
pub fn goes_with_its_flow(packet: &Packet) -> bool {
    packet.flags & (flags::FIRST_FRAGMENT | flags::LATER_FRAGMENT) == 0
        && packet.tcp_flags & SYN == 0
        && packet.ttl > 1
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
    if judged.pool == FOLLOWING || !goes_with_its_flow(&judged.packet) {
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
    path.ethernet_be = hop.ethernet_be;
    path.ends = OuterEnds::new(&forwarding.source, &forwarding.target, forwarding.port as u16);
    path.stamp = stamp;
    path.until = hop.until;
    path.ifindex = hop.ifindex;
    path.mtu = if hop.mtu == 0 || hop.mtu > u16::MAX as u32 { u16::MAX } else { hop.mtu as u16 };
    path.outer_length = forwarding.outer_length as u8;
    let ipv6 = if forwarding.family == 6 { PATH_IPV6 } else { 0 };
    let gue = if forwarding.forward == Forward::Gue as u32 { PATH_GUE } else { 0 };
    path.flags = hop.flags as u8 | ipv6 | gue;
    learned
}

/// Writes what the packet is sent in. The same as [`crate::forward`] does, of which it shares the
/// parts.
#[inline(always)]
pub fn write(context: *mut xdp_md, judged: &Judged, path: &Path) -> Option<()> {
    let packet = &judged.packet;
    let (l3_offset, outer_length) = (packet.l3_offset as u32, path.outer_length as u32);
    make_room(context, l3_offset, outer_length)?;
    let bytes = Bytes::of_xdp(context);
    count_down(&bytes, packet.family as u32, ETHERNET.wrapping_add(outer_length))?;
    if outer_length == 0 {
        return put_ethernet(&bytes, path.ethernet_be, packet.family as u32);
    }
    // A way of its own for each: what is known of it is then no question at every word.
    match (path.flags & PATH_IPV6 != 0, path.flags & PATH_GUE != 0) {
        (false, false) => wrap(&bytes, judged, path, 4, Forward::Ipip),
        (false, true) => wrap(&bytes, judged, path, 4, Forward::Gue),
        (true, false) => wrap(&bytes, judged, path, 6, Forward::Ipip),
        (true, true) => wrap(&bytes, judged, path, 6, Forward::Gue),
    }
}

/// Writes Ethernet's and the outer header, which has this family.
#[inline(always)]
fn wrap(bytes: &Bytes, judged: &Judged, path: &Path, family: u32, forward: Forward) -> Option<()> {
    put_ethernet(bytes, path.ethernet_be, family)?;
    let (packet, forward) = (&judged.packet, forward as u32);
    let inner = packet.end.wrapping_sub(packet.l3_offset as u32);
    let outer = Outer {
        ends: &path.ends,
        family,
        forward,
        flow_hash: if tells_flows(family, forward) { hash(HashOver::FiveTuple as u8, packet) } else { 0 },
        may_be_cut: false,
        length: inner.wrapping_add(path.outer_length as u32),
        carries: packet.family as u32,
        traffic_class: traffic_class(judged),
    };
    outer.write(bytes)
}

/// Takes tags off the frame, and makes room for an outer header.
#[inline(always)]
pub fn make_room(context: *mut xdp_md, l3_offset: u32, outer_length: u32) -> Option<()> {
    let more = l3_offset.wrapping_sub(ETHERNET).wrapping_sub(outer_length);
    // SAFETY: the program's own context; the packet pointers are read anew afterwards.
    if more != 0 && unsafe { bpf_xdp_adjust_head(context, more as i32) } != 0 {
        return None;
    }
    Some(())
}
