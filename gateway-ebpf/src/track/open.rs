//! A connection begins: its target, its place, and the port that its target's packets come back to.

use super::affinity::{gateway_affinity, gateway_keep};
use super::{
    Ends, FOLLOWS, NONE, TRACK_SETS, WAYS, clock, connection, find, follow, return_word, state_of, tag,
    translate, with_hash,
};
use crate::account::{self, telemetry};
use crate::health;
use crate::maps;
use crate::pipeline::Judged;
use crate::pool::{self, Forwarding};
use crate::scratch;
use gateway_common::abi::{Control, TRACKED_AFFINITY, Telemetry, Tracked};
use gateway_common::image::PoolEntry;
use gateway_common::packet::{protocol, set_address};
use gateway_common::reason::Reason;
use gateway_common::track::{Direction, Tag, exchanges_ports, next_state, phase, sets, takes_another_port};

/// How often another port is tried where sources are translated, and another target where they are not.
const PORT_TRIES: u32 = 32;
const TARGET_TRIES: u32 = 4;
/// Places that a connection may take: two sets.
const PLACES: u32 = 2 * WAYS;

/// What a place is taken for.
const CONNECTION: u32 = 0;
const AFFINITY: u32 = 1;

/// Opens a connection for the packet that this CPU judges, to a target of its pool: [`FOLLOWS`], or the code of the
/// [`Reason`] why not. A global function, see [`crate::classify::gateway_classify`].
///
/// It only drives the steps, each a function of its own that calls as little as can be: the stacks of all that are
/// under way together have 512 bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_open(cpu: u32) -> u32 {
    let index = gateway_claim(cpu, CONNECTION);
    if index == NONE {
        telemetry(cpu, Telemetry::TrackedRefused, 1);
        return Reason::ConnectionsFull as u32;
    }
    let kept = gateway_affinity(cpu);
    let mut said = TAKEN;
    let mut refused = Reason::NoPort as u32;
    let mut attempt = 0;
    while attempt < PORT_TRIES && said == TAKEN {
        refused = gateway_choose(cpu, attempt, kept);
        if refused != FOLLOWS {
            break;
        }
        refused = gateway_settle(cpu, index, attempt);
        if refused != FOLLOWS {
            break;
        }
        refused = Reason::NoPort as u32;
        said = gateway_place_return(cpu, index);
        attempt += 1;
    }
    if said != FOLLOWS {
        if let Some(word) = tag(index) {
            word.store(0);
        }
        return refused;
    }
    if gateway_begin(cpu, index) == AFFINITY {
        let place = gateway_claim(cpu, AFFINITY);
        if place == NONE {
            telemetry(cpu, Telemetry::TrackedRefused, 1);
        } else {
            gateway_keep(cpu, index, place);
        }
    }
    FOLLOWS
}

/// Chooses the target of the connection that is being made, another one at each attempt unless its port differs:
/// [`FOLLOWS`], or the code of the [`Reason`] why there is no more to attempt. `kept` is what [`gateway_affinity`] said,
/// and this CPU's [`Forwarding`] then names the target already. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_choose(cpu: u32, attempt: u32, kept: u32) -> u32 {
    let Some((judged, forwarding)) = scratch::forwarding(cpu) else { return Reason::PolicyFault as u32 };
    choose(attempt, kept, judged, forwarding).unwrap_or(Reason::PolicyFault as u32)
}

#[inline(always)]
fn choose(attempt: u32, kept: u32, judged: &Judged, forwarding: &mut Forwarding) -> Option<u32> {
    let pool = pool::entry(judged)?;
    let translates_port = pool.ports[0] != 0 && takes_another_port(&judged.packet);
    if pool.ports[0] != 0 && attempt > 0 && !translates_source(pool, forwarding) {
        // The target of the attempt before is this node: there is no other port to try.
        return Some(Reason::NoPort as u32);
    }
    if !translates_port && (attempt >= TARGET_TRIES || kept == FOLLOWS && attempt > 0) {
        return Some(Reason::NoPort as u32);
    }
    if kept != FOLLOWS {
        let another = if translates_port { 0 } else { attempt };
        if !pool::target_of_connection(judged, forwarding, pool, another)? {
            return Some(pool::refusal(pool, &judged.packet) as u32);
        }
    }
    Some(FOLLOWS)
}

/// Whether the target sees another source than the client.
#[inline(always)]
fn translates_source(pool: &PoolEntry, forwarding: &Forwarding) -> bool {
    pool.ports[0] != 0 && forwarding.source[0] | forwarding.source[1] != 0
}

/// Writes the connection that is being made at a place, to the target that was chosen and from a port that differs at
/// each attempt: [`FOLLOWS`], or the code of a [`Reason`]. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_settle(cpu: u32, index: u32, attempt: u32) -> u32 {
    let (Some(control), Some((judged, forwarding))) = (maps::CONTROL.get(0), scratch::forwarding(cpu)) else {
        return Reason::PolicyFault as u32;
    };
    settle(control, index, attempt, judged, forwarding).map_or(Reason::PolicyFault as u32, |()| FOLLOWS)
}

#[inline(always)]
fn settle(
    control: &Control,
    index: u32,
    attempt: u32,
    judged: &Judged,
    forwarding: &Forwarding,
) -> Option<()> {
    let pool = pool::entry(judged)?;
    let [first, last] = pool.ports;
    write(control, index, pool, judged, forwarding)?;
    if translates_source(pool, forwarding) && takes_another_port(&judged.packet) {
        let ports = (last as u32).wrapping_sub(first as u32).wrapping_add(1);
        let hash = Ends::of(&judged.packet).hash(control.limit_seed);
        let start = (((hash >> 32) * ports as u64) >> 32) as u32;
        let offset = start.wrapping_add(attempt).checked_rem(ports)?;
        connection(index)?.source_port = first.wrapping_add(offset as u16);
    }
    Some(())
}

/// Makes the connection at a place valid, and the packet follow it; [`AFFINITY`] where its client is to keep the
/// target. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_begin(cpu: u32, index: u32) -> u32 {
    let (Some(control), Some((judged, forwarding))) = (maps::CONTROL.get(0), scratch::forwarding(cpu)) else {
        return CONNECTION;
    };
    begin(control, index, judged, forwarding).unwrap_or(CONNECTION)
}

#[inline(always)]
fn begin(control: &Control, index: u32, judged: &mut Judged, forwarding: &mut Forwarding) -> Option<u32> {
    let (_, now) = clock(control);
    let (made, packet) = (connection(index)?, &judged.packet);
    let hash = made.hash(control.limit_seed);
    let state = next_state(phase::HALF_OPEN, Direction::Forward, packet.protocol, packet.tcp_flags);
    let tagged = Tag::new(hash, state, made.deadline(state, now));
    health::begins(control, state_of(made.slot)?, made, tagged.phase(), packet);
    tag(index)?.store(tagged.0);
    account::target_opened(judged.cpu, made.slot as u32);
    translate(made, Direction::Forward, forwarding);
    follow(made, tag(index)?, Direction::Forward, now, packet, judged.length);
    judged.connection = index.wrapping_add(1);
    Some(if pool::entry(judged)?.affinity == 0 { CONNECTION } else { AFFINITY })
}

/// Writes the connection, whose tag says that it is being made.
#[inline(always)]
fn write(
    control: &Control,
    index: u32,
    pool: &PoolEntry,
    judged: &Judged,
    forwarding: &Forwarding,
) -> Option<()> {
    let packet = &judged.packet;
    let ends = Ends::of(packet);
    let (_, now) = clock(control);
    let made = connection(index)?;
    set_address(&mut made.client, &packet.source);
    set_address(&mut made.service, &packet.destination);
    made.client_port = ends.source_port;
    made.service_port = ends.port;
    made.protocol = packet.protocol;
    made.family = packet.family;
    made.mss = pool.mss;
    made.counter = judged.counter;
    made.slot = forwarding.slot as u16;
    made.progress = 0;
    let [established, half_open, closing, answered, unanswered] = pool.timeouts;
    let is_tcp = packet.protocol == protocol::TCP;
    made.idle = if is_tcp { established } else { answered };
    made.half_open = if is_tcp { half_open } else { unanswered };
    made.closing = closing;
    set_address(&mut made.target, &forwarding.target);
    let keeps_port = forwarding.ports == 0 || !exchanges_ports(packet.protocol);
    made.target_port = if keeps_port { ends.port } else { forwarding.ports as u16 };
    made.source_port = ends.source_port;
    if translates_source(pool, forwarding) {
        set_address(&mut made.source, &forwarding.source);
    } else {
        set_address(&mut made.source, &packet.source);
    }
    made.opened = now;
    // SAFETY: words of the connection that `made` borrows; volatile, or the compiler zeroes them by a loop over
    // bytes.
    unsafe {
        core::ptr::write_volatile(&raw mut made.packets, 0);
        core::ptr::write_volatile(&raw mut made.bytes, 0);
        core::ptr::write_volatile(&raw mut made.return_packets, 0);
        core::ptr::write_volatile(&raw mut made.return_bytes, 0);
    }
    Some(())
}

/// How gladly a place is given to a connection with this hash: lower is gladder, `u32::MAX` never.
#[inline(always)]
fn reluctance(tag: Tag, hash: u64, now: u32) -> u32 {
    if tag.is_free(now) {
        // One of the same hash must not be left beside it: see `with_hash`.
        return if tag.0 != 0 && tag.has(hash) { 0 } else { 1 + (tag.0 != 0) as u32 };
    }
    let phase = tag.phase();
    if phase == phase::OPEN || phase == phase::CLAIMED { u32::MAX } else { 16 + tag.left(now) }
}

/// Takes a place for the connection, or the affinity, of the packet that this CPU judges: its element, or
/// [`NONE`]. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_claim(cpu: u32, kind: u32) -> u32 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return NONE };
    claim(control, kind, judged).unwrap_or(NONE)
}

#[inline(always)]
fn claim(control: &Control, kind: u32, judged: &Judged) -> Option<u32> {
    let hash = if kind == AFFINITY {
        let ends = Ends::of_affinity(&judged.packet, pool::entry(judged)?.affinity_key);
        let hash = ends.hash(control.limit_seed);
        let known = find(&ends, hash, judged)?;
        if known != NONE {
            return Some(known);
        }
        hash
    } else {
        Ends::of(&judged.packet).hash(control.limit_seed)
    };
    let [first, second] = sets(hash, TRACK_SETS.load() - 1);
    let (_, now) = clock(control);
    let (mut best, mut least) = (NONE, u32::MAX);
    let mut i = 0;
    while i < PLACES {
        let set = if i < WAYS { first } else { second };
        let words = maps::TRACK_TAGS.get(set)?;
        let reluctance = reluctance(Tag(words[(i % WAYS) as usize]), hash, now);
        if reluctance < least {
            (best, least) = (set * WAYS + i % WAYS, reluctance);
        }
        (best, least) = (judged.forgotten(best), judged.forgotten(least));
        i += 1;
    }
    if best == NONE {
        return Some(NONE);
    }
    let word = tag(best)?;
    let old = Tag(word.load());
    let evicts = reluctance(old, hash, now) >= 16;
    if reluctance(old, hash, now) == u32::MAX || !word.replace(old.0, Tag::CLAIMED.0) {
        telemetry(judged.cpu, Telemetry::LimitContended, 1);
        return Some(NONE);
    }
    if old.0 != 0 {
        let gone = connection(best)?;
        if evicts {
            account::target_evicted(judged.cpu, gone.slot as u32);
        }
        if old.phase() != phase::CLAIMED && gone.protocol != TRACKED_AFFINITY {
            health::ends_unseen(state_of(gone.slot)?, gone.slot as u32, old);
            health::gave_up(judged.cpu, gone, old.phase());
        }
        forget_return(control, gone, best)?;
    }
    Some(best)
}

/// Takes out the word by which the packets of an old connection's target found it.
#[inline(always)]
fn forget_return(control: &Control, gone: &Tracked, index: u32) -> Option<()> {
    let hash = gone.return_hash(control.limit_seed);
    let [first, second] = sets(hash, TRACK_SETS.load() - 1);
    let named = hash >> 32 << 32 | (index.wrapping_add(1)) as u64;
    let mut way = with_hash(maps::TRACK_RETURNS.get(first)?, hash);
    let mut set = first;
    if way == NONE {
        way = with_hash(maps::TRACK_RETURNS.get(second)?, hash);
        set = second;
    }
    if way != NONE {
        return_word(set, way)?.replace(named, 0);
    }
    Some(())
}

/// The way back is free.
const FREE: u32 = 1;
/// Another connection has it.
const TAKEN: u32 = 2;
/// It was another connection's of the same ends, and must not be left beside it: see [`with_hash`].
const STALE: u32 = 3;

/// Makes the packets of a target find the connection that is being made at a place: [`FOLLOWS`], or not: then
/// another connection has the same ends there, or no place is left. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_place_return(cpu: u32, index: u32) -> u32 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return TAKEN };
    place_return(control, index, judged).unwrap_or(TAKEN)
}

/// What a word of the returns is to the connection that is being made at `index`: [`FREE`], [`TAKEN`], [`STALE`] or
/// [`FOLLOWS`], which is another's or its own. A global function, as above: in the loops that ask it the verifier
/// would follow each way through it anew.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_look(cpu: u32, set: u32, way: u32, index: u32) -> u32 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return TAKEN };
    look(control, set, way, index, judged).unwrap_or(TAKEN)
}

#[inline(always)]
fn look(control: &Control, set: u32, way: u32, index: u32, judged: &Judged) -> Option<u32> {
    let word = return_word(set, way)?.load();
    let hash = connection(index)?.return_hash(control.limit_seed);
    let other = judged.forgotten((word as u32).wrapping_sub(1));
    if word == 0 {
        return Some(FREE);
    }
    if other == index || (word ^ hash) >> 32 != 0 {
        return Some(FOLLOWS);
    }
    let (_, now) = clock(control);
    let Some(found) = connection(other) else { return Some(STALE) };
    let stale = found.return_hash(control.limit_seed) != hash || Tag(tag(other)?.load()).is_free(now);
    Some(if stale { STALE } else { TAKEN })
}

/// Whether a word of the returns names a connection that is over, or another one by now: 1 if so. A global
/// function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_is_stale(cpu: u32, set: u32, way: u32) -> u32 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return 0 };
    is_stale(control, set, way, judged).unwrap_or(0)
}

#[inline(always)]
fn is_stale(control: &Control, set: u32, way: u32, judged: &Judged) -> Option<u32> {
    let word = return_word(set, way)?.load();
    let index = judged.forgotten((word as u32).wrapping_sub(1));
    let Some(found) = connection(index) else { return Some(1) };
    let (_, now) = clock(control);
    let another = (found.return_hash(control.limit_seed) ^ word) >> 32 != 0;
    Some((another || Tag(tag(index)?.load()).is_free(now)) as u32)
}

#[inline(always)]
fn place_return(control: &Control, index: u32, judged: &Judged) -> Option<u32> {
    let hash = connection(index)?.return_hash(control.limit_seed);
    let [first, second] = sets(hash, TRACK_SETS.load() - 1);
    let mut free = NONE;
    let mut i = 0;
    while i < PLACES {
        let set = if i < WAYS { first } else { second };
        let said = gateway_look(judged.cpu, set, i, index);
        if said == TAKEN {
            return Some(TAKEN);
        }
        if said == STALE || said == FREE && free == NONE {
            free = i;
        }
        free = judged.forgotten(free);
        i += 1;
    }
    let mut way = 0;
    while way < WAYS && free == NONE {
        if gateway_is_stale(judged.cpu, first, way) != 0 {
            free = way;
        }
        way += 1;
    }
    if free >= PLACES {
        telemetry(judged.cpu, Telemetry::TrackedRefused, 1);
        return Some(TAKEN);
    }
    let word = return_word(if free < WAYS { first } else { second }, free)?;
    let old = word.load();
    let named = hash >> 32 << 32 | index.wrapping_add(1) as u64;
    if !word.replace(old, named) {
        return Some(TAKEN);
    }
    // Another CPU may have placed the same ends meanwhile: then it is neither's.
    let mut i = 0;
    while i < PLACES {
        let set = if i < WAYS { first } else { second };
        if gateway_look(judged.cpu, set, i, index) == TAKEN {
            word.replace(named, 0);
            return Some(TAKEN);
        }
        i += 1;
    }
    Some(FOLLOWS)
}
