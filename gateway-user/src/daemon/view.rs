//! Status, routes and interfaces, for readers.

use super::GovernError;
use super::governor::Governor;
use super::interfaces::InterfaceState;
use super::limits::LimitScan;
use super::names::{OTHER_INTERFACES, RESERVED};
use super::spec;
use crate::api::types::{
    Counts, HookCounts, InterfaceInfo, InterfaceList, InterfaceStatus, MapUsage, RouteInfo, RouteList, Status,
};
use crate::dataplane::Readers;
use crate::dataplane::TrackCounts;
use crate::policy::Route;
use crate::store::Slots;
use gateway_common::abi::{self, ABI_VERSION, Count, Hook, InterfaceStats, Verdict};
use std::sync::PoisonError;

impl From<Count> for Counts {
    fn from(count: Count) -> Counts {
        Counts { packets: count.packets, bytes: count.bytes }
    }
}

impl Governor {
    /// All in short. Blocks for as long as it takes to walk over all flows.
    ///
    /// # Errors
    /// Where the kernel's clock cannot be read.
    pub fn status(&self) -> Result<Status, GovernError> {
        let flows = self.select_flows(None, crate::flows::Order::Last, 0)?;
        let states = self.interface_states();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            object: self.object.clone(),
            pid: std::process::id(),
            started_at_unix_secs: self.started_at_unix_secs,
            adopted: self.adopted,
            ready: self.is_ready(),
            policy: self.live().map(|live| live.summary()),
            interfaces: states.iter().map(|(name, state)| interface_status(name, state)).collect(),
            flows: self.flow_totals(Some(&flows)),
            events: self.event_totals(),
            maps: self.map_usage(&self.scan_limits(), &self.readers.connection_counts()),
            notices: self.notices().into_values().collect(),
        })
    }

    /// The routes of the live policy with their counters.
    ///
    /// # Errors
    /// [`GovernError::UnknownPolicy`].
    pub fn route_list(&self) -> Result<RouteList, GovernError> {
        let mut list = RouteList { generation: 0, routes: Vec::new(), others: Default::default() };
        for (name, slot) in RESERVED {
            list.others.insert(name.to_owned(), self.readers.route_counts(slot).into());
        }
        let Some(live) = self.live() else { return Ok(list) };
        let Some(document) = &live.document else {
            return Err(GovernError::UnknownPolicy { generation: live.generation });
        };
        list.generation = live.generation;
        let routes = document.policy.routes.iter().enumerate();
        list.routes = routes.map(|(index, route)| self.route_info(index, route)).collect();
        Ok(list)
    }

    /// A route of the live policy with its counters.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn route(&self, name: &str) -> Result<RouteInfo, GovernError> {
        let live = self.live();
        let routes = live
            .iter()
            .filter_map(|live| live.document.as_ref())
            .flat_map(|document| &document.policy.routes);
        let found = routes.enumerate().find(|(_, route)| route.name == name);
        match found {
            Some((index, route)) => Ok(self.route_info(index, route)),
            None => Err(GovernError::NoSuchRoute { name: name.to_owned() }),
        }
    }

    fn route_info(&self, index: usize, route: &Route) -> RouteInfo {
        let slot = self.slots().route(&route.name);
        let spec = spec::spec(route);
        RouteInfo {
            position: index as u32 + 1,
            match_text: spec::match_text(&spec.matches),
            action_text: spec::action_text(&spec.action),
            route: spec,
            counts: slot.map(|slot| self.readers.route_counts(slot).into()).unwrap_or_default(),
        }
    }

    /// Interfaces with their counters; the one in parentheses stands for those that are not governed.
    #[must_use]
    pub fn interface_list(&self) -> InterfaceList {
        let states = self.interface_states();
        let mut interfaces: Vec<InterfaceInfo> = states
            .iter()
            .map(|(name, state)| self.interface_info(interface_status(name, state), state.slot))
            .collect();
        let other = InterfaceStatus {
            name: OTHER_INTERFACES.to_owned(),
            index: None,
            governed: false,
            mode: "none".to_owned(),
            note: Some("counted on interfaces that are not governed".to_owned()),
        };
        let other = self.interface_info(other, 0);
        if !other.hooks.is_empty() {
            interfaces.push(other);
        }
        InterfaceList { interfaces }
    }

    fn interface_info(&self, status: InterfaceStatus, slot: u8) -> InterfaceInfo {
        let mut info = InterfaceInfo {
            status,
            hooks: Vec::new(),
            drops: Default::default(),
            malformed_passed: Default::default(),
        };
        for (hook, stats) in Hook::ALL.into_iter().zip(self.readers.interface_stats(slot)) {
            if stats != InterfaceStats::default() {
                let verdicts = Verdict::ALL.into_iter().zip(stats.verdicts);
                info.hooks.push(HookCounts {
                    hook: hook.name().to_owned(),
                    received: stats.received.into(),
                    verdicts: verdicts
                        .map(|(verdict, count)| (verdict.name().to_owned(), count.into()))
                        .collect(),
                });
            }
        }
        for (reason, count) in self.readers.reasons(slot) {
            if count.dropped > 0 {
                info.drops.insert(reason.name().to_owned(), count.dropped);
            }
            if count.passed > 0 {
                info.malformed_passed.insert(reason.name().to_owned(), count.passed);
            }
        }
        info
    }

    /// The kernel's counters.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Digest of the kernel object.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// When the daemon started, seconds since the Unix epoch.
    #[must_use]
    pub fn started_at_unix_secs(&self) -> u64 {
        self.started_at_unix_secs
    }

    /// Slots and names of all interfaces that may have counted something, slot 0 included.
    #[must_use]
    pub fn counted_interfaces(&self) -> Vec<(u8, String)> {
        let slots = self.slots();
        let mut all = vec![(0, OTHER_INTERFACES.to_owned())];
        all.extend(slots.interfaces().map(|(name, slot)| (slot, name.to_owned())));
        all
    }

    /// The live policy's routes with their counter slots, in order; all routes ever known if what
    /// is live is not known.
    #[must_use]
    pub fn live_route_slots(&self) -> Vec<(String, u32)> {
        let slots = self.slots();
        match self.live().as_ref().map(|live| live.document.as_ref()) {
            None => Vec::new(),
            Some(None) => slots.routes().map(|(name, slot)| (name.to_owned(), slot)).collect(),
            Some(Some(document)) => {
                let routes = document.policy.routes.iter();
                routes.filter_map(|route| Some((route.name.clone(), slots.route(&route.name)?))).collect()
            }
        }
    }

    /// How full every bounded table is; `scan` says it of those of limits, where an entry is in use that
    /// does not give way at once.
    #[must_use]
    pub fn map_usage(&self, scan: &LimitScan, connections: &TrackCounts) -> Vec<MapUsage> {
        let usage = |map: &str, entries: u64, max_entries: u64| MapUsage {
            map: map.to_lowercase(),
            entries,
            max_entries,
        };
        let mut all: Vec<MapUsage> =
            self.map_sizes().iter().map(|size| usage(size.map, size.entries, size.max_entries)).collect();
        all.push(usage(abi::maps::KEYED, scan.keys().in_debt, self.readers.keys_max()));
        all.push(usage(abi::maps::CONNECTIONS, scan.connections().entries, self.readers.connections_max()));
        all.push(usage(abi::maps::TRACKED, connections.entries, self.readers.tracked_max()));
        {
            let slots = self.slots();
            all.push(usage(abi::maps::ROUTES, slots.routes_used().into(), Slots::MOST_ROUTES.into()));
            all.push(usage("interface_slots", slots.interfaces_used().into(), Slots::MOST_INTERFACES.into()));
        }
        let table = self.flows().lock().unwrap_or_else(PoisonError::into_inner);
        all.push(usage("flow_table", table.len() as u64, table.entries_max() as u64));
        all
    }
}

fn interface_status(name: &str, state: &InterfaceState) -> InterfaceStatus {
    InterfaceStatus {
        name: name.to_owned(),
        index: state.index,
        governed: state.wanted,
        mode: state.mode.map_or("none", |mode| mode.name()).to_owned(),
        note: state.note.clone(),
    }
}
