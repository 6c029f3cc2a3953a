//! Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient computation of frequent and top-k elements in
//! data streams", 2005): the heaviest keys of a stream in memory that does not grow with it.
//!
//! There are `m` counters. A key that has one adds to it. Another one takes the smallest counter over,
//! with what it holds, and remembers that as its error. So no count is too small, none is too large by
//! more than its error, no error is larger than the smallest counter, and that is at most `total / m`,
//! since the counters add up to the total. A key with more than that has a counter.

use std::collections::HashMap;
use std::hash::Hash;

/// A key and what is known of it: between `count - error` and `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate<K> {
    /// The key.
    pub key: K,
    /// At most this much.
    pub count: u64,
    /// It may be less by as much as this.
    pub error: u64,
}

/// The sketch.
#[derive(Clone, Debug)]
pub struct Sketch<K> {
    /// Place in `counters` of each key that has one. Twice as large as it must be, so that the table
    /// is cleaned in place and never grows.
    places: HashMap<K, u32>,
    counters: Vec<Counter<K>>,
    /// Places of counters, as a heap: the smallest first.
    heap: Vec<u32>,
    counters_max: usize,
    total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Counter<K> {
    estimate: Estimate<K>,
    /// Where it stands in the heap.
    rank: u32,
}

impl<K: Copy + Eq + Hash> Sketch<K> {
    /// A sketch with so many counters, at least one.
    #[must_use]
    pub fn new(counters_max: u32) -> Sketch<K> {
        let counters_max = counters_max.max(1) as usize;
        Sketch {
            places: HashMap::with_capacity(2 * counters_max + 2),
            counters: Vec::with_capacity(counters_max),
            heap: Vec::with_capacity(counters_max),
            counters_max,
            total: 0,
        }
    }

    /// Adds to a key.
    pub fn add(&mut self, key: K, weight: u64) {
        if weight == 0 {
            return;
        }
        self.total = self.total.saturating_add(weight);
        if let Some(&place) = self.places.get(&key) {
            let counter = &mut self.counters[place as usize];
            counter.estimate.count = counter.estimate.count.saturating_add(weight);
            let rank = counter.rank as usize;
            self.sink(rank);
        } else if self.counters.len() < self.counters_max {
            let place = self.counters.len() as u32;
            let estimate = Estimate { key, count: weight, error: 0 };
            self.counters.push(Counter { estimate, rank: place });
            self.heap.push(place);
            self.places.insert(key, place);
            self.rise(place as usize);
        } else {
            let place = self.heap[0];
            let estimate = &mut self.counters[place as usize].estimate;
            self.places.remove(&estimate.key);
            let error = estimate.count;
            *estimate = Estimate { key, count: error.saturating_add(weight), error };
            self.places.insert(key, place);
            self.sink(0);
        }
    }

    /// Begins anew, in the same memory.
    pub fn clear(&mut self) {
        self.places.clear();
        self.counters.clear();
        self.heap.clear();
        self.total = 0;
    }

    /// Everything that was added.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What a key has at most that has no counter: 0 while there are counters left.
    #[must_use]
    pub fn floor(&self) -> u64 {
        if self.counters.len() < self.counters_max {
            return 0;
        }
        self.heap.first().map_or(0, |&place| self.count(place))
    }

    /// What is known of a key, whether it has a counter or not.
    #[must_use]
    pub fn estimate(&self, key: K) -> Estimate<K> {
        match self.places.get(&key) {
            Some(&place) => self.counters[place as usize].estimate,
            None => Estimate { key, count: self.floor(), error: self.floor() },
        }
    }

    /// Every key that has a counter, in no order.
    pub fn estimates(&self) -> impl Iterator<Item = Estimate<K>> {
        self.counters.iter().map(|counter| counter.estimate)
    }

    /// Elements that its memory holds room for: of the table, the counters and the heap.
    #[must_use]
    pub fn room(&self) -> [usize; 3] {
        [self.places.capacity(), self.counters.capacity(), self.heap.capacity()]
    }

    fn count(&self, place: u32) -> u64 {
        self.counters[place as usize].estimate.count
    }

    /// Puts the counter at `rank` further down, behind smaller ones.
    fn sink(&mut self, mut rank: usize) {
        loop {
            let children = 2 * rank + 1..(2 * rank + 3).min(self.heap.len());
            let least = children.min_by_key(|child| self.count(self.heap[*child]));
            match least {
                Some(child) if self.count(self.heap[child]) < self.count(self.heap[rank]) => {
                    self.swap(rank, child);
                    rank = child;
                }
                _ => return,
            }
        }
    }

    /// Puts the counter at `rank` further up, before larger ones.
    fn rise(&mut self, mut rank: usize) {
        while rank > 0 {
            let parent = (rank - 1) / 2;
            if self.count(self.heap[parent]) <= self.count(self.heap[rank]) {
                return;
            }
            self.swap(rank, parent);
            rank = parent;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for rank in [a, b] {
            self.counters[self.heap[rank] as usize].rank = rank as u32;
        }
    }
}

/// The greatest keys of two sketches together, in order. Here too, no count is too small, and none is too
/// large by more than its error.
#[must_use]
pub fn greatest<K: Copy + Eq + Hash + Ord>(a: &Sketch<K>, b: &Sketch<K>, limit: usize) -> Vec<Estimate<K>> {
    let keys = a.estimates().chain(b.estimates().filter(|of_b| !a.places.contains_key(&of_b.key)));
    let mut all: Vec<Estimate<K>> = keys
        .map(|Estimate { key, .. }| {
            let (of_a, of_b) = (a.estimate(key), b.estimate(key));
            Estimate {
                key,
                count: of_a.count.saturating_add(of_b.count),
                error: of_a.error.saturating_add(of_b.error),
            }
        })
        .collect();
    all.sort_unstable_by_key(|estimate| (std::cmp::Reverse(estimate.count), estimate.key));
    all.truncate(limit);
    all
}
