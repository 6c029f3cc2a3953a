//! The tree to the model. Whatever is wrong is reported and the rest read on, so that one pass
//! finds all.

mod checks;
mod components;
mod document;
mod forwards;
mod health;
mod keys;
mod labels;
mod limits;
mod pools;
mod prefixes;
mod quantities;
mod ranges;
mod route;
mod scalars;
mod targets;
mod values;

pub use prefixes::parse_prefixes;

use super::diagnostics::{Diagnostics, Reporter, Span};
use super::yaml::{self, Node};
use super::{LabelFiles, NoFiles, Policy, Route, RoutePatch};
use std::collections::HashMap;

/// What was read, with the places that later findings need.
pub(super) struct Document {
    pub policy: Policy,
    /// Where each route's name stands.
    pub names: Vec<Span>,
    /// Where each pool's name stands.
    pub pools: HashMap<String, Span>,
}

/// Reads a document; what is wrong or doubtful goes to the reporter. Nothing is returned where
/// there are errors.
pub(super) fn document(text: &str, files: &dyn LabelFiles, reporter: &mut Reporter<'_>) -> Option<Document> {
    let root = root(text, "write `version: 1`, then `routes:`", reporter)?;
    let document = document::read(&root, files, reporter);
    if reporter.has_errors() { None } else { document }
}

/// Reads a policy document that names no label files.
///
/// `source_name` is the document's name in diagnostics; nothing is opened.
///
/// # Errors
/// Everything that is wrong with it. Where all is well, warnings are not told: see [`super::check()`].
pub fn parse(source_name: &str, text: &str) -> Result<Policy, Diagnostics> {
    parse_with(source_name, text, &NoFiles)
}

/// The same of a document that may name label files.
///
/// # Errors
/// Everything that is wrong with it, and with the files.
pub fn parse_with(source_name: &str, text: &str, files: &dyn LabelFiles) -> Result<Policy, Diagnostics> {
    let mut reporter = Reporter::new(source_name, text);
    match document(text, files, &mut reporter) {
        Some(document) => Ok(document.policy),
        None => Err(reporter.finish()),
    }
}

/// Reads one route, in YAML or JSON, in the words of a document. Whether the labels, limits and pools that it
/// names exist is found when it is added: [`Policy::add_route`].
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_route(source_name: &str, text: &str) -> Result<Route, Diagnostics> {
    let mut reporter = Reporter::new(source_name, text);
    let route = root(text, "write at least `name` and `action`", &mut reporter)
        .and_then(|root| route::read(&root, None, &mut reporter));
    match route {
        Some((route, _)) if !reporter.has_errors() => Ok(route),
        _ => Err(reporter.finish()),
    }
}

/// Reads a change to a route, in YAML or JSON: the keys of a route without its name; what is named
/// is replaced, each match component by itself, and `null` takes it away.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_patch(source_name: &str, text: &str) -> Result<RoutePatch, Diagnostics> {
    let mut reporter = Reporter::new(source_name, text);
    let patch = root(text, "name what is to change, `mark` for example", &mut reporter)
        .map(|root| route::read_patch(&root, &mut reporter));
    match patch {
        Some(patch) if !reporter.has_errors() => Ok(patch),
        _ => Err(reporter.finish()),
    }
}

fn root(text: &str, help: &str, reporter: &mut Reporter<'_>) -> Option<Node> {
    let root = yaml::read(text, reporter);
    let empty = root.as_ref().is_none_or(Node::is_null);
    if empty && !reporter.has_errors() {
        reporter.error(Span { line: 1, column: 1, ..Span::default() }, "the document is empty", help);
    }
    root.filter(|_| !empty)
}
