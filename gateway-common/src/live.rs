//! Live members of labels: prefixes that come and go without a new policy, beside the image.
//!
//! A table of its own, since a million prefixes of a label lie in the image as equivalence classes,
//! which one prefix more could cut anew in many places. A packet's labels are those of the image and
//! those of every live member that holds its source; which class that makes, the image's merge table
//! says ([`crate::image::HeaderMore::merges`]).
//!
//! ```text
//! line 0     LiveHead
//! line 1     IPv4 prefix lengths in use, a byte each, no order
//! line 2     IPv6 prefix lengths in use
//! lines 8..  the table: mask + 1 lines, two members each, each in one of two lines by its prefix's hash
//! ```
//!
//! Readers take no lock. User space writes a member's last word ([`Member::tag_label`]) last and zeroes
//! it first; it moves a member by writing it to its new place before it is taken from the old one, so
//! that a reader sees it once or twice, never not at all. A length is added before its first member
//! and taken away after its last.

use crate::abi::Line;
use crate::hash::table_key;
use crate::image::{Arena, TAG_V4, TAG_V6, byte_at, prefix_of};
use crate::packet::Address;
use bytemuck::{Pod, Zeroable};

/// First line of the table.
pub const TABLE_LINE: u32 = 8;
/// First line of the IPv4 lengths.
pub const LENGTHS_V4_LINE: u32 = 1;
/// First line of the IPv6 lengths.
pub const LENGTHS_V6_LINE: u32 = 2;
/// [`Member::until`] of a member without a time to live.
pub const FOR_EVER: u32 = u32::MAX;

/// Line 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LiveHead {
    /// How many lengths of IPv4 prefixes there are.
    pub v4_lengths: u32,
    /// How many lengths of IPv6 prefixes there are.
    pub v6_lengths: u32,
    /// Lines of the table less one: a power of two less one.
    pub mask: u32,
    /// Zero.
    pub reserved: [u32; 13],
}

/// A prefix's membership in one label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Member {
    /// The prefix, as [`prefix_of`] cuts it.
    pub prefix: Address,
    /// `tag << 32 | label`: [`TAG_V4`] or [`TAG_V6`] plus the length, and the label's number. 0: empty.
    pub tag_label: u64,
    /// The end of its time to live, in [`crate::abi::ticks`]; [`FOR_EVER`] if it has none.
    pub until: u32,
    /// Zero.
    pub reserved: u32,
}

/// A line of the table.
pub type Members = [Member; 2];

/// The hash that says in which two lines a prefix's members lie: `hash & mask`, `(hash >> 32) & mask`.
#[inline(always)]
#[must_use]
pub const fn place(prefix: Address, tag: u32) -> u64 {
    table_key(prefix[0], prefix[1], 0, tag)
}

/// Most labels that live members give to one source: user space refuses more.
pub const MAX_LABELS: usize = 4;
/// Most different prefix lengths of live members of one family: user space refuses more. All of IPv4's.
pub const MAX_LENGTHS: u32 = 33;

/// What live members give to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Numbers of labels, 0 behind the last.
    pub labels: [u32; MAX_LABELS],
    /// The first end of their times to live, [`FOR_EVER`] if none has one.
    pub until: u32,
}

/// The labels that live members give to a source. Members whose time is over give none. Nothing is
/// returned only where the table points outside itself.
#[inline(always)]
pub fn labels_of<A: Arena + ?Sized>(table: &A, family: u8, source: Address, now: u32) -> Option<Carried> {
    let head: &LiveHead = bytemuck::cast_ref(table.line(0)?);
    let (count, lengths, family_tag) = if family == 6 {
        (head.v6_lengths, LENGTHS_V6_LINE, TAG_V6)
    } else {
        (head.v4_lengths, LENGTHS_V4_LINE, TAG_V4)
    };
    let mask = head.mask;
    let (count, lengths, family_tag) = (table.forget(count), table.forget(lengths), table.forget(family_tag));
    let mut carried = Carried { labels: [0; MAX_LABELS], until: FOR_EVER };
    let mut i = 0;
    while i < MAX_LENGTHS {
        if i >= count {
            break;
        }
        let length = byte_at(table, lengths, i)? as u32;
        i += 1;
        let (prefix, tag) = (prefix_of(source, length), family_tag.wrapping_add(length));
        let hash = place(prefix, tag);
        let first = TABLE_LINE.wrapping_add(hash as u32 & mask);
        let second = TABLE_LINE.wrapping_add((hash >> 32) as u32 & mask);
        look(table, first, prefix, tag, now, &mut carried)?;
        if second != first {
            look(table, second, prefix, tag, now, &mut carried)?;
        }
    }
    Some(carried)
}

/// Takes what a line says of a prefix.
#[inline(always)]
fn look<A: Arena + ?Sized>(
    table: &A,
    line: u32,
    prefix: Address,
    tag: u32,
    now: u32,
    carried: &mut Carried,
) -> Option<()> {
    let members: &Members = bytemuck::cast_ref(table.line(line)?);
    carried.add(table, &members[0], prefix, tag, now);
    carried.add(table, &members[1], prefix, tag, now);
    Some(())
}

impl Carried {
    #[inline(always)]
    fn add<A: Arena + ?Sized>(&mut self, table: &A, member: &Member, prefix: Address, tag: u32, now: u32) {
        let other = (member.tag_label >> 32 ^ tag as u64)
            | (member.prefix[0] ^ prefix[0])
            | (member.prefix[1] ^ prefix[1]);
        if other != 0 {
            return;
        }
        let until = member.until;
        if until != FOR_EVER && until.wrapping_sub(now) as i32 <= 0 {
            return;
        }
        let [first, second, third, _] = self.labels;
        let label = table.forget(member.tag_label as u32);
        self.labels = [label, table.forget(first), table.forget(second), table.forget(third)];
        self.until = table.forget(if until < self.until { until } else { self.until });
    }
}

const _: () = {
    assert!(size_of::<LiveHead>() == size_of::<Line>());
    assert!(size_of::<Members>() == size_of::<Line>());
};
