//! A builder of frames: right in every field unless told to lie.
//!
//! ```
//! use gateway_tests::packet::Frame;
//! let frame = Frame::new().tag(100).ipv4("198.51.100.7", "203.0.113.10").tcp(4242, 443).bytes();
//! assert_eq!(frame.len(), 14 + 4 + 20 + 20);
//! ```

pub mod checksum;
mod lies;
pub mod show;
mod transport;

use lies::Lies;
use std::net::{Ipv4Addr, Ipv6Addr};
pub use transport::Transport;

/// EtherType of a VLAN tag (802.1Q).
pub const TPID_CUSTOMER: u16 = 0x8100;
/// EtherType of a service tag (802.1ad).
pub const TPID_SERVICE: u16 = 0x88a8;
/// EtherType of outer tags before 802.1ad.
pub const TPID_OLD: u16 = 0x9100;
/// Length of an Ethernet header, bytes.
pub const ETHERNET: usize = 14;

/// An IPv6 extension header.
#[derive(Clone, Debug)]
pub enum Extension {
    /// Hop-by-hop options, so many units of eight bytes.
    HopByHop(u8),
    /// Routing, so many units of eight bytes.
    Routing(u8),
    /// Destination options, so many units of eight bytes.
    Destination(u8),
    /// Authentication header, so many words of four bytes, at least two.
    Authentication(u8),
    /// Fragment header: offset in units of eight bytes, and whether more follow.
    Fragment(u16, bool),
}

#[derive(Clone, Debug)]
enum Network {
    /// No IP: the payload stands behind this EtherType.
    Other(u16),
    V4 {
        source: Ipv4Addr,
        destination: Ipv4Addr,
        options: Vec<u8>,
        fragment: u16,
    },
    V6 {
        source: Ipv6Addr,
        destination: Ipv6Addr,
        extensions: Vec<Extension>,
    },
}

/// A frame in the making.
#[derive(Clone, Debug)]
pub struct Frame {
    destination: [u8; 6],
    source: [u8; 6],
    tags: Vec<(u16, u16)>,
    network: Network,
    transport: Transport,
    payload: Vec<u8>,
    trailer: usize,
    hop_limit: u8,
    traffic_class: u8,
    flow_label: u32,
    identification: u32,
    lies: Lies,
}

/// The MAC address that the builder's frames go to unless told otherwise.
pub const DESTINATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The MAC address that they come from.
pub const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

impl Default for Frame {
    fn default() -> Self {
        Frame {
            destination: DESTINATION_MAC,
            source: SOURCE_MAC,
            tags: Vec::new(),
            network: Network::Other(0x88b5),
            transport: Transport::Raw(253),
            payload: Vec::new(),
            trailer: 0,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
            identification: 0x1234,
            lies: Lies::default(),
        }
    }
}

impl Frame {
    /// An Ethernet frame of an experimental EtherType with no payload.
    #[must_use]
    pub fn new() -> Frame {
        Frame::default()
    }

    /// Sets the MAC addresses.
    #[must_use]
    pub fn macs(mut self, source: [u8; 6], destination: [u8; 6]) -> Frame {
        self.source = source;
        self.destination = destination;
        self
    }

    /// Adds an 802.1Q tag with this identifier, inside the tags that are there.
    #[must_use]
    pub fn tag(self, identifier: u16) -> Frame {
        self.tag_of(TPID_CUSTOMER, identifier)
    }

    /// Adds a tag with this EtherType and control information.
    #[must_use]
    pub fn tag_of(mut self, ethertype: u16, control: u16) -> Frame {
        self.tags.push((ethertype, control));
        self
    }

    /// No IP: the payload stands behind this EtherType.
    #[must_use]
    pub fn other(mut self, ethertype: u16, payload: &[u8]) -> Frame {
        self.network = Network::Other(ethertype);
        self.payload = payload.to_vec();
        self
    }

    /// IPv4 between these addresses.
    #[must_use]
    pub fn ipv4(mut self, source: &str, destination: &str) -> Frame {
        let (source, destination) = (parse(source), parse(destination));
        self.network = Network::V4 { source, destination, options: Vec::new(), fragment: 0x4000 };
        self
    }

    /// IPv6 between these addresses.
    #[must_use]
    pub fn ipv6(mut self, source: &str, destination: &str) -> Frame {
        let (source, destination) = (parse(source), parse(destination));
        self.network = Network::V6 { source, destination, extensions: Vec::new() };
        self
    }

    /// IPv4 or IPv6, as the addresses are.
    #[must_use]
    pub fn ip(self, source: &str, destination: &str) -> Frame {
        if source.contains(':') { self.ipv6(source, destination) } else { self.ipv4(source, destination) }
    }

    /// IPv4 options, so many words of four bytes (no-operation options).
    #[must_use]
    pub fn options(mut self, words: usize) -> Frame {
        if let Network::V4 { options, .. } = &mut self.network {
            *options = vec![1; words * 4];
        }
        self
    }

    /// Adds an IPv6 extension header behind those that are there.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Frame {
        if let Network::V6 { extensions, .. } = &mut self.network {
            extensions.push(extension);
        }
        self
    }

    /// Makes it a fragment: offset in units of eight bytes, and whether more follow. The payload
    /// stays as it is: a later fragment wants [`Frame::raw`].
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Frame {
        match &mut self.network {
            Network::V4 { fragment, .. } => *fragment = offset | u16::from(more) << 13,
            Network::V6 { extensions, .. } => extensions.push(Extension::Fragment(offset, more)),
            Network::Other(_) => {}
        }
        self
    }

    /// IPv4's don't-fragment bit, set otherwise.
    #[must_use]
    pub fn may_be_fragmented(mut self) -> Frame {
        if let Network::V4 { fragment, .. } = &mut self.network {
            *fragment &= !0x4000;
        }
        self
    }

    /// The type of service or traffic class, 0 otherwise: DSCP in the upper six bits, ECN below.
    #[must_use]
    pub fn traffic_class(mut self, class: u8) -> Frame {
        self.traffic_class = class;
        self
    }

    /// IPv6's flow label (20 bits), 0 otherwise.
    #[must_use]
    pub fn flow_label(mut self, label: u32) -> Frame {
        self.flow_label = label & 0xf_ffff;
        self
    }

    /// The identification of IPv4 (its lower 16 bits), and of IPv6's fragment headers; 0x1234 otherwise.
    #[must_use]
    pub fn identification(mut self, identification: u32) -> Frame {
        self.identification = identification;
        self
    }

    /// TCP with SYN set.
    #[must_use]
    pub fn tcp(mut self, source: u16, destination: u16) -> Frame {
        self.transport = Transport::Tcp { source, destination, flags: 2, options: Vec::new() };
        self
    }

    /// TCP flags and so many bytes of options.
    #[must_use]
    pub fn tcp_with(mut self, new_flags: u8, option_bytes: usize) -> Frame {
        if let Transport::Tcp { flags, options, .. } = &mut self.transport {
            *flags = new_flags;
            *options = vec![1; option_bytes];
        }
        self
    }

    /// TCP options, as they are.
    #[must_use]
    pub fn tcp_options(mut self, bytes: &[u8]) -> Frame {
        if let Transport::Tcp { options, .. } = &mut self.transport {
            *options = bytes.to_vec();
        }
        self
    }

    /// UDP.
    #[must_use]
    pub fn udp(mut self, source: u16, destination: u16) -> Frame {
        self.transport = Transport::Udp { source, destination };
        self
    }

    /// SCTP.
    #[must_use]
    pub fn sctp(mut self, source: u16, destination: u16) -> Frame {
        self.transport = Transport::Sctp { source, destination };
        self
    }

    /// ICMP for IPv4.
    #[must_use]
    pub fn icmp(mut self, kind: u8, code: u8) -> Frame {
        self.transport = Transport::Icmp { kind, code, identifier: 0 };
        self
    }

    /// ICMP for IPv6.
    #[must_use]
    pub fn icmpv6(mut self, kind: u8, code: u8) -> Frame {
        self.transport = Transport::Icmpv6 { kind, code, identifier: 0 };
        self
    }

    /// The first half of ICMP's rest of header, 0 otherwise: an echo's identifier.
    #[must_use]
    pub fn identifier(mut self, new: u16) -> Frame {
        if let Transport::Icmp { identifier, .. } | Transport::Icmpv6 { identifier, .. } = &mut self.transport
        {
            *identifier = new;
        }
        self
    }

    /// These bytes under this protocol number.
    #[must_use]
    pub fn raw(mut self, protocol: u8, bytes: &[u8]) -> Frame {
        self.transport = Transport::Raw(protocol);
        self.payload = bytes.to_vec();
        self
    }

    /// So many bytes of payload.
    #[must_use]
    pub fn payload(mut self, length: usize) -> Frame {
        self.payload = (0..length).map(|i| i as u8).collect();
        self
    }

    /// The hop limit, or time to live, 64 otherwise.
    #[must_use]
    pub fn hop_limit(mut self, hops: u8) -> Frame {
        self.hop_limit = hops;
        self
    }

    /// So many bytes of padding behind the packet.
    #[must_use]
    pub fn trailer(mut self, length: usize) -> Frame {
        self.trailer = length;
        self
    }

    /// Where the IP header starts.
    #[must_use]
    pub fn l3_offset(&self) -> usize {
        ETHERNET + 4 * self.tags.len()
    }

    /// Where the transport header starts.
    #[must_use]
    pub fn l4_offset(&self) -> usize {
        let header = match &self.network {
            Network::Other(_) => 0,
            Network::V4 { options, .. } => 20 + options.len(),
            Network::V6 { extensions, .. } => 40 + chain(extensions, 0, 0).1.len(),
        };
        self.l3_offset() + header
    }

    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (ethertype, network) = self.network_bytes();
        let mut out = [self.destination, self.source].concat();
        for (ethertype, control) in &self.tags {
            out.extend(ethertype.to_be_bytes());
            out.extend(control.to_be_bytes());
        }
        out.extend(self.lies.ethertype.unwrap_or(ethertype).to_be_bytes());
        out.extend(network);
        out.resize(out.len() + self.trailer, 0);
        out
    }

    /// The first `length` bytes of the frame.
    #[must_use]
    pub fn cut(&self, length: usize) -> Vec<u8> {
        let mut out = self.bytes();
        assert!(length < out.len(), "nothing to cut: {length} of {}", out.len());
        out.truncate(length);
        out
    }

    fn network_bytes(&self) -> (u16, Vec<u8>) {
        match &self.network {
            Network::Other(ethertype) => (*ethertype, self.payload.clone()),
            Network::V4 { source, destination, options, fragment } => {
                let addresses = [source.octets(), destination.octets()].concat();
                let segment = self.transport.bytes(&addresses, &self.payload, self.lies.transport);
                let header_length = 20 + options.len();
                let version = self.lies.version.unwrap_or(4);
                let words = self.lies.header_words.unwrap_or((header_length / 4) as u8);
                let length = self.lies.length.unwrap_or((header_length + segment.len()) as u16);
                let mut out = vec![version << 4 | words & 15, self.traffic_class];
                out.extend(length.to_be_bytes());
                out.extend((self.identification as u16).to_be_bytes());
                out.extend(fragment.to_be_bytes());
                out.extend([self.hop_limit, self.transport.protocol(), 0, 0]);
                out.extend(&addresses);
                out.extend(options);
                let sum = checksum::internet(&[&out]).to_be_bytes();
                out[10..12].copy_from_slice(&sum);
                out.extend(segment);
                (0x0800, out)
            }
            Network::V6 { source, destination, extensions } => {
                let addresses = [source.octets(), destination.octets()].concat();
                let segment = self.transport.bytes(&addresses, &self.payload, self.lies.transport);
                let (next, chain) = chain(extensions, self.transport.protocol(), self.identification);
                let version = self.lies.version.unwrap_or(6);
                let length = self.lies.length.unwrap_or((chain.len() + segment.len()) as u16);
                let word = u32::from(version) << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
                let mut out = word.to_be_bytes().to_vec();
                out.extend(length.to_be_bytes());
                out.extend([next, self.hop_limit]);
                out.extend(&addresses);
                out.extend(chain);
                out.extend(segment);
                (0x86dd, out)
            }
        }
    }
}

/// The number of the first header, and the bytes of all.
fn chain(extensions: &[Extension], last: u8, identification: u32) -> (u8, Vec<u8>) {
    let Some((first, rest)) = extensions.split_first() else { return (last, Vec::new()) };
    let (next, behind) = chain(rest, last, identification);
    let (number, mut bytes) = match first {
        Extension::HopByHop(units) => (0, options_header(next, *units)),
        Extension::Destination(units) => (60, options_header(next, *units)),
        Extension::Routing(units) => {
            let mut bytes = vec![0; usize::from(*units) * 8];
            bytes[..4].copy_from_slice(&[next, units - 1, 253, 0]);
            (43, bytes)
        }
        Extension::Authentication(words) => {
            let mut bytes = vec![0; usize::from(*words) * 4];
            bytes[..2].copy_from_slice(&[next, words - 2]);
            (51, bytes)
        }
        Extension::Fragment(offset, more) => {
            let mut bytes = vec![next, 0];
            bytes.extend((offset << 3 | u16::from(*more)).to_be_bytes());
            bytes.extend(identification.to_be_bytes());
            (44, bytes)
        }
    };
    bytes.extend(behind);
    (number, bytes)
}

/// An options header that holds padding only (RFC 8200 4.2: PadN).
fn options_header(next: u8, units: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(units) * 8];
    bytes[0] = next;
    bytes[1] = units - 1;
    let mut at = 2;
    while at < bytes.len() {
        let padding = (bytes.len() - at - 2).min(254);
        bytes[at] = 1;
        bytes[at + 1] = padding as u8;
        at += 2 + padding;
        if bytes.len() - at == 1 {
            bytes[at] = 0;
            at += 1;
        }
    }
    bytes
}

fn parse<T: std::str::FromStr>(address: &str) -> T {
    address.parse().unwrap_or_else(|_| panic!("{address} is not an address"))
}
