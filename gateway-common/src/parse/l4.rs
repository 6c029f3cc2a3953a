//! The transport header, judged within the IP payload: TCP (RFC 9293), UDP (RFC 768), SCTP
//! (RFC 9260), ICMP (RFC 792), ICMPv6 (RFC 4443). A later fragment has none.

use super::{Frame, Header, Transport};
use crate::packet::{Packet, flags, protocol};
use crate::reason::Reason;

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(frame: &F, at: Transport, packet: &mut Packet) -> Result<(), Reason> {
    if packet.flags & flags::LATER_FRAGMENT != 0 {
        // Its eight bytes would overwrite flags that were judged in the first one.
        if packet.protocol == protocol::TCP && at.fragment_offset == 8 {
            return Err(Reason::TcpTinyFragment);
        }
        return Ok(());
    }
    match (packet.protocol, packet.family) {
        (protocol::TCP, _) => tcp(frame, at, packet),
        (protocol::UDP, _) => udp(frame, at, packet),
        (protocol::SCTP, _) => sctp(frame, at, packet),
        (protocol::ICMP, 4) => icmp::<F, 8>(frame, at, packet, Reason::IcmpTruncated),
        (protocol::ICMPV6, 6) => icmp::<F, 4>(frame, at, packet, Reason::Icmpv6Truncated),
        _ => Ok(()),
    }
}

#[inline(always)]
fn ports<const N: usize, H: Header<N>>(header: H, packet: &mut Packet) {
    packet.source_port = header.be16::<0>();
    packet.port = header.be16::<2>();
    packet.flags |= flags::HAS_PORTS;
}

#[inline(always)]
pub(super) fn tcp<F: Frame + ?Sized>(frame: &F, at: Transport, packet: &mut Packet) -> Result<(), Reason> {
    if at.length < 20 {
        return Err(Reason::TcpTruncated);
    }
    let header = frame.header::<20>(at.offset).ok_or(Reason::TcpTruncated)?;
    ports(header, packet);
    packet.tcp_flags = header.byte::<13>();
    packet.sequence = header.be32::<4>();
    let data_offset = (header.byte::<12>() >> 4) as u32 * 4;
    if data_offset < 20 || data_offset > at.length {
        return Err(Reason::TcpDataOffset);
    }
    packet.payload = at.length - data_offset;
    if VALID_TCP_FLAGS >> (packet.tcp_flags & MEANT_TCP_FLAGS) & 1 == 0 {
        return Err(Reason::TcpFlags);
    }
    Ok(())
}

/// The flags that say what a segment is for: FIN, SYN, RST, ACK, URG. PSH and those of congestion
/// control go with anything.
const MEANT_TCP_FLAGS: u8 = FIN | SYN | RST | ACK | URG;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const URG: u8 = 32;

/// The sets of them that a connection has, a bit each.
const VALID_TCP_FLAGS: u64 = {
    let sets = [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    let mut bits = 0;
    let mut i = 0;
    while i < sets.len() {
        bits |= 1 << sets[i];
        i += 1;
    }
    bits
};

#[inline(always)]
pub(super) fn udp<F: Frame + ?Sized>(frame: &F, at: Transport, packet: &mut Packet) -> Result<(), Reason> {
    if at.length < 8 {
        return Err(Reason::UdpTruncated);
    }
    let header = frame.header::<8>(at.offset).ok_or(Reason::UdpTruncated)?;
    ports(header, packet);
    let length = header.be16::<4>() as u32;
    let whole = packet.flags & flags::FIRST_FRAGMENT == 0;
    if length < 8 || (whole && length > at.length) {
        return Err(Reason::UdpLength);
    }
    Ok(())
}

#[inline(always)]
fn sctp<F: Frame + ?Sized>(frame: &F, at: Transport, packet: &mut Packet) -> Result<(), Reason> {
    if at.length < 12 {
        return Err(Reason::SctpTruncated);
    }
    let header = frame.header::<12>(at.offset).ok_or(Reason::SctpTruncated)?;
    ports(header, packet);
    Ok(())
}

/// Whether it is an echo or its reply (RFC 792, RFC 4443 4).
#[inline(always)]
fn is_echo(packet: &Packet) -> bool {
    let kind = packet.port >> 8;
    if packet.family == 6 { kind == 128 || kind == 129 } else { kind == 8 || kind == 0 }
}

#[inline(always)]
fn icmp<F: Frame + ?Sized, const N: usize>(
    frame: &F,
    at: Transport,
    packet: &mut Packet,
    short: Reason,
) -> Result<(), Reason> {
    if at.length < N as u32 {
        return Err(short);
    }
    let header = frame.header::<4>(at.offset).ok_or(short)?;
    packet.port = header.be16::<0>();
    packet.flags |= flags::HAS_ICMP;
    if is_echo(packet)
        && at.length >= 8
        && let Some(header) = frame.header::<8>(at.offset)
    {
        packet.sequence = header.be16::<4>() as u32;
    }
    Ok(())
}
