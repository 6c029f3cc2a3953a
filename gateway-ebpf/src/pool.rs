//! The target that a packet of a pool goes to, and the way there.
//!
//! Asking the kernel's routing and neighbour tables (`bpf_fib_lookup`) costs more than all the rest, so
//! each CPU remembers the answer for [`gateway_common::abi::NEXT_HOP_EVERY_NS`]: that much later than the kernel itself a pool
//! sees a route or a neighbour change.

use crate::classify;
use crate::forward::may_be_cut;
use crate::fragments;
use crate::health::{self, gateway_admitted};
use crate::maps;
use crate::owner;
use crate::pipeline::{Hook, Judged};
use crate::scratch;
use crate::track::{FOLLOWS, gateway_open, gateway_track};
use aya_ebpf::helpers::bpf_jiffies64;
use bytemuck::{Pod, Zeroable};
use gateway_common::abi::{Control, HOPS, Interface, NextHop, NextHopState, Verdict};
use gateway_common::fragment;
use gateway_common::hash::{finish, fold};
use gateway_common::icmp_error::told_mtu;
use gateway_common::image::{Forward, HashOver, MAX_TARGETS, POOL_HEALTH, PoolEntry, TargetEntry};
use gateway_common::packet::{Packet, protocol, set_address};
use gateway_common::reason::Reason;
use gateway_common::target::{element, hash};

/// What is known of where a packet goes. It lies in a map, see [`crate::scratch`]; [`gateway_target`] writes
/// all of it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Forwarding {
    /// The target's address.
    pub target: [u64; 2],
    /// Source of the outer header.
    pub source: [u64; 2],
    /// The packet's hash over addresses, protocol and ports.
    pub flow_hash: u64,
    /// The target's slot, below [`MAX_TARGETS`].
    pub slot: u32,
    /// Family of the target's address, 4 or 6.
    pub family: u32,
    /// [`Forward`].
    pub forward: u32,
    /// UDP destination port of [`Forward::Gue`].
    pub port: u32,
    /// Bytes that are put in front of the IP packet.
    pub outer_length: u32,
    /// How it is sent: [`DIRECT`], [`BY_NEIGHBOUR`], [`BY_STACK`].
    pub way: u32,
    /// Element of [`maps::NEXT_HOPS`] within this CPU's part, below [`HOPS`].
    pub hop: u32,
    /// Of [`Forward::Dnat`]: the ports that it leaves with, `source << 16 | destination`.
    pub ports: u32,
    /// As [`PoolEntry::mss`].
    pub mss: u32,
    /// 1: the packet is an ICMP error, and what it quotes is translated with it.
    pub related: u32,
    /// `struct bpf_fib_lookup` of linux/bpf.h: family and protocols, ports and length, interface, type of
    /// service, four words of source and four of destination, VLAN, and two link-layer addresses.
    pub fib: [u32; 16],
}

const _: () = assert!(size_of::<Forwarding>() == 144);

impl Forwarding {
    /// Whether the packet goes to a connection's client.
    #[inline(always)]
    pub fn is_to_client(&self) -> bool {
        self.hop >= MAX_TARGETS as u32
    }
}

/// Sent with the link-layer addresses that are known.
pub const DIRECT: u32 = 0;
/// Sent by tc, for which the kernel finds the neighbour, and waits for it.
pub const BY_NEIGHBOUR: u32 = 1;
/// Goes up the stack, which cuts it into fragments.
pub const BY_STACK: u32 = 2;

/// The target is chosen and the way there known.
pub const CHOSEN: u32 = 0;
/// The target is chosen, the way is to be asked for.
const ASK: u32 = 1;
/// The pool translates, and the packet's connection says where it goes.
const TRACKS: u32 = 2;
/// It cannot be sent: below it stands the [`Reason`].
const REFUSED: u32 = 1 << 8;
/// The tables point outside themselves.
pub const FAULT: u32 = REFUSED | Reason::PolicyFault as u32;

/// In [`Judged::pool`]: no pool, but a tracked connection, whose [`Forwarding`] is written.
pub const FOLLOWING: u32 = u32::MAX;

/// Puts a packet to its pool: afterwards the verdict is what will become of it. One that was answered or
/// dropped on the way has no pool any more.
#[inline(always)]
pub fn run<H: Hook>(hook: &H, interface: &Interface, judged: &mut Judged) {
    if judged.verdict != Verdict::Redirect as u32 {
        judged.pool = 0;
        return;
    }
    let cpu = judged.cpu;
    if judged.packet.flags & fragment::ANY != 0 && fragments::gateway_lead(cpu) == fragments::UNSEEN {
        judged.refuse(Reason::FragmentUnseen);
        return;
    }
    let segment = hook.segment(judged);
    let mut said =
        if judged.pool == FOLLOWING { TRACKS } else { gateway_target(cpu, interface.ifindex, segment) };
    if said == TRACKS {
        let refused = if judged.pool == FOLLOWING { FOLLOWS } else { connection(cpu) };
        if refused != FOLLOWS {
            judged.refuse_by(refused);
            return;
        }
        said = gateway_hop(cpu, interface.ifindex, segment);
    }
    if said == ASK {
        hook.ask_next_hop(cpu);
        owner::gateway_narrow(cpu);
        said = gateway_way(cpu, interface.ifindex, segment);
    }
    if said != CHOSEN {
        judged.refuse_by(said & (Reason::COUNT as u32 - 1));
    }
}

/// Finds or opens the connection of this CPU's packet: [`FOLLOWS`], or the [`Reason`] why not.
#[inline(always)]
fn connection(cpu: u32) -> u32 {
    if gateway_track(cpu) == FOLLOWS { FOLLOWS } else { gateway_open(cpu) }
}

/// Where a CPU remembers the way to a client.
#[inline(always)]
pub fn hop_of_client(address: [u64; 2]) -> u32 {
    MAX_TARGETS as u32 | finish(fold(address[0], address[1])) as u32 & (MAX_TARGETS as u32 - 1)
}

/// What this CPU remembers of the way to a target, by its slot, or to a client.
#[inline(always)]
pub fn next_hop(cpu: u32, hop: u32) -> Option<&'static mut NextHop> {
    let index = cpu * HOPS as u32 + (hop & (HOPS as u32 - 1));
    // SAFETY: a live element of NEXT_HOPS, written on this CPU only.
    maps::NEXT_HOPS.get_ptr_mut(index).map(|hop| unsafe { &mut *hop })
}

/// Chooses the target of the packet that this CPU judges, and decides how it gets there if the way is known:
/// it arrived on `ifindex`, and `segment` is the longest IP packet in it, bytes. A global function, see
/// [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_target(cpu: u32, ifindex: u32, segment: u32) -> u32 {
    let Some((judged, forwarding)) = scratch::forwarding(cpu) else { return FAULT };
    let said = choose(judged, forwarding, ifindex, segment).unwrap_or(FAULT);
    if said <= ASK && is_measured(judged) {
        health::gateway_pending(cpu);
        health::gateway_handshake(cpu);
    }
    said
}

/// Whether the packet tells of a handshake with a target whose answers do not pass here.
#[inline(always)]
fn is_measured(judged: &Judged) -> bool {
    judged.packet.protocol == protocol::TCP && entry(judged).is_some_and(|pool| pool.flags & POOL_HEALTH != 0)
}

#[inline(always)]
fn choose(judged: &mut Judged, forwarding: &mut Forwarding, ifindex: u32, segment: u32) -> Option<u32> {
    let pool = entry(judged)?;
    if pool.forward == Forward::Dnat as u8 {
        return Some(TRACKS);
    }
    if pool.size == 0 {
        return Some(REFUSED | Reason::NoTarget as u32);
    }
    let flow_hash = hash(HashOver::FiveTuple as u8, &judged.packet);
    let chosen =
        if pool.hash == HashOver::FiveTuple as u8 { flow_hash } else { hash(pool.hash, &judged.packet) };
    let Some(place) = place(judged, pool, (pool.table, pool.size), chosen)? else {
        return Some(REFUSED | Reason::TargetsFull as u32);
    };
    let target: &TargetEntry = bytemuck::cast_ref(maps::ARENA.get(pool.targets.wrapping_add(place))?);
    set_address(&mut forwarding.target, &target.address);
    set_address(&mut forwarding.source, &target.source);
    forwarding.flow_hash = flow_hash;
    forwarding.slot = target.slot;
    forwarding.family = target.family as u32;
    forwarding.forward = pool.forward as u32;
    forwarding.port = pool.port as u32;
    forwarding.mss = pool.mss as u32;
    let ip = if target.family == 6 { 40 } else { 20 };
    forwarding.outer_length = if pool.forward == Forward::L2 as u8 {
        0
    } else if pool.forward == Forward::Gue as u8 {
        ip + 8
    } else {
        ip
    };
    forwarding.hop = target.slot;
    way_if_known(judged, forwarding, ifindex, segment)
}

/// The place among the pool's targets that a hash leads to by this table and its size, past those that fail; nothing
/// where all have as many connections as they may.
#[inline(always)]
fn place(judged: &Judged, pool: &PoolEntry, (table, size): (u32, u32), hash: u64) -> Option<Option<u32>> {
    let place = if pool.flags & POOL_HEALTH == 0 {
        classify::element(judged, table, element(hash, size))? as u32
    } else {
        gateway_admitted(judged.cpu, table, size, pool.targets, hash)
    };
    if place == health::NONE {
        return Some(None);
    }
    if place >= pool.count as u32 { None } else { Some(Some(place)) }
}

/// Decides how the packet gets to where it goes, or says that the way is to be asked for.
#[inline(always)]
fn way_if_known(judged: &mut Judged, forwarding: &mut Forwarding, ifindex: u32, segment: u32) -> Option<u32> {
    forwarding.way = DIRECT;
    // SAFETY: a helper without arguments. The verifier turns it into a load.
    let now = unsafe { bpf_jiffies64() } as u32;
    let hop = next_hop(judged.cpu, forwarding.hop)?;
    let same = hop.address[0] == forwarding.target[0]
        && hop.address[1] == forwarding.target[1]
        && hop.family == forwarding.family;
    if !(same && hop.holds(now)) {
        return Some(ASK);
    }
    decide(judged, forwarding, hop, ifindex, segment);
    Some(CHOSEN)
}

/// Decides how the packet of a connection that this CPU judges gets to where it goes, if the way is known; as
/// [`gateway_target`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_hop(cpu: u32, ifindex: u32, segment: u32) -> u32 {
    let Some((judged, forwarding)) = scratch::forwarding(cpu) else { return FAULT };
    if judged.handshake != 0 {
        health::gateway_handshake(cpu);
    }
    way_if_known(judged, forwarding, ifindex, segment).unwrap_or(FAULT)
}

/// The pool that a packet was put to.
#[inline(always)]
pub fn entry(judged: &Judged) -> Option<&'static PoolEntry> {
    let header = classify::header(Control::header_of(judged.active))?;
    maps::ARENA.get(header.pools.wrapping_add(judged.pool)).map(bytemuck::cast_ref)
}

/// The table of a translating pool for a packet's family, and its size.
#[inline(always)]
fn table_of(pool: &PoolEntry, packet: &Packet) -> (u32, u32) {
    if packet.family == 6 { (pool.table6, pool.size6) } else { (pool.table, pool.size) }
}

/// Why [`target_of_connection`] found none.
#[inline(always)]
pub fn refusal(pool: &PoolEntry, packet: &Packet) -> Reason {
    if table_of(pool, packet).1 == 0 { Reason::NoTarget } else { Reason::TargetsFull }
}

/// Chooses the target of a new connection: address, source, ports and slot. Another one at each attempt. False
/// where no target of the packet's family takes connections.
#[inline(always)]
pub fn target_of_connection(
    judged: &Judged,
    forwarding: &mut Forwarding,
    pool: &PoolEntry,
    attempt: u32,
) -> Option<bool> {
    let (table, size) = table_of(pool, &judged.packet);
    if size == 0 {
        return Some(false);
    }
    let first = hash(pool.hash, &judged.packet);
    let chosen = if attempt == 0 { first } else { finish(first.wrapping_add(attempt as u64)) };
    let Some(place) = place(judged, pool, (table, size), chosen)? else { return Some(false) };
    let target: &TargetEntry = bytemuck::cast_ref(maps::ARENA.get(pool.targets.wrapping_add(place))?);
    set_address(&mut forwarding.target, &target.address);
    set_address(&mut forwarding.source, &target.source);
    forwarding.slot = target.slot;
    forwarding.ports = target.port as u32;
    Some(true)
}

/// Decides how the packet that this CPU judges gets to its target, once the way is asked for; as
/// [`gateway_target`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_way(cpu: u32, ifindex: u32, segment: u32) -> u32 {
    let Some((judged, forwarding)) = scratch::forwarding(cpu) else { return FAULT };
    let Some(hop) = next_hop(cpu, forwarding.hop) else { return FAULT };
    decide(judged, forwarding, hop, ifindex, segment);
    CHOSEN
}

/// Decides how a packet gets to its target, if it may.
#[inline(always)]
fn decide(judged: &mut Judged, forwarding: &mut Forwarding, hop: &NextHop, ifindex: u32, segment: u32) {
    let translates = forwarding.forward == Forward::Dnat as u32;
    if translates && hop.state == NextHopState::NotForwarded as u32 {
        forwarding.way = BY_STACK;
        judged.verdict = Verdict::Pass as u32;
    } else if judged.packet.ttl <= 1 {
        judged.refuse(Reason::TtlExceeded);
    } else if !is_reachable(hop, forwarding, judged) {
        judged.refuse(Reason::NoRoute);
    } else if hop.mtu != 0 && segment.wrapping_add(forwarding.outer_length) > hop.mtu {
        if may_be_cut(judged, forwarding, segment) {
            forwarding.way = BY_STACK;
            judged.verdict = Verdict::Pass as u32;
        } else {
            judged.told_mtu = told_mtu(judged.packet.family, hop.mtu.saturating_sub(forwarding.outer_length));
            judged.refuse(Reason::TooBig);
        }
    } else {
        forwarding.way = if hop.state == NextHopState::Reachable as u32 { DIRECT } else { BY_NEIGHBOUR };
        judged.verdict = if hop.ifindex == ifindex { Verdict::Tx as u32 } else { Verdict::Redirect as u32 };
    }
}

/// Whether the packet can be sent: to a neighbour, or by the kernel once it knows it. For an IPv6 packet as
/// it is the kernel asks only IPv6 neighbours (net/core/filter.c, `bpf_out_neigh_v6`).
#[inline(always)]
fn is_reachable(hop: &NextHop, forwarding: &Forwarding, judged: &Judged) -> bool {
    if hop.state == NextHopState::Reachable as u32 {
        return true;
    }
    hop.state == NextHopState::NeighbourUnknown as u32
        && !(forwarding.outer_length == 0 && judged.packet.family == 6 && forwarding.family == 4)
}
