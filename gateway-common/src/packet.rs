//! What a packet is, once parsed.

use crate::hash::{finish, fold};
use bytemuck::{Pod, Zeroable};
use core::net::IpAddr;

/// Bits of [`Packet::flags`].
pub mod flags {
    /// A fragment that is not the first: no transport header. It has ports, or ICMP's type and code, where it
    /// follows a first one that was seen ([`crate::fragment`]).
    pub const LATER_FRAGMENT: u8 = 1;
    /// The first fragment of several.
    pub const FIRST_FRAGMENT: u8 = 2;
    /// [`super::Packet::source_port`] and [`super::Packet::port`] are ports.
    pub const HAS_PORTS: u8 = 4;
    /// The port field holds ICMP `type << 8 | code`.
    pub const HAS_ICMP: u8 = 8;
    /// IPv4's don't-fragment bit.
    pub const DONT_FRAGMENT: u8 = 16;
    /// The last fragment of several.
    pub const LAST_FRAGMENT: u8 = 32;
}

/// IP protocol numbers that the parser knows (IANA, Assigned Internet Protocol Numbers).
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP (RFC 2473, RFC 4213).
    pub const IPV6: u8 = 41;
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

/// Sets an address, word by word: left to itself the compiler moves it by a loop over bytes where it cannot tell that
/// the two do not overlap.
#[inline(always)]
pub const fn set_address(to: &mut Address, from: &Address) {
    to[0] = from[0];
    to[1] = from[1];
}

/// The words of an address.
#[must_use]
pub const fn address_of(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => ipv4_address(address.to_bits()),
        IpAddr::V6(address) => [(address.to_bits() >> 64) as u64, address.to_bits() as u64],
    }
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
    /// IPv6 flow label, 20 bits; 0 for IPv4.
    pub flow_label: u32,
    /// Traffic class, or type of service: DSCP in the upper six bits.
    pub traffic_class: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Offset of what follows the IP headers in the frame, bytes.
    pub l4_offset: u16,
    /// TCP sequence number; of ICMP the identifier of an echo or its reply; 0 for other protocols.
    pub sequence: u32,
    /// Identification of a fragment (16 bits for IPv4), 0 for what is none.
    pub identification: u32,
    /// Bytes behind the TCP header, 0 for other protocols.
    pub payload: u32,
    /// Zero.
    pub reserved: u32,
}

impl Packet {
    /// Length of the IP packet with its header, bytes; 65,535 for a longer one.
    #[inline(always)]
    #[must_use]
    pub const fn ip_length(&self) -> u16 {
        let length = self.end.wrapping_sub(self.l3_offset as u32);
        if length > 0xffff { 0xffff } else { length as u16 }
    }

    /// What kind of fragment it is: bit 0 don't-fragment, 1 later, 2 first, 3 last.
    #[inline(always)]
    #[must_use]
    pub const fn fragment_bits(&self) -> u8 {
        (self.flags & flags::DONT_FRAGMENT) >> 4
            | (self.flags & flags::LATER_FRAGMENT) << 1
            | (self.flags & flags::FIRST_FRAGMENT) << 1
            | (self.flags & flags::LAST_FRAGMENT) >> 2
    }
}

/// What tells one flow from another: interface, VLAN, addresses, protocol and ports. Most of what a
/// route may match on is in here, which is why a memo hit may skip classification; the rest is in the
/// packet's variant ([`crate::classify::variant`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// First word of a memo line.
    pub words: u64,
    /// Second word of a memo line.
    pub addresses: u64,
}

impl FlowKey {
    /// The key of a packet that arrived on interface `slot`. An IPv6 packet's addresses are hashed
    /// under `seed`: a sender who could tell which addresses have one hash could crowd a set of the memo.
    #[inline(always)]
    #[must_use]
    pub fn new(slot: u16, packet: &Packet, seed: u64) -> FlowKey {
        let addresses = if packet.family == 6 {
            let source = fold(fold(seed, packet.source[0]), packet.source[1]);
            fold(fold(source, packet.destination[0]), packet.destination[1])
        } else {
            packet.source[0] | packet.destination[0] >> 32
        };
        FlowKey { words: FlowKey::words_of(slot, packet), addresses }
    }

    /// The first word of the key.
    ///
    /// Word: bit 63 set (a key is never 0), bit 62 IPv6, bit 61 a later fragment of which neither ports nor
    /// ICMP's type and code are known (one that follows its first one belongs to that one's flow), 52..60 interface
    /// slot, 40..52 VLAN, 32..40 protocol, 16..32 source port, 0..16 port. Whether the last two are
    /// ports or ICMP's type and code follows from family, protocol and bit 61.
    #[inline(always)]
    #[must_use]
    pub fn words_of(slot: u16, packet: &Packet) -> u64 {
        1 << 63
            | ((packet.family == 6) as u64) << 62
            | ((packet.flags & (flags::LATER_FRAGMENT | flags::HAS_PORTS | flags::HAS_ICMP)
                == flags::LATER_FRAGMENT) as u64)
                << 61
            | (slot as u64 & 0xff) << 52
            | (packet.vlan as u64 & 0xfff) << 40
            | (packet.protocol as u64) << 32
            | (packet.source_port as u64) << 16
            | packet.port as u64
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
    fn neighbouring_addresses_have_keys_of_their_own() {
        let words = [0, 1, 2, 3, 0x2001_0db8 << 32, 0x2001_0db8 << 32 | 1, u64::MAX];
        let mut seen = std::collections::HashSet::new();
        for source in words {
            for rest in words {
                for destination in words {
                    let source = [source, rest];
                    let packet =
                        Packet { family: 6, source, destination: [destination, rest], ..Packet::default() };
                    assert!(seen.insert(FlowKey::new(1, &packet, 7).addresses), "{packet:?}");
                }
            }
        }
    }

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
            let key = FlowKey::new(255, &packet, 0);
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
