//! The frames of the benchmarks, as the bench object takes them: the first 64 bytes of each, which are
//! written anew before every run.

use anyhow::{Result, ensure};
use gateway_tests::packet;
use std::net::{IpAddr, Ipv4Addr};

/// The bytes of a frame that are restored.
pub type Frame = [u64; 8];

/// How many they are.
pub const RESTORED: usize = size_of::<Frame>();

/// What of a frame is chosen.
#[derive(Clone, Copy)]
pub struct Flow {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub port: u16,
}

/// Ethernet addresses of the frames, destination first.
pub type EthernetAddresses = [u8; 12];

/// To and from interfaces that are not there.
pub const NOWHERE: EthernetAddresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// Port that the frames come from.
const SOURCE_PORT: u16 = 4096;

/// 64 bytes: Ethernet, IPv4 without options, UDP from port 4096.
pub fn frame(ethernet: &EthernetAddresses, flow: Flow) -> Result<Frame> {
    let headers = between(ethernet, flow.source.into(), flow.destination.into());
    restored(&sized(headers.udp(SOURCE_PORT, flow.port), RESTORED))
}

/// A frame in the making between two addresses, without a transport.
pub fn between(ethernet: &EthernetAddresses, source: IpAddr, destination: IpAddr) -> packet::Frame {
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *ethernet;
    let frame = packet::Frame::new().macs([s0, s1, s2, s3, s4, s5], [d0, d1, d2, d3, d4, d5]);
    frame.ip(&source.to_string(), &destination.to_string())
}

/// The frame with as much payload as makes it this long; one whose headers are longer stays as it is.
pub fn sized(frame: packet::Frame, length: usize) -> packet::Frame {
    let headers = frame.clone().payload(0).bytes().len();
    frame.payload(length.saturating_sub(headers))
}

/// What of a frame is restored. A frame below 64 bytes is padded, as Ethernet does.
///
/// # Errors
/// Where a header lies beyond it.
pub fn restored(frame: &packet::Frame) -> Result<Frame> {
    let transport = frame.l4_offset();
    ensure!(transport + 8 <= RESTORED, "headers of {transport} bytes and more are not restored");
    let mut bytes = frame.bytes();
    bytes.resize(RESTORED, 0);
    let (words, _) = bytes.as_chunks::<8>();
    let mut restored = Frame::default();
    for (to, from) in restored.iter_mut().zip(words) {
        *to = u64::from_ne_bytes(*from);
    }
    Ok(restored)
}
