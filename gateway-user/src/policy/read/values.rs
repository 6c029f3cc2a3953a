//! Values behind keys: single ones, lists, nothing at all.

use super::keys::{Fields, listed};
use super::scalars::Wrong;
use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::patch::Change;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Range, TargetLabels};
use std::collections::{BTreeMap, BTreeSet};

/// The names that a document gives to things, for those who name them.
#[derive(Default)]
pub(super) struct Known {
    pub labels: BTreeSet<String>,
    pub limits: BTreeSet<String>,
    /// With the labels of their targets, as far as they could be read.
    pub pools: BTreeMap<String, Option<Vec<TargetLabels>>>,
}

/// A key's value that is about to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'n> {
    pub key: &'static str,
    pub node: &'n Node,
    /// Whether `null` takes the thing away; elsewhere it is an error.
    pub clears: bool,
    /// What the document names; nothing where a route is read without its document.
    pub known: Option<&'n Known>,
}

impl<'n> Reader<'n> {
    /// Whether `null` stands there: taken for "take it away" or reported.
    pub fn null<T>(&self, reporter: &mut Reporter<'_>) -> Option<Change<T>> {
        if !self.node.is_null() {
            return None;
        }
        if self.clears {
            return Some(Change::Clear);
        }
        no_value(self.key, self.node.span, &format!("write one, or leave `{}` out", self.key), reporter);
        Some(Change::Keep)
    }

    /// A single value.
    pub fn one<T>(&self, read: fn(&str) -> Result<T, Wrong>, reporter: &mut Reporter<'_>) -> Change<T> {
        if let Some(change) = self.null(reporter) {
            return change;
        }
        scalar(self.node, self.key, read, reporter).map_or(Change::Keep, Change::Set)
    }

    /// The nodes of a list, or the one that stands there alone. An empty list is reported; `without`
    /// says what happens if the key is left out.
    pub fn nodes(&self, without: &str, reporter: &mut Reporter<'_>) -> Option<&'n [Node]> {
        let nodes = match &self.node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(self.node),
        };
        if nodes.is_empty() {
            let message = format!("`{}` is an empty list: it would match nothing", self.key);
            reporter.error(self.node.span, message, without);
            return None;
        }
        Some(nodes)
    }

    /// A value or a list of them, sorted and each once. One bad value spoils the list: what is left
    /// of it is not what was meant.
    pub fn sorted<T: Ord>(
        &self,
        read: fn(&str) -> Result<T, Wrong>,
        reporter: &mut Reporter<'_>,
    ) -> Change<Vec<T>> {
        if let Some(change) = self.null(reporter) {
            return change;
        }
        let Some(nodes) = self.nodes(&format!("leave `{}` out to match any", self.key), reporter) else {
            return Change::Keep;
        };
        let values: Vec<T> = nodes.iter().filter_map(|node| scalar(node, self.key, read, reporter)).collect();
        if values.len() < nodes.len() { Change::Keep } else { Change::Set(in_order(values)) }
    }

    /// The same of ranges, those that overlap or touch joined.
    pub fn ranges<T: Copy + Ord + Into<u32>>(
        &self,
        read: fn(&str) -> Result<Range<T>, Wrong>,
        reporter: &mut Reporter<'_>,
    ) -> Change<Vec<Range<T>>> {
        self.sorted(read, reporter).map(merged)
    }
}

/// Sorted, each once.
pub(super) fn in_order<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

/// Reads a single value.
pub(super) fn scalar<T>(
    node: &Node,
    key: &str,
    read: fn(&str) -> Result<T, Wrong>,
    reporter: &mut Reporter<'_>,
) -> Option<T> {
    let text = text(node, key, reporter)?;
    take(read(text), node.span, reporter)
}

/// The single value of a key that may be left out.
pub(super) fn optional<T>(
    fields: &Fields<'_>,
    key: &str,
    read: fn(&str) -> Result<T, Wrong>,
    reporter: &mut Reporter<'_>,
) -> Option<Option<T>> {
    match fields.get(key) {
        Some(node) => scalar(node, key, read, reporter).map(Some),
        None => Some(None),
    }
}

/// The single value of a key; the usual one where it is left out.
pub(super) fn or_usual<T>(
    fields: &Fields<'_>,
    key: &str,
    usual: T,
    read: fn(&str) -> Result<T, Wrong>,
    reporter: &mut Reporter<'_>,
) -> Option<T> {
    match fields.get(key) {
        Some(node) => scalar(node, key, read, reporter),
        None => Some(usual),
    }
}

/// The text of a single value.
pub(super) fn text<'n>(node: &'n Node, key: &str, reporter: &mut Reporter<'_>) -> Option<&'n str> {
    if node.is_null() {
        no_value(key, node.span, "write one", reporter);
        return None;
    }
    let Value::Scalar { text, .. } = &node.value else {
        let help = format!("write {} as a plain word or number", listed(&[key]));
        reporter.error(node.span, format!("`{key}` takes single values, not {}", node.kind()), help);
        return None;
    };
    Some(text)
}

/// The value, or a report of what is wrong with it.
pub(super) fn take<T>(read: Result<T, Wrong>, span: Span, reporter: &mut Reporter<'_>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(Wrong { message, help }) => {
            reporter.error(span, message, help);
            None
        }
    }
}

/// Reports that nothing stands there.
pub(super) fn no_value(key: &str, span: Span, help: &str, reporter: &mut Reporter<'_>) {
    reporter.error(span, format!("`{key}` has no value"), help);
}

/// Joins ranges, in order, that overlap or touch.
pub(super) fn merged<T: Copy + Ord + Into<u32>>(ranges: Vec<Range<T>>) -> Vec<Range<T>> {
    let mut out: Vec<Range<T>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.first.into() <= last.last.into().saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => out.push(range),
        }
    }
    out
}
