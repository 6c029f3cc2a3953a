//! What makes a flow.

use super::Parsed;
use std::net::IpAddr;

/// Packets with all this in common, which arrive on one interface, are a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Identifier of the outer tag, 0 without one.
    pub vlan: u16,
    /// Fragments but the first are a flow of their own where they have no ports, nor ICMP's type and code.
    pub later_fragment: bool,
    /// 0 without ports.
    pub source_port: u16,
    /// Destination port, or ICMP's type and code; 0 without either.
    pub port_or_icmp: u16,
}

impl From<&Parsed> for Flow {
    fn from(packet: &Parsed) -> Flow {
        let icmp = packet.icmp.map(|(kind, code)| u16::from_be_bytes([kind, code]));
        Flow {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            vlan: packet.vlan,
            later_fragment: packet.later_fragment && packet.ports.is_none() && packet.icmp.is_none(),
            source_port: packet.ports.map_or(0, |(source, _)| source),
            port_or_icmp: packet.ports.map(|(_, destination)| destination).or(icmp).unwrap_or(0),
        }
    }
}
