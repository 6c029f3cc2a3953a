//! The flow memo: what was decided for recent flows, and their accounts. Per CPU, two ways.
//!
//! A hit skips classification. A line whose generation is not the packet's is decided anew but
//! keeps its account. A new flow takes the line of its set that was idle longest, whose account
//! goes to user space through the ring buffer, so that no flow's packets are lost unsaid.

use crate::account::telemetry;
use crate::maps;
use gateway_common::abi::{MEMO_WAYS, MemoLine, MemoSet, Telemetry};
use gateway_common::image::RouteEntry;
use gateway_common::packet::{FlowKey, Packet};

/// The line of a packet's flow: one that holds it, or (with another key) the one to take.
///
/// Which way it is goes through `forget`, a word of scratch memory: the verifier then follows one
/// state from here, and not one for each way.
#[inline(always)]
pub fn find(
    index: u32,
    key: FlowKey,
    packet: &Packet,
    now: u32,
    forget: *mut u32,
) -> Option<(*mut MemoLine, bool)> {
    const { assert!(MEMO_WAYS == 2) };
    let set: *mut MemoSet = maps::MEMO.get_ptr_mut(index)?;
    // SAFETY: a live element of MEMO, written on this CPU only.
    let [first, second] = unsafe { &*set };
    let (way, known) = if holds(first, key, packet) {
        (0, 2)
    } else if holds(second, key, packet) {
        (1, 2)
    } else {
        let first_idle = now.wrapping_sub(first.last);
        let second_idle = now.wrapping_sub(second.last);
        let take_first = first.key == 0 || (second.key != 0 && first_idle >= second_idle);
        (!take_first as u32, 0)
    };
    // SAFETY: a word of this CPU's scratch element.
    let state = unsafe {
        core::ptr::write_volatile(forget, way | known);
        core::ptr::read_volatile(forget)
    };
    // SAFETY: 0 or 1 is within the set.
    let line = unsafe { set.cast::<MemoLine>().add(state as usize & 1) };
    Some((line, state & 2 != 0))
}

#[inline(always)]
fn holds(line: &MemoLine, key: FlowKey, packet: &Packet) -> bool {
    if line.key != key.words || line.key_addresses != key.addresses {
        return false;
    }
    packet.family != 6
        || (line.addresses[0] == packet.source[0]
            && line.addresses[1] == packet.source[1]
            && line.addresses[2] == packet.destination[0]
            && line.addresses[3] == packet.destination[1])
}

/// Gives the line to a new flow, handing its old account over if there is one to keep.
#[inline(always)]
pub fn take(line: *mut MemoLine, key: FlowKey, packet: &Packet, now: u32, cpu: u32) {
    // SAFETY: a line of a live element of MEMO, written on this CPU only.
    let line = unsafe { &mut *line };
    if line.key != 0 && line.packets != 0 {
        hand_over(line, cpu);
    }
    store_generation(line, 0);
    line.key = key.words;
    line.key_addresses = key.addresses;
    line.tcp_flags = 0;
    // SAFETY: fields of the line; volatile, or the compiler zeroes both by a loop over bytes.
    unsafe {
        core::ptr::write_volatile(&raw mut line.packets, 0);
        core::ptr::write_volatile(&raw mut line.bytes, 0);
    }
    line.first = now;
    line.last = now;
    if packet.family == 6 {
        line.addresses[0] = packet.source[0];
        line.addresses[1] = packet.source[1];
        line.addresses[2] = packet.destination[0];
        line.addresses[3] = packet.destination[1];
    }
}

/// Writes a decision into the line; the generation last, which makes it valid.
#[inline(always)]
pub fn decide(line: *mut MemoLine, entry: &RouteEntry, generation: u32) {
    // SAFETY: as in `take`.
    let line = unsafe { &mut *line };
    line.counter = entry.counter;
    line.verdict = entry.verdict;
    line.reason = entry.reason;
    line.egress_slot = entry.egress_slot;
    line.mark = entry.mark;
    line.priority = entry.priority;
    store_generation(line, generation);
}

#[inline(always)]
fn store_generation(line: &mut MemoLine, generation: u32) {
    // SAFETY: a field of a line that `line` borrows; volatile, so that it stays in its place among
    // the other stores, which a reader in another address space relies on.
    unsafe { core::ptr::write_volatile(&raw mut line.generation, generation) };
}

/// Adds a packet to the flow's account.
#[inline(always)]
pub fn account(line: *mut MemoLine, length: u32, tcp_flags: u8, now: u32) {
    // SAFETY: as in `take`.
    let line = unsafe { &mut *line };
    line.packets += 1;
    line.bytes += length as u64;
    line.last = now;
    line.tcp_flags |= tcp_flags;
}

/// Copies word by word: left to itself the compiler calls a loop over bytes.
#[inline(always)]
fn copy(line: &MemoLine, to: *mut u64) {
    let words: &[u64; size_of::<MemoLine>() / 8] = bytemuck::cast_ref(line);
    for (i, word) in words.iter().enumerate() {
        // SAFETY: the record that `to` points at is as long as a line.
        unsafe { core::ptr::write_volatile(to.add(i), *word) };
    }
}

#[inline(always)]
fn hand_over(line: &MemoLine, cpu: u32) {
    match maps::FLOWS.reserve(0) {
        Some(mut record) => {
            copy(line, record.as_mut_ptr().cast());
            record.submit(0);
            telemetry(cpu, Telemetry::FlowsEvicted, 1);
        }
        None => {
            telemetry(cpu, Telemetry::FlowsLost, 1);
            telemetry(cpu, Telemetry::FlowPacketsLost, line.packets);
            telemetry(cpu, Telemetry::FlowBytesLost, line.bytes);
        }
    }
}
