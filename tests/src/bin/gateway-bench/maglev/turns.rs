//! The peer: a table as Maglev's paper fills it (Eisenbud et al., NSDI 2016, 3.4, listing 1), the targets
//! taking one free element each at their turn. Turns come by weight, which the paper leaves open.

use super::Weights;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// For each element the place of its target.
pub fn table(weights: &Weights, size: u32) -> Vec<u16> {
    let size = u64::from(size);
    let hash = |name: &str, salt: u8| {
        let mut hasher = DefaultHasher::new();
        (name, salt).hash(&mut hasher);
        hasher.finish()
    };
    // What is next, the step, and the turns had.
    let mut walks: Vec<(u64, u64, u64)> =
        weights.keys().map(|name| (hash(name, 0) % size, hash(name, 1) % (size - 1) + 1, 0)).collect();
    let weights: Vec<u64> = weights.values().map(|weight| u64::from(*weight)).collect();
    let heaviest = weights.iter().copied().max().unwrap_or(1);
    let mut table = vec![None; size as usize];
    let mut left = size;
    // In a round the heaviest has one turn, and the others as many as their weights have earned by then.
    for round in 1.. {
        for (place, walk) in walks.iter_mut().enumerate() {
            let (next, step, had) = walk;
            while left > 0 && *had * heaviest < round * weights[place] {
                while table[*next as usize].is_some() {
                    *next = (*next + *step) % size;
                }
                table[*next as usize] = Some(place as u16);
                (*had, left) = (*had + 1, left - 1);
            }
        }
        if left == 0 {
            break;
        }
    }
    table.into_iter().flatten().collect()
}
