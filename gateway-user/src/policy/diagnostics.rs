//! What is wrong with a document, and where: collected, never thrown at the first.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
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
    excerpts: Excerpts,
}

/// Lines of other files that findings are in, by file and line.
type Excerpts = HashMap<(String, usize), String>;

impl Diagnostics {
    /// Findings about `text`, in the order of their places.
    #[must_use]
    pub fn new(text: impl Into<String>, items: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics::with_excerpts(text.into(), items, Excerpts::new())
    }

    /// The same, some of them in other files: those come last.
    fn with_excerpts(text: String, mut items: Vec<Diagnostic>, excerpts: Excerpts) -> Diagnostics {
        let elsewhere = |item: &Diagnostic| {
            let key = (item.file.clone(), item.line);
            excerpts.contains_key(&key).then_some(key.0)
        };
        if excerpts.is_empty() {
            items.sort_by_key(|item| (item.line, item.column));
        } else {
            items.sort_by_cached_key(|item| (elsewhere(item), item.line, item.column));
        }
        Diagnostics { items, text, excerpts }
    }

    /// The line of another file that a finding is in; nothing where it is in the document.
    pub(super) fn excerpt(&self, item: &Diagnostic) -> Option<&str> {
        if self.excerpts.is_empty() {
            return None;
        }
        self.excerpts.get(&(item.file.clone(), item.line)).map(String::as_str)
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
        let in_document = || self.text.lines().nth(item.line.saturating_sub(1)).unwrap_or_default();
        let line = self.excerpt(item).unwrap_or_else(in_document);
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

/// A place in another file than the document.
pub(super) struct Place<'f> {
    /// The file's name.
    pub file: &'f str,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters underlined.
    pub length: usize,
    /// The line's text.
    pub text: String,
}

/// Characters kept of a line of another file.
const EXCERPT_CHARS_MAX: usize = 1_000;

/// Collects findings while a document is read.
pub(super) struct Reporter<'t> {
    file: &'t str,
    text: &'t str,
    items: Vec<Diagnostic>,
    excerpts: Excerpts,
}

impl<'t> Reporter<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Reporter<'t> {
        Reporter { file, text, items: Vec::new(), excerpts: Excerpts::new() }
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

    /// An error in another file.
    pub fn error_in(&mut self, place: Place<'_>, message: impl Into<String>, help: impl Into<String>) {
        let Place { file, line, column, length, mut text } = place;
        text.truncate(byte_of_char(&text, EXCERPT_CHARS_MAX));
        self.items.push(Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            file: file.to_owned(),
            line,
            column,
            length: length.max(1),
            help: help.into(),
        });
        self.excerpts.insert((file.to_owned(), line), text);
    }

    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|item| item.severity == Severity::Error)
    }

    pub fn finish(self) -> Diagnostics {
        Diagnostics::with_excerpts(self.text.to_owned(), self.items, self.excerpts)
    }
}
