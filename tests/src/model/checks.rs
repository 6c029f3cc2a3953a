//! Well-formed headers that still cannot be right: flags, checksums, addresses.

use super::parse::{Parsed, Parts, u16_at};
use gateway_common::reason::Reason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Beyond so many bytes only the IPv4 header is verified: the kernel program reads no further.
const VERIFIED: u16 = 2_048;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// The sets of flags that a packet of a connection may carry, as Linux has them: `tcp_valid_flags` in
/// net/netfilter/nf_conntrack_proto_tcp.c. PSH, ECE and CWR may stand beside each.
const VALID: [u8; 9] =
    [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];

pub(super) fn tcp_flags(flags: u8) -> Result<(), Reason> {
    let known = flags & (FIN | SYN | RST | ACK | URG);
    if VALID.contains(&known) { Ok(()) } else { Err(Reason::TcpFlags) }
}

/// The header's checksum first, then that of what it carries, which only a whole packet has.
pub(super) fn checksums(packet: &Parsed, parts: &Parts<'_>) -> Result<(), Reason> {
    // RFC 791 3.1: over the header, its own field among the rest, all ones come out.
    if !parts.header.is_empty() && sum(&[parts.header]) != 0xffff {
        return Err(Reason::Ipv4Checksum);
    }
    // RFC 8200 8.1: the pseudo-header names the last destination, and where that is a routing header may
    // say. So nothing is verified behind extension headers.
    if !parts.whole || parts.extended || packet.length > VERIFIED {
        return Ok(());
    }
    match (packet.protocol, packet.source) {
        (6, _) => pseudo(packet, parts.payload, Reason::TcpChecksum),
        (17, _) => udp(packet, parts.payload),
        (1, IpAddr::V4(_)) => holds(sum(&[parts.payload]), Reason::IcmpChecksum),
        (58, IpAddr::V6(_)) => pseudo(packet, parts.payload, Reason::Icmpv6Checksum),
        _ => Ok(()),
    }
}

fn udp(packet: &Parsed, payload: &[u8]) -> Result<(), Reason> {
    // RFC 768: no checksum was made. RFC 8200 8.1: in IPv6 there must be one.
    if u16_at(payload, 6) == 0 {
        return holds(if packet.source.is_ipv4() { 0xffff } else { 0 }, Reason::UdpChecksum);
    }
    // Over what the UDP length says; what stands behind is not UDP's.
    let datagram = &payload[..usize::from(u16_at(payload, 4))];
    pseudo(packet, datagram, Reason::UdpChecksum)
}

/// Over pseudo-header and segment (RFC 9293 3.1, RFC 8200 8.1).
fn pseudo(packet: &Parsed, segment: &[u8], reason: Reason) -> Result<(), Reason> {
    let addresses = [octets(packet.source), octets(packet.destination)].concat();
    let length = (segment.len() as u32).to_be_bytes();
    holds(sum(&[&addresses, &length, &[0, packet.protocol], segment]), reason)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn holds(sum: u16, reason: Reason) -> Result<(), Reason> {
    if sum == 0xffff { Ok(()) } else { Err(reason) }
}

/// The ones' complement sum (RFC 1071) of pieces that are each padded to 16 bits.
pub(super) fn sum(pieces: &[&[u8]]) -> u16 {
    let mut total = 0_u64;
    for piece in pieces {
        for (i, byte) in piece.iter().enumerate() {
            total += u64::from(*byte) << if i % 2 == 0 { 8 } else { 0 };
        }
    }
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

/// Where it says it comes from and where it goes.
pub(super) fn addresses(packet: &Parsed) -> Result<(), Reason> {
    let same_port = packet.ports.is_none_or(|(source, destination)| source == destination);
    if packet.source == packet.destination && same_port {
        return Err(Reason::Land);
    }
    let martian = match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => martian_v4(source, destination),
        (IpAddr::V6(source), IpAddr::V6(destination)) => martian_v6(source, destination),
        _ => true,
    };
    if martian { Err(Reason::Martian) } else { Ok(()) }
}

/// RFC 1812 5.3.7 and RFC 1122 3.2.1.3: what no packet on a wire may come from, or go to.
fn martian_v4(source: Ipv4Addr, destination: Ipv4Addr) -> bool {
    let no_host = |address: Ipv4Addr| matches!(address.octets()[0], 0 | 127);
    // A host that does not know its address yet asks everybody for one.
    let asks = source == Ipv4Addr::UNSPECIFIED && destination == Ipv4Addr::BROADCAST;
    source.is_multicast()
        || source == Ipv4Addr::BROADCAST
        || (no_host(source) && !asks)
        || no_host(destination)
}

/// RFC 4291 2.5.2, 2.5.3 and 2.7. An unspecified source is a host without an address.
fn martian_v6(source: Ipv6Addr, destination: Ipv6Addr) -> bool {
    source.is_multicast()
        || source == Ipv6Addr::LOCALHOST
        || destination == Ipv6Addr::LOCALHOST
        || destination == Ipv6Addr::UNSPECIFIED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_rfc_1071() {
        assert_eq!(sum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), 0xddf2);
        assert_eq!(sum(&[&[0xff], &[0xff]]), 0xfe01);
    }

    #[test]
    fn flags_of_a_connection_and_others() {
        for flags in [SYN, SYN | 0xc0, SYN | ACK | 0x40, ACK | 0x08, RST, FIN | ACK | URG | 0x08] {
            assert_eq!(tcp_flags(flags), Ok(()), "{flags:#x}");
        }
        for flags in [0, FIN, 0xff, SYN | FIN, SYN | RST, RST | URG, URG, 0x08, 0xc0, FIN | RST | ACK] {
            assert_eq!(tcp_flags(flags), Err(Reason::TcpFlags), "{flags:#x}");
        }
    }
}
