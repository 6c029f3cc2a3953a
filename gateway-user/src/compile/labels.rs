//! Labels → the table in which the kernel finds the set of labels that hold a source.
//!
//! The table says nothing of routes, so that it is built once for labels that stay while policies and
//! live members change, and its lines are shared by all images.

use super::classes::ClassTable;
use super::dimension::Dimension;
use super::error::{CompileError, Problem};
use super::{intervals, prefix};
use crate::policy::Label;
use gateway_common::abi::Line;
use gateway_common::image::intervals::class_at;
use gateway_common::packet::address_of;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most sets of labels: a class has 16 bits, and class 0 is no label.
pub const MAX_LABEL_SETS: usize = Dimension::Label.highest_class() as usize;

/// The prefixes of all labels, compiled.
#[derive(Debug)]
pub struct LabelTable {
    labels: BTreeMap<String, Label>,
    /// In order: a label's id is its place.
    names: Vec<String>,
    lines: Arc<Vec<Line>>,
    intervals: usize,
    classes: ClassTable,
}

impl LabelTable {
    /// Compiles labels.
    ///
    /// # Errors
    /// Where they overlap in too many ways.
    pub fn build(labels: &BTreeMap<String, Label>) -> Result<LabelTable, CompileError> {
        LabelTable::try_build(labels).map_err(|problem| CompileError { problems: vec![problem] })
    }

    fn try_build(labels: &BTreeMap<String, Label>) -> Result<LabelTable, Problem> {
        let names: Vec<String> = labels.keys().cloned().collect();
        let lists: Vec<&[IpNet]> = labels.values().map(|label| label.prefixes.as_slice()).collect();
        let mut classes = ClassTable::with_capacity(labels.len());
        let Ok(nodes) = prefix::nodes(&lists, &mut classes) else {
            return Err(overlaps(&classes, &names));
        };
        if classes.count() > MAX_LABEL_SETS {
            return Err(Problem::TooManyLabelSets { sets: classes.count(), limit: MAX_LABEL_SETS });
        }
        let (lines, intervals) = intervals::table(&nodes);
        Ok(LabelTable { labels: labels.clone(), names, lines: Arc::new(lines), intervals, classes })
    }

    /// Whether it is the table of these labels. Takes no time for labels that share their prefixes with
    /// those that it was built of, or come from files.
    #[must_use]
    pub fn is_of(&self, labels: &BTreeMap<String, Label>) -> bool {
        let same = |a: &Label, b: &Label| {
            Arc::ptr_eq(&a.prefixes, &b.prefixes)
                || match (&a.file, &b.file) {
                    (Some(a), Some(b)) => a.digest == b.digest,
                    _ => a.prefixes == b.prefixes,
                }
        };
        self.labels.len() == labels.len()
            && self.labels.iter().zip(labels).all(|((a, old), (b, new))| a == b && same(old, new))
    }

    /// Whether no prefix of any label shares an address with this one.
    #[must_use]
    pub fn is_clear_of(&self, prefix: &IpNet) -> bool {
        let family = if prefix.addr().is_ipv4() { 4 } else { 6 };
        let held = class_at(self.lines.as_slice(), 0, family, address_of(prefix.network())) != Some(0);
        // In the order of prefixes, those within another follow it.
        let holds = |prefixes: &[IpNet]| {
            let behind = prefixes.partition_point(|other| other < prefix);
            prefixes.get(behind).is_some_and(|other| prefix.contains(other))
        };
        !held && !self.labels.values().any(|label| holds(&label.prefixes))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many prefixes the labels have, each counted in every label that it is in.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.labels.values().map(|label| label.prefixes.len()).sum()
    }

    /// Into how many intervals of one set of labels each its prefixes cut the addresses.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.intervals
    }

    /// How many different sets of labels its prefixes carry.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.classes.count()
    }

    /// Size of the table, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    pub(super) fn lines(&self) -> &Arc<Vec<Line>> {
        &self.lines
    }

    /// The sets of labels by class, as ascending ids.
    pub(super) fn classes(&self) -> &ClassTable {
        &self.classes
    }

    /// The labels' names by id.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn id(&self, name: &str) -> Option<u32> {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).ok().map(|id| id as u32)
    }
}

fn overlaps(classes: &ClassTable, names: &[String]) -> Problem {
    let (label, overlaps) = classes.widest(names.len());
    let label = names.get(label).cloned().unwrap_or_default();
    Problem::LabelOverlaps { label, overlaps, limit: super::classes::MAX_OVERLAPS }
}
