//! ICMP errors of others about packets of pools.
//!
//! One about what a target answered to a client is addressed to the service, as the answer's source, and
//! belongs to the target that gave it: what it quotes is turned round into a packet of the client, which is
//! classified and put to its pool; that packet's way is the error's. One about the packet that a client's was
//! wrapped in is addressed to this node, and tells the MTU of the path to a target. One about a packet of a
//! tracked connection, of either side, goes where that connection's packets go, and what it quotes is translated
//! with it (RFC 5508 4.2).
//!
//! An error is looked at once its own route has let it pass or put it to a pool, or if no route names it: a
//! connection's errors need no route any more than its answers do.

use crate::act::{SkbFrame, XdpFrame};
use crate::classify;
use crate::context;
use crate::maps;
use crate::paths;
use crate::pipeline::{Hook, Judged};
use crate::police;
use crate::pool::{self, FOLLOWING};
use crate::scratch;
use crate::track::{FOLLOWS, gateway_related};
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::bpf_jiffies64;
use bytemuck::{Pod, Zeroable};
use gateway_common::abi::{ACTIVE_TRACKS, Interface, NextHopState, PathMtu, Verdict, ticks};
use gateway_common::fragment::units;
use gateway_common::image::{Forward, MAX_TARGETS};
use gateway_common::packet::Packet;
use gateway_common::parse::Frame;
use gateway_common::parse::quoted::{self, Quoted, parse, tells_mtu, turn};
use gateway_common::path::FOR_UNITS;
use gateway_common::reason::Reason;

/// An ICMP error and what it quotes. It lies in a map, see [`crate::scratch`].
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct About {
    /// What it quotes.
    pub quoted: Quoted,
    /// The error itself, while [`Judged::packet`] is what it was turned into.
    pub error: Packet,
    /// Its own pool, and its own route.
    pub pool: u32,
    pub route: u32,
}

/// It quotes something that may be a pool's.
pub const READ: u32 = 1;
/// It was turned round.
const TURNED: u32 = 1;

/// Whether the packet is to be looked at: it is an ICMP error that passes, that no route names, or that goes to a pool
/// as if it were no error.
#[inline(always)]
pub fn is_error(judged: &Judged) -> bool {
    if !quoted::quotes(&judged.packet) {
        return false;
    }
    let forwards = judged.verdict == Verdict::Redirect as u32 && judged.pool != FOLLOWING && judged.pool != 0;
    forwards || judged.verdict == Verdict::Pass as u32 || judged.reason == Reason::Default as u32
}

/// Puts the ICMP error that is judged to the pool of what it quotes, if that is a pool's. True if it did, and
/// [`restore`] is to be called once the way is chosen.
#[inline(always)]
pub fn find<H: Hook>(hook: &H, interface: &Interface, judged: &mut Judged) -> bool {
    let cpu = judged.cpu;
    if hook.read_quoted(cpu) != READ || gateway_turn(cpu) != TURNED {
        return false;
    }
    if judged.active & ACTIVE_TRACKS != 0 && gateway_related(cpu) == FOLLOWS {
        judged.follow();
        return true;
    }
    if judged.is_dropped() {
        gateway_give_back(cpu);
        return false;
    }
    // SAFETY: a helper without arguments. The verifier turns it into a load.
    let now = ticks(unsafe { bpf_jiffies64() });
    let labels =
        if classify::asks_for_labels(judged.active) { classify::gateway_labels(cpu, now) } else { 0 };
    let found = classify::gateway_classify(cpu, interface.slot as u32);
    let route = if labels | found == 0 { classify::entry(judged, judged.route) } else { None };
    judged.pool = route.map_or(0, |route| route.pool as u32);
    // A translated connection's error is not sent on as it is.
    let owned =
        judged.pool != 0 && pool::entry(judged).is_some_and(|pool| pool.forward != Forward::Dnat as u8);
    if !owned {
        gateway_give_back(cpu);
        return false;
    }
    judged.verdict = Verdict::Redirect as u32;
    true
}

/// Makes the packet that is judged the error again that it was.
#[inline(always)]
pub fn restore(judged: &mut Judged) {
    gateway_turn_back(judged.cpu);
}

/// Reads what the ICMP error that this CPU judges quotes, and takes in what that tells of a path; [`READ`] if
/// it may be a pool's. A global function, see [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_quoted_xdp(context: *mut xdp_md, cpu: u32) -> u32 {
    read(&XdpFrame::new(context), cpu).unwrap_or(0)
}

/// The same at tc.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_quoted_tc(context: *mut context::__sk_buff, cpu: u32) -> u32 {
    let context: *mut __sk_buff = context.cast();
    read(&SkbFrame::as_it_is(context), cpu).unwrap_or(0)
}

#[inline(always)]
fn read(frame: &impl Frame, cpu: u32) -> Option<u32> {
    let (judged, about) = scratch::about(cpu)?;
    parse(frame, &judged.packet, &mut about.quoted)?;
    if tells_mtu(&about.quoted) {
        gateway_learn(cpu);
    }
    Some(READ)
}

/// Remembers the MTU of the path to a target that this CPU's ICMP error tells, if the packet that it quotes
/// is one that was wrapped here, and that was not known already. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_learn(cpu: u32) -> u32 {
    learn(cpu).is_some() as u32
}

#[inline(always)]
fn learn(cpu: u32) -> Option<()> {
    let (judged, about) = scratch::about(cpu)?;
    let Quoted { packet, mtu, .. } = &about.quoted;
    let slot = classify::wrapped_target(judged, packet.destination, packet.source)?;
    let now = units(police::now_ns(maps::CONTROL.get(0)?, false));
    let path = path_mtu(slot)?;
    let known = path.mtu_of(packet.destination, now);
    let hop = pool::next_hop(cpu, slot)?;
    if known != 0 && *mtu >= known || hop.mtu != 0 && *mtu >= hop.mtu {
        return None;
    }
    let words: *mut u64 = (&raw mut *path).cast();
    // SAFETY: words of a live element of PATH_MTUS. Another CPU sees no MTU, or a whole one.
    unsafe {
        core::ptr::write_volatile(words.add(2), 0);
        core::ptr::write_volatile(words, packet.destination[0]);
        core::ptr::write_volatile(words.add(1), packet.destination[1]);
        let until = now.wrapping_add(FOR_UNITS);
        core::ptr::write_volatile(words.add(2), (until as u64) << 32 | *mtu as u64);
    }
    // Asked for anew by the next packet.
    hop.state = NextHopState::Unknown as u32;
    paths::forget(cpu, slot);
    Some(())
}

#[inline(always)]
fn path_mtu(slot: u32) -> Option<&'static mut PathMtu> {
    // SAFETY: a live element of PATH_MTUS; each of its words is whole whoever writes it.
    maps::PATH_MTUS.get_ptr_mut(slot & (MAX_TARGETS as u32 - 1)).map(|path| unsafe { &mut *path })
}

/// Holds the way to the target that this CPU's packet goes to, which was just asked for, to what routers told
/// of it. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_narrow(cpu: u32) -> u32 {
    narrow(cpu).is_some() as u32
}

#[inline(always)]
fn narrow(cpu: u32) -> Option<()> {
    let (judged, forwarding) = scratch::forwarding(cpu)?;
    if forwarding.outer_length == 0 {
        // Who sent it is told itself.
        return None;
    }
    let slot = classify::wrapped_target(judged, forwarding.target, forwarding.source)?;
    let now = units(police::now_ns(maps::CONTROL.get(0)?, false));
    let mtu = path_mtu(slot)?.mtu_of(forwarding.target, now);
    let hop = pool::next_hop(cpu, forwarding.hop)?;
    if mtu != 0 && mtu < hop.mtu {
        hop.mtu = mtu;
    }
    Some(())
}

/// Turns the ICMP error that this CPU judges round, see [`turn`]; [`TURNED`] if that can be. A global function,
/// as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_turn(cpu: u32) -> u32 {
    let Some((judged, about)) = scratch::about(cpu) else { return 0 };
    copy(&judged.packet, &mut about.error);
    about.pool = judged.pool;
    about.route = judged.route;
    turn(&about.quoted, &mut judged.packet) as u32
}

/// Undoes it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_turn_back(cpu: u32) -> u32 {
    if let Some((judged, about)) = scratch::about(cpu) {
        copy(&about.error, &mut judged.packet);
    }
    0
}

/// The same where nobody owns it: it goes where it would have gone. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_give_back(cpu: u32) -> u32 {
    if let Some((judged, about)) = scratch::about(cpu) {
        copy(&about.error, &mut judged.packet);
        judged.pool = about.pool;
        judged.route = about.route;
    }
    0
}

/// Copies word by word: left to itself the compiler calls a loop over bytes.
#[inline(always)]
fn copy(from: &Packet, to: &mut Packet) {
    const WORDS: usize = size_of::<Packet>() / 8;
    const { assert!(size_of::<Packet>().is_multiple_of(8)) };
    let (from, to): (*const u64, *mut u64) = ((&raw const *from).cast(), (&raw mut *to).cast());
    let mut i = 0;
    while i < WORDS {
        // SAFETY: a word of what both borrow, and both are whole words.
        unsafe { core::ptr::write_volatile(to.add(i), core::ptr::read(from.add(i))) };
        i += 1;
    }
}
