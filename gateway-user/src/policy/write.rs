//! The canonical text of a policy, and its digest.

use super::pool_words::pool_word;
use super::words::{
    Word, checksums_word, decision_words, default_word, label_word, limit_word, malformed_word, match_words,
};
use super::{Label, Policy, Route};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest list or map that is written in one line, characters.
const LINE_CHARS_MAX: usize = 100;

/// The canonical document: equal policies give equal texts, and it parses to the same policy. What
/// a label's file held stands in a comment, so that other content makes another text.
#[must_use]
pub fn to_yaml(policy: &Policy) -> String {
    let mut out = String::from("version: 1\n");
    if !policy.labels.is_empty() {
        out.push_str("labels:\n");
    }
    for (name, label) in &policy.labels {
        write_value(&Word::Text(name.clone()).to_string(), label_word(label), "  ", &mut out);
        write_content(label, &mut out);
    }
    if !policy.limits.is_empty() {
        out.push_str("limits:\n");
    }
    for (name, limit) in &policy.limits {
        write_value(&Word::Text(name.clone()).to_string(), limit_word(limit), "  ", &mut out);
    }
    if !policy.pools.is_empty() {
        out.push_str("pools:\n");
    }
    for (name, pool) in &policy.pools {
        write_value(&Word::Text(name.clone()).to_string(), pool_word(pool), "  ", &mut out);
    }
    if policy.routes.is_empty() {
        out.push_str("routes: []\n");
    } else {
        out.push_str("routes:\n");
    }
    for route in &policy.routes {
        write_route(route, &mut out);
    }
    out.push_str(&format!("default: {}\n", default_word(policy.default)));
    out.push_str(&format!("malformed: {}\n", malformed_word(policy.malformed)));
    if policy.verify_checksums {
        out.push_str(&format!("checksums: {}\n", checksums_word(true)));
    }
    out
}

/// What a label's file held.
fn write_content(label: &Label, out: &mut String) {
    let Some(file) = &label.file else { return };
    let digest: String = file.digest.iter().map(|word| format!("{word:016x}")).collect();
    out.push_str(&format!("  # {} prefixes, sha256 {digest}\n", label.prefixes.len()));
}

fn write_route(route: &Route, out: &mut String) {
    out.push_str(&format!("  - name: {}\n", Word::Text(route.name.clone())));
    let components = match_words(&route.matches);
    if !components.is_empty() {
        write_value("match", Word::Map(components), "    ", out);
    }
    for (key, word) in decision_words(route) {
        write_value(key, word, "    ", out);
    }
}

/// In one line if it is short; else a line a key or a value, the long ones among them again so.
fn write_value(key: &str, word: Word, indent: &str, out: &mut String) {
    let line = word.to_string();
    let long = line.len() > LINE_CHARS_MAX;
    match word {
        Word::List(items) if long => {
            out.push_str(&format!("{indent}{key}:\n"));
            for item in items {
                out.push_str(&format!("{indent}  - {item}\n"));
            }
        }
        Word::Map(entries) if long => {
            out.push_str(&format!("{indent}{key}:\n"));
            for (key, value) in entries {
                write_value(key, value, &format!("{indent}  "), out);
            }
        }
        _ => out.push_str(&format!("{indent}{key}: {line}\n")),
    }
}

/// One line of YAML; a list of one value is written as that value.
impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Text(text) if needs_quotes(text) => write_quoted(text, f),
            Word::Text(text) | Word::Plain(text) => f.write_str(text),
            Word::Number(number) => write!(f, "{number}"),
            Word::Hex(number) => write!(f, "{number:#x}"),
            Word::List(items) => match items.as_slice() {
                [item] => item.fmt(f),
                items => {
                    f.write_str("[")?;
                    for (i, item) in items.iter().enumerate() {
                        write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                    }
                    f.write_str("]")
                }
            },
            Word::Map(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Word::Names(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    let (key, value) = (Word::Text(key.clone()), Word::Text(value.clone()));
                    write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Whether some YAML reader might take the text for something else without quotes: other
/// characters than a word's, a number, a date, a truth value, nothing.
fn needs_quotes(text: &str) -> bool {
    const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-'));
    let number_like = |c: char| c.is_ascii_hexdigit() || matches!(c, 'x' | 'X' | 'o' | '_' | '.' | '-');
    text.is_empty()
        || text.contains(odd)
        || !text.starts_with(|c: char| c.is_ascii_alphabetic() || c.is_ascii_digit())
        || text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(number_like)
        || WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn write_quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            // What an editor might not show, or YAML not take as it is.
            c if c.is_control() || (!c.is_ascii() && !c.is_alphanumeric()) => {
                write!(f, "\\U{:08x}", u32::from(c))?;
            }
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// SHA-256 of the canonical text, big-endian words: tells one policy from another, on any node and
/// in any version of this program that writes the same text.
#[must_use]
pub fn digest(policy: &Policy) -> [u64; 4] {
    digest_of(&to_yaml(policy))
}

/// The digest of a policy whose canonical text, which [`to_yaml`] wrote, is at hand.
#[must_use]
pub fn digest_of(canonical: &str) -> [u64; 4] {
    words_of(Sha256::digest(canonical).into())
}

/// A digest's big-endian words.
pub(super) fn words_of(bytes: [u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}
