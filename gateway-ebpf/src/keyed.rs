//! The table of buckets by key, shared by all CPUs.
//!
//! A key has two sets of four entries to choose from, each set a cache line. The bucket is a time
//! ([`gateway_common::limit`]), so an entry whose time has come says nothing that an empty one does
//! not, and can be taken without anybody losing anything. Only where all eight places are in debt does
//! one give way: the one least in debt, whose key then begins with a full bucket. So a flood of keys
//! that send a packet each pushes out its own kind before anybody who sends much, and a ban last.

use crate::account::{limit_evicted, telemetry};
use crate::atomic::Word;
use crate::maps;
use crate::pipeline::Judged;
use crate::ways::{NONE, zero_of};
use aya_ebpf::Global;
use core::ptr::null_mut;
use gateway_common::abi::{
    ACTIVE_PER_SOURCE, Control, KEYED_COUNT, KEYED_WAYS, KeyName, KeyedEntry, KeyedSet, Telemetry,
};
use gateway_common::limit::{AHEAD_MAX, IDLE_SHIFT, TIME_SHIFT, key_hash, key_sets, owner_hash};

/// Sets of the table, a power of two.
#[unsafe(no_mangle)]
static LIMIT_SETS: Global<u32> = Global::new(1);

/// A key of a limit.
#[derive(Clone, Copy)]
pub struct Key {
    /// [`gateway_common::limit::owner_hash`].
    pub owner: u64,
    /// [`gateway_common::limit::key_hash`].
    pub hash: u64,
    /// What it is a hash of.
    pub words: [u64; 2],
    /// The limit's slot.
    pub slot: u32,
    /// 4, 6, or 0 for a label set.
    pub family: u32,
}

impl Key {
    /// Of a limit that is not by key.
    pub const NOBODY: Key = Key { owner: 0, hash: 0, words: [0; 2], slot: 0, family: 0 };

    /// The key of an owner, of whom `words` and `owner` are said, at a limit.
    #[inline(always)]
    pub fn new(owner: u64, slot: u32, family: u32, words: [u64; 2]) -> Key {
        Key { owner, hash: key_hash(owner, slot), words, slot, family }
    }

    /// What an entry holds of it; never 0.
    #[inline(always)]
    fn tag(&self) -> u64 {
        (self.hash & !KEYED_COUNT) | (KEYED_COUNT + 1)
    }
    #[inline(always)]
    fn sets(&self) -> [u32; 2] {
        key_sets(self.owner, self.hash, LIMIT_SETS.load() - 1)
    }
}

/// An entry.
#[derive(Clone, Copy)]
pub struct Place {
    /// `set * KEYED_WAYS + way`.
    pub index: u32,
    entry: *mut KeyedEntry,
}

impl Place {
    /// The tag's word.
    #[inline(always)]
    pub fn tag(&self) -> Word {
        // SAFETY: a word of an element of KEYED, aligned, which outlives the program and which all
        // CPUs change by atomic operations only.
        unsafe { Word::new(&raw mut (*self.entry).tag) }
    }
    /// The bucket's word.
    #[inline(always)]
    pub fn full_at(&self) -> Word {
        // SAFETY: as above.
        unsafe { Word::new(&raw mut (*self.entry).full_at) }
    }
}

/// The entry at `set * KEYED_WAYS + way`.
#[inline(always)]
pub fn at(index: u32) -> Option<Place> {
    let set: *mut KeyedEntry = maps::KEYED.get_ptr_mut(index / KEYED_WAYS as u32)?.cast();
    // SAFETY: the way is within the set.
    let entry = unsafe { set.add((index % KEYED_WAYS as u32) as usize) };
    Some(Place { index, entry })
}

/// Works out whose the packet is, where limits by source ask for it, and has the first choice of set of its source's
/// keys fetched: that is waiting for memory, which so begins while the memo's line is still on its way. The set, for
/// [`find_from`]; null where no limit is by source.
#[inline(always)]
pub fn expect_by_source(control: &Control, judged: &mut Judged) -> *mut KeyedSet {
    if judged.active & ACTIVE_PER_SOURCE == 0 {
        return null_mut();
    }
    judged.owner = owner_hash(control.limit_seed, judged.packet.family as u32, judged.packet.source);
    let Some(set) = maps::KEYED.get_ptr_mut(judged.owner as u32 & (LIMIT_SETS.load() - 1)) else {
        return null_mut();
    };
    // SAFETY: a word of a live element; volatile, or nothing would be read.
    let _ = unsafe { core::ptr::read_volatile(set.cast::<u64>()) };
    set
}

/// The entry of a key, if it has one.
#[inline(always)]
pub fn find(key: &Key, judged: &Judged) -> Option<Place> {
    find_from(maps::KEYED.get_ptr_mut(key.sets()[0])?, key, judged)
}

/// The same, if its first set is at hand.
#[inline(always)]
pub fn find_from(first_set: *mut KeyedSet, key: &Key, judged: &Judged) -> Option<Place> {
    let [first, second] = key.sets();
    let (mut set, mut entries) = (first, first_set);
    let mut way = search(entries, key.tag());
    if way == NONE {
        (set, entries) = (second, maps::KEYED.get_ptr_mut(second)?);
        way = search(entries, key.tag());
    }
    let way = judged.forgotten(way);
    if way == NONE {
        return None;
    }
    let way = way % KEYED_WAYS as u32;
    // SAFETY: the way is within the set.
    let entry = unsafe { entries.cast::<KeyedEntry>().add(way as usize) };
    Some(Place { index: set * KEYED_WAYS as u32 + way, entry })
}

/// Which entry of a set has the tag.
#[inline(always)]
fn search(set: *mut KeyedSet, tag: u64) -> u32 {
    const { assert!(KEYED_WAYS == 4) };
    // SAFETY: a live element of KEYED; each of its words is whole whoever writes it.
    let [a, b, c, d] = unsafe { &*set };
    zero_of([a, b, c, d].map(|entry| (entry.tag ^ tag) >> 16))
}

/// How far an entry's bucket is ahead, whatever its limit.
#[inline(always)]
fn debt(entry: &KeyedEntry, now: u64) -> u64 {
    let ahead = entry.full_at.wrapping_sub(now);
    if entry.tag == 0 {
        0
    } else if ahead > AHEAD_MAX {
        1
    } else {
        ahead + 1
    }
}

/// The least indebted of a set and what was found before.
#[inline(always)]
fn least(set: u32, now: u64, before: (u64, u32)) -> Option<(u64, u32)> {
    let entries = maps::KEYED.get(set)?;
    let mut best = before;
    let mut way = 0;
    while way < KEYED_WAYS {
        let debt = debt(&entries[way], now);
        if debt < best.0 {
            best = (debt, set * KEYED_WAYS as u32 + way as u32);
        }
        way += 1;
    }
    Some(best)
}

/// Gives a key an entry with a full bucket. Nothing where another CPU was faster: rare, and the caller
/// refuses the packet.
#[inline(always)]
pub fn take(key: &Key, now: u64, judged: &Judged) -> Option<Place> {
    let [first, second] = key.sets();
    let best = least(first, now, (u64::MAX, first * KEYED_WAYS as u32))?;
    let (debt, index) = least(second, now, best)?;
    let index = judged.forgotten(index);
    let place = at(index)?;
    let old = place.tag().load();
    if !place.tag().replace(old, key.tag()) {
        return None;
    }
    place.full_at().store(now);
    let names: *mut KeyName = maps::KEYED_NAMES.get_ptr_mut(index / KEYED_WAYS as u32)?.cast();
    // SAFETY: the way is within the set; whoever has the entry writes its name.
    let name = unsafe { &mut *names.add((index % KEYED_WAYS as u32) as usize) };
    if debt > 1 {
        telemetry(judged.cpu, Telemetry::KeysEvicted, 1);
        limit_evicted(judged.cpu, name.slot);
    }
    name.key = key.words;
    name.slot = key.slot;
    name.family = key.family;
    name.since = (now >> TIME_SHIFT >> IDLE_SHIFT) as u32;
    Some(place)
}
