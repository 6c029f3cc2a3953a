//! IPv4 (RFC 791): header with options, lengths, fragments. The checksum is the stack's to verify.

use super::{Frame, Header, Transport};
use crate::packet::{Packet, flags, ipv4_address};
use crate::reason::Reason;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(
    frame: &F,
    offset: u32,
    packet: &mut Packet,
) -> Result<Transport, Reason> {
    let ip = frame.header::<20>(offset).ok_or(Reason::Ipv4Truncated)?;
    let first = ip.byte::<0>();
    packet.family = 4;
    if first >> 4 != 4 {
        return Err(Reason::Ipv4Version);
    }
    packet.traffic_class = ip.byte::<1>();
    packet.ttl = ip.byte::<8>();
    packet.protocol = ip.byte::<9>();
    packet.source = ipv4_address(ip.be32::<12>());
    packet.destination = ipv4_address(ip.be32::<16>());
    let header_length = (first & 0xf) as u32 * 4;
    if header_length < 20 {
        return Err(Reason::Ipv4HeaderLength);
    }
    let total_length = ip.be16::<2>() as u32;
    if total_length < header_length {
        return Err(Reason::Ipv4TotalLength);
    }
    packet.end = offset + total_length;
    if !frame.holds(packet.end) {
        return Err(Reason::Ipv4BeyondFrame);
    }
    let length = total_length - header_length;
    let fragment = ip.be16::<6>();
    let fragment_offset = (fragment & OFFSET_MASK) as u32 * 8;
    if fragment & (MORE_FRAGMENTS | OFFSET_MASK) != 0 {
        if fragment_offset + total_length > 65_535 {
            return Err(Reason::Ipv4FragmentOverrun);
        }
        if fragment & MORE_FRAGMENTS != 0 && length & 7 != 0 {
            return Err(Reason::Ipv4FragmentLength);
        }
        packet.flags = kind(fragment_offset, fragment & MORE_FRAGMENTS != 0);
        packet.identification = ip.be16::<4>() as u32;
    }
    if fragment & DONT_FRAGMENT != 0 {
        packet.flags |= flags::DONT_FRAGMENT;
    }
    Ok(Transport { offset: offset + header_length, length, fragment_offset })
}

/// The [`flags`] of a fragment.
#[inline(always)]
pub(super) const fn kind(offset: u32, more: bool) -> u8 {
    match (offset, more) {
        (0, true) => flags::FIRST_FRAGMENT,
        (0, false) => 0,
        (_, true) => flags::LATER_FRAGMENT,
        (_, false) => flags::LATER_FRAGMENT | flags::LAST_FRAGMENT,
    }
}
