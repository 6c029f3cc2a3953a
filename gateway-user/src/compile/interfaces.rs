//! Interface lists → classes, a byte for each slot.

use super::classes::{ClassTable, Overfull};
use gateway_common::abi::MAX_INTERFACES;

/// Cuts the interface slots into classes: the class of each slot. There are never more classes than
/// slots, so a byte holds them.
///
/// # Errors
/// Where the lists overlap so much that their classes do not fit.
pub(super) fn compile(lists: &[Vec<u8>], classes: &mut ClassTable) -> Result<[u8; MAX_INTERFACES], Overfull> {
    let mut holders: Vec<Vec<u32>> = vec![Vec::new(); MAX_INTERFACES];
    for (set, slots) in lists.iter().enumerate() {
        for &slot in slots {
            holders[usize::from(slot)].push(set as u32);
        }
    }
    let mut class_of = [0; MAX_INTERFACES];
    for (class, sets) in class_of.iter_mut().zip(&holders) {
        *class = classes.intern(sets)? as u8;
    }
    Ok(class_of)
}
