//! The limits of most packets: plain ones, that they are within. What else a limit can say is for [`crate::police`],
//! with several times the code.

use crate::keyed;
use crate::pipeline::Judged;
use crate::police::{COOKIES, FAULT, bucket, limit, now_ns, source_key, word};
use crate::{account, classify, maps, scratch};
use gateway_common::abi::{Control, KEYED_COUNT, KeyedSet};
use gateway_common::image::{LimitEntry, MAX_ROUTE_LIMITS, PLAIN_BY_IPV4, PLAIN_BY_IPV6, PLAIN_FOR_ALL};
use gateway_common::limit::{UNITS_MAX, Unit, ahead, price, take, time};

/// [`admit`] for the packet that this CPU judges. A global function, see [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_admit(cpu: u32) -> u64 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return FAULT };
    let route = judged.route;
    admit(control, route, judged)
}

/// Notes DSCP and pool of a packet, and puts it to the limits of its route, in their order, as long as each is a plain one
/// that it is within: what is left then, see [`crate::police`].
#[inline(always)]
pub fn admit(control: &Control, route: u32, judged: &mut Judged) -> u64 {
    // Before all else: what it waits for is then fetched while the rest is read.
    let set = keyed::expect_by_source(control, judged);
    put(control, route, set, judged).unwrap_or(FAULT)
}

#[inline(always)]
fn put(control: &Control, route: u32, set: *mut KeyedSet, judged: &mut Judged) -> Option<u64> {
    classify::locate(judged)?;
    let route = classify::entry_at(judged, judged.routes, route)?;
    judged.dscp = route.dscp as u32;
    judged.pool = route.pool as u32;
    judged.proxy = route.proxy_port as u32;
    if route.syn_cookies != 0 {
        return Some(COOKIES);
    }
    let coarse_ns = now_ns(control, false);
    let mut left: u64 = bytemuck::cast(route.limits);
    let mut i = 0;
    while i < MAX_ROUTE_LIMITS && left as u16 != 0 {
        let limit = limit(judged, left as u16)?;
        let now_ns = if limit.precise != 0 { now_ns(control, true) } else { coarse_ns };
        if !is_within(limit, time(now_ns), set, judged) {
            break;
        }
        left >>= 16;
        i += 1;
    }
    Some(left)
}

/// Charges and counts a packet at a limit, if that is a plain one and the packet is within it, with no ban or refusal to
/// be looked at. Else nothing is done, and [`crate::police`] decides.
#[inline(always)]
fn is_within(limit: &LimitEntry, now: u64, set: *mut KeyedSet, judged: &Judged) -> bool {
    let units = if limit.unit == Unit::Packets as u8 { 1 } else { judged.length };
    let full_at = if limit.plain == PLAIN_FOR_ALL {
        let Some(bucket) = bucket(limit.slot) else { return false };
        // SAFETY: a field of an element of BUCKETS.
        word(unsafe { &raw mut (*bucket).full_at })
    } else {
        let by = if judged.packet.family == 6 { PLAIN_BY_IPV6 } else { PLAIN_BY_IPV4 };
        if limit.plain & by == 0 || set.is_null() {
            return false;
        }
        let Some(place) = keyed::find_from(set, &source_key(limit, judged), judged) else { return false };
        if place.tag().load() & KEYED_COUNT != 0 {
            return false;
        }
        place.full_at()
    };
    let old = full_at.load();
    let price = price(units, limit.cost, limit.shift);
    let Some(after) = take(ahead(old, now, limit.horizon), price, limit.depth) else { return false };
    if units > UNITS_MAX || !full_at.replace(old, now.wrapping_add(after)) {
        return false;
    }
    account::limit(judged.cpu, limit.slot, false, judged.length);
    true
}
