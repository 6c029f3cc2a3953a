//! A flow is handed to a socket of this node, addresses and all: what TPROXY does for nftables
//! (Documentation/networking/tproxy.rst). Only tc ingress can.
//!
//! A flow that is established already has its socket; a new one gets the one that listens at the route's port, on
//! any address or on the loopback's. The packet then goes its way up the stack, where routing must find that
//! it is for this node.

use crate::context;
use crate::scratch;
use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_sock_tuple};
use aya_ebpf::helpers::{bpf_sk_assign, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp};
use gateway_common::packet::{Packet, protocol};

/// `BPF_F_CURRENT_NETNS` of linux/bpf.h.
const CURRENT_NETNS: u64 = u64::MAX;
/// `BPF_TCP_LISTEN` of linux/bpf.h.
const LISTEN: u32 = 10;
/// The loopback's address, IPv4, and the last word of IPv6's.
const LOOPBACK: u32 = 0x7f00_0001;
const LOOPBACK6: u32 = 1;

/// Gives the packet that this CPU judges its socket: 0 if it has one. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_assign(context: *mut context::__sk_buff, cpu: u32, port: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return 1 };
    let context: *mut __sk_buff = context.cast();
    let packet = &judged.packet;
    let words: *mut u32 = (&raw mut judged.headers).cast();
    let ports = (packet.source_port as u32) << 16 | packet.port as u32;
    let length = tuple(words, packet, ports);
    let tcp = packet.protocol == protocol::TCP;
    if assign(context, words, length, tcp, true) {
        return 0;
    }
    let at_proxy = (packet.source_port as u32) << 16 | port & 0xffff;
    tuple(words, packet, at_proxy);
    if assign(context, words, length, tcp, false) {
        return 0;
    }
    if packet.family == 6 {
        put(words, 4, 0);
        put(words, 5, 0);
        put(words, 6, 0);
        put(words, 7, LOOPBACK6);
    } else {
        put(words, 1, LOOPBACK);
    }
    !assign(context, words, length, tcp, false) as u32
}

/// Writes `struct bpf_sock_tuple`; its length, bytes.
#[inline(always)]
fn tuple(words: *mut u32, packet: &Packet, ports: u32) -> u32 {
    let ([a, b], [c, d]) = (packet.source, packet.destination);
    put(words, 0, (a >> 32) as u32);
    if packet.family != 6 {
        put(words, 1, (c >> 32) as u32);
        put(words, 2, ports);
        return 12;
    }
    put(words, 1, a as u32);
    put(words, 2, (b >> 32) as u32);
    put(words, 3, b as u32);
    put(words, 4, (c >> 32) as u32);
    put(words, 5, c as u32);
    put(words, 6, (d >> 32) as u32);
    put(words, 7, d as u32);
    put(words, 8, ports);
    36
}

#[inline(always)]
fn put(words: *mut u32, at: usize, word: u32) {
    // SAFETY: `at` is a constant below the fifteen words of the scratch element; volatile keeps the compiler from
    // calling a loop over bytes.
    unsafe { core::ptr::write_volatile(words.add(at), word.to_be()) }
}

/// Looks for the socket of a tuple, and assigns it. Of TCP one that listens, or one that does not.
#[inline(always)]
fn assign(context: *mut __sk_buff, words: *mut u32, length: u32, tcp: bool, established: bool) -> bool {
    let tuple: *mut bpf_sock_tuple = words.cast();
    // SAFETY: the program's own context, and as many bytes of this CPU's element as the tuple is long.
    let socket: *mut bpf_sock = unsafe {
        if length == 36 {
            if tcp {
                bpf_skc_lookup_tcp(context.cast(), tuple, 36, CURRENT_NETNS, 0)
            } else {
                bpf_sk_lookup_udp(context.cast(), tuple, 36, CURRENT_NETNS, 0)
            }
        } else if tcp {
            bpf_skc_lookup_tcp(context.cast(), tuple, 12, CURRENT_NETNS, 0)
        } else {
            bpf_sk_lookup_udp(context.cast(), tuple, 12, CURRENT_NETNS, 0)
        }
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that the helper gave, and that is given back once it was looked at.
    unsafe {
        let listens = core::ptr::read_volatile(&raw const (*socket).state) == LISTEN;
        // Of UDP the socket of the tuple itself is connected, or is who listens where the packet was sent to: then the
        // route says otherwise.
        let wanted = if tcp { listens != established } else { !established };
        let done = wanted && bpf_sk_assign(context.cast(), socket.cast(), 0) == 0;
        bpf_sk_release(socket.cast());
        done
    }
}
