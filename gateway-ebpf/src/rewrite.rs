//! What is written into packets: DSCP, and the SYN-ACK that a SYN becomes.

use crate::frame::{Bytes, Checked};
use crate::pipeline::Judged;
use gateway_common::packet::{Packet, protocol};
use gateway_common::parse::Header;
use gateway_common::parse::checksum::{fold16, pseudo_header};
use gateway_common::reason::Reason;

/// Hop limit of what the gateway itself says.
const TTL: u8 = 64;
/// SYN and ACK, with a data offset of five words.
const OFFSET_SYN_ACK: u16 = 0x5012;

/// Writes what the judgement asks for. False where it cannot be, and the packet is dropped.
#[inline(always)]
pub fn rewrite(bytes: &Bytes, judged: &mut Judged) -> bool {
    if judged.is_dropped() {
        return true;
    }
    if judged.answer != 0 {
        if answer(bytes, &judged.packet, judged.cookie).is_none() {
            judged.refuse(Reason::SynCookie);
            return false;
        }
    } else if judged.dscp != 0 {
        set_dscp(bytes, &judged.packet, judged.dscp as u8 & !3);
    }
    true
}

/// Sets the upper six bits of the traffic class; ECN stays. The header was read by the parser.
#[inline(always)]
pub fn set_dscp(bytes: &Bytes, packet: &Packet, dscp: u8) {
    let offset = packet.l3_offset as u32;
    let Some(ip) = bytes.header::<20>(offset) else { return };
    let old = ip.be16::<0>();
    if packet.family == 6 {
        // Version 4, traffic class 8, flow label: the class straddles the first two bytes.
        ip.put16::<0>(old & !0x0fc0 | (dscp as u16) << 4);
        return;
    }
    let new = old & 0xff03 | dscp as u16;
    ip.put16::<0>(new);
    ip.put16::<10>(changed(ip.be16::<10>(), old, new));
}

/// A checksum after a word changed (RFC 1624, equation 3).
#[inline(always)]
pub fn changed(checksum: u16, old: u16, new: u16) -> u16 {
    !fold16(!checksum as u32 + !old as u32 + new as u32)
}

/// Turns a SYN into a SYN-ACK that acknowledges `cookie`: back to where it came from, without options
/// and data. What is cut off stays behind the packet's end, as Ethernet's padding does.
#[inline(always)]
fn answer(bytes: &Bytes, packet: &Packet, cookie: u32) -> Option<()> {
    // Of the pseudo-header the order of the addresses does not matter.
    let pseudo = u16::from_be(pseudo_header(packet, 20) as u16);
    let (l3, l4) = (packet.l3_offset as u32, packet.l4_offset as u32);
    if packet.family == 6 {
        let ip = bytes.header::<40>(l3)?;
        swap_ipv6(ip);
        ip.put16::<4>(20);
        ip.put16::<6>((protocol::TCP as u16) << 8 | TTL as u16);
    } else {
        let ip = bytes.header::<20>(l3)?;
        let (source, destination) = (ip.be32::<12>(), ip.be32::<16>());
        ip.put32::<0>(0x4500_0028);
        ip.put32::<4>(0x0000_4000);
        ip.put32::<8>((TTL as u32) << 24 | (protocol::TCP as u32) << 16);
        ip.put32::<12>(destination);
        ip.put32::<16>(source);
        let sum = u16::from_be(fold16(ip.sum(0)?));
        ip.put16::<10>(!sum);
    }
    let tcp = bytes.header::<20>(l4)?;
    let (source_port, port) = (tcp.be16::<0>(), tcp.be16::<2>());
    tcp.put32::<0>((port as u32) << 16 | source_port as u32);
    tcp.put32::<4>(0);
    tcp.put32::<8>(cookie);
    tcp.put32::<12>((OFFSET_SYN_ACK as u32) << 16);
    tcp.put32::<16>(0);
    let sum = u16::from_be(fold16(tcp.sum(0)?));
    tcp.put16::<16>(!fold16(sum as u32 + pseudo as u32));
    Some(())
}

#[inline(always)]
fn swap_ipv6(ip: Checked<40>) {
    let (a, b, c, d) = (ip.be32::<8>(), ip.be32::<12>(), ip.be32::<16>(), ip.be32::<20>());
    ip.put32::<8>(ip.be32::<24>());
    ip.put32::<12>(ip.be32::<28>());
    ip.put32::<16>(ip.be32::<32>());
    ip.put32::<20>(ip.be32::<36>());
    ip.put32::<24>(a);
    ip.put32::<28>(b);
    ip.put32::<32>(c);
    ip.put32::<36>(d);
}
