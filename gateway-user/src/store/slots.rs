//! Which slot a name has. A slot once given stays with its name for ever, so that counters follow
//! the name and a line of an old generation still counts for the right one.

use super::numbers::Numbers;
use gateway_common::abi::{COUNTER_FIRST_ROUTE, MAX_INTERFACES, ROUTE_COUNTERS};
use gateway_common::image::{MAX_LIMITS, MAX_TARGETS};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// All slots are taken.
///
/// All are refusals: taking a slot from the name that was away longest would let two names share
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
    /// No limit slot is left.
    #[error(
        "limit `{name}` has no bucket: all {most} belong to names that were used before. \
         Use a name again, or start over with `gateway detach` and an empty state folder"
    )]
    Limits {
        /// The first name that found none.
        name: String,
        /// How many there are.
        most: u32,
    },
    /// No target slot is left.
    #[error(
        "target `{name}` cannot be counted: all {most} slots belong to names that were used before. \
         Use a name again, or start over with `gateway detach` and an empty state folder"
    )]
    Targets {
        /// The first name that found none.
        name: String,
        /// How many there are.
        most: u32,
    },
    /// No label number is left.
    #[error(
        "label `{name}` has no number: all {most} belong to names that were used before. \
         Use a name again, or start over with `gateway detach` and an empty state folder"
    )]
    Labels {
        /// The first name that found none.
        name: String,
        /// How many there are.
        most: u32,
    },
}

/// The names that a policy or a configuration uses.
#[derive(Clone, Debug, Default)]
pub struct Used<'a> {
    /// Routes.
    pub routes: Vec<&'a str>,
    /// Interfaces.
    pub interfaces: Vec<&'a str>,
    /// Limits: named ones, routes' own (`web/1`), and those of SYN cookies (`web/syn`).
    pub limits: Vec<&'a str>,
    /// Labels.
    pub labels: Vec<&'a str>,
    /// Targets of pools: `web/v1`.
    pub targets: Vec<&'a str>,
}

/// Who has which slot.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    routes: HashMap<String, u32>,
    /// Route name by slot, from [`COUNTER_FIRST_ROUTE`] on; empty where a slot was skipped.
    route_names: Vec<String>,
    interfaces: HashMap<String, u8>,
    limits: Numbers,
    labels: Numbers,
    targets: Numbers,
}

/// Slots for names that have none yet. They are in [`Slots`] once the kernel counts by them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSlots {
    /// By route name.
    pub routes: HashMap<String, u32>,
    /// By interface name.
    pub interfaces: HashMap<String, u8>,
    /// Counter slots below this one are taken.
    pub first_free_route: u32,
    /// By limit name.
    #[serde(default)]
    pub limits: HashMap<String, u32>,
    /// Limit slots below this one are taken.
    #[serde(default)]
    pub first_free_limit: u32,
    /// By label name.
    #[serde(default)]
    pub labels: HashMap<String, u32>,
    /// By target name.
    #[serde(default)]
    pub targets: HashMap<String, u32>,
    /// Target slots below this one are taken.
    #[serde(default)]
    pub first_free_target: u32,
}

impl NewSlots {
    /// The slot of a route, if it is a new one.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<u32> {
        self.routes.get(name).copied()
    }

    /// The slot of an interface, if it is a new one.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<u8> {
        self.interfaces.get(name).copied()
    }

    /// The slot of a limit, if it is a new one.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u32> {
        self.limits.get(name).copied()
    }

    /// The slot of a target, if it is a new one.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<u32> {
        self.targets.get(name).copied()
    }

    /// The number of a label, if it is a new one.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<u32> {
        self.labels.get(name).copied()
    }
}

impl Slots {
    /// How many routes can have a counter slot.
    pub const MOST_ROUTES: u32 = ROUTE_COUNTERS as u32 - COUNTER_FIRST_ROUTE;
    /// How many interfaces can have a slot.
    pub const MOST_INTERFACES: u32 = MAX_INTERFACES as u32 - 1;
    /// How many limits can have a slot; slot 0 belongs to none.
    pub const MOST_LIMITS: u32 = MAX_LIMITS as u32 - 1;
    /// How many targets can have a slot; slot 0 belongs to none.
    pub const MOST_TARGETS: u32 = MAX_TARGETS as u32 - 1;
    /// How many labels can have a number; 0 is no label.
    pub const MOST_LABELS: u32 = u16::MAX as u32;

    /// The counter slot of a route, if it has one.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<u32> {
        self.routes.get(name).copied()
    }

    /// The route that has this counter slot.
    #[must_use]
    pub fn route_name(&self, slot: u32) -> Option<&str> {
        let place = slot.checked_sub(COUNTER_FIRST_ROUTE)?;
        self.route_names.get(place as usize).filter(|name| !name.is_empty()).map(String::as_str)
    }

    /// Every route ever named, and its counter slot, by slot.
    pub fn routes(&self) -> impl Iterator<Item = (&str, u32)> {
        (COUNTER_FIRST_ROUTE..)
            .zip(&self.route_names)
            .filter_map(|(slot, name)| if name.is_empty() { None } else { Some((name.as_str(), slot)) })
    }

    /// Counter slots in use, skipped ones included.
    #[must_use]
    pub fn routes_used(&self) -> u32 {
        self.route_names.len() as u32
    }

    /// The lowest counter slot that was never given out.
    #[must_use]
    pub fn first_free_route(&self) -> u32 {
        COUNTER_FIRST_ROUTE + self.routes_used()
    }

    /// The slot of an interface, if it has one.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<u8> {
        self.interfaces.get(name).copied()
    }

    /// The interface that has this slot.
    #[must_use]
    pub fn interface_name(&self, slot: u8) -> Option<&str> {
        self.interfaces.iter().find(|(_, given)| **given == slot).map(|(name, _)| name.as_str())
    }

    /// Every interface ever named, and its slot, in no order.
    pub fn interfaces(&self) -> impl Iterator<Item = (&str, u8)> {
        self.interfaces.iter().map(|(name, slot)| (name.as_str(), *slot))
    }

    /// Interface slots in use.
    #[must_use]
    pub fn interfaces_used(&self) -> u32 {
        self.interfaces.len() as u32
    }

    /// The slot of a limit, if it has one.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u32> {
        self.limits.of(name)
    }

    /// The limit that has this slot.
    #[must_use]
    pub fn limit_name(&self, slot: u32) -> Option<&str> {
        self.limits.name(slot)
    }

    /// Limit slots in use, skipped ones included.
    #[must_use]
    pub fn limits_used(&self) -> u32 {
        self.limits.first_free() - 1
    }

    /// The slot of a target, if it has one.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<u32> {
        self.targets.of(name)
    }

    /// The target that has this slot.
    #[must_use]
    pub fn target_name(&self, slot: u32) -> Option<&str> {
        self.targets.name(slot)
    }

    /// Every target that has a slot, and the slot.
    pub fn targets(&self) -> impl Iterator<Item = (&str, u32)> {
        self.targets.iter()
    }

    /// The number of a label, if it has one.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<u32> {
        self.labels.of(name)
    }

    /// The label that has this number.
    #[must_use]
    pub fn label_name(&self, number: u32) -> Option<&str> {
        self.labels.name(number)
    }

    /// Finds a slot for each name that has none.
    ///
    /// # Errors
    /// If there are not enough.
    pub fn plan(&self, used: &Used<'_>) -> Result<NewSlots, SlotError> {
        let mut new = NewSlots {
            first_free_route: self.first_free_route(),
            first_free_limit: self.limits.first_free(),
            first_free_target: self.targets.first_free(),
            ..NewSlots::default()
        };
        new.limits = self
            .limits
            .plan(&used.limits, &mut new.first_free_limit, Slots::MOST_LIMITS)
            .map_err(|name| SlotError::Limits { name: name.to_owned(), most: Slots::MOST_LIMITS })?;
        new.targets = self
            .targets
            .plan(&used.targets, &mut new.first_free_target, Slots::MOST_TARGETS)
            .map_err(|name| SlotError::Targets { name: name.to_owned(), most: Slots::MOST_TARGETS })?;
        new.labels = self
            .labels
            .plan(&used.labels, &mut self.labels.first_free(), Slots::MOST_LABELS)
            .map_err(|name| SlotError::Labels { name: name.to_owned(), most: Slots::MOST_LABELS })?;
        for name in &used.routes {
            let name = *name;
            if self.route(name).is_some() || new.route(name).is_some() {
                continue;
            }
            if new.first_free_route as usize >= ROUTE_COUNTERS {
                return Err(SlotError::Routes { name: name.to_owned(), most: Slots::MOST_ROUTES });
            }
            new.routes.insert(name.to_owned(), new.first_free_route);
            new.first_free_route += 1;
        }
        let mut taken = [false; MAX_INTERFACES];
        taken[0] = true;
        for slot in self.interfaces.values() {
            taken[usize::from(*slot)] = true;
        }
        for name in &used.interfaces {
            let name = *name;
            if self.interface(name).is_some() || new.interface(name).is_some() {
                continue;
            }
            let free = taken.iter().position(|taken| !taken).and_then(|slot| u8::try_from(slot).ok());
            let Some(slot) = free else {
                return Err(SlotError::Interfaces { name: name.to_owned(), most: Slots::MOST_INTERFACES });
            };
            taken[usize::from(slot)] = true;
            new.interfaces.insert(name.to_owned(), slot);
        }
        Ok(new)
    }

    /// For a store that is newer than the maps it finds: slots below `first_free_route`,
    /// `first_free_limit` and `first_free_target` stay with nobody, since the kernel has counted there for names that are not
    /// known, and interfaces keep the slots that the kernel knows them by, unless name or slot is known differently.
    #[must_use]
    pub fn plan_for_found<'a>(
        &self,
        first_free_route: u32,
        first_free_limit: u32,
        first_free_target: u32,
        interfaces: impl Iterator<Item = (&'a str, u8)>,
    ) -> NewSlots {
        let mut new = NewSlots {
            first_free_route: first_free_route.clamp(self.first_free_route(), ROUTE_COUNTERS as u32),
            first_free_limit: first_free_limit.clamp(self.limits.first_free(), MAX_LIMITS as u32),
            first_free_target: first_free_target.clamp(self.targets.first_free(), MAX_TARGETS as u32),
            ..NewSlots::default()
        };
        for (name, slot) in interfaces {
            if slot != 0 && self.interface(name).is_none() && self.interface_name(slot).is_none() {
                new.interfaces.insert(name.to_owned(), slot);
            }
        }
        new
    }

    /// Whether these slots would change nothing.
    #[must_use]
    pub fn has_all(&self, new: &NewSlots) -> bool {
        new.interfaces.is_empty()
            && new.labels.is_empty()
            && new.first_free_route <= self.first_free_route()
            && new.first_free_limit <= self.limits.first_free()
            && new.first_free_target <= self.targets.first_free()
    }

    /// Adds slots.
    pub fn add(&mut self, new: NewSlots) {
        let used = new.first_free_route.saturating_sub(COUNTER_FIRST_ROUTE) as usize;
        if used > self.route_names.len() {
            self.route_names.resize(used, String::new());
        }
        for (name, slot) in new.routes {
            self.add_route(name, slot);
        }
        self.interfaces.extend(new.interfaces);
        self.limits.skip_below(new.first_free_limit);
        self.limits.add(new.limits);
        self.labels.add(new.labels);
        self.targets.skip_below(new.first_free_target);
        self.targets.add(new.targets);
    }

    fn add_route(&mut self, name: String, slot: u32) {
        let Some(place) = slot.checked_sub(COUNTER_FIRST_ROUTE).map(|place| place as usize) else {
            return;
        };
        if place >= self.route_names.len() {
            self.route_names.resize(place + 1, String::new());
        }
        self.route_names[place].clone_from(&name);
        self.routes.insert(name, slot);
    }
}
