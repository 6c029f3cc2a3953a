//! The frames of the benchmarks: 64 bytes, IPv4, UDP.

use std::net::Ipv4Addr;

/// A frame as the bench object takes it.
pub type Frame = [u64; 8];

/// What of a frame is chosen.
#[derive(Clone, Copy)]
pub struct Flow {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub port: u16,
}

/// Ethernet addresses of the frames, destination first.
pub type EthernetAddresses = [u8; 12];

/// 64 bytes: Ethernet, IPv4 without options, UDP from port 4096, zeros.
pub fn frame(ethernet: &EthernetAddresses, flow: Flow) -> Frame {
    let mut bytes = [0u8; 64];
    bytes[..12].copy_from_slice(ethernet);
    bytes[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    bytes[14] = 0x45;
    bytes[16..18].copy_from_slice(&50u16.to_be_bytes());
    bytes[22] = 64;
    bytes[23] = 17;
    bytes[26..30].copy_from_slice(&flow.source.octets());
    bytes[30..34].copy_from_slice(&flow.destination.octets());
    let checksum = internet_checksum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    bytes[34..36].copy_from_slice(&4096u16.to_be_bytes());
    bytes[36..38].copy_from_slice(&flow.port.to_be_bytes());
    bytes[38..40].copy_from_slice(&30u16.to_be_bytes());
    bytemuck::cast(bytes)
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
