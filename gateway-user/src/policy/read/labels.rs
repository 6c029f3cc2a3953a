//! Labels: prefixes in the document, or in a file.

use super::keys::{Keys, fields};
use super::prefixes;
use super::scalars::{label_name, prefix};
use super::values::{Known, in_order, no_value, scalar, take, text};
use crate::policy::diagnostics::{Reporter, Severity, Span};
use crate::policy::yaml::{Node, Value};
use crate::policy::{Label, LabelFile, LabelFiles};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Most labels of a policy.
const LABELS_MAX: usize = 4_096;

const LABEL: Keys = Keys { what: "a label", known: &["file"], later: &[] };
const LABEL_HELP: &str =
    "write prefixes, `[10.0.0.0/8, \"2001:db8::/32\"]`, or `{file: blocked.txt}`; `[]` for live members only";

/// A name in front of what it names.
pub(super) struct Name<'n> {
    pub text: &'n str,
    pub span: Span,
}

/// The entries of a map of names; `example` is one of them.
pub(super) fn entries<'n>(
    node: &'n Node,
    key: &str,
    example: &str,
    reporter: &mut Reporter<'_>,
) -> Vec<(Name<'n>, &'n Node)> {
    let help = || format!("write each under its name: `{example}`");
    let Value::Map(entries) = &node.value else {
        // Nothing behind it, all commented out for example.
        if !node.is_null() {
            let message = format!("`{key}` must be a map of names, not {}", node.kind());
            reporter.error(node.span, message, help());
        }
        return Vec::new();
    };
    let mut out = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        match &name.value {
            Value::Scalar { text, .. } => out.push((Name { text, span: name.span }, value)),
            _ => reporter.error(
                name.span,
                format!("a name must be a single word, not {}", name.kind()),
                help(),
            ),
        }
    }
    out
}

/// The labels of a document.
pub(super) fn read_all(
    node: &Node,
    files: &dyn LabelFiles,
    known: &mut Known,
    reporter: &mut Reporter<'_>,
) -> BTreeMap<String, Label> {
    let entries = entries(node, "labels", "staging: [10.20.0.0/16]", reporter);
    if let Some((name, _)) = entries.get(LABELS_MAX) {
        let help = format!("{LABELS_MAX} are the most: leave out what follows here");
        reporter.error(name.span, format!("{} labels are more than a policy can hold", entries.len()), help);
        return BTreeMap::new();
    }
    let mut labels = BTreeMap::new();
    for (key, value) in entries {
        let Some(name) = take(label_name(key.text), key.span, reporter) else { continue };
        if !known.labels.insert(name.clone()) {
            reporter.error(key.span, format!("the label `{name}` is given twice"), "rename one of them");
            continue;
        }
        if let Some(label) = label(value, files, reporter) {
            labels.insert(name, label);
        }
    }
    labels
}

fn label(node: &Node, files: &dyn LabelFiles, reporter: &mut Reporter<'_>) -> Option<Label> {
    let nodes = match &node.value {
        _ if node.is_null() => {
            no_value("label", node.span, LABEL_HELP, reporter);
            return None;
        }
        Value::Map(_) => {
            let file = fields(node, &LABEL, reporter)?.need("file", LABEL_HELP, reporter)?;
            return from_file(file, files, reporter);
        }
        Value::List(nodes) => nodes.as_slice(),
        Value::Scalar { .. } => std::slice::from_ref(node),
    };
    let prefixes: Vec<_> = nodes.iter().filter_map(|node| scalar(node, "label", prefix, reporter)).collect();
    let whole = prefixes.len() == nodes.len();
    whole.then(|| Label { prefixes: Arc::new(in_order(prefixes)), file: None })
}

fn from_file(node: &Node, files: &dyn LabelFiles, reporter: &mut Reporter<'_>) -> Option<Label> {
    let path = text(node, "file", reporter)?;
    let bytes = match files.read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let help = match error.kind() {
                io::ErrorKind::NotFound => {
                    "write its path from the folder of the policy's file, or an absolute one"
                }
                io::ErrorKind::Unsupported => "write the prefixes themselves: `[10.0.0.0/8]`",
                _ => "a label's file is a regular file that can be read, a prefix a line",
            };
            reporter.error(node.span, format!("{path} cannot be read: {error}"), help);
            return None;
        }
    };
    let (prefixes, duplicates) = prefixes::read(path, &bytes, reporter)?;
    if duplicates > 0 {
        let lines = if duplicates == 1 { "line repeats a prefix" } else { "lines repeat prefixes" };
        let help = format!("they do no harm; `sort -u {path}` is the file without them");
        reporter.add(Severity::Warning, node.span, format!("{duplicates} {lines} of {path}"), help);
    }
    let digest = prefixes::digest(&prefixes);
    let file = LabelFile { path: path.to_owned(), digest };
    Some(Label { prefixes: Arc::new(prefixes), file: Some(file) })
}
