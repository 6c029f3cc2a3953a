//! The packet that an ICMP error quotes (RFC 792, RFC 1812 4.3.2.3, RFC 4443 2.4 (c)): what it is about.
//!
//! Of the quoted packet only as much is believed as is there: its headers, and eight bytes behind them. Its
//! lengths and checksums speak of a packet that is not here.

use super::{Frame, Header};
use crate::icmp_error::{MTU_MIN_V4, MTU_MIN_V6};
use crate::packet::{Packet, flags, ipv4_address, protocol};
use bytemuck::{Pod, Zeroable};

/// IPv6 extension headers of a quoted packet that are walked.
const EXTENSIONS: u32 = 3;
/// Bytes of a quoted packet's transport that are always there (RFC 792).
const TRANSPORT: u32 = 8;
/// ICMP echo request and reply.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);

/// What an ICMP error quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Quoted {
    /// Addresses, family, protocol, [`flags::LATER_FRAGMENT`], ports or ICMP's type and code, and an echo's
    /// identifier; nothing else.
    pub packet: Packet,
    /// The MTU that the error tells, bytes; 0 if it tells none.
    pub mtu: u32,
    /// Length of the quoted packet, as it says.
    pub length: u32,
    /// Offset of its transport header in the frame, bytes.
    pub transport: u32,
    /// Zero.
    pub reserved: u32,
}

/// Whether a packet is an ICMP error that quotes what whoever gets it has sent: destination unreachable,
/// packet too big, time exceeded, parameter problem. No redirect, which is for a neighbour, and no source
/// quench (RFC 6633).
#[inline(always)]
#[must_use]
pub const fn quotes(packet: &Packet) -> bool {
    let fragment = flags::FIRST_FRAGMENT | flags::LATER_FRAGMENT;
    if packet.flags & (flags::HAS_ICMP | fragment) != flags::HAS_ICMP {
        return false;
    }
    let kind = (packet.port >> 8) as u8;
    if packet.family == 6 { matches!(kind, 1..=4) } else { matches!(kind, 3 | 11 | 12) }
}

/// Reads what `packet`, which [`quotes`], quotes. Nothing where that is cut short or no packet of the
/// family. What is not named at [`Quoted::packet`] is left as it was.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, packet: &Packet, quoted: &mut Quoted) -> Option<()> {
    let icmp = frame.header::<8>(packet.l4_offset as u32)?;
    let at = packet.l4_offset as u32 + 8;
    quoted.mtu = match (packet.family, packet.port) {
        (6, 0x0200) => icmp.be32::<4>(),
        (4, 0x0304) => icmp.be16::<6>() as u32,
        _ => 0,
    };
    quoted.packet.family = packet.family;
    quoted.packet.flags = 0;
    quoted.packet.source_port = 0;
    quoted.packet.port = 0;
    quoted.packet.sequence = 0;
    let behind =
        if packet.family == 6 { ipv6(frame, at, packet.end, quoted)? } else { ipv4(frame, at, quoted)? };
    quoted.transport = behind;
    if quoted.packet.flags & flags::LATER_FRAGMENT != 0 {
        return Some(());
    }
    if behind + TRANSPORT > packet.end {
        return None;
    }
    transport(frame.header::<8>(behind)?, &mut quoted.packet);
    Some(())
}

/// Where the quoted packet's transport begins.
#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, at: u32, quoted: &mut Quoted) -> Option<u32> {
    let ip = frame.header::<20>(at)?;
    let first = ip.byte::<0>();
    if first >> 4 != 4 || first & 15 < 5 {
        return None;
    }
    quoted.packet.source = ipv4_address(ip.be32::<12>());
    quoted.packet.destination = ipv4_address(ip.be32::<16>());
    quoted.packet.protocol = ip.byte::<9>();
    quoted.length = ip.be16::<2>() as u32;
    if ip.be16::<6>() & 0x1fff != 0 {
        quoted.packet.flags = flags::LATER_FRAGMENT;
    }
    Some(at + (first & 15) as u32 * 4)
}

#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, at: u32, end: u32, quoted: &mut Quoted) -> Option<u32> {
    let ip = frame.header::<40>(at)?;
    if ip.byte::<0>() >> 4 != 6 {
        return None;
    }
    quoted.packet.source = [ip.be64::<8>(), ip.be64::<16>()];
    quoted.packet.destination = [ip.be64::<24>(), ip.be64::<32>()];
    quoted.packet.protocol = ip.byte::<6>();
    quoted.length = ip.be16::<4>() as u32 + 40;
    // Written out, as in [`super::ipv6`].
    const { assert!(EXTENSIONS == 3) };
    let at = step(frame, at + 40, end, &mut quoted.packet)?;
    let at = step(frame, at, end, &mut quoted.packet)?;
    let at = step(frame, at, end, &mut quoted.packet)?;
    if is_extension(&quoted.packet) { None } else { Some(at) }
}

/// Whether an extension header stands next, that is not behind a later fragment's.
#[inline(always)]
fn is_extension(packet: &Packet) -> bool {
    packet.flags & flags::LATER_FRAGMENT == 0 && super::ipv6::is_extension(packet.protocol)
}

/// Goes over one extension header, if one stands there.
#[inline(always)]
fn step<F: Frame + ?Sized>(frame: &F, at: u32, end: u32, packet: &mut Packet) -> Option<u32> {
    if !is_extension(packet) {
        return Some(at);
    }
    if at + 8 > end {
        return None;
    }
    let header = frame.header::<8>(at)?;
    let size = header.byte::<1>() as u32;
    let length = match packet.protocol {
        protocol::FRAGMENT => 8,
        protocol::AUTHENTICATION => size * 4 + 8,
        _ => size * 8 + 8,
    };
    if packet.protocol == protocol::FRAGMENT && header.be16::<2>() & 0xfff8 != 0 {
        packet.flags = flags::LATER_FRAGMENT;
    }
    packet.protocol = header.byte::<0>();
    Some(at + length)
}

#[inline(always)]
fn transport<H: Header<8>>(header: H, packet: &mut Packet) {
    match (packet.protocol, packet.family) {
        (protocol::TCP | protocol::UDP | protocol::SCTP, _) => {
            packet.source_port = header.be16::<0>();
            packet.port = header.be16::<2>();
            packet.flags = flags::HAS_PORTS;
        }
        (protocol::ICMP, 4) | (protocol::ICMPV6, 6) => {
            packet.port = header.be16::<0>();
            packet.sequence = header.be16::<4>() as u32;
            packet.flags = flags::HAS_ICMP;
        }
        _ => {}
    }
}

/// Makes `error`, which quotes something, a packet the other way round: from whom the quoted one was sent to,
/// to its sender, of the same flow. What is not a flow's stays the error's own. False where that is not known:
/// the error goes to somebody else than the sender, or of a packet that has ports they are not quoted, or it
/// quotes an ICMP message that is no echo.
#[inline(always)]
#[must_use]
pub fn turn(quoted: &Quoted, error: &mut Packet) -> bool {
    let about = &quoted.packet;
    let to_sender = (error.destination[0] ^ about.source[0]) | (error.destination[1] ^ about.source[1]) == 0;
    if !to_sender || about.flags & flags::LATER_FRAGMENT != 0 {
        return false;
    }
    if about.flags & flags::HAS_ICMP != 0 {
        let (request, reply) = if about.family == 6 { ECHO_V6 } else { ECHO_V4 };
        let kind = (about.port >> 8) as u8;
        if kind != request && kind != reply {
            return false;
        }
        error.source_port = 0;
        error.port = ((if kind == reply { request } else { reply }) as u16) << 8;
    } else {
        error.source_port = about.port;
        error.port = about.source_port;
    }
    error.sequence = about.sequence;
    error.source = about.destination;
    error.destination = about.source;
    error.protocol = about.protocol;
    error.flags = error.flags & flags::DONT_FRAGMENT | about.flags;
    true
}

/// Whether an error tells a new MTU of the path of a wrapped packet that it quotes: not less than every link
/// takes, and less than the packet took.
#[inline(always)]
#[must_use]
pub const fn tells_mtu(quoted: &Quoted) -> bool {
    let wrapped = matches!(quoted.packet.protocol, protocol::IPV4 | protocol::IPV6 | protocol::UDP);
    let least = if quoted.packet.family == 6 { MTU_MIN_V6 } else { MTU_MIN_V4 };
    wrapped && quoted.mtu >= least && quoted.mtu < quoted.length
}

#[cfg(test)]
mod tests;
