//! The longest segment that a SYN asks for (RFC 9293 3.7.1), and what it is held to.

use crate::image::MSS_OF_WAY;
use crate::packet::{Packet, flags, protocol};
use crate::parse::{Frame, Header};

const SYN: u8 = 2;
/// Length of a TCP header without options, bytes.
const HEADER: u32 = 20;
/// Option kinds.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
/// Length of the MSS option, bytes.
const MSS_LENGTH: u8 = 4;
/// Most options of a header: one a byte.
const OPTIONS: u32 = 40;

/// Whether a packet may ask for a longest segment.
#[inline(always)]
#[must_use]
pub const fn may_ask(packet: &Packet) -> bool {
    packet.protocol == protocol::TCP
        && packet.tcp_flags & SYN != 0
        && packet.flags & (flags::HAS_PORTS | flags::LATER_FRAGMENT) == flags::HAS_PORTS
}

/// What segments of a pool are held to, whose packets have `outer` bytes put before them on a way that takes
/// `mtu` bytes, 0 where that is not known; 0 where they are held to nothing. `asked` is as
/// [`PoolEntry::mss`](crate::image::PoolEntry::mss).
#[inline(always)]
#[must_use]
pub const fn most(asked: u32, mtu: u32, outer: u32, family: u8) -> u32 {
    if asked != MSS_OF_WAY as u32 {
        return asked & 0xffff;
    }
    let headers = if family == 6 { 40 } else { 20 } + HEADER;
    let most = mtu.saturating_sub(outer).saturating_sub(headers);
    if most > 0xffff { 0xffff } else { most }
}

/// Where the MSS option's value stands in the frame, if a SYN has one. Its options end where the first that
/// is cut short, or shorter than itself, does. `forget` is as in [`crate::image::Arena::forget`].
#[inline(always)]
pub fn find<F: Frame + ?Sized>(frame: &F, packet: &Packet, forget: impl Fn(u32) -> u32) -> Option<u32> {
    let l4 = packet.l4_offset as u32;
    let words = frame.header::<14>(l4)?.be16::<12>() >> 12;
    let end = forget(l4 + words as u32 * 4);
    let mut at = forget(l4 + HEADER);
    let mut i = 0;
    while i < OPTIONS {
        // A single last byte is no MSS.
        if at + 2 > end {
            break;
        }
        let option = frame.header::<2>(at)?;
        let (kind, length) = (option.byte::<0>(), option.byte::<1>());
        if kind == END {
            break;
        }
        if kind == MSS {
            return if length == MSS_LENGTH && at + MSS_LENGTH as u32 <= end { Some(at + 2) } else { None };
        }
        if kind != NO_OPERATION && length < 2 {
            break;
        }
        at = forget(at + if kind == NO_OPERATION { 1 } else { length as u32 });
        i += 1;
    }
    None
}

/// A 16-bit value as it counts in a checksum that begins at `start`, where it stands at `at`.
#[inline(always)]
#[must_use]
pub const fn summand(value: u16, at: u32, start: u32) -> u16 {
    if at.wrapping_sub(start) & 1 == 0 { value } else { value.swap_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// TCP at offset 34, with these options.
    fn frame(options: &[u8]) -> (Vec<u8>, Packet) {
        let mut bytes = vec![0; 54];
        let mut padded = options.to_vec();
        padded.resize(options.len().next_multiple_of(4), 0);
        bytes[34 + 12] = (5 + padded.len() as u8 / 4) << 4;
        bytes.extend(padded);
        let packet = Packet { l4_offset: 34, end: bytes.len() as u32, ..Packet::default() };
        (bytes, packet)
    }

    fn found(options: &[u8]) -> Option<u32> {
        let (bytes, packet) = frame(options);
        find(&bytes[..], &packet, |word| word)
    }

    #[test]
    fn the_option_is_found_wherever_it_stands() {
        assert_eq!(found(&[2, 4, 5, 180]), Some(56));
        assert_eq!(found(&[1, 2, 4, 5, 180]), Some(57));
        assert_eq!(found(&[3, 3, 7, 4, 2, 2, 4, 5, 180]), Some(61));
        assert_eq!(found(&[[1; 36].as_slice(), &[2, 4, 5, 180]].concat()), Some(92));
        for none in [
            &[][..],
            &[1; 40],
            &[0, 2, 4, 5, 180],
            &[2, 3, 5],
            &[2, 5, 1, 2, 3],
            &[8, 0, 2, 4, 5, 180],
            &[8, 1, 2, 4],
        ] {
            assert_eq!(found(none), None, "{none:?}");
        }
        // It reaches beyond the header that the data offset tells.
        let (mut bytes, packet) = frame(&[1, 1, 2, 4]);
        bytes.extend([5, 180]);
        assert_eq!(find(&bytes[..], &packet, |word| word), None);
    }

    #[test]
    fn a_way_leaves_what_headers_do_not_take() {
        assert_eq!(most(1_000, 1_500, 20, 4), 1_000);
        assert_eq!(most(0, 1_500, 20, 4), 0);
        let way = MSS_OF_WAY as u32;
        assert_eq!(most(way, 1_500, 0, 4), 1_460);
        assert_eq!(most(way, 1_500, 20, 4), 1_440);
        assert_eq!(most(way, 1_500, 48, 6), 1_392);
        assert_eq!([most(way, 0, 20, 4), most(way, 70, 20, 6)], [0, 0]);
        assert_eq!(most(way, 1 << 20, 0, 4), 0xffff);
    }

    proptest! {
        /// Whatever the options are, what is found is within them.
        #[test]
        fn any_options(options in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (bytes, packet) = frame(&options);
            if let Some(at) = find(&bytes[..], &packet, |word| word) {
                prop_assert!(at as usize + 2 <= bytes.len());
                prop_assert_eq!(&bytes[at as usize - 2..at as usize], &[2, 4]);
            }
        }
    }
}
