//! Bytes → what the packet is, or the reason why it is none.
//!
//! One file a layer. Each checks what it reads, in the order in which the reasons stand in
//! [`crate::reason::Reason`], and the first check that fails names the reason. Nothing here assumes
//! a length that was not checked, and nothing writes.

pub mod address;
pub mod checksum;
mod eth;
mod ipv4;
mod ipv6;
mod l4;
pub mod quoted;

use crate::packet::{Packet, flags, protocol};
use crate::reason::Reason;

/// A frame's bytes. The kernel's implementation is the bounded cursor over packet pointers; on the
/// host it is a slice.
pub trait Frame {
    /// `N` checked bytes.
    type Header<const N: usize>: Header<N>;

    /// The `N` bytes at `offset`, if all of them are there. `N` is at least 2.
    fn header<const N: usize>(&self, offset: u32) -> Option<Self::Header<N>>;

    /// The one's complement sum of `N` bytes at `offset` added to `sum`, folded to 16 bits or not, in
    /// memory order; nothing where they are not there. `N` is a multiple of 4, up to 256.
    fn sum<const N: usize>(&self, offset: u32, sum: u32) -> Option<u32>;

    /// Whether the frame holds at least `length` bytes, also where not all can be read at once.
    fn holds(&self, length: u32) -> bool;

    /// The VLAN tag that the device took out of the frame: its TCI.
    fn stripped_tag(&self) -> Option<u16>;
}

/// `N` bytes whose presence was checked: fields are read at constant offsets, checked at compile time.
pub trait Header<const N: usize>: Copy {
    /// Byte `O`.
    fn byte<const O: usize>(self) -> u8;
    /// 16 bits from byte `O`, network order on the wire, host order here.
    fn be16<const O: usize>(self) -> u16;
    /// 32 bits.
    fn be32<const O: usize>(self) -> u32;
    /// 64 bits.
    fn be64<const O: usize>(self) -> u64;
}

impl Frame for [u8] {
    type Header<const N: usize> = [u8; N];

    fn header<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.get(offset as usize..)?.first_chunk().copied()
    }

    fn sum<const N: usize>(&self, offset: u32, sum: u32) -> Option<u32> {
        let bytes: &[u8; N] = self.get(offset as usize..)?.first_chunk()?;
        let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_ne_bytes([pair[0], pair[1]])));
        Some(checksum::fold(words.fold(u64::from(sum), |sum, word| sum + u64::from(word))))
    }

    fn holds(&self, length: u32) -> bool {
        self.len() >= length as usize
    }

    fn stripped_tag(&self) -> Option<u16> {
        None
    }
}

impl<const N: usize> Header<N> for [u8; N] {
    fn byte<const O: usize>(self) -> u8 {
        const { assert!(O < N) };
        self[O]
    }
    fn be16<const O: usize>(self) -> u16 {
        const { assert!(O + 2 <= N) };
        u16::from_be_bytes([self[O], self[O + 1]])
    }
    fn be32<const O: usize>(self) -> u32 {
        const { assert!(O + 4 <= N) };
        u32::from_be_bytes([self[O], self[O + 1], self[O + 2], self[O + 3]])
    }
    fn be64<const O: usize>(self) -> u64 {
        const { assert!(O + 8 <= N) };
        u64::from(Header::<N>::be32::<O>(self)) << 32
            | u64::from(u32::from_be_bytes([self[O + 4], self[O + 5], self[O + 6], self[O + 7]]))
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// An IP packet, parsed.
    Ip,
    /// ARP, LLDP and whatever else is not IP, and IPv6's neighbour discovery: no route decides.
    Other,
}

/// Parses a frame into `packet`.
///
/// # Errors
/// The reason why the frame is malformed. `packet` then holds what was read before.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, packet: &mut Packet) -> Result<Carries, Reason> {
    let (ethertype, offset) = eth::parse(frame, packet)?;
    let transport = match ethertype {
        eth::IPV4 => ipv4::parse(frame, offset, packet)?,
        eth::IPV6 => ipv6::parse(frame, offset, packet)?,
        _ => return Ok(Carries::Other),
    };
    packet.l4_offset = transport.offset as u16;
    l4::parse(frame, transport, packet)?;
    if is_neighbour_discovery(packet) {
        return Ok(Carries::Other);
    }
    Ok(Carries::Ip)
}

/// Parses a packet that is like most: whole, without extension headers, TCP or UDP. Of those it writes what [`parse`]
/// writes; of all others, be they malformed or not, it says false.
#[inline(always)]
pub fn plain<F: Frame + ?Sized>(frame: &F, packet: &mut Packet) -> bool {
    let Ok((ethertype, offset)) = eth::parse(frame, packet) else { return false };
    let transport = match ethertype {
        eth::IPV4 => ipv4::parse(frame, offset, packet),
        eth::IPV6 => ipv6::fixed(frame, offset, packet),
        _ => return false,
    };
    let Ok(transport) = transport else { return false };
    packet.l4_offset = transport.offset as u16;
    if packet.flags & (flags::FIRST_FRAGMENT | flags::LATER_FRAGMENT) != 0 {
        return false;
    }
    match packet.protocol {
        protocol::TCP => l4::tcp(frame, transport, packet).is_ok(),
        protocol::UDP => l4::udp(frame, transport, packet).is_ok(),
        _ => false,
    }
}

/// Router and neighbour solicitation and advertisement, and redirect: what ARP is to IPv4. They count
/// only with the hop limit that no router lets through (RFC 4861 6.1, 7.1 and 8.1), so nobody but a
/// neighbour can send them, and never in fragments (RFC 6980 5).
#[inline(always)]
fn is_neighbour_discovery(packet: &Packet) -> bool {
    packet.family == 6
        && packet.protocol == protocol::ICMPV6
        && packet.flags == flags::HAS_ICMP
        && packet.ttl == 255
        && matches!(packet.port >> 8, 133..=137)
}

/// Where the transport header should be.
#[derive(Clone, Copy)]
struct Transport {
    /// Offset in the frame, bytes.
    offset: u32,
    /// Bytes from there to the end of the IP packet.
    length: u32,
    /// Offset of this fragment's data in the whole, bytes; 0 for what is not a later fragment.
    fragment_offset: u32,
}

#[cfg(test)]
mod tests;
