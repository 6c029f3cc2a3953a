//! Flows and events, for readers.

use super::GovernError;
use super::clock::Calendar;
use super::events::Seen;
use super::governor::Governor;
use super::names;
use crate::api::types::{
    Counts, Event, EventList, EventTotals, Flow, FlowList, FlowOrder, FlowQuery, FlowTotals,
};
use crate::dataplane::{FlowId, addresses};
use crate::flows::{Account, Filter, Order, Selection, select};
use gateway_common::abi::{EventKind, Hook, UNSET, Verdict};
use gateway_common::packet::flags;
use gateway_common::reason::Reason;
use std::sync::PoisonError;

const NS_PER_SEC: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

impl Governor {
    /// The greatest flows, of both their homes. Blocks for as long as it takes to walk over all.
    ///
    /// # Errors
    /// Where the kernel's clock cannot be read.
    pub fn select_flows(
        &self,
        counter: Option<u32>,
        order: Order,
        limit: usize,
    ) -> Result<Selection, GovernError> {
        let idle_ns = self.config.flow_idle_secs.saturating_mul(NS_PER_SEC);
        let seen_since_ns = Calendar::now().monotonic_ns().saturating_sub(idle_ns);
        // The table first: what leaves the memo while it is read waits in the ring buffer.
        let table = self.flows().lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.readers.flows_live()?.flows;
        let live = live.iter().map(|part| (part.id, Account::from(part)));
        Ok(select(&table, live, Filter { counter, seen_since_ns }, order, limit))
    }

    /// Flows as the API shows them; a route that never was has none.
    ///
    /// # Errors
    /// [`GovernError::NoSuchRoute`], and where the kernel's clock cannot be read.
    pub fn flow_list(
        &self,
        query: &FlowQuery,
        order: FlowOrder,
        limit: usize,
    ) -> Result<FlowList, GovernError> {
        let counter = match &query.route {
            Some(name) => {
                Some(self.counter_slot(name).ok_or_else(|| GovernError::NoSuchRoute { name: name.clone() })?)
            }
            None => None,
        };
        let order = match order {
            FlowOrder::Bytes => Order::Bytes,
            FlowOrder::Packets => Order::Packets,
            FlowOrder::Last => Order::Last,
        };
        let selection = self.select_flows(counter, order, limit)?;
        let calendar = Calendar::now();
        let flows = selection.flows.iter().map(|(id, account)| self.flow(id, account, &calendar)).collect();
        Ok(FlowList { flows, matched: selection.matched.flows, totals: self.flow_totals(Some(&selection)) })
    }

    /// Flow accounting in numbers; of the flows themselves only if they were walked over.
    #[must_use]
    pub fn flow_totals(&self, selection: Option<&Selection>) -> FlowTotals {
        let lost = self.readers.telemetry();
        let left = self.flows().lock().unwrap_or_else(PoisonError::into_inner).counters();
        let all = selection.map(|selection| selection.all).unwrap_or_default();
        FlowTotals {
            enabled: self.config.flows,
            flows: all.flows,
            packets: all.packets,
            bytes: all.bytes,
            lost_flows: lost.flows_lost,
            lost_packets: lost.flow_packets_lost,
            lost_bytes: lost.flow_bytes_lost,
            evicted_flows: left.evicted_flows,
            evicted_packets: left.evicted_packets,
            evicted_bytes: left.evicted_bytes,
            expired_flows: left.expired_flows,
        }
    }

    fn flow(&self, id: &FlowId, account: &Account, calendar: &Calendar) -> Flow {
        let key = id.key();
        let ports = names::port_words(key.flags(), key.source_port(), key.port());
        Flow {
            interface: self.interface_name(key.slot() as u8),
            vlan: key.vlan(),
            protocol: names::protocol(key.protocol()),
            source: id.source.to_string(),
            source_port: ports.source_port,
            destination: id.destination.to_string(),
            port: ports.port,
            icmp_type: ports.icmp_type,
            icmp_code: ports.icmp_code,
            later_fragment: key.flags() & flags::LATER_FRAGMENT != 0,
            counts: Counts { packets: account.packets, bytes: account.bytes },
            first_seen_unix_ms: calendar.unix_ns(account.first_ns) / NS_PER_MS,
            last_seen_unix_ms: calendar.unix_ns(account.last_ns) / NS_PER_MS,
            tcp_flags: names::tcp_flags(account.tcp_flags),
            verdict: account.verdict.name().to_owned(),
            reason: account.reason.map(|reason| reason.name().to_owned()),
            route: self.route_name(account.counter),
            mark: Some(account.mark).filter(|mark| *mark != UNSET),
            priority: Some(account.priority).filter(|priority| *priority != UNSET),
            // A pool's targets lie behind any interface.
            redirect: (account.verdict == Verdict::Redirect && account.egress_slot != 0)
                .then(|| self.interface_name(account.egress_slot)),
        }
    }

    /// The newest events, or alerts alone.
    #[must_use]
    pub fn event_list(&self, limit: usize, alerts_only: bool) -> EventList {
        let calendar = Calendar::now();
        let newest = self.events.newest(limit, alerts_only);
        let events = newest.iter().map(|seen| self.event(seen, 0, &calendar)).collect();
        EventList { events, totals: self.event_totals() }
    }

    /// Packet events from now on.
    #[must_use]
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<Seen> {
        self.events.follow()
    }

    /// Notes that a follower was too slow for some events.
    pub fn add_missed_events(&self, events: u64) {
        self.events.add_missed(events);
    }

    /// Packet events in numbers.
    #[must_use]
    pub fn event_totals(&self) -> EventTotals {
        let (received, missed) = self.events.counts();
        let rate = |one_in: u32| if one_in == 0 { 0.0 } else { 1.0 / f64::from(one_in) };
        let (sample, drops) = self.config.sampling();
        EventTotals {
            sample_rate: rate(sample),
            drop_sample_rate: rate(drops),
            received,
            lost: self.readers.telemetry().events_lost,
            missed,
        }
    }

    /// An event as the API shows it.
    #[must_use]
    pub fn event(&self, seen: &Seen, missed: u64, calendar: &Calendar) -> Event {
        let event = &seen.event;
        let (source, destination) = addresses(event)
            .map(|(source, destination)| (source.to_string(), destination.to_string()))
            .unwrap_or_default();
        let later = event.packet_flags & flags::LATER_FRAGMENT != 0;
        let ports = names::port_words(event.packet_flags, event.source_port, event.port);
        let hook = Hook::ALL.into_iter().find(|hook| *hook as u8 == event.hook);
        let fragment = if later {
            Some("later")
        } else {
            (event.packet_flags & flags::FIRST_FRAGMENT != 0).then_some("first")
        };
        Event {
            kind: seen.kind().name().to_owned(),
            limit: (seen.is_alert() && seen.told.is_none()).then(|| self.limit_name(event.limit)),
            target: seen.told.as_ref().map(|told| told.0.to_string()),
            change: seen.told.as_ref().map(|told| told.1.clone()),
            refused: (seen.kind() == EventKind::Limit).then_some(seen.refused_since),
            time_unix_ns: calendar.unix_ns(event.time_ns),
            interface: self.interface_name(seen.slot),
            hook: hook.map_or_else(|| event.hook.to_string(), |hook| hook.name().to_owned()),
            verdict: Verdict::from_code(event.verdict)
                .map_or_else(|| event.verdict.to_string(), |verdict| verdict.name().to_owned()),
            reason: Reason::from_code(event.reason).map(|reason| reason.name().to_owned()),
            route: self.route_name(event.counter),
            generation: event.generation,
            length: event.length,
            protocol: if event.family == 0 { String::new() } else { names::protocol(event.protocol) },
            source,
            source_port: ports.source_port,
            destination,
            port: ports.port,
            icmp_type: ports.icmp_type,
            icmp_code: ports.icmp_code,
            fragment: fragment.map(str::to_owned),
            tcp_flags: names::tcp_flags(event.tcp_flags),
            mark: Some(event.mark).filter(|mark| *mark != UNSET),
            missed,
        }
    }
}
