//! The gateway's own ICMP errors: the frame of a packet that cannot go on becomes the error that tells its
//! sender so, and leaves by the interface that it came from.
//!
//! The packet counts as dropped, by its reason; the error is the gateway's own and no packet of anybody's
//! account. The frame is cut behind what is quoted, and grown in front by the error's headers; Ethernet's
//! addresses are swapped and VLAN tags stay.

use crate::account::telemetry;
use crate::act::{SkbFrame, XdpFrame};
use crate::context;
use crate::frame::Bytes;
use crate::maps;
use crate::pipeline::Judged;
use crate::police;
use crate::scratch;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::{
    bpf_skb_change_head, bpf_skb_change_tail, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
};
use gateway_common::abi::{Control, Telemetry};
use gateway_common::icmp_error::{COST, DEPTH, HORIZON, QUOTED_V4, QUOTED_V6, may_be_about};
use gateway_common::limit::{ahead, take, time};
use gateway_common::packet::{Packet, flags, protocol};
use gateway_common::parse::Header;
use gateway_common::parse::checksum::{fold16, pseudo_header, pseudo_header_of, sum_of};
use gateway_common::reason::Reason;

/// Hop limit of the errors.
const TTL: u32 = 64;
/// Traffic class: CS6, of what keeps the network going (RFC 1812 4.3.2.5, RFC 2474 4.2.2.2).
const TRAFFIC_CLASS: u32 = 0xc0;
/// Length of an Ethernet header, bytes.
const ETHERNET: u32 = 14;
/// Length of the ICMP header, bytes.
const ICMP: u32 = 8;

/// Whether the packet is dropped for a reason that its sender is told.
#[inline(always)]
pub fn is_due(judged: &Judged) -> bool {
    judged.reason == Reason::TtlExceeded as u32 || judged.reason == Reason::TooBig as u32
}

/// A frame that can be cut behind and grown in front.
trait Resize {
    /// Its bytes, as they are now.
    fn bytes(&self) -> Bytes;
    /// How many of these bytes from its beginning can be quoted.
    fn quotable(&self, length: u32) -> u32;
    /// Leaves so many bytes of it, and makes so many bytes of room in front. False where that cannot be.
    fn resize(&self, length: u32, room: u32) -> bool;
    /// The sum of `length` bytes from `offset` on, added to `first`, see [`sum_of`].
    fn sum(&self, judged: &Judged, offset: u32, length: u32, first: u32) -> Option<u32>;
    /// Whether whoever sends the frame completes the packet's transport checksum before.
    fn is_unfinished(&self, packet: &Packet, quoted: u32) -> bool;
}

/// At XDP.
struct AtXdp(*mut xdp_md);

impl Resize for AtXdp {
    #[inline(always)]
    fn bytes(&self) -> Bytes {
        Bytes::of_xdp(self.0)
    }

    /// Of a frame in several buffers the first is quoted.
    #[inline(always)]
    fn quotable(&self, length: u32) -> u32 {
        let first = self.bytes().len();
        if length < first { length } else { first }
    }

    #[inline(always)]
    fn resize(&self, length: u32, room: u32) -> bool {
        // SAFETY: the program's own context; the packet pointers are read anew afterwards.
        unsafe {
            let more = length.wrapping_sub(bpf_xdp_get_buff_len(self.0) as u32);
            bpf_xdp_adjust_tail(self.0, more as i32) == 0
                && bpf_xdp_adjust_head(self.0, 0_i32.wrapping_sub(room as i32)) == 0
        }
    }

    #[inline(always)]
    fn sum(&self, judged: &Judged, offset: u32, length: u32, first: u32) -> Option<u32> {
        sum_of(&XdpFrame::new(self.0), offset, length, first, &|word| judged.forgotten(word))
    }

    #[inline(always)]
    fn is_unfinished(&self, _packet: &Packet, _quoted: u32) -> bool {
        false
    }
}

/// At tc.
struct AtTc(*mut __sk_buff);

impl Resize for AtTc {
    #[inline(always)]
    fn bytes(&self) -> Bytes {
        Bytes::of_skb(self.0)
    }

    /// All is made readable as it is cut.
    #[inline(always)]
    fn quotable(&self, length: u32) -> u32 {
        length
    }

    /// Also what was several segments in one is one packet then.
    #[inline(always)]
    fn resize(&self, length: u32, room: u32) -> bool {
        // SAFETY: the program's own context; the packet pointers are read anew afterwards.
        unsafe { bpf_skb_change_tail(self.0, length, 0) == 0 && bpf_skb_change_head(self.0, room, 0) == 0 }
    }

    #[inline(always)]
    fn sum(&self, judged: &Judged, offset: u32, length: u32, first: u32) -> Option<u32> {
        sum_of(&SkbFrame::as_it_is(self.0), offset, length, first, &|word| judged.forgotten(word))
    }

    /// What comes from this machine, or was received in several segments, bears only the pseudo-header's
    /// sum (`CHECKSUM_PARTIAL`), and the kernel writes the whole one into the quotation when the error has
    /// left here. No helper tells. A checksum that is just that sum by chance is one in 65,536, and its
    /// sender discards the error.
    #[inline(always)]
    fn is_unfinished(&self, packet: &Packet, quoted: u32) -> bool {
        let at = match packet.protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => return false,
        };
        let (l3, l4) = (packet.l3_offset as u32, packet.l4_offset as u32);
        if packet.flags & flags::FIRST_FRAGMENT != 0 || l4.wrapping_sub(l3).wrapping_add(at + 2) > quoted {
            return false;
        }
        let pseudo = u16::from_be(pseudo_header(packet, packet.end.wrapping_sub(l4)) as u16);
        self.bytes().header::<2>(l4.wrapping_add(at)).is_some_and(|header| header.be16::<0>() == pseudo)
    }
}

/// Turns the frame of the packet that this CPU judges into the error that its sender is told; `slot` is of
/// the interface that it came by. 0 if it did. A global function, see [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_error_xdp(context: *mut xdp_md, cpu: u32, slot: u32) -> u32 {
    answer(&AtXdp(context), cpu, slot).is_none() as u32
}

/// The same at tc.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_error_tc(context: *mut context::__sk_buff, cpu: u32, slot: u32) -> u32 {
    answer(&AtTc(context.cast()), cpu, slot).is_none() as u32
}

/// What of the frame stands around the packet.
struct Link {
    /// Ethernet's addresses for the way back: three words, the first byte of each the highest.
    ethernet: [u32; 3],
    /// EtherType, of a tag where there is one.
    ethertype: u16,
    /// The tags behind it.
    tags: [u32; 2],
}

#[inline(always)]
fn answer(frame: &impl Resize, cpu: u32, slot: u32) -> Option<()> {
    let judged = scratch::judged(cpu)?;
    let six = judged.packet.family == 6;
    let own = maps::OWN_ADDRESSES.get(slot)?;
    let own = if six { own.ipv6 } else { own.ipv4 };
    if own[0] | own[1] == 0 || !may_be_about(&judged.packet) {
        return None;
    }
    let told = if judged.reason == Reason::TooBig as u32 { judged.told_mtu } else { 0 };
    // An MTU that the packet keeps to already would teach its sender nothing.
    if told >= judged.packet.ip_length() as u32 {
        return None;
    }
    let l3 = judged.packet.l3_offset as u32;
    let link = link(&frame.bytes(), l3)?;
    if !is_within_rate(maps::CONTROL.get(0)?, judged) {
        telemetry(cpu, Telemetry::ErrorsSuppressed, 1);
        return None;
    }
    let (most, ip) = if six { (QUOTED_V6, 40) } else { (QUOTED_V4, 20) };
    let length = judged.packet.end.wrapping_sub(l3);
    let length = if length < most { length } else { most };
    let end = frame.quotable(l3.wrapping_add(length));
    let quoted = judged.forgotten(end.wrapping_sub(l3));
    let unfinished = frame.is_unfinished(&judged.packet, quoted);
    if !frame.resize(end, ip + ICMP) {
        return None;
    }
    put_link(&frame.bytes(), l3, &link)?;
    let icmp = l3.wrapping_add(ip);
    header(&frame.bytes(), judged, icmp, told)?;
    let total = ICMP.wrapping_add(quoted);
    let first = if six { pseudo_header_of(own, judged.packet.source, protocol::ICMPV6, total) } else { 0 };
    let sum = if unfinished {
        // The transport's bytes come to the complement of what its checksum's field holds now.
        let pseudo =
            pseudo_header(&judged.packet, judged.packet.end.wrapping_sub(judged.packet.l4_offset as u32));
        let headers = (judged.packet.l4_offset as u32).wrapping_sub(l3);
        let first = first.wrapping_add(!(pseudo as u16) as u32);
        frame.sum(judged, icmp, ICMP.wrapping_add(headers), first)?
    } else {
        frame.sum(judged, icmp, total, first)?
    };
    frame.bytes().header::<8>(icmp)?.put16::<2>(!u16::from_be(fold16(sum)));
    if six {
        ipv6(&frame.bytes(), l3, own, judged.packet.source, total)?;
    } else {
        ipv4(&frame.bytes(), l3, own, judged.packet.source, total)?;
    }
    telemetry(cpu, Telemetry::ErrorsSent, 1);
    Some(())
}

/// Whether one more may be sent from this CPU now; takes its price if so.
#[inline(always)]
fn is_within_rate(control: &Control, judged: &mut Judged) -> bool {
    let now = time(police::now_ns(control, false));
    match take(ahead(judged.errors_full_at, now, HORIZON), COST, DEPTH) {
        Some(after) => {
            judged.errors_full_at = now.wrapping_add(after);
            true
        }
        None => false,
    }
}

/// What stands around a packet that was sent to this host alone.
#[inline(always)]
fn link(bytes: &Bytes, l3: u32) -> Option<Link> {
    let header = bytes.header::<14>(0)?;
    let (a, b, c) = (header.be32::<0>(), header.be32::<4>(), header.be32::<8>());
    // The group bit of the destination (IEEE 802.3 3.2.3).
    if a >> 24 & 1 != 0 {
        return None;
    }
    let tag = |at: u32| if l3 > at { bytes.header::<4>(at).map(Header::be32::<0>) } else { Some(0) };
    Some(Link {
        ethernet: [b << 16 | c >> 16, c << 16 | a >> 16, a << 16 | b >> 16],
        ethertype: header.be16::<12>(),
        tags: [tag(ETHERNET)?, tag(ETHERNET + 4)?],
    })
}

#[inline(always)]
fn put_link(bytes: &Bytes, l3: u32, link: &Link) -> Option<()> {
    let header = bytes.header::<22>(0)?;
    header.put32::<0>(link.ethernet[0]);
    header.put32::<4>(link.ethernet[1]);
    header.put32::<8>(link.ethernet[2]);
    header.put16::<12>(link.ethertype);
    if l3 > ETHERNET {
        header.put32::<14>(link.tags[0]);
    }
    if l3 > ETHERNET + 4 {
        header.put32::<18>(link.tags[1]);
    }
    Some(())
}

/// The ICMP header, without its checksum.
#[inline(always)]
fn header(bytes: &Bytes, judged: &Judged, at: u32, told: u32) -> Option<()> {
    let (kind, code) = match (judged.packet.family == 6, told) {
        (false, 0) => (11, 0),
        (false, _) => (3, 4),
        (true, 0) => (3, 0),
        (true, _) => (2, 0),
    };
    let header = bytes.header::<8>(at)?;
    header.put32::<0>(kind << 24 | code << 16);
    header.put32::<4>(told);
    Some(())
}

/// The IPv4 header of an ICMP message of `length` bytes.
#[inline(always)]
fn ipv4(bytes: &Bytes, at: u32, own: [u64; 2], to: [u64; 2], length: u32) -> Option<()> {
    let ip = bytes.header::<20>(at)?;
    ip.put32::<0>(0x4500_0000 | TRAFFIC_CLASS << 16 | 20_u32.wrapping_add(length) & 0xffff);
    // Whole, so that it needs no identification (RFC 6864 4.1).
    ip.put32::<4>(0x0000_4000);
    ip.put32::<8>(TTL << 24 | (protocol::ICMP as u32) << 16);
    ip.put32::<12>((own[0] >> 32) as u32);
    ip.put32::<16>((to[0] >> 32) as u32);
    let sum = u16::from_be(fold16(ip.sum(0)?));
    ip.put16::<10>(!sum);
    Some(())
}

/// The IPv6 header.
#[inline(always)]
fn ipv6(bytes: &Bytes, at: u32, own: [u64; 2], to: [u64; 2], length: u32) -> Option<()> {
    let ip = bytes.header::<40>(at)?;
    ip.put32::<0>(0x6000_0000 | TRAFFIC_CLASS << 20);
    ip.put32::<4>((length & 0xffff) << 16 | (protocol::ICMPV6 as u32) << 8 | TTL);
    ip.put32::<8>((own[0] >> 32) as u32);
    ip.put32::<12>(own[0] as u32);
    ip.put32::<16>((own[1] >> 32) as u32);
    ip.put32::<20>(own[1] as u32);
    ip.put32::<24>((to[0] >> 32) as u32);
    ip.put32::<28>(to[0] as u32);
    ip.put32::<32>((to[1] >> 32) as u32);
    ip.put32::<36>(to[1] as u32);
    Some(())
}
