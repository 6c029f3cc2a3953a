//! Routes that can never match, since earlier ones take all that they would.
//!
//! Exact for what one earlier route takes in each address family, however its lists are written.
//! In policies of up to [`UNION_ROUTES_MAX`] routes it also finds what several take together that
//! differ on one axis, two that halve its ports for example. What several take that differ on more
//! axes is not found: a route is named only if it cannot match. Labels are told apart by their names
//! alone, since live members come and go: a route that asks for one hides others that ask for it.

mod index;
mod labels;
mod ranges;
mod region;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use super::Policy;
use index::Index;
use ranges::{Ranges, overlap, subtract};
pub(super) use region::{AXES, parts};
use region::{Region, regions};
use serde::Serialize;

/// The largest policy in which unions are looked for: every pair of its routes is looked at.
pub const UNION_ROUTES_MAX: usize = 2000;

/// A route that can never match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shadowed {
    /// Its name.
    pub route: String,
    /// The earlier routes that take its packets, in order.
    pub hidden_by: Vec<String>,
}

/// The routes that can never match, in order.
#[must_use]
pub fn shadowed(policy: &Policy) -> Vec<Shadowed> {
    let name = |index: usize| policy.routes[index].name.clone();
    let named = |(route, by): (usize, Vec<usize>)| Shadowed {
        route: name(route),
        hidden_by: by.into_iter().map(name).collect(),
    };
    shadowed_indices(policy).into_iter().map(named).collect()
}

/// The same by index.
pub(super) fn shadowed_indices(policy: &Policy) -> Vec<(usize, Vec<usize>)> {
    let mut found: Vec<Coverage> = vec![Coverage::default(); policy.routes.len()];
    for ipv6 in [false, true] {
        let regions = regions(policy, ipv6);
        let unions = policy.routes.len() <= UNION_ROUTES_MAX;
        for (region, by) in regions.iter().zip(hidden(&regions, unions)) {
            let coverage = &mut found[region.route];
            match by {
                Some(by) => coverage.by.extend(by),
                None => coverage.reachable = true,
            }
        }
    }
    let mut out = Vec::new();
    for (route, mut coverage) in found.into_iter().enumerate() {
        // Nothing hides a route that matches nothing by itself.
        if !coverage.reachable && !coverage.by.is_empty() {
            coverage.by.sort_unstable();
            coverage.by.dedup();
            out.push((route, coverage.by));
        }
    }
    out
}

/// What is known of a route from the families looked at so far.
#[derive(Clone, Default)]
struct Coverage {
    reachable: bool,
    by: Vec<usize>,
}

/// For each region, the routes that hide it.
fn hidden(regions: &[Region<'_>], unions: bool) -> Vec<Option<Vec<usize>>> {
    let mut index = Index::new(regions);
    // Hidden regions are left out: what they cover, the routes that hide them cover.
    let mut reachable: Vec<&Region<'_>> = Vec::new();
    let mut out = Vec::with_capacity(regions.len());
    for region in regions {
        let single = index.first_cover(region).map(|cover| vec![cover.route]);
        let by = single.or_else(|| if unions { union_cover(&reachable, region) } else { None });
        if by.is_none() {
            index.insert(region);
            reachable.push(region);
        }
        out.push(by);
    }
    out
}

/// Regions that together cover this one, each covering it on all axes but the same one.
fn union_cover(earlier: &[&Region<'_>], region: &Region<'_>) -> Option<Vec<usize>> {
    let mut rest: [Ranges; AXES] = region.axes.clone();
    let mut by: [Vec<usize>; AXES] = Default::default();
    for other in earlier {
        let Some(axis) = other.short_on(region) else { continue };
        if !overlap(&rest[axis], &other.axes[axis]) {
            continue;
        }
        let left = subtract(&rest[axis], &other.axes[axis]);
        by[axis].push(other.route);
        if left.is_empty() {
            return Some(std::mem::take(&mut by[axis]));
        }
        rest[axis] = left;
    }
    None
}
