//! The sets of labels that a sender can carry: those of the label table, and those that live members
//! make of them. Which of them a route asks for, and what they are called in limits by label.

use super::Surroundings;
use super::classes::{ClassTable, ClassesOfSets, Cut, MAX_OVERLAPS};
use super::error::Problem;
use super::hashing::{Build, Fold};
use super::labels::{LabelTable, MAX_LABEL_SETS};
use crate::policy::LabelTest;
use gateway_common::image::{Key, TAG_MERGE};
use std::collections::HashMap;
use std::hash::Hasher;

/// Most steps from a set and a live label to a set: what a full merge table of the largest number of
/// classes takes.
const MAX_STEPS: usize = 1 << 24;

/// All sets of labels, numbered: those of the label table keep their classes.
#[derive(Debug)]
pub(super) struct LabelSets {
    classes: ClassTable,
    /// (class, label's number) → class of the set with that label, where it is another one.
    pub merges: Vec<(Key, u32)>,
}

/// Adds to the label table's sets those that live members make of them: for each set that prefixes
/// carry, with all subsets of each set that live members give to one source, in whatever order these
/// are met. And each label alone, so that the first live member of a label outside of all prefixes
/// ([`LabelTable::is_clear_of`]) finds its set there: it comes at any time, under attack as a rule, and
/// waits for no new image.
///
/// # Errors
/// Where that makes too many.
pub(super) fn close(surroundings: &Surroundings<'_>) -> Result<LabelSets, Problem> {
    let Surroundings { labels: table, live_sets, names, .. } = *surroundings;
    let fixed = table.classes().count();
    let live: Vec<Vec<u32>> = live_sets.iter().map(|set| known(set, table)).collect();
    let explodes = |sets| Problem::LiveSetsExplode { fixed, live: live.len(), sets, limit: MAX_LABEL_SETS };
    let subsets = |set: &Vec<u32>| 1_usize.checked_shl(set.len() as u32).unwrap_or(usize::MAX);
    let steps = live.iter().map(subsets).fold(0_usize, usize::saturating_add);
    if steps.saturating_mul(fixed + 1) > MAX_STEPS {
        return Err(explodes(None));
    }
    let mut growing = Growing {
        classes: table.classes().clone(),
        children: HashMap::default(),
        merges: Vec::new(),
        scratch: Vec::new(),
    };
    let numbers: Vec<u32> = table.names().iter().map(|name| names.label_number(name)).collect();
    for label in 0..table.len() as u32 {
        growing.merge(0, label, &numbers).ok_or_else(|| explodes(None))?;
    }
    if growing.classes.count() > MAX_LABEL_SETS {
        return Err(explodes(Some(growing.classes.count())));
    }
    let mut reached = Vec::new();
    for set in &live {
        for class in 0..=fixed as u32 {
            // By subset of the live labels as bits: the class with just these.
            reached.clear();
            reached.resize(1 << set.len(), class);
            for subset in 0..reached.len() {
                for (bit, &label) in set.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 0) {
                    let merged = growing.merge(reached[subset], label, &numbers);
                    reached[subset | 1 << bit] = merged.ok_or_else(|| explodes(None))?;
                }
            }
            if growing.classes.count() > MAX_LABEL_SETS {
                return Err(explodes(Some(growing.classes.count())));
            }
        }
    }
    Ok(LabelSets { classes: growing.classes, merges: growing.merges })
}

/// The ids of those labels that the policy has, ascending.
fn known(set: &[String], table: &LabelTable) -> Vec<u32> {
    let mut ids: Vec<u32> = set.iter().filter_map(|name| table.id(name)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

struct Growing {
    classes: ClassTable,
    /// (class, label) → class, as far as known.
    children: HashMap<(u32, u32), u32, Build>,
    merges: Vec<(Key, u32)>,
    scratch: Vec<u32>,
}

impl Growing {
    /// The class of a set with one label more; nothing where the sets grow too large.
    fn merge(&mut self, class: u32, label: u32, numbers: &[u32]) -> Option<u32> {
        let Err(at) = self.classes.sets(class).binary_search(&label) else { return Some(class) };
        if let Some(&merged) = self.children.get(&(class, label)) {
            return Some(merged);
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(self.classes.sets(class));
        self.scratch.insert(at, label);
        let merged = self.classes.intern(&self.scratch).ok()?;
        let number = u64::from(numbers[label as usize]);
        self.merges.push((Key { a: class.into(), b: number, c: 0, tag: TAG_MERGE }, merged));
        self.children.insert((class, label), merged);
        Some(merged)
    }
}

impl LabelSets {
    /// How many sets there are, the empty one not counted.
    pub(super) fn count(&self) -> usize {
        self.classes.count()
    }

    /// Which sets fulfil each of these tests.
    ///
    /// # Errors
    /// For each label that the policy does not have; or where the tests ask for too many sets, the test's
    /// place and how many sets it asks for.
    pub(super) fn cut(&self, tests: &[&LabelTest], table: &LabelTable) -> Result<Cut, CutError> {
        let of_label = self.classes.by_set(table.len());
        let mut unknown = Vec::new();
        let (mut lists, mut total) = (Vec::with_capacity(tests.len()), 0);
        for (place, test) in tests.iter().enumerate() {
            let mut classes: Option<Vec<u32>> = None;
            for name in &test.names {
                let Some(id) = table.id(name) else {
                    unknown.push((place, name.clone()));
                    continue;
                };
                let of_label = of_label.of(id);
                classes = Some(match classes {
                    None => of_label.to_vec(),
                    Some(mut classes) if test.all => {
                        classes.retain(|class| of_label.binary_search(class).is_ok());
                        classes
                    }
                    Some(mut classes) => {
                        classes.extend_from_slice(of_label);
                        classes.sort_unstable();
                        classes.dedup();
                        classes
                    }
                });
            }
            let classes = classes.unwrap_or_default();
            total += classes.len();
            if total > MAX_OVERLAPS {
                return Err(CutError::Overfull { place, classes: classes.len() });
            }
            lists.push(classes);
        }
        if !unknown.is_empty() {
            return Err(CutError::Unknown(unknown));
        }
        let sets = ClassesOfSets::of_classes(lists.into_iter().map(Vec::into_iter));
        Ok(Cut { sets, all: 0..self.count() as u32 + 1 })
    }

    /// What each set is called in limits by label, by class from 0 on: a hash of its labels' names, so
    /// that a set keeps its buckets whatever else a policy holds.
    pub(super) fn keys(&self, table: &LabelTable) -> Vec<u64> {
        let name = |label: &u32| table.names()[*label as usize].as_str();
        let key = |class| label_set_key(self.classes.sets(class).iter().map(name));
        (0..=self.count() as u32).map(key).collect()
    }
}

/// What a set of labels is called in limits by label; `names` in their order, each once.
pub fn label_set_key<'n>(names: impl IntoIterator<Item = &'n str>) -> u64 {
    let mut state = Fold::default();
    for name in names {
        state.write_usize(name.len());
        state.write(name.as_bytes());
    }
    state.finish()
}

/// Why tests of labels cannot be cut.
#[derive(Debug)]
pub(super) enum CutError {
    /// Tests by their place, and the label that the policy does not have.
    Unknown(Vec<(usize, String)>),
    /// They ask for too many sets in all.
    Overfull {
        /// Place of the test at which it became too many.
        place: usize,
        /// How many it asks for.
        classes: usize,
    },
}
