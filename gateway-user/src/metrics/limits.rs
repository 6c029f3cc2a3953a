//! Limits, SYN cookies and half-open connections, for `/metrics`.

use super::catalog as c;
use super::family::Family;
use crate::daemon::{Governor, LimitScan, RESERVED};
use gateway_common::abi::LimitCount;

/// Most limits that have series.
const LIMITS_MAX: usize = 10_000;

/// The families of limits. `scan` is one walk over their tables.
pub fn collect(governor: &Governor, scan: &LimitScan) -> Vec<Family> {
    let mut families = counters(governor, scan);
    families.extend(half_open(governor));
    families
}

fn counters(governor: &Governor, scan: &LimitScan) -> Vec<Family> {
    let mut packets = Family::new(c::LIMIT_PACKETS);
    let mut bytes = Family::new(c::LIMIT_BYTES);
    let mut keys = Family::new(c::LIMIT_KEYS);
    let mut banned = Family::new(c::LIMIT_BANNED);
    let mut evictions = Family::new(c::LIMIT_EVICTIONS);
    let mut bans = Family::new(c::LIMIT_BANS);
    let mut sent = Family::new(c::COOKIES_SENT);
    let mut proven = Family::new(c::COOKIES_PROVEN);
    let mut attacked = Family::new(c::UNDER_ATTACK);
    let limits = scan.limits();
    for limit in limits.iter().take(LIMITS_MAX) {
        let slot = limit.entry.slot;
        let LimitCount { admitted, refused, .. } = governor.readers().limit_counts(slot);
        let counts = governor.readers().limit_counts(slot);
        for (result, count) in [("admitted", admitted), ("refused", refused)] {
            packets.count(&[&limit.name, result], count.packets);
            bytes.count(&[&limit.name, result], count.bytes);
        }
        if let Some((under_attack, _)) =
            limit.attack(governor.readers().bucket(slot).attack_until, scan.now())
        {
            for route in &limit.routes {
                sent.count(&[route], counts.cookies);
                proven.count(&[route], counts.proven);
                attacked.count(&[route], under_attack.into());
            }
            continue;
        }
        // A limit of one bucket has no keys.
        if !limit.terms.is_one_bucket() {
            let sums = scan.keys().sums(slot);
            keys.count(&[&limit.name], sums.in_debt.into());
            banned.count(&[&limit.name], sums.banned.into());
            evictions.count(&[&limit.name], counts.evicted);
            bans.count(&[&limit.name], counts.bans);
        }
    }
    let mut left_out = Family::new(c::LIMITS_LEFT_OUT);
    left_out.count(&[], limits.len().saturating_sub(LIMITS_MAX) as u64);
    vec![packets, bytes, keys, banned, evictions, bans, sent, proven, attacked, left_out]
}

/// Half-open connections of every route that has some, and of what no route decided. Where the kernel's
/// clock cannot be read there are no series, which says so.
fn half_open(governor: &Governor) -> Option<Family> {
    let mut family = Family::new(c::HALF_OPEN);
    let mut counts = match governor.half_open() {
        Ok(counts) => counts,
        Err(error) => {
            tracing::error!(%error, "half-open connections cannot be counted");
            return None;
        }
    };
    for (name, counter) in RESERVED {
        family.count(&[&format!("({name})")], counts.remove(&counter).unwrap_or_default());
    }
    for (name, counter) in governor.live_route_slots().into_iter().take(super::collect::ROUTES_MAX) {
        family.count(&[&name], counts.remove(&counter).unwrap_or_default());
    }
    Some(family)
}
