//! A label's file: a prefix or an address a line, `#` before a comment.

use super::scalars::{Wrong, prefix};
use crate::policy::diagnostics::{Diagnostics, Place, Reporter};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Malformed lines that are told one by one.
const TOLD_MAX: usize = 20;
/// Prefixes that are hashed at once.
const HASHED_AT_ONCE: usize = 1_024;

/// Reads a label's file alone. The prefixes are sorted, each once.
///
/// `name` is the file's name in diagnostics; nothing is opened.
///
/// # Errors
/// The malformed lines: the first twenty with their places, then how many more there are.
pub fn parse_prefixes(name: &str, bytes: &[u8]) -> Result<Vec<IpNet>, Diagnostics> {
    let mut reporter = Reporter::new(name, "");
    match read(name, bytes, &mut reporter) {
        Some((prefixes, _)) => Ok(prefixes),
        None => Err(reporter.finish()),
    }
}

/// The prefixes, sorted and each once, and how many lines said again what another had said. Nothing
/// where lines are malformed.
pub(super) fn read(name: &str, bytes: &[u8], reporter: &mut Reporter<'_>) -> Option<(Vec<IpNet>, usize)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes); // a byte-order mark
    let mut prefixes: Vec<IpNet> = Vec::with_capacity(bytes.len() / 16);
    let mut malformed = 0_usize;
    let mut first_untold = 0;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let content = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if content.is_empty() {
            continue;
        }
        let found = std::str::from_utf8(content).map_err(|_| Wrong {
            message: "this line is not text".to_owned(),
            help: "write a prefix a line, 10.0.0.0/8 or 2001:db8::/32, in UTF-8".to_owned(),
        });
        match found.and_then(one) {
            Ok(prefix) => prefixes.push(prefix),
            Err(wrong) => {
                malformed += 1;
                if malformed <= TOLD_MAX {
                    tell(name, index + 1, line, content, wrong, reporter);
                } else if malformed == TOLD_MAX + 1 {
                    first_untold = index + 1;
                }
            }
        }
    }
    if malformed > TOLD_MAX {
        let more = malformed - TOLD_MAX;
        let lines = if more == 1 { "line is" } else { "lines are" };
        let place = Place { file: name, line: first_untold, column: 1, length: 1, text: String::new() };
        reporter.error_in(place, format!("and {more} more {lines} malformed"), "mend the others first");
    }
    if malformed > 0 {
        return None;
    }
    let lines = prefixes.len();
    // Most files are sorted: that is seen at once.
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.shrink_to_fit();
    let duplicates = lines - prefixes.len();
    Some((prefixes, duplicates))
}

/// A line's prefix.
fn one(text: &str) -> Result<IpNet, Wrong> {
    prefix(text).map_err(|wrong| {
        if text.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';')) {
            Wrong {
                message: "there is more than a prefix in this line".to_owned(),
                help: "write a prefix a line, and a `#` in front of a comment".to_owned(),
            }
        } else {
            wrong
        }
    })
}

fn tell(file: &str, line: usize, whole: &[u8], content: &[u8], wrong: Wrong, reporter: &mut Reporter<'_>) {
    let indent = whole.len() - whole.trim_ascii_start().len();
    let shown = String::from_utf8_lossy(whole.trim_ascii_end()).into_owned();
    let length = String::from_utf8_lossy(content).chars().count();
    let place = Place { file, line, column: indent + 1, length, text: shown };
    reporter.error_in(place, wrong.message, wrong.help);
}

/// SHA-256 over a line for each prefix, as it is written in a policy; big-endian words.
pub(super) fn digest(prefixes: &[IpNet]) -> [u64; 4] {
    let mut hasher = Sha256::new();
    let mut text = String::new();
    for some in prefixes.chunks(HASHED_AT_ONCE) {
        text.clear();
        for prefix in some {
            let _ = writeln!(text, "{prefix}"); // writing to a String does not fail
        }
        hasher.update(text.as_bytes());
    }
    crate::policy::write::words_of(hasher.finalize().into())
}
