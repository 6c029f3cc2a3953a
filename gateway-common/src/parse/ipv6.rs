//! IPv6 (RFC 8200): fixed header and up to six extension headers.
//!
//! A jumbogram (RFC 2675) states payload length 0, so that its hop-by-hop header does not fit: it is
//! dropped as `ipv6_extension_truncated`.

use super::{Frame, Header, Transport};
use crate::packet::{Packet, flags, protocol};
use crate::reason::Reason;

/// How many extension headers are walked: more than RFC 8504 expects of a host.
const EXTENSIONS: u32 = 6;

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION_OPTIONS
    )
}

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(
    frame: &F,
    offset: u32,
    packet: &mut Packet,
) -> Result<Transport, Reason> {
    let ip = frame.header::<40>(offset).ok_or(Reason::Ipv6Truncated)?;
    packet.family = 6;
    if ip.byte::<0>() >> 4 != 6 {
        return Err(Reason::Ipv6Version);
    }
    packet.source = [ip.be64::<8>(), ip.be64::<16>()];
    packet.destination = [ip.be64::<24>(), ip.be64::<32>()];
    packet.protocol = ip.byte::<6>();
    let payload_length = ip.be16::<4>() as u32;
    let start = offset + 40;
    packet.end = start + payload_length;
    if !frame.holds(packet.end) {
        return Err(Reason::Ipv6BeyondFrame);
    }
    if is_extension(packet.protocol) {
        return extensions(frame, start, payload_length, packet);
    }
    Ok(Transport { offset: start, length: payload_length, fragment_offset: 0 })
}

#[inline(always)]
fn extensions<F: Frame + ?Sized>(
    frame: &F,
    start: u32,
    payload_length: u32,
    packet: &mut Packet,
) -> Result<Transport, Reason> {
    let mut next = packet.protocol;
    let mut walked = 0;
    let mut fragment_offset = 0;
    let mut count = 0;
    while count <= EXTENSIONS {
        if !is_extension(next) || fragment_offset != 0 {
            break;
        }
        if count == EXTENSIONS {
            return Err(Reason::Ipv6ExtensionDepth);
        }
        if next == protocol::HOP_BY_HOP && count != 0 {
            return Err(Reason::Ipv6HopByHopOrder);
        }
        if walked + 8 > payload_length {
            return Err(Reason::Ipv6ExtensionTruncated);
        }
        let header = frame.header::<8>(start + walked).ok_or(Reason::Ipv6ExtensionTruncated)?;
        let size = header.byte::<1>() as u32;
        let length = match next {
            protocol::FRAGMENT => 8,
            protocol::AUTHENTICATION => size * 4 + 8,
            _ => size * 8 + 8,
        };
        if walked + length > payload_length {
            return Err(Reason::Ipv6ExtensionTruncated);
        }
        if next == protocol::FRAGMENT {
            fragment_offset = fragment(header.be16::<2>(), walked, payload_length, packet)?;
        }
        next = header.byte::<0>();
        walked += length;
        count += 1;
    }
    packet.protocol = next;
    Ok(Transport { offset: start + walked, length: payload_length - walked, fragment_offset })
}

/// The fragment header's word at byte 2; `walked` bytes of extension headers stand before it.
#[inline(always)]
fn fragment(word: u16, walked: u32, payload_length: u32, packet: &mut Packet) -> Result<u32, Reason> {
    let offset = (word & 0xfff8) as u32;
    let more = word & 1 != 0;
    // The payload length of the packet that would be reassembled: all but the fragment header.
    if offset + payload_length - 8 > 65_535 {
        return Err(Reason::Ipv6FragmentOverrun);
    }
    if more && (payload_length - walked - 8) & 7 != 0 {
        return Err(Reason::Ipv6FragmentLength);
    }
    if offset != 0 {
        packet.flags = flags::LATER_FRAGMENT;
    } else if more {
        packet.flags = flags::FIRST_FRAGMENT;
    }
    Ok(offset)
}
