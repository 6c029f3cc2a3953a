//! Weighted targets → the table in which the kernel finds a packet's target by its hash: Maglev hashing
//! (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4).
//!
//! As there, each target walks over the table in an order of its own and takes what it finds free. There,
//! all take one element each at their turn, so that whoever finds much taken walks on further than
//! others, and where one target goes, the turns of all others fall differently. Here they take a step at a
//! time, at a pace in proportion to their weights (which the paper leaves open): an element belongs to
//! whoever comes by first, so that what a target leaves falls to whoever came next, and nothing else
//! moves (as with the highest random weight of Thaler and Ravishankar, 1998). Exact that makes nothing,
//! so each target stops when it has its part of the table. What moves beyond what must comes of this
//! stopping alone, and is half or less of what it is with turns.
//!
//! The more targets, the more of them stop early. But where there are many, nobody could tell an exact table from one
//! that is not quite: the flows themselves are spread as dice fall. So there a target may have more or less than its part,
//! by what a fair die would give or take of a million flows; few targets come to these bounds, and hardly anything moves
//! that need not.

use gateway_common::hash::{finish, fold};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Elements of a table where there is a choice, by how many targets the pool names at most, those of
/// weight 0 among them: primes, so that every step walks over all of it. What moves beyond what must grows
/// with the targets over the square root of the elements.
const SIZES: [(usize, u32); 3] = [(EXACT, 65_537), (48, 655_373), (usize::MAX, 2_621_447)];

/// Up to so many targets each has its part of the table to the element.
const EXACT: usize = 16;

/// Beyond that their parts are as exact as the shares that a fair die would give them of so many flows: one standard
/// deviation.
const DIE: f64 = 1e6;

/// What part of the table all targets together walk over before those that have enough are sent home and
/// the others' visits are put in order: the result does not hang on it.
const STRETCH: f64 = 0.125;

/// Seeds of the hashes that make a target's order.
const OFFSET: u64 = 0x6f66_6673_6574;
const SKIP: u64 = 0x736b_6970;

/// Elements of the table of a pool that names so many targets, where at least two of them take packets.
pub(super) fn table_size(targets: usize) -> u32 {
    SIZES.iter().find(|(most, _)| targets <= *most).map_or(0, |(_, size)| *size)
}

/// A target on its walk over the table.
struct Walk {
    /// Place of the target in its pool.
    place: u16,
    weight: u16,
    /// Elements that it has, that are kept for it, and that it may have.
    has: u32,
    least: u32,
    most: u32,
    /// What it visits next, and from there to the one after.
    next: u32,
    step: u32,
    /// How many elements it has visited.
    visited: u32,
}

/// A target at a free element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    /// When, as the bits of a positive number: they are ordered as it is.
    time: u64,
    /// Place among the walks: who comes at the same time comes in the order of the targets.
    walk: u16,
    element: u32,
}

/// The table of these targets, each its name and weight: for each element the place of the target that it
/// belongs to. One element where only one target takes packets, none where none does.
///
/// A target's order follows from its name, so that what it had stays with it as far as may be: where
/// one goes, comes or changes its weight, little moves among the others.
pub(super) fn table(targets: &[(String, u16)]) -> Vec<u16> {
    let size = table_size(targets.len());
    let mut walks = walks(targets, size);
    match walks.as_slice() {
        [] => return Vec::new(),
        [one] => return vec![one.place],
        _ => {}
    }
    let times = times(size);
    let mut table = vec![0; size as usize];
    let mut free = Free::all(size);
    let (mut visits, mut until) = (Vec::new(), 0.0);
    // Elements that are free, and how many of them are kept for those that have less than they must.
    let (mut left, mut kept) = (size, walks.iter().map(|walk| walk.least).sum::<u32>());
    while !walks.is_empty() {
        let pace: u64 = walks.iter().map(|walk| u64::from(walk.weight)).sum();
        until += STRETCH / pace as f64;
        visits.clear();
        for (number, walk) in (0..).zip(&mut walks) {
            walk.go_on(until, &times, |element, time| {
                if free.has(element) {
                    visits.push(Visit { time: time.to_bits(), walk: number, element });
                }
            });
        }
        visits.sort_unstable();
        for Visit { walk, element, .. } in &visits {
            let walk = &mut walks[usize::from(*walk)];
            if walk.takes(left, kept) && free.take(*element) {
                kept -= u32::from(walk.has < walk.least);
                left -= 1;
                walk.has += 1;
                table[*element as usize] = walk.place;
            }
        }
        walks.retain(|walk| walk.takes(left, kept));
    }
    table
}

/// The walks of all targets that take packets, each with its part of the table.
fn walks(targets: &[(String, u16)], size: u32) -> Vec<Walk> {
    let parts = parts(targets, size);
    let of = |(place, ((name, weight), part)): (u16, (&(String, u16), u32))| {
        let hash = |seed| finish(name.bytes().fold(seed, |state, byte| fold(state, byte.into())));
        let next = (hash(OFFSET) % u64::from(size)) as u32;
        let step = (hash(SKIP) % u64::from(size - 1) + 1) as u32;
        let give = if targets.len() > EXACT { give(part, size) } else { 0 };
        // Whoever has a part of the table is in it.
        let least = (part - give).max(part.min(1));
        Walk { place, weight: *weight, has: 0, least, most: part + give, next, step, visited: 0 }
    };
    (0..).zip(targets.iter().zip(parts)).map(of).filter(|walk| walk.most > 0).collect()
}

/// By how many elements a target may miss its part: see [`DIE`].
fn give(part: u32, size: u32) -> u32 {
    let share = f64::from(part) / f64::from(size);
    let deviation = (share * (1.0 - share) / DIE).sqrt();
    ((deviation * f64::from(size)) as u32).min(part)
}

/// How much of the table is each target's part: its weight's share down to whole elements, and what is
/// left goes, one by one, to whoever would be half an element below its share otherwise (the divisor
/// method of Webster and Sainte-Laguë).
fn parts(targets: &[(String, u16)], size: u32) -> Vec<u32> {
    let sum: u64 = targets.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let whole = |weight: u16| (u64::from(size) * u64::from(weight)).checked_div(sum).unwrap_or(0) as u32;
    let mut parts: Vec<u32> = targets.iter().map(|(_, weight)| whole(*weight)).collect();
    let left = if sum == 0 { 0 } else { size - parts.iter().sum::<u32>() };
    let due = |place: usize| Reverse(Due { has: parts[place], weight: targets[place].1, place });
    let taking = (0..targets.len()).filter(|place| targets[*place].1 > 0);
    let mut dues: BinaryHeap<Reverse<Due>> = taking.map(due).collect();
    for _ in 0..left {
        if let Some(mut due) = dues.peek_mut() {
            due.0.has += 1;
            parts[due.0.place] += 1;
        }
    }
    parts
}

/// A target that gets an element when it has the least for its weight.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Due {
    has: u32,
    weight: u16,
    place: usize,
}

impl Ord for Due {
    /// By what it has and a half over its weight, and where that is the same in the order of the targets.
    fn cmp(&self, other: &Due) -> Ordering {
        let over = |one: &Due, of: &Due| (2 * u64::from(one.has) + 1) * u64::from(of.weight);
        over(self, other).cmp(&over(other, self)).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// When a target of weight 1 visits each element of its order, the n-th after 1/size + 1/(size - 1) + …:
/// when the n-th of so many independent, exponentially distributed times is expected. That makes whoever
/// is first somewhere be so in proportion to its weight. Sums and quotients only, which are the same
/// bits on every machine.
fn times(size: u32) -> Vec<f64> {
    let mut time = 0.0;
    let next = |left: u32| {
        time += 1.0 / f64::from(left);
        time
    };
    (1..=size).rev().map(next).collect()
}

impl Walk {
    /// Whether it takes what it finds, where so many are `left`, and `kept` of them for those that have too little.
    fn takes(&self, left: u32, kept: u32) -> bool {
        self.has < self.least || self.has < self.most && left > kept
    }

    /// Visits what it comes by until then, and says where it is when.
    fn go_on(&mut self, until: f64, times: &[f64], mut visit: impl FnMut(u32, f64)) {
        let weight = f64::from(self.weight);
        let (until, size) = (until * weight, times.len() as u32);
        while let Some(time) = times.get(self.visited as usize).filter(|time| **time <= until) {
            visit(self.next, *time / weight);
            self.visited += 1;
            self.next += self.step;
            if self.next >= size {
                self.next -= size;
            }
        }
    }
}

/// Which elements nobody has: a bit each, so that they stay in a near cache.
struct Free(Vec<u64>);

impl Free {
    fn all(size: u32) -> Free {
        Free(vec![u64::MAX; (size as usize).div_ceil(64)])
    }

    fn has(&self, element: u32) -> bool {
        self.0[(element / 64) as usize] & 1 << (element % 64) != 0
    }

    /// Takes an element; says whether it was free.
    fn take(&mut self, element: u32) -> bool {
        let was = self.has(element);
        self.0[(element / 64) as usize] &= !(1 << (element % 64));
        was
    }
}
