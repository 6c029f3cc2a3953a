//! Diagnostics for people: the lines around each finding, the place underlined.

use super::diagnostics::{Diagnostic, Diagnostics, Severity, byte_of_char};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents,
};
use std::fmt::Write;

/// Findings shown in full.
const SHOWN_MAX: usize = 100;
/// Characters shown of a line, before and behind the place in question.
const LINE_CHARS_AROUND: usize = 100;
/// Columns of the output.
const WIDTH_COLUMNS: usize = 110;

impl Diagnostics {
    /// The findings for a terminal, with a last line that counts them. The first hundred are shown
    /// in full.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_width(WIDTH_COLUMNS)
            .with_context_lines(1);
        let lines: Vec<&str> = self.text().lines().collect();
        let mut out = String::new();
        for item in self.items().iter().take(SHOWN_MAX) {
            let window = match self.excerpt(item) {
                Some(line) => Window::around(item, &[line], item.line.saturating_sub(1)),
                None => Window::around(item, &lines, 0),
            };
            let report = Report { item, window };
            if handler.render_report(&mut out, &report).is_err() {
                let _ = writeln!(out, "{item}"); // writing to a String does not fail
            }
            out.push('\n');
        }
        if let Some(more @ 1..) = self.items().len().checked_sub(SHOWN_MAX) {
            let _ = writeln!(out, "… and {more} more");
        }
        if !self.is_empty() {
            let _ = writeln!(out, "{}", self.summary());
        }
        out
    }

    /// For example `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{n} {what}s")),
        };
        let parts = [count(self.errors(), "error"), count(self.warnings(), "warning")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The lines around a finding, long ones cut, so that neither a document of many megabytes nor a
/// line of them is walked for each.
#[derive(Debug)]
struct Window {
    name: String,
    text: String,
    /// Line of the window's first, from 0.
    first_line: usize,
    /// The finding's place in the document, from 0.
    line: usize,
    column: usize,
    /// The finding's place in `text`, bytes.
    span: SourceSpan,
}

impl Window {
    /// `lines` are the file's from line `skipped` on, from 0.
    fn around(item: &Diagnostic, lines: &[&str], skipped: usize) -> Window {
        let line = item.line.saturating_sub(1);
        let column = item.column.saturating_sub(1);
        let first_line = line.saturating_sub(1).max(skipped);
        let shown_from = column.saturating_sub(LINE_CHARS_AROUND);
        let mut text = String::new();
        let mut span = SourceSpan::from((0, 0));
        for (number, content) in lines
            .iter()
            .enumerate()
            .map(|(i, line)| (i + skipped, line))
            .take(line + 2 - skipped)
            .skip(first_line - skipped)
        {
            let from = if number == line { byte_of_char(content, shown_from) } else { 0 };
            let rest = &content[from..];
            let cut = &rest[..byte_of_char(rest, 2 * LINE_CHARS_AROUND)];
            if from > 0 {
                text.push('…');
            }
            if number == line {
                let start = byte_of_char(cut, column - shown_from);
                let length = byte_of_char(&cut[start..], item.length);
                span = SourceSpan::from((text.len() + start, length));
            }
            text.push_str(cut);
            if cut.len() < rest.len() {
                text.push('…');
            }
            text.push('\n');
        }
        Window { name: item.file.clone(), text, first_line, line, column, span }
    }
}

impl SourceCode for Window {
    fn read_span<'a>(
        &'a self,
        _: &SourceSpan,
        lines_before: usize,
        _: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // Without context only the place in the document is asked for.
        let (line, column) = if lines_before == 0 { (self.line, self.column) } else { (self.first_line, 0) };
        let all = SourceSpan::from((0, self.text.len()));
        let count = self.text.lines().count();
        let data = self.text.as_bytes();
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), data, all, line, column, count)))
    }
}

/// One finding as miette wants it.
#[derive(Debug)]
struct Report<'a> {
    item: &'a Diagnostic,
    window: Window,
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.item.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.item.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(&self.item.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.window)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(None, self.window.span))))
    }
}
