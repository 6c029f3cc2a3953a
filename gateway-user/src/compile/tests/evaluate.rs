//! What the model's documents say of a match, read off one component after the other: what the image is
//! held against.

use crate::policy::{Fragment, Match, Policy, Range, TcpFlags};
use gateway_common::packet::{Packet, flags, protocol};
use ipnet::IpNet;
use std::net::IpAddr;

/// A packet as the model speaks of it.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Slot of the interface `eth<slot>`.
    pub slot: u16,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub packet: Packet,
}

/// Prefixes that are in labels beside those of the policy.
pub(super) type LiveMembers<'a> = [(IpNet, &'a str)];

/// The first route that matches, by looking at one after the other.
pub(super) fn first_match(policy: &Policy, live: &LiveMembers<'_>, arrival: &Arrival) -> u32 {
    let found = policy.routes.iter().position(|route| matches(&route.matches, policy, live, arrival));
    found.unwrap_or(policy.routes.len()) as u32
}

fn matches(matches: &Match, policy: &Policy, live: &LiveMembers<'_>, arrival: &Arrival) -> bool {
    let none_of = |not: &Match| components(not, policy, live, arrival).all(|holds| holds != Some(true));
    components(matches, policy, live, arrival).all(|holds| holds != Some(false))
        && matches.not.as_deref().is_none_or(none_of)
}

/// Whether each component holds that is named.
fn components(
    matches: &Match,
    policy: &Policy,
    live: &LiveMembers<'_>,
    arrival: &Arrival,
) -> impl Iterator<Item = Option<bool>> {
    let Arrival { slot, source, destination, packet } = arrival;
    let has = |flag: u8| packet.flags & flag != 0;
    let interface = format!("eth{slot}");
    let holds = |prefixes: &Vec<IpNet>, address: &IpAddr| prefixes.iter().any(|p| p.contains(address));
    let carries = |label: &String| {
        policy.labels.get(label).is_some_and(|label| holds(&label.prefixes, source))
            || live.iter().any(|(prefix, name)| name == label && prefix.contains(source))
    };
    let from = matches.from.as_ref().map(|prefixes| holds(prefixes, source));
    let labels = matches.labels.as_ref().map(|test| match test.all {
        true => test.names.iter().all(carries),
        false => test.names.iter().any(carries),
    });
    let who = match (from, labels) {
        (Some(from), Some(labels)) => Some(from || labels),
        (from, labels) => from.or(labels),
    };
    [
        matches.interface.as_ref().map(|list| list.contains(&interface)),
        who,
        matches.to.as_ref().map(|prefixes| holds(prefixes, destination)),
        matches.protocol.as_ref().map(|list| list.contains(&packet.protocol)),
        matches.port.as_ref().map(|list| has(flags::HAS_PORTS) && within(list, packet.port)),
        matches.source_port.as_ref().map(|list| has(flags::HAS_PORTS) && within(list, packet.source_port)),
        matches.icmp_type.as_ref().map(|list| has(flags::HAS_ICMP) && within(list, (packet.port >> 8) as u8)),
        matches.icmp_code.as_ref().map(|list| has(flags::HAS_ICMP) && within(list, packet.port as u8)),
        matches.tcp_flags.as_ref().map(|tests| {
            let is_set = |test: &TcpFlags| packet.tcp_flags & test.mask == test.set;
            packet.protocol == protocol::TCP && !has(flags::LATER_FRAGMENT) && tests.iter().any(is_set)
        }),
        matches.length.as_ref().map(|list| within(list, (packet.end - u32::from(packet.l3_offset)) as u16)),
        matches.dscp.as_ref().map(|list| within(list, packet.traffic_class >> 2)),
        matches.fragment.as_ref().map(|kinds| {
            kinds.iter().any(|kind| match kind {
                Fragment::Dont => has(flags::DONT_FRAGMENT),
                Fragment::First => has(flags::FIRST_FRAGMENT),
                Fragment::Later => has(flags::LATER_FRAGMENT),
                Fragment::Last => has(flags::LAST_FRAGMENT),
            })
        }),
        matches.flow_label.as_ref().map(|list| source.is_ipv6() && within(list, packet.flow_label)),
        matches.vlan.as_ref().map(|list| within(list, packet.vlan)),
        matches.ttl.as_ref().map(|list| within(list, packet.ttl)),
    ]
    .into_iter()
}

fn within<T: PartialOrd>(ranges: &[Range<T>], value: T) -> bool {
    ranges.iter().any(|range| range.first <= value && value <= range.last)
}
