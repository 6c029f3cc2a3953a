//! SYN cookies: while a route is under attack, a source must show that it receives what is sent to it.
//!
//! A SYN from a source that has not shown it is answered, without any memory, by a SYN-ACK that
//! acknowledges a cookie and not the SYN's own number. A host that did send the SYN answers with an RST
//! whose sequence number is that cookie, stays where it is, and sends its SYN again (RFC 9293 3.10.7.3,
//! "if the ACK is not acceptable"; Linux at once, `tcp_rcv_synsent_state_process`). The RST proves the
//! source for some time, and its next SYN passes. A spoofed source never sees the cookie.
//!
//! Why not the usual SYN-ACK with the cookie as its own number: the connection would then have to be
//! taken over from here, number by number, for its whole life, or end on this node. This way it is the
//! target's own from its first packet on, whoever the target is, and established connections are not
//! touched. The cookie is the kernel's own (`bpf_tcp_raw_gen_syncookie_ipv4`), made for sequence
//! number 0, since the RST does not repeat the SYN's.

use crate::account::{self, limit_cookie, limit_proven};
use crate::keyed::{self, Key};
use crate::pipeline::Judged;
use crate::police::{bucket, charge, now_ns, word};
use aya_ebpf::helpers::{
    bpf_tcp_raw_check_syncookie_ipv4, bpf_tcp_raw_check_syncookie_ipv6, bpf_tcp_raw_gen_syncookie_ipv4,
    bpf_tcp_raw_gen_syncookie_ipv6,
};
use gateway_common::abi::{Control, EventKind, Telemetry, Verdict};
use gateway_common::image::LimitEntry;
use gateway_common::limit::{PROVEN_NS, left, owner_hash, time};
use gateway_common::packet::{Packet, flags, protocol};
use gateway_common::reason::Reason;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Bytes of a TCP header without options.
const TCP_HEADER: u32 = 20;

/// Asks for a cookie, or looks at one that comes back. True where that is the end of the packet's way.
#[inline(always)]
pub fn ask(control: &Control, limit: &LimitEntry, judged: &mut Judged) -> Option<bool> {
    let packet = &judged.packet;
    let is_syn = packet.tcp_flags & (SYN | ACK) == SYN;
    let is_rst = packet.tcp_flags & (RST | ACK) == RST;
    if packet.protocol != protocol::TCP || packet.flags & flags::HAS_PORTS == 0 || !(is_syn || is_rst) {
        return Some(false);
    }
    let now_ns = now_ns(control, false);
    let now = time(now_ns);
    let key = key(control, limit, packet);
    let known = keyed::find(&key, judged);
    if let Some(place) = known
        && left(place.full_at().load(), now, time(PROVEN_NS)) != 0
    {
        return Some(false);
    }
    let bucket = bucket(limit.slot)?;
    // SAFETY: fields of an element of BUCKETS.
    let (full_at, until) =
        unsafe { (word(&raw mut (*bucket).full_at), word(&raw mut (*bucket).attack_until)) };
    let until_before = until.load();
    let always = limit.cost == 0;
    let mut attacked = always || left(until_before, now, limit.hold) != 0;
    if is_syn && !always {
        // Half the rate ends it: a rate that stays near the line does not switch it on and off.
        let (said, _) = charge(judged, limit, full_at, 1 + attacked as u32, now);
        if said != 0 {
            until.store(now.wrapping_add(limit.hold));
            if !attacked {
                judged.raise(EventKind::AttackBegins, limit.slot, 0);
            }
            attacked = true;
        } else if !attacked && until_before != 0 && until.replace(until_before, 0) {
            judged.raise(EventKind::AttackEnds, limit.slot, 0);
        }
    }
    if judged.forgotten(attacked as u32) == 0 {
        return Some(false);
    }
    if is_syn {
        account::limit(judged.cpu, limit.slot, true, judged.length);
        return Some(answer(limit, judged));
    }
    if !is_cookie(judged) {
        account::telemetry(judged.cpu, Telemetry::SynCookiesWrong, 1);
        return Some(false);
    }
    if let Some(place) = known.or_else(|| keyed::take(&key, now, judged)) {
        place.full_at().store(now.wrapping_add(time(PROVEN_NS)));
        account::telemetry(judged.cpu, Telemetry::SynCookiesProven, 1);
        limit_proven(judged.cpu, limit.slot);
    }
    judged.refuse(Reason::SynCookie);
    Some(true)
}

#[inline(always)]
fn key(control: &Control, limit: &LimitEntry, packet: &Packet) -> Key {
    let (words, family, slot) = (packet.source, packet.family as u32, limit.slot);
    Key::new(owner_hash(control.limit_seed, family, words), slot, family, words)
}

/// Turns the SYN into a SYN-ACK with a cookie, or drops it where it cannot be done. True: the packet's
/// way ends here.
#[inline(always)]
fn answer(limit: &LimitEntry, judged: &mut Judged) -> bool {
    let ip_header = if judged.packet.family == 6 { 40 } else { 20 };
    let behind = (judged.packet.l4_offset as u32).wrapping_sub(judged.packet.l3_offset as u32);
    let cookie = headers(judged, 0, 0).and_then(|(ip, tcp)| {
        // SAFETY: both headers lie in this CPU's scratch element, as long as the helpers read.
        let made = unsafe {
            if judged.packet.family == 6 {
                bpf_tcp_raw_gen_syncookie_ipv6(ip.cast(), tcp.cast(), TCP_HEADER)
            } else {
                bpf_tcp_raw_gen_syncookie_ipv4(ip.cast(), tcp.cast(), TCP_HEADER)
            }
        };
        if made < 0 { None } else { Some(made as u32) }
    });
    match cookie {
        // IP options and extension headers would have to go: no client sends a SYN with them.
        Some(cookie) if behind == ip_header => {
            judged.verdict = Verdict::Tx as u32;
            judged.reason = 0;
            judged.answer = 1;
            judged.cookie = cookie;
            account::telemetry(judged.cpu, Telemetry::SynCookiesSent, 1);
            limit_cookie(judged.cpu, limit.slot);
        }
        _ => judged.refuse(Reason::SynCookie),
    }
    true
}

/// Whether the RST's sequence number is a cookie of ours.
#[inline(always)]
fn is_cookie(judged: &mut Judged) -> bool {
    // The helper takes 1 off both numbers.
    let sequence = judged.packet.sequence.wrapping_add(1);
    let Some((ip, tcp)) = headers(judged, 1, sequence) else { return false };
    // SAFETY: both headers lie in this CPU's scratch element, as long as the helpers read.
    unsafe {
        if judged.packet.family == 6 {
            bpf_tcp_raw_check_syncookie_ipv6(ip.cast(), tcp.cast()) == 0
        } else {
            bpf_tcp_raw_check_syncookie_ipv4(ip.cast(), tcp.cast()) == 0
        }
    }
}

/// Writes the headers that the helpers read, with these numbers: only addresses, ports and sequence
/// numbers count.
#[inline(always)]
fn headers(judged: &mut Judged, sequence: u32, acknowledgement: u32) -> Option<(*mut u32, *mut u32)> {
    let words: *mut u32 = (&raw mut judged.headers).cast();
    let packet = &judged.packet;
    let ports = (packet.source_port as u32) << 16 | packet.port as u32;
    let tcp = [ports, sequence, acknowledgement, 0x5000_0000, 0];
    let put = |at: usize, word: u32| {
        // SAFETY: `at` is below the fifteen words that the scratch element has for this; volatile keeps
        // the compiler from calling a loop over bytes.
        unsafe { core::ptr::write_volatile(words.add(at), word.to_be()) }
    };
    let behind = if packet.family == 6 {
        let [a, b] = packet.source;
        let [c, d] = packet.destination;
        put(0, 0x6000_0000);
        put(1, 20 << 16 | (protocol::TCP as u32) << 8);
        put(2, (a >> 32) as u32);
        put(3, a as u32);
        put(4, (b >> 32) as u32);
        put(5, b as u32);
        put(6, (c >> 32) as u32);
        put(7, c as u32);
        put(8, (d >> 32) as u32);
        put(9, d as u32);
        put_tcp(&put, 10, &tcp);
        10
    } else {
        put(0, 0x4500_0028);
        put(1, 0);
        put(2, (protocol::TCP as u32) << 16);
        put(3, (packet.source[0] >> 32) as u32);
        put(4, (packet.destination[0] >> 32) as u32);
        put_tcp(&put, 5, &tcp);
        5
    };
    // SAFETY: five words of the fifteen stand from there on.
    Some((words, unsafe { words.add(behind) }))
}

#[inline(always)]
fn put_tcp(
    put: &impl Fn(usize, u32),
    at: usize,
    [ports, sequence, acknowledgement, offset, check]: &[u32; 5],
) {
    put(at, *ports);
    put(at + 1, *sequence);
    put(at + 2, *acknowledgement);
    put(at + 3, *offset);
    put(at + 4, *check);
}
