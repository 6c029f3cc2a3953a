//! The flow memo: what was decided for recent flows, and their accounts. Per CPU.
//!
//! A hit skips classification. A line whose stamp or variant is not the packet's is decided anew but
//! keeps its account. A flow has two sets of four lines to choose from; a new one takes an empty line
//! of the first, else of the second, or that of the eight which was idle longest (without flow
//! accounting: which was taken first), whose account goes to user space through the ring buffer, so that
//! no flow's packets are lost unsaid. So even where half of the lines is taken, 24 of 25 packets find
//! their flow where they look first, and hardly a flow is without a place.

use crate::account::telemetry;
use crate::maps;
use crate::pipeline::Judged;
use crate::ways::{NONE, zero_of};
use gateway_common::abi::{
    FlowAddresses, FlowRecord, MEMO_CONNECTION, MEMO_COUNTER, MEMO_EXTRA, MEMO_RETURNS, MEMO_TARGET,
    MEMO_UNTIL, MEMO_WAYS, MemoAddresses, MemoLine, MemoSet, Telemetry, UNSET, Verdict, ticks,
};
use gateway_common::image::{ROUTE_EXTRA, RouteEntry};
use gateway_common::live::FOR_EVER;
use gateway_common::packet::{FlowKey, Packet, set_address};

/// A line of the memo.
#[derive(Clone, Copy)]
pub struct Place {
    /// Element of the maps.
    index: u32,
    /// Line of the set.
    way: u32,
    line: *mut MemoLine,
}

/// The flow is known.
const KNOWN: u32 = MEMO_WAYS as u32;
/// Its place is in the second set.
const SECOND: u32 = 2 * KNOWN;

/// The place of a packet's flow, and whether it holds the flow already; if not, it is the one to take.
///
/// Which way it is, is forgotten: the verifier then follows one state from here, and not one for each
/// way.
#[inline(always)]
pub fn find(sets: u32, seed: u64, key: FlowKey, now: u32, judged: &Judged) -> Option<(Place, bool)> {
    let hash = key.hash(seed);
    let place = |hash: u32| judged.cpu * sets + (hash & (sets - 1));
    let (first, second) = (place(hash as u32), place((hash >> 32) as u32));
    let (mut set, mut index) = (maps::MEMO.get_ptr_mut(first)?, first);
    let mut state = known(set, first, key, &judged.packet);
    if state == 0 {
        let other = maps::MEMO.get_ptr_mut(second)?;
        state = elsewhere((set, other), second, key, now, &judged.packet);
        if state & SECOND != 0 {
            (set, index) = (other, second);
        }
    }
    let state = judged.forgotten(state);
    let way = state & (KNOWN - 1);
    // SAFETY: the way is within the set.
    let line = unsafe { set.cast::<MemoLine>().add(way as usize) };
    Some((Place { index, way, line }, state & KNOWN != 0))
}

/// The element and way of a flow that is known, `element << 2 | way`, and its line.
#[inline(always)]
pub fn at_hand(
    sets: u32,
    seed: u64,
    key: FlowKey,
    cpu: u32,
    packet: &Packet,
) -> Option<(u32, *mut MemoLine)> {
    let hash = key.hash(seed);
    let place = |hash: u32| cpu * sets + (hash & (sets - 1));
    let mut index = place(hash as u32);
    let mut set = maps::MEMO.get_ptr_mut(index)?;
    let mut state = known(set, index, key, packet);
    if state == 0 {
        index = place((hash >> 32) as u32);
        set = maps::MEMO.get_ptr_mut(index)?;
        state = known(set, index, key, packet);
        if state == 0 {
            return None;
        }
    }
    let way = state & (KNOWN - 1);
    // SAFETY: the way is within the set.
    let line = unsafe { set.cast::<MemoLine>().add(way as usize) };
    Some((index * KNOWN + way, line))
}

/// The line that [`at_hand`] found, null if there is none.
#[inline(always)]
pub fn again(place: u32) -> *mut MemoLine {
    let Some(set) = maps::MEMO.get_ptr_mut(place / KNOWN) else { return core::ptr::null_mut() };
    // SAFETY: the way is within the set.
    unsafe { set.cast::<MemoLine>().add((place % KNOWN) as usize) }
}

/// The place of a flow that is not in its first set.
#[inline(always)]
fn elsewhere(
    (set, other): (*mut MemoSet, *mut MemoSet),
    second: u32,
    key: FlowKey,
    now: u32,
    packet: &Packet,
) -> u32 {
    let state = known(other, second, key, packet);
    if state != 0 {
        return state | SECOND;
    }
    let (way, idle) = idlest(set, now);
    let (other, other_idle) = idlest(other, now);
    if other_idle > idle { other | SECOND } else { way }
}

/// Which line of a set holds the flow, with [`KNOWN`]; 0 if none.
#[inline(always)]
fn known(set: *mut MemoSet, index: u32, key: FlowKey, packet: &Packet) -> u32 {
    const { assert!(MEMO_WAYS == 4) };
    // SAFETY: a live element of MEMO, written on this CPU only.
    let [a, b, c, d] = unsafe { &*set };
    let way = zero_of([a, b, c, d].map(|line| (line.key ^ key.words) | (line.key_addresses ^ key.addresses)));
    if way != NONE && same_addresses(index, way, packet) { way | KNOWN } else { 0 }
}

/// The line of a set that could be given up, and for how many jiffies it was idle (an empty one: for more
/// than any).
#[inline(always)]
fn idlest(set: *mut MemoSet, now: u32) -> (u32, u64) {
    // SAFETY: as above.
    let lines = unsafe { &*set };
    let mut best = (0, 0);
    let mut way = MEMO_WAYS;
    while way > 0 {
        way -= 1;
        let line = &lines[way];
        let idle = if line.key == 0 { u64::MAX } else { now.wrapping_sub(line.last) as u64 };
        if idle >= best.1 {
            best = (way as u32, idle);
        }
    }
    best
}

/// The key of an IPv6 flow holds a hash of its addresses: compares the addresses themselves.
#[inline(always)]
fn same_addresses(index: u32, way: u32, packet: &Packet) -> bool {
    if packet.family != 6 {
        return true;
    }
    let Some(addresses) = maps::MEMO_ADDRESSES.get(index) else { return false };
    let addresses = &addresses[way as usize & (MEMO_WAYS - 1)];
    // Word by word: comparing arrays calls a loop over bytes.
    addresses.source[0] == packet.source[0]
        && addresses.source[1] == packet.source[1]
        && addresses.destination[0] == packet.destination[0]
        && addresses.destination[1] == packet.destination[1]
}

impl Place {
    #[inline(always)]
    fn addresses(&self) -> Option<*mut FlowAddresses> {
        let set: *mut MemoAddresses = maps::MEMO_ADDRESSES.get_ptr_mut(self.index)?;
        // SAFETY: the way is within the set.
        Some(unsafe { set.cast::<FlowAddresses>().add(self.way as usize & (MEMO_WAYS - 1)) })
    }

    /// The line.
    #[inline(always)]
    pub fn line(&self) -> *mut MemoLine {
        self.line
    }

    /// Gives the line to a new flow, handing its old account over if there is one to keep.
    #[inline(always)]
    pub fn take(&self, key: FlowKey, packet: &Packet, now: u32, cpu: u32) {
        // SAFETY: a line of a live element of MEMO, written on this CPU only.
        let line = unsafe { &mut *self.line };
        if line.key != 0 && line.packets != 0 {
            self.hand_over(line, cpu);
        }
        store_stamp(line, 0);
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
        if packet.family == 6
            && let Some(addresses) = self.addresses()
        {
            // SAFETY: the addresses of this line, written on this CPU only.
            let addresses = unsafe { &mut *addresses };
            set_address(&mut addresses.source, &packet.source);
            set_address(&mut addresses.destination, &packet.destination);
        }
    }

    #[inline(always)]
    fn hand_over(&self, line: &MemoLine, cpu: u32) {
        // In this order: a reserved record must not be left behind.
        let reserved = self.addresses().and_then(|addresses| Some((addresses, maps::FLOWS.reserve(0)?)));
        let Some((addresses, mut record)) = reserved else {
            telemetry(cpu, Telemetry::FlowsLost, 1);
            telemetry(cpu, Telemetry::FlowPacketsLost, line.packets);
            telemetry(cpu, Telemetry::FlowBytesLost, line.bytes);
            return;
        };
        let record_words: *mut FlowRecord = record.as_mut_ptr();
        // SAFETY: the reserved record and this flow's addresses, each as long as the array says.
        unsafe {
            copy::<8>(bytemuck::cast_ref(line), record_words.cast());
            copy::<4>(bytemuck::cast_ref(&*addresses), (&raw mut (*record_words).addresses).cast());
        }
        record.submit(0);
        telemetry(cpu, Telemetry::FlowsEvicted, 1);
    }
}

/// Whether the line's decision holds for this packet.
#[inline(always)]
pub fn holds(line: &MemoLine, stamp: u32, variant: u16, jiffies: u64) -> bool {
    if line.stamp != stamp || line.variant != variant {
        return false;
    }
    if line.decision & MEMO_UNTIL == 0 {
        return true;
    }
    // Beyond UNTIL_MAX the 16 bits could have turned over.
    let idle = (jiffies as u32).wrapping_sub(line.last);
    ticks(idle as u64) < UNTIL_MAX && (line.until.wrapping_sub(ticks(jiffies) as u16) as i16) > 0
}

/// What a decision holds for.
pub struct Validity {
    /// The stamp, or [`gateway_common::abi::STAMP_ONCE`].
    pub stamp: u32,
    /// The packet's variant.
    pub variant: u16,
    /// The time, in ticks.
    pub now: u32,
    /// The time, in jiffies.
    pub jiffies: u32,
    /// Whether the sender is a target whose connections are tracked.
    pub returns: bool,
}

/// A time to live that is further away is looked at again then: the line has 16 bits for it.
const UNTIL_MAX: u32 = 0x3fff;

/// Writes a decision into the line; the stamp last, which makes it valid.
#[inline(always)]
pub fn decide(line: *mut MemoLine, judged: &Judged, entry: &RouteEntry, validity: &Validity) {
    // SAFETY: a line of a live element of MEMO, written on this CPU only.
    let line = unsafe { &mut *line };
    let mut decision = entry.counter & MEMO_COUNTER | (entry.verdict as u32 & 3) << 24;
    if entry.flags & ROUTE_EXTRA != 0 {
        decision |= MEMO_EXTRA;
    }
    if validity.returns {
        decision |= MEMO_RETURNS;
    }
    if judged.until != FOR_EVER {
        decision |= MEMO_UNTIL;
        let left = judged.until.wrapping_sub(validity.now);
        let left = if left > UNTIL_MAX { UNTIL_MAX } else { left };
        line.until = validity.now.wrapping_add(left) as u16;
        line.last = validity.jiffies;
    }
    line.priority = entry.priority;
    line.decision = decision;
    line.route = judged.route as u16;
    line.detail = if entry.verdict == Verdict::Drop as u8 { entry.reason } else { entry.egress_slot };
    line.mark = entry.mark;
    line.variant = validity.variant;
    store_stamp(line, validity.stamp);
}

/// Notes the target that the flow's packets go to, if the line still holds under `stamp`. With `only` the route
/// says nothing beyond that.
#[inline(always)]
pub fn aim(line: *mut MemoLine, stamp: u32, slot: u32, only: bool) {
    // SAFETY: as in `decide`.
    let line = unsafe { &mut *line };
    if line.stamp != stamp || line.decision & (MEMO_UNTIL | MEMO_RETURNS) != 0 {
        return;
    }
    line.until = slot as u16;
    let kept = if only { !MEMO_EXTRA } else { !0 };
    line.decision = line.decision & kept | MEMO_TARGET;
}

/// Whether [`know`] would tell the line of this connection anything.
#[inline(always)]
pub fn is_news(line: *mut MemoLine, stamp: u32, connection: u32) -> bool {
    // SAFETY: as in `decide`.
    let line = unsafe { &*line };
    line.stamp == stamp && line.mark == UNSET && line.skb_priority() == UNSET && line.priority != connection
}

/// Notes the connection that the flow's packets are of, for a line of which [`is_news`] is true. With `only` the route
/// says nothing beyond its pool.
#[inline(always)]
pub fn know(line: *mut MemoLine, connection: u32, only: bool) {
    // SAFETY: as in `decide`.
    let line = unsafe { &mut *line };
    // What a target sends may be an answer, or a packet like any other.
    let kept = if only && line.decision & MEMO_RETURNS == 0 { !MEMO_EXTRA } else { !0 };
    line.decision = line.decision & kept | MEMO_CONNECTION;
    line.priority = connection;
}

#[inline(always)]
fn store_stamp(line: &mut MemoLine, stamp: u32) {
    // SAFETY: a field of a line that `line` borrows; volatile, so that it stays in its place among
    // the other stores, which a reader in another address space relies on.
    unsafe { core::ptr::write_volatile(&raw mut line.stamp, stamp) };
}

/// Adds a packet to the flow's account.
#[inline(always)]
pub fn account(line: *mut MemoLine, length: u32, tcp_flags: u8, now: u32) {
    // SAFETY: as in `decide`.
    let line = unsafe { &mut *line };
    line.packets += 1;
    line.bytes += length as u64;
    line.last = now;
    line.tcp_flags |= tcp_flags;
}

/// Copies word by word: left to itself the compiler calls a loop over bytes.
///
/// # Safety
/// `to` must be valid for `N` words.
#[inline(always)]
unsafe fn copy<const N: usize>(from: &[u64; N], to: *mut u64) {
    for (i, word) in from.iter().enumerate() {
        // SAFETY: `i` is below N.
        unsafe { core::ptr::write_volatile(to.add(i), *word) };
    }
}
