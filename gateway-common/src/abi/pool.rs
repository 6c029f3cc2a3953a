//! What a CPU remembers of the way to a target.

use crate::packet::Address;
use crate::parse::checksum::fold16;
use bytemuck::{Pod, Zeroable};

/// How long a CPU relies on what the kernel's routing and neighbour tables said of a target,
/// nanoseconds: a change of either is seen by pools this much later, and a jiffy.
pub const NEXT_HOP_EVERY_NS: u64 = 100_000_000;

/// The way to a target, as the kernel's tables had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum NextHopState {
    /// Never asked.
    Unknown = 0,
    /// Interface and link-layer addresses are known.
    Reachable = 1,
    /// The interface is known, the neighbour's link-layer address is not yet.
    NeighbourUnknown = 2,
    /// There is none: an unreachable, blackhole or prohibited one, or no forwarding where the packet arrived.
    Unreachable = 3,
    /// It is an address of this node, or no route leads there: the stack knows which.
    NotForwarded = 4,
}

/// An element of [`super::maps::NEXT_HOPS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NextHop {
    /// The target's address that was asked for, as [`crate::packet::Address`].
    pub address: [u64; 2],
    /// Its family, 4 or 6.
    pub family: u32,
    /// Until when it holds, the low word of the kernel's jiffies.
    pub until: u32,
    /// The interface that the packet leaves by.
    pub ifindex: u32,
    /// Longest IP packet that the way takes, bytes; 0 where it is not known.
    pub mtu: u32,
    /// [`NextHopState`].
    pub state: u32,
    /// Destination and source address of the Ethernet header, as they stand in it.
    pub ethernet_be: [u32; 3],
    /// [`NEXT_HOP_XDP_FRAMES`].
    pub flags: u32,
    /// Zero.
    pub reserved: [u32; 3],
}

/// All that a packet for a target is sent with, made once for many: an element of [`super::maps::PATHS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Path {
    /// As [`NextHop::ethernet_be`].
    pub ethernet_be: [u32; 3],
    /// The ends of the outer header.
    pub ends: OuterEnds,
    /// The stamp of the policy that says so, see [`super::Control::active`]; 0: there is none.
    pub stamp: u32,
    /// As [`NextHop::until`].
    pub until: u32,
    /// The interface that the packet leaves by.
    pub ifindex: u32,
    /// Longest IP packet that the way takes, bytes; 65,535 where it is not known.
    pub mtu: u16,
    /// Bytes that are put in front of the IP packet.
    pub outer_length: u8,
    /// [`NEXT_HOP_XDP_FRAMES`], [`PATH_IPV6`], [`PATH_GUE`].
    pub flags: u8,
}

/// In [`Path::flags`]: the outer header is IPv6's.
pub const PATH_IPV6: u8 = 2;
/// In [`Path::flags`]: the packet is sent as [`Forward::Gue`](crate::image::Forward) has it.
pub const PATH_GUE: u8 = 4;

/// From whom an outer header is and to whom, as it stands there; an IPv4 address is the first word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct OuterEnds {
    /// Source address.
    pub source_be: [u32; 4],
    /// Destination address.
    pub target_be: [u32; 4],
    /// What both add to the checksum of an IPv4 header, folded to 16 bits, host order.
    pub sum: u16,
    /// UDP destination port of [`Forward::Gue`](crate::image::Forward), host order.
    pub port: u16,
}

impl OuterEnds {
    /// Of these addresses, and this port.
    #[inline(always)]
    #[must_use]
    pub const fn new(source: &Address, target: &Address, port: u16) -> OuterEnds {
        let (from, to) = (source[0] >> 32, target[0] >> 32);
        let sum = fold16(((from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff)) as u32);
        OuterEnds { source_be: words_be(source), target_be: words_be(target), sum, port }
    }
}

/// An address as it stands in a header.
#[inline(always)]
const fn words_be(address: &Address) -> [u32; 4] {
    let [high, low] = *address;
    [((high >> 32) as u32).to_be(), (high as u32).to_be(), ((low >> 32) as u32).to_be(), (low as u32).to_be()]
}

/// Longest time for which a next hop is ever remembered, jiffies: [`NEXT_HOP_EVERY_NS`] at 1,000 of them a
/// second, and to spare.
const NEXT_HOP_JIFFIES_MAX: u32 = 1_024;

impl NextHop {
    /// Whether it holds at `now`, the low word of the kernel's jiffies. One of long ago does not look like one
    /// of a time to come, though the word has turned over since.
    #[inline(always)]
    #[must_use]
    pub const fn holds(&self, now: u32) -> bool {
        self.state != NextHopState::Unknown as u32 && is_before(now, self.until)
    }
}

impl Path {
    /// Whether it holds at `now`, as [`NextHop::holds`], under a policy's stamp.
    #[inline(always)]
    #[must_use]
    pub const fn holds(&self, now: u32, stamp: u32) -> bool {
        self.stamp == stamp && is_before(now, self.until)
    }
}

/// Whether `now` is before `until`, and not long after it.
#[inline(always)]
const fn is_before(now: u32, until: u32) -> bool {
    let left = until.wrapping_sub(now);
    left != 0 && left <= NEXT_HOP_JIFFIES_MAX
}

/// Elements of [`super::maps::NEXT_HOPS`] for each CPU: one for each target slot, and behind them as many for
/// clients of translating pools, by a hash of their addresses. Two clients with one place take turns.
pub const HOPS: usize = 2 * crate::image::MAX_TARGETS;

/// In [`NextHop::flags`]: the interface is a governed one that takes frames by `ndo_xdp_xmit`.
pub const NEXT_HOP_XDP_FRAMES: u32 = 1;

/// Whom packets for a target go to while its link-layer address is not known: an element of
/// [`super::maps::NEIGHBOURS`]. Begins as `struct bpf_redir_neigh` of linux/bpf.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Neighbour {
    /// `AF_INET` or `AF_INET6`; 0: none was ever asked for.
    pub family: u32,
    /// The address of the target or of the router before it, network order; an IPv4 address comes first.
    pub address_be: [u32; 4],
    /// The interface that leads there.
    pub ifindex: u32,
    /// Zero.
    pub reserved: [u32; 2],
}

/// What routers told of the path to a target: an element of [`super::maps::PATH_MTUS`], by the target's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PathMtu {
    /// The target's address, as [`crate::packet::Address`].
    pub address: [u64; 2],
    /// Longest packet that gets there, bytes; 0 where nothing was told.
    pub mtu: u32,
    /// Until when that is believed, in units of [`crate::fragment::UNIT_SHIFT`].
    pub until: u32,
    /// Zero.
    pub reserved: u64,
}

const _: () = {
    assert!(size_of::<PathMtu>() == 32);
    assert!(size_of::<NextHop>() == 64);
    assert!(size_of::<Path>() == 64);
    assert!(size_of::<Neighbour>() == 32);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_holds_for_its_time_and_never_again() {
        for until in [101_u32, 5, 0, 0x8000_0000] {
            let hop = NextHop { until, state: NextHopState::Reachable as u32, ..NextHop::default() };
            let at = |before: u32| hop.holds(until.wrapping_sub(before));
            assert!(at(1) && at(101));
            // Its end; a moment later; half of what the word counts, and nearly all of it, later.
            for after in [0, 1, 0x7fff_ffff, 0x8000_0001, 0xffff_0000] {
                assert!(!hop.holds(until.wrapping_add(after)), "{until} {after}");
            }
            assert!(!NextHop { state: NextHopState::Unknown as u32, ..hop }.holds(until.wrapping_sub(1)));
        }
    }
}
