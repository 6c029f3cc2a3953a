//! What a route does beyond a verdict and a mark: DSCP, SYN cookies, limits. The pool that it forwards to
//! is only noted here.

use crate::admit::gateway_admit;
use crate::atomic::Word;
use crate::keyed::{self, Key};
use crate::pipeline::Judged;
use crate::scratch;
use crate::{account, classify, connections, cookies, maps};
use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use gateway_common::abi::{BANNED, Bucket, Control, EventKind, KEYED_COUNT, Telemetry, UNSET};
use gateway_common::image::{LimitEntry, MAX_LIMITS, MAX_ROUTE_LIMITS, prefix_of};
use gateway_common::limit::{
    ALERT_EVERY_NS, Exceed, Scope, UNITS_MAX, Unit, ahead, owner_hash, price, take, time,
};
use gateway_common::packet::{Packet, flags, protocol};
use gateway_common::reason::Reason;

/// 1 where the time is what user space says: for tests.
#[unsafe(no_mangle)]
static FIXED_CLOCK: Global<u32> = Global::new(0);

/// How often a bucket that another CPU changed in between is tried again.
const TRIES: u32 = 4;

/// What a limit says of a packet.
const WITHIN: u32 = 0;
const OVER: u32 = 1;
const OVER_BANNED: u32 = 2;

/// What is left to do for a packet: limits, four indices of 16 bits, or one of the following.
pub const DONE: u64 = 0;
/// The tables point outside themselves.
pub const FAULT: u64 = u64::MAX;
/// SYN cookies, and the limits of the route behind them.
pub const COOKIES: u64 = u64::MAX - 1;
/// The limits of the route.
const LIMITS: u64 = u64::MAX - 2;

/// Does what the route's entry says beyond the memo's line; `now_ns` is the time, late by less than a jiffy. False only
/// where the tables point outside themselves.
#[inline(always)]
pub fn run(cpu: u32, now_ns: u64) -> bool {
    go_on(cpu, gateway_admit(cpu), now_ns)
}

/// Does what is left, as [`run`] does it.
#[inline(always)]
pub fn go_on(cpu: u32, mut left: u64, now_ns: u64) -> bool {
    if left == COOKIES {
        left = gateway_cookies(cpu);
    }
    let mut i = 0;
    while i < MAX_ROUTE_LIMITS && left != DONE && left != FAULT {
        left = gateway_police(cpu, left, now_ns);
        i += 1;
    }
    left != FAULT
}

/// Does the first of what is left for the packet that this CPU judges: what is left then. A global function, see
/// [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_police(cpu: u32, left: u64, now_ns: u64) -> u64 {
    let Some(judged) = scratch::judged(cpu) else { return FAULT };
    police(left, now_ns, judged).unwrap_or(FAULT)
}

/// Asks for a SYN cookie, or looks at the one that the packet which this CPU judges may carry: what is
/// left then. A global function; not called by the one above, whose stack it would add to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_cookies(cpu: u32) -> u64 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else {
        return FAULT;
    };
    cookies(control, judged).unwrap_or(FAULT)
}

#[inline(always)]
fn cookies(control: &Control, judged: &mut Judged) -> Option<u64> {
    classify::locate(judged)?;
    let route = classify::entry_at(judged, judged.routes, judged.route)?;
    let ends = cookies::ask(control, limit(judged, route.syn_cookies)?, judged)?;
    Some(if ends { DONE } else { LIMITS })
}

#[inline(always)]
fn police(mut left: u64, now_ns: u64, judged: &mut Judged) -> Option<u64> {
    classify::locate(judged)?;
    if left == LIMITS {
        let route = classify::entry_at(judged, judged.routes, judged.route)?;
        left = bytemuck::cast(route.limits);
    }
    let index = left as u16;
    if index == 0 {
        return Some(DONE);
    }
    let limit = limit(judged, index)?;
    let said = one(limit, now_ns, judged)?;
    let left = left >> 16;
    if said == WITHIN {
        return Some(left);
    }
    if limit.over == Exceed::Drop as u8 {
        judged.refuse(if said == OVER_BANNED { Reason::Banned } else { Reason::Limit });
        return Some(DONE);
    }
    if limit.over_mark != UNSET {
        judged.mark = limit.over_mark;
    }
    if limit.over_dscp != 0 {
        judged.dscp = limit.over_dscp as u32;
    }
    Some(left)
}

/// A limit of the policy.
#[inline(always)]
pub fn limit(judged: &Judged, index: u16) -> Option<&'static LimitEntry> {
    maps::ARENA.get(judged.limits.wrapping_add(index as u32)).map(bytemuck::cast_ref)
}

/// The bucket of a limit that is not by key, and of every limit's alerts.
#[inline(always)]
pub fn bucket(slot: u32) -> Option<*mut Bucket> {
    maps::BUCKETS.get_ptr_mut(slot & (MAX_LIMITS as u32 - 1))
}

/// A word of a bucket.
#[inline(always)]
pub fn word(word: *mut u64) -> Word {
    // SAFETY: a word of an element of BUCKETS, aligned, which outlives the program and which all CPUs
    // change by atomic operations only.
    unsafe { Word::new(word) }
}

/// The time, `CLOCK_MONOTONIC` nanoseconds: exact, or late by less than a jiffy.
#[inline(always)]
pub fn now_ns(control: &Control, precise: bool) -> u64 {
    if FIXED_CLOCK.load() != 0 {
        return control.fixed_now_ns;
    }
    // SAFETY: helpers without arguments.
    unsafe {
        if precise {
            return bpf_ktime_get_ns();
        }
        bpf_jiffies64().wrapping_mul(control.ns_per_jiffy).wrapping_add(control.jiffies_offset_ns)
    }
}

/// Whether the packet opens a connection: of TCP a SYN, of others a flow's first packet.
#[inline(always)]
pub fn opens(packet: &Packet, new_flow: bool) -> bool {
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    if packet.protocol == protocol::TCP {
        return packet.tcp_flags & (SYN | ACK) == SYN && packet.flags & flags::HAS_PORTS != 0;
    }
    new_flow
}

/// Whether a limit by key is by whole addresses.
#[inline(always)]
fn is_whole_address(limit: &LimitEntry, packet: &Packet) -> bool {
    if packet.family == 6 { limit.ipv6_length == 128 } else { limit.ipv4_length == 32 }
}

/// The key of a packet at a limit by source address.
#[inline(always)]
pub fn source_key(limit: &LimitEntry, judged: &Judged) -> Key {
    Key::new(judged.owner, limit.slot, judged.packet.family as u32, judged.packet.source)
}

/// The key of a packet at a limit by key.
#[inline(always)]
fn key(limit: &LimitEntry, judged: &Judged) -> Option<Key> {
    let packet = &judged.packet;
    let family = packet.family as u32;
    let length = if family == 6 { limit.ipv6_length } else { limit.ipv4_length };
    if limit.scope == Scope::Source as u8 && is_whole_address(limit, packet) {
        return Some(source_key(limit, judged));
    }
    let seed = maps::CONTROL.get(0)?.limit_seed;
    if limit.scope == Scope::Label as u8 {
        let class = judged.label_class;
        let more = classify::more(Control::header_of(judged.active))?;
        let line = maps::ARENA.get(more.label_keys.wrapping_add(class >> 3))?;
        let words = [line.0[class as usize & 7], 0];
        return Some(Key::new(owner_hash(seed, 0, words), limit.slot, 0, words));
    }
    let address = if limit.scope == Scope::Source as u8 { packet.source } else { packet.destination };
    let words = prefix_of(address, judged.forgotten(length as u32));
    Some(Key::new(owner_hash(seed, family, words), limit.slot, family, words))
}

/// Puts a packet to a limit, and counts it there.
#[inline(always)]
fn one(limit: &LimitEntry, now_ns: u64, judged: &mut Judged) -> Option<u32> {
    let units = if limit.unit == Unit::Packets as u8 {
        1
    } else if limit.unit == Unit::Bytes as u8 {
        if judged.length < UNITS_MAX { judged.length } else { UNITS_MAX }
    } else if limit.unit == Unit::NewConnections as u8 {
        opens(&judged.packet, judged.new_flow != 0) as u32
    } else {
        1
    };
    // What opens nothing costs nothing, but its sender may be banned.
    if units == 0 && limit.ban_after == 0 {
        return Some(WITHIN);
    }
    let now_ns = if limit.precise != 0 { self::now_ns(maps::CONTROL.get(0)?, true) } else { now_ns };
    let now = time(now_ns);
    let is_keyed = limit.scope != Scope::All as u8;
    let key = if is_keyed { key(limit, judged)? } else { Key::NOBODY };
    let said = if limit.unit == Unit::OpenConnections as u8 {
        connections::count(maps::CONTROL.get(0)?, limit, &key, now_ns, judged)?
    } else if !is_keyed {
        let bucket = bucket(limit.slot)?;
        // SAFETY: a field of an element of BUCKETS.
        let full_at = word(unsafe { &raw mut (*bucket).full_at });
        charge(judged, limit, full_at, units, now).0
    } else {
        by_key(limit, &key, units, now, judged)
    };
    let said = judged.forgotten(said);
    if units == 0 && said == WITHIN {
        return Some(WITHIN);
    }
    let refused = account::limit(judged.cpu, limit.slot, said != WITHIN, judged.length);
    if said != WITHIN {
        alert(limit.slot, refused, now_ns, judged);
    }
    Some(said)
}

/// Says once a second at most that a limit refuses.
#[inline(always)]
fn alert(slot: u32, refused: u64, now_ns: u64, judged: &mut Judged) {
    let Some(bucket) = bucket(slot) else { return };
    // SAFETY: a field of an element of BUCKETS.
    let alert_at = word(unsafe { &raw mut (*bucket).alert_at });
    let due = alert_at.load();
    let next = now_ns.wrapping_add(ALERT_EVERY_NS);
    if now_ns >= due && alert_at.replace(due, next) {
        judged.raise(EventKind::Limit, slot, refused);
    }
}

/// Takes a packet's price out of a bucket: what that says, and whether the bucket was full.
#[inline(always)]
pub fn charge(judged: &Judged, limit: &LimitEntry, full_at: Word, units: u32, now: u64) -> (u32, bool) {
    let price = price(units, limit.cost, limit.shift);
    let mut tries = 0;
    while tries < TRIES {
        let old = full_at.load();
        let ahead = ahead(old, now, limit.horizon);
        let Some(after) = take(ahead, price, limit.depth) else { return (OVER, false) };
        if full_at.replace(old, now.wrapping_add(after)) {
            return (WITHIN, ahead == 0);
        }
        tries += 1;
    }
    account::telemetry(judged.cpu, Telemetry::LimitContended, 1);
    (OVER, false)
}

/// Puts a packet to its key's bucket; bans the key that goes over too often.
#[inline(always)]
fn by_key(limit: &LimitEntry, key: &Key, units: u32, now: u64, judged: &mut Judged) -> u32 {
    let found = keyed::find(key, judged);
    if units == 0 && found.is_none() {
        return WITHIN;
    }
    let Some(place) = found.or_else(|| keyed::take(key, now, judged)) else {
        account::telemetry(judged.cpu, Telemetry::LimitContended, 1);
        return OVER;
    };
    let tag = place.tag().load();
    if tag & KEYED_COUNT == BANNED {
        let left = ahead(place.full_at().load(), now, gateway_common::limit::AHEAD_MAX);
        if left != 0 {
            return OVER_BANNED;
        }
    }
    if units == 0 {
        return WITHIN;
    }
    let (said, was_full) = charge(judged, limit, place.full_at(), units, now);
    if said == WITHIN {
        // Never stored: the place may be another key's by now.
        if was_full && tag & KEYED_COUNT != 0 {
            place.tag().replace(tag, tag & !KEYED_COUNT);
        }
        return WITHIN;
    }
    if limit.ban_after != 0 {
        let refusals = (tag & KEYED_COUNT) + 1;
        if refusals >= limit.ban_after as u64 {
            // Of several CPUs one bans.
            if place.tag().replace(tag, tag | BANNED) {
                place.full_at().store(now.wrapping_add(limit.hold));
                account::limit_banned(judged.cpu, limit.slot);
                judged.raise(EventKind::Ban, limit.slot, refusals);
            }
        } else {
            place.tag().replace(tag, tag + 1);
        }
    }
    said
}
