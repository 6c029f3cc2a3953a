//! Asking the kernel's routing and neighbour tables for the way to a target or a client.

use crate::context;
use crate::maps;
use crate::pool::{CHOSEN, FAULT, Forwarding, next_hop};
use crate::scratch;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::{bpf_fib_lookup, bpf_jiffies64};
use core::ffi::c_void;
use gateway_common::abi::{EGRESS_XDP_FRAMES, NEXT_HOP_EVERY_NS, NEXT_HOP_XDP_FRAMES, NextHopState};
use gateway_common::packet::set_address;

/// `AF_INET` and `AF_INET6` of linux/socket.h.
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// `BPF_FIB_LKUP_RET_SUCCESS`, `…_NOT_FWDED` and `…_NO_NEIGH` of linux/bpf.h.
const FIB_FOUND: i64 = 0;
const FIB_NOT_FORWARDED: i64 = 4;
const FIB_NO_NEIGHBOUR: i64 = 7;

/// Asks the kernel for the way to the target of the packet that this CPU judges. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_next_hop_xdp(context: *mut xdp_md, cpu: u32) -> u32 {
    // SAFETY: the context that the kernel gave to the program.
    let ifindex = unsafe { (*context).ingress_ifindex };
    ask(context.cast(), cpu, ifindex)
}

/// The same at tc.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_next_hop_tc(context: *mut context::__sk_buff, cpu: u32) -> u32 {
    let context: *mut __sk_buff = context.cast();
    // SAFETY: the context that the kernel gave to the program.
    let ifindex = unsafe { (*context).ifindex };
    ask(context.cast(), cpu, ifindex)
}

#[inline(always)]
fn ask(context: *mut c_void, cpu: u32, ifindex: u32) -> u32 {
    let Some((_, forwarding)) = scratch::forwarding(cpu) else { return FAULT };
    let (Some(control), Some(hop)) = (maps::CONTROL.get(0), next_hop(cpu, forwarding.hop)) else {
        return FAULT;
    };
    let six = forwarding.family == 6;
    put(forwarding, 0, if six { AF_INET6 } else { AF_INET });
    // A length, so that the kernel tells what the way takes.
    put(forwarding, 1, 1 << 16);
    put(forwarding, 2, ifindex);
    put(forwarding, 3, 0);
    // The answer is remembered for all that is sent there: what a packet says of its sender has no part in it.
    put_address(forwarding, 4, if forwarding.outer_length == 0 { [0; 2] } else { forwarding.source });
    put_address(forwarding, 8, forwarding.target);
    put(forwarding, 12, 0);
    let fib: *mut u32 = (&raw mut forwarding.fib).cast();
    // SAFETY: the context of the program, and 64 bytes of this CPU's element, which are laid out as the
    // helper wants them.
    let found = unsafe { bpf_fib_lookup(context, fib.cast(), 64, 0) };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_jiffies64() } as u32;
    let jiffies = NEXT_HOP_EVERY_NS.checked_div(control.ns_per_jiffy).unwrap_or(0);
    set_address(&mut hop.address, &forwarding.target);
    hop.family = forwarding.family;
    hop.until = now.wrapping_add(1).wrapping_add(jiffies as u32);
    hop.ifindex = get(forwarding, 2);
    hop.mtu = 0;
    hop.flags = 0;
    if found == FIB_FOUND {
        hop.state = NextHopState::Reachable as u32;
        hop.mtu = get(forwarding, 1) >> 16;
        // The source address comes first there, and is six bytes long: in words of network order.
        let (a, b, c) = (
            u32::from_be(get(forwarding, 13)),
            u32::from_be(get(forwarding, 14)),
            u32::from_be(get(forwarding, 15)),
        );
        hop.ethernet_be[0] = (b << 16 | c >> 16).to_be();
        hop.ethernet_be[1] = (c << 16 | a >> 16).to_be();
        hop.ethernet_be[2] = (a << 16 | b >> 16).to_be();
        if takes_xdp_frames(hop.ifindex) {
            hop.flags = NEXT_HOP_XDP_FRAMES;
        }
    } else if found == FIB_NO_NEIGHBOUR {
        hop.state = NextHopState::NeighbourUnknown as u32;
        // A client has none: the kernel finds it by the packet's own addresses.
        let neighbour = maps::NEIGHBOURS.get_ptr_mut(forwarding.hop);
        // SAFETY: a live element of NEIGHBOURS; each word is whole whoever else writes it.
        if let Some(neighbour) = neighbour.map(|neighbour| unsafe { &mut *neighbour }) {
            // The router's, where there is one: the helper has put it there, and its family.
            neighbour.family = get(forwarding, 0) & 0xff;
            neighbour.address_be[0] = get(forwarding, 8);
            neighbour.address_be[1] = get(forwarding, 9);
            neighbour.address_be[2] = get(forwarding, 10);
            neighbour.address_be[3] = get(forwarding, 11);
            neighbour.ifindex = hop.ifindex;
        }
    } else if found == FIB_NOT_FORWARDED {
        hop.state = NextHopState::NotForwarded as u32;
    } else {
        hop.state = NextHopState::Unreachable as u32;
    }
    CHOSEN
}

/// Whether it is a governed interface that does.
#[inline(always)]
fn takes_xdp_frames(ifindex: u32) -> bool {
    let Some(interface) = maps::INTERFACES.get(ifindex & 0xffff).filter(|found| found.ifindex == ifindex)
    else {
        return false;
    };
    let egress = maps::EGRESS.get(interface.slot as u32);
    egress.is_some_and(|egress| egress.ifindex == ifindex && egress.flags & EGRESS_XDP_FRAMES != 0)
}

#[inline(always)]
fn put_address(forwarding: &mut Forwarding, at: usize, [high, low]: [u64; 2]) {
    put(forwarding, at, ((high >> 32) as u32).to_be());
    put(forwarding, at + 1, (high as u32).to_be());
    put(forwarding, at + 2, ((low >> 32) as u32).to_be());
    put(forwarding, at + 3, (low as u32).to_be());
}

/// Volatile, so that the compiler does not make a loop over bytes of several.
#[inline(always)]
fn put(forwarding: &mut Forwarding, at: usize, word: u32) {
    // SAFETY: `at` is a constant below 16.
    unsafe { core::ptr::write_volatile((&raw mut forwarding.fib).cast::<u32>().add(at), word) }
}

/// Volatile, since the helper has written there.
#[inline(always)]
fn get(forwarding: &Forwarding, at: usize) -> u32 {
    // SAFETY: `at` is a constant below 16.
    unsafe { core::ptr::read_volatile((&raw const forwarding.fib).cast::<u32>().add(at)) }
}
