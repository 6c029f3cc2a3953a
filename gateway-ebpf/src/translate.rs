//! Addresses and ports of a packet are exchanged, and its checksums follow (RFC 1624, equation 3).
//!
//! At XDP the frame is written directly. At tc that would not do: a checksum may be half made there, for the
//! device to finish, or known to the kernel for the whole packet; the kernel's helpers know which.

use crate::context;
use crate::frame::Bytes;
use crate::pipeline::Judged;
use crate::pool::Forwarding;
use crate::rewrite::changed;
use crate::scratch::{self, Scratch};
use aya_ebpf::bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, xdp_md};
use aya_ebpf::helpers::{bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_store_bytes};
use core::ffi::c_void;
use gateway_common::packet::{Packet, flags, protocol};
use gateway_common::parse::Header;
use gateway_common::parse::checksum::fold16;
use gateway_common::parse::quoted::Quoted;
use gateway_common::track::{exchanges_ports, has_identifier};

/// What a packet's ends are translated to.
pub struct Ends<'a> {
    /// Source address.
    pub source: &'a [u64; 2],
    /// Destination address.
    pub target: &'a [u64; 2],
    /// As [`Forwarding::ports`].
    pub ports: u32,
}

impl Ends<'_> {
    #[inline(always)]
    fn of(forwarding: &Forwarding) -> Ends<'_> {
        Ends { source: &forwarding.source, target: &forwarding.target, ports: forwarding.ports }
    }

    /// The identifier that it leaves with: one of its ports, the other is 0.
    #[inline(always)]
    fn identifier(&self) -> u16 {
        (self.ports >> 16 | self.ports) as u16
    }
}

/// What is different behind the translation: one's complement sums of new and inverted old words, host order.
struct Change {
    /// Of the addresses.
    addresses: u32,
    /// Of the ports, or of ICMP's identifier.
    ports: u32,
}

impl Change {
    #[inline(always)]
    fn of(packet: &Packet, ends: &Ends) -> Change {
        let addresses = exchanged(packet.source, *ends.source, packet.family)
            + exchanged(packet.destination, *ends.target, packet.family);
        let exchanged = exchanges_ports(packet.protocol) || has_identifier(packet);
        let ports = if exchanged { halves(ends.ports) + halves(!ports_of(packet)) } else { 0 };
        Change { addresses, ports }
    }
}

/// Whether the packet has a transport header whose ports, or identifier, are exchanged.
#[inline(always)]
fn has_ports(packet: &Packet) -> bool {
    packet.flags & (flags::HAS_PORTS | flags::HAS_ICMP) != 0 && packet.flags & flags::LATER_FRAGMENT == 0
}

/// The ports as a connection knows them: [`gateway_common::track::ports`].
#[inline(always)]
fn ports_of(packet: &Packet) -> u32 {
    let (source_port, port) = gateway_common::track::ports(packet);
    (source_port as u32) << 16 | port as u32
}

#[inline(always)]
fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

#[inline(always)]
fn words(word: u64) -> u32 {
    halves((word >> 32) as u32) + halves(word as u32)
}

#[inline(always)]
fn exchanged(old: [u64; 2], new: [u64; 2], family: u8) -> u32 {
    if family == 6 {
        words(new[0]) + words(!old[0]) + words(new[1]) + words(!old[1])
    } else {
        halves((new[0] >> 32) as u32) + halves(!(old[0] >> 32) as u32)
    }
}

/// Where a transport checksum stands, from the transport header; what is not known has none that addresses
/// count in.
#[inline(always)]
fn checksum_offset(packet: &Packet) -> Option<u32> {
    match (packet.protocol, packet.family) {
        (protocol::TCP, _) => Some(16),
        (protocol::UDP, _) => Some(6),
        (protocol::ICMP, 4) | (protocol::ICMPV6, 6) => Some(2),
        _ => None,
    }
}

/// Whether addresses count in the transport checksum: all but ICMP for IPv4.
#[inline(always)]
fn has_pseudo_header(packet: &Packet) -> bool {
    packet.protocol != protocol::ICMP
}

/// A checksum after these changes.
#[inline(always)]
fn summed(checksum: u16, change: u32) -> u16 {
    changed(checksum, 0xffff, fold16(change))
}

/// Translates the frame that this CPU judges, as its [`Forwarding`] says; 0 if it did. A global function, see
/// [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_translate_xdp(context: *mut xdp_md, cpu: u32) -> u32 {
    let Some(Scratch { judged, forwarding, about }) = scratch::of(cpu) else { return 1 };
    let (bytes, packet) = (Bytes::of_xdp(context), &judged.packet);
    let done = if forwarding.related != 0 {
        translate_error(&bytes, judged, forwarding, &about.quoted)
    } else {
        translate_frame(
            &bytes,
            packet,
            (packet.l3_offset as u32, packet.l4_offset as u32),
            &Ends::of(forwarding),
        )
    };
    done.is_none() as u32
}

/// The same at tc.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_translate_tc(context: *mut context::__sk_buff, cpu: u32) -> u32 {
    let Some(Scratch { judged, forwarding, about }) = scratch::of(cpu) else { return 1 };
    let context: *mut __sk_buff = context.cast();
    let done = if forwarding.related != 0 {
        translate_error(&Bytes::of_skb(context), judged, forwarding, &about.quoted)
    } else {
        translate_skb(context, judged, forwarding)
    };
    done.is_none() as u32
}

/// Translates a frame at XDP, whose headers begin at these offsets.
#[inline(always)]
pub fn translate_frame(bytes: &Bytes, packet: &Packet, (l3, l4): (u32, u32), ends: &Ends) -> Option<()> {
    let change = Change::of(packet, ends);
    put_addresses(bytes, packet.family, l3, (*ends.source, *ends.target), change.addresses)?;
    if !has_ports(packet) {
        return Some(());
    }
    let pseudo = if has_pseudo_header(packet) { change.addresses } else { 0 };
    let all = pseudo + change.ports;
    match packet.protocol {
        protocol::TCP => {
            let tcp = bytes.header::<20>(l4)?;
            tcp.put32::<0>(ends.ports);
            tcp.put16::<16>(summed(tcp.be16::<16>(), all));
        }
        protocol::UDP => {
            let udp = bytes.header::<8>(l4)?;
            udp.put32::<0>(ends.ports);
            let old = udp.be16::<6>();
            if old != 0 {
                let new = summed(old, all);
                // 0 would say that there is none (RFC 768).
                udp.put16::<6>(if new == 0 { 0xffff } else { new });
            }
        }
        // Its CRC covers the ports, which stay.
        protocol::SCTP => {}
        _ => {
            let icmp = bytes.header::<4>(l4)?;
            icmp.put16::<2>(summed(icmp.be16::<2>(), all));
            if has_identifier(packet) {
                bytes.header::<8>(l4)?.put16::<4>(ends.identifier());
            }
        }
    }
    Some(())
}

/// Translates a packet at tc.
#[inline(always)]
fn translate_skb(context: *mut __sk_buff, judged: &mut Judged, forwarding: &Forwarding) -> Option<()> {
    let packet = &judged.packet;
    let ends = Ends::of(forwarding);
    let change = Change::of(packet, &ends);
    let (l3, l4) = (packet.l3_offset as u32, packet.l4_offset as u32);
    let addresses = fold16(change.addresses).to_be() as u64;
    let (family, protocol) = (packet.family, packet.protocol);
    if has_ports(packet)
        && let Some(offset) = checksum_offset(packet)
    {
        let at = l4.wrapping_add(offset);
        let mangled = if protocol == protocol::UDP { BPF_F_MARK_MANGLED_0 as u64 } else { 0 };
        let pseudo = mangled | BPF_F_PSEUDO_HDR as u64;
        let ports = fold16(change.ports).to_be() as u64;
        // SAFETY: the program's own context; the helper checks the offset.
        unsafe {
            if has_pseudo_header(packet) && bpf_l4_csum_replace(context, at, 0, addresses, pseudo) != 0 {
                return None;
            }
            if bpf_l4_csum_replace(context, at, 0, ports, mangled) != 0 {
                return None;
            }
        }
        if exchanges_ports(protocol) {
            judged.headers[0] = forwarding.ports.to_be();
            store(context, l4, judged, 4)?;
        } else if has_identifier(packet) {
            judged.headers[0] = ends.identifier().to_be() as u32;
            store(context, l4.wrapping_add(4), judged, 2)?;
        }
    }
    put(judged, 0, forwarding.source);
    if family == 6 {
        put(judged, 4, forwarding.target);
        return store(context, l3.wrapping_add(8), judged, 32);
    }
    judged.headers[1] = ((forwarding.target[0] >> 32) as u32).to_be();
    // SAFETY: as above.
    if unsafe { bpf_l3_csum_replace(context, l3.wrapping_add(10), 0, addresses, 0) } != 0 {
        return None;
    }
    store(context, l3.wrapping_add(12), judged, 8)
}

/// An address, as it is written, into the scratch words from `at` on.
#[inline(always)]
fn put(judged: &mut Judged, at: usize, [high, low]: [u64; 2]) {
    let words: *mut u32 = (&raw mut judged.headers).cast();
    let parts = [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32];
    for (i, part) in parts.into_iter().enumerate() {
        // SAFETY: `at` is a constant, and below 12; volatile keeps the compiler from calling a loop over bytes.
        unsafe { core::ptr::write_volatile(words.add(at + i), part.to_be()) };
    }
}

/// Writes bytes of the scratch words into the packet.
#[inline(always)]
fn store(context: *mut __sk_buff, offset: u32, judged: &Judged, length: u32) -> Option<()> {
    let from: *const c_void = (&raw const judged.headers).cast();
    // SAFETY: the program's own context, and `length` bytes of this CPU's element, which has 60.
    let done = unsafe { bpf_skb_store_bytes(context, offset, from, length, 0) };
    if done == 0 { Some(()) } else { None }
}

/// Translates an ICMP error of a tracked connection, and what it quotes (RFC 5508 4.2, RFC 6296 3.5).
///
/// Written directly at tc too: what is exchanged is balanced by the checksums within the packet, so that one that
/// the kernel knows for all of it stays right, and nobody sends an error whose checksum is half made.
#[inline(always)]
fn translate_error(bytes: &Bytes, judged: &Judged, forwarding: &Forwarding, about: &Quoted) -> Option<()> {
    let (error, quoted) = (&judged.packet, &about.packet);
    // A router's own address stays; an end of the connection shows itself as what the other end knows.
    let is_end = (error.source[0] ^ quoted.destination[0]) | (error.source[1] ^ quoted.destination[1]) == 0;
    let source = if is_end { forwarding.source } else { error.source };
    let new_ports = forwarding.ports.rotate_left(16);
    let has_ports = quoted.flags & flags::HAS_PORTS != 0;
    // An echo or its reply: others are nobody's.
    let has_identifier = quoted.flags & flags::HAS_ICMP != 0;
    let old_ports =
        if has_ports { (quoted.source_port as u32) << 16 | quoted.port as u32 } else { quoted.sequence };
    let ports = if has_ports || has_identifier { halves(new_ports) + halves(!old_ports) } else { 0 };
    let outer = exchanged(error.source, source, error.family)
        + exchanged(error.destination, forwarding.target, error.family);
    let inner = exchanged(quoted.source, forwarding.target, error.family)
        + exchanged(quoted.destination, forwarding.source, error.family);
    let at = error.l4_offset as u32;
    if has_ports {
        bytes.header::<4>(about.transport)?.put32::<0>(new_ports);
    } else if has_identifier {
        bytes.header::<8>(about.transport)?.put16::<4>(Ends::of(forwarding).identifier());
    }
    put_addresses(bytes, error.family, at.wrapping_add(8), (forwarding.target, forwarding.source), inner)?;
    put_addresses(bytes, error.family, error.l3_offset as u32, (source, forwarding.target), outer)?;
    // Of IPv4 the quoted header's checksum has taken up what its addresses changed.
    let all = if error.family == 6 { fold16(outer) as u32 + fold16(inner) as u32 + ports } else { ports };
    let icmp = bytes.header::<4>(at)?;
    icmp.put16::<2>(summed(icmp.be16::<2>(), all));
    Some(())
}

/// Writes source and destination into the IP header at an offset, whose checksum then changes by so much.
#[inline(always)]
fn put_addresses(
    bytes: &Bytes,
    family: u8,
    offset: u32,
    (source, destination): ([u64; 2], [u64; 2]),
    change: u32,
) -> Option<()> {
    if family != 6 {
        let ip = bytes.header::<20>(offset)?;
        ip.put32::<12>((source[0] >> 32) as u32);
        ip.put32::<16>((destination[0] >> 32) as u32);
        ip.put16::<10>(summed(ip.be16::<10>(), change));
        return Some(());
    }
    let ip = bytes.header::<40>(offset)?;
    ip.put32::<8>((source[0] >> 32) as u32);
    ip.put32::<12>(source[0] as u32);
    ip.put32::<16>((source[1] >> 32) as u32);
    ip.put32::<20>(source[1] as u32);
    ip.put32::<24>((destination[0] >> 32) as u32);
    ip.put32::<28>(destination[0] as u32);
    ip.put32::<32>((destination[1] >> 32) as u32);
    ip.put32::<36>(destination[1] as u32);
    Some(())
}
