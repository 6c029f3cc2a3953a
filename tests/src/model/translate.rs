//! Addresses and ports that are exchanged.
//!
//! Written from RFC 3022 (2.2, 4.1: which checksums follow), RFC 1624 (equation 3), RFC 768 and RFC 5508 3.1 (of an
//! ICMP query the identifier stands for the port). Of SCTP only addresses are exchanged: its CRC covers the
//! ports (RFC 9260 6.8). So it is of what has no ports.

use super::Parsed;
use super::quoted::Quoted;
use std::net::IpAddr;

/// The ends that a packet shows: source and destination, and their ports. An echo request has its identifier
/// for a source port, a reply for a destination port; what has neither has port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ports: (u16, u16),
    pub protocol: u8,
}

impl Ends {
    pub(super) fn of(packet: &Parsed) -> Ends {
        let identifier = packet.identifier.unwrap_or(0);
        let ports = match packet.ports {
            Some(ports) => ports,
            None if is_request(packet) => (identifier, 0),
            None => (0, identifier),
        };
        Ends { source: packet.source, destination: packet.destination, ports, protocol: packet.protocol }
    }
}

fn is_request(packet: &Parsed) -> bool {
    matches!((packet.icmp, packet.source.is_ipv4()), (Some((8, _)), true) | (Some((128, _)), false))
}

/// Whether the port that a client's packet comes from can be another one.
pub(super) fn takes_another_port(packet: &Parsed) -> bool {
    has_exchangeable_ports(packet.protocol) || is_request(packet) && packet.identifier.is_some()
}

pub(super) fn has_exchangeable_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17)
}

/// The frame with these ends instead of its own, and with checksums that are as right as they were.
pub(super) fn exchanged(packet: &Parsed, to: &Ends, frame: &[u8]) -> Vec<u8> {
    let mut out = frame.to_vec();
    let ip = &mut out[packet.offset..];
    let addresses = if packet.source.is_ipv4() { 12..20 } else { 8..40 };
    let before = ip[addresses.clone()].to_vec();
    let after = [octets(to.source), octets(to.destination)].concat();
    ip[addresses].copy_from_slice(&after);
    if packet.source.is_ipv4() {
        follow(ip, 10, &[(&before, &after)]);
    }
    if packet.later_fragment {
        return out;
    }
    let transport = &mut ip[packet.header..];
    let exchanges_ports = packet.ports.is_some() && has_exchangeable_ports(packet.protocol);
    let (at, checksum) = match (packet.protocol, packet.icmp.is_some()) {
        (6, _) => (0, 16),
        (17, _) => (0, 6),
        (_, true) => (4, 2),
        _ => return out,
    };
    let (ports_before, ports_after) = if exchanges_ports {
        (transport[..4].to_vec(), [to.ports.0.to_be_bytes(), to.ports.1.to_be_bytes()].concat())
    } else if packet.identifier.is_some() {
        // One port is the identifier and the other 0. A reply from the side that asks, whose identifier is 0, is of the
        // same connection as the echo with that identifier, and leaves with the same.
        let identifier = to.ports.0 | to.ports.1;
        (transport[4..6].to_vec(), identifier.to_be_bytes().to_vec())
    } else {
        (Vec::new(), Vec::new())
    };
    transport[at..at + ports_after.len()].copy_from_slice(&ports_after);
    if packet.protocol == 17 && transport[6..8] == [0, 0] {
        return out;
    }
    let mut changes = vec![(&ports_before[..], &ports_after[..])];
    if packet.protocol != 1 {
        changes.push((&before, &after));
    }
    follow(transport, checksum, &changes);
    if packet.protocol == 17 && transport[6..8] == [0, 0] {
        transport[6..8].fill(0xff);
    }
    out
}

/// An ICMP error about a packet of a connection, which goes where a packet with these ends would: what it quotes is
/// exchanged with it (RFC 3022 4.3, RFC 5508 4), but for its transport's checksum. A router's own address stays.
pub(super) fn exchanged_error(error: &Parsed, quoted: &Quoted, to: &Ends, frame: &[u8]) -> Vec<u8> {
    let source = if error.source == quoted.destination { to.source } else { error.source };
    let outer = Ends { source, destination: to.destination, ports: (0, 0), protocol: error.protocol };
    let inner_ends = Ends { source: to.destination, destination: to.source, ..*to };
    // As something that has no ports: then only the addresses change, and what sums them up.
    let plain = |packet: &Parsed, offset: usize| Parsed {
        offset,
        later_fragment: true,
        source: packet.source,
        destination: packet.destination,
        ..packet.clone()
    };
    let at = error.offset + error.header + 8;
    let inside = Parsed { source: quoted.source, destination: quoted.destination, ..plain(error, at) };
    let mut out = exchanged(&plain(error, error.offset), &outer, frame);
    out = exchanged(&inside, &inner_ends, &out);
    if matches!(quoted.protocol, 6 | 17 | 132) {
        let ports = [to.ports.1.to_be_bytes(), to.ports.0.to_be_bytes()].concat();
        out[at + quoted.header..at + quoted.header + 4].copy_from_slice(&ports);
    } else if matches!((quoted.protocol, quoted.source.is_ipv4()), (1, true) | (58, false)) {
        // An echo or its reply, of which one port is the identifier and the other 0.
        let identifier = to.ports.0 | to.ports.1;
        out[at + quoted.header + 4..at + quoted.header + 6].copy_from_slice(&identifier.to_be_bytes());
    }
    let end = |bytes: &[u8]| bytes[at..at + quoted.header + 6.min(bytes.len() - at - quoted.header)].to_vec();
    let (quoted_before, quoted_after) = (end(frame), end(&out));
    let addresses = if error.source.is_ipv4() { 0..0 } else { error.offset + 8..error.offset + 40 };
    let (before, after) = (frame[addresses.clone()].to_vec(), out[addresses].to_vec());
    let message = &mut out[error.offset + error.header..];
    follow(message, 2, &[(&quoted_before, &quoted_after), (&before, &after)]);
    out
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m'), for each word.
fn follow(bytes: &mut [u8], at: usize, changes: &[(&[u8], &[u8])]) {
    let word = |bytes: &[u8]| u32::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut sum = 0xffff - word(&bytes[at..]);
    for (before, after) in changes {
        for (before, after) in before.chunks(2).zip(after.chunks(2)) {
            sum += 0xffff - word(before) + word(after);
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    bytes[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
