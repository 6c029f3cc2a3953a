//! One flow's key and account.

use gateway_common::abi::MemoLine;
use gateway_common::packet::{Address, FlowKey};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What tells one flow from another, with whole addresses (a memo line's key holds a hash of IPv6's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// First word of [`FlowKey`].
    pub words: u64,
    /// IPv4: `source << 32 | destination` and zeros. IPv6: source and destination, high words first.
    pub addresses: [u64; 4],
}

impl Key {
    /// The key of a memo line.
    #[must_use]
    pub fn of(line: &MemoLine) -> Key {
        let key = FlowKey { words: line.key, addresses: line.key_addresses };
        if key.family() == 6 {
            Key { words: line.key, addresses: line.addresses }
        } else {
            Key { words: line.key, addresses: [line.key_addresses, 0, 0, 0] }
        }
    }

    /// The parts of the first word.
    #[must_use]
    pub fn parts(&self) -> FlowKey {
        FlowKey { words: self.words, addresses: self.addresses[0] }
    }

    /// Source and destination.
    #[must_use]
    pub fn addresses(&self) -> (IpAddr, IpAddr) {
        if self.parts().family() == 6 {
            let [a, b, c, d] = self.addresses;
            (IpAddr::V6(ipv6(a, b)), IpAddr::V6(ipv6(c, d)))
        } else {
            let both = self.addresses[0];
            let (source, destination) = ((both >> 32) as u32, both as u32);
            (IpAddr::V4(Ipv4Addr::from(source)), IpAddr::V4(Ipv4Addr::from(destination)))
        }
    }
}

/// The address of two words, high word first.
fn ipv6(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(high) << 64 | u128::from(low))
}

/// An address as events carry it: IPv4 in the top 32 bits of the first word.
#[must_use]
pub fn event_address(family: u8, address: Address) -> Option<IpAddr> {
    match family {
        4 => Some(IpAddr::V4(Ipv4Addr::from((address[0] >> 32) as u32))),
        6 => Some(IpAddr::V6(ipv6(address[0], address[1]))),
        _ => None,
    }
}

/// What is known of a flow. Times are `CLOCK_MONOTONIC` milliseconds, exact to a jiffy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// First packet.
    pub first_ms: u64,
    /// Last packet.
    pub last_ms: u64,
    /// Counter slot of the route that decided the last packet.
    pub counter: u32,
    /// The generation that decided it.
    pub generation: u32,
    /// skb mark given to it, 0 if none.
    pub mark: u32,
    /// skb priority given to it, 0 if none.
    pub priority: u32,
    /// What it met with: [`gateway_common::abi::Verdict`].
    pub verdict: u8,
    /// [`gateway_common::reason::Reason`] of a drop, else 0.
    pub reason: u8,
    /// TCP flags of all packets.
    pub tcp_flags: u8,
    /// Interface slot of a redirect.
    pub egress_slot: u8,
}

impl Account {
    /// The account of a memo line, whose time stamps stand for these times.
    #[must_use]
    pub fn of(line: &MemoLine, first_ms: u64, last_ms: u64) -> Account {
        Account {
            packets: line.packets,
            bytes: line.bytes,
            first_ms,
            last_ms,
            counter: line.counter,
            generation: line.generation,
            mark: line.mark,
            priority: line.priority,
            verdict: line.verdict,
            reason: line.reason,
            tcp_flags: line.tcp_flags,
            egress_slot: line.egress_slot,
        }
    }

    /// Adds another account of the same flow: sums add up, and the later of the two says what was
    /// decided.
    pub fn merge(&mut self, other: &Account) {
        let (packets, bytes) = (self.packets + other.packets, self.bytes + other.bytes);
        let first_ms = self.first_ms.min(other.first_ms);
        let tcp_flags = self.tcp_flags | other.tcp_flags;
        if (other.last_ms, other.generation) >= (self.last_ms, self.generation) {
            *self = *other;
        }
        (self.packets, self.bytes) = (packets, bytes);
        self.first_ms = first_ms;
        self.tcp_flags = tcp_flags;
    }
}
