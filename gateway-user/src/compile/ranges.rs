//! Lists of ranges → classes, and the array in which the kernel finds a value's class by its number.

use super::classes::{ClassTable, Overfull};
use crate::policy::Range;
use gateway_common::abi::Line;

const BEGINS: u64 = 1 << 31;

/// Cuts the values below `values` into classes: the class of each, by number. More classes than the
/// kernel can name are for the caller to refuse.
///
/// # Errors
/// Where the lists overlap so much that their classes do not fit.
pub(super) fn compile(
    lists: &[Vec<Range<u32>>],
    values: u32,
    classes: &mut ClassTable,
) -> Result<Vec<u32>, Overfull> {
    // An edge: value, whether a list begins or ends there, list. Ends come first.
    let mut edges: Vec<u64> = Vec::new();
    for (set, list) in lists.iter().enumerate() {
        for range in list {
            edges.push(u64::from(range.first) << 32 | BEGINS | set as u64);
            edges.push((u64::from(range.last) + 1) << 32 | set as u64);
        }
    }
    edges.sort_unstable();

    let values = values as usize;
    let mut class_of = vec![0; values];
    let mut open: Vec<u32> = Vec::new();
    let mut edges = edges.into_iter().peekable();
    while let Some(edge) = edges.next() {
        let value = (edge >> 32) as usize;
        cross(&mut open, edge);
        while let Some(edge) = edges.next_if(|edge| (edge >> 32) as usize == value) {
            cross(&mut open, edge);
        }
        let end = edges.peek().map_or(values, |edge| (edge >> 32) as usize);
        if !open.is_empty() {
            class_of[value..end].fill(classes.intern(&open)?);
        }
    }
    Ok(class_of)
}

/// Opens or closes a list in the ascending ids of the open ones.
fn cross(open: &mut Vec<u32>, edge: u64) {
    let set = (edge & (BEGINS - 1)) as u32;
    match (open.binary_search(&set), edge & BEGINS != 0) {
        (Err(at), true) => open.insert(at, set),
        (Ok(at), false) => {
            open.remove(at);
        }
        // Begun twice or ended twice: ranges of one list do not touch, so neither comes up.
        (Ok(_), true) | (Err(_), false) => {}
    }
}

/// The array as the kernel reads it: a byte for each value where there are at most 256 of them, else 16
/// bits.
pub(super) fn lines(class_of: &[u32]) -> Vec<Line> {
    let bits = if class_of.len() <= 256 { 8 } else { 16 };
    let in_word = 64 / bits;
    let line = |elements: &[u32]| {
        let mut line = Line::default();
        for (word, classes) in line.0.iter_mut().zip(elements.chunks(in_word)) {
            for (i, &class) in classes.iter().enumerate() {
                *word |= u64::from(class) << (i * bits);
            }
        }
        line
    };
    class_of.chunks(in_word * 8).map(line).collect()
}

/// The ranges of the numbers below `values` for which a test holds.
pub(super) fn where_true(values: u32, test: impl Fn(u32) -> bool) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for value in (0..values).filter(|value| test(*value)) {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == value => range.last = value,
            _ => ranges.push(Range { first: value, last: value }),
        }
    }
    ranges
}
