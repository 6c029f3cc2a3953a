//! Later fragments of packets for pools go where their first one went: what it said of ports, or of ICMP's
//! type and code, holds for them too, for as long as a host would wait for them (30 s).

use super::Parsed;
use super::bucket::Tie;
use std::collections::BTreeMap;
use std::net::IpAddr;

const PATIENCE_NS: u64 = 30_000_000_000;
/// The clock of fragments ticks in steps of a millisecond.
const TICKS_NS: u64 = 3_000_000;

/// RFC 791 3.2, RFC 8200 4.5.
type Key = (IpAddr, IpAddr, u8, u32);

/// What a first fragment said, and when.
#[derive(Clone, Copy, Debug)]
struct First {
    ports: Option<(u16, u16)>,
    icmp: Option<(u8, u8)>,
    identifier: Option<u16>,
    at_ns: u64,
}

/// First fragments that were sent to pools.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments(BTreeMap<Key, First>);

impl Fragments {
    /// Tells a later fragment what its first one said; whether that hung on when it was forgotten.
    pub(super) fn follow(&self, packet: &mut Parsed, now_ns: u64, tie: Tie) -> bool {
        let Some(first) = self.0.get(&key(packet)).filter(|_| packet.later_fragment) else { return false };
        let age = now_ns - first.at_ns;
        let hung = age.abs_diff(PATIENCE_NS) < TICKS_NS;
        if if hung { tie == Tie::Admit } else { age < PATIENCE_NS } {
            (packet.ports, packet.icmp, packet.identifier) = (first.ports, first.icmp, first.identifier);
        }
        hung
    }

    /// A fragment is sent to a pool: false if it must not be, since nobody knows where its first one went.
    pub(super) fn lead(&mut self, packet: &Parsed, now_ns: u64) -> bool {
        if packet.first_fragment && is_told(packet) {
            let Parsed { ports, icmp, identifier, .. } = *packet;
            let first = First { ports, icmp, identifier, at_ns: now_ns };
            self.0.insert(key(packet), first);
        }
        !is_lost(packet)
    }
}

/// Whether it is a later fragment of which nobody knows what its first one said. Of other protocols no first
/// fragment says anything.
pub(super) fn is_lost(packet: &Parsed) -> bool {
    let says = match packet.source {
        IpAddr::V4(_) => matches!(packet.protocol, 6 | 17 | 132 | 1),
        IpAddr::V6(_) => matches!(packet.protocol, 6 | 17 | 132 | 58),
    };
    packet.later_fragment && says && !is_told(packet)
}

fn is_told(packet: &Parsed) -> bool {
    packet.ports.is_some() || packet.icmp.is_some()
}

fn key(packet: &Parsed) -> Key {
    (packet.source, packet.destination, packet.protocol, packet.identification)
}
