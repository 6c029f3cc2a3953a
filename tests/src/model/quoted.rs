//! What an ICMP error is about: the packet that it quotes, and whose it is.
//!
//! Written from RFC 792, RFC 1812 4.3.2.3 and RFC 4443 2.4 (c): its headers, and eight bytes at least.

use super::Parsed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv6 extension headers of a quoted packet that are looked behind.
const EXTENSIONS: usize = 3;

/// The packet that an ICMP error quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// What it says of its own length, bytes.
    pub length: usize,
    /// The MTU that the error tells.
    pub mtu: Option<usize>,
    /// The first eight bytes behind its headers; nothing of a later fragment.
    transport: Option<[u8; 8]>,
    /// Length of its headers, bytes.
    pub header: usize,
}

/// What an error quotes whose sender has a right to know of it.
pub(super) fn quoted(packet: &Parsed, frame: &[u8]) -> Option<Quoted> {
    let four = packet.source.is_ipv4();
    let (kind, code) = packet.icmp?;
    let of_these = if four { [3, 11, 12].contains(&kind) } else { (1..=4).contains(&kind) };
    if !of_these || packet.first_fragment || packet.later_fragment {
        return None;
    }
    let ip = &frame[packet.offset..packet.offset + usize::from(packet.length)];
    let header = if four { usize::from(ip[0] & 15) * 4 } else { behind_extensions(ip)? };
    let icmp = ip.get(header..)?;
    let inside = icmp.get(8..)?;
    let mtu = match (four, kind, code) {
        (true, 3, 4) => Some(usize::from(u16::from_be_bytes([icmp[6], icmp[7]]))),
        (false, 2, 0) => Some(u32::from_be_bytes(icmp[4..8].try_into().ok()?) as usize),
        _ => None,
    };
    let quoted = if four { ipv4(inside)? } else { ipv6(inside)? };
    Some(Quoted { mtu, ..quoted })
}

/// Where an IPv6 packet's payload begins, which is known to be well formed.
fn behind_extensions(ip: &[u8]) -> Option<usize> {
    let (mut next, mut at) = (ip[6], 40);
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let units = usize::from(*ip.get(at + 1)?);
        let size = match next {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        next = ip[at];
        at += size;
    }
    Some(at)
}

fn ipv4(bytes: &[u8]) -> Option<Quoted> {
    let header = usize::from(bytes.first()? & 15) * 4;
    if bytes.len() < 20 || bytes[0] >> 4 != 4 || header < 20 {
        return None;
    }
    let later = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff != 0;
    let address =
        |at: usize| IpAddr::from(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]));
    Some(Quoted {
        source: address(12),
        destination: address(16),
        protocol: bytes[9],
        length: usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        mtu: None,
        transport: if later { None } else { Some(bytes.get(header..header + 8)?.try_into().ok()?) },
        header,
    })
}

fn ipv6(bytes: &[u8]) -> Option<Quoted> {
    if bytes.len() < 40 || bytes[0] >> 4 != 6 {
        return None;
    }
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = bytes[at..at + 16].try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    let (mut next, mut at, mut later, mut seen) = (bytes[6], 40, false, 0);
    while matches!(next, 0 | 43 | 44 | 51 | 60) && !later {
        if seen == EXTENSIONS {
            return None;
        }
        seen += 1;
        let header = bytes.get(at..at + 8)?;
        let units = usize::from(header[1]);
        later = next == 44 && u16::from_be_bytes([header[2], header[3]]) >> 3 != 0;
        at += match next {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        next = header[0];
    }
    Some(Quoted {
        source: address(8)?,
        destination: address(24)?,
        protocol: next,
        length: 40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]])),
        mtu: None,
        transport: if later { None } else { Some(bytes.get(at..at + 8)?.try_into().ok()?) },
        header: at,
    })
}

impl Quoted {
    /// The packet that its receiver would have sent, as part of this error: of the flow that what is quoted
    /// answers.
    pub(super) fn turned(&self, error: &Parsed) -> Option<Parsed> {
        if error.destination != self.source {
            return None;
        }
        let bytes = self.transport?;
        let identifier = u16::from_be_bytes([bytes[4], bytes[5]]);
        let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (ports, icmp) = match (self.protocol, self.source.is_ipv4()) {
            (6 | 17 | 132, _) => (Some((port(2), port(0))), None),
            // A reply answers a request, and would be answered by one; what else there is belongs to nobody.
            (1, true) => (None, Some((other_echo(bytes[0], [8, 0])?, 0))),
            (58, false) => (None, Some((other_echo(bytes[0], [128, 129])?, 0))),
            _ => (None, None),
        };
        Some(Parsed {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            ports,
            icmp,
            identifier: icmp.map(|_| identifier),
            tcp_flags: 0,
            ..error.clone()
        })
    }

    /// The MTU of the path to whom this was sent, if it is a wrapped packet that says so within reason.
    pub(super) fn path_mtu(&self) -> Option<usize> {
        let least = if self.source.is_ipv4() { 68 } else { 1_280 };
        let wrapped = matches!(self.protocol, 4 | 41 | 17);
        self.mtu.filter(|mtu| wrapped && (least..self.length).contains(mtu))
    }
}

/// The type of an echo's reply, or of the echo that a reply is for.
fn other_echo(kind: u8, [request, reply]: [u8; 2]) -> Option<u8> {
    match kind {
        kind if kind == request => Some(reply),
        kind if kind == reply => Some(request),
        _ => None,
    }
}
