//! Random policies.

use super::components::{matches, prefixes};
use super::limits::limit;
use super::{DSCPS, PREFIXES};
use crate::golden::{ABSENT, TARGET, TARGET_WITHOUT_XDP};
use crate::model::Member;
use crate::random::Random;
use gateway_common::image::HashOver;
use gateway_common::reason::Reason;
use gateway_user::policy::{
    Action, Default, Dnat, Forward, Label, Malformed, Match, Mss, OuterSource, Policy, Pool, PortRange,
    Route, RouteLimit, Target, Timeouts, Translation,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// What may be in a policy beside matches and actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Labels, and everything that a packet's fate does not depend on the packets before for.
    WithoutLimits,
    /// Limits as well.
    Everything,
}

/// Labels of a policy, at most: as many as live members may give to one source.
const LABELS: usize = 4;
/// Pools of a policy, at most.
const POOLS: usize = 2;
/// Addresses of targets, see [`crate::ways`].
const TARGETS: [&str; 12] = [
    "198.18.0.11",
    "198.18.1.11",
    "198.18.1.12",
    "198.18.1.99",
    "198.18.2.11",
    "198.18.3.11",
    "198.18.4.11",
    "2001:db8:f0::11",
    "2001:db8:f1::12",
    "2001:db8:f2::11",
    "2001:db8:f3::11",
    "2001:db8:f4::11",
];
/// Time-outs of connections, at most, seconds.
pub const LONGEST: u64 = 60;
/// Named limits of a policy, at most.
const NAMED_LIMITS: usize = 3;

/// A policy of up to `most` routes.
#[must_use]
pub fn policy(random: &mut Random, most: usize, wanted: Wanted) -> Policy {
    let limited = wanted == Wanted::Everything && random.chance(2, 3);
    let labels: Vec<_> = (0..random.below(LABELS + 1)).map(|i| format!("label-{i}")).collect();
    let limits = if limited { random.below(NAMED_LIMITS + 1) } else { 0 };
    let limits: Vec<_> = (0..limits).map(|i| format!("limit-{i}")).collect();
    let pools: Vec<_> = (0..random.below(POOLS + 1)).map(|i| format!("pool-{i}")).collect();
    let count = random.below(most + 1);
    let mut routes: Vec<_> =
        (0..count).map(|i| route(random, i, &labels, &pools, limited.then_some(&limits))).collect();
    if !pools.is_empty() && random.chance(2, 3) {
        let action = Action::pool(random.pick(&pools));
        let route = Route { matches: Match::default(), ..Route::new(format!("route-{count}"), action) };
        let place = if random.chance(1, 2) { 0 } else { random.below(count + 1) };
        routes.insert(place, route);
    }
    let default = if random.chance(1, 2) { Default::Pass } else { Default::Drop };
    Policy {
        labels: labels.into_iter().map(|name| (name, label(random))).collect(),
        limits: limits.into_iter().map(|name| (name, limit(random))).collect(),
        pools: pools.into_iter().map(|name| (name, pool(random))).collect(),
        malformed: malformed(random),
        verify_checksums: random.chance(1, 3),
        ..Policy::new(routes, default)
    }
}

/// A label without prefixes is one for live members only.
fn label(random: &mut Random) -> Label {
    let prefixes = if random.chance(1, 4) { Vec::new() } else { prefixes(random, 4) };
    Label { prefixes: Arc::new(prefixes), file: None }
}

/// Of targets to which there is a way, or a narrow one, or none, or one whose neighbour is not known.
fn pool(random: &mut Random) -> Pool {
    let source = OuterSource {
        ipv4: random.chance(1, 2).then_some(Ipv4Addr::new(203, 0, 113, 77)),
        ipv6: random.chance(1, 2).then_some(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0x77)),
    };
    let forward = match random.below(6) {
        0 => Forward::Ipip { source },
        1 => Forward::Gue { port: *random.pick(&[1, 6_080, u16::MAX]), source },
        2 => Forward::L2,
        _ => Forward::Dnat(dnat(random, source)),
    };
    let addresses = random.some(&TARGETS, TARGETS.len());
    let mut targets = BTreeMap::new();
    for (i, address) in addresses.into_iter().enumerate() {
        let address = address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let weight = *random.pick(&[0, 1, 7, 100, 100]);
        let translates = forward.dnat().is_some() && random.chance(1, 2);
        let port = translates.then(|| *random.pick(&[1, 80, 8_080, u16::MAX]));
        targets.insert(format!("target-{i}"), Target { weight, port, ..Target::new(address) });
    }
    let hash = *random.pick(&[HashOver::FiveTuple, HashOver::Source, HashOver::SourceDestination]);
    let translates = forward.dnat().is_some();
    let mss = *random.pick(&[None, None, Some(Mss::Way), Some(Mss::AtMost(536)), Some(Mss::AtMost(1_000))]);
    Pool { hash, mss: mss.filter(|_| !translates), ..Pool::new(forward, targets) }
}

/// With or without translated sources, and so few ports that they are scarce or so many that they are not.
fn dnat(random: &mut Random, addresses: OuterSource) -> Dnat {
    let (first, last) = *random.pick(&[(61_000, 61_000), (1, 3), (61_000, 61_040), (1, u16::MAX)]);
    let translation = Translation { addresses, ports: PortRange { first, last } };
    let mut time = || Duration::from_secs(1 + random.bits() % LONGEST);
    let timeouts =
        Timeouts { established: time(), half_open: time(), closing: time(), udp: time(), unanswered: time() };
    Dnat { source: random.chance(1, 2).then_some(translation), timeouts, affinity: None }
}

/// Live members of this policy's labels, each once.
#[must_use]
pub fn members(random: &mut Random, policy: &Policy) -> Vec<Member> {
    let names: Vec<_> = policy.labels.keys().cloned().collect();
    let mut list: Vec<Member> = Vec::new();
    if names.is_empty() {
        return list;
    }
    for _ in 0..random.below(6) {
        let (label, prefix) = (random.pick(&names).clone(), *random.pick(&PREFIXES));
        let Ok(prefix) = prefix.parse() else { continue };
        if !list.iter().any(|member| member.label == label && member.prefix == prefix) {
            list.push(Member { label, prefix, expired: random.chance(1, 4) });
        }
    }
    list
}

fn malformed(random: &mut Random) -> Malformed {
    let all = Reason::all_malformed_bits();
    let drop_bits = match random.below(3) {
        0 => all,
        1 => 0,
        _ => all & random.bits(),
    };
    Malformed { drop_bits }
}

/// `limits` are the named ones, if there are to be any limits.
fn route(
    random: &mut Random,
    number: usize,
    labels: &[String],
    pools: &[String],
    limits: Option<&Vec<String>>,
) -> Route {
    let action = match random.below(8) {
        _ if !pools.is_empty() && random.chance(1, 3) => Action::pool(random.pick(pools)),
        0..3 => Action::Pass,
        3..5 => Action::Drop,
        5 => Action::Tx,
        _ => Action::Redirect { interface: (*random.pick(&[TARGET, TARGET_WITHOUT_XDP, ABSENT])).to_owned() },
    };
    let value = |random: &mut Random| random.chance(1, 2).then(|| (random.bits() as u32).max(1));
    Route {
        matches: matches(random, labels),
        mark: value(random),
        priority: value(random),
        dscp: random.chance(1, 5).then(|| *random.pick(&DSCPS)),
        limits: match limits {
            Some(named) if action != Action::Drop && random.chance(2, 3) => route_limits(random, named),
            _ => Vec::new(),
        },
        ..Route::new(format!("route-{number}"), action)
    }
}

/// Up to three, each named one at most once.
fn route_limits(random: &mut Random, named: &[String]) -> Vec<RouteLimit> {
    let mut list = Vec::new();
    if !named.is_empty() && random.chance(1, 3) {
        list.extend(random.some(named, 2).into_iter().map(RouteLimit::Named));
    }
    for _ in 0..random.below(3) {
        list.push(RouteLimit::Own(limit(random)));
    }
    list
}
