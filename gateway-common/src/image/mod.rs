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
//!                    8..11 source IPv6 lengths · 11..14 destination IPv6 lengths
//!                    14 HeaderMore · 15 HeaderAttributes
//! tables:            source prefixes · destination prefixes · combinations · label merges · addresses
//!                    of translating pools' targets · targets of wrapped packets (hash tables, 2 slots a
//!                    line) · label prefixes (`intervals`)
//! arrays:            combination list (2 a line) · routes (2 a line) · limits (1 a line) ·
//!                    pools (1 a line) · targets (1 a line) · Maglev tables (32 a line) ·
//!                    label-set keys (8 a line) · port, length, flow-label and VLAN classes (32 a line) ·
//!                    ICMP type and code, TCP flag and TTL classes (64 a line, 4 lines) ·
//!                    DSCP and fragment classes (1 line)
//! ```

mod entries;
pub mod intervals;
mod pool;

pub use entries::{
    LimitEntry, PLAIN_BY_IPV4, PLAIN_BY_IPV6, PLAIN_FOR_ALL, ROUTE_EXTRA, ROUTE_PER_LABEL, RouteEntry,
};
pub use pool::{Forward, HashOver, MAX_POOLS, MAX_TARGETS, MSS_OF_WAY, POOL_HEALTH, PoolEntry, TargetEntry};

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
    /// The sender's labels (`from`).
    pub const LABEL: u32 = 64;
    /// VLAN of the outer tag.
    pub const VLAN: u32 = 128;
    /// ICMP type.
    pub const ICMP_TYPE: u32 = 256;
    /// ICMP code.
    pub const ICMP_CODE: u32 = 512;
    /// TCP flags.
    pub const TCP_FLAGS: u32 = 1024;
    /// Length of the IP packet.
    pub const LENGTH: u32 = 2048;
    /// Differentiated services code point.
    pub const DSCP: u32 = 4096;
    /// Kind of fragment.
    pub const FRAGMENT: u32 = 8192;
    /// IPv6 flow label.
    pub const FLOW_LABEL: u32 = 16384;
    /// Time to live, or hop limit.
    pub const TTL: u32 = 32768;
    /// How many dimensions there are.
    pub const COUNT: usize = 16;
    /// Those that may differ between packets of one flow: the memo's key says nothing of them.
    pub const OF_PACKETS: u32 = TCP_FLAGS | LENGTH | DSCP | FRAGMENT | FLOW_LABEL | TTL;
    /// Most sets of dimensions in a policy.
    pub const COMBINATIONS: usize = 64;
}

/// Lines of a header.
pub const HEADER_LINES: u32 = 16;
/// First line of the interface classes, from the header.
pub const INTERFACE_CLASS_LINE: u32 = 2;
/// First line of a table's IPv4 prefix lengths, from the header: source, destination.
pub const LENGTHS_V4_LINE: [u32; 2] = [6, 7];
/// First line of a table's IPv6 prefix lengths, from the header: source, destination.
pub const LENGTHS_V6_LINE: [u32; 2] = [8, 11];
/// Line of [`HeaderMore`], from the header.
pub const MORE_LINE: u32 = 14;
/// Line of [`HeaderAttributes`], from the header.
pub const ATTRIBUTES_LINE: u32 = 15;
/// Most limits of a route.
pub const MAX_ROUTE_LIMITS: usize = 4;
/// Most limits of a policy; entry 0 is never used.
pub const MAX_LIMITS: usize = 16_384;
/// Header magic, "GWIM".
pub const HEADER_MAGIC: u32 = 0x4757_494D;
/// Tag of IPv4 prefixes in a prefix table; the prefix length is added.
pub const TAG_V4: u32 = 0x400;
/// Tag of IPv6 prefixes.
pub const TAG_V6: u32 = 0x600;
/// Tag of combinations; the dimensions are added.
pub const TAG_COMBINATION: u32 = 0x1_0000;
/// Tag of label merges: `a` is a label set's class, `b` a label's number, the value the class of the
/// set with that label.
pub const TAG_MERGE: u32 = 0x800;
/// Tag of targets' addresses, which stand in `a` and `b`.
pub const TAG_TARGET_SOURCE: u32 = 0xa00;

/// Tag of targets that packets are wrapped for, see [`crate::path::key`]; the value is the target's slot, the
/// lowest where several have one address and source.
pub const TAG_WRAPPED_TARGET: u32 = 0xB00;

/// A hash table in the arena: `mask + 1` lines (a power of two) from line `base`, two slots each.
///
/// A key lies in line `hash & mask` or in line `(hash >> 32) & mask` of the table, hash being
/// [`Key::hash`]: bucketed cuckoo hashing (Dietzfelbinger and Weidling, 2007), so that a look-up
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
    /// Third key word: 0 but for combinations.
    pub c: u64,
}

/// A key of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// First word.
    pub a: u64,
    /// Second word.
    pub b: u64,
    /// Third word, 0 but for combinations.
    pub c: u64,
    /// What kind of key it is; not 0.
    pub tag: u32,
}

impl Key {
    /// The hash that says where it lies, see [`TableRef`].
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self) -> u64 {
        table_key(self.a, self.b, self.c, self.tag)
    }
}

/// Two slots: a line of a table.
pub type Bucket = [Slot; 2];

/// What is read to judge a packet that the memo does not know, or of which its line does not say all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HeaderHot {
    /// First line of the limits, 0 if there is none.
    pub limits: u32,
    /// First line of the pools, one a line by their index, which is from 1 on: entry 0 is unused. 0 if
    /// there is none.
    pub pools: u32,
    /// All dimensions that any route names, and in the upper 16 bits those in which class 0 is entered
    /// too, because a route negates them.
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
    /// The bits of a key that their classes take: [`crate::classify::mask`].
    pub mask: [u64; 3],
}

/// What only policies with labels, VLANs, ICMP types or translating pools need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HeaderMore {
    /// First line of the table source → class of the set of labels that hold it ([`intervals`]).
    pub labels: u32,
    /// How many lines it has; for user space.
    pub label_lines: u32,
    /// (class of a label set, label's number) → class of the set with that label: for live members.
    pub merges: TableRef,
    /// First line of the label sets' keys (u64 each, by class, class 0 included), 0 if no limit is by
    /// label.
    pub label_keys: u32,
    /// First line of the VLAN classes (u16, 4,096 elements), 0 if no route names one.
    pub vlan_classes: u32,
    /// First line of the ICMP type classes (u8, 256 elements), or 0.
    pub icmp_type_classes: u32,
    /// First line of the ICMP code classes (u8, 256 elements), or 0.
    pub icmp_code_classes: u32,
    /// Entries of [`HeaderHot::limits`], entry 0 included; for user space.
    pub limit_count: u32,
    /// Elements of [`HeaderMore::label_keys`]; for user space.
    pub label_key_count: u32,
    /// Entries of [`HeaderHot::pools`], entry 0 included; for user space.
    pub pool_count: u32,
    /// Addresses of translating pools' targets → 1: whose packets may be a connection's return half.
    pub target_sources: TableRef,
    /// Zero.
    pub reserved: [u32; 3],
}

/// What is seldom read: where the classes of what may differ between packets of one flow are found, 0 where no route
/// names the dimension, by what each class is multiplied in the packet's variant, the targets of wrapped packets, and
/// what becomes of malformed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HeaderAttributes {
    /// Bits of the malformed reasons that drop; the others pass and are counted.
    pub malformed_drop: u64,
    /// u8, 256 elements.
    pub tcp_flags: u32,
    /// u16, 65,536 elements.
    pub length: u32,
    /// u8, 64 elements.
    pub dscp: u32,
    /// u8, 16 elements, by [`crate::packet::Packet::fragment_bits`].
    pub fragment: u32,
    /// u16, 1,048,576 elements.
    pub flow_label: u32,
    /// u8, 256 elements.
    pub ttl: u32,
    /// Multipliers in the order above; the variant is their sum, so that it is different for different
    /// classes. All 0 where 16 bits do not hold the product of the numbers of classes: then
    /// [`crate::abi::ACTIVE_UNMEMOIZABLE`] is set.
    pub strides: [u16; 6],
    /// Targets that packets are wrapped for → slot: what ICMP errors about wrapped packets are held against.
    pub wrapped_targets: TableRef,
    /// Zero.
    pub reserved: [u32; 3],
}

const _: () = {
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<HeaderHot>() == 64);
    assert!(size_of::<HeaderCold>() == 64);
    assert!(size_of::<Combination>() == 32);
    assert!(size_of::<HeaderMore>() == 64);
    assert!(size_of::<HeaderAttributes>() == 64);
    assert!(TAG_COMBINATION as usize == 1 << dimension::COUNT);
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
pub fn lookup<A: Arena + ?Sized>(arena: &A, table: TableRef, key: &Key) -> Option<u32> {
    let hash = key.hash();
    let first = hash as u32 & table.mask;
    if let Some(value) = find(arena, table.base.wrapping_add(first), key) {
        return Some(value);
    }
    let second = (hash >> 32) as u32 & table.mask;
    find(arena, table.base.wrapping_add(second), key)
}

#[inline(always)]
fn find<A: Arena + ?Sized>(arena: &A, index: u32, key: &Key) -> Option<u32> {
    let bucket: &Bucket = bytemuck::cast_ref(arena.line(index)?);
    if bucket[0].is(key) {
        return Some(bucket[0].tag_value as u32);
    }
    if bucket[1].is(key) {
        return Some(bucket[1].tag_value as u32);
    }
    None
}

impl Slot {
    #[inline(always)]
    fn is(&self, key: &Key) -> bool {
        self.a == key.a && self.b == key.b && self.c == key.c && (self.tag_value >> 32) as u32 == key.tag
    }
}

/// The key of [`HeaderMore::target_sources`] for an address.
#[inline(always)]
#[must_use]
pub const fn target_source(address: Address) -> Key {
    Key { a: address[0], b: address[1], c: 0, tag: TAG_TARGET_SOURCE }
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
        let key = Key { a: prefix[0], b: prefix[1], c: 0, tag: family_tag + length };
        match lookup(arena, table, &key) {
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
