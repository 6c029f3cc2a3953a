//! Limits → their entries, and what each route says of them.

use super::Surroundings;
use super::error::Problem;
use super::hashing::Build;
use crate::policy::{Limit, Over, Per, Policy, Quantity, Rate, Route, RouteLimit, SynCookies};
use gateway_common::abi::UNSET;
use gateway_common::image::{LimitEntry, MAX_LIMITS, MAX_ROUTE_LIMITS};
use gateway_common::limit::{Exceed, Scope, TIME_SHIFT, Unit, cost, time};
use std::collections::HashMap;
use std::time::Duration;

/// The longest that a burst may last at its rate, seconds: as long as a ban, since a bucket that is
/// [`gateway_common::limit::AHEAD_MAX`] ahead counts as full.
pub const MAX_BURST_SECS: u64 = 30 * 24 * 3_600;
/// How long SYN cookies that are always asked for last: for ever, but below half of where time turns over.
const ALWAYS: u64 = u64::MAX / 4;

/// What a route's entry says of limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OfRoute {
    /// Indices of its limits, 0 behind the last.
    pub limits: [u16; MAX_ROUTE_LIMITS],
    /// Index of the limit of its SYN cookies, 0 for none.
    pub syn_cookies: u16,
    /// Whether one of them is by label.
    pub per_label: bool,
}

/// All limits of a policy.
#[derive(Debug)]
pub(super) struct Limits<'p> {
    /// Entry 0 is unused.
    pub entries: Vec<LimitEntry>,
    /// By route.
    pub routes: Vec<OfRoute>,
    /// Index, and whether it is by label, of each named one.
    named: HashMap<&'p str, (u16, bool), Build>,
}

/// Names of all limits of a policy, of which each has a slot ([`super::Names::limit_slot`]), in the order
/// of their entries.
#[must_use]
pub fn limit_names(policy: &Policy) -> Vec<String> {
    let mut names: Vec<String> = policy.limits.keys().cloned().collect();
    for route in &policy.routes {
        let own = |(_, limit): &(usize, &RouteLimit)| matches!(limit, RouteLimit::Own(_));
        let places = route.limits.iter().enumerate().filter(own);
        names.extend(places.map(|(place, _)| own_name(route, place)));
        names.extend(route.syn_cookies.map(|_| syn_name(route)));
    }
    names
}

/// The name of the limit at this place (from 0 on) in a route's list.
#[must_use]
pub fn own_name(route: &Route, place: usize) -> String {
    format!("{}/{}", route.name, place + 1)
}

/// The name of the limit of a route's SYN cookies.
#[must_use]
pub fn syn_name(route: &Route) -> String {
    format!("{}/syn", route.name)
}

/// Numbers the limits: the named ones, then each route's own and its SYN cookies'.
pub(super) fn compile<'p>(
    policy: &'p Policy,
    surroundings: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Limits<'p> {
    let mut limits = Limits {
        entries: vec![LimitEntry::default()],
        routes: Vec::with_capacity(policy.routes.len()),
        named: HashMap::default(),
    };
    for (name, limit) in &policy.limits {
        let index = limits.add(name, limit, surroundings, problems);
        limits.named.insert(name, (index, limit.per == Per::Label));
    }
    for route in &policy.routes {
        let of_route = limits.of_route(route, surroundings, problems);
        limits.routes.push(of_route);
    }
    let count = limits.entries.len() - 1;
    if count == 0 {
        limits.entries.clear();
    } else if count >= MAX_LIMITS {
        problems.push(Problem::TooManyLimits { count, limit: MAX_LIMITS - 1 });
    }
    limits
}

impl Limits<'_> {
    /// Whether any route has a limit by label.
    pub(super) fn per_label(&self) -> bool {
        self.routes.iter().any(|of_route| of_route.per_label)
    }

    fn of_route(
        &mut self,
        route: &Route,
        surroundings: &Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> OfRoute {
        let mut of_route = OfRoute::default();
        let (count, limit) = (route.limits.len(), MAX_ROUTE_LIMITS);
        if count > limit {
            problems.push(Problem::TooManyRouteLimits { route: route.name.clone(), count, limit });
        }
        for (place, limit) in route.limits.iter().enumerate() {
            let (index, per_label) = match limit {
                RouteLimit::Named(name) => {
                    let Some(&known) = self.named.get(name.as_str()) else {
                        let (route, limit) = (route.name.clone(), name.clone());
                        problems.push(Problem::UnknownLimit { route, limit });
                        continue;
                    };
                    known
                }
                RouteLimit::Own(limit) => {
                    let name = own_name(route, place);
                    (self.add(&name, limit, surroundings, problems), limit.per == Per::Label)
                }
            };
            if let Some(entry) = of_route.limits.get_mut(place) {
                *entry = index;
            }
            of_route.per_label |= per_label;
        }
        if let Some(syn_cookies) = route.syn_cookies {
            let slot = surroundings.names.limit_slot(&syn_name(route));
            let entry = syn_entry(syn_cookies, slot, surroundings.ns_per_jiffy);
            of_route.syn_cookies = self.push(entry);
        }
        of_route
    }

    fn add(
        &mut self,
        name: &str,
        limit: &Limit,
        surroundings: &Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> u16 {
        let entry = entry(limit, surroundings.names.limit_slot(name), surroundings.ns_per_jiffy);
        if entry.depth > time(MAX_BURST_SECS * 1_000_000_000) {
            problems.push(Problem::BurstTooLong { limit: name.to_owned(), days: MAX_BURST_SECS / 86_400 });
        }
        self.push(entry)
    }

    /// The index wraps only where there are too many, which is refused.
    fn push(&mut self, entry: LimitEntry) -> u16 {
        self.entries.push(entry);
        (self.entries.len() - 1) as u16
    }
}

/// A limit as the kernel needs it.
#[must_use]
pub fn entry(limit: &Limit, slot: u32, ns_per_jiffy: u64) -> LimitEntry {
    let (scope, lengths) = match limit.per {
        Per::Route => (Scope::All, None),
        Per::Source(lengths) => (Scope::Source, Some(lengths)),
        Per::Destination(lengths) => (Scope::Destination, Some(lengths)),
        Per::Label => (Scope::Label, None),
    };
    let (over, dscp, mark) = match limit.over {
        Over::Drop => (Exceed::Drop, None, None),
        Over::Demote { dscp, mark } => (Exceed::Demote, dscp, mark),
        Over::Count => (Exceed::Count, None, None),
    };
    let mut entry = LimitEntry {
        hold: limit.ban.map_or(0, |ban| duration(ban.duration)),
        ban_after: limit.ban.map_or(0, |ban| ban.after.into()),
        slot,
        over_mark: mark.unwrap_or(UNSET),
        over_dscp: dscp.map_or(0, |dscp| dscp << 2 | 1),
        scope: scope as u8,
        over: over as u8,
        ipv4_length: lengths.map_or(0, |lengths| lengths.ipv4),
        ipv6_length: lengths.map_or(0, |lengths| lengths.ipv6),
        ..LimitEntry::default()
    };
    let mut counts = |unit: Unit, rate| {
        entry.unit = unit as u8;
        set_rate(&mut entry, rate, ns_per_jiffy);
    };
    match limit.quantity {
        Quantity::Packets(rate) => counts(Unit::Packets, rate),
        Quantity::Bytes(rate) => counts(Unit::Bytes, rate),
        Quantity::NewConnections(rate) => counts(Unit::NewConnections, rate),
        Quantity::OpenConnections(most) => {
            entry.unit = Unit::OpenConnections as u8;
            entry.depth = most.into();
        }
    }
    entry.completed()
}

/// The limit of a route's SYN cookies as the kernel needs it.
#[must_use]
pub fn syn_entry(syn_cookies: SynCookies, slot: u32, ns_per_jiffy: u64) -> LimitEntry {
    let mut entry = LimitEntry {
        slot,
        unit: Unit::NewConnections as u8,
        scope: Scope::All as u8,
        ..LimitEntry::default()
    };
    match syn_cookies {
        SynCookies::Always => entry.hold = ALWAYS,
        SynCookies::Above { per_second, hold } => {
            // What comes before an attack is noticed reaches the target: a tenth of a second's worth, since
            // a whole one's could fill a usual backlog of half-open connections.
            let rate = Rate { per_second, burst: (per_second / 10).max(1) };
            set_rate(&mut entry, rate, ns_per_jiffy);
            entry.hold = duration(hold);
        }
    }
    entry.completed()
}

/// Jiffies are late by up to one, so that a burst must last two for them to be fair; and they stand still while the
/// processor that keeps them is held, as a virtual machine's is for milliseconds at a time, and the bucket does not
/// fill meanwhile. A burst of this length or more is not used up by such a pause.
const JIFFIES_FROM: Duration = Duration::from_millis(50);

/// Rate and burst in the kernel's units, and the clock that they need.
fn set_rate(entry: &mut LimitEntry, rate: Rate, ns_per_jiffy: u64) {
    let (cost, shift) = cost(rate.per_second.max(1));
    let depth = (u128::from(rate.burst) * u128::from(cost)) >> shift;
    entry.cost = cost;
    entry.shift = shift;
    entry.depth = u64::try_from(depth).unwrap_or(u64::MAX);
    let jiffies_from = (2 * ns_per_jiffy).max(JIFFIES_FROM.as_nanos() as u64);
    entry.precise = (entry.depth >> TIME_SHIFT < jiffies_from).into();
}

/// In units of time.
fn duration(duration: Duration) -> u64 {
    time(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(ALWAYS >> TIME_SHIFT))
}
