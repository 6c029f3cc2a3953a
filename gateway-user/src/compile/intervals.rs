//! Prefixes with their classes → the table of intervals ([`gateway_common::image::intervals`]).

use super::prefix::{Node, leave};
use gateway_common::abi::Line;
use gateway_common::image::intervals::{
    CHILDREN, Directory, Head, INNER, LEAF_INTERVALS, LEAVES_IN_ORDER, SLOT_CLASS, WIDE,
};
use std::ops::Range;

/// Intervals for each slot of a directory, within a factor of two: with four, half of the slots' starts
/// are in the line that holds the address, or in the one before it, and a directory takes a tenth of what
/// its leaves take.
const INTERVALS_PER_SLOT: usize = 4;

/// The low word of an address at which a line of high words can end.
const LOW_END: u128 = u64::MAX as u128;

/// Addresses of one class: from behind the interval before it up to `last`.
#[derive(Clone, Copy, Debug)]
struct Interval {
    last: u128,
    class: u32,
}

/// The table for the prefixes of IPv4 and IPv6, in the order of [`super::prefix::nodes`], and how many
/// intervals it has.
pub(super) fn table(nodes: &[Vec<Node>; 2]) -> (Vec<Line>, usize) {
    let [v4, v6] = nodes.each_ref().map(|nodes| intervals(nodes));
    let mut lines = vec![Line::default()];
    let head = Head { v4: add(&mut lines, &v4), v6: add(&mut lines, &v6), ..Head::default() };
    lines[0] = bytemuck::cast(head);
    (lines, v4.len() + v6.len())
}

/// Cuts all addresses into intervals: neighbours differ, and the last one ends with the last address.
fn intervals(nodes: &[Node]) -> Vec<Interval> {
    let mut cut = Cut { intervals: Vec::with_capacity(nodes.len() * 2 + 1), next: Some(0) };
    let mut around: Vec<Node> = Vec::new();
    for &node in nodes {
        leave(&mut around, node.address, |left| cut.up_to(last_of(left), left.class));
        if let Some(before) = node.address.checked_sub(1) {
            cut.up_to(before, around.last().map_or(0, |outer| outer.class));
        }
        around.push(node);
    }
    for node in around.iter().rev() {
        cut.up_to(last_of(node), node.class);
    }
    cut.up_to(u128::MAX, 0);
    cut.intervals
}

/// Intervals, as far as they are known.
struct Cut {
    intervals: Vec<Interval>,
    /// The first address that is in none yet; nothing behind the last.
    next: Option<u128>,
}

impl Cut {
    /// All addresses that are in no interval yet, up to `last`, are of this class.
    fn up_to(&mut self, last: u128, class: u32) {
        if self.next.is_none_or(|next| next > last) {
            return;
        }
        self.next = last.checked_add(1);
        match self.intervals.last_mut() {
            Some(before) if before.class == class => before.last = last,
            _ => self.intervals.push(Interval { last, class }),
        }
    }
}

fn last_of(node: &Node) -> u128 {
    node.address | u128::MAX.checked_shr(node.length.into()).unwrap_or(0)
}

/// Adds a family's leaves, slots and trees to the table.
fn add(lines: &mut Vec<Line>, intervals: &[Interval]) -> Directory {
    let leaves = Leaves::add(lines, intervals);
    let shape = shape(intervals);
    // The slots come before the trees that they name, so that room is made for them first.
    let slots = shape.last_slot as usize + 1;
    let line = lines.len();
    lines.resize(line + slots.div_ceil(SLOTS_PER_LINE), Line::default());
    let (mut interval, mut first) = (0, 0);
    for slot in 0..slots {
        let (start, end) = addresses(&shape, slot as u64);
        interval += intervals[interval..].iter().take_while(|interval| interval.last < start).count();
        first += leaves.ends[first..].iter().take_while(|end| **end < start).count();
        let Interval { last, class } = intervals[interval];
        let value = if end <= last {
            SLOT_CLASS | class
        } else {
            let behind = leaves.ends[first..].iter().take_while(|last| **last < end).count();
            leaves.way(lines, first..first + behind + 1)
        };
        lines[line + slot / SLOTS_PER_LINE].0[slot / 2 % 8] |= u64::from(value) << (slot % 2 * 32);
    }
    Directory { line: line as u32, ..shape }
}

const SLOTS_PER_LINE: usize = size_of::<Line>() / size_of::<u32>();

/// A directory that spans the ends of the intervals, not yet placed.
fn shape(intervals: &[Interval]) -> Directory {
    // The last interval ends with the last address: no boundary.
    let [first, .., last, _] = intervals else {
        let first = intervals.first().map_or(0, |interval| high(interval.last));
        return Directory { first, shift: 63, ..Directory::default() };
    };
    let (first, last) = (high(first.last), high(last.last));
    let most = (intervals.len() / INTERVALS_PER_SLOT).next_power_of_two() as u64;
    let mut shift = 0;
    while shift < 63 && (last - first) >> shift >= most {
        shift += 1;
    }
    Directory { first, last_slot: ((last - first) >> shift) as u32, shift, ..Directory::default() }
}

/// The first and the last address of a slot.
fn addresses(shape: &Directory, slot: u64) -> (u128, u128) {
    let start = |slot: u64| u128::from(shape.first) + (u128::from(slot) << shape.shift);
    let first = if slot == 0 { 0 } else { start(slot) << 64 };
    let last = if slot == u64::from(shape.last_slot) { u128::MAX } else { (start(slot + 1) << 64) - 1 };
    (first, last)
}

const fn high(address: u128) -> u64 {
    (address >> 64) as u64
}

/// The leaves of a family, which follow one another.
struct Leaves {
    first_line: usize,
    /// The last address of each.
    ends: Vec<u128>,
}

impl Leaves {
    fn add(lines: &mut Vec<Line>, intervals: &[Interval]) -> Leaves {
        let mut this = Leaves { first_line: lines.len(), ends: Vec::with_capacity(intervals.len() / 5 + 1) };
        let mut rest = intervals;
        while !rest.is_empty() {
            let [narrow, wide] = LEAF_INTERVALS;
            let wide = wide.min(rest.len());
            let narrow = whole_high_words(rest.iter().map(|interval| interval.last), narrow);
            let (ends, kind) = if narrow >= wide { (narrow, 0) } else { (wide, WIDE) };
            let (here, behind) = rest.split_at(ends);
            lines.push(leaf(here, kind));
            this.ends.push(here[ends - 1].last);
            rest = behind;
        }
        this
    }

    /// Where a look-up begins that must find its way to one of these leaves: at the first, or at the
    /// root of a tree.
    fn way(&self, lines: &mut Vec<Line>, leaves: Range<usize>) -> u32 {
        let mut first = self.first_line + leaves.start;
        if leaves.len() <= LEAVES_IN_ORDER {
            return first as u32;
        }
        let mut ends = self.ends[leaves].to_vec();
        while ends.len() > 1 {
            let (level, mut above, mut rest) = (lines.len(), Vec::new(), &ends[..]);
            let mut child = first;
            while !rest.is_empty() {
                // The last child needs no end: what is behind the others is its own.
                let [narrow, wide] = CHILDREN.map(|most| most.min(rest.len()));
                let narrow = (whole_high_words(rest.iter().copied(), narrow - 1) + 1).min(rest.len());
                let (children, kind) = if narrow >= wide { (narrow, INNER) } else { (wide, INNER | WIDE) };
                let (here, behind) = rest.split_at(children);
                lines.push(inner(&here[..children - 1], child as u32, kind));
                above.push(here[children - 1]);
                child += children;
                rest = behind;
            }
            (first, ends) = (level, above);
        }
        first as u32
    }
}

/// How many ends from the first on, `most` at most, are those of whole high words.
fn whole_high_words(ends: impl Iterator<Item = u128>, most: usize) -> usize {
    ends.take(most).take_while(|end| end & LOW_END == LOW_END).count()
}

/// A leaf of as many intervals as there are. Room that is left repeats the last, so that an address
/// behind it is behind them all.
fn leaf(intervals: &[Interval], kind: u64) -> Line {
    let mut line = Line::default();
    let entries = LEAF_INTERVALS[usize::from(kind & WIDE != 0)];
    let last = intervals.last().copied();
    let filled = intervals.iter().copied().chain(last.into_iter().cycle()).take(entries);
    for (i, Interval { last, class }) in filled.enumerate() {
        put_end(&mut line, i, last, kind);
        line.0[6 + i / 4] |= u64::from(class) << (i % 4 * 16);
    }
    line.0[7] |= kind;
    line
}

/// An inner line whose children but the last end so. Room that is left is behind every address.
fn inner(ends: &[u128], child: u32, kind: u64) -> Line {
    let mut line = Line::default();
    let entries = CHILDREN[usize::from(kind & WIDE != 0)] - 1;
    for i in 0..entries {
        put_end(&mut line, i, ends.get(i).copied().unwrap_or(u128::MAX), kind);
    }
    line.0[7] = kind | u64::from(child);
    line
}

fn put_end(line: &mut Line, i: usize, end: u128, kind: u64) {
    if kind & WIDE == 0 {
        line.0[i] = high(end);
    } else {
        (line.0[2 * i], line.0[2 * i + 1]) = (high(end), end as u64);
    }
}
