//! Bytes → what the packet is, or why it is malformed.
//!
//! Within a layer the checks stand in the order that gives the reason: the first that fails. What needs
//! more than one layer (checksums, addresses) is judged behind all of them, see [`super::checks`].

use super::checks;
use gateway_common::reason::Reason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MAX_TAGS: usize = 2;
const MAX_EXTENSIONS: usize = 6;
/// The longest IP packet (IPv4) or payload (IPv6), bytes.
const MAX_LENGTH: usize = 65_535;

/// An IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Where the IP header starts in the frame, bytes.
    pub offset: usize,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Behind IPv6's extension headers.
    pub protocol: u8,
    /// A fragment that is not the first.
    pub later_fragment: bool,
    /// The first fragment of several.
    pub first_fragment: bool,
    /// The last fragment of several.
    pub last_fragment: bool,
    /// What all fragments of a packet have in common; 0 for what is no fragment.
    pub identification: u32,
    /// IPv4's don't-fragment bit.
    pub dont_fragment: bool,
    /// Length of the IP packet with its header, bytes.
    pub length: u16,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv6's; IPv4 has none.
    pub flow_label: Option<u32>,
    /// Source and destination port of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Identifier of an ICMP echo or its reply.
    pub identifier: Option<u16>,
    /// Length of the IP header with its extensions, bytes.
    pub header: usize,
    /// TCP flags, 0 for other protocols.
    pub tcp_flags: u8,
    /// Identifier of the outer tag, 0 without one.
    pub vlan: u16,
}

/// Not an IP packet that can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    /// Another EtherType: passes.
    NotIp,
    /// Cut short, lying or inconsistent.
    Malformed(Reason),
}

impl From<Reason> for Unparsed {
    fn from(reason: Reason) -> Self {
        Unparsed::Malformed(reason)
    }
}

/// Where the parts of an IP packet lie, for those checks that look at more than its fields.
pub(super) struct Parts<'a> {
    /// The whole IPv4 header; nothing for IPv6.
    pub header: &'a [u8],
    /// Behind the IP header and its extensions.
    pub payload: &'a [u8],
    /// It is no fragment of any kind.
    pub whole: bool,
    /// It stands behind IPv6 extension headers.
    pub extended: bool,
}

/// What a fragment's header said.
#[derive(Clone, Copy, Default)]
struct Fragment {
    /// In bytes.
    offset: usize,
    /// Others follow, as this header or one before it says.
    more: bool,
    last: bool,
    identification: u32,
}

impl Fragment {
    fn is_later(self) -> bool {
        self.offset > 0
    }
    fn is_any(self) -> bool {
        self.offset > 0 || self.more
    }
}

/// Parses a frame, and verifies its checksums if asked to.
///
/// # Errors
/// What it is instead of an IP packet.
pub fn parse(frame: &[u8], verify_checksums: bool) -> Result<Parsed, Unparsed> {
    if frame.len() < 14 {
        return Err(Reason::EthTruncated.into());
    }
    let mut ethertype = u16_at(frame, 12);
    let mut rest = &frame[14..];
    let mut tags = Vec::new();
    while matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
        if tags.len() == MAX_TAGS {
            return Err(Reason::VlanDepth.into());
        }
        if rest.len() < 4 {
            return Err(Reason::VlanTruncated.into());
        }
        tags.push(u16_at(rest, 0) & 0xfff);
        ethertype = u16_at(rest, 2);
        rest = &rest[4..];
    }
    let vlan = tags.first().copied().unwrap_or(0);
    let (mut packet, parts) = match ethertype {
        0x0800 => ipv4(rest, vlan)?,
        0x86dd => ipv6(rest, vlan)?,
        _ => return Err(Unparsed::NotIp),
    };
    packet.offset = frame.len() - rest.len();
    if verify_checksums {
        checks::checksums(&packet, &parts)?;
    }
    checks::addresses(&packet)?;
    Ok(packet)
}

fn ipv4(bytes: &[u8], vlan: u16) -> Result<(Parsed, Parts<'_>), Unparsed> {
    if bytes.len() < 20 {
        return Err(Reason::Ipv4Truncated.into());
    }
    if bytes[0] >> 4 != 4 {
        return Err(Reason::Ipv4Version.into());
    }
    let header = usize::from(bytes[0] & 15) * 4;
    if header < 20 {
        return Err(Reason::Ipv4HeaderLength.into());
    }
    let total = usize::from(u16_at(bytes, 2));
    if total < header {
        return Err(Reason::Ipv4TotalLength.into());
    }
    if total > bytes.len() {
        return Err(Reason::Ipv4BeyondFrame.into());
    }
    let payload = &bytes[header..total];
    let word = u16_at(bytes, 6);
    let (offset, more) = (usize::from(word & 0x1fff) * 8, word & 0x2000 != 0);
    let identification = u16_at(bytes, 4).into();
    let fragment = Fragment { offset, more, last: offset > 0 && !more, identification };
    if header + fragment.offset + payload.len() > MAX_LENGTH {
        return Err(Reason::Ipv4FragmentOverrun.into());
    }
    if fragment.more && !payload.len().is_multiple_of(8) {
        return Err(Reason::Ipv4FragmentLength.into());
    }
    let source = Ipv4Addr::from(array(&bytes[12..16])).into();
    let destination = Ipv4Addr::from(array(&bytes[16..20])).into();
    let packet = Parsed {
        length: total as u16,
        dont_fragment: word & 0x4000 != 0,
        traffic_class: bytes[1],
        ttl: bytes[8],
        header,
        ..base(source, destination, vlan)
    };
    let packet = transport(packet, bytes[9], payload, fragment)?;
    let header = &bytes[..header];
    Ok((packet, Parts { header, payload, whole: !fragment.is_any(), extended: false }))
}

fn ipv6(bytes: &[u8], vlan: u16) -> Result<(Parsed, Parts<'_>), Unparsed> {
    if bytes.len() < 40 {
        return Err(Reason::Ipv6Truncated.into());
    }
    if bytes[0] >> 4 != 6 {
        return Err(Reason::Ipv6Version.into());
    }
    let length = usize::from(u16_at(bytes, 4));
    if 40 + length > bytes.len() {
        return Err(Reason::Ipv6BeyondFrame.into());
    }
    let source = Ipv6Addr::from(array(&bytes[8..24])).into();
    let destination = Ipv6Addr::from(array(&bytes[24..40])).into();
    let mut payload = &bytes[40..40 + length];
    let mut next = bytes[6];
    let mut fragment = Fragment::default();
    let mut seen = 0;
    // What stands before the fragment header comes once in the whole packet's length.
    let mut unfragmentable = 0;
    while matches!(next, 0 | 43 | 44 | 51 | 60) && !fragment.is_later() {
        // The seventh is one too many, whatever it is.
        if seen == MAX_EXTENSIONS {
            return Err(Reason::Ipv6ExtensionDepth.into());
        }
        if next == 0 && seen > 0 {
            return Err(Reason::Ipv6HopByHopOrder.into());
        }
        seen += 1;
        let truncated = Unparsed::from(Reason::Ipv6ExtensionTruncated);
        let units = usize::from(*payload.get(1).ok_or(truncated)?);
        let size = match next {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        let behind = payload.get(size..).ok_or(truncated)?;
        if next == 44 {
            // A second fragment header does not make the packet whole again.
            let (more, identification) = (fragment.more, fragment.identification);
            fragment = fragment_header(payload, behind, unfragmentable)?;
            if !fragment.is_any() {
                fragment.identification = identification;
            }
            fragment.more |= more;
        }
        next = payload[0];
        payload = behind;
        unfragmentable += size;
    }
    let whole = !fragment.is_any();
    let word = u32::from_be_bytes(array(&bytes[..4]));
    let parsed = Parsed {
        // A payload of more than 65,495 bytes makes a packet of more than 65,535.
        length: u16::try_from(40 + length).unwrap_or(u16::MAX),
        traffic_class: (word >> 20) as u8,
        ttl: bytes[7],
        flow_label: Some(word & 0xf_ffff),
        header: 40 + length - payload.len(),
        ..base(source, destination, vlan)
    };
    let parsed = transport(parsed, next, payload, fragment)?;
    // RFC 4861 and RFC 6980: only a neighbour can send these, and only whole.
    let neighbour =
        whole && bytes[7] == 255 && parsed.icmp.is_some_and(|(kind, _)| (133..=137).contains(&kind));
    if neighbour {
        return Err(Unparsed::NotIp);
    }
    Ok((parsed, Parts { header: &[], payload, whole, extended: seen > 0 }))
}

fn fragment_header(header: &[u8], data: &[u8], unfragmentable: usize) -> Result<Fragment, Unparsed> {
    let word = u16_at(header, 2);
    // The offset counts eight bytes in the upper 13 bits: bytes, once the lower three are masked.
    let (offset, more) = (usize::from(word & 0xfff8), word & 1 != 0);
    let identification = u32::from_be_bytes(array(&header[4..8]));
    let fragment = Fragment { offset, more, last: offset > 0 && !more, identification };
    if unfragmentable + fragment.offset + data.len() > MAX_LENGTH {
        return Err(Reason::Ipv6FragmentOverrun.into());
    }
    if fragment.more && !data.len().is_multiple_of(8) {
        return Err(Reason::Ipv6FragmentLength.into());
    }
    Ok(fragment)
}

fn transport(
    mut packet: Parsed,
    protocol: u8,
    payload: &[u8],
    fragment: Fragment,
) -> Result<Parsed, Unparsed> {
    packet.protocol = protocol;
    packet.later_fragment = fragment.is_later();
    packet.first_fragment = fragment.more && !fragment.is_later();
    packet.last_fragment = fragment.last;
    packet.identification = if fragment.is_any() { fragment.identification } else { 0 };
    if fragment.is_later() {
        if protocol == 6 && fragment.offset == 8 {
            return Err(Reason::TcpTinyFragment.into());
        }
        return Ok(packet);
    }
    match (protocol, packet.source.is_ipv4()) {
        (6, _) => tcp(&mut packet, payload)?,
        (17, _) => udp(&mut packet, payload, fragment.is_any())?,
        (132, _) => {
            needs(payload, 12, Reason::SctpTruncated)?;
            packet.ports = Some((u16_at(payload, 0), u16_at(payload, 2)));
        }
        (1, true) => {
            needs(payload, 8, Reason::IcmpTruncated)?;
            packet.icmp = Some((payload[0], payload[1]));
            packet.identifier = identifier(payload, [8, 0]);
        }
        (58, false) => {
            needs(payload, 4, Reason::Icmpv6Truncated)?;
            packet.icmp = Some((payload[0], payload[1]));
            packet.identifier = identifier(payload, [128, 129]);
        }
        _ => {}
    }
    Ok(packet)
}

/// RFC 792 and RFC 4443 4: of an echo and its reply, where the message is long enough to have one.
fn identifier(message: &[u8], echoes: [u8; 2]) -> Option<u16> {
    (echoes.contains(&message[0]) && message.len() >= 8).then(|| u16_at(message, 4))
}

fn tcp(packet: &mut Parsed, payload: &[u8]) -> Result<(), Unparsed> {
    needs(payload, 20, Reason::TcpTruncated)?;
    let header = usize::from(payload[12] >> 4) * 4;
    if header < 20 || header > payload.len() {
        return Err(Reason::TcpDataOffset.into());
    }
    checks::tcp_flags(payload[13])?;
    packet.ports = Some((u16_at(payload, 0), u16_at(payload, 2)));
    packet.tcp_flags = payload[13];
    Ok(())
}

fn udp(packet: &mut Parsed, payload: &[u8], is_fragment: bool) -> Result<(), Unparsed> {
    needs(payload, 8, Reason::UdpTruncated)?;
    let length = usize::from(u16_at(payload, 4));
    if length < 8 || (!is_fragment && length > payload.len()) {
        return Err(Reason::UdpLength.into());
    }
    packet.ports = Some((u16_at(payload, 0), u16_at(payload, 2)));
    Ok(())
}

fn needs(bytes: &[u8], length: usize, reason: Reason) -> Result<(), Unparsed> {
    if bytes.len() < length { Err(reason.into()) } else { Ok(()) }
}

fn base(source: IpAddr, destination: IpAddr, vlan: u16) -> Parsed {
    Parsed {
        offset: 0,
        source,
        destination,
        protocol: 0,
        later_fragment: false,
        first_fragment: false,
        last_fragment: false,
        identification: 0,
        dont_fragment: false,
        length: 0,
        traffic_class: 0,
        ttl: 0,
        flow_label: None,
        ports: None,
        icmp: None,
        identifier: None,
        header: 0,
        tcp_flags: 0,
        vlan,
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}
