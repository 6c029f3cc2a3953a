//! Which slot a name has. A slot once given stays with its name for ever, so that counters follow
//! the name and a line of an old generation still counts for the right one.

use gateway_common::abi::{COUNTER_FIRST_ROUTE, MAX_INTERFACES, ROUTE_COUNTERS};
use std::collections::HashMap;

/// All slots are taken.
///
/// Both are refusals: taking a slot from the name that was away longest would let two names share
/// one counter, and a counter would go back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// No counter slot is left.
    #[error(
        "route `{name}` cannot be counted: all {most} counter slots belong to names that were used before. \
         Use a name again, or start over with `gateway detach` and an empty state folder"
    )]
    Routes {
        /// The first name that found none.
        name: String,
        /// How many there are.
        most: u32,
    },
    /// No interface slot is left.
    #[error(
        "interface `{name}` has no place: all {most} interface slots belong to names that were used before. \
         Start over with `gateway detach` and an empty state folder"
    )]
    Interfaces {
        /// The name.
        name: String,
        /// How many there are.
        most: u32,
    },
}

/// Counter slots by route name.
#[derive(Clone, Debug)]
pub struct RouteSlots {
    by_name: HashMap<String, u32>,
    /// Name by slot, from [`COUNTER_FIRST_ROUTE`] on; empty where a slot was skipped.
    names: Vec<String>,
    unsaved: Vec<String>,
    skipped_unsaved: bool,
}

impl RouteSlots {
    /// How many names can have a slot.
    pub const MOST: u32 = ROUTE_COUNTERS as u32 - COUNTER_FIRST_ROUTE;

    pub(super) fn new(slots: Vec<(String, u32)>, first_free: Option<u32>) -> RouteSlots {
        let mut book = RouteSlots {
            by_name: HashMap::with_capacity(slots.len()),
            names: Vec::new(),
            unsaved: Vec::new(),
            skipped_unsaved: false,
        };
        book.skip_to(first_free.unwrap_or(COUNTER_FIRST_ROUTE));
        for (name, slot) in slots {
            book.skip_to(slot + 1);
            if let Some(place) = slot.checked_sub(COUNTER_FIRST_ROUTE) {
                book.names[place as usize].clone_from(&name);
            }
            book.by_name.insert(name, slot);
        }
        book.skipped_unsaved = false;
        book
    }

    /// The slot of a name, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name that has this slot.
    #[must_use]
    pub fn name(&self, slot: u32) -> Option<&str> {
        let place = slot.checked_sub(COUNTER_FIRST_ROUTE)?;
        self.names.get(place as usize).filter(|name| !name.is_empty()).map(String::as_str)
    }

    /// Every name and its slot, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.by_name.iter().map(|(name, slot)| (name.as_str(), *slot))
    }

    /// Slots in use, skipped ones included.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.names.len() as u32
    }

    /// The lowest slot that was never given out.
    #[must_use]
    pub fn first_free(&self) -> u32 {
        COUNTER_FIRST_ROUTE + self.used()
    }

    /// Gives a slot to each name that has none. They are durable only once the store says so.
    ///
    /// # Errors
    /// If there are not enough; none is given out then.
    pub fn allocate<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) -> Result<(), SlotError> {
        let mut new: Vec<&str> = names.filter(|name| !self.by_name.contains_key(*name)).collect();
        new.dedup();
        let free = (RouteSlots::MOST - self.used()) as usize;
        if let Some(name) = new.get(free) {
            return Err(SlotError::Routes { name: (*name).to_owned(), most: RouteSlots::MOST });
        }
        for name in new {
            if self.by_name.contains_key(name) {
                continue;
            }
            self.by_name.insert(name.to_owned(), self.first_free());
            self.names.push(name.to_owned());
            self.unsaved.push(name.to_owned());
        }
        Ok(())
    }

    /// Never gives out a slot below `slot`, beside those that have a name already: where the kernel
    /// has counted for names that this store does not know.
    pub fn skip_to(&mut self, slot: u32) {
        let used = slot.saturating_sub(COUNTER_FIRST_ROUTE).min(RouteSlots::MOST) as usize;
        if used > self.names.len() {
            self.names.resize(used, String::new());
            self.skipped_unsaved = true;
        }
    }

    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_empty() && !self.skipped_unsaved
    }

    pub(super) fn unsaved(&self) -> impl Iterator<Item = (&str, u32)> {
        self.unsaved.iter().filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }

    pub(super) fn saved(&mut self) {
        self.unsaved.clear();
        self.skipped_unsaved = false;
    }
}

/// Interface slots by name.
#[derive(Clone, Debug)]
pub struct InterfaceSlots {
    by_name: HashMap<String, u8>,
    unsaved: Vec<String>,
}

impl InterfaceSlots {
    /// How many names can have a slot.
    pub const MOST: u32 = MAX_INTERFACES as u32 - 1;

    pub(super) fn new(slots: Vec<(String, u8)>) -> InterfaceSlots {
        InterfaceSlots { by_name: slots.into_iter().collect(), unsaved: Vec::new() }
    }

    /// The slot of a name, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u8> {
        self.by_name.get(name).copied()
    }

    /// The name that has this slot.
    #[must_use]
    pub fn name(&self, slot: u8) -> Option<&str> {
        self.by_name.iter().find(|(_, given)| **given == slot).map(|(name, _)| name.as_str())
    }

    /// Every name and its slot, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u8)> {
        self.by_name.iter().map(|(name, slot)| (name.as_str(), *slot))
    }

    /// Slots in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.by_name.len() as u32
    }

    /// The slot of a name, a new one if it has none. It is durable only once the store says so.
    ///
    /// # Errors
    /// If none is left.
    pub fn allocate(&mut self, name: &str) -> Result<u8, SlotError> {
        if let Some(slot) = self.get(name) {
            return Ok(slot);
        }
        let slot = (1..=u8::MAX)
            .find(|slot| self.name(*slot).is_none())
            .ok_or_else(|| SlotError::Interfaces { name: name.to_owned(), most: InterfaceSlots::MOST })?;
        self.by_name.insert(name.to_owned(), slot);
        self.unsaved.push(name.to_owned());
        Ok(slot)
    }

    /// Notes that the kernel already knows this name by this slot. Without effect where the store
    /// knows the name or the slot differently.
    pub fn adopt(&mut self, name: &str, slot: u8) {
        if slot != 0 && self.get(name).is_none() && self.name(slot).is_none() {
            self.by_name.insert(name.to_owned(), slot);
            self.unsaved.push(name.to_owned());
        }
    }

    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    pub(super) fn unsaved(&self) -> impl Iterator<Item = (&str, u8)> {
        self.unsaved.iter().filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }

    pub(super) fn saved(&mut self) {
        self.unsaved.clear();
    }
}
