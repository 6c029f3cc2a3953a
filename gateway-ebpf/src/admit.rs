//! The limits of most packets: plain ones, that they are within. What else a limit can say is for [`crate::police`],
//! with several times the code.

use crate::atomic::Word;
use crate::keyed;
use crate::pipeline::Judged;
use crate::police::{COOKIES, DONE, FAULT, bucket, limit, now_ns, source_key, word};
use crate::{account, classify, maps, scratch};
use gateway_common::abi::{Control, KEYED_COUNT, KeyedSet};
use gateway_common::image::{MAX_ROUTE_LIMITS, PLAIN_BY_IPV4, PLAIN_BY_IPV6, PLAIN_FOR_ALL};
use gateway_common::limit::{UNITS_MAX, Unit, ahead, price, take, time};

/// [`admit`] for the packet that this CPU judges. A global function, see [`classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_admit(cpu: u32) -> u64 {
    let (Some(control), Some(judged)) = (maps::CONTROL.get(0), scratch::judged(cpu)) else { return FAULT };
    let route = judged.route;
    admit(control, route, judged)
}

/// Notes DSCP and pool of a packet, and puts it to the limits of its route, in their order and two at a time, as long as
/// they are plain ones that it is within: what is left then, see [`crate::police`].
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
    let mut pairs = 0;
    while pairs < MAX_ROUTE_LIMITS / 2 && left != DONE {
        let Some(first) = Charge::at(control, left as u16, coarse_ns, set, judged) else { break };
        let next = (left >> 16) as u16;
        if next == 0 {
            if !first.make() {
                break;
            }
            first.count(judged);
            return Some(DONE);
        }
        let Some(second) = Charge::at(control, next, coarse_ns, set, judged) else { break };
        if !first.make() {
            break;
        }
        let both = second.make();
        first.count(judged);
        left >>= 16;
        if !both {
            break;
        }
        second.count(judged);
        left >>= 16;
        pairs += 1;
    }
    Some(left)
}

/// What a packet takes out of a bucket. Two limits are looked at before either is charged: a locked instruction holds up
/// all loads behind it, and each packet would wait for memory twice.
struct Charge {
    full_at: Word,
    old: u64,
    new: u64,
    slot: u32,
}

impl Charge {
    /// At the limit of this index, if that is a plain one and the packet is within it, with no ban or refusal to be looked
    /// at. Else [`crate::police`] decides.
    #[inline(always)]
    fn at(
        control: &Control,
        index: u16,
        coarse_ns: u64,
        set: *mut KeyedSet,
        judged: &Judged,
    ) -> Option<Charge> {
        let limit = limit(judged, index)?;
        let full_at = if limit.plain == PLAIN_FOR_ALL {
            let bucket = bucket(limit.slot)?;
            // SAFETY: a field of an element of BUCKETS.
            word(unsafe { &raw mut (*bucket).full_at })
        } else {
            let by = if judged.packet.family == 6 { PLAIN_BY_IPV6 } else { PLAIN_BY_IPV4 };
            if limit.plain & by == 0 || set.is_null() {
                return None;
            }
            let place = keyed::find_from(set, &source_key(limit, judged), judged)?;
            if place.tag().load() & KEYED_COUNT != 0 {
                return None;
            }
            place.full_at()
        };
        let units = if limit.unit == Unit::Packets as u8 { 1 } else { judged.length };
        let now = time(if limit.precise != 0 { now_ns(control, true) } else { coarse_ns });
        let old = full_at.load();
        let price = price(units, limit.cost, limit.shift);
        let after = take(ahead(old, now, limit.horizon), price, limit.depth)?;
        if units > UNITS_MAX {
            return None;
        }
        Some(Charge { full_at, old, new: now.wrapping_add(after), slot: limit.slot })
    }

    /// Charges the packet; false, and nothing done, where another CPU has changed the bucket meanwhile.
    #[inline(always)]
    fn make(&self) -> bool {
        self.full_at.replace(self.old, self.new)
    }

    /// Counts the packet.
    #[inline(always)]
    fn count(&self, judged: &Judged) {
        account::limit(judged.cpu, self.slot, false, judged.length);
    }
}
