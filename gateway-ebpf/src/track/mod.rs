//! Tracked connections: found by what either side's packets show, opened, and followed to their end.
//!
//! The table is shared by all CPUs and has no sweeper: whose time has come is nobody's, and its place is
//! taken by the next one that may stand there. Packets of the client find the tag, eight to a cache line,
//! and behind it the connection; packets of the target find a word that names the connection. A word is
//! believed only where the connection says the same, so that nothing has to be taken out in order.

mod affinity;
mod going_on;
mod open;

pub use going_on::going_on;
pub use open::gateway_open;

use crate::atomic::Word;
use crate::health;
use crate::maps;
use crate::pipeline::Judged;
use crate::police::now_ns;
use crate::pool::{self, Forwarding};
use crate::scratch;
use crate::translate;
use crate::ways::is_zero;
use aya_ebpf::Global;
use gateway_common::abi::{
    Control, TARGET_DRAINS, TRACK_WAYS, TRACKED_AFFINITY, TagSet, TargetState, Tracked,
};
use gateway_common::fragment::lacks;
use gateway_common::image::{Forward, MAX_TARGETS};
use gateway_common::packet::{Packet, set_address};
use gateway_common::track::{Direction, Tag, begins_anew, hash, next_state, phase, ports, sets, units};

/// Sets of the table, a power of two.
#[unsafe(no_mangle)]
static TRACK_SETS: Global<u32> = Global::new(1);

/// No element.
pub const NONE: u32 = u32::MAX;
const WAYS: u32 = TRACK_WAYS as u32;
/// How often a tag that another CPU changed in between is tried again.
const TRIES: u32 = 3;

/// The time that connections are measured by.
#[inline(always)]
fn clock(control: &Control) -> (u64, u32) {
    let now_ns = now_ns(control, false);
    (now_ns, units(now_ns))
}

/// A connection, written before its tag makes it valid and then changed in its counts only.
#[inline(always)]
fn connection(index: u32) -> Option<&'static mut Tracked> {
    // SAFETY: a live element of TRACKED; words that several CPUs change are changed by atomic operations.
    maps::TRACKED.get_ptr_mut(index).map(|tracked| unsafe { &mut *tracked })
}

/// The tag of a connection.
#[inline(always)]
fn tag(index: u32) -> Option<Word> {
    let set: *mut u64 = maps::TRACK_TAGS.get_ptr_mut(index / WAYS)?.cast();
    // SAFETY: the way is within the set; a word of a live element, aligned, which outlives the program and
    // which all CPUs change by atomic operations only.
    Some(unsafe { Word::new(set.add((index % WAYS) as usize)) })
}

/// A word of the returns.
#[inline(always)]
fn return_word(set: u32, way: u32) -> Option<Word> {
    let set: *mut u64 = maps::TRACK_RETURNS.get_ptr_mut(set)?.cast();
    // SAFETY: as in `tag`.
    Some(unsafe { Word::new(set.add((way % WAYS) as usize)) })
}

/// Which words of a set have this upper half: the way of the one that has, or [`NONE`]. Where two have, as
/// hardly ever, a way that may be neither's. Without a branch for each.
#[inline(always)]
fn with_hash(words: &TagSet, hash: u64) -> u32 {
    let (mut any, mut way) = (0, 0);
    let mut i = 0;
    while i < TRACK_WAYS {
        let same = is_zero((words[i] ^ hash) >> 32);
        any |= same;
        way += same * i as u32;
        i += 1;
    }
    if any == 0 { NONE } else { way & (WAYS - 1) }
}

/// What a connection is known by: the ends that a packet shows.
#[derive(Clone, Copy)]
struct Ends {
    source: [u64; 2],
    destination: [u64; 2],
    source_port: u16,
    port: u16,
    protocol: u8,
}

impl Ends {
    #[inline(always)]
    fn of(packet: &Packet) -> Ends {
        let (source_port, port) = ports(packet);
        let (source, destination) = (packet.source, packet.destination);
        Ends { source, destination, source_port, port, protocol: packet.protocol }
    }
    /// What is kept of a client for its next connection to the pool of this key.
    #[inline(always)]
    fn of_affinity(packet: &Packet, key: u64) -> Ends {
        let (source, destination) = (packet.source, [key, 0]);
        Ends { source, destination, source_port: 0, port: 0, protocol: TRACKED_AFFINITY }
    }
    #[inline(always)]
    fn hash(&self, seed: u64) -> u64 {
        hash(seed, self.source, self.destination, self.source_port, self.port, self.protocol)
    }
    /// 0 if these are a connection's as its client's packets show them.
    #[inline(always)]
    fn differ(&self, found: &Tracked) -> u64 {
        (found.client[0] ^ self.source[0])
            | (found.client[1] ^ self.source[1])
            | (found.service[0] ^ self.destination[0])
            | (found.service[1] ^ self.destination[1])
            | (found.client_port ^ self.source_port) as u64
            | (found.service_port ^ self.port) as u64
            | (found.protocol ^ self.protocol) as u64
    }
    /// 0 if these are a connection's as its target's packets show them.
    #[inline(always)]
    fn differ_return(&self, found: &Tracked) -> u64 {
        (found.target[0] ^ self.source[0])
            | (found.target[1] ^ self.source[1])
            | (found.source[0] ^ self.destination[0])
            | (found.source[1] ^ self.destination[1])
            | (found.target_port ^ self.source_port) as u64
            | (found.source_port ^ self.port) as u64
            | (found.protocol ^ self.protocol) as u64
    }
}

/// A connection, by its element, with its tag.
type Place = (u32, &'static mut Tracked, Word);

/// The place of this element.
#[inline(always)]
fn place(index: u32) -> Option<Place> {
    Some((index, connection(index)?, tag(index)?))
}

/// The connection that the memo knows of the packet's flow, if it is still one and still has what `differ` compares.
/// Its tag is read first: a place is tagged last of all.
#[inline(always)]
fn known(judged: &mut Judged, now: u32, differ: impl Fn(&Tracked) -> u64) -> Option<Place> {
    let index = judged.forgotten(judged.connection.wrapping_sub(1));
    judged.connection = 0;
    let (_, found, word) = place(index)?;
    if !Tag(word.load()).is_live(now) || differ(found) != 0 {
        return None;
    }
    Some((index, found, word))
}

/// The element of a client's packet, whether its time has come or not.
#[inline(always)]
fn find(ends: &Ends, hash: u64, judged: &Judged) -> Option<u32> {
    let [first, second] = sets(hash, TRACK_SETS.load() - 1);
    let mut index = NONE;
    let way = with_hash(maps::TRACK_TAGS.get(first)?, hash);
    if way != NONE {
        index = first * WAYS + way;
    } else {
        let way = with_hash(maps::TRACK_TAGS.get(second)?, hash);
        if way != NONE {
            index = second * WAYS + way;
        }
    }
    let index = judged.forgotten(index);
    if index == NONE {
        return Some(NONE);
    }
    Some(if ends.differ(connection(index)?) == 0 { index } else { NONE })
}

/// The element of a target's packet, whether its time has come or not.
#[inline(always)]
fn find_return(ends: &Ends, hash: u64, judged: &Judged) -> Option<u32> {
    let [first, second] = sets(hash, TRACK_SETS.load() - 1);
    let mut named = 0;
    let way = with_hash(maps::TRACK_RETURNS.get(first)?, hash);
    if way != NONE {
        named = return_word(first, way)?.load() as u32;
    } else {
        let way = with_hash(maps::TRACK_RETURNS.get(second)?, hash);
        if way != NONE {
            named = return_word(second, way)?.load() as u32;
        }
    }
    let index = judged.forgotten(named.wrapping_sub(1));
    if index == NONE {
        return Some(NONE);
    }
    let Some(found) = connection(index) else { return Some(NONE) };
    Some(if ends.differ_return(found) == 0 { index } else { NONE })
}

#[inline(always)]
fn state_of(slot: u16) -> Option<&'static TargetState> {
    maps::TARGET_STATES.get(slot as u32 & (MAX_TARGETS as u32 - 1))
}

/// Whether a target takes new connections.
#[inline(always)]
fn takes(state: &TargetState, found: &Tracked, now_ns: u64) -> bool {
    state.flags & TARGET_DRAINS == 0 && state.honours(found.target, found.target_port, found.protocol, now_ns)
}

/// Follows the connection's state by one packet, and counts it: the phases before and after.
#[inline(always)]
fn follow(
    found: &mut Tracked,
    word: Word,
    direction: Direction,
    now: u32,
    packet: &Packet,
    length: u32,
) -> (u8, u8) {
    let mut tries = 0;
    let mut phases = (phase::CLAIMED, phase::CLAIMED);
    while tries < TRIES {
        let old = Tag(word.load());
        let state = next_state(old.state(), direction, packet.protocol, packet.tcp_flags);
        let new = Tag::new(old.0, state, found.deadline(state, now));
        if new.0 == old.0 || word.replace(old.0, new.0) {
            phases = (old.phase(), new.phase());
            break;
        }
        tries += 1;
    }
    let (packets, bytes): (*mut u64, *mut u64) = match direction {
        Direction::Forward => (&raw mut found.packets, &raw mut found.bytes),
        Direction::Return => (&raw mut found.return_packets, &raw mut found.return_bytes),
    };
    // SAFETY: words of a live element of TRACKED.
    unsafe {
        Word::new(packets).add(1);
        Word::new(bytes).add(length as u64);
    }
    phases
}

/// What a connection's packet is translated to.
#[inline(always)]
fn ends_of(found: &Tracked, direction: Direction) -> translate::Ends<'_> {
    match direction {
        Direction::Forward => translate::Ends {
            source: &found.source,
            target: &found.target,
            ports: (found.source_port as u32) << 16 | found.target_port as u32,
        },
        Direction::Return => translate::Ends {
            source: &found.service,
            target: &found.client,
            ports: (found.service_port as u32) << 16 | found.client_port as u32,
        },
    }
}

/// Where the way of its packet is remembered.
#[inline(always)]
fn hop_of(found: &Tracked, direction: Direction) -> u32 {
    match direction {
        Direction::Forward => found.slot as u32,
        Direction::Return => pool::hop_of_client(found.client),
    }
}

/// Where a packet of a known connection goes.
#[inline(always)]
fn translate(found: &Tracked, direction: Direction, forwarding: &mut Forwarding) {
    forwarding.slot = found.slot as u32;
    forwarding.family = found.family as u32;
    forwarding.forward = Forward::Dnat as u32;
    forwarding.outer_length = 0;
    forwarding.mss = found.mss as u32;
    forwarding.related = 0;
    let ends = ends_of(found, direction);
    set_address(&mut forwarding.target, ends.target);
    set_address(&mut forwarding.source, ends.source);
    forwarding.ports = ends.ports;
    forwarding.hop = hop_of(found, direction);
}

/// Its connection is known, and the packet follows it.
pub const FOLLOWS: u32 = 0;
/// There is none.
pub const UNKNOWN: u32 = 1;

/// Finds the connection of the packet that this CPU judges, as its client's. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_track(cpu: u32) -> u32 {
    let (Some(control), Some((judged, forwarding))) = (maps::CONTROL.get(0), scratch::forwarding(cpu)) else {
        return UNKNOWN;
    };
    forward(control, judged, forwarding).unwrap_or(UNKNOWN)
}

#[inline(always)]
fn forward(control: &Control, judged: &mut Judged, forwarding: &mut Forwarding) -> Option<u32> {
    let ends = Ends::of(&judged.packet);
    let (now_ns, now) = clock(control);
    let (index, found, word) = match known(judged, now, |found| ends.differ(found)) {
        Some(place) => place,
        // Of no element there is no place.
        None => place(find(&ends, ends.hash(control.limit_seed), judged)?)?,
    };
    let old = Tag(word.load());
    if !old.is_live(now) {
        return Some(UNKNOWN);
    }
    let state = state_of(found.slot)?;
    let ended = !state.honours(found.target, found.target_port, found.protocol, now_ns);
    let anew = begins_anew(old.state(), judged.packet.protocol, judged.packet.tcp_flags);
    if ended || anew || health::leaves(state, found, old, judged) {
        // Over: its place is found again by its hash.
        let hash = ends.hash(control.limit_seed);
        if word.replace(old.0, Tag::new(hash, phase::CLOSING, now).0) {
            health::ends_unseen(state, found.slot as u32, old);
        }
        return Some(UNKNOWN);
    }
    judged.connection = index.wrapping_add(1);
    let phases = follow(found, word, Direction::Forward, now, &judged.packet, judged.length);
    health::client_sent(control, state, found, phases, judged);
    translate(found, Direction::Forward, forwarding);
    Some(FOLLOWS)
}

/// Finds the connection of the packet that this CPU judges, as its target's. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_return(cpu: u32) -> u32 {
    let (Some(control), Some((judged, forwarding))) = (maps::CONTROL.get(0), scratch::forwarding(cpu)) else {
        return UNKNOWN;
    };
    returned(control, judged, forwarding).unwrap_or(UNKNOWN)
}

#[inline(always)]
fn returned(control: &Control, judged: &mut Judged, forwarding: &mut Forwarding) -> Option<u32> {
    if lacks(&judged.packet) {
        return Some(UNKNOWN);
    }
    let ends = Ends::of(&judged.packet);
    let (now_ns, now) = clock(control);
    let (index, found, word) = match known(judged, now, |found| ends.differ_return(found)) {
        Some(place) => place,
        None => place(find_return(&ends, ends.hash(!control.limit_seed), judged)?)?,
    };
    let live = Tag(word.load()).is_live(now) && found.protocol != TRACKED_AFFINITY;
    let state = state_of(found.slot)?;
    if !live || !state.honours(found.target, found.target_port, found.protocol, now_ns) {
        return Some(UNKNOWN);
    }
    judged.connection = index.wrapping_add(1);
    let phases = follow(found, word, Direction::Return, now, &judged.packet, judged.length);
    health::target_sent(control, state, found, phases, judged);
    translate(found, Direction::Return, forwarding);
    judged.counter = found.counter;
    Some(FOLLOWS)
}

/// Finds the connection that an ICMP error is about: the packet that this CPU judges is what the error quotes,
/// turned round, and goes the error's way. The connection itself goes on as if nothing had come. A global function,
/// see [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_related(cpu: u32) -> u32 {
    let (Some(control), Some((judged, forwarding))) = (maps::CONTROL.get(0), scratch::forwarding(cpu)) else {
        return UNKNOWN;
    };
    related(control, judged, forwarding).unwrap_or(UNKNOWN)
}

#[inline(always)]
fn related(control: &Control, judged: &Judged, forwarding: &mut Forwarding) -> Option<u32> {
    let ends = Ends::of(&judged.packet);
    let seed = control.limit_seed;
    let mut direction = Direction::Forward;
    let mut index = find(&ends, ends.hash(seed), judged)?;
    if index == NONE {
        direction = Direction::Return;
        index = find_return(&ends, ends.hash(!seed), judged)?;
    }
    let index = judged.forgotten(index);
    if index == NONE {
        return Some(UNKNOWN);
    }
    let (now_ns, now) = clock(control);
    let found = connection(index)?;
    let live = Tag(tag(index)?.load()).is_live(now) && found.protocol != TRACKED_AFFINITY;
    if !live || !state_of(found.slot)?.honours(found.target, found.target_port, found.protocol, now_ns) {
        return Some(UNKNOWN);
    }
    translate(found, direction, forwarding);
    forwarding.related = 1;
    Some(FOLLOWS)
}
