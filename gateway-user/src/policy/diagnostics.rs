//! What is wrong with a document, and where: collected, never thrown at the first.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used, but hardly says what was meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The document's name.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters underlined, at least 1.
    pub length: usize,
    /// What would be right.
    pub help: String,
}

/// Everything found in one document, with the document's text.
///
/// Serializes as the list of its findings.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    text: String,
}

impl Diagnostics {
    /// Findings about `text`, in the order of their places.
    #[must_use]
    pub fn new(text: impl Into<String>, mut items: Vec<Diagnostic>) -> Diagnostics {
        items.sort_by_key(|item| (item.line, item.column));
        Diagnostics { items, text: text.into() }
    }

    /// The findings, in the order of their places.
    #[must_use]
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.items.iter().filter(|item| item.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.items.len() - self.errors()
    }

    /// The document.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part of the document that a finding underlines.
    #[must_use]
    pub fn underlined(&self, item: &Diagnostic) -> &str {
        let line = self.text.lines().nth(item.line.saturating_sub(1)).unwrap_or_default();
        let start = byte_of_char(line, item.column.saturating_sub(1));
        let end = start + byte_of_char(&line[start..], item.length);
        &line[start..end]
    }
}

/// The byte at which character `index` starts, or the text's end.
pub(super) fn byte_of_char(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(byte, _)| byte)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Diagnostic { file, line, column, message, help, .. } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {message}; {help}")
    }
}

/// One line for each finding.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.items.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostics {}

impl Serialize for Diagnostics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(serializer)
    }
}

/// A stretch of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// First byte.
    pub start: usize,
    /// One behind the last byte.
    pub end: usize,
    /// Line of the first byte, from 1.
    pub line: usize,
    /// Column of the first byte in characters, from 1.
    pub column: usize,
}

/// Collects findings while a document is read.
pub(super) struct Reporter<'t> {
    file: &'t str,
    text: &'t str,
    items: Vec<Diagnostic>,
}

impl<'t> Reporter<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Reporter<'t> {
        Reporter { file, text, items: Vec::new() }
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, span, message.into(), help.into());
    }

    pub fn add(&mut self, severity: Severity, span: Span, message: String, help: String) {
        // What is underlined stays on its first line.
        let under = self.text.get(span.start..span.end).unwrap_or_default();
        let under = under.lines().next().unwrap_or_default().trim_end();
        self.items.push(Diagnostic {
            severity,
            message,
            file: self.file.to_owned(),
            line: span.line.max(1),
            column: span.column.max(1),
            length: under.chars().count().max(1),
            help,
        });
    }

    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|item| item.severity == Severity::Error)
    }

    pub fn finish(self) -> Diagnostics {
        Diagnostics::new(self.text, self.items)
    }
}
