//! What of a frame is changed on its way.

use super::{Judgement, Parsed, Told};
use gateway_common::abi::Verdict;
use std::net::IpAddr;

/// The frame that comes out.
#[must_use]
pub fn output(judgement: &Judgement, frame: &[u8]) -> Vec<u8> {
    if let Some(Told::Sent(error)) = &judgement.told {
        return error.clone();
    }
    let mut out = frame.to_vec();
    if judgement.verdict == Verdict::Tx && judgement.forwarded.is_none() {
        out[..6].copy_from_slice(&frame[6..12]);
        out[6..12].copy_from_slice(&frame[..6]);
    }
    if let (Some(dscp), Some(packet)) = (judgement.dscp, &judgement.packet) {
        write_dscp(&mut out, packet, dscp);
    }
    match (&judgement.forwarded, &judgement.packet) {
        (Some(forwarded), Some(packet)) => forwarded.frame(packet, &out),
        _ => out,
    }
}

/// RFC 2474 3: the upper six bits of the traffic class; the lower two are ECN's and stay. RFC 1624,
/// equation 3: a header checksum that was right stays right, and a wrong one wrong.
fn write_dscp(frame: &mut [u8], packet: &Parsed, dscp: u8) {
    let class = dscp << 2 | packet.traffic_class & 3;
    let ip = &mut frame[packet.offset..];
    let before = u16::from_be_bytes([ip[0], ip[1]]);
    let after = match packet.source {
        IpAddr::V4(_) => before & 0xff00 | u16::from(class),
        IpAddr::V6(_) => before & 0xf00f | u16::from(class) << 4,
    };
    ip[..2].copy_from_slice(&after.to_be_bytes());
    if packet.source.is_ipv4() {
        let old = u16::from_be_bytes([ip[10], ip[11]]);
        let mut sum = u32::from(!old) + u32::from(!before) + u32::from(after);
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
}
