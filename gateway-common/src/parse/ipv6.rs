//! IPv6 (RFC 8200): fixed header and up to six extension headers.
//!
//! A jumbogram (RFC 2675) states payload length 0, so that its hop-by-hop header does not fit: it is
//! dropped as `ipv6_extension_truncated`.

use super::{Frame, Header, Transport, ipv4};
use crate::packet::{Packet, protocol};
use crate::reason::Reason;

/// How many extension headers are walked: more than RFC 8504 expects of a host.
const EXTENSIONS: u32 = 6;

#[inline(always)]
pub(super) const fn is_extension(next: u8) -> bool {
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
    let Transport { offset: start, length, .. } = fixed(frame, offset, packet)?;
    if is_extension(packet.protocol) {
        return extensions(frame, start, length, packet);
    }
    Ok(Transport { offset: start, length, fragment_offset: 0 })
}

/// The fixed header, and what is behind it.
#[inline(always)]
pub(super) fn fixed<F: Frame + ?Sized>(
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
    packet.traffic_class = (ip.be16::<0>() >> 4) as u8;
    packet.flow_label = ip.be32::<0>() & 0xf_ffff;
    packet.ttl = ip.byte::<7>();
    let start = offset + 40;
    packet.end = start + payload_length;
    if !frame.holds(packet.end) {
        return Err(Reason::Ipv6BeyondFrame);
    }
    Ok(Transport { offset: start, length: payload_length, fragment_offset: 0 })
}

/// How far the walk has come.
struct Walk {
    /// What stands next.
    next: u8,
    /// Bytes of extension headers behind the fixed one.
    walked: u32,
    /// See [`Transport::fragment_offset`].
    fragment_offset: u32,
}

impl Walk {
    #[inline(always)]
    fn goes_on(&self) -> bool {
        is_extension(self.next) && self.fragment_offset == 0
    }
}

/// Walks the extension headers, of which there is one at least.
///
/// The six steps are written out: the verifier of Linux 6.1 refuses a loop whose body falls through
/// to its head, and how the compiler lays a loop out is not ours to say.
#[inline(always)]
fn extensions<F: Frame + ?Sized>(
    frame: &F,
    start: u32,
    payload_length: u32,
    packet: &mut Packet,
) -> Result<Transport, Reason> {
    const { assert!(EXTENSIONS == 6) };
    let mut walk = Walk { next: packet.protocol, walked: 0, fragment_offset: 0 };
    step(frame, start, payload_length, packet, &mut walk)?;
    later_step(frame, start, payload_length, packet, &mut walk)?;
    later_step(frame, start, payload_length, packet, &mut walk)?;
    later_step(frame, start, payload_length, packet, &mut walk)?;
    later_step(frame, start, payload_length, packet, &mut walk)?;
    later_step(frame, start, payload_length, packet, &mut walk)?;
    if walk.goes_on() {
        return Err(Reason::Ipv6ExtensionDepth);
    }
    packet.protocol = walk.next;
    let Walk { walked, fragment_offset, .. } = walk;
    Ok(Transport { offset: start + walked, length: payload_length - walked, fragment_offset })
}

/// A step behind the first, if there is one to take.
#[inline(always)]
fn later_step<F: Frame + ?Sized>(
    frame: &F,
    start: u32,
    payload_length: u32,
    packet: &mut Packet,
    walk: &mut Walk,
) -> Result<(), Reason> {
    if !walk.goes_on() {
        return Ok(());
    }
    if walk.next == protocol::HOP_BY_HOP {
        return Err(Reason::Ipv6HopByHopOrder);
    }
    step(frame, start, payload_length, packet, walk)
}

/// Goes over one extension header.
#[inline(always)]
fn step<F: Frame + ?Sized>(
    frame: &F,
    start: u32,
    payload_length: u32,
    packet: &mut Packet,
    walk: &mut Walk,
) -> Result<(), Reason> {
    if walk.walked + 8 > payload_length {
        return Err(Reason::Ipv6ExtensionTruncated);
    }
    let header = frame.header::<8>(start + walk.walked).ok_or(Reason::Ipv6ExtensionTruncated)?;
    let size = header.byte::<1>() as u32;
    let length = match walk.next {
        protocol::FRAGMENT => 8,
        protocol::AUTHENTICATION => size * 4 + 8,
        _ => size * 8 + 8,
    };
    if walk.walked + length > payload_length {
        return Err(Reason::Ipv6ExtensionTruncated);
    }
    if walk.next == protocol::FRAGMENT {
        walk.fragment_offset = fragment(header, walk.walked, payload_length, packet)?;
    }
    walk.next = header.byte::<0>();
    walk.walked += length;
    Ok(())
}

/// The fragment header; `walked` bytes of extension headers stand before it.
#[inline(always)]
fn fragment<H: Header<8>>(
    header: H,
    walked: u32,
    payload_length: u32,
    packet: &mut Packet,
) -> Result<u32, Reason> {
    let word = header.be16::<2>();
    let offset = (word & 0xfff8) as u32;
    let more = word & 1 != 0;
    // The payload length of the packet that would be reassembled: all but the fragment header.
    if offset + payload_length - 8 > 65_535 {
        return Err(Reason::Ipv6FragmentOverrun);
    }
    if more && (payload_length - walked - 8) & 7 != 0 {
        return Err(Reason::Ipv6FragmentLength);
    }
    if offset != 0 || more {
        packet.flags = ipv4::kind(offset, more);
        packet.identification = header.be32::<4>();
    }
    Ok(offset)
}
