//! Numbers that stay with their names.

use std::collections::HashMap;

/// Numbers by name, from 1, without a gap but for those that are left to nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    by_name: HashMap<String, u32>,
    /// Name by number less one; empty where a number was skipped.
    names: Vec<String>,
}

impl Numbers {
    /// The lowest that was never given out.
    pub(super) fn first_free(&self) -> u32 {
        self.names.len() as u32 + 1
    }

    /// The number of a name, if it has one.
    pub(super) fn of(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name that has this number.
    pub(super) fn name(&self, number: u32) -> Option<&str> {
        let place = number.checked_sub(1)?;
        self.names.get(place as usize).filter(|name| !name.is_empty()).map(String::as_str)
    }

    /// All names and their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        let numbered = self.names.iter().zip(1..);
        numbered.filter(|(name, _)| !name.is_empty()).map(|(name, number)| (name.as_str(), number))
    }

    /// Numbers for the names that have none, from `first_free` on; else the first name that finds none
    /// up to `most`.
    pub(super) fn plan<'a>(
        &self,
        names: &[&'a str],
        first_free: &mut u32,
        most: u32,
    ) -> Result<HashMap<String, u32>, &'a str> {
        let mut new = HashMap::new();
        for name in names {
            if self.by_name.contains_key(*name) || new.contains_key(*name) {
                continue;
            }
            if *first_free > most {
                return Err(name);
            }
            new.insert((*name).to_owned(), *first_free);
            *first_free += 1;
        }
        Ok(new)
    }

    /// Gives them out.
    pub(super) fn add(&mut self, new: HashMap<String, u32>) {
        for (name, number) in new {
            let Some(place) = number.checked_sub(1) else { continue };
            self.skip_below(number + 1);
            self.names[place as usize].clone_from(&name);
            self.by_name.insert(name, number);
        }
    }

    /// Leaves all that are free below this one to nobody.
    pub(super) fn skip_below(&mut self, first_free: u32) {
        let used = first_free.saturating_sub(1) as usize;
        if used > self.names.len() {
            self.names.resize(used, String::new());
        }
    }
}
