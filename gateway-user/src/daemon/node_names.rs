//! What a document's names mean on this node.

use super::live::Document;
use crate::compile::{Names, limit_names, target_names};
use crate::dataplane::WayTo;
use crate::policy::Policy;
use crate::store::{NewSlots, Slots};
use gateway_common::abi::COUNTER_DEFAULT;
use std::collections::HashMap;
use std::net::IpAddr;

/// Names of what a document numbers and does not list by itself.
pub(super) struct Numbered {
    pub limits: Vec<String>,
    pub targets: Vec<String>,
}

impl Numbered {
    pub(super) fn of(policy: &Policy) -> Numbered {
        Numbered { limits: limit_names(policy), targets: target_names(policy) }
    }
}

/// What a document's names mean on this node.
pub(super) struct NodeNames<'a> {
    routes: HashMap<&'a str, u32>,
    interfaces: HashMap<&'a str, u8>,
    limits: HashMap<&'a str, u32>,
    labels: HashMap<&'a str, u32>,
    targets: HashMap<&'a str, u32>,
    /// To targets whose packets have another source than their sender.
    pub ways: HashMap<IpAddr, WayTo>,
}

impl<'a> NodeNames<'a> {
    pub(super) fn of(
        document: &'a Document,
        numbered: &'a Numbered,
        slots: &Slots,
        new: &NewSlots,
    ) -> NodeNames<'a> {
        let routes = document.policy.routes.iter().map(|route| route.name.as_str());
        let route = |name: &'a str| Some((name, slots.route(name).or_else(|| new.route(name))?));
        let interface = |name: &'a str| Some((name, slots.interface(name).or_else(|| new.interface(name))?));
        let limit = |name: &'a str| Some((name, slots.limit(name).or_else(|| new.limit(name))?));
        let label = |name: &'a str| Some((name, slots.label(name).or_else(|| new.label(name))?));
        let target = |name: &'a str| Some((name, slots.target(name).or_else(|| new.target(name))?));
        NodeNames {
            routes: routes.filter_map(route).collect(),
            interfaces: document.interfaces().filter_map(interface).collect(),
            limits: numbered.limits.iter().filter_map(|name| limit(name)).collect(),
            targets: numbered.targets.iter().filter_map(|name| target(name)).collect(),
            ways: HashMap::new(),
            labels: document.policy.labels.keys().filter_map(|name| label(name)).collect(),
        }
    }
}

impl Names for NodeNames<'_> {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        self.interfaces.get(name).copied()
    }

    fn counter_slot(&self, route: &str) -> u32 {
        // Every route of the document has one.
        self.routes.get(route).copied().unwrap_or(COUNTER_DEFAULT)
    }

    fn limit_slot(&self, limit: &str) -> u32 {
        self.limits.get(limit).copied().unwrap_or(0)
    }

    fn target_slot(&self, target: &str) -> u32 {
        self.targets.get(target).copied().unwrap_or(0)
    }

    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        self.ways.get(&target)?.source
    }

    fn is_own(&self, target: IpAddr) -> bool {
        self.ways.get(&target).is_some_and(|way| way.is_own)
    }

    fn label_number(&self, label: &str) -> u32 {
        self.labels.get(label).copied().unwrap_or(0)
    }
}

/// Targets whose packets have another source than their sender: one that their pool names or routing tells.
pub(super) fn sourced(policy: &Policy) -> impl Iterator<Item = IpAddr> {
    let sourced = policy.pools.values().filter(|pool| pool.forward.source().is_some());
    sourced.flat_map(|pool| pool.targets.values().map(|target| target.address))
}
