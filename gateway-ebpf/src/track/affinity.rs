//! The target that a client's next connection goes to.

use super::{Ends, FOLLOWS, NONE, clock, connection, find, state_of, tag, takes};
use crate::health;
use crate::maps;
use crate::pipeline::Judged;
use crate::pool::{self, Forwarding};
use crate::scratch;
use gateway_common::abi::{Control, TRACKED_AFFINITY};
use gateway_common::packet::set_address;
use gateway_common::track::{Tag, phase};

/// Whether the packet's client keeps a target for its connections to the pool: [`FOLLOWS`] if so, and this CPU's
/// [`Forwarding`] then names it. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_affinity(cpu: u32) -> u32 {
    let (Some(control), Some((judged, forwarding))) = (maps::CONTROL.get(0), scratch::forwarding(cpu)) else {
        return NONE;
    };
    affinity(control, judged, forwarding).unwrap_or(NONE)
}

#[inline(always)]
fn affinity(control: &Control, judged: &Judged, forwarding: &mut Forwarding) -> Option<u32> {
    let pool = pool::entry(judged)?;
    if pool.affinity == 0 {
        return Some(NONE);
    }
    let ends = Ends::of_affinity(&judged.packet, pool.affinity_key);
    let hash = ends.hash(control.limit_seed);
    let index = find(&ends, hash, judged)?;
    if index == NONE {
        return Some(NONE);
    }
    let (now_ns, now) = clock(control);
    let found = connection(index)?;
    let state = state_of(found.slot)?;
    if !Tag(tag(index)?.load()).is_live(now)
        || !takes(state, found, now_ns)
        || !health::keeps(found.slot as u32, hash, now_ns)
    {
        return Some(NONE);
    }
    set_address(&mut forwarding.target, &found.target);
    set_address(&mut forwarding.source, &found.source);
    if (found.source[0] ^ found.client[0]) | (found.source[1] ^ found.client[1]) == 0 {
        // The client's own stays: another port of it would be nobody's.
        forwarding.source[0] = 0;
        forwarding.source[1] = 0;
    }
    forwarding.slot = found.slot as u32;
    forwarding.ports = state.port;
    Some(FOLLOWS)
}

/// Keeps the client of a new connection with its target, at a place of its own. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_keep(cpu: u32, index: u32, place: u32) -> u32 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return NONE };
    keep(control, index, place, judged).map_or(NONE, |()| FOLLOWS)
}

#[inline(always)]
fn keep(control: &Control, index: u32, place: u32, judged: &Judged) -> Option<()> {
    let pool = pool::entry(judged)?;
    let (_, now) = clock(control);
    let hash = Ends::of_affinity(&judged.packet, pool.affinity_key).hash(control.limit_seed);
    let (opened, kept, word) = (connection(index)?, connection(place)?, tag(place)?);
    word.store(Tag::CLAIMED.0);
    set_address(&mut kept.client, &judged.packet.source);
    kept.service[0] = pool.affinity_key;
    kept.service[1] = 0;
    kept.client_port = 0;
    kept.service_port = 0;
    kept.protocol = TRACKED_AFFINITY;
    kept.family = opened.family;
    kept.counter = opened.counter;
    kept.slot = opened.slot;
    kept.idle = pool.affinity;
    kept.half_open = pool.affinity;
    kept.closing = pool.affinity;
    set_address(&mut kept.target, &opened.target);
    set_address(&mut kept.source, &opened.source);
    kept.target_port = 0;
    kept.source_port = 0;
    kept.opened = now;
    // Not open: where room is short it gives way before a connection does.
    word.store(Tag::new(hash, phase::ANSWERED, kept.deadline(phase::ANSWERED, now)).0);
    Some(())
}
