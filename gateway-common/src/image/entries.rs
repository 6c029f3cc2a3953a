//! What a route and a limit are to the kernel.

use super::MAX_ROUTE_LIMITS;
use crate::limit::{Scope, Unit, horizon};
use bytemuck::{Pod, Zeroable};

/// A route as the kernel needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RouteEntry {
    /// Counter slot, the route's for as long as its name lives; below 2^24.
    pub counter: u32,
    /// [`crate::abi::Verdict`].
    pub verdict: u8,
    /// [`crate::reason::Reason`] if the verdict is drop, else 0.
    pub reason: u8,
    /// Interface slot that a redirect goes to.
    pub egress_slot: u8,
    /// `dscp << 2 | 1` to be written into the packet, 0 if none.
    pub dscp: u8,
    /// skb mark, [`crate::abi::UNSET`] if none.
    pub mark: u32,
    /// skb priority, [`crate::abi::UNSET`] if none.
    pub priority: u32,
    /// Limits in order, by their index in the policy's; 0 behind the last.
    pub limits: [u16; MAX_ROUTE_LIMITS],
    /// The limit that says when SYN cookies are asked for, 0 if never.
    pub syn_cookies: u16,
    /// [`ROUTE_EXTRA`], [`ROUTE_PER_LABEL`].
    pub flags: u16,
    /// The pool that it forwards to, by its index from 1; 0 if it forwards to none. The verdict is redirect
    /// then, with slot 0, and [`ROUTE_EXTRA`] is set.
    pub pool: u16,
    /// Port of a socket of this node that the packets are handed to, 0 if none. The verdict is pass then,
    /// and [`ROUTE_EXTRA`] is set.
    pub proxy_port: u16,
}

impl LimitEntry {
    /// With what follows from the rest.
    #[must_use]
    pub const fn completed(self) -> LimitEntry {
        let horizon = horizon(self.depth, self.hold, self.cost, self.shift);
        let is_plain = self.unit == Unit::Packets as u8 || self.unit == Unit::Bytes as u8;
        let plain = if !is_plain {
            0
        } else if self.scope == Scope::All as u8 {
            PLAIN_FOR_ALL
        } else if self.scope == Scope::Source as u8 {
            let ipv4 = if self.ipv4_length == 32 { PLAIN_BY_IPV4 } else { 0 };
            let ipv6 = if self.ipv6_length == 128 { PLAIN_BY_IPV6 } else { 0 };
            ipv4 | ipv6
        } else {
            0
        };
        LimitEntry { horizon, plain, ..self }
    }
}

/// In [`RouteEntry::flags`]: there is more to do than the memo's line says: limits, SYN cookies, DSCP, pool.
pub const ROUTE_EXTRA: u16 = 1;
/// In [`RouteEntry::flags`]: a limit is by label, so that every packet is classified.
pub const ROUTE_PER_LABEL: u16 = 2;

/// In [`LimitEntry::plain`]: of packets or bytes, for all.
pub const PLAIN_FOR_ALL: u8 = 1;
/// In [`LimitEntry::plain`]: of packets or bytes, by whole IPv4 source address.
pub const PLAIN_BY_IPV4: u8 = 2;
/// In [`LimitEntry::plain`]: of packets or bytes, by whole IPv6 source address.
pub const PLAIN_BY_IPV6: u8 = 4;

/// A limit as the kernel needs it; one line. Times are in units of 2^-8 ns, see [`crate::limit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LimitEntry {
    /// Time that a unit costs, `<< shift`; for open connections 0.
    pub cost: u64,
    /// How far a bucket may be ahead of now: the burst's worth of time; for open connections their number.
    pub depth: u64,
    /// How long a ban or SYN cookies last, 0 for none.
    pub hold: u64,
    /// Bucket and counter slot, the limit's for as long as its name lives.
    pub slot: u32,
    /// Refusals, since the bucket was last full, that lead to a ban; 0: no ban.
    pub ban_after: u32,
    /// skb mark of what goes over, [`crate::abi::UNSET`] if none.
    pub over_mark: u32,
    /// `dscp << 2 | 1` of what goes over, 0 if none.
    pub over_dscp: u8,
    /// See [`LimitEntry::cost`].
    pub shift: u8,
    /// [`crate::limit::Unit`].
    pub unit: u8,
    /// [`crate::limit::Scope`].
    pub scope: u8,
    /// [`crate::limit::Exceed`].
    pub over: u8,
    /// Bits of an IPv4 address that are a key.
    pub ipv4_length: u8,
    /// Bits of an IPv6 address that are a key.
    pub ipv6_length: u8,
    /// 1: the clock is `bpf_ktime_get_ns`, because the burst is too short for jiffies; 0: jiffies.
    pub precise: u8,
    /// [`PLAIN_FOR_ALL`], or [`PLAIN_BY_IPV4`] and [`PLAIN_BY_IPV6`], or 0.
    pub plain: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The most a bucket can be ahead of now: [`crate::limit::horizon`] of the above.
    pub horizon: u64,
    /// Zero.
    pub reserved2: u64,
}

const _: () = {
    assert!(size_of::<RouteEntry>() == 32);
    assert!(size_of::<LimitEntry>() == 64);
    assert!(core::mem::offset_of!(RouteEntry, limits) % 8 == 0);
};
