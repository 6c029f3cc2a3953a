//! Tracked connections: how they are found, and what becomes of them. Pure; the tables are in
//! [`crate::abi`].

use crate::abi::{TARGET_KNOWN, TargetState, Tracked};
use crate::hash::{finish, fold};
use crate::packet::{Address, Packet, flags, protocol};

/// Times of connections count steps of `1 << UNIT_SHIFT` ns, some 1.07 s.
pub const UNIT_SHIFT: u32 = 30;
/// Bits of [`Tag`] that tell a time.
const TIME_MASK: u32 = 0xff_ffff;
/// Longest time-out, in units: half of what tells before from after.
pub const TIMEOUT_MAX: u16 = u16::MAX;

/// The time in units.
#[inline(always)]
#[must_use]
pub const fn units(now_ns: u64) -> u32 {
    (now_ns >> UNIT_SHIFT) as u32 & TIME_MASK
}

/// The hash of a connection as one side's packets show it: source, destination, ports, protocol. Seeded,
/// since senders choose what goes in.
#[inline(always)]
#[must_use]
pub const fn hash(
    seed: u64,
    source: Address,
    destination: Address,
    source_port: u16,
    port: u16,
    protocol: u8,
) -> u64 {
    let words = (protocol as u64) << 32 | (source_port as u64) << 16 | port as u64;
    let state = fold(fold(fold(seed, words), source[0]), source[1]);
    finish(fold(fold(state, destination[0]), destination[1]))
}

/// The ports by which a connection is known: source and destination port. ICMP echo has its identifier
/// (RFC 792, RFC 4443 4.1) as the port of whoever asks; what has neither is known by addresses and protocol.
#[inline(always)]
#[must_use]
pub const fn ports(packet: &Packet) -> (u16, u16) {
    if packet.flags & flags::HAS_ICMP == 0 {
        return (packet.source_port, packet.port);
    }
    let identifier = packet.sequence as u16;
    match (packet.family, packet.port >> 8) {
        (4, ECHO) | (6, ECHO_V6) => (identifier, 0),
        (4, ECHO_REPLY) | (6, ECHO_REPLY_V6) => (0, identifier),
        _ => (0, 0),
    }
}

/// Whether the ports of a protocol's packets can be exchanged. SCTP's cannot: its CRC covers them (RFC 9260 6.8).
#[inline(always)]
#[must_use]
pub const fn exchanges_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP)
}

/// Whether a packet that is no later fragment is an ICMP echo or its reply, with an identifier. A message that
/// ends before it has none.
#[inline(always)]
#[must_use]
pub const fn has_identifier(packet: &Packet) -> bool {
    let echo =
        matches!((packet.family, packet.port >> 8), (4, ECHO | ECHO_REPLY) | (6, ECHO_V6 | ECHO_REPLY_V6));
    packet.flags & flags::HAS_ICMP != 0 && echo && packet.end.wrapping_sub(packet.l4_offset as u32) >= 8
}

/// Whether a client's packet can come from another port than its own: what stands for the port in the answers
/// can be exchanged.
#[inline(always)]
#[must_use]
pub const fn takes_another_port(packet: &Packet) -> bool {
    if packet.flags & flags::HAS_ICMP == 0 {
        return exchanges_ports(packet.protocol);
    }
    let follows = packet.flags & flags::LATER_FRAGMENT != 0;
    matches!((packet.family, packet.port >> 8), (4, ECHO) | (6, ECHO_V6))
        && (follows || has_identifier(packet))
}

/// ICMP types of echo and its reply.
const ECHO: u16 = 8;
const ECHO_REPLY: u16 = 0;
const ECHO_V6: u16 = 128;
const ECHO_REPLY_V6: u16 = 129;

/// The two sets that a hash may lie in.
#[inline(always)]
#[must_use]
pub const fn sets(hash: u64, mask: u32) -> [u32; 2] {
    [hash as u32 & mask, (hash >> 24) as u32 & mask]
}

impl Tracked {
    /// The hash by which packets of the client find it.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self, seed: u64) -> u64 {
        hash(seed, self.client, self.service, self.client_port, self.service_port, self.protocol)
    }
    /// The hash by which packets of the target find it.
    #[inline(always)]
    #[must_use]
    pub const fn return_hash(&self, seed: u64) -> u64 {
        hash(!seed, self.target, self.source, self.target_port, self.source_port, self.protocol)
    }
}

/// How far a connection is.
pub mod phase {
    /// No connection.
    pub const FREE: u8 = 0;
    /// A place that is being taken, and nobody's yet.
    pub const CLAIMED: u8 = 1;
    /// Only the client was heard.
    pub const HALF_OPEN: u8 = 2;
    /// The target answered; of TCP the client has not yet confirmed.
    pub const ANSWERED: u8 = 3;
    /// Both were heard (RFC 9293 3.3.2, ESTABLISHED).
    pub const OPEN: u8 = 4;
    /// Ended by both, or reset.
    pub const CLOSING: u8 = 5;
}

/// In [`Tag::state`]: the phase.
const PHASE: u8 = 7;
/// In [`Tag::state`]: the client has ended its half.
pub const CLIENT_ENDED: u8 = 8;
/// In [`Tag::state`]: the target has ended its half.
pub const TARGET_ENDED: u8 = 16;
/// In [`Tag::state`] of a connection that is over by its time, or its target's: user space has taken it off
/// [`TargetHealth::open`](crate::abi::TargetHealth::open), and the kernel does not do so again.
pub const COUNTED_OUT: u8 = 64;
/// In [`Tag::state`], beside [`phase::CLOSING`]: it was open when it was reset.
const WAS_OPEN: u8 = 32;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A connection's tag: `hash's upper half << 32 | deadline << 8 | state`. The deadline is a time in units,
/// from which on the connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u64);

impl Tag {
    /// A place that is being taken.
    pub const CLAIMED: Tag = Tag(phase::CLAIMED as u64);

    /// Of these parts.
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, state: u8, deadline: u32) -> Tag {
        Tag(hash >> 32 << 32 | ((deadline & TIME_MASK) as u64) << 8 | state as u64)
    }
    /// Phase and ended halves.
    #[inline(always)]
    #[must_use]
    pub const fn state(self) -> u8 {
        self.0 as u8
    }
    /// See [`phase`].
    #[inline(always)]
    #[must_use]
    pub const fn phase(self) -> u8 {
        self.0 as u8 & PHASE
    }
    /// The time from which on it is over.
    #[inline(always)]
    #[must_use]
    pub const fn deadline(self) -> u32 {
        (self.0 >> 8) as u32 & TIME_MASK
    }
    /// Whether it is a connection, and not over at `now`.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(self, now: u32) -> bool {
        self.phase() >= phase::HALF_OPEN && self.left(now) != 0
    }
    /// Units until it is over, 0 where it is.
    #[inline(always)]
    #[must_use]
    pub const fn left(self, now: u32) -> u32 {
        let left = self.deadline().wrapping_sub(now) & TIME_MASK;
        if left > TIMEOUT_MAX as u32 + 1 { 0 } else { left }
    }
    /// Whether another connection may take its place: free or over. A place that is being taken is not.
    #[inline(always)]
    #[must_use]
    pub const fn is_free(self, now: u32) -> bool {
        self.0 == 0 || self.phase() >= phase::HALF_OPEN && self.left(now) == 0
    }
    /// Whether packets with this hash may be its.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, hash: u64) -> bool {
        (self.0 ^ hash) >> 32 == 0
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the target.
    Forward = 0,
    /// From the target to the client.
    Return = 1,
}

/// The state after a packet of this protocol with these TCP flags.
///
/// TCP by the flags alone, since windows are not followed: a reset ends a connection only where silence
/// follows it, so that a forged one does not.
#[inline(always)]
#[must_use]
pub const fn next_state(state: u8, direction: Direction, protocol: u8, tcp_flags: u8) -> u8 {
    let ended = state & (CLIENT_ENDED | TARGET_ENDED);
    let mut phase = state & PHASE;
    let is_return = matches!(direction, Direction::Return);
    if protocol != protocol::TCP {
        return if is_return || phase == phase::OPEN { phase::OPEN } else { phase::HALF_OPEN };
    }
    if tcp_flags & RST != 0 {
        let was_open = if phase == phase::OPEN { WAS_OPEN } else { state & WAS_OPEN };
        return ended | was_open | phase::CLOSING;
    }
    let ended = if tcp_flags & FIN == 0 {
        ended
    } else if is_return {
        ended | TARGET_ENDED
    } else {
        ended | CLIENT_ENDED
    };
    if ended == CLIENT_ENDED | TARGET_ENDED {
        return ended | phase::CLOSING;
    }
    if phase == phase::CLOSING {
        // One that never was open is not opened by a reset of its client's own.
        phase = if state & WAS_OPEN != 0 { phase::OPEN } else { phase::HALF_OPEN };
    }
    if is_return && phase == phase::HALF_OPEN {
        phase = phase::ANSWERED;
    } else if !is_return && phase == phase::ANSWERED && tcp_flags & (SYN | ACK) == ACK {
        phase = phase::OPEN;
    }
    ended | phase
}

/// Whether a client's packet begins a connection anew at a place where one is closing.
#[inline(always)]
#[must_use]
pub const fn begins_anew(state: u8, protocol: u8, tcp_flags: u8) -> bool {
    protocol == protocol::TCP && state & PHASE == phase::CLOSING && tcp_flags & (SYN | ACK | RST) == SYN
}

/// Units from one time to a later one.
#[inline(always)]
#[must_use]
pub const fn units_between(then: u32, now: u32) -> u32 {
    now.wrapping_sub(then) & TIME_MASK
}

impl TargetState {
    /// Whether connections to this address and port of the target go on: it is in the policy, where it was,
    /// and has not ended at `now_ns` (`CLOCK_MONOTONIC`).
    #[inline(always)]
    #[must_use]
    pub const fn honours(&self, address: Address, port: u16, protocol: u8, now_ns: u64) -> bool {
        self.flags & TARGET_KNOWN != 0
            && self.address[0] == address[0]
            && self.address[1] == address[1]
            && (self.port == 0 || !exchanges_ports(protocol) || self.port == port as u32)
            && (self.ends_at_ns == 0 || now_ns < self.ends_at_ns)
    }
}

impl Tracked {
    /// When a connection in this state is over, if nothing more is heard of it after `now`.
    #[inline(always)]
    #[must_use]
    pub const fn deadline(&self, state: u8, now: u32) -> u32 {
        let phase = state & PHASE;
        let units = if phase == phase::OPEN {
            self.idle
        } else if phase == phase::CLOSING {
            self.closing
        } else {
            self.half_open
        };
        now.wrapping_add(units as u32).wrapping_add(1) & TIME_MASK
    }
}

#[cfg(test)]
mod tests;
