//! Connections open at once, for limits that count them.
//!
//! Only what such a limit sees is remembered: a SYN (or, of other protocols, a flow's first packet)
//! opens a connection; RST and FIN close it, and so does silence. The table is shared by all CPUs, two
//! sets of four entries for each connection. Nobody walks over it: whoever opens a connection looks at
//! a few sets more and closes what is long silent there, so that the count also falls while no daemon
//! runs.

use crate::account::telemetry;
use crate::atomic::Word;
use crate::keyed::{self, Key, Place};
use crate::maps;
use crate::pipeline::Judged;
use crate::police::{bucket, opens, word};
use aya_ebpf::Global;
use gateway_common::abi::{
    CONNECTION_WAYS, ConnectionEntry, Control, KEYED_COUNT, KEYED_WAYS, OWNER_KEYED, Telemetry,
};
use gateway_common::hash::{finish, fold};
use gateway_common::image::LimitEntry;
use gateway_common::limit::{IDLE_HALF_OPEN, IDLE_OTHER, IDLE_SHIFT, IDLE_TCP, Scope, time};
use gateway_common::packet::{FlowKey, protocol};

/// Sets of the table, a power of two.
#[unsafe(no_mangle)]
static CONNECTION_SETS: Global<u32> = Global::new(1);

const FIN: u8 = 1;
const RST: u8 = 4;
const STATE: u64 = 3;
const HALF_OPEN: u64 = 1;
const OPEN: u64 = 2;
const OTHER: u64 = 3;
/// A tag without a hash: a place that is being taken, and nobody's yet.
const CLAIMED: u64 = OTHER;
/// Sets that are swept for each connection that opens.
const SWEPT: u32 = 2;

/// What a limit says of a packet, see `police`.
const WITHIN: u32 = 0;
const OVER: u32 = 1;

/// Puts a packet to a limit of open connections; `key` is the limit's, or nobody's if it is not by key.
#[inline(always)]
pub fn count(
    control: &Control,
    limit: &LimitEntry,
    key: &Key,
    now_ns: u64,
    judged: &mut Judged,
) -> Option<u32> {
    let packet = &judged.packet;
    // The slot is folded in on its own, or limits and ports that lie side by side would be one.
    let seed = fold(control.limit_seed, limit.slot as u64);
    // All of the addresses, and seeded: what a sender can choose must not make two connections one.
    let [source, rest] = packet.source;
    let [destination, last] = packet.destination;
    let hash = fold(fold(fold(seed, FlowKey::words_of(0, packet)), source), rest);
    let hash = finish(fold(fold(hash, destination), last));
    let now = (now_ns >> IDLE_SHIFT) as u32;
    let mask = CONNECTION_SETS.load() - 1;
    let (first, second) = (hash as u32 & mask, (hash >> 32) as u32 & mask);
    let found = match search(first, hash)? {
        None => search(second, hash)?,
        found => found,
    };
    let is_tcp = packet.protocol == protocol::TCP;
    if let Some(entry) = found {
        // SAFETY: a live element of CONNECTIONS.
        let entry = unsafe { &mut *entry };
        if is_tcp && packet.tcp_flags & (FIN | RST) != 0 {
            close(entry);
            return Some(WITHIN);
        }
        entry.last = now;
        let state = if !is_tcp {
            OTHER
        } else if opens(packet, false) {
            HALF_OPEN
        } else {
            OPEN
        };
        let (old, word) = (entry.tag, tag_of(entry));
        if old & STATE < state {
            // Not stored: another CPU may just have closed it, and then it stays closed.
            word.replace(old, old & !STATE | state);
        }
        return Some(WITHIN);
    }
    if !opens(packet, judged.new_flow != 0) {
        return Some(WITHIN);
    }
    sweep(now, judged)?;
    let free = match free(first, now)? {
        None => free(second, now)?,
        found => found,
    };
    // SAFETY: a live element of CONNECTIONS.
    let Some(entry) = free.map(|entry| unsafe { &mut *entry }) else {
        telemetry(judged.cpu, Telemetry::ConnectionsRefused, 1);
        return Some(OVER);
    };
    // Of several CPUs that found the same place free one has it.
    if !tag_of(entry).replace(0, CLAIMED) {
        telemetry(judged.cpu, Telemetry::LimitContended, 1);
        return Some(OVER);
    }
    let Some(owner) = open(limit, key, now_ns, judged) else {
        tag_of(entry).store(0);
        return Some(OVER);
    };
    entry.owner = owner;
    entry.last = now;
    tag_of(entry).store(hash & !STATE | if is_tcp { HALF_OPEN } else { OTHER });
    Some(WITHIN)
}

/// The word that says whose an entry is.
#[inline(always)]
fn tag_of(entry: &mut ConnectionEntry) -> Word {
    // SAFETY: a word of a live element of CONNECTIONS, aligned.
    unsafe { Word::new(&raw mut entry.tag) }
}

/// The connection's entry in a set.
#[inline(always)]
fn search(set: u32, hash: u64) -> Option<Option<*mut ConnectionEntry>> {
    let entries: *mut ConnectionEntry = maps::CONNECTIONS.get_ptr_mut(set)?.cast();
    let mut way = 0;
    while way < CONNECTION_WAYS {
        // SAFETY: within the set.
        let entry = unsafe { entries.add(way) };
        // SAFETY: a live element of CONNECTIONS.
        let tag = unsafe { (*entry).tag };
        if tag > CLAIMED && (tag ^ hash) & !STATE == 0 {
            return Some(Some(entry));
        }
        way += 1;
    }
    Some(None)
}

/// An entry of a set that is empty or long silent, which is closed then.
#[inline(always)]
fn free(set: u32, now: u32) -> Option<Option<*mut ConnectionEntry>> {
    let entries: *mut ConnectionEntry = maps::CONNECTIONS.get_ptr_mut(set)?.cast();
    let mut way = 0;
    while way < CONNECTION_WAYS {
        // SAFETY: within the set.
        let entry = unsafe { entries.add(way) };
        // SAFETY: a live element of CONNECTIONS.
        let connection = unsafe { &mut *entry };
        if connection.tag == 0 {
            return Some(Some(entry));
        }
        if is_silent(connection, now) {
            close(connection);
            return Some(Some(entry));
        }
        way += 1;
    }
    Some(None)
}

#[inline(always)]
fn is_silent(connection: &ConnectionEntry, now: u32) -> bool {
    if connection.tag <= CLAIMED {
        return false;
    }
    let patience = match connection.tag & STATE {
        HALF_OPEN => IDLE_HALF_OPEN,
        OTHER => IDLE_OTHER,
        _ => IDLE_TCP,
    };
    let idle = now.wrapping_sub(connection.last);
    // Another CPU's clock may be a little ahead.
    idle > patience && idle < u32::MAX / 2
}

/// Closes what is long silent in the next few sets.
#[inline(always)]
fn sweep(now: u32, judged: &mut Judged) -> Option<()> {
    let mut i = 0;
    while i < SWEPT {
        judged.sweep = judged.sweep.wrapping_add(1);
        // Odd steps from a place of its own for each CPU.
        let step = judged.sweep.wrapping_mul(0x9E37_79B1).wrapping_add(judged.cpu);
        let set = step & (CONNECTION_SETS.load() - 1);
        let entries: *mut ConnectionEntry = maps::CONNECTIONS.get_ptr_mut(set)?.cast();
        let mut way = 0;
        while way < CONNECTION_WAYS {
            // SAFETY: within the set, a live element of CONNECTIONS.
            let connection = unsafe { &mut *entries.add(way) };
            if is_silent(connection, now) {
                close(connection);
            }
            way += 1;
        }
        i += 1;
    }
    Some(())
}

/// Takes a connection off its owner's count; of several CPUs only one does.
#[inline(always)]
fn close(connection: &mut ConnectionEntry) {
    let tag = connection.tag;
    let owner = connection.owner;
    if !tag_of(connection).replace(tag, 0) {
        return;
    }
    if owner & OWNER_KEYED == 0 {
        let Some(bucket) = bucket(owner) else { return };
        // SAFETY: a field of an element of BUCKETS.
        let count = word(unsafe { &raw mut (*bucket).full_at });
        // 0 where the limit was made anew meanwhile.
        if count.load() != 0 {
            count.add(u64::MAX);
        }
        return;
    }
    if let Some(place) = keyed::at(owner & !OWNER_KEYED & (u32::MAX / KEYED_WAYS as u32)) {
        let tag = place.tag().load();
        if tag & KEYED_COUNT != 0 {
            place.tag().add(u64::MAX);
        }
    }
}

/// Counts a connection, if the limit has room: where it is counted.
#[inline(always)]
fn open(limit: &LimitEntry, key: &Key, now_ns: u64, judged: &Judged) -> Option<u32> {
    if limit.scope == Scope::All as u8 {
        let bucket = bucket(limit.slot)?;
        // SAFETY: a field of an element of BUCKETS.
        let count = word(unsafe { &raw mut (*bucket).full_at });
        if count.add(1) < limit.depth {
            return Some(limit.slot);
        }
        count.add(u64::MAX);
        return None;
    }
    let now = time(now_ns);
    let found = keyed::find(key, judged);
    let place = found.or_else(|| keyed::take(key, now, judged))?;
    let tag = place.tag().load();
    if tag & KEYED_COUNT >= limit.depth {
        return None;
    }
    place.tag().add(1);
    keep(&place, now);
    Some(place.index | OWNER_KEYED)
}

/// Keeps the key from giving way to others for as long as its connections may be silent.
#[inline(always)]
fn keep(place: &Place, now: u64) {
    let for_ns = (IDLE_TCP as u64) << IDLE_SHIFT;
    place.full_at().store(now.wrapping_add(time(for_ns)));
}
