//! Which route a packet belongs to: the first of the policy that matches, at a cost that depends on
//! how many sets of dimensions the policy uses and not on how many routes it has.
//!
//! Each dimension is reduced to an equivalence class (two sources are in one class if no route can
//! tell them apart), every route is entered under the combination of dimensions that it names, and
//! only the combinations in use are probed, those with the lowest routes first.

use crate::image::{
    Arena, Combination, HeaderHot, INTERFACE_CLASS_LINE, LENGTHS_V4_LINE, LENGTHS_V6_LINE, RouteEntry,
    TAG_COMBINATION, TAG_V4, TAG_V6, TableRef, byte_at, class_of, dimension, lookup, u16_at,
};
use crate::packet::{Address, Packet, flags};

/// The key of a combination: the classes of the dimensions that it names, zero for the others.
#[inline(always)]
#[must_use]
pub const fn combination_key(dimensions: u32, classes: &Classes) -> (u64, u64, u32) {
    let mut a = 0;
    let mut b = 0;
    if dimensions & dimension::SOURCE != 0 {
        a |= (classes.source as u64) << 32;
    }
    if dimensions & dimension::DESTINATION != 0 {
        a |= classes.destination as u64;
    }
    if dimensions & dimension::INTERFACE != 0 {
        b |= (classes.interface as u64) << 40;
    }
    if dimensions & dimension::PROTOCOL != 0 {
        b |= (classes.protocol as u64) << 32;
    }
    if dimensions & dimension::PORT != 0 {
        b |= (classes.port as u64) << 16;
    }
    if dimensions & dimension::SOURCE_PORT != 0 {
        b |= classes.source_port as u64;
    }
    (a, b, TAG_COMBINATION | dimensions)
}

/// A packet's class in each dimension. Class 0 is "in no route's set", except for the protocol,
/// which stands for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Classes {
    /// Source class.
    pub source: u32,
    /// Destination class.
    pub destination: u32,
    /// Interface class.
    pub interface: u8,
    /// IP protocol.
    pub protocol: u8,
    /// Destination-port class.
    pub port: u16,
    /// Source-port class.
    pub source_port: u16,
}

impl Classes {
    /// The dimensions in which this packet is in some route's set.
    #[inline(always)]
    #[must_use]
    pub const fn present(&self) -> u32 {
        let mut dimensions = dimension::PROTOCOL;
        if self.source != 0 {
            dimensions |= dimension::SOURCE;
        }
        if self.destination != 0 {
            dimensions |= dimension::DESTINATION;
        }
        if self.interface != 0 {
            dimensions |= dimension::INTERFACE;
        }
        if self.port != 0 {
            dimensions |= dimension::PORT;
        }
        if self.source_port != 0 {
            dimensions |= dimension::SOURCE_PORT;
        }
        dimensions
    }
}

/// The index of the route for a packet that arrived on interface `slot`. Nothing is returned only
/// where the tables point outside the arena.
#[inline(always)]
pub fn classify<A: Arena + ?Sized>(
    arena: &A,
    header_line: u32,
    header: &HeaderHot,
    slot: u16,
    packet: &Packet,
) -> Option<u32> {
    let classes = classes_of(arena, header_line, header, slot, packet)?;
    let missing = !classes.present();
    let mut best = header.default_route;
    let mut i = 0;
    while i < dimension::COMBINATIONS as u32 {
        if i >= header.combination_count {
            break;
        }
        let line = arena.line(header.combination_list.wrapping_add(i >> 2))?;
        let list: &[Combination; 4] = bytemuck::cast_ref(line);
        let combination = &list[i as usize & 3];
        if combination.first_route >= best {
            break;
        }
        if combination.dimensions & missing == 0 {
            let (a, b, tag) = combination_key(combination.dimensions, &classes);
            if let Some(route) = lookup(arena, header.combinations, a, b, tag)
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

/// A route's entry.
#[inline(always)]
pub fn route_entry<'a, A: Arena + ?Sized>(
    arena: &'a A,
    header: &HeaderHot,
    route: u32,
) -> Option<&'a RouteEntry> {
    let line = arena.line(header.routes.wrapping_add(route >> 1))?;
    let entries: &[RouteEntry; 2] = bytemuck::cast_ref(line);
    Some(&entries[route as usize & 1])
}

/// The classes of a packet in the dimensions that the policy uses.
#[inline(always)]
fn classes_of<A: Arena + ?Sized>(
    arena: &A,
    header_line: u32,
    header: &HeaderHot,
    slot: u16,
    packet: &Packet,
) -> Option<Classes> {
    let mut classes = Classes { protocol: packet.protocol, ..Classes::default() };
    if header.dimensions & dimension::INTERFACE != 0 {
        classes.interface = byte_at(arena, header_line + INTERFACE_CLASS_LINE, slot as u32 & 0xff)?;
    }
    if header.dimensions & dimension::SOURCE != 0 {
        classes.source = side(arena, header_line, header, header.sources, 0, packet.family, packet.source)?;
    }
    if header.dimensions & dimension::DESTINATION != 0 {
        classes.destination =
            side(arena, header_line, header, header.destinations, 1, packet.family, packet.destination)?;
    }
    if packet.flags & flags::HAS_PORTS != 0 {
        if header.port_classes != 0 {
            classes.port =
                arena.forget(u16_at(arena, header.port_classes, packet.port as u32)? as u32) as u16;
        }
        if header.source_port_classes != 0 {
            classes.source_port = u16_at(arena, header.source_port_classes, packet.source_port as u32)?;
        }
    }
    Some(classes)
}

/// The class of one side's address: `direction` 0 is the source, 1 the destination.
#[inline(always)]
fn side<A: Arena + ?Sized>(
    arena: &A,
    header_line: u32,
    header: &HeaderHot,
    table: TableRef,
    direction: usize,
    family: u8,
    address: Address,
) -> Option<u32> {
    let (tag, lengths, count) = if family == 6 {
        (TAG_V6, LENGTHS_V6_LINE[direction], header.length_counts[direction * 2 + 1])
    } else {
        (TAG_V4, LENGTHS_V4_LINE[direction], header.length_counts[direction * 2])
    };
    let (tag, lengths, count) = (arena.forget(tag), arena.forget(lengths), arena.forget(count as u32));
    class_of(arena, table, tag, header_line + lengths, count, address)
}
