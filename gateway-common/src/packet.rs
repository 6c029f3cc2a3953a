//! What a packet is, once parsed.

use crate::hash::{finish, fold};
use bytemuck::{Pod, Zeroable};

/// Bits of [`Packet::flags`].
pub mod flags {
    /// A fragment that is not the first: no transport header.
    pub const LATER_FRAGMENT: u8 = 1;
    /// The first fragment of several.
    pub const FIRST_FRAGMENT: u8 = 2;
    /// [`super::Packet::source_port`] and [`super::Packet::port`] are ports.
    pub const HAS_PORTS: u8 = 4;
    /// The port field holds ICMP `type << 8 | code`.
    pub const HAS_ICMP: u8 = 8;
}

/// IP protocol numbers that the parser knows (IANA, Assigned Internet Protocol Numbers).
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// 128 bits of address, high word first, in host byte order. An IPv4 address stands in the top 32
/// bits of the first word, so that "the first n bits" means the same for both families.
pub type Address = [u64; 2];

/// The address words of an IPv4 address.
#[inline(always)]
#[must_use]
pub const fn ipv4_address(address: u32) -> Address {
    [(address as u64) << 32, 0]
}

/// A parsed IP packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Packet {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port, 0 without ports.
    pub source_port: u16,
    /// Destination port; for ICMP `type << 8 | code`; 0 without either.
    pub port: u16,
    /// 4 or 6.
    pub family: u8,
    /// IP protocol, behind IPv6's extension headers.
    pub protocol: u8,
    /// See [`flags`].
    pub flags: u8,
    /// TCP flags (CWR is the highest bit), 0 for other protocols.
    pub tcp_flags: u8,
    /// VLAN identifier of the outer tag, 0 without a tag.
    pub vlan: u16,
    /// Offset of the IP header in the frame, bytes.
    pub l3_offset: u16,
    /// Offset just behind the IP packet in the frame, bytes.
    pub end: u32,
}

/// What tells one flow from another: interface, VLAN, addresses, protocol and ports. All that a
/// route may match on is in here, which is why a memo hit may skip classification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// First word of a memo line.
    pub words: u64,
    /// Second word of a memo line.
    pub addresses: u64,
}

impl FlowKey {
    /// The key of a packet that arrived on interface `slot`.
    ///
    /// Word: bit 63 set (a key is never 0), bit 62 IPv6, bit 61 later fragment, 52..60 interface
    /// slot, 40..52 VLAN, 32..40 protocol, 16..32 source port, 0..16 port. Whether the last two are
    /// ports or ICMP's type and code follows from family, protocol and bit 61.
    #[inline(always)]
    #[must_use]
    pub fn new(slot: u16, packet: &Packet) -> FlowKey {
        let words = 1 << 63
            | ((packet.family == 6) as u64) << 62
            | (packet.flags as u64 & flags::LATER_FRAGMENT as u64) << 61
            | (slot as u64 & 0xff) << 52
            | (packet.vlan as u64 & 0xfff) << 40
            | (packet.protocol as u64) << 32
            | (packet.source_port as u64) << 16
            | packet.port as u64;
        let addresses = if packet.family == 6 {
            let a = fold(packet.source[0], packet.source[1]);
            fold(fold(a, packet.destination[0]), packet.destination[1])
        } else {
            packet.source[0] | packet.destination[0] >> 32
        };
        FlowKey { words, addresses }
    }

    /// The memo's hash.
    #[inline(always)]
    #[must_use]
    pub const fn hash(self, seed: u64) -> u64 {
        finish(fold(seed ^ self.words, self.addresses))
    }

    /// 4 or 6.
    #[must_use]
    pub const fn family(self) -> u8 {
        if self.words & (1 << 62) != 0 { 6 } else { 4 }
    }
    /// Interface slot.
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.words >> 52) as u16 & 0xff
    }
    /// VLAN identifier of the outer tag, 0 without a tag.
    #[must_use]
    pub const fn vlan(self) -> u16 {
        (self.words >> 40) as u16 & 0xfff
    }
    /// IP protocol.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        (self.words >> 32) as u8
    }
    /// Source port.
    #[must_use]
    pub const fn source_port(self) -> u16 {
        (self.words >> 16) as u16
    }
    /// Destination port, or ICMP `type << 8 | code`.
    #[must_use]
    pub const fn port(self) -> u16 {
        self.words as u16
    }
    /// The [`flags`] that a key tells: later fragment, ports, ICMP.
    #[must_use]
    pub const fn flags(self) -> u8 {
        if self.words & (1 << 61) != 0 {
            return flags::LATER_FRAGMENT;
        }
        match (self.family(), self.protocol()) {
            (_, protocol::TCP | protocol::UDP | protocol::SCTP) => flags::HAS_PORTS,
            (4, protocol::ICMP) | (6, protocol::ICMPV6) => flags::HAS_ICMP,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_what_it_was_made_of() {
        for (family, protocol, flags) in [
            (4, protocol::TCP, flags::HAS_PORTS),
            (6, protocol::SCTP, flags::HAS_PORTS),
            (4, protocol::UDP, flags::LATER_FRAGMENT),
            (4, protocol::ICMP, flags::HAS_ICMP),
            (6, protocol::ICMPV6, flags::HAS_ICMP),
            (4, protocol::ICMPV6, 0),
        ] {
            let packet = Packet {
                source: ipv4_address(0x0a00_0001),
                destination: ipv4_address(0x0a00_0002),
                source_port: 0x1234,
                port: 0xfedc,
                family,
                protocol,
                flags,
                vlan: 4094,
                ..Packet::default()
            };
            let key = FlowKey::new(255, &packet);
            assert_eq!(key.family(), family);
            assert_eq!(key.slot(), 255);
            assert_eq!(key.vlan(), 4094);
            assert_eq!(key.protocol(), protocol);
            assert_eq!(key.source_port(), 0x1234);
            assert_eq!(key.port(), 0xfedc);
            assert_eq!(key.flags(), flags);
        }
    }
}
