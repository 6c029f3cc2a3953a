//! Sets of numbers as inclusive ranges: sorted, disjoint, never touching.

/// A set.
pub(super) type Ranges = Vec<(u128, u128)>;

/// The set of all numbers in any of `ranges`.
pub(super) fn union(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut out: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(previous) if previous.1 == u128::MAX || first <= previous.1 + 1 => {
                previous.1 = previous.1.max(last);
            }
            _ => out.push((first, last)),
        }
    }
    out
}

/// Whether all of `inner` is in `outer`; neither is empty.
pub(super) fn is_subset(inner: &[(u128, u128)], outer: &[(u128, u128)]) -> bool {
    let (Some(inner_first), Some(outer_first)) = (inner.first(), outer.first()) else { return false };
    let (Some(inner_last), Some(outer_last)) = (inner.last(), outer.last()) else { return false };
    if inner_first.0 < outer_first.0 || inner_last.1 > outer_last.1 {
        return false;
    }
    inner.iter().all(|(first, last)| {
        // The one range that could hold it: the last that does not begin behind it.
        let index = outer.partition_point(|range| range.0 <= *first);
        index > 0 && outer[index - 1].1 >= *last
    })
}

/// Whether a number is in both.
pub(super) fn overlap(a: &[(u128, u128)], b: &[(u128, u128)]) -> bool {
    let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
    few.iter().any(|(first, last)| {
        let next = many.partition_point(|range| range.1 < *first);
        many.get(next).is_some_and(|range| range.0 <= *last)
    })
}

/// What of `set` is not in `taken`.
pub(super) fn subtract(set: &[(u128, u128)], taken: &[(u128, u128)]) -> Ranges {
    let mut out = Vec::with_capacity(set.len());
    for &(first, last) in set {
        let mut from = first;
        let mut covered = false;
        let start = taken.partition_point(|range| range.1 < first);
        for &(taken_first, taken_last) in taken[start..].iter().take_while(|range| range.0 <= last) {
            if taken_first > from {
                out.push((from, taken_first - 1));
            }
            if taken_last >= last {
                covered = true;
                break;
            }
            from = taken_last + 1;
        }
        if !covered {
            out.push((from, last));
        }
    }
    out
}

/// A block of `2^log2` numbers from a multiple of its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Block {
    pub log2: u8,
    pub base: u128,
}

impl Block {
    /// The block of this size that holds `number`.
    pub fn of(log2: u8, number: u128) -> Block {
        let mask = u128::MAX.checked_shl(log2.into()).unwrap_or(0);
        Block { log2, base: number & mask }
    }
}

/// The fewest blocks that make up a set.
pub(super) fn blocks(set: &[(u128, u128)]) -> impl Iterator<Item = Block> {
    set.iter().flat_map(|&(first, last)| {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let base = next?;
            let length = (last - base).checked_add(1);
            let log2 = match length {
                None => 128,
                Some(length) => base.trailing_zeros().min(length.ilog2()),
            };
            let size = 1u128.checked_shl(log2);
            next = size.and_then(|size| base.checked_add(size)).filter(|next| *next <= last);
            #[allow(clippy::cast_possible_truncation)] // at most 128
            Some(Block { log2: log2 as u8, base })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(set: &[(u128, u128)]) -> Vec<u128> {
        set.iter().flat_map(|(first, last)| *first..=*last).collect()
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets(
            a in prop::collection::vec((0u128..40, 0u128..8), 1..6),
            b in prop::collection::vec((0u128..40, 0u128..8), 1..6),
        ) {
            let a = union(a.into_iter().map(|(first, length)| (first, first + length)).collect());
            let b = union(b.into_iter().map(|(first, length)| (first, first + length)).collect());
            let (in_a, in_b) = (members(&a), members(&b));
            prop_assert_eq!(is_subset(&a, &b), in_a.iter().all(|n| in_b.contains(n)));
            prop_assert_eq!(overlap(&a, &b), in_a.iter().any(|n| in_b.contains(n)));
            let rest: Vec<u128> = in_a.iter().copied().filter(|n| !in_b.contains(n)).collect();
            prop_assert_eq!(members(&subtract(&a, &b)), rest);
            let blocks: Vec<(u128, u128)> =
                blocks(&a).map(|block| (block.base, block.base + (1 << block.log2) - 1)).collect();
            prop_assert_eq!(union(blocks), a);
        }
    }

    #[test]
    fn the_ends_of_the_number_space_hold() {
        let all = vec![(0, u128::MAX)];
        assert_eq!(blocks(&all).collect::<Vec<_>>(), [Block { log2: 128, base: 0 }]);
        assert_eq!(Block::of(128, 77), Block { log2: 128, base: 0 });
        assert_eq!(blocks(&[(u128::MAX, u128::MAX)]).count(), 1);
        assert_eq!(union(vec![(5, u128::MAX), (7, 9), (0, 4)]), all);
        assert_eq!(subtract(&all, &[(0, 3), (u128::MAX, u128::MAX)]), [(4, u128::MAX - 1)]);
        assert!(subtract(&all, &all).is_empty());
    }
}
