//! The compiled policy: how it lies in the arena, and how it is read.
//!
//! A policy image is a handful of tables made of 64-byte [`Line`]s in one memory-mapped array.
//! User space writes them into lines that no live image uses, then stores one word
//! ([`crate::abi::Control::active`]) and every packet from then on is judged by the new image. A
//! table that did not change keeps its place and is named by the next header again.
//!
//! Why not inner maps, LPM tries and hash maps of the kernel: replacing an inner map waits for a
//! grace period (8 to 16 ms) each time, its look-ups are calls, and its tries cost 600 ns over many
//! addresses. A line is one inlined, bounds-checked load away.
//!
//! ```text
//! header (16 lines): 0 HeaderHot · 1 HeaderCold · 2..6 interface classes (a byte a slot)
//!                    6 source IPv4 lengths · 7 destination IPv4 lengths
//!                    8..11 source IPv6 lengths · 11..14 destination IPv6 lengths · 14, 15 zero
//! tables:            source prefixes · destination prefixes · combinations (hash tables, 2 slots a line)
//! arrays:            combination list (4 a line) · routes (2 a line) · port classes (32 a line)
//! ```

use crate::abi::Line;
use crate::hash::table_key;
use crate::packet::Address;
use bytemuck::{Pod, Zeroable};

/// Dimensions a route can name; a combination is a set of them.
pub mod dimension {
    /// The interface the packet arrived on.
    pub const INTERFACE: u32 = 1;
    /// Source prefix (`from`).
    pub const SOURCE: u32 = 2;
    /// Destination prefix (`to`).
    pub const DESTINATION: u32 = 4;
    /// IP protocol.
    pub const PROTOCOL: u32 = 8;
    /// Destination port.
    pub const PORT: u32 = 16;
    /// Source port.
    pub const SOURCE_PORT: u32 = 32;
    /// How many sets of dimensions there are.
    pub const COMBINATIONS: usize = 64;
}

/// Lines of a header.
pub const HEADER_LINES: u32 = 16;
/// First line of the interface classes, from the header.
pub const INTERFACE_CLASS_LINE: u32 = 2;
/// First line of a direction's IPv4 prefix lengths, from the header: source, destination.
pub const LENGTHS_V4_LINE: [u32; 2] = [6, 7];
/// First line of a direction's IPv6 prefix lengths, from the header: source, destination.
pub const LENGTHS_V6_LINE: [u32; 2] = [8, 11];
/// Header magic, "GWIM".
pub const HEADER_MAGIC: u32 = 0x4757_494D;
/// Tag of IPv4 prefixes in a prefix table; the prefix length is added.
pub const TAG_V4: u32 = 0x400;
/// Tag of IPv6 prefixes.
pub const TAG_V6: u32 = 0x600;
/// Tag of combinations; the dimensions are added.
pub const TAG_COMBINATION: u32 = 0x1000;

/// A hash table in the arena: `mask + 1` lines (a power of two) from line `base`, two slots each.
///
/// A key lies in line `hash & mask` or in line `(hash >> 32) & mask` of the table, hash being
/// [`table_key`]: bucketed cuckoo hashing (Dietzfelbinger and Weidling, 2007), so that a look-up
/// reads two lines at most, whatever the size. `base` 0 is the empty table: line 0 of the arena is
/// never given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TableRef {
    /// First line.
    pub base: u32,
    /// Lines less one.
    pub mask: u32,
}

/// A slot of a table. `tag_value` is `tag << 32 | value`; a tag is never 0, so 0 is an empty slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Slot {
    /// First key word.
    pub a: u64,
    /// Second key word.
    pub b: u64,
    /// Tag and value.
    pub tag_value: u64,
    /// Zero.
    pub reserved: u64,
}

/// Two slots: a line of a table.
pub type Bucket = [Slot; 2];

/// What is read to judge a packet that the memo does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HeaderHot {
    /// Bits of the malformed reasons that drop; the others pass and are counted.
    pub malformed_drop: u64,
    /// All dimensions that any route names.
    pub dimensions: u32,
    /// Entries of the combination list.
    pub combination_count: u32,
    /// Source prefix → class.
    pub sources: TableRef,
    /// Destination prefix → class.
    pub destinations: TableRef,
    /// Combination key → lowest route.
    pub combinations: TableRef,
    /// First line of the combination list, in order of their lowest routes.
    pub combination_list: u32,
    /// First line of the routes.
    pub routes: u32,
    /// First line of the destination-port classes, 0 if no route names a port.
    pub port_classes: u32,
    /// First line of the source-port classes, 0 if no route names one.
    pub source_port_classes: u32,
    /// How many prefix lengths there are: source v4, source v6, destination v4, destination v6.
    pub length_counts: [u8; 4],
    /// Index of the default's entry, one behind the last route.
    pub default_route: u32,
}

/// What user space keeps beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HeaderCold {
    /// [`HEADER_MAGIC`].
    pub magic: u32,
    /// The generation.
    pub generation: u32,
    /// When it was applied: seconds since the Unix epoch.
    pub applied_at_unix_secs: u64,
    /// A digest of the policy document, by which a restarted daemon knows its own.
    pub policy_digest: [u64; 4],
    /// Zero.
    pub reserved: [u64; 2],
}

/// A set of dimensions that some route names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Combination {
    /// The dimensions.
    pub dimensions: u32,
    /// The lowest route that names just these: once a lower one is found, the search ends.
    pub first_route: u32,
    /// Zero.
    pub reserved: u64,
}

/// A route as the kernel needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RouteEntry {
    /// Counter slot, the route's for as long as its name lives.
    pub counter: u32,
    /// [`crate::abi::Verdict`].
    pub verdict: u8,
    /// [`crate::reason::Reason`] if the verdict is drop, else 0.
    pub reason: u8,
    /// Interface slot that a redirect goes to.
    pub egress_slot: u8,
    /// Zero.
    pub reserved: u8,
    /// skb mark, [`crate::abi::UNSET`] if none.
    pub mark: u32,
    /// skb priority, [`crate::abi::UNSET`] if none.
    pub priority: u32,
    /// Zero.
    pub reserved2: [u64; 2],
}

const _: () = {
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<HeaderHot>() == 64);
    assert!(size_of::<HeaderCold>() == 64);
    assert!(size_of::<Combination>() == 16);
    assert!(size_of::<RouteEntry>() == 32);
};

/// The arena, as far as a reader is concerned.
pub trait Arena {
    /// Line `index`, or nothing if it is outside.
    fn line(&self, index: u32) -> Option<&Line>;

    /// The value again, but as one of which the kernel's verifier knows nothing: where the ways
    /// through a loop meet, it then finds one state to follow and not one for each history.
    fn forget(&self, value: u32) -> u32 {
        value
    }
}

impl Arena for [Line] {
    fn line(&self, index: u32) -> Option<&Line> {
        self.get(index as usize)
    }
}

/// The value of a key in a table.
#[inline(always)]
pub fn lookup<A: Arena + ?Sized>(arena: &A, table: TableRef, a: u64, b: u64, tag: u32) -> Option<u32> {
    let hash = table_key(a, b, tag);
    let first = hash as u32 & table.mask;
    if let Some(value) = find(arena, table.base.wrapping_add(first), a, b, tag) {
        return Some(value);
    }
    let second = (hash >> 32) as u32 & table.mask;
    find(arena, table.base.wrapping_add(second), a, b, tag)
}

#[inline(always)]
fn find<A: Arena + ?Sized>(arena: &A, index: u32, a: u64, b: u64, tag: u32) -> Option<u32> {
    let bucket: &Bucket = bytemuck::cast_ref(arena.line(index)?);
    if bucket[0].a == a && bucket[0].b == b && (bucket[0].tag_value >> 32) as u32 == tag {
        return Some(bucket[0].tag_value as u32);
    }
    if bucket[1].a == a && bucket[1].b == b && (bucket[1].tag_value >> 32) as u32 == tag {
        return Some(bucket[1].tag_value as u32);
    }
    None
}

/// Byte `index` of an array that starts at line `base`.
#[inline(always)]
pub fn byte_at<A: Arena + ?Sized>(arena: &A, base: u32, index: u32) -> Option<u8> {
    let line = arena.line(base.wrapping_add(index >> 6))?;
    let word = line.0[(index >> 3) as usize & 7];
    Some((word >> ((index & 7) * 8)) as u8)
}

/// 16-bit element `index` of an array that starts at line `base`.
#[inline(always)]
pub fn u16_at<A: Arena + ?Sized>(arena: &A, base: u32, index: u32) -> Option<u16> {
    let line = arena.line(base.wrapping_add(index >> 5))?;
    let word = line.0[(index >> 2) as usize & 7];
    Some((word >> ((index & 3) * 16)) as u16)
}

/// The first `length` bits of an address, the others zero. `length` is at most 128.
#[inline(always)]
#[must_use]
pub fn prefix_of(address: Address, length: u32) -> Address {
    let high = if length >= 64 { u64::MAX } else { !(u64::MAX >> (length & 63)) };
    let low = if length <= 64 {
        0
    } else if length >= 128 {
        u64::MAX
    } else {
        !(u64::MAX >> (length & 63))
    };
    [address[0] & high, address[1] & low]
}

/// Most steps that a search over prefix lengths takes: 129 lengths halved.
const LENGTH_STEPS: u32 = 8;

/// The class of an address in a prefix table, 0 if no prefix holds it.
///
/// Binary search over the prefix lengths in use (Waldvogel, Varghese, Turner and Plattner, "Scalable
/// High Speed IP Routing Lookups", SIGCOMM 1997): `count` lengths, ascending, a byte each, from line
/// `lengths`. Where a longer prefix exists, user space has put a marker at each shorter length that
/// the search visits on its way there; prefix and marker alike carry the class of the longest prefix
/// that holds their own bits, so a search never turns back.
#[inline(always)]
pub fn class_of<A: Arena + ?Sized>(
    arena: &A,
    table: TableRef,
    family_tag: u32,
    lengths: u32,
    count: u32,
    address: Address,
) -> Option<u32> {
    let mut class = 0;
    let mut low = 0;
    let mut high = count;
    let mut step = 0;
    while step < LENGTH_STEPS {
        step += 1;
        if low >= high {
            break;
        }
        let middle = (low + high) >> 1;
        let length = byte_at(arena, lengths, middle)? as u32;
        let prefix = prefix_of(address, length);
        match lookup(arena, table, prefix[0], prefix[1], family_tag + length) {
            Some(found) => {
                class = found;
                low = middle + 1;
            }
            None => high = middle,
        }
        (low, high, class) = (arena.forget(low), arena.forget(high), arena.forget(class));
    }
    Some(class)
}
