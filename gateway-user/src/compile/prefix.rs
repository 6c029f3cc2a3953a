//! Prefix lists → classes, and for those of routes the table in which the kernel finds them (that of
//! labels is in `intervals`).
//!
//! Sorted by address and length, a prefix is followed by all that lie within it: one sweep with a
//! stack of the prefixes around the current one gives each the lists of those around it. What adds
//! nothing to the prefix around it is left out. A second sweep adds the markers that lead the
//! kernel's search over the lengths (see [`gateway_common::image::class_of`]) to longer prefixes.

use super::classes::{ClassTable, Overfull};
use super::hashing::Build;
use gateway_common::image::{Key, TAG_V4, TAG_V6};
use ipnet::IpNet;
use std::collections::HashMap;

/// A prefix that changes the class of what lies in it, its address in the top bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub address: u128,
    pub length: u8,
    pub class: u32,
}

/// A prefix in a list: address, and length above the list's id, so that the natural order is the
/// sweep's.
type Item = (u128, u32);

/// One direction's prefixes, compiled.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// Prefixes and markers with their classes, no key twice.
    pub entries: Vec<(Key, u32)>,
    /// Prefix lengths in use, ascending: IPv4, IPv6.
    pub lengths: [Vec<u8>; 2],
}

/// Compiles the lists of one direction.
///
/// # Errors
/// Where the lists overlap so much that their classes do not fit.
pub(super) fn compile(lists: &[&[IpNet]], classes: &mut ClassTable) -> Result<Prefixes, Overfull> {
    let [v4, v6] = nodes(lists, classes)?;
    let mut entries = Vec::with_capacity((v4.len() + v6.len()) * 5 / 4);
    let lengths = [emit(&v4, TAG_V4, &mut entries), emit(&v6, TAG_V6, &mut entries)];
    Ok(Prefixes { entries, lengths })
}

/// The prefixes that change the class of what lies in them, IPv4 and IPv6, each followed by those
/// within it.
///
/// # Errors
/// Where the lists overlap so much that their classes do not fit.
pub(super) fn nodes(lists: &[&[IpNet]], classes: &mut ClassTable) -> Result<[Vec<Node>; 2], Overfull> {
    let (v4, v6) = sorted(lists);
    let mut sweep = Sweep {
        classes,
        additions: ClassTable::with_capacity(0),
        children: HashMap::default(),
        merged: Vec::new(),
    };
    let v4 = sweep.run(v4.into_iter().map(|item| ((u128::from(item >> 32)) << 96, item as u32)))?;
    let v6 = sweep.run(v6.into_iter())?;
    Ok([v4, v6])
}

const LENGTH_SHIFT: u32 = 24;
const SET_MASK: u32 = (1 << LENGTH_SHIFT) - 1;

/// All prefixes in the sweep's order. An IPv4 item is one word (address, length, list), because
/// sorting is most of the work and words sort fastest.
fn sorted(lists: &[&[IpNet]]) -> (Vec<u64>, Vec<Item>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (set, list) in lists.iter().enumerate() {
        for prefix in *list {
            let low = u32::from(prefix.prefix_len()) << LENGTH_SHIFT | set as u32;
            match prefix {
                IpNet::V4(net) => v4.push(u64::from(net.network().to_bits()) << 32 | u64::from(low)),
                IpNet::V6(net) => v6.push((net.network().to_bits(), low)),
            }
        }
    }
    v4.sort_unstable();
    v6.sort_unstable();
    (v4, v6)
}

struct Sweep<'a> {
    classes: &'a mut ClassTable,
    /// What prefixes add to the class around them, numbered.
    additions: ClassTable,
    /// (class around, what is added) → class.
    children: HashMap<(u32, u32), u32, Build>,
    merged: Vec<u32>,
}

impl Sweep<'_> {
    /// The prefixes that change the class of what lies in them, in order.
    fn run(&mut self, items: impl ExactSizeIterator<Item = Item>) -> Result<Vec<Node>, Overfull> {
        let mut nodes = Vec::with_capacity(items.len());
        let mut around: Vec<Node> = Vec::new();
        let mut own: Vec<u32> = Vec::new();
        let mut last = Node { address: 0, length: 0, class: 0 };
        let mut items = items.peekable();
        while let Some((address, low)) = items.next() {
            let length = (low >> LENGTH_SHIFT) as u8;
            own.clear();
            own.push(low & SET_MASK);
            while let Some((_, low)) =
                items.next_if(|next| (next.0, next.1 >> LENGTH_SHIFT) == (address, low >> LENGTH_SHIFT))
            {
                if own.last() != Some(&(low & SET_MASK)) {
                    own.push(low & SET_MASK);
                }
            }
            leave(&mut around, address, |_| ());
            let outer = around.last().map_or(0, |node| node.class);
            // In long lists most prefixes have the lists of the one before, which lies within the
            // same outer one (or is that), and so holds its lists too.
            let same = self.classes.sets(last.class) == own;
            let class = if same { last.class } else { self.child(outer, &own)? };
            if class != outer {
                last = Node { address, length, class };
                nodes.push(last);
                around.push(last);
            }
        }
        Ok(nodes)
    }

    /// The class of a prefix in lists `own`, and in the lists of class `outer` around it.
    fn child(&mut self, outer: u32, own: &[u32]) -> Result<u32, Overfull> {
        if outer == 0 {
            return self.classes.intern(own);
        }
        let held = self.classes.sets(outer);
        self.merged.clear();
        self.merged.extend(own.iter().copied().filter(|set| held.binary_search(set).is_err()));
        if self.merged.is_empty() {
            return Ok(outer);
        }
        let added = self.additions.intern(&self.merged)?;
        if let Some(&class) = self.children.get(&(outer, added)) {
            return Ok(class);
        }
        self.merged.extend_from_slice(held);
        self.merged.sort_unstable();
        let class = self.classes.intern(&self.merged)?;
        self.children.insert((outer, added), class);
        Ok(class)
    }
}

/// The lengths that the kernel visits on its way to each length, shorter than it: where the search
/// must be told to go on. `paths[i]` belongs to `lengths[i]`.
fn paths(lengths: &[u8]) -> Vec<Vec<u8>> {
    let mut paths = Vec::with_capacity(lengths.len());
    for target in 0..lengths.len() {
        let (mut low, mut high, mut path) = (0, lengths.len(), Vec::new());
        while low < high {
            let middle = (low + high) >> 1;
            if middle < target {
                path.push(lengths[middle]);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        paths.push(path);
    }
    paths
}

/// Adds the prefixes of one family and their markers to the table; returns the lengths in use.
fn emit(nodes: &[Node], family_tag: u32, entries: &mut Vec<(Key, u32)>) -> Vec<u8> {
    let mut used = [false; 129];
    for node in nodes {
        used[usize::from(node.length)] = true;
    }
    let lengths: Vec<u8> = (0..=128).filter(|&length| used[usize::from(length)]).collect();
    let mut path_of = vec![Vec::new(); used.len()];
    for (length, path) in lengths.iter().zip(paths(&lengths)) {
        path_of[usize::from(*length)] = path;
    }

    let mut push = |address: u128, length: u8, class: u32| {
        let key =
            Key { a: (address >> 64) as u64, b: address as u64, c: 0, tag: family_tag + u32::from(length) };
        entries.push((key, class));
    };
    // The last address entered at each length: what shares a marker stands together in the order,
    // behind the prefix of that length if there is one.
    let mut last: [Option<u128>; 129] = [None; 129];
    let mut around: Vec<Node> = Vec::new();
    for &node in nodes {
        leave(&mut around, node.address, |_| ());
        for &length in &path_of[usize::from(node.length)] {
            let address = truncated(node.address, length);
            if last[usize::from(length)].replace(address) != Some(address) {
                // Of the prefixes around, none is longer than a marker that is still missing: the
                // search passes here on its way to that one too.
                push(address, length, around.last().map_or(0, |outer| outer.class));
            }
        }
        last[usize::from(node.length)] = Some(node.address);
        push(node.address, node.length, node.class);
        around.push(node);
    }
    lengths
}

/// Takes the prefixes that do not hold `address` off the stack, the innermost first, and tells each.
pub(super) fn leave(around: &mut Vec<Node>, address: u128, mut tell: impl FnMut(&Node)) {
    while let Some(node) = around.pop_if(|node| truncated(address, node.length) != node.address) {
        tell(&node);
    }
}

/// The first `length` bits.
fn truncated(address: u128, length: u8) -> u128 {
    if length == 0 { 0 } else { address >> (128 - u32::from(length)) << (128 - u32::from(length)) }
}
