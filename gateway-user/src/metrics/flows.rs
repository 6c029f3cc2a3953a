//! `/metrics/flows`: the greatest flows, within a hard cap of series.

use super::catalog as c;
use super::family::Family;
use crate::daemon::{GovernError, Governor, port_words, protocol};
use crate::dataplane::FlowId;
use crate::flows::{Account, Order, Selection};
use gateway_common::packet::flags::LATER_FRAGMENT;
use prometheus::proto::MetricFamily;
use std::sync::atomic::{AtomicU64, Ordering};

/// Flows that have series of their own.
const FLOWS_MAX: usize = 100;
/// Value of the label `source` for all others together.
const OTHER: &str = "other";

/// Reads flows, and remembers how many had no series.
#[derive(Debug, Default)]
pub struct Flows {
    left_out: AtomicU64,
}

impl Flows {
    /// The families as they are now. Blocks for as long as it takes to walk over all flows.
    ///
    /// # Errors
    /// Where the kernel's clock cannot be read.
    pub fn collect(&self, governor: &Governor) -> Result<Vec<MetricFamily>, GovernError> {
        let selection = governor.select_flows(None, Order::Bytes, FLOWS_MAX)?;
        let left_out = selection.all.flows - selection.flows.len() as u64;
        let left_out = self.left_out.fetch_add(left_out, Ordering::Relaxed) + left_out;
        let (packets, bytes) = series(governor, &selection);
        let mut count = Family::new(c::FLOW_COUNT);
        count.count(&[], selection.all.flows);
        let mut left = Family::new(c::FLOW_SERIES_LEFT_OUT);
        left.count(&[], left_out);
        Ok([packets, bytes, count, left].into_iter().map(Family::finish).collect())
    }
}

fn series(governor: &Governor, selection: &Selection) -> (Family, Family) {
    let mut packets = Family::new(c::FLOW_PACKETS);
    let mut bytes = Family::new(c::FLOW_BYTES);
    let mut others = selection.all;
    for (id, account) in &selection.flows {
        others.packets -= account.packets;
        others.bytes -= account.bytes;
        let labels = labels(governor, id, account);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        packets.count(&labels, account.packets);
        bytes.count(&labels, account.bytes);
    }
    let other = |label: &&str| if *label == "source" { OTHER } else { "" };
    let labels: Vec<&str> = c::FLOW_BYTES.labels.iter().map(other).collect();
    packets.count(&labels, others.packets);
    bytes.count(&labels, others.bytes);
    (packets, bytes)
}

/// Values of the labels of [`c::FLOW_BYTES`], in its order.
fn labels(governor: &Governor, id: &FlowId, account: &Account) -> [String; 11] {
    let key = id.key();
    let ports = port_words(key.flags(), key.source_port(), key.port());
    let number = |port: Option<u16>| port.map_or_else(String::new, |port| port.to_string());
    let icmp = match (ports.icmp_type, ports.icmp_code) {
        (Some(kind), Some(code)) => format!("{kind}/{code}"),
        _ => String::new(),
    };
    [
        governor.interface_name(key.slot() as u8),
        if key.vlan() == 0 { String::new() } else { key.vlan().to_string() },
        protocol(key.protocol()),
        id.source.to_string(),
        number(ports.source_port),
        id.destination.to_string(),
        number(ports.port),
        icmp,
        if key.flags() & LATER_FRAGMENT != 0 { "later".to_owned() } else { String::new() },
        account.verdict.name().to_owned(),
        governor.route_name(account.counter),
    ]
}
