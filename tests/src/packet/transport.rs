//! Transport headers, with their checksums.

use super::checksum::{crc32c, internet};

/// What the IP packet carries.
#[derive(Clone, Debug)]
pub enum Transport {
    /// The payload alone, under this protocol number.
    Raw(u8),
    /// TCP with options (padded to words).
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Flags, CWR highest.
        flags: u8,
        /// Options.
        options: Vec<u8>,
    },
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// SCTP's common header; the payload is its chunks.
    Sctp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP with a rest of header of zeros.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// First half of the rest of header.
        identifier: u16,
    },
    /// ICMPv6, the same way.
    Icmpv6 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// First half of the rest of header.
        identifier: u16,
    },
}

/// What a transport header claims that is not so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lies {
    pub udp_length: Option<u16>,
    pub data_offset: Option<u8>,
}

impl Transport {
    /// The IP protocol number.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match self {
            Transport::Raw(protocol) => *protocol,
            Transport::Tcp { .. } => 6,
            Transport::Udp { .. } => 17,
            Transport::Sctp { .. } => 132,
            Transport::Icmp { .. } => 1,
            Transport::Icmpv6 { .. } => 58,
        }
    }

    /// Header and payload. `addresses` are both addresses as they stand in the IP header.
    pub(super) fn bytes(&self, addresses: &[u8], payload: &[u8], lies: Lies) -> Vec<u8> {
        match self {
            Transport::Raw(_) => payload.to_vec(),
            Transport::Tcp { source, destination, flags, options } => {
                let mut options = options.clone();
                options.resize(options.len().next_multiple_of(4), 0);
                let words = 5 + options.len() / 4;
                let mut out = ports(*source, *destination);
                out.extend([0, 0, 0, 1, 0, 0, 0, 0]);
                out.extend([lies.data_offset.unwrap_or(words as u8) << 4, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                out.extend(options);
                out.extend(payload);
                pseudo_checksum(&mut out, 16, addresses, 6);
                out
            }
            Transport::Udp { source, destination } => {
                let mut out = ports(*source, *destination);
                let length = lies.udp_length.unwrap_or((8 + payload.len()) as u16);
                out.extend(length.to_be_bytes());
                out.extend([0, 0]);
                out.extend(payload);
                pseudo_checksum(&mut out, 6, addresses, 17);
                out
            }
            Transport::Sctp { source, destination } => {
                let mut out = ports(*source, *destination);
                out.extend([0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 0]);
                out.extend(payload);
                let crc = crc32c(&out).to_le_bytes();
                out[8..12].copy_from_slice(&crc);
                out
            }
            Transport::Icmp { kind, code, identifier } => {
                let mut out = icmp(*kind, *code, *identifier);
                out.extend(payload);
                let sum = internet(&[&out]).to_be_bytes();
                out[2..4].copy_from_slice(&sum);
                out
            }
            Transport::Icmpv6 { kind, code, identifier } => {
                let mut out = icmp(*kind, *code, *identifier);
                out.extend(payload);
                pseudo_checksum(&mut out, 2, addresses, 58);
                out
            }
        }
    }
}

fn icmp(kind: u8, code: u8, identifier: u16) -> Vec<u8> {
    let mut out = vec![kind, code, 0, 0];
    out.extend(identifier.to_be_bytes());
    out.extend([0, 0]);
    out
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// Sets the checksum over pseudo header and segment (RFC 9293 3.1, RFC 8200 8.1).
fn pseudo_checksum(segment: &mut [u8], at: usize, addresses: &[u8], protocol: u8) {
    let length = (segment.len() as u32).to_be_bytes();
    let mut sum = internet(&[addresses, &length, &[0, protocol], segment]);
    if sum == 0 && protocol == 17 {
        sum = 0xffff;
    }
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
