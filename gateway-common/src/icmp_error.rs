//! When a packet that cannot go on is answered with an ICMP error, and what that says: the half of it that
//! is a pure function.
//!
//! Followed are RFC 1122 3.2.2, RFC 1812 4.3.2, RFC 1191 4 for IPv4, RFC 4443 2.4 and RFC 8201 for IPv6.
//! Of the two exceptions that RFC 4443 2.4 (e.3) allows none is made: no packet to a multicast group is
//! answered, since whoever sends to one cannot know how many answers it would get.

use crate::limit::{horizon, time};
use crate::packet::{Packet, flags, protocol};

/// Bytes of an IPv4 packet that are quoted at most: a host takes 576 in all (RFC 1812 4.3.2.3), of which
/// 28 are the error's headers.
pub const QUOTED_V4: u32 = 576 - 28;
/// Bytes of an IPv6 packet: what every link takes (RFC 4443 2.4 (c)), less the error's headers.
pub const QUOTED_V6: u32 = MTU_MIN_V6 - 48;
/// What every link of IPv4 takes, bytes (RFC 791 3.2).
pub const MTU_MIN_V4: u32 = 68;
/// What every link of IPv6 takes, bytes (RFC 8200 5).
pub const MTU_MIN_V6: u32 = 1_280;

/// What one error costs of its CPU's bucket: 1,000 a second. As many as Linux sends in all
/// (`icmp_msgs_per_sec`), since a traceroute or the discovery of a path takes a handful.
pub const COST: u64 = time(1_000_000);
/// And 100 at once: many senders discover a narrower way at one time, when it becomes narrower.
pub const DEPTH: u64 = 100 * COST;
/// How far the bucket can be ahead, see [`horizon`].
pub const HORIZON: u64 = horizon(DEPTH, 0, COST, 0);

/// Highest ICMP type that is known not to be a new kind of error (net/ipv4/icmp.c, `NR_ICMP_TYPES`).
const ICMP_KNOWN: u8 = 18;

/// Whether an error about this packet may be sent, as far as the packet says. The destination's link-layer
/// address has a say too.
#[inline(always)]
#[must_use]
pub const fn may_be_about(packet: &Packet) -> bool {
    if packet.flags & flags::LATER_FRAGMENT != 0 || is_error(packet) {
        return false;
    }
    if packet.family == 6 {
        let source = packet.source;
        let unspecified_or_loopback = source[0] == 0 && source[1] <= 1;
        return !unspecified_or_loopback && source[0] >> 56 != 0xff && packet.destination[0] >> 56 != 0xff;
    }
    // Multicast, and above it what is reserved and the broadcast address.
    let (from, to) = ((packet.source[0] >> 56) as u8, (packet.destination[0] >> 56) as u8);
    from != 0 && from != 127 && from < 224 && to < 224
}

/// Whether a packet is an ICMP error, or may be one for all that is known of its type.
#[inline(always)]
#[must_use]
pub const fn is_error(packet: &Packet) -> bool {
    if packet.flags & flags::HAS_ICMP == 0 {
        return false;
    }
    let kind = (packet.port >> 8) as u8;
    if packet.protocol == protocol::ICMPV6 {
        // 137 is a redirect (RFC 4443 2.4 (e.2)).
        return kind < 128 || kind == 137;
    }
    matches!(kind, 3 | 4 | 5 | 11 | 12) || kind > ICMP_KNOWN
}

/// The MTU that a sender is told, of a way that takes packets of `mtu` bytes: not less than what every link
/// takes.
#[inline(always)]
#[must_use]
pub const fn told_mtu(family: u8, mtu: u32) -> u32 {
    let least = if family == 6 { MTU_MIN_V6 } else { MTU_MIN_V4 };
    if mtu < least { least } else { mtu }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::address_of;

    fn packet(source: &str, destination: &str) -> Packet {
        Packet {
            source: address_of(source.parse().unwrap()),
            destination: address_of(destination.parse().unwrap()),
            family: if source.contains(':') { 6 } else { 4 },
            flags: flags::HAS_PORTS,
            protocol: protocol::UDP,
            ..Packet::default()
        }
    }

    #[test]
    fn nobody_is_answered_who_is_not_one_host() {
        let cases = [
            ("198.51.100.7", "203.0.113.1", true),
            ("223.255.255.255", "203.0.113.1", true),
            ("0.0.0.0", "203.0.113.1", false),
            ("0.1.2.3", "203.0.113.1", false),
            ("127.0.0.1", "203.0.113.1", false),
            ("224.0.0.1", "203.0.113.1", false),
            ("255.255.255.255", "203.0.113.1", false),
            ("198.51.100.7", "224.0.0.1", false),
            ("198.51.100.7", "255.255.255.255", false),
            ("2001:db8::7", "2001:db8:1::1", true),
            ("::", "2001:db8:1::1", false),
            ("::1", "2001:db8:1::1", false),
            ("::2", "2001:db8:1::1", true),
            ("ff02::1", "2001:db8:1::1", false),
            ("2001:db8::7", "ff0e::1", false),
        ];
        for (source, destination, answered) in cases {
            assert_eq!(may_be_about(&packet(source, destination)), answered, "{source} to {destination}");
        }
    }

    #[test]
    fn no_error_is_about_an_error_or_a_later_fragment() {
        let icmp = |kind: u8, six: bool| {
            let of =
                if six { packet("2001:db8::7", "2001:db8::8") } else { packet("192.0.2.1", "192.0.2.2") };
            let protocol = if six { protocol::ICMPV6 } else { protocol::ICMP };
            Packet { port: (kind as u16) << 8, protocol, flags: flags::HAS_ICMP, ..of }
        };
        for kind in 0..=255 {
            let error = matches!(kind, 3 | 4 | 5 | 11 | 12 | 19..);
            assert_eq!(may_be_about(&icmp(kind, false)), !error, "ICMP {kind}");
            assert_eq!(may_be_about(&icmp(kind, true)), kind >= 128 && kind != 137, "ICMPv6 {kind}");
        }
        let later = Packet { flags: flags::LATER_FRAGMENT, ..packet("192.0.2.1", "192.0.2.2") };
        assert!(!may_be_about(&later));
    }

    #[test]
    fn nobody_is_told_less_than_every_link_takes() {
        assert_eq!([told_mtu(4, 40), told_mtu(4, 68), told_mtu(4, 1_480)], [68, 68, 1_480]);
        assert_eq!([told_mtu(6, 1_240), told_mtu(6, 1_280), told_mtu(6, 1_452)], [1_280, 1_280, 1_452]);
    }
}
