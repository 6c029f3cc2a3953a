//! The configuration file: `gateway run`'s flags as YAML keys.

use super::SettingsError;
use super::args::Settings;
use super::output;
use crate::policy::{Diagnostic, Diagnostics, Severity};
use std::path::Path;

/// Reads a configuration file.
///
/// # Errors
/// A file that cannot be read, or is no configuration.
pub fn read(path: &Path) -> Result<Settings, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text).map_err(|found| SettingsError::Parse {
        path: path.to_owned(),
        rendered: found.render(output::colour_errors()),
    })
}

/// The settings in a configuration file's text; an empty file sets nothing.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(name: &str, text: &str) -> Result<Settings, Diagnostics> {
    let options = serde_saphyr::options! { with_snippet: false };
    let settings: Result<Option<Settings>, _> = serde_saphyr::from_str_with_options(text, options);
    settings.map(Option::unwrap_or_default).map_err(|error| diagnose(name, text, &error))
}

/// A reader's error as it is told of a policy too: the place underlined, and what would be right.
fn diagnose(name: &str, text: &str, error: &serde_saphyr::Error) -> Diagnostics {
    let (line, column) = error
        .location()
        .map_or((1, 1), |place| (place.line().max(1) as usize, place.column().max(1) as usize));
    let told = error.to_string();
    // The place is shown, so it need not be told as well.
    let told = told.rsplit_once(" at line ").map_or(told.as_str(), |(what, _)| what);
    let (message, help) = match told.split_once(", expected one of ") {
        Some((what, keys)) => {
            (what.replace("unknown field", "there is no key"), format!("the keys are {keys}"))
        }
        None if told.starts_with("invalid u") => (
            "this is not a whole number".to_owned(),
            "`gateway run --help` tells what each key takes".to_owned(),
        ),
        None => (told.to_owned(), "`gateway run --help` tells what each key takes".to_owned()),
    };
    let source_line = text.lines().nth(line - 1).unwrap_or_default();
    let word = source_line.chars().skip(column - 1).take_while(|c| !c.is_whitespace() && *c != ':');
    let found = Diagnostic {
        severity: Severity::Error,
        message,
        file: name.to_owned(),
        line,
        column,
        length: word.count().max(1),
        help,
    };
    Diagnostics::new(text, vec![found])
}
