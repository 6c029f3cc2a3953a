//! Equivalence classes: two values of a dimension are in one class if the same lists hold them.
//!
//! A class is the ascending list of the ids of those lists; class 0 is in none. Classes are numbered
//! in the order in which they are met, so an unchanged dimension compiles to the same bytes.

use super::MAX_ENTRIES;
use super::hashing::{Build, Fold};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hasher;
use std::ops::Range;

/// Most (class, list) pairs of a dimension. Each costs at least one entry among the combinations, so
/// that a policy refused for this limit would be refused for the other one too, only later.
pub(super) const MAX_OVERLAPS: usize = MAX_ENTRIES as usize;

/// The classes would hold more than [`MAX_OVERLAPS`] list ids.
#[derive(Debug)]
pub(super) struct Overfull;

/// The classes of a dimension.
#[derive(Clone, Debug)]
pub(super) struct ClassTable {
    /// Class `c` holds `members[starts[c]..starts[c + 1]]`.
    starts: Vec<usize>,
    members: Vec<u32>,
    /// Digest of the list ids → class; on collision the next free digest.
    index: HashMap<u64, u32, Build>,
}

impl ClassTable {
    /// For some `classes` classes.
    pub(super) fn with_capacity(classes: usize) -> ClassTable {
        let mut starts = Vec::with_capacity(classes + 2);
        starts.extend([0, 0]);
        ClassTable {
            starts,
            members: Vec::with_capacity(classes),
            index: HashMap::with_capacity_and_hasher(classes, Build::default()),
        }
    }

    /// The class of what lies in just these lists (ascending ids).
    pub(super) fn intern(&mut self, sets: &[u32]) -> Result<u32, Overfull> {
        if sets.is_empty() {
            return Ok(0);
        }
        let mut digest = digest(sets);
        loop {
            match self.index.entry(digest) {
                Entry::Occupied(entry) => {
                    let class = *entry.get();
                    if &self.members[self.starts[class as usize]..self.starts[class as usize + 1]] == sets {
                        return Ok(class);
                    }
                    digest = digest.wrapping_add(1);
                }
                Entry::Vacant(entry) => {
                    if self.members.len() + sets.len() > MAX_OVERLAPS {
                        return Err(Overfull);
                    }
                    let class = self.starts.len() as u32 - 1;
                    self.members.extend_from_slice(sets);
                    self.starts.push(self.members.len());
                    entry.insert(class);
                    return Ok(class);
                }
            }
        }
    }

    /// The lists that hold what is in a class.
    pub(super) fn sets(&self, class: u32) -> &[u32] {
        &self.members[self.starts[class as usize]..self.starts[class as usize + 1]]
    }

    /// How many classes there are, class 0 not counted.
    pub(super) fn count(&self) -> usize {
        self.starts.len() - 2
    }

    /// The classes that each of `sets` lists consists of.
    pub(super) fn by_set(&self, sets: usize) -> ClassesOfSets {
        let mut starts = vec![0; sets + 1];
        for &set in &self.members {
            starts[set as usize + 1] += 1;
        }
        for i in 0..sets {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut classes = vec![0; self.members.len()];
        for class in 1..self.starts.len() as u32 - 1 {
            for &set in self.sets(class) {
                classes[next[set as usize]] = class;
                next[set as usize] += 1;
            }
        }
        ClassesOfSets { starts, classes }
    }

    /// The list that overlaps most and how often, once [`ClassTable::intern`] has refused; `sets` is
    /// how many lists there are.
    pub(super) fn widest(&self, sets: usize) -> (usize, usize) {
        let mut counts = vec![0_usize; sets];
        for &set in &self.members {
            counts[set as usize] += 1;
        }
        let (mut widest, mut overlaps) = (0, 0);
        for (set, &count) in counts.iter().enumerate() {
            if count > overlaps {
                (widest, overlaps) = (set, count);
            }
        }
        (widest, overlaps)
    }
}

fn digest(sets: &[u32]) -> u64 {
    let mut state = Fold::default();
    for &set in sets {
        state.write_u32(set);
    }
    state.finish()
}

/// For each list of a dimension, the classes that it consists of, ascending.
#[derive(Debug)]
pub(super) struct ClassesOfSets {
    starts: Vec<usize>,
    classes: Vec<u32>,
}

impl ClassesOfSets {
    /// Of a dimension without lists.
    const fn empty() -> ClassesOfSets {
        ClassesOfSets { starts: Vec::new(), classes: Vec::new() }
    }

    /// Of lists whose classes are known, ascending.
    pub(super) fn of_classes(lists: impl Iterator<Item = impl Iterator<Item = u32>>) -> ClassesOfSets {
        let mut this = ClassesOfSets { starts: vec![0], classes: Vec::new() };
        for list in lists {
            this.classes.extend(list);
            this.starts.push(this.classes.len());
        }
        this
    }

    /// The classes of a list.
    pub(super) fn of(&self, set: u32) -> &[u32] {
        &self.classes[self.starts[set as usize]..self.starts[set as usize + 1]]
    }

    /// Where class 0 is no value's: counts the classes from 0 on.
    pub(super) fn count_from_zero(&mut self) {
        for class in &mut self.classes {
            *class -= 1;
        }
    }
}

/// What a route asks of a dimension, as ids of its lists: which one holds the packet, which one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Selector {
    pub positive: u32,
    pub negative: u32,
}

impl Selector {
    /// No list.
    pub(super) const NONE: u32 = u32::MAX;
    /// Nothing asked.
    pub(super) const ANY: Selector = Selector { positive: Selector::NONE, negative: Selector::NONE };
}

/// A dimension, cut into classes.
#[derive(Debug)]
pub(super) struct Cut {
    /// The classes of each list.
    pub sets: ClassesOfSets,
    /// All that a packet can be in.
    pub all: Range<u32>,
}

impl Cut {
    /// Of a dimension that no route names.
    pub(super) const NONE: Cut = Cut { sets: ClassesOfSets::empty(), all: 0..1 };

    /// How many classes a selector takes.
    pub(super) fn count(&self, selector: Selector) -> usize {
        match (self.list(selector.positive), self.list(selector.negative)) {
            (None, None) => self.all.len(),
            (Some(positive), None) => positive.len(),
            (None, Some(negative)) => self.all.len() - negative.len(),
            (Some(positive), Some(negative)) => positive.len() - shared(positive, negative),
        }
    }

    /// The classes that a selector takes, ascending.
    pub(super) fn classes(&self, selector: Selector) -> Cow<'_, [u32]> {
        let negative = self.list(selector.negative);
        match (self.list(selector.positive), negative) {
            (Some(positive), None) => Cow::Borrowed(positive),
            (positive, negative) => {
                let negative = negative.unwrap_or_default();
                let kept = |class: &u32| negative.binary_search(class).is_err();
                Cow::Owned(match positive {
                    Some(positive) => positive.iter().copied().filter(kept).collect(),
                    None => self.all.clone().filter(kept).collect(),
                })
            }
        }
    }

    fn list(&self, set: u32) -> Option<&[u32]> {
        (set != Selector::NONE).then(|| self.sets.of(set))
    }
}

/// How many classes two ascending lists share.
fn shared(a: &[u32], b: &[u32]) -> usize {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.iter().filter(|class| long.binary_search(class).is_ok()).count()
}
