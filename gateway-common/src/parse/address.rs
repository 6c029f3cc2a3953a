//! Addresses that no packet on a wire has: judged once the packet is parsed.

use crate::packet::{Packet, flags};
use crate::reason::Reason;

/// Judges a packet's addresses.
///
/// # Errors
/// [`Reason::Land`], [`Reason::Martian`].
#[inline(always)]
pub fn check(packet: &Packet) -> Result<(), Reason> {
    let (source, destination) = (packet.source, packet.destination);
    let same = (source[0] ^ destination[0]) | (source[1] ^ destination[1]);
    if same == 0 && (packet.flags & flags::HAS_PORTS == 0 || packet.source_port == packet.port) {
        return Err(Reason::Land);
    }
    let martian = if packet.family == 6 {
        is_martian_v6(source, destination)
    } else {
        is_martian_v4((source[0] >> 32) as u32, (destination[0] >> 32) as u32)
    };
    if martian { Err(Reason::Martian) } else { Ok(()) }
}

/// RFC 1812 5.3.7, as net/ipv4/route.c `ip_route_input_slow` reads it: "this network" may only ask for
/// an address (0.0.0.0 to the limited broadcast).
#[inline(always)]
const fn is_martian_v4(source: u32, destination: u32) -> bool {
    let (from, to) = (source >> 24, destination >> 24);
    if from == 0 {
        return source != 0 || destination != u32::MAX;
    }
    from == 127 || from >> 4 == 14 || source == u32::MAX || to == 127 || to == 0
}

/// RFC 4291 2.5.2, 2.5.3 and 2.7.
#[inline(always)]
const fn is_martian_v6(source: [u64; 2], destination: [u64; 2]) -> bool {
    source[0] >> 56 == 0xff
        || (source[0] == 0 && source[1] == 1)
        || (destination[0] == 0 && destination[1] <= 1)
}
