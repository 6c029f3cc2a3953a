//! Finds the regions that might cover another without looking at all of them.
//!
//! What covers a region holds its lowest point. Each region is entered on one axis, the one where
//! it is least crowded, under the blocks that make it up; a look-up asks, on each axis, for the
//! blocks of every size in use that hold the point.

use super::ranges::{Block, blocks};
use super::region::{AXES, Region};
use std::collections::{BTreeSet, HashMap};

type Key = (usize, Block);

pub(super) struct Index<'r> {
    /// How many of all regions have this block.
    crowd: HashMap<Key, usize>,
    /// Regions entered, ascending.
    entries: HashMap<Key, Vec<&'r Region<'r>>>,
    /// Block sizes in use on each axis.
    sizes: [BTreeSet<u8>; AXES],
}

impl<'r> Index<'r> {
    /// An empty index for some of these regions.
    pub fn new(all: &[Region<'_>]) -> Index<'r> {
        let mut crowd = HashMap::new();
        for region in all {
            for (axis, set) in region.axes.iter().enumerate() {
                for block in blocks(set) {
                    *crowd.entry((axis, block)).or_insert(0) += 1;
                }
            }
        }
        Index { crowd, entries: HashMap::new(), sizes: Default::default() }
    }

    /// Enters a region; they come in the order of their routes.
    pub fn insert(&mut self, region: &'r Region<'r>) {
        let crowded = |axis: &usize| {
            let crowds = blocks(&region.axes[*axis]).map(|block| self.crowd.get(&(*axis, block)).copied());
            crowds.fold((0, 0), |(most, count), crowd| (most.max(crowd.unwrap_or(0)), count + 1))
        };
        let axis = (0..AXES).min_by_key(crowded).unwrap_or(0);
        for block in blocks(&region.axes[axis]) {
            self.sizes[axis].insert(block.log2);
            self.entries.entry((axis, block)).or_default().push(region);
        }
    }

    /// The first of the entered regions that covers this one.
    pub fn first_cover(&self, region: &Region<'_>) -> Option<&'r Region<'r>> {
        let mut best: Option<&'r Region<'r>> = None;
        for (axis, set) in region.axes.iter().enumerate() {
            let Some((lowest, _)) = set.first() else { continue };
            for log2 in &self.sizes[axis] {
                let Some(entries) = self.entries.get(&(axis, Block::of(*log2, *lowest))) else { continue };
                let worthy = |entry: &&&Region<'_>| best.is_none_or(|best| entry.route < best.route);
                if let Some(found) = entries.iter().take_while(worthy).find(|entry| entry.covers(region)) {
                    best = Some(found);
                }
            }
        }
        best
    }
}
