//! Whether a packet is what a route's match asks for: one component after the other.

use super::labels::carried;
use super::{Parsed, World};
use gateway_user::policy::{Fragment, LabelTest, Match, Policy, Range, TcpFlags};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a match is held against.
pub(super) struct Sight<'a> {
    world: &'a World,
    packet: &'a Parsed,
    labels: BTreeSet<&'a str>,
}

impl<'a> Sight<'a> {
    pub(super) fn new(policy: &'a Policy, world: &'a World, packet: &'a Parsed) -> Sight<'a> {
        Sight { world, packet, labels: carried(policy, world, packet.source) }
    }

    /// All labels that the sender carries.
    pub(super) fn labels(&self) -> &BTreeSet<&'a str> {
        &self.labels
    }

    /// All that is named holds, and of what `not` names nothing does.
    pub(super) fn holds(&self, wanted: &Match) -> bool {
        let denied = wanted.not.as_deref().is_some_and(|not| self.components(not).contains(&Some(true)));
        !denied && self.components(wanted).iter().all(|held| held.unwrap_or(true))
    }

    /// Each component: whether it holds, if it is named.
    fn components(&self, wanted: &Match) -> [Option<bool>; 15] {
        let packet = self.packet;
        [
            wanted.interface.as_ref().map(|list| list.contains(&self.world.interface)),
            self.from(wanted),
            wanted.to.as_ref().map(|list| any_prefix(list, packet.destination)),
            wanted.protocol.as_ref().map(|list| list.contains(&packet.protocol)),
            ranges(wanted.port.as_ref(), packet.ports.map(|(_, destination)| destination)),
            ranges(wanted.source_port.as_ref(), packet.ports.map(|(source, _)| source)),
            ranges(wanted.icmp_type.as_ref(), packet.icmp.map(|(kind, _)| kind)),
            ranges(wanted.icmp_code.as_ref(), packet.icmp.map(|(_, code)| code)),
            wanted.tcp_flags.as_ref().map(|list| list.iter().any(|wanted| flags(*wanted, packet))),
            ranges(wanted.length.as_ref(), Some(packet.length)),
            // RFC 2474 3: the upper six bits; the lower two are ECN's.
            ranges(wanted.dscp.as_ref(), Some(packet.traffic_class >> 2)),
            wanted.fragment.as_ref().map(|list| list.iter().any(|kind| fragment(*kind, packet))),
            ranges(wanted.flow_label.as_ref(), packet.flow_label),
            ranges(wanted.vlan.as_ref(), Some(packet.vlan)),
            ranges(wanted.ttl.as_ref(), Some(packet.ttl)),
        ]
    }

    /// Prefixes and labels are one component: either suffices.
    fn from(&self, wanted: &Match) -> Option<bool> {
        let by_prefix = wanted.from.as_ref().map(|list| any_prefix(list, self.packet.source));
        let by_label = wanted.labels.as_ref().map(|test| self.carries(test));
        match (by_prefix, by_label) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(false) || b.unwrap_or(false)),
        }
    }

    fn carries(&self, test: &LabelTest) -> bool {
        let mut names = test.names.iter().map(|name| self.labels.contains(name.as_str()));
        if test.all { names.all(|carried| carried) } else { names.any(|carried| carried) }
    }
}

fn any_prefix(list: &[IpNet], address: IpAddr) -> bool {
    list.iter().any(|prefix| prefix_holds(prefix, address))
}

/// Bit by bit, so that nobody's masks are trusted.
pub(super) fn prefix_holds(prefix: &IpNet, address: IpAddr) -> bool {
    let (of_prefix, of_address) = match (prefix.addr(), address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.octets().to_vec(), b.octets().to_vec()),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.octets().to_vec(), b.octets().to_vec()),
        _ => return false,
    };
    let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
    (0..usize::from(prefix.prefix_len())).all(|i| bit(&of_prefix, i) == bit(&of_address, i))
}

/// What a packet has not got is in no range.
fn ranges<T: PartialOrd>(wanted: Option<&Vec<Range<T>>>, value: Option<T>) -> Option<bool> {
    let list = wanted?;
    Some(value.is_some_and(|value| list.iter().any(|range| range.first <= value && value <= range.last)))
}

/// Flags are TCP's, and stand in its header: a later fragment has none.
fn flags(wanted: TcpFlags, packet: &Parsed) -> bool {
    packet.protocol == 6 && !packet.later_fragment && packet.tcp_flags & wanted.mask == wanted.set
}

/// RFC 8955 4.2.2.12.
fn fragment(kind: Fragment, packet: &Parsed) -> bool {
    match kind {
        Fragment::Dont => packet.dont_fragment,
        Fragment::First => packet.first_fragment,
        Fragment::Later => packet.later_fragment,
        Fragment::Last => packet.last_fragment,
    }
}
