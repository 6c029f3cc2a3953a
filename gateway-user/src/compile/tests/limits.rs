//! Limits, SYN cookies and DSCP become entries.

use super::*;
use crate::compile::{Problem, limit_names};
use crate::policy::{Ban, KeyLengths, Limit, Over, Per, Quantity, Rate, RouteLimit, SynCookies};
use gateway_common::abi::ACTIVE_PER_SOURCE;
use gateway_common::image::{HeaderHot, HeaderMore, LimitEntry, MORE_LINE, ROUTE_EXTRA};
use gateway_common::limit::{Exceed, Scope, Unit, cost, price, time};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn limit(quantity: Quantity) -> Limit {
    Limit { quantity, per: Per::Route, over: Over::Drop, ban: None }
}

fn packets(per_second: u64, burst: u64) -> Limit {
    limit(Quantity::Packets(Rate { per_second, burst }))
}

/// A policy of one route with these limits.
fn limiting(limits: Vec<RouteLimit>) -> Policy {
    let mut policy = policy([Match::default()]);
    policy.routes[0].limits = limits;
    policy
}

fn entries(policy: &Policy) -> Vec<LimitEntry> {
    let placed = Placed::of(policy);
    let (hot, more): (HeaderHot, HeaderMore) = (placed.header(0), placed.header(MORE_LINE));
    let lines = &placed.arena[hot.limits as usize..][..more.limit_count as usize];
    lines.iter().map(|line| bytemuck::cast(*line)).collect()
}

/// The entry of a route's only limit.
fn entry(limit: Limit) -> LimitEntry {
    let entries = entries(&limiting(vec![RouteLimit::Own(limit)]));
    assert_eq!((entries.len(), entries[0]), (2, LimitEntry::default()));
    entries[1]
}

#[test]
fn rates_become_costs_and_bursts_depths() {
    let (cost, shift) = cost(1_000);
    let expected = LimitEntry {
        cost,
        shift,
        depth: time(SECOND / 10),
        slot: "r0/1".len() as u32,
        unit: Unit::Packets as u8,
        ..LimitEntry::default()
    };
    assert_eq!(entry(packets(1_000, 100)), expected.completed());
    let rate = Rate { per_second: 125_000_000, burst: 1_000_000 };
    let bytes = entry(limit(Quantity::Bytes(rate)));
    assert_eq!((bytes.unit, bytes.depth), (Unit::Bytes as u8, time(SECOND / 125)));
    assert_eq!(price(1_500, bytes.cost, bytes.shift), time(12_000));
    let new = entry(limit(Quantity::NewConnections(Rate { per_second: 1, burst: 1 })));
    assert_eq!((new.unit, new.depth), (Unit::NewConnections as u8, time(SECOND)));
    let open = entry(limit(Quantity::OpenConnections(u32::MAX)));
    let expected = LimitEntry {
        depth: u32::MAX.into(),
        unit: Unit::OpenConnections as u8,
        slot: "r0/1".len() as u32,
        ..LimitEntry::default()
    };
    assert_eq!(open, expected.completed());
}

/// Where any limit is by whole source address, its bucket is fetched early.
#[test]
fn limits_by_whole_source_address_are_announced() {
    let flags = |per| {
        let limit = Limit { per, ..packets(1_000, 100) };
        compiled(&limiting(vec![RouteLimit::Own(limit)])).unwrap().active_flags()
    };
    let lengths = |ipv4, ipv6| KeyLengths { ipv4, ipv6 };
    assert_eq!(flags(Per::Source(KeyLengths::ADDRESS)), ACTIVE_PER_SOURCE);
    assert_eq!(flags(Per::Source(lengths(32, 64))), ACTIVE_PER_SOURCE);
    assert_eq!(flags(Per::Source(lengths(24, 128))), ACTIVE_PER_SOURCE);
    for other in [Per::Route, Per::Label, Per::Source(lengths(24, 64)), Per::Destination(KeyLengths::ADDRESS)]
    {
        assert_eq!(flags(other), 0, "{other:?}");
    }
}

/// A burst that jiffies cannot measure is measured by the finer clock: one below 50 ms, or below two jiffies where
/// those are longer.
#[test]
fn short_bursts_take_the_precise_clock() {
    let precise = |burst, ns_per_jiffy| {
        crate::compile::limits::entry(&packets(1_000_000_000, burst), 1, ns_per_jiffy).precise
    };
    let below = 50_000_000;
    assert_eq!([1, below - 1, below].map(|burst| precise(burst, NS_PER_JIFFY)), [1, 1, 0]);
    let slow = 40_000_000;
    assert_eq!([2 * slow - 1, 2 * slow].map(|burst| precise(burst, slow)), [1, 0]);
}

#[test]
fn rates_and_bursts_to_their_bounds() {
    // A burst of one at 100 Gbit/s, and 1 a second for as long as a burst may take.
    let fastest = entry(limit(Quantity::Bytes(Rate { per_second: 12_500_000_000, burst: 1 })));
    assert_eq!((fastest.precise, fastest.depth), (1, fastest.cost >> fastest.shift));
    assert_eq!(price(64, fastest.cost, fastest.shift), (5.12 * 256.0_f64).floor() as u64);
    let longest = 30 * 24 * 3_600;
    assert_eq!(entry(packets(1, longest)).depth, time(longest * SECOND));
    for burst in [longest + 1, u64::MAX] {
        let problems = compiled(&limiting(vec![RouteLimit::Own(packets(1, burst))])).unwrap_err().problems;
        assert_eq!(problems, [Problem::BurstTooLong { limit: "r0/1".into(), days: 30 }]);
    }
}

#[test]
fn what_goes_over_and_whose_it_is() {
    let lengths = KeyLengths { ipv4: 24, ipv6: 48 };
    let by_source = entry(Limit {
        per: Per::Source(lengths),
        ban: Some(Ban { duration: Duration::from_secs(30 * 24 * 3_600), after: 65_535 }),
        ..packets(10, 1)
    });
    assert_eq!((by_source.scope, by_source.over), (Scope::Source as u8, Exceed::Drop as u8));
    assert_eq!((by_source.ipv4_length, by_source.ipv6_length), (24, 48));
    assert_eq!((by_source.hold, by_source.ban_after), (time(30 * 24 * 3_600 * SECOND), 65_535));
    let over = Over::Demote { dscp: Some(8), mark: Some(0x20) };
    let demoted = entry(Limit { per: Per::Destination(KeyLengths::ADDRESS), over, ..packets(10, 1) });
    assert_eq!((demoted.scope, demoted.over), (Scope::Destination as u8, Exceed::Demote as u8));
    assert_eq!((demoted.over_dscp, demoted.over_mark), (8 << 2 | 1, 0x20));
    assert_eq!((demoted.ipv4_length, demoted.ipv6_length, demoted.hold, demoted.ban_after), (32, 128, 0, 0));
    let dscp_0 = entry(Limit { over: Over::Demote { dscp: Some(0), mark: None }, ..packets(10, 1) });
    assert_eq!((dscp_0.over_dscp, dscp_0.over_mark), (1, 0));
    let counted = entry(Limit { per: Per::Label, over: Over::Count, ..packets(10, 1) });
    assert_eq!(
        (counted.scope, counted.over, counted.over_dscp),
        (Scope::Label as u8, Exceed::Count as u8, 0)
    );
}

#[test]
fn routes_name_their_limits_in_order() {
    let mut policy = policy([Match::default(), from(&["10.0.0.0/8"]), from(&["11.0.0.0/8"])]);
    for name in ["tenant", "all"] {
        policy.limits.insert(name.to_owned(), packets(1_000, 1_000));
    }
    let named = |name: &str| RouteLimit::Named(name.to_owned());
    let own = || RouteLimit::Own(packets(10, 10));
    policy.routes[0].limits = vec![named("tenant"), own(), named("all"), own()];
    policy.routes[1].limits = vec![named("all")];
    policy.routes[1].syn_cookies = Some(SynCookies::Always);
    policy.routes[2].dscp = Some(0);
    assert_eq!(limit_names(&policy), ["all", "tenant", "r0/2", "r0/4", "r1/syn"]);
    let slots: Vec<u32> = entries(&policy).iter().map(|entry| entry.slot).collect();
    assert_eq!(slots, [0, 3, 6, 4, 4, 6]);
    let placed = Placed::of(&policy);
    let of = |route| {
        let entry = placed.entry(route);
        (entry.limits, entry.syn_cookies, entry.flags, entry.dscp)
    };
    assert_eq!(of(0), ([2, 3, 1, 4], 0, ROUTE_EXTRA, 0));
    assert_eq!(of(1), ([1, 0, 0, 0], 5, ROUTE_EXTRA, 0));
    assert_eq!(of(2), ([0; 4], 0, ROUTE_EXTRA, 1));
    assert_eq!(of(3), ([0; 4], 0, 0, 0));
    assert!(compiled(&policy).unwrap().summary().to_string().contains(", 5 limits"));
}

#[test]
fn syn_cookies_always_or_above() {
    let with = |syn_cookies| {
        let mut policy = policy([Match::default()]);
        policy.routes[0].syn_cookies = Some(syn_cookies);
        entries(&policy)[1]
    };
    let slot = "r0/syn".len() as u32;
    let unit = Unit::NewConnections as u8;
    let always = LimitEntry { hold: u64::MAX / 4, slot, unit, ..LimitEntry::default() };
    assert_eq!(with(SynCookies::Always), always.completed());
    let above = with(SynCookies::Above { per_second: 2_000, hold: Duration::from_secs(10) });
    let (cost, shift) = cost(2_000);
    let (depth, hold) = (time(SECOND / 10), time(10 * SECOND));
    let expected = LimitEntry { cost, shift, depth, hold, slot, unit, ..LimitEntry::default() };
    assert_eq!(above, expected.completed());
}

#[test]
fn limits_that_are_not_there_or_too_many_are_refused() {
    let named = |name: &str| RouteLimit::Named(name.to_owned());
    let mut policy = limiting(vec![named("gone"); 5]);
    policy.routes[0].limits.truncate(1);
    let unknown = Problem::UnknownLimit { route: "r0".into(), limit: "gone".into() };
    assert_eq!(compiled(&policy).unwrap_err().problems, [unknown]);
    policy = limiting(vec![RouteLimit::Own(packets(1, 1)); 5]);
    let too_many = Problem::TooManyRouteLimits { route: "r0".into(), count: 5, limit: 4 };
    assert_eq!(compiled(&policy).unwrap_err().problems, [too_many]);
    let many = |count: usize| {
        let mut policy = super::policy(
            (0..count.div_ceil(4)).map(|i| from(&[&format!("10.0.{}.{}/32", i / 256, i % 256)])),
        );
        for route in &mut policy.routes {
            route.limits = vec![RouteLimit::Own(packets(1, 1)); 4];
        }
        policy
    };
    let too_many = Problem::TooManyLimits { count: 16_384, limit: 16_383 };
    assert_eq!(compiled(&many(16_384)).unwrap_err().problems, [too_many]);
    assert_eq!(compiled(&many(16_380)).unwrap().summary().limits, 16_380);
}
