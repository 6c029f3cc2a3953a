//! Checksums (RFC 1071): verified on demand, as far as a packet is one whole and short enough.

use super::{Frame, Header};
use crate::packet::{Address, Packet, flags, protocol};
use crate::reason::Reason;

/// Longest IP packet whose transport checksum is verified, bytes: longer than what a wire of 1,500
/// bytes carries, and a bound on the kernel's work.
pub const LENGTH_MAX: u32 = 2_048;

/// A sum folded to 32 bits, end-around carry kept.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// A sum folded to 16 bits.
#[inline(always)]
#[must_use]
pub const fn fold16(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Verifies the IPv4 header's checksum, and the transport's of what is neither a fragment nor behind an
/// IPv6 extension header: a routing header among them may say that the sum was made for another
/// destination (RFC 8200 8.1). `forget` is as in [`crate::image::Arena::forget`].
///
/// # Errors
/// The reason that names the layer.
#[inline(always)]
pub fn verify<F: Frame + ?Sized>(
    frame: &F,
    packet: &Packet,
    forget: impl Fn(u32) -> u32,
) -> Result<(), Reason> {
    let start = packet.l3_offset as u32;
    let behind = packet.l4_offset as u32;
    if packet.family == 4 && !is_right(frame, start, behind.wrapping_sub(start), 0, &forget) {
        return Err(Reason::Ipv4Checksum);
    }
    let fragment = flags::FIRST_FRAGMENT | flags::LATER_FRAGMENT;
    let extended = packet.family == 6 && behind.wrapping_sub(start) != 40;
    if packet.flags & fragment != 0 || extended || packet.end.wrapping_sub(start) > LENGTH_MAX {
        return Ok(());
    }
    let mut length = packet.end.wrapping_sub(behind);
    if packet.protocol == protocol::UDP
        && let Some(header) = frame.header::<8>(behind)
    {
        if header.be16::<6>() == 0 {
            return if packet.family == 4 { Ok(()) } else { Err(Reason::UdpChecksum) };
        }
        // What stands behind the datagram is not UDP's.
        length = header.be16::<4>() as u32;
    }
    let pseudo = pseudo_header(packet, length);
    let (reason, first) = match packet.protocol {
        protocol::TCP => (Reason::TcpChecksum, pseudo),
        protocol::UDP => (Reason::UdpChecksum, pseudo),
        protocol::ICMP if packet.family == 4 => (Reason::IcmpChecksum, 0),
        protocol::ICMPV6 if packet.family == 6 => (Reason::Icmpv6Checksum, pseudo),
        _ => return Ok(()),
    };
    if is_right(frame, behind, length, first, &forget) { Ok(()) } else { Err(reason) }
}

/// The pseudo-header's sum (RFC 9293 3.1, RFC 8200 8.1), in memory order.
#[inline(always)]
#[must_use]
pub fn pseudo_header(packet: &Packet, length: u32) -> u32 {
    pseudo_header_of(packet.source, packet.destination, packet.protocol, length)
}

/// The same of a packet with these addresses, of which the order does not matter.
#[inline(always)]
#[must_use]
pub fn pseudo_header_of([a, b]: Address, [c, d]: Address, protocol: u8, length: u32) -> u32 {
    let halves = |word: u64| (word >> 32) + (word & 0xffff_ffff);
    let rest = length as u64 + protocol as u64;
    let sum = fold(halves(a) + halves(b) + halves(c) + halves(d) + rest);
    fold16(sum).to_be() as u32
}

/// Whether `length` bytes and what was summed before them come to all ones.
#[inline(always)]
fn is_right<F: Frame + ?Sized>(
    frame: &F,
    offset: u32,
    length: u32,
    first: u32,
    forget: &impl Fn(u32) -> u32,
) -> bool {
    sum_of(frame, offset, length, first, forget).is_none_or(|sum| fold16(sum) == 0xffff)
}

/// The sum of `length` bytes, at least two and at most [`LENGTH_MAX`], added to `first`, in memory order;
/// nothing where the frame does not hold them at once.
#[inline(always)]
pub fn sum_of<F: Frame + ?Sized>(
    frame: &F,
    offset: u32,
    length: u32,
    first: u32,
    forget: &impl Fn(u32) -> u32,
) -> Option<u32> {
    let end = offset + length;
    let mut at = offset;
    let mut sum = first;
    let mut i = 0;
    while i < LENGTH_MAX / 256 {
        if at + 256 > end {
            break;
        }
        sum = forget(frame.sum::<256>(at, sum)?);
        at = forget(at + 256);
        i += 1;
    }
    i = 0;
    while i < 8 {
        if at + 32 > end {
            break;
        }
        sum = forget(frame.sum::<32>(at, sum)?);
        at = forget(at + 32);
        i += 1;
    }
    i = 0;
    while i < 8 {
        if at + 4 > end {
            break;
        }
        sum = forget(frame.sum::<4>(at, sum)?);
        at = forget(at + 4);
        i += 1;
    }
    // Up to three bytes are left. What is read stands in front of them too, since a header is two
    // bytes at least, and there is one: the packet is longer than two.
    match end - at {
        0 => Some(sum),
        1 => {
            let last = frame.header::<2>(at - 1)?.byte::<1>();
            Some(sum + u16::from_ne_bytes([last, 0]) as u32)
        }
        2 => Some(sum + frame.header::<2>(at)?.be16::<0>().to_be() as u32),
        _ => {
            let pair = frame.header::<2>(at)?.be16::<0>().to_be();
            let last = frame.header::<2>(at + 1)?.byte::<1>();
            Some(fold16(sum + pair as u32) as u32 + u16::from_ne_bytes([last, 0]) as u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 3, as it stands there.
    #[test]
    fn sums_as_the_document_does() {
        let bytes: &[u8] = &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let sum = sum_of(bytes, 0, 8, 0, &|word| word).unwrap();
        assert_eq!(fold16(sum), 0xddf2_u16.to_be());
    }

    #[test]
    fn every_length_is_summed_to_its_last_byte() {
        let bytes: Vec<u8> = (0..600_u32).map(|i| (i * 37 + 11) as u8).collect();
        for length in 2..bytes.len() as u32 - 2 {
            let mut padded = bytes[2..2 + length as usize].to_vec();
            padded.resize(padded.len().next_multiple_of(2), 0);
            let pairs = padded.chunks(2).map(|pair| u64::from(u16::from_ne_bytes([pair[0], pair[1]])));
            let sum = sum_of(&bytes[..], 2, length, 0, &|word| word).unwrap();
            assert_eq!(fold16(sum), fold16(fold(pairs.sum())), "{length} bytes");
        }
    }
}
