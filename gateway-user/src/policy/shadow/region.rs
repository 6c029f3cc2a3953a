//! What a route matches in one address family: a box, a set of numbers on each axis.

use super::ranges::{Ranges, is_subset, union};
use crate::policy::protocols::has_ports;
use crate::policy::{Match, Policy, PortRange, Route};
use ipnet::IpNet;
use std::collections::HashMap;

/// Interface, source, destination, protocol, port, source port.
pub(super) const AXES: usize = 6;

/// An axis that the route does not name. On the port axes that is more than all ports: packets
/// without ports too.
const ANY: (u128, u128) = (0, u128::MAX);

/// The packets of one family that a route matches; no axis is empty.
#[derive(Debug)]
pub(super) struct Region {
    /// The route's index in the policy.
    pub route: usize,
    pub axes: [Ranges; AXES],
    /// The lowest and the highest number on each axis: most pairs are told apart by these.
    hulls: [(u128, u128); AXES],
}

impl Region {
    /// Nothing, if an axis is empty.
    fn new(route: usize, axes: [Ranges; AXES]) -> Option<Region> {
        let mut hulls = [ANY; AXES];
        for (hull, axis) in hulls.iter_mut().zip(&axes) {
            *hull = (axis.first()?.0, axis.last()?.1);
        }
        Some(Region { route, axes, hulls })
    }

    /// Whether this holds all of `other`.
    pub fn covers(&self, other: &Region) -> bool {
        (0..AXES).all(|axis| self.may_cover_on(axis, other))
            && (0..AXES).all(|axis| is_subset(&other.axes[axis], &self.axes[axis]))
    }

    /// The only axis on which this does not hold all of `other`.
    pub fn short_on(&self, other: &Region) -> Option<usize> {
        let mut short = None;
        for axis in 0..AXES {
            let covers = self.may_cover_on(axis, other) && is_subset(&other.axes[axis], &self.axes[axis]);
            if !covers && short.replace(axis).is_some() {
                return None;
            }
        }
        short
    }

    fn may_cover_on(&self, axis: usize, other: &Region) -> bool {
        let (mine, theirs) = (self.hulls[axis], other.hulls[axis]);
        mine.0 <= theirs.0 && theirs.1 <= mine.1
    }
}

/// The regions of a policy's routes in one family, in the routes' order.
pub(super) fn regions(policy: &Policy, ipv6: bool) -> Vec<Region> {
    let mut ids = HashMap::new();
    let mut out = Vec::with_capacity(policy.routes.len());
    for (route, Route { matches, .. }) in policy.routes.iter().enumerate() {
        let axes = [
            interfaces(matches, &mut ids),
            addresses(matches.from.as_ref(), ipv6),
            addresses(matches.to.as_ref(), ipv6),
            protocols(matches),
            ports(matches.port.as_ref()),
            ports(matches.source_port.as_ref()),
        ];
        out.extend(Region::new(route, axes));
    }
    out
}

/// Names are numbered as they come.
fn interfaces<'p>(matches: &'p Match, ids: &mut HashMap<&'p str, u128>) -> Ranges {
    let Some(names) = &matches.interface else { return vec![ANY] };
    let id = |name: &'p String| {
        let next = ids.len() as u128;
        let id = *ids.entry(name).or_insert(next);
        (id, id)
    };
    union(names.iter().map(id).collect())
}

fn addresses(prefixes: Option<&Vec<IpNet>>, ipv6: bool) -> Ranges {
    let Some(prefixes) = prefixes else {
        return vec![(0, if ipv6 { u128::MAX } else { u32::MAX.into() })];
    };
    let range = |prefix: &IpNet| match prefix {
        IpNet::V4(net) if !ipv6 => Some((u32::from(net.network()).into(), u32::from(net.broadcast()).into())),
        IpNet::V6(net) if ipv6 => Some((net.network().into(), net.broadcast().into())),
        _ => None,
    };
    union(prefixes.iter().filter_map(range).collect())
}

/// The protocols that can match: a route that names ports matches only those that have them.
fn protocols(matches: &Match) -> Ranges {
    let names_ports = matches.port.is_some() || matches.source_port.is_some();
    let named = |protocol: &u8| matches.protocol.as_ref().is_none_or(|named| named.contains(protocol));
    let possible = |protocol: &u8| !names_ports || has_ports(*protocol);
    let single = |protocol: u8| (protocol.into(), protocol.into());
    union((0..=u8::MAX).filter(|protocol| named(protocol) && possible(protocol)).map(single).collect())
}

fn ports(ranges: Option<&Vec<PortRange>>) -> Ranges {
    let Some(ranges) = ranges else { return vec![ANY] };
    union(ranges.iter().map(|range| (range.first.into(), range.last.into())).collect())
}
