//! The routes as the compiler sees them: rows of dimensions, each naming a list by its id. Routes
//! that name the same list share the id, so a list is cut into classes once.

use super::Names;
use super::dimension::{DIMENSIONS, Dimension};
use super::hashing::Build;
use crate::policy::{Match, Policy, PortRange};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The distinct lists of a dimension, numbered in the order of the routes.
#[derive(Debug)]
pub(super) struct Sets<'p, T> {
    ids: HashMap<&'p [T], u32, Build>,
    lists: Vec<&'p [T]>,
    first_routes: Vec<u32>,
}

impl<'p, T: Hash + Eq> Sets<'p, T> {
    /// For a dimension that `routes` routes name.
    fn with_capacity(routes: usize) -> Self {
        Sets {
            ids: HashMap::with_capacity_and_hasher(routes, Build::default()),
            lists: Vec::with_capacity(routes),
            first_routes: Vec::with_capacity(routes),
        }
    }

    fn id(&mut self, list: &'p [T], route: u32) -> u32 {
        *self.ids.entry(list).or_insert_with(|| {
            self.lists.push(list);
            self.first_routes.push(route);
            self.lists.len() as u32 - 1
        })
    }

    /// The lists, by id.
    pub(super) fn lists(&self) -> &[&'p [T]] {
        &self.lists
    }

    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The first route that names a list.
    pub(super) fn first_route(&self, set: usize) -> u32 {
        self.first_routes.get(set).copied().unwrap_or(0)
    }
}

/// What a route names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    /// Index of the route.
    pub route: u32,
    /// Bits of the dimensions that it names.
    pub dimensions: u32,
    /// The list's id in each of them, 0 in the others.
    pub sets: [u32; DIMENSIONS],
}

/// All routes that can match a packet, and their lists.
#[derive(Debug)]
pub(super) struct Selection<'p> {
    pub rows: Vec<Row>,
    pub interface: Sets<'p, String>,
    pub from: Sets<'p, IpNet>,
    pub to: Sets<'p, IpNet>,
    pub protocol: Sets<'p, u8>,
    pub port: Sets<'p, PortRange>,
    pub source_port: Sets<'p, PortRange>,
    /// Slots of each interface list, ascending.
    pub slots: Vec<Vec<u8>>,
}

/// Selects the routes that have to be entered: not those that name unknown interfaces only, nor
/// those that name just what an earlier one does.
pub(super) fn select<'p>(policy: &'p Policy, names: &dyn Names) -> Selection<'p> {
    let routes = policy.routes.len();
    let naming = |names: fn(&Match) -> bool| policy.routes.iter().filter(|r| names(&r.matches)).count();
    let mut selection = Selection {
        rows: Vec::with_capacity(routes),
        interface: Sets::with_capacity(0),
        from: Sets::with_capacity(naming(|matches| matches.from.is_some())),
        to: Sets::with_capacity(naming(|matches| matches.to.is_some())),
        protocol: Sets::with_capacity(0),
        port: Sets::with_capacity(naming(|matches| matches.port.is_some())),
        source_port: Sets::with_capacity(naming(|matches| matches.source_port.is_some())),
        slots: Vec::new(),
    };
    let mut seen: HashSet<(u32, [u32; DIMENSIONS]), Build> =
        HashSet::with_capacity_and_hasher(routes, Build::default());
    for (route, matches) in policy.routes.iter().map(|route| &route.matches).enumerate() {
        let route = route as u32;
        let mut row = Row { route, dimensions: 0, sets: [0; DIMENSIONS] };
        if let Some(list) = &matches.interface {
            let set = selection.interface.id(list, route);
            if set as usize == selection.slots.len() {
                selection.slots.push(slots(list, names));
            }
            if selection.slots[set as usize].is_empty() {
                continue;
            }
            row.name(Dimension::Interface, set);
        }
        if let Some(list) = matches.from.as_deref().filter(|list| !is_everything(list)) {
            row.name(Dimension::From, selection.from.id(list, route));
        }
        if let Some(list) = matches.to.as_deref().filter(|list| !is_everything(list)) {
            row.name(Dimension::To, selection.to.id(list, route));
        }
        if let Some(list) = &matches.protocol {
            row.name(Dimension::Protocol, selection.protocol.id(list, route));
        }
        if let Some(list) = &matches.port {
            row.name(Dimension::Port, selection.port.id(list, route));
        }
        if let Some(list) = &matches.source_port {
            row.name(Dimension::SourcePort, selection.source_port.id(list, route));
        }
        if seen.insert((row.dimensions, row.sets)) {
            selection.rows.push(row);
        }
    }
    selection
}

impl Row {
    fn name(&mut self, dimension: Dimension, set: u32) {
        self.dimensions |= dimension.bit();
        self.sets[dimension as usize] = set;
    }
}

fn slots(list: &[String], names: &dyn Names) -> Vec<u8> {
    let mut slots: Vec<u8> =
        list.iter().filter_map(|name| names.interface_slot(name)).filter(|&slot| slot != 0).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// Whether a list holds every address of both families: then it says nothing, and a route that names
/// it need not be entered under every class of the others.
fn is_everything(list: &[IpNet]) -> bool {
    let v4 = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
    let v6 = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));
    list.binary_search(&v4).is_ok() && list.binary_search(&v6).is_ok()
}
