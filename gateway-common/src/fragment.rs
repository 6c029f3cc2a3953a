//! How later fragments find what only the first one of their packet has: ports, or ICMP's type and code.
//! Pure; the table is [`crate::abi::maps::FRAGMENTS`].
//!
//! Any CPU writes any entry, and no lock is taken: the key stands there combined with the entry's other
//! word, so that of two entries written at once nothing is left that anybody would take for his own (Hyatt
//! and Mann, "A lock-less transposition table implementation for parallel search", 2002).

use crate::abi::{FRAGMENT_FOR_NS, FRAGMENT_SETS, FRAGMENT_WAYS, FragmentEntry, FragmentSet};
use crate::hash::{finish, fold};
use crate::packet::{Packet, flags, protocol};

/// Times of fragments count steps of `1 << UNIT_SHIFT` ns, some 1.05 ms.
pub const UNIT_SHIFT: u32 = 20;
/// How long later fragments may follow, in units.
pub const FOR_UNITS: u32 = (FRAGMENT_FOR_NS >> UNIT_SHIFT) as u32;

/// How far a reader may be behind a writer, in units: a second, as for limits.
const BEHIND: u32 = 1 << (30 - UNIT_SHIFT);

/// Bits of [`Packet::flags`]: a fragment, the first or a later one.
pub const ANY: u8 = flags::FIRST_FRAGMENT | flags::LATER_FRAGMENT;
/// What a first fragment says is known.
const TOLD: u8 = flags::HAS_PORTS | flags::HAS_ICMP;

/// The time in units.
#[inline(always)]
#[must_use]
pub const fn units(now_ns: u64) -> u32 {
    (now_ns >> UNIT_SHIFT) as u32
}

/// What all fragments of a packet have in common (RFC 791 3.2, RFC 8200 4.5), hashed. Seeded, since senders
/// choose what goes in.
#[inline(always)]
#[must_use]
pub const fn key(seed: u64, packet: &Packet) -> u64 {
    let words = (packet.identification as u64) << 16 | (packet.protocol as u64) << 8 | packet.family as u64;
    let state = fold(fold(fold(seed, words), packet.source[0]), packet.source[1]);
    finish(fold(fold(state, packet.destination[0]), packet.destination[1]))
}

/// The set where a key lies.
#[inline(always)]
#[must_use]
pub const fn set(key: u64) -> u32 {
    const { assert!(FRAGMENT_SETS.is_power_of_two()) };
    key as u32 & (FRAGMENT_SETS as u32 - 1)
}

/// Whether a first fragment says what later ones need.
#[inline(always)]
#[must_use]
pub const fn leads(packet: &Packet) -> bool {
    packet.flags & flags::FIRST_FRAGMENT != 0 && packet.flags & TOLD != 0
}

/// Whether a later fragment lacks what its first one said. Protocols of which that says nothing lack nothing.
#[inline(always)]
#[must_use]
pub const fn lacks(packet: &Packet) -> bool {
    packet.flags & (flags::LATER_FRAGMENT | TOLD) == flags::LATER_FRAGMENT
        && told_by(packet.family, packet.protocol) != 0
}

/// Takes over what the first fragment said: its entry's ports.
#[inline(always)]
pub const fn follow(packet: &mut Packet, ports: u32) {
    packet.port = ports as u16;
    packet.flags |= told_by(packet.family, packet.protocol);
    if packet.flags & flags::HAS_ICMP != 0 {
        packet.sequence = ports >> 16;
    } else {
        packet.source_port = (ports >> 16) as u16;
    }
}

/// What first fragments of a protocol say, one of [`flags`]; 0 for nothing.
#[inline(always)]
const fn told_by(family: u8, protocol: u8) -> u8 {
    match (family, protocol) {
        (_, protocol::TCP | protocol::UDP | protocol::SCTP) => flags::HAS_PORTS,
        (4, protocol::ICMP) | (6, protocol::ICMPV6) => flags::HAS_ICMP,
        _ => 0,
    }
}

impl FragmentEntry {
    /// Of a first fragment, seen now.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: u64, packet: &Packet, now: u32) -> FragmentEntry {
        let source =
            if packet.flags & flags::HAS_ICMP != 0 { packet.sequence } else { packet.source_port as u32 };
        let ports = source << 16 | packet.port as u32;
        let until = now.wrapping_add(FOR_UNITS);
        FragmentEntry { key: key ^ FragmentEntry::word(ports, until), ports, until }
    }

    #[inline(always)]
    const fn word(ports: u32, until: u32) -> u64 {
        (until as u64) << 32 | ports as u64
    }

    /// Whether it is of the packet with this key.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, key: u64) -> bool {
        self.key ^ FragmentEntry::word(self.ports, self.until) == key
    }

    /// Units until it ends, 0 if it has, or is of a time long ago. Whoever wrote it may have looked at the clock
    /// later than the reader.
    #[inline(always)]
    #[must_use]
    pub const fn left(&self, now: u32) -> u32 {
        let left = self.until.wrapping_sub(now);
        if left > FOR_UNITS + BEHIND { 0 } else { left }
    }
}

/// The way of a set that an entry with this key takes: its own, else the one that ends first, an ended one
/// before all.
#[inline(always)]
#[must_use]
pub fn place(set: &FragmentSet, key: u64, now: u32) -> usize {
    const { assert!(FRAGMENT_WAYS == 4) };
    // Written out, see [`crate::image::Arena::forget`].
    if set[0].is(key) {
        return 0;
    }
    if set[1].is(key) {
        return 1;
    }
    if set[2].is(key) {
        return 2;
    }
    if set[3].is(key) {
        return 3;
    }
    let [a, b, c, d] = [set[0].left(now), set[1].left(now), set[2].left(now), set[3].left(now)];
    let (first, first_left) = if b < a { (1, b) } else { (0, a) };
    let (second, second_left) = if d < c { (3, d) } else { (2, c) };
    if second_left < first_left { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ipv4_address;

    fn first(identification: u32) -> Packet {
        Packet {
            source: ipv4_address(0xc000_0201),
            destination: ipv4_address(0xc633_6401),
            source_port: 4_242,
            port: 53,
            family: 4,
            protocol: protocol::UDP,
            flags: flags::HAS_PORTS | flags::FIRST_FRAGMENT,
            identification,
            ..Packet::default()
        }
    }

    fn later(identification: u32) -> Packet {
        Packet { flags: flags::LATER_FRAGMENT, source_port: 0, port: 0, ..first(identification) }
    }

    #[test]
    fn a_later_fragment_takes_over_what_the_first_one_said() {
        assert_eq!(key(7, &first(1)), key(7, &later(1)));
        for other in [
            later(2),
            Packet { protocol: protocol::TCP, ..later(1) },
            Packet { family: 6, ..later(1) },
            Packet { source: later(1).destination, destination: later(1).source, ..later(1) },
        ] {
            assert_ne!(key(7, &first(1)), key(7, &other), "{other:?}");
        }
        assert!(leads(&first(1)) && lacks(&later(1)) && !lacks(&first(1)));
        let entry = FragmentEntry::new(key(7, &first(1)), &first(1), 9);
        let mut followed = later(1);
        follow(&mut followed, entry.ports);
        assert_eq!((followed.source_port, followed.port), (4_242, 53));
        assert!(!lacks(&followed));
        assert_eq!(followed.flags, flags::LATER_FRAGMENT | flags::HAS_PORTS);
        let echo =
            Packet { protocol: protocol::ICMP, flags: flags::HAS_ICMP, port: 0x800, sequence: 9, ..first(1) };
        let mut followed = Packet { protocol: protocol::ICMP, ..later(1) };
        follow(&mut followed, FragmentEntry::new(1, &Packet { source_port: 0, ..echo }, 9).ports);
        assert_eq!((followed.port, followed.sequence, followed.source_port), (0x800, 9, 0));
        let tunnelled = Packet { protocol: protocol::IPV4, ..later(1) };
        assert!(!lacks(&tunnelled), "nothing to be known of it");
    }

    #[test]
    fn an_entry_is_one_packets_and_ends() {
        for now in [0, 5, u32::MAX - 3] {
            let entry = FragmentEntry::new(77, &first(1), now);
            assert!(entry.is(77) && !entry.is(78));
            // Half of it written by somebody else.
            assert!(!FragmentEntry { ports: entry.ports ^ 1, ..entry }.is(77));
            assert_eq!(entry.left(now), FOR_UNITS);
            assert_eq!(entry.left(now.wrapping_add(FOR_UNITS - 1)), 1);
            for after in [FOR_UNITS, FOR_UNITS + 1, 1 << 31] {
                assert_eq!(entry.left(now.wrapping_add(after)), 0, "{now} {after}");
            }
        }
    }

    #[test]
    fn whoever_ends_first_gives_way() {
        let now = 100_000;
        let mut entries = FragmentSet::default();
        for (round, key) in (1..=4_u64).enumerate() {
            let way = place(&entries, key, now);
            entries[way] = FragmentEntry::new(key, &first(1), now + round as u32);
        }
        assert!((1..=4).all(|key| entries.iter().any(|entry| entry.is(key))), "each has a place");
        let third = entries.iter().position(|entry| entry.is(3)).unwrap();
        assert_eq!(place(&entries, 3, now), third);
        let oldest = entries.iter().position(|entry| entry.is(1)).unwrap();
        assert_eq!(place(&entries, 9, now + 9), oldest);
    }
}
