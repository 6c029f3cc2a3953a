//! `/metrics`: everything but flows.

use super::catalog as c;
use super::family::{Definition, Family};
use super::{health, limits, pools};
use crate::daemon::{Governor, LimitScan, RESERVED};
use crate::dataplane::TrackCounts;
use gateway_common::abi::{ABI_VERSION, Hook, InterfaceStats, Verdict};
use gateway_common::reason::Reason;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::collections::HashMap;
use std::sync::Arc;

/// Most routes that have series.
pub const ROUTES_MAX: usize = 10_000;

/// Reads the governor when it is scraped.
pub struct Node {
    governor: Arc<Governor>,
    descs: Vec<Desc>,
}

impl Node {
    /// A collector of what this governor governs.
    pub fn new(governor: Arc<Governor>) -> Node {
        Node { governor, descs: c::NODE.iter().filter_map(Definition::desc).collect() }
    }
}

impl Collector for Node {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let governor = &*self.governor;
        let mut families = interfaces(governor);
        families.extend(routes(governor));
        families.extend(labels(governor));
        families.extend(node(governor));
        let scan = governor.scan_limits();
        families.extend(limits::collect(governor, &scan));
        let connections = governor.readers().connection_counts();
        families.extend(pools::collect(governor, &connections));
        families.extend(health::collect(governor, &connections));
        families.extend(tables(governor, &scan, &connections));
        families.into_iter().map(Family::finish).collect()
    }
}

fn interfaces(governor: &Governor) -> Vec<Family> {
    let mut packets = Family::new(c::PACKETS);
    let mut bytes = Family::new(c::BYTES);
    let mut received = Family::new(c::RECEIVED);
    let mut received_bytes = Family::new(c::RECEIVED_BYTES);
    let mut drops = Family::new(c::DROPS);
    let mut passed = Family::new(c::MALFORMED_PASSED);
    let mut modes = Family::new(c::INTERFACE_MODE);
    let states = governor.interface_states();
    for (name, state) in states.iter().filter(|(_, state)| state.wanted) {
        modes.count(&[name, state.mode.map_or("none", |mode| mode.name())], 1);
    }
    for (slot, name) in governor.counted_interfaces() {
        // A governed interface has all its series from the start, so that rates are right.
        let wanted = states.get(&name).is_some_and(|state| state.wanted);
        for (hook, stats) in Hook::ALL.into_iter().zip(governor.readers().interface_stats(slot)) {
            if !wanted && stats == InterfaceStats::default() {
                continue;
            }
            received.count(&[&name, hook.name()], stats.received.packets);
            received_bytes.count(&[&name, hook.name()], stats.received.bytes);
            for (verdict, count) in Verdict::ALL.into_iter().zip(stats.verdicts) {
                packets.count(&[&name, hook.name(), verdict.name()], count.packets);
                bytes.count(&[&name, hook.name(), verdict.name()], count.bytes);
            }
        }
        let counts: HashMap<Reason, _> = governor.readers().reasons(slot).into_iter().collect();
        for reason in Reason::ALL {
            let count = counts.get(reason).copied();
            if count.is_none() && !wanted {
                continue;
            }
            let count = count.unwrap_or_default();
            drops.count(&[&name, reason.name()], count.dropped);
            if reason.is_malformed() {
                passed.count(&[&name, reason.name()], count.passed);
            }
        }
    }
    vec![packets, bytes, received, received_bytes, drops, passed, modes]
}

fn routes(governor: &Governor) -> [Family; 3] {
    let mut packets = Family::new(c::ROUTE_PACKETS);
    let mut bytes = Family::new(c::ROUTE_BYTES);
    let mut add = |name: &str, slot: u32| {
        let count = governor.readers().route_counts(slot);
        packets.count(&[name], count.packets);
        bytes.count(&[name], count.bytes);
    };
    for (name, slot) in RESERVED {
        add(&format!("({name})"), slot);
    }
    let live = governor.live_route_slots();
    for (name, slot) in live.iter().take(ROUTES_MAX) {
        add(name, *slot);
    }
    let mut left_out = Family::new(c::ROUTES_LEFT_OUT);
    left_out.count(&[], live.len().saturating_sub(ROUTES_MAX) as u64);
    [packets, bytes, left_out]
}

/// A policy has some thousands at most.
fn labels(governor: &Governor) -> [Family; 2] {
    let mut prefixes = Family::new(c::LABEL_PREFIXES);
    let mut members = Family::new(c::LABEL_MEMBERS);
    for label in governor.label_list().labels {
        if label.in_policy {
            prefixes.count(&[&label.name], label.prefixes);
        }
        members.count(&[&label.name], label.members);
    }
    [prefixes, members]
}

/// What has one value.
fn node(governor: &Governor) -> Vec<Family> {
    let live = governor.live();
    let kernel = governor.readers().telemetry();
    let events = governor.event_totals();
    let flows = governor.flow_totals(None);
    let values = [
        (c::GENERATION, governor.readers().generation().into()),
        (c::APPLIED, live.as_ref().map_or(0, |live| live.applied_at_unix_secs)),
        (c::ROUTES, live.as_ref().map_or(0, |live| live.routes.into())),
        (c::READY, governor.is_ready().into()),
        (c::STARTED, governor.started_at_unix_secs()),
        (c::EVENTS_RECEIVED, events.received),
        (c::EVENTS_LOST, kernel.events_lost),
        (c::EVENTS_MISSED, events.missed),
        (c::FLOW_RECORDS, kernel.flows_evicted),
        (c::FLOWS_LOST, kernel.flows_lost),
        (c::FLOW_PACKETS_LOST, kernel.flow_packets_lost),
        (c::FLOW_BYTES_LOST, kernel.flow_bytes_lost),
        (c::TABLE_EVICTED, flows.evicted_flows),
        (c::TABLE_EVICTED_PACKETS, flows.evicted_packets),
        (c::TABLE_EVICTED_BYTES, flows.evicted_bytes),
        (c::TABLE_EXPIRED, flows.expired_flows),
        (c::MEMO_MISSES, kernel.memo_misses),
        (c::METADATA_REFUSED, kernel.metadata_refused),
        (c::SENDS_FAILED, kernel.sends_failed),
        (c::ERRORS_SENT, kernel.errors_sent),
        (c::ERRORS_SUPPRESSED, kernel.errors_suppressed),
        (c::FRAGMENTS_EVICTED, kernel.fragments_evicted),
        (c::KEYS_EVICTED, kernel.keys_evicted),
        (c::CONNECTIONS_REFUSED, kernel.connections_refused),
        (c::LIMIT_CONTENDED, kernel.limit_contended),
        (c::COOKIES_WRONG, kernel.syn_cookies_wrong),
        (c::TRACKED_REFUSED, kernel.tracked_refused),
    ];
    let mut families = Vec::new();
    for (definition, value) in values {
        let mut family = Family::new(definition);
        family.count(&[], value);
        families.push(family);
    }
    let mut build = Family::new(c::BUILD_INFO);
    build.count(&[env!("CARGO_PKG_VERSION"), &ABI_VERSION.to_string(), governor.object()], 1);
    families.push(build);
    families
}

fn tables(governor: &Governor, scan: &LimitScan, connections: &TrackCounts) -> [Family; 2] {
    let mut entries = Family::new(c::MAP_ENTRIES);
    let mut most = Family::new(c::MAP_MAX_ENTRIES);
    for usage in governor.map_usage(scan, connections) {
        entries.count(&[&usage.map], usage.entries);
        most.count(&[&usage.map], usage.max_entries);
    }
    [entries, most]
}
