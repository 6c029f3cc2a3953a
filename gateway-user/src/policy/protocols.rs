//! Names of IP protocols (IANA, Assigned Internet Protocol Numbers), and what their packets carry.

use super::Component;
use gateway_common::packet::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Number and name; where a number has several names, the first is the one that is written.
const PROTOCOLS: &[(u8, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmpv6"),
    (58, "ipv6-icmp"),
    (89, "ospf"),
    (97, "etherip"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
];

/// The number of the protocol with this name, in whatever case.
#[must_use]
pub fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number)
}

/// The name of a protocol, if it has one here.
#[must_use]
pub fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The names that a policy may use.
pub(super) fn protocol_names() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|(_, name)| *name)
}

/// The protocols whose packets have what a match component names; nothing where all have it.
pub(super) fn carriers(component: Component, ipv6: bool) -> Option<&'static [u8]> {
    match component {
        Component::Port | Component::SourcePort => Some(&[TCP, UDP, SCTP]),
        Component::TcpFlags => Some(&[TCP]),
        Component::IcmpType | Component::IcmpCode => Some(if ipv6 { &[ICMPV6] } else { &[ICMP] }),
        _ => None,
    }
}
