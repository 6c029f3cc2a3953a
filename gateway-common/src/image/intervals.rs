//! Address → class, for a million prefixes: the table of the labels.
//!
//! Prefixes of whatever lengths cut the addresses of a family into intervals, each of one class. What a
//! look-up costs is the lines that it touches, since with a million prefixes each is a miss of cache and
//! TLB, so the table is small and its ways are short: the intervals lie in order in lines of six, and a
//! directory over the range that they span says in which line to begin. That makes two lines and a
//! quarter for an address, whatever the lengths. Where many intervals fall into one slot of the
//! directory, a B-tree leads to their lines, so that no choice of prefixes makes the way long.
//!
//! The search over prefix lengths ([`super::class_of`]), which finds the classes of routes' prefixes, has
//! room for their 24 bits, but reads one or two lines for each of some four lengths that it tries, out of
//! ten times the memory. A trie with fixed strides touches a line for each 16 bits of an IPv6 prefix, most
//! of them with one child only.
//!
//! ```text
//! line 0   Head: a directory for each family
//! a family: its leaves, in order · its slots, sixteen a line · the B-trees of crowded slots
//!
//! words    0  1  2  3  4  5        6                  7
//! leaf     last high word of 6     classes 0..4       classes 4..6, kind
//! wide     last address of 3       classes 0..3       kind
//! inner    last high word of 7 children (8)           line of the first child, kind
//! wide     last address of 3 children (4) · 0         line of the first child, kind
//! ```
//!
//! An interval ends with the last address that is named; the next one begins behind it. A line of high
//! words holds only intervals that end with a whole high word, as all of IPv4 do, and those of IPv6
//! prefixes up to /64. Line numbers count from line 0 of the table.

use super::Arena;
use crate::abi::{ARENA_LINES_MAX, Line};
use crate::packet::Address;
use bytemuck::{Pod, Zeroable};

/// Set in word 7 of an inner line.
pub const INNER: u64 = 1 << 63;
/// Set in word 7 of a line whose ends are whole addresses.
pub const WIDE: u64 = 1 << 62;
/// Set in a slot that holds a class, since all its addresses have that; else it is a line's number.
pub const SLOT_CLASS: u32 = 1 << 31;
/// Intervals of a leaf: of high words, of whole addresses.
pub const LEAF_INTERVALS: [usize; 2] = [6, 3];
/// Children of an inner line: by high words, by whole addresses.
pub const CHILDREN: [usize; 2] = [8, 4];
/// Leaves that a look-up reads one after the other: where a slot has more, it leads to a B-tree.
pub const LEAVES_IN_ORDER: usize = 4;
/// Most lines that a look-up reads: the longest way through a B-tree, if all of the arena were leaves
/// and all its inner lines had four children only, and a leaf.
const STEPS: u32 = ARENA_LINES_MAX.ilog2() / 2 + 1;

/// Where to begin, by an address's high word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Directory {
    /// The high word where slot 0 begins; those before belong to it too.
    pub first: u64,
    /// Line of the slots, `u32` each.
    pub line: u32,
    /// The last slot, to which everything behind belongs too.
    pub last_slot: u32,
    /// A slot has `1 << shift` high words; below 64.
    pub shift: u32,
    /// Zero.
    pub reserved: u32,
}

/// Line 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Head {
    /// Of IPv4, whose addresses are high words ([`crate::packet::ipv4_address`]).
    pub v4: Directory,
    /// Of IPv6.
    pub v6: Directory,
    /// Zero.
    pub reserved: [u64; 2],
}

const _: () = {
    assert!(size_of::<Head>() == size_of::<Line>());
    assert!(STEPS as usize >= LEAVES_IN_ORDER);
};

/// The class of an address of this family (6, or else IPv4) in the table that begins at this line.
/// Nothing is returned only where the table points outside itself.
#[inline(always)]
pub fn class_at<A: Arena + ?Sized>(arena: &A, table: u32, family: u8, address: Address) -> Option<u32> {
    let head: &Head = bytemuck::cast_ref(arena.line(table)?);
    let directory = if family == 6 { &head.v6 } else { &head.v4 };
    let slot = address[0].saturating_sub(directory.first) >> (directory.shift & 63);
    let last = directory.last_slot;
    let slot = if slot < last as u64 { slot as u32 } else { last };
    let start = u32_at(arena, table.wrapping_add(directory.line), slot)?;
    let mut at = arena.forget(start);
    if at & SLOT_CLASS != 0 {
        return Some(at & 0xffff);
    }
    let mut step = 0;
    while step < STEPS {
        step += 1;
        let words = &arena.line(table.wrapping_add(at))?.0;
        let kind = words[7];
        let (before, intervals) = if kind & WIDE == 0 {
            (ends_before(words, address[0]), LEAF_INTERVALS[0])
        } else {
            (wide_ends_before(words, address), LEAF_INTERVALS[1])
        };
        if kind & INNER != 0 {
            // The seventh end; 0 in a wide line, which has none.
            let seventh = if kind & WIDE == 0 { less(words[6], address[0], 0) as u32 } else { 0 };
            at = (kind as u32).wrapping_add(before).wrapping_add(seventh);
        } else if before < intervals as u32 {
            return Some(class_in(words, before));
        } else {
            at = at.wrapping_add(1);
        }
        at = arena.forget(at);
    }
    None
}

/// 32-bit element `index` of an array that starts at line `base`.
#[inline(always)]
fn u32_at<A: Arena + ?Sized>(arena: &A, base: u32, index: u32) -> Option<u32> {
    let line = arena.line(base.wrapping_add(index >> 4))?;
    let word = line.0[(index >> 1) as usize & 7];
    Some((word >> ((index & 1) * 32)) as u32)
}

/// How many of the first six words are less than a high word.
#[inline(always)]
const fn ends_before(words: &[u64; 8], high: u64) -> u32 {
    let [a, b, c, d, e, f, ..] = *words;
    let first = less(a, high, 0) + less(b, high, 0) + less(c, high, 0);
    (first + less(d, high, 0) + less(e, high, 0) + less(f, high, 0)) as u32
}

/// How many of the first three addresses are less than this one.
#[inline(always)]
const fn wide_ends_before(words: &[u64; 8], [high, low]: Address) -> u32 {
    let [a, a_low, b, b_low, c, c_low, ..] = *words;
    let first = less(a, high, less(a_low, low, 0)) + less(b, high, less(b_low, low, 0));
    (first + less(c, high, less(c_low, low, 0))) as u32
}

/// The class of interval `index`, below 6, of a leaf.
#[inline(always)]
const fn class_in(words: &[u64; 8], index: u32) -> u32 {
    // Without a branch, which would be a coin toss.
    let in_seventh = ((index >> 2) as u64).wrapping_neg();
    let word = words[6] & !in_seventh | words[7] & in_seventh;
    (word >> ((index & 3) * 16)) as u32 & 0xffff
}

/// The borrow of `a - b - borrow`: 1 where `a < b`, or where they are equal and there was one. Without a
/// branch: where an address lies among six ends is what no predictor knows.
#[inline(always)]
const fn less(a: u64, b: u64, borrow: u64) -> u64 {
    let difference = a.wrapping_sub(b).wrapping_sub(borrow);
    (!a & b | (!a | b) & difference) >> 63
}
