//! Port lists → classes, and the array in which the kernel finds a port's class by its number.

use super::classes::{ClassTable, Overfull};
use crate::policy::PortRange;
use gateway_common::abi::Line;

/// Most classes of a port dimension: elements of the array are 16 bits, and 0 is in no list.
pub(super) const MAX_PORT_CLASSES: usize = u16::MAX as usize;

const PORTS: usize = 65_536;
const ELEMENTS_PER_LINE: usize = 32;
const BEGINS: u64 = 1 << 31;

/// Cuts the ports into classes: the class of each, by number. Classes beyond
/// [`MAX_PORT_CLASSES`] are for the caller to refuse.
///
/// # Errors
/// Where the lists overlap so much that their classes do not fit.
pub(super) fn compile(lists: &[&[PortRange]], classes: &mut ClassTable) -> Result<Vec<u32>, Overfull> {
    // An edge: port, whether a list begins or ends there, list. Ends come first.
    let mut edges: Vec<u64> = Vec::new();
    for (set, list) in lists.iter().enumerate() {
        for range in *list {
            edges.push(u64::from(range.first) << 32 | BEGINS | set as u64);
            edges.push((u64::from(range.last) + 1) << 32 | set as u64);
        }
    }
    edges.sort_unstable();

    let mut class_of = vec![0; PORTS];
    let mut open: Vec<u32> = Vec::new();
    let mut edges = edges.into_iter().peekable();
    while let Some(edge) = edges.next() {
        let port = (edge >> 32) as usize;
        cross(&mut open, edge);
        while let Some(edge) = edges.next_if(|edge| (edge >> 32) as usize == port) {
            cross(&mut open, edge);
        }
        let end = edges.peek().map_or(PORTS, |edge| (edge >> 32) as usize);
        if !open.is_empty() {
            class_of[port..end].fill(classes.intern(&open)?);
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

/// The array: 16 bits a port.
pub(super) fn lines(class_of: &[u32]) -> Vec<Line> {
    let line = |elements: &[u32]| {
        let mut line = Line::default();
        for (word, classes) in line.0.iter_mut().zip(elements.chunks(4)) {
            for (i, &class) in classes.iter().enumerate() {
                *word |= u64::from(class as u16) << (i * 16);
            }
        }
        line
    };
    class_of.chunks(ELEMENTS_PER_LINE).map(line).collect()
}
