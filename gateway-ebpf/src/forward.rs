//! What is written around a packet of a pool: one hop less, no VLAN tag, and the outer header.
//!
//! Outer headers follow RFC 2003 and RFC 2473 (IP in IP), draft-ietf-intarea-gue 4 (GUE variant 1: the IP
//! packet straight behind UDP). Their traffic class is the packet's: DSCP copied, and ECN too, as RFC 6040
//! 4.1 has it in normal mode. The UDP checksum is zero, over IPv6 as RFC 6935 and RFC 6936 allow for
//! tunnels: the inner packet has its own.

use crate::clamp;
use crate::context;
use crate::frame::Bytes;
use crate::pipeline::Judged;
use crate::pool::{self, BY_STACK, DIRECT, Forwarding};
use crate::scratch;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::{bpf_skb_adjust_room, bpf_skb_vlan_pop, bpf_xdp_adjust_head};
use gateway_common::abi::{NextHop, OuterEnds};
use gateway_common::icmp_error::MTU_MIN_V6;
use gateway_common::image::{Forward, MAX_TARGETS};
use gateway_common::packet::{flags, protocol};
use gateway_common::parse::Header;
use gateway_common::parse::checksum::fold16;
use gateway_common::target::{flow_label, source_port};

/// Hop limit of the outer header (RFC 1700's default).
const TTL: u32 = 64;
/// Length of an Ethernet header, bytes.
pub const ETHERNET: u32 = 14;
/// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Don't fragment, among IPv4's flags.
const DONT_FRAGMENT: u32 = 0x4000;

/// `BPF_ADJ_ROOM_MAC` and flags of `bpf_skb_adjust_room`, of linux/bpf.h.
const ADJ_ROOM_MAC: u32 = 1;
const ADJ_ROOM_FIXED_GSO: u64 = 1;
const ADJ_ROOM_ENCAP_L3_IPV4: u64 = 2;
const ADJ_ROOM_ENCAP_L3_IPV6: u64 = 4;
const ADJ_ROOM_ENCAP_L4_UDP: u64 = 16;

/// A frame whose beginning can be moved.
trait Room {
    /// Its bytes, as they are now.
    fn bytes(&self) -> Bytes;
    /// Takes off the tags of an IP packet of this EtherType that begins at `l3_offset`, and makes room for an Ethernet and
    /// the outer header in front of it. False where that cannot be.
    fn make(&self, l3_offset: u32, ethertype: u16, forwarding: &Forwarding) -> bool;
    /// Holds the SYN that this CPU judges to what its pool allows.
    fn clamp(&self, cpu: u32);
}

/// At XDP.
struct XdpRoom(*mut xdp_md);

impl Room for XdpRoom {
    #[inline(always)]
    fn bytes(&self) -> Bytes {
        Bytes::of_xdp(self.0)
    }

    #[inline(always)]
    fn make(&self, l3_offset: u32, _ethertype: u16, forwarding: &Forwarding) -> bool {
        let more = l3_offset.wrapping_sub(ETHERNET).wrapping_sub(forwarding.outer_length);
        // SAFETY: the program's own context; the packet pointers are read anew afterwards.
        more == 0 || unsafe { bpf_xdp_adjust_head(self.0, more as i32) == 0 }
    }

    #[inline(always)]
    fn clamp(&self, cpu: u32) {
        clamp::gateway_clamp_xdp(self.0, cpu);
    }
}

/// At tc.
struct SkbRoom(*mut __sk_buff);

impl Room for SkbRoom {
    #[inline(always)]
    fn bytes(&self) -> Bytes {
        Bytes::of_skb(self.0)
    }

    #[inline(always)]
    fn make(&self, l3_offset: u32, ethertype: u16, forwarding: &Forwarding) -> bool {
        // The outer tag is not among the bytes, if the device or the kernel has taken it out.
        // SAFETY: the context that the kernel gave to the program.
        let stripped = unsafe { (*self.0).vlan_present };
        let tags = (l3_offset.wrapping_sub(ETHERNET) >> 2).wrapping_add(stripped & 1);
        // SAFETY: the program's own context; the packet pointers are read anew afterwards.
        unsafe {
            if tags > 0 && bpf_skb_vlan_pop(self.0) != 0 {
                return false;
            }
            if tags > 1 && bpf_skb_vlan_pop(self.0) != 0 {
                return false;
            }
        }
        // A tag of before 802.1ad (0x9100) is none to the kernel, and stays.
        if self.bytes().header::<14>(0).is_none_or(|header| header.be16::<12>() != ethertype) {
            return false;
        }
        if forwarding.outer_length == 0 {
            return true;
        }
        // SAFETY: as above.
        unsafe {
            let mut flags =
                if forwarding.family == 6 { ADJ_ROOM_ENCAP_L3_IPV6 } else { ADJ_ROOM_ENCAP_L3_IPV4 };
            if forwarding.forward == Forward::Gue as u32 {
                flags |= ADJ_ROOM_ENCAP_L4_UDP;
            }
            // Segments that were received as one leave as they came, which the length checked before.
            flags |= ADJ_ROOM_FIXED_GSO;
            bpf_skb_adjust_room(self.0, forwarding.outer_length as i32, ADJ_ROOM_MAC, flags) == 0
        }
    }

    #[inline(always)]
    fn clamp(&self, cpu: u32) {
        clamp::gateway_clamp_tc(self.0.cast(), cpu);
    }
}

/// Writes what the packet that this CPU judges is sent in; 0 if it did. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_forward_xdp(context: *mut xdp_md, cpu: u32) -> u32 {
    forward(&XdpRoom(context), cpu).is_none() as u32
}

/// The same at tc.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_forward_tc(context: *mut context::__sk_buff, cpu: u32) -> u32 {
    forward(&SkbRoom(context.cast()), cpu).is_none() as u32
}

#[inline(always)]
fn forward(room: &impl Room, cpu: u32) -> Option<()> {
    let (judged, forwarding) = scratch::forwarding(cpu)?;
    let hop = pool::next_hop(cpu, forwarding.hop)?;
    let l3_offset = judged.packet.l3_offset as u32;
    if clamp::is_due(judged, forwarding) {
        room.clamp(cpu);
    }
    if forwarding.forward == Forward::Dnat as u32 && forwarding.way == BY_STACK {
        return Some(());
    }
    count_down(&room.bytes(), judged.packet.family as u32, l3_offset)?;
    let ethernet = addresses(&room.bytes(), forwarding, hop)?;
    if !room.make(l3_offset, ethertype(judged.packet.family as u32), forwarding) {
        return None;
    }
    let outer = forwarding.outer_length != 0;
    let family = if outer { forwarding.family } else { judged.packet.family as u32 };
    let bytes = room.bytes();
    put_ethernet(&bytes, ethernet, family)?;
    if !outer {
        return Some(());
    }
    let outer = Outer {
        ends: &OuterEnds::new(&forwarding.source, &forwarding.target, forwarding.port as u16),
        family,
        forward: forwarding.forward,
        flow_hash: forwarding.flow_hash,
        may_be_cut: forwarding.way == BY_STACK,
        length: judged.packet.end.wrapping_sub(l3_offset).wrapping_add(forwarding.outer_length),
        carries: judged.packet.family as u32,
        traffic_class: traffic_class(judged),
    };
    outer.write(&bytes)
}

/// EtherType of a family.
#[inline(always)]
fn ethertype(family: u32) -> u16 {
    if family == 6 { IPV6 } else { IPV4 }
}

/// Writes the Ethernet header of a packet of this family; the addresses as they stand in it.
#[inline(always)]
pub fn put_ethernet(bytes: &Bytes, addresses_be: [u32; 3], family: u32) -> Option<()> {
    let header = bytes.header::<14>(0)?;
    header.put_raw32::<0>(addresses_be[0]);
    header.put_raw32::<4>(addresses_be[1]);
    header.put_raw32::<8>(addresses_be[2]);
    header.put16::<12>(ethertype(family));
    Some(())
}

/// Whether the stack may cut what is sent into fragments: an IPv4 header without don't-fragment. In an outer one
/// that is given to IPv4 packets without it, and to IPv6 packets that no link of IPv6 may refuse (RFC 4213 3.2.2).
#[inline(always)]
pub fn may_be_cut(judged: &Judged, forwarding: &Forwarding, segment: u32) -> bool {
    let inner = if judged.packet.family == 4 {
        judged.packet.flags & flags::DONT_FRAGMENT == 0
    } else {
        segment <= MTU_MIN_V6
    };
    let translates = forwarding.forward == Forward::Dnat as u32;
    let whole = forwarding.outer_length != 0 || translates && forwarding.hop < MAX_TARGETS as u32;
    inner && forwarding.family == 4 && whole
}

/// The Ethernet header's addresses: the next hop's, or those that the packet came with where the stack
/// is to take it for its own.
#[inline(always)]
fn addresses(bytes: &Bytes, forwarding: &Forwarding, hop: &NextHop) -> Option<[u32; 3]> {
    if forwarding.way == DIRECT {
        return Some(hop.ethernet_be);
    }
    let header = bytes.header::<14>(0)?;
    Some([header.raw32::<0>(), header.raw32::<4>(), header.raw32::<8>()])
}

/// Takes one off time to live or hop limit, which is above 1.
#[inline(always)]
pub fn count_down(bytes: &Bytes, family: u32, l3_offset: u32) -> Option<()> {
    let ip = bytes.header::<20>(l3_offset)?;
    if family == 6 {
        ip.put8::<7>(ip.byte::<7>().wrapping_sub(1));
        return Some(());
    }
    ip.put8::<8>(ip.byte::<8>().wrapping_sub(1));
    // What its word lost, the checksum gains (RFC 1624, equation 3), in whichever byte order (RFC 1071 2B).
    let sum = ip.raw16::<10>() as u32 + 0x0100_u16.to_be() as u32;
    ip.put_raw16::<10>((sum + ((sum + 1) >> 16)) as u16);
    Some(())
}

/// Traffic class of the outer header: the inner one's, as it leaves.
#[inline(always)]
pub fn traffic_class(judged: &Judged) -> u32 {
    let class = judged.packet.traffic_class as u32;
    if judged.dscp != 0 { judged.dscp & 0xfc | class & 3 } else { class }
}

/// What an outer header is made of.
pub struct Outer<'a> {
    pub ends: &'a OuterEnds,
    /// Family of both ends.
    pub family: u32,
    /// [`Forward`].
    pub forward: u32,
    /// The packet's hash, where the header tells flows apart: see [`tells_flows`].
    pub flow_hash: u64,
    /// Whether it may be cut into fragments.
    pub may_be_cut: bool,
    /// Length of the IP packet with it, bytes.
    pub length: u32,
    /// Family of the packet in it.
    pub carries: u32,
    /// See [`traffic_class`].
    pub traffic_class: u32,
}

/// Whether an outer header holds something of the packet's hash.
#[inline(always)]
pub fn tells_flows(family: u32, forward: u32) -> bool {
    family == 6 || forward == Forward::Gue as u32
}

impl Outer<'_> {
    /// Writes it behind the Ethernet header.
    #[inline(always)]
    pub fn write(&self, bytes: &Bytes) -> Option<()> {
        if self.family == 6 { self.ipv6(bytes) } else { self.ipv4(bytes) }
    }

    /// What the outer IP header carries.
    #[inline(always)]
    fn carried(&self) -> u32 {
        if self.forward == Forward::Gue as u32 {
            protocol::UDP as u32
        } else if self.carries == 6 {
            protocol::IPV6 as u32
        } else {
            protocol::IPV4 as u32
        }
    }

    #[inline(always)]
    fn ipv4(&self, bytes: &Bytes) -> Option<()> {
        let ip = bytes.header::<20>(ETHERNET)?;
        let first = 0x4500_0000 | self.traffic_class << 16 | self.length & 0xffff;
        let second = if self.may_be_cut { 0 } else { DONT_FRAGMENT };
        let third = TTL << 24 | self.carried() << 16;
        let halves = |word: u32| (word >> 16) + (word & 0xffff);
        let sum = halves(first) + halves(second) + halves(third) + self.ends.sum as u32;
        ip.put32::<0>(first);
        ip.put32::<4>(second);
        ip.put32::<8>(third | !fold16(sum) as u32);
        ip.put_raw32::<12>(self.ends.source_be[0]);
        ip.put_raw32::<16>(self.ends.target_be[0]);
        if self.forward == Forward::Gue as u32 {
            return self.udp(bytes, ETHERNET + 20, self.length.wrapping_sub(20));
        }
        Some(())
    }

    #[inline(always)]
    fn ipv6(&self, bytes: &Bytes) -> Option<()> {
        let ip = bytes.header::<40>(ETHERNET)?;
        let payload = self.length.wrapping_sub(40) & 0xffff;
        ip.put32::<0>(0x6000_0000 | self.traffic_class << 20 | flow_label(self.flow_hash));
        ip.put32::<4>(payload << 16 | self.carried() << 8 | TTL);
        let (source, target) = (&self.ends.source_be, &self.ends.target_be);
        ip.put_raw32::<8>(source[0]);
        ip.put_raw32::<12>(source[1]);
        ip.put_raw32::<16>(source[2]);
        ip.put_raw32::<20>(source[3]);
        ip.put_raw32::<24>(target[0]);
        ip.put_raw32::<28>(target[1]);
        ip.put_raw32::<32>(target[2]);
        ip.put_raw32::<36>(target[3]);
        if self.forward == Forward::Gue as u32 {
            return self.udp(bytes, ETHERNET + 40, payload);
        }
        Some(())
    }

    /// `length` is with it, bytes.
    #[inline(always)]
    fn udp(&self, bytes: &Bytes, offset: u32, length: u32) -> Option<()> {
        let udp = bytes.header::<8>(offset)?;
        udp.put32::<0>((source_port(self.flow_hash) as u32) << 16 | self.ends.port as u32);
        udp.put32::<4>(length << 16);
        Some(())
    }
}
