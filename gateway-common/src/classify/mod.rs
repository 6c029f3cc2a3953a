//! Which route a packet belongs to: the first of the policy that matches, at a cost that depends on
//! how many sets of dimensions the policy uses and not on how many routes it has.
//!
//! Each dimension is reduced to an equivalence class (two sources are in one class if no route can
//! tell them apart), every route is entered under the combination of dimensions that it names, and
//! only the combinations in use are probed, those with the lowest routes first.

use crate::image::intervals::class_at;
use crate::image::{
    ATTRIBUTES_LINE, Arena, Combination, HeaderAttributes, HeaderHot, HeaderMore, INTERFACE_CLASS_LINE, Key,
    LENGTHS_V4_LINE, LENGTHS_V6_LINE, MORE_LINE, RouteEntry, TAG_COMBINATION, TAG_MERGE, TAG_V4, TAG_V6,
    TableRef, byte_at, class_of, dimension, lookup, u16_at,
};
use crate::live;
use crate::packet::{Address, Packet, flags};

/// A packet's class in each dimension. Class 0 is "in no route's set", except for the protocol,
/// which stands for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Classes {
    /// Source class, below 2^24.
    pub source: u32,
    /// Destination class, below 2^24.
    pub destination: u32,
    /// Class of the sender's set of labels; 0 is no label.
    pub label: u16,
    /// Destination-port class.
    pub port: u16,
    /// Source-port class.
    pub source_port: u16,
    /// VLAN class, below 2^10.
    pub vlan: u16,
    /// Interface class.
    pub interface: u8,
    /// IP protocol.
    pub protocol: u8,
    /// ICMP type class.
    pub icmp_type: u8,
    /// ICMP code class.
    pub icmp_code: u8,
    /// What may differ between packets of one flow.
    pub attributes: Attributes,
}

/// Classes of what may differ between packets of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// TCP flags.
    pub tcp_flags: u8,
    /// DSCP, below 2^6.
    pub dscp: u8,
    /// Kind of fragment, below 2^4.
    pub fragment: u8,
    /// Time to live.
    pub ttl: u8,
    /// Length of the IP packet, below 2^14.
    pub length: u16,
    /// Flow label, below 2^14.
    pub flow_label: u16,
}

/// Where a dimension's class stands in a key: word and lowest bit, and how many bits it has; in the
/// order of the dimensions' bits.
///
/// ```text
/// a  destination 24 · source 24 · label 16
/// b  source port 16 · port 16 · protocol 8 · interface 8 · ICMP type 8 · ICMP code 8
/// c  length 14 · flow label 14 · TCP flags 8 · TTL 8 · VLAN 10 · DSCP 6 · fragment 4
/// ```
pub const FIELDS: [(usize, u32, u32); dimension::COUNT] = [
    (1, 40, 8),
    (0, 24, 24),
    (0, 0, 24),
    (1, 32, 8),
    (1, 16, 16),
    (1, 0, 16),
    (0, 48, 16),
    (2, 44, 10),
    (1, 48, 8),
    (1, 56, 8),
    (2, 28, 8),
    (2, 0, 14),
    (2, 54, 6),
    (2, 60, 4),
    (2, 14, 14),
    (2, 36, 8),
];

/// The bits of a key that these dimensions' classes take.
#[must_use]
pub const fn mask(dimensions: u32) -> [u64; 3] {
    let mut words = [0; 3];
    let mut i = 0;
    while i < dimension::COUNT {
        if dimensions >> i & 1 != 0 {
            let (word, low, bits) = FIELDS[i];
            words[word] |= (u64::MAX >> (64 - bits)) << low;
        }
        i += 1;
    }
    words
}

impl Classes {
    /// The words of a key with every dimension's class.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u64; 3] {
        let of_packet = &self.attributes;
        [
            self.destination as u64 | (self.source as u64) << 24 | (self.label as u64) << 48,
            self.source_port as u64
                | (self.port as u64) << 16
                | (self.protocol as u64) << 32
                | (self.interface as u64) << 40
                | (self.icmp_type as u64) << 48
                | (self.icmp_code as u64) << 56,
            of_packet.length as u64
                | (of_packet.flow_label as u64) << 14
                | (of_packet.tcp_flags as u64) << 28
                | (of_packet.ttl as u64) << 36
                | (self.vlan as u64) << 44
                | (of_packet.dscp as u64) << 54
                | (of_packet.fragment as u64) << 60,
        ]
    }

    /// The dimensions in which this packet is in some route's set.
    #[inline(always)]
    #[must_use]
    pub const fn present(&self) -> u32 {
        let of_packet = &self.attributes;
        dimension::PROTOCOL
            | bit(self.interface as u32, dimension::INTERFACE)
            | bit(self.source, dimension::SOURCE)
            | bit(self.destination, dimension::DESTINATION)
            | bit(self.port as u32, dimension::PORT)
            | bit(self.source_port as u32, dimension::SOURCE_PORT)
            | bit(self.label as u32, dimension::LABEL)
            | bit(self.vlan as u32, dimension::VLAN)
            | bit(self.icmp_type as u32, dimension::ICMP_TYPE)
            | bit(self.icmp_code as u32, dimension::ICMP_CODE)
            | bit(of_packet.tcp_flags as u32, dimension::TCP_FLAGS)
            | bit(of_packet.length as u32, dimension::LENGTH)
            | bit(of_packet.dscp as u32, dimension::DSCP)
            | bit(of_packet.fragment as u32, dimension::FRAGMENT)
            | bit(of_packet.flow_label as u32, dimension::FLOW_LABEL)
            | bit(of_packet.ttl as u32, dimension::TTL)
    }
}

#[inline(always)]
const fn bit(class: u32, dimension: u32) -> u32 {
    if class != 0 { dimension } else { 0 }
}

/// Where a packet is classified.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Line of the header.
    pub header_line: u32,
    /// The header.
    pub header: &'a HeaderHot,
    /// Slot of the interface that the packet arrived on.
    pub slot: u16,
    /// The time, in [`crate::abi::ticks`].
    pub now: u32,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index of the route.
    pub route: u32,
    /// Class of the sender's labels, 0 where no route names one.
    pub label: u16,
    /// Until when it is so, in [`crate::abi::ticks`]; [`live::FOR_EVER`] if no time to live has a part in it.
    pub until: u32,
}

/// The route for a packet. `live` is the table of live members ([`crate::live`]). Nothing is returned
/// only where the tables point outside themselves.
#[inline(always)]
pub fn classify<A: Arena + ?Sized, L: Arena + ?Sized>(
    arena: &A,
    live: &L,
    place: &Place<'_>,
    packet: &Packet,
) -> Option<Found> {
    let mut found = Found { route: 0, label: 0, until: live::FOR_EVER };
    if place.header.dimensions & dimension::LABEL != 0 {
        (found.label, found.until) = labels(arena, live, place, packet)?;
    }
    found.route = route(arena, place, packet, found.label)?;
    Some(found)
}

/// The class of the sender's labels, and until when it is that.
#[inline(always)]
pub fn labels<A: Arena + ?Sized, L: Arena + ?Sized>(
    arena: &A,
    live: &L,
    place: &Place<'_>,
    packet: &Packet,
) -> Option<(u16, u32)> {
    let header = more(arena, place.header_line)?;
    let fixed = class_at(arena, header.labels, packet.family, packet.source)?;
    let mut class = arena.forget(fixed);
    let carried = live::labels_of(live, packet.family, packet.source, place.now)?;
    // Written out: see `forget`.
    class = merged(arena, header.merges, class, carried.labels[0])?;
    class = merged(arena, header.merges, class, carried.labels[1])?;
    class = merged(arena, header.merges, class, carried.labels[2])?;
    class = merged(arena, header.merges, class, carried.labels[3])?;
    Some((class as u16, carried.until))
}

/// The route for a packet whose sender's labels are of this class.
#[inline(always)]
pub fn route<A: Arena + ?Sized>(arena: &A, place: &Place<'_>, packet: &Packet, label: u16) -> Option<u32> {
    let header = place.header;
    let classes = classes_of(arena, place, packet, label)?;
    // Where a route negates a dimension, class 0 is entered too.
    let missing = !(classes.present() | header.dimensions >> 16);
    let [a, b, c] = classes.words();
    let mut best = header.default_route;
    let mut i = 0;
    while i < dimension::COMBINATIONS as u32 {
        if i >= header.combination_count {
            break;
        }
        let line = arena.line(header.combination_list.wrapping_add(i >> 1))?;
        let list: &[Combination; 2] = bytemuck::cast_ref(line);
        let combination = &list[i as usize & 1];
        if combination.first_route >= best {
            break;
        }
        if combination.dimensions & missing == 0 {
            let key = Key {
                a: a & combination.mask[0],
                b: b & combination.mask[1],
                c: c & combination.mask[2],
                tag: TAG_COMBINATION | combination.dimensions,
            };
            if let Some(route) = lookup(arena, header.combinations, &key)
                && route < best
            {
                best = route;
            }
            best = arena.forget(best);
        }
        i += 1;
    }
    Some(best)
}

/// A route's entry; `routes` is as in [`HeaderHot::routes`].
#[inline(always)]
pub fn route_entry<A: Arena + ?Sized>(arena: &A, routes: u32, route: u32) -> Option<&RouteEntry> {
    let line = arena.line(routes.wrapping_add(route >> 1))?;
    let entries: &[RouteEntry; 2] = bytemuck::cast_ref(line);
    Some(&entries[route as usize & 1])
}

/// The part of the header that few policies need.
#[inline(always)]
pub fn more<A: Arena + ?Sized>(arena: &A, header_line: u32) -> Option<&HeaderMore> {
    arena.line(header_line.wrapping_add(MORE_LINE)).map(bytemuck::cast_ref)
}

/// The variant of a packet, which tells apart what the memo's key does not: packets of one flow with
/// the same variant go the same way.
#[inline(always)]
pub fn variant<A: Arena + ?Sized>(arena: &A, header_line: u32, packet: &Packet) -> Option<u16> {
    let header: &HeaderAttributes =
        bytemuck::cast_ref(arena.line(header_line.wrapping_add(ATTRIBUTES_LINE))?);
    let classes = attributes(arena, header, packet)?;
    let [tcp_flags, length, dscp, fragment, flow_label, ttl] = header.strides;
    Some(
        (classes.tcp_flags as u16)
            .wrapping_mul(tcp_flags)
            .wrapping_add(classes.length.wrapping_mul(length))
            .wrapping_add((classes.dscp as u16).wrapping_mul(dscp))
            .wrapping_add((classes.fragment as u16).wrapping_mul(fragment))
            .wrapping_add(classes.flow_label.wrapping_mul(flow_label))
            .wrapping_add((classes.ttl as u16).wrapping_mul(ttl)),
    )
}

/// The classes of what may differ between packets of one flow.
#[inline(always)]
fn attributes<A: Arena + ?Sized>(
    arena: &A,
    header: &HeaderAttributes,
    packet: &Packet,
) -> Option<Attributes> {
    let mut classes = Attributes::default();
    if header.tcp_flags != 0 && has_tcp_flags(packet) {
        classes.tcp_flags = forget8(arena, byte_at(arena, header.tcp_flags, packet.tcp_flags as u32)?);
    }
    if header.length != 0 {
        classes.length = forget16(arena, u16_at(arena, header.length, packet.ip_length() as u32)?);
    }
    if header.dscp != 0 {
        classes.dscp = forget8(arena, byte_at(arena, header.dscp, packet.traffic_class as u32 >> 2)?);
    }
    if header.fragment != 0 {
        classes.fragment = forget8(arena, byte_at(arena, header.fragment, packet.fragment_bits() as u32)?);
    }
    if header.flow_label != 0 && packet.family == 6 {
        classes.flow_label = forget16(arena, u16_at(arena, header.flow_label, packet.flow_label & 0xf_ffff)?);
    }
    if header.ttl != 0 {
        classes.ttl = forget8(arena, byte_at(arena, header.ttl, packet.ttl as u32)?);
    }
    Some(classes)
}

/// Whether there are TCP flags to speak of: not in a later fragment, and in no other protocol.
#[inline(always)]
const fn has_tcp_flags(packet: &Packet) -> bool {
    packet.protocol == crate::packet::protocol::TCP
        && packet.flags & (flags::HAS_PORTS | flags::LATER_FRAGMENT) == flags::HAS_PORTS
}

#[inline(always)]
fn forget8<A: Arena + ?Sized>(arena: &A, class: u8) -> u8 {
    arena.forget(class as u32) as u8
}

#[inline(always)]
fn forget16<A: Arena + ?Sized>(arena: &A, class: u16) -> u16 {
    arena.forget(class as u32) as u16
}

/// The dimensions whose tables the rarer line of the header names.
const RARE: u32 = dimension::VLAN | dimension::ICMP_TYPE | dimension::ICMP_CODE;

/// The classes of a packet in the dimensions that the policy uses.
#[inline(always)]
fn classes_of<A: Arena + ?Sized>(
    arena: &A,
    place: &Place<'_>,
    packet: &Packet,
    label: u16,
) -> Option<Classes> {
    let Place { header_line, header, .. } = *place;
    let mut classes = Classes { protocol: packet.protocol, label, ..Classes::default() };
    if header.dimensions & dimension::INTERFACE != 0 {
        classes.interface = byte_at(arena, header_line + INTERFACE_CLASS_LINE, place.slot as u32 & 0xff)?;
    }
    if header.dimensions & dimension::SOURCE != 0 {
        let counts = [header.length_counts[0], header.length_counts[1]];
        classes.source = side(arena, header_line, header.sources, 0, counts, packet.family, packet.source)?;
    }
    if header.dimensions & dimension::DESTINATION != 0 {
        let counts = [header.length_counts[2], header.length_counts[3]];
        classes.destination =
            side(arena, header_line, header.destinations, 1, counts, packet.family, packet.destination)?;
    }
    if packet.flags & flags::HAS_PORTS != 0 {
        if header.port_classes != 0 {
            classes.port = forget16(arena, u16_at(arena, header.port_classes, packet.port as u32)?);
        }
        if header.source_port_classes != 0 {
            classes.source_port = u16_at(arena, header.source_port_classes, packet.source_port as u32)?;
        }
    }
    if header.dimensions & RARE != 0 {
        rare(arena, header_line, packet, &mut classes)?;
    }
    if header.dimensions & dimension::OF_PACKETS != 0 {
        let line = arena.line(header_line.wrapping_add(ATTRIBUTES_LINE))?;
        classes.attributes = attributes(arena, bytemuck::cast_ref(line), packet)?;
    }
    Some(classes)
}

/// VLAN, ICMP type and code.
#[inline(always)]
fn rare<A: Arena + ?Sized>(
    arena: &A,
    header_line: u32,
    packet: &Packet,
    classes: &mut Classes,
) -> Option<()> {
    let header = more(arena, header_line)?;
    if header.vlan_classes != 0 {
        classes.vlan = forget16(arena, u16_at(arena, header.vlan_classes, packet.vlan as u32 & 0xfff)?);
    }
    if packet.flags & flags::HAS_ICMP != 0 {
        if header.icmp_type_classes != 0 {
            let class = byte_at(arena, header.icmp_type_classes, packet.port as u32 >> 8)?;
            classes.icmp_type = forget8(arena, class);
        }
        if header.icmp_code_classes != 0 {
            let class = byte_at(arena, header.icmp_code_classes, packet.port as u32 & 0xff)?;
            classes.icmp_code = forget8(arena, class);
        }
    }
    Some(())
}

/// The class of a label set and one label more; 0 is no label.
#[inline(always)]
fn merged<A: Arena + ?Sized>(arena: &A, merges: TableRef, class: u32, label: u32) -> Option<u32> {
    if label == 0 {
        return Some(class);
    }
    let key = Key { a: class as u64, b: label as u64, c: 0, tag: TAG_MERGE };
    let class = lookup(arena, merges, &key).unwrap_or(class);
    Some(arena.forget(class))
}

/// The class of an address in a prefix table: `side` 0 is the source, 1 the destination.
#[inline(always)]
fn side<A: Arena + ?Sized>(
    arena: &A,
    header_line: u32,
    table: TableRef,
    side: usize,
    counts: [u8; 2],
    family: u8,
    address: Address,
) -> Option<u32> {
    let (tag, lengths, count) = if family == 6 {
        (TAG_V6, LENGTHS_V6_LINE[side], counts[1])
    } else {
        (TAG_V4, LENGTHS_V4_LINE[side], counts[0])
    };
    let (tag, lengths, count) = (arena.forget(tag), arena.forget(lengths), arena.forget(count as u32));
    class_of(arena, table, tag, header_line + lengths, count, address)
}

#[cfg(test)]
mod tests;
