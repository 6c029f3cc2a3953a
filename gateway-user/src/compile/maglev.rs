//! Weighted targets → the table in which the kernel finds a packet's target by its hash: Maglev hashing
//! (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4).
//!
//! Each target walks over the table in an order of its own and takes the first free element at each of its
//! turns. Turns come in proportion to the weights (the paper leaves them open): next is whoever would
//! be half an element below its part otherwise, so that each target's part of the table is its weight's,
//! rounded (the divisor method of Webster and Sainte-Laguë).

use gateway_common::hash::{finish, fold};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Elements of a table where there is a choice: a prime, so that every step walks over all of it. An
/// element is 0.0015 % of what a pool gets.
pub const TABLE_SIZE: u32 = 65_537;

/// Seeds of the hashes that make a target's order.
const OFFSET: u64 = 0x6f66_6673_6574;
const SKIP: u64 = 0x736b_6970;

/// A target's walk over the table.
struct Walk {
    /// What is tried next.
    next: u32,
    /// From one element to the next.
    step: u32,
}

/// A target whose turn comes when it has the least for its weight.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// Twice the elements that it has, and one.
    due: u64,
    weight: u64,
    place: u16,
}

impl Ord for Turn {
    /// By `due / weight`, and where that is the same in the order of the targets.
    fn cmp(&self, other: &Turn) -> Ordering {
        let (left, right) = (self.due * other.weight, other.due * self.weight);
        left.cmp(&right).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The table of these targets, each its name and weight: for each element the place of the target that it
/// belongs to. One element where only one target takes packets, none where none does.
///
/// A target's order follows from its name, so that what it had stays with it as far as may be: where
/// one goes, comes or changes its weight, little moves among the others.
pub(super) fn table(targets: &[(String, u16)]) -> Vec<u16> {
    let places = 0_u16..;
    let taking: Vec<(u16, &str, u16)> = places
        .zip(targets)
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(place, (name, weight))| (place, name.as_str(), *weight))
        .collect();
    match taking.as_slice() {
        [] => return Vec::new(),
        [(place, ..)] => return vec![*place],
        _ => {}
    }
    let mut walks: Vec<Walk> = taking.iter().map(|(_, name, _)| Walk::of(name)).collect();
    let mut turns: BinaryHeap<Reverse<Turn>> = (0..)
        .zip(&taking)
        .map(|(place, (.., weight))| Reverse(Turn { due: 1, weight: (*weight).into(), place }))
        .collect();
    let mut table = vec![0; TABLE_SIZE as usize];
    let mut free = Free::all();
    for _ in 0..TABLE_SIZE {
        let Some(mut turn) = turns.peek_mut() else { break };
        let place = usize::from(turn.0.place);
        let element = walks[place].first_of(&mut free);
        table[element as usize] = taking[place].0;
        turn.0.due += 2;
    }
    table
}

impl Walk {
    fn of(name: &str) -> Walk {
        let hash = |seed| finish(name.bytes().fold(seed, |state, byte| fold(state, byte.into())));
        let size = u64::from(TABLE_SIZE);
        Walk { next: (hash(OFFSET) % size) as u32, step: (hash(SKIP) % (size - 1) + 1) as u32 }
    }

    /// Takes the next free element; there is one.
    fn first_of(&mut self, free: &mut Free) -> u32 {
        loop {
            let element = self.next;
            self.next += self.step;
            if self.next >= TABLE_SIZE {
                self.next -= TABLE_SIZE;
            }
            if free.take(element) {
                return element;
            }
        }
    }
}

/// Which elements nobody has: a bit each, so that all of them stay in the nearest cache.
struct Free(Vec<u64>);

impl Free {
    fn all() -> Free {
        Free(vec![u64::MAX; (TABLE_SIZE as usize).div_ceil(64)])
    }

    /// Takes an element; says whether it was free.
    fn take(&mut self, element: u32) -> bool {
        let (word, bit) = (&mut self.0[(element / 64) as usize], 1 << (element % 64));
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }
}
