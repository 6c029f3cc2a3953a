//! What a test has to tell beyond that it passed: `key value` lines, printed and, where
//! `GATEWAY_REPORT_DIR` is set, written to a file there for `cargo xtask test` to sum up.

use std::fmt::Display;
use std::fs::{OpenOptions, create_dir_all};
use std::io::Write;
use std::path::Path;

/// Prints `key value` and adds it to `$GATEWAY_REPORT_DIR/<name>.txt`.
///
/// # Panics
/// If the folder is set and cannot be written to: a number that is lost would look like one that
/// was never reached.
pub fn report(name: &str, key: &str, value: impl Display) {
    println!("{name}: {key} {value}");
    let Some(folder) = std::env::var_os("GATEWAY_REPORT_DIR") else { return };
    let folder = Path::new(&folder);
    create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let path = folder.join(format!("{name}.txt"));
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{key} {value}"));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
