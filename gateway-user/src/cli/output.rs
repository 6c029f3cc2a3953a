//! Where text goes: formats, tables, standard output. Nothing else in the project prints.

use super::CliError;
use super::args::Format;
use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets};
use crossterm::{cursor, execute, queue, style, terminal};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Shows a value: as it is in JSON and YAML, else by `table`, which is told whether to be wide.
///
/// # Errors
/// Where standard output cannot be written, or the value not be put into the format.
pub fn show<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(bool) -> String,
) -> Result<(), CliError> {
    print(&match format {
        Format::Table => table(false),
        Format::Wide => table(true),
        Format::Json => json(value)?,
        Format::Yaml => yaml(value)?,
    })
}

/// A value as indented JSON, with a line end.
///
/// # Errors
/// A value that JSON cannot hold.
pub fn json<T: Serialize>(value: &T) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(CliError::format)
}

/// A value as one line of JSON.
///
/// # Errors
/// A value that JSON cannot hold.
pub fn json_line<T: Serialize>(value: &T) -> Result<String, CliError> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(CliError::format)
}

/// A value as YAML, with a line end.
///
/// # Errors
/// A value that YAML cannot hold.
pub fn yaml<T: Serialize>(value: &T) -> Result<String, CliError> {
    serde_saphyr::to_string(value)
        .map(|text| if text.ends_with('\n') { text } else { text + "\n" })
        .map_err(CliError::format)
}

/// Writes text to standard output.
///
/// # Errors
/// Where it cannot be written.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Output)
}

/// Writes text to standard error, with a line end. That nobody listens is no reason to fail.
pub fn complain(text: &str) {
    let mut out = io::stderr().lock();
    if writeln!(out, "{}", text.trim_end()).is_err() {
        // Standard error is gone: the exit code has to tell.
    }
}

/// Whether standard output is a terminal.
#[must_use]
pub fn to_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether to colour standard output: on a terminal, unless `NO_COLOR` says otherwise.
#[must_use]
pub fn colour() -> bool {
    to_terminal() && wanted()
}

/// The same for standard error.
#[must_use]
pub fn colour_errors() -> bool {
    io::stderr().is_terminal() && wanted()
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Plain columns: no borders, two spaces between, numbers to the right.
pub struct Columns {
    table: Table,
    count: usize,
}

impl Columns {
    /// Columns with these heads; `>` in front of one puts its cells to the right.
    #[must_use]
    pub fn new(heads: &[&str]) -> Columns {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(heads.iter().map(|head| head.trim_start_matches('>')));
        for (i, head) in heads.iter().enumerate() {
            if let Some(column) = table.column_mut(i) {
                column.set_padding((0, 2));
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(1)));
                if head.starts_with('>') {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        Columns { table, count: heads.len() }
    }

    /// Adds a row: a cell for each head.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.count, "a cell for each head");
        self.table.add_row(cells);
    }

    /// The text, without blanks at line ends, with a line end.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The terminal while something is redrawn on it; dropped, it is as before.
pub struct Screen(());

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn enter() -> Result<Screen, CliError> {
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide).map_err(CliError::Output)?;
        Ok(Screen(()))
    }

    /// Its height, lines; a common one where it does not tell.
    #[must_use]
    pub fn rows(&self) -> usize {
        terminal::size().map_or(24, |(_, rows)| usize::from(rows))
    }

    /// Shows this text in place of what was there; long lines are cut.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn draw(&self, text: &str) -> Result<(), CliError> {
        let columns = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let mut out = io::stdout().lock();
        let mut draw = || -> io::Result<()> {
            queue!(out, terminal::BeginSynchronizedUpdate, cursor::MoveTo(0, 0))?;
            for line in text.lines().take(self.rows()) {
                let cut: String = line.chars().take(columns).collect();
                let clear = terminal::Clear(terminal::ClearType::UntilNewLine);
                queue!(out, style::Print(cut), clear, cursor::MoveToNextLine(1))?;
            }
            let below = terminal::Clear(terminal::ClearType::FromCursorDown);
            queue!(out, below, terminal::EndSynchronizedUpdate)?;
            out.flush()
        };
        draw().map_err(CliError::Output)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where this fails there is no terminal left to restore.
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_plain() {
        let mut columns = Columns::new(&["NAME", ">PACKETS", "ACTION"]);
        columns.row(vec!["web".into(), "5".into(), "pass".into()]);
        columns.row(vec!["deny-blocked".into(), "12345".into(), String::new()]);
        assert_eq!(
            columns.text(),
            "NAME          PACKETS  ACTION\n\
             web                 5  pass\n\
             deny-blocked    12345\n"
        );
    }
}
