//! Random limits, and steps of time at which they bite.

use super::DSCPS;
use crate::random::Random;
use gateway_user::policy::{Ban, KeyLengths, Limit, Over, Per, Policy, Quantity, Rate, RouteLimit};
use std::time::Duration;

/// 100 Gbit/s in bytes.
const FASTEST: u64 = 12_500_000_000;
const SECOND: u64 = 1_000_000_000;

/// A limit that a handful of packets can exceed.
pub(super) fn limit(random: &mut Random) -> Limit {
    let quantity = match random.below(12) {
        0..5 => Quantity::Packets(rate(random, FASTEST / 64, 6)),
        5..9 => Quantity::Bytes(rate(random, FASTEST, 3_000)),
        9 | 10 => Quantity::NewConnections(rate(random, 1_000_000, 3)),
        _ => Quantity::OpenConnections(1 + random.below(4) as u32),
    };
    let per = match random.below(6) {
        0 | 1 => Per::Route,
        2 | 3 => Per::Source(lengths(random)),
        4 => Per::Destination(lengths(random)),
        _ => Per::Label,
    };
    let over = match random.below(6) {
        0..4 => Over::Drop,
        4 => {
            let dscp = random.chance(2, 3).then(|| *random.pick(&DSCPS));
            let mark = (dscp.is_none() || random.chance(1, 2)).then(|| (random.bits() as u32).max(1));
            Over::Demote { dscp, mark }
        }
        _ => Over::Count,
    };
    let may_ban = per != Per::Route && over == Over::Drop;
    let ban = rate_of(quantity).filter(|_| may_ban && random.chance(1, 2)).map(|_| Ban {
        duration: Duration::from_secs(1 + random.bits() % 100),
        after: 1 + random.below(4) as u16,
    });
    Limit { quantity, per, over, ban }
}

fn rate_of(quantity: Quantity) -> Option<Rate> {
    match quantity {
        Quantity::Packets(rate) | Quantity::Bytes(rate) | Quantity::NewConnections(rate) => Some(rate),
        Quantity::OpenConnections(_) => None,
    }
}

/// Any order of magnitude up to `fastest`; a burst that some packets of `size` fill.
fn rate(random: &mut Random, fastest: u64, size: u64) -> Rate {
    let magnitude = random.below(fastest.ilog2() as usize + 1);
    let per_second = ((1 << magnitude) + random.bits() % (1 << magnitude)).min(fastest);
    Rate { per_second, burst: 1 + random.bits() % size }
}

fn lengths(random: &mut Random) -> KeyLengths {
    match random.below(3) {
        0 => KeyLengths::ADDRESS,
        _ => KeyLengths { ipv4: 1 + random.below(32) as u8, ipv6: 1 + random.below(128) as u8 },
    }
}

/// How long until the next packet: none, any order of magnitude, or about what some limit of the policy
/// needs for a packet.
#[must_use]
pub fn step_ns(random: &mut Random, policy: &Policy) -> u64 {
    let of_routes = policy.routes.iter().flat_map(|route| &route.limits).filter_map(|limit| match limit {
        RouteLimit::Own(limit) => Some(limit),
        RouteLimit::Named(_) => None,
    });
    let rates: Vec<_> =
        policy.limits.values().chain(of_routes).filter_map(|limit| rate_of(limit.quantity)).collect();
    match random.below(8) {
        0..4 => 0,
        4 => random.bits() % (1 << (1 + random.below(36))),
        5 => SECOND + random.bits() % (120 * SECOND),
        _ if rates.is_empty() => 1,
        _ => {
            let rate = random.pick(&rates);
            let unit = (SECOND / rate.per_second).max(1);
            unit.saturating_mul(1 + random.bits() % rate.burst) + random.bits() % unit
        }
    }
}
