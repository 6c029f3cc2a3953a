//! What a route matches in one address family: boxes, each a set of numbers on each axis and a
//! condition on the sender's labels.

use super::labels::Labels;
use super::ranges::{Ranges, is_subset, subtract, union};
use crate::policy::protocols::carriers;
use crate::policy::{Component, Fragment, Match, Policy, Range, Route, TcpFlags};
use ipnet::IpNet;
use std::collections::HashMap;

/// The components of [`Component::ALL`] but `not`, in their order.
pub(in crate::policy) const AXES: usize = Component::ALL.len() - 1;

/// Any number. Where packets may lack a thing, as those without ports do, its axis goes on behind the
/// last number, and the rest of it stands for them.
const ANY: (u128, u128) = (0, u128::MAX);

/// The packets of one family in a part of what a route matches; no axis is empty.
#[derive(Debug)]
pub(super) struct Region<'p> {
    /// The route's index in the policy.
    pub route: usize,
    pub axes: [Ranges; AXES],
    /// The lowest and the highest number on each axis: most pairs are told apart by these.
    hulls: [(u128, u128); AXES],
    labels: Labels<'p>,
}

impl<'p> Region<'p> {
    /// Nothing, if an axis is empty.
    fn new(route: usize, part: Part<'p>) -> Option<Region<'p>> {
        let mut hulls = [ANY; AXES];
        for (hull, axis) in hulls.iter_mut().zip(&part.axes) {
            *hull = (axis.first()?.0, axis.last()?.1);
        }
        Some(Region { route, axes: part.axes, hulls, labels: part.labels })
    }

    /// Whether this holds all of `other`.
    pub fn covers(&self, other: &Region<'_>) -> bool {
        (0..AXES).all(|axis| self.may_cover_on(axis, other))
            && self.labels.covers(&other.labels)
            && (0..AXES).all(|axis| is_subset(&other.axes[axis], &self.axes[axis]))
    }

    /// The only axis on which this does not hold all of `other`.
    pub fn short_on(&self, other: &Region<'_>) -> Option<usize> {
        let mut short = None;
        for axis in 0..AXES {
            let covers = self.may_cover_on(axis, other) && is_subset(&other.axes[axis], &self.axes[axis]);
            if !covers && short.replace(axis).is_some() {
                return None;
            }
        }
        short.filter(|_| self.labels.covers(&other.labels))
    }

    fn may_cover_on(&self, axis: usize, other: &Region<'_>) -> bool {
        let (mine, theirs) = (self.hulls[axis], other.hulls[axis]);
        mine.0 <= theirs.0 && theirs.1 <= mine.1
    }
}

/// The regions of a policy's routes in one family, in the routes' order.
pub(super) fn regions(policy: &Policy, ipv6: bool) -> Vec<Region<'_>> {
    let mut ids = HashMap::new();
    let mut out = Vec::with_capacity(policy.routes.len());
    for (route, Route { matches, .. }) in policy.routes.iter().enumerate() {
        out.extend(parts(matches, ipv6, &mut ids).into_iter().filter_map(|part| Region::new(route, part)));
    }
    out
}

/// A part of what a match matches in one family; nothing, if an axis is empty.
pub(in crate::policy) struct Part<'p> {
    pub axes: [Ranges; AXES],
    labels: Labels<'p>,
}

/// The parts of a match: senders with its labels, and those with its prefixes. Interfaces' names are
/// numbered in `ids` as they come.
pub(in crate::policy) fn parts<'p>(
    matches: &'p Match,
    ipv6: bool,
    ids: &mut HashMap<&'p str, u128>,
) -> Vec<Part<'p>> {
    let axes: [Ranges; AXES] = std::array::from_fn(|axis| axis_of(Component::ALL[axis], matches, ipv6, ids));
    let unwanted = matches.not.as_ref().and_then(|not| not.labels.as_ref());
    let mut out = Vec::new();
    if matches.from.is_some() || matches.labels.is_none() {
        let labels = Labels { wanted: None, unwanted };
        out.push(Part { axes: axes.clone(), labels });
    }
    if let Some(wanted) = &matches.labels {
        let labels = Labels { wanted: Some(wanted), unwanted };
        let mut axes = axes;
        let not = matches.not.as_ref().and_then(|not| numbers(Component::From, not, ipv6, ids));
        axes[Component::From as usize] =
            subtract(&universe(Component::From, ipv6), not.as_deref().unwrap_or_default());
        if labels.is_possible() {
            out.push(Part { axes, labels });
        }
    }
    out
}

/// What a match leaves on one axis.
fn axis_of<'p>(
    component: Component,
    matches: &'p Match,
    ipv6: bool,
    ids: &mut HashMap<&'p str, u128>,
) -> Ranges {
    let all = universe(component, ipv6);
    let mut set = match numbers(component, matches, ipv6, ids) {
        // What is not there cannot be wanted: a flow label of IPv4.
        Some(wanted) => subtract(&all, &subtract(&all, &wanted)),
        None => all,
    };
    if let Some(unwanted) = matches.not.as_ref().and_then(|not| numbers(component, not, ipv6, ids)) {
        set = subtract(&set, &unwanted);
    }
    if component == Component::Protocol {
        // Who names ports names protocols that have them.
        for part in Component::ALL.into_iter().filter(|part| part.is_named(matches)) {
            let Some(carriers) = carriers(part, ipv6) else { continue };
            let carriers = singles(carriers.iter().map(|protocol| (*protocol).into()));
            set = subtract(&set, &subtract(&set, &carriers));
        }
    }
    set
}

/// Every number that packets of a family can have on an axis.
fn universe(component: Component, ipv6: bool) -> Ranges {
    let last: u128 = match component {
        Component::From | Component::To if !ipv6 => u32::MAX.into(),
        Component::Length => u16::MAX.into(),
        Component::Protocol | Component::Ttl => 255,
        Component::Dscp => 63,
        Component::Vlan => 4095,
        // `Packet::fragment_bits`: IPv6 has no "don't fragment", the lowest bit.
        Component::Fragment if ipv6 => return (0..8).map(|bits| (2 * bits, 2 * bits)).collect(),
        Component::Fragment => 15,
        Component::FlowLabel if ipv6 => 0xf_ffff,
        Component::FlowLabel => return vec![(0x10_0000, u128::MAX)],
        _ => u128::MAX,
    };
    vec![(0, last)]
}

/// The numbers that a match names of a component.
fn numbers<'p>(
    component: Component,
    matches: &'p Match,
    ipv6: bool,
    ids: &mut HashMap<&'p str, u128>,
) -> Option<Ranges> {
    Some(match component {
        Component::Interface => interfaces(matches.interface.as_ref()?, ids),
        Component::From => addresses(matches.from.as_ref()?, ipv6),
        Component::To => addresses(matches.to.as_ref()?, ipv6),
        Component::Protocol => singles(matches.protocol.as_ref()?.iter().map(|protocol| (*protocol).into())),
        Component::Port => ranges(matches.port.as_ref()?),
        Component::SourcePort => ranges(matches.source_port.as_ref()?),
        Component::IcmpType => ranges(matches.icmp_type.as_ref()?),
        Component::IcmpCode => ranges(matches.icmp_code.as_ref()?),
        Component::TcpFlags => tcp_flags(matches.tcp_flags.as_ref()?),
        Component::Length => ranges(matches.length.as_ref()?),
        Component::Dscp => ranges(matches.dscp.as_ref()?),
        Component::Fragment => fragments(matches.fragment.as_ref()?),
        Component::FlowLabel => ranges(matches.flow_label.as_ref()?),
        Component::Vlan => ranges(matches.vlan.as_ref()?),
        Component::Ttl => ranges(matches.ttl.as_ref()?),
        Component::Not => return None,
    })
}

fn singles(numbers: impl Iterator<Item = u128>) -> Ranges {
    union(numbers.map(|number| (number, number)).collect())
}

fn ranges<T: Copy + Into<u32>>(ranges: &[Range<T>]) -> Ranges {
    let wide = |number: T| u128::from(number.into());
    union(ranges.iter().map(|range| (wide(range.first), wide(range.last))).collect())
}

/// Names are numbered as they come.
fn interfaces<'p>(names: &'p [String], ids: &mut HashMap<&'p str, u128>) -> Ranges {
    singles(names.iter().map(|name| {
        let next = ids.len() as u128;
        *ids.entry(name).or_insert(next)
    }))
}

fn addresses(prefixes: &[IpNet], ipv6: bool) -> Ranges {
    let range = |prefix: &IpNet| match prefix {
        IpNet::V4(net) if !ipv6 => Some((u32::from(net.network()).into(), u32::from(net.broadcast()).into())),
        IpNet::V6(net) if ipv6 => Some((net.network().into(), net.broadcast().into())),
        _ => None,
    };
    union(prefixes.iter().filter_map(range).collect())
}

/// The sets of flags in which one of the tests holds.
fn tcp_flags(tests: &[TcpFlags]) -> Ranges {
    let holds = |flags: &u8| tests.iter().any(|test| flags & test.mask == test.set);
    singles((0..=u8::MAX).filter(holds).map(u128::from))
}

/// The values of `Packet::fragment_bits` that are of one of the kinds.
fn fragments(kinds: &[Fragment]) -> Ranges {
    let bits = kinds.iter().fold(0_u8, |bits, kind| {
        bits | match kind {
            Fragment::Dont => 1,
            Fragment::Later => 2,
            Fragment::First => 4,
            Fragment::Last => 8,
        }
    });
    singles((0..16_u8).filter(|value| value & bits != 0).map(u128::from))
}
