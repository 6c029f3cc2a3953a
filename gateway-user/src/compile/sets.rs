//! The routes as the compiler sees them: rows of dimensions, each naming a list that must hold and one
//! that must not, by their ids. Routes that name the same list share the id, so a list is cut into
//! classes once.

use super::Names;
use super::classes::Selector;
use super::dimension::{DIMENSIONS, Dimension};
use super::hashing::Build;
use super::ranges::where_true;
use crate::policy::{Fragment, LabelTest, Match, Policy, Range, TcpFlags};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The distinct lists of a dimension, numbered in the order of the routes.
#[derive(Debug)]
pub(super) struct Lists<K> {
    ids: HashMap<K, u32, Build>,
    lists: Vec<K>,
    first_routes: Vec<u32>,
}

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Lists { ids: HashMap::default(), lists: Vec::new(), first_routes: Vec::new() }
    }
}

impl<K: Hash + Eq + Clone> Lists<K> {
    fn id(&mut self, list: K, route: u32) -> u32 {
        let (lists, first_routes) = (&mut self.lists, &mut self.first_routes);
        *self.ids.entry(list).or_insert_with_key(|list| {
            lists.push(list.clone());
            first_routes.push(route);
            lists.len() as u32 - 1
        })
    }

    /// The lists, by id.
    pub(super) fn lists(&self) -> &[K] {
        &self.lists
    }

    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The first route that names each list.
    pub(super) fn first_routes(&self) -> &[u32] {
        &self.first_routes
    }
}

/// What a route names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    /// Index of the route.
    pub route: u32,
    /// Bits of the dimensions that it names.
    pub dimensions: u32,
    /// Which lists in each of them.
    pub selectors: [Selector; DIMENSIONS],
}

impl Row {
    /// The dimensions that it names.
    pub(super) fn named(&self) -> impl Iterator<Item = Dimension> + use<> {
        let dimensions = self.dimensions;
        Dimension::ALL.into_iter().filter(move |dimension| dimensions & dimension.bit() != 0)
    }

    fn name(&mut self, dimension: Dimension, selector: Selector) {
        if selector != Selector::ANY {
            self.dimensions |= dimension.bit();
            self.selectors[dimension as usize] = selector;
        }
    }
}

/// All routes that can match a packet, and their lists.
#[derive(Debug)]
pub(super) struct Selection<'p> {
    pub rows: Vec<Row>,
    /// Sources and destinations.
    pub prefixes: [Lists<&'p [IpNet]>; 2],
    pub labels: Lists<&'p LabelTest>,
    /// By dimension; those of addresses and labels stay empty.
    pub ranges: [Lists<Vec<Range<u32>>>; DIMENSIONS],
}

/// Selects the routes that have to be entered: not those that can match nothing (they name unknown
/// interfaces only, or negate all addresses), nor those that name just what an earlier one does.
pub(super) fn select<'p>(policy: &'p Policy, names: &dyn Names) -> Selection<'p> {
    let mut selection = Selection {
        rows: Vec::with_capacity(policy.routes.len()),
        prefixes: <[Lists<_>; 2]>::default(),
        labels: Lists::default(),
        ranges: <[Lists<_>; DIMENSIONS]>::default(),
    };
    let mut seen: HashSet<(u32, [Selector; DIMENSIONS]), Build> =
        HashSet::with_capacity_and_hasher(policy.routes.len(), Build::default());
    for (route, matches) in policy.routes.iter().map(|route| &route.matches).enumerate() {
        for row in selection.rows_of(matches, route as u32, names).into_iter().flatten() {
            if seen.insert((row.dimensions, row.selectors)) {
                selection.rows.push(row);
            }
        }
    }
    selection
}

impl<'p> Selection<'p> {
    /// The rows of a route: two where a sender needs either a label or a prefix.
    fn rows_of(&mut self, matches: &'p Match, route: u32, names: &dyn Names) -> [Option<Row>; 2] {
        let not = matches.not.as_deref();
        let slots = matches.interface.as_ref().map(|list| slot_ranges(list, names));
        let everything = |list: Option<&Vec<IpNet>>| list.is_some_and(|list| is_everything(list));
        let negated = |list: fn(&Match) -> Option<&Vec<IpNet>>| everything(not.and_then(list));
        if slots.as_ref().is_some_and(Vec::is_empty)
            || negated(|not| not.from.as_ref())
            || negated(|not| not.to.as_ref())
        {
            return [None, None];
        }
        let mut row = Row { route, dimensions: 0, selectors: [Selector::ANY; DIMENSIONS] };
        let not_slots = not.and_then(|not| not.interface.as_ref()).map(|list| slot_ranges(list, names));
        let interface = Selector {
            positive: slots.map_or(Selector::NONE, |slots| self.range(Dimension::Interface, slots, route)),
            negative: not_slots
                .filter(|slots| !slots.is_empty())
                .map_or(Selector::NONE, |slots| self.range(Dimension::Interface, slots, route)),
        };
        row.name(Dimension::Interface, interface);
        for (dimension, ranges) in COMPONENTS {
            let selector = Selector {
                positive: ranges(matches).map_or(Selector::NONE, |list| self.range(dimension, list, route)),
                negative: not
                    .and_then(ranges)
                    .map_or(Selector::NONE, |list| self.range(dimension, list, route)),
            };
            row.name(dimension, selector);
        }
        let to = matches.to.as_deref().filter(|list| !is_everything(list));
        let not_to = not.and_then(|not| not.to.as_deref());
        row.name(Dimension::To, self.addresses(1, to, not_to, route));
        self.senders(row, matches, not)
    }

    /// Adds who may send.
    fn senders(&mut self, row: Row, matches: &'p Match, not: Option<&'p Match>) -> [Option<Row>; 2] {
        let Row { route, .. } = row;
        let (from, labels) = (matches.from.as_deref(), matches.labels.as_ref());
        let not_from = not.and_then(|not| not.from.as_deref());
        let not_labels = not.and_then(|not| not.labels.as_ref());
        let anybody = from.is_some_and(is_everything);
        let mut with = |from, labels| {
            let mut row = row;
            row.name(Dimension::From, self.addresses(0, from, not_from, route));
            row.name(Dimension::Label, self.labels(labels, not_labels, route));
            Some(row)
        };
        match (from, labels) {
            _ if anybody => [with(None, None), None],
            (Some(from), Some(labels)) => [with(None, Some(labels)), with(Some(from), None)],
            (from, labels) => [with(from, labels), None],
        }
    }

    fn range(&mut self, dimension: Dimension, list: Vec<Range<u32>>, route: u32) -> u32 {
        self.ranges[dimension as usize].id(list, route)
    }

    fn addresses(
        &mut self,
        direction: usize,
        positive: Option<&'p [IpNet]>,
        negative: Option<&'p [IpNet]>,
        route: u32,
    ) -> Selector {
        let mut id =
            |list: Option<_>| list.map_or(Selector::NONE, |list| self.prefixes[direction].id(list, route));
        Selector { positive: id(positive), negative: id(negative) }
    }

    fn labels(
        &mut self,
        positive: Option<&'p LabelTest>,
        negative: Option<&'p LabelTest>,
        route: u32,
    ) -> Selector {
        let mut id = |test: Option<_>| test.map_or(Selector::NONE, |test| self.labels.id(test, route));
        Selector { positive: id(positive), negative: id(negative) }
    }
}

/// A dimension and its list in a match, as ranges of the numbers that the kernel looks up.
type Component = (Dimension, fn(&Match) -> Option<Vec<Range<u32>>>);

/// What is looked up by number, but for interfaces, which only the node can number.
const COMPONENTS: [Component; 12] = [
    (Dimension::Protocol, |matches| {
        let protocols = matches.protocol.as_ref()?;
        Some(where_true(256, |protocol| protocols.binary_search(&(protocol as u8)).is_ok()))
    }),
    (Dimension::Port, |matches| wide(matches.port.as_ref())),
    (Dimension::SourcePort, |matches| wide(matches.source_port.as_ref())),
    (Dimension::Vlan, |matches| wide(matches.vlan.as_ref())),
    (Dimension::IcmpType, |matches| wide(matches.icmp_type.as_ref())),
    (Dimension::IcmpCode, |matches| wide(matches.icmp_code.as_ref())),
    (Dimension::TcpFlags, |matches| matches.tcp_flags.as_deref().map(tcp_flags)),
    (Dimension::Length, |matches| wide(matches.length.as_ref())),
    (Dimension::Dscp, |matches| wide(matches.dscp.as_ref())),
    (Dimension::Fragment, |matches| matches.fragment.as_deref().map(fragments)),
    (Dimension::FlowLabel, |matches| wide(matches.flow_label.as_ref())),
    (Dimension::Ttl, |matches| wide(matches.ttl.as_ref())),
];

fn wide<T: Copy + Into<u32>>(list: Option<&Vec<Range<T>>>) -> Option<Vec<Range<u32>>> {
    let widened = |range: &Range<T>| Range { first: range.first.into(), last: range.last.into() };
    list.map(|list| list.iter().map(widened).collect())
}

fn tcp_flags(tests: &[TcpFlags]) -> Vec<Range<u32>> {
    where_true(256, |flags| tests.iter().any(|test| flags & u32::from(test.mask) == u32::from(test.set)))
}

/// The values of [`gateway_common::packet::Packet::fragment_bits`] that are of any of these kinds.
fn fragments(kinds: &[Fragment]) -> Vec<Range<u32>> {
    let bit = |kind: &Fragment| match kind {
        Fragment::Dont => 1_u32,
        Fragment::Later => 2,
        Fragment::First => 4,
        Fragment::Last => 8,
    };
    let wanted = kinds.iter().fold(0, |bits, kind| bits | bit(kind));
    where_true(16, |bits| bits & wanted != 0)
}

/// The slots of those interfaces that the node knows.
fn slot_ranges(list: &[String], names: &dyn Names) -> Vec<Range<u32>> {
    let mut known = [false; 256];
    for slot in list.iter().filter_map(|name| names.interface_slot(name)).filter(|&slot| slot != 0) {
        known[usize::from(slot)] = true;
    }
    where_true(256, |slot| known[slot as usize])
}

/// Whether a list holds every address of both families: then it says nothing, and a route that names
/// it need not be entered under every class of the others.
fn is_everything(list: &[IpNet]) -> bool {
    let v4 = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
    let v6 = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));
    list.binary_search(&v4).is_ok() && list.binary_search(&v6).is_ok()
}
