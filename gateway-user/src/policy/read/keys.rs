//! A map's keys: known, unknown, twice, missing.

use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::suggest::closest;
use crate::policy::yaml::{Node, Value};

/// The keys that a map may have.
pub(super) struct Keys {
    /// What the map is called in messages.
    pub what: &'static str,
    /// The keys.
    pub known: &'static [&'static str],
    /// Keys of the design that are not built yet.
    pub later: &'static [&'static str],
}

/// A map's entries with known keys, each once.
pub(super) struct Fields<'n> {
    span: Span,
    what: &'static str,
    entries: Vec<(&'static str, Span, &'n Node)>,
    /// Keys that were meant, if the suggestions are right.
    misspelt: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, ..)| *name == key).map(|(.., node)| *node)
    }

    /// Where a key stands; the map's beginning if it does not.
    pub fn key_span(&self, key: &str) -> Span {
        self.entries.iter().find(|(name, ..)| *name == key).map_or(self.span, |(_, span, _)| *span)
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &str, help: &str, reporter: &mut Reporter<'_>) -> Option<&'n Node> {
        let node = self.get(key);
        if node.is_none() && !self.misspelt(key) {
            reporter.error(self.span, format!("{} has no `{key}`", self.what), help);
        }
        node
    }

    /// Whether a key that was not known was probably meant to be this one.
    pub fn misspelt(&self, key: &str) -> bool {
        self.misspelt.contains(&key)
    }

    /// All entries, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'n Node)> {
        self.entries.iter().map(|(name, _, node)| (*name, *node))
    }
}

/// Reads a map. What is not a map is reported; so are keys that are unknown or stand twice.
pub(super) fn fields<'n>(node: &'n Node, keys: &Keys, reporter: &mut Reporter<'_>) -> Option<Fields<'n>> {
    let Value::Map(entries) = &node.value else {
        let message = format!("{} must be a map, not {}", keys.what, node.kind());
        reporter.error(node.span, message, format!("its keys are {}", listed(keys.known)));
        return None;
    };
    let mut found = Fields {
        span: node.span,
        what: keys.what,
        entries: Vec::with_capacity(entries.len()),
        misspelt: Vec::new(),
    };
    for (key, value) in entries {
        let Value::Scalar { text, .. } = &key.value else {
            reporter.error(
                key.span,
                format!("a key must be a single word, not {}", key.kind()),
                known_help(keys),
            );
            continue;
        };
        let Some(name) = keys.known.iter().find(|known| *known == text) else {
            found.misspelt.extend(unknown(text, key.span, keys, reporter));
            continue;
        };
        if let Some((_, first, _)) = found.entries.iter().find(|(other, ..)| other == name) {
            let help = format!("the first is in line {}: keep one of them", first.line);
            reporter.error(key.span, format!("`{name}` stands twice"), help);
            continue;
        }
        found.entries.push((name, key.span, value));
    }
    Some(found)
}

/// Reports a key that is not known; returns the one that was probably meant.
fn unknown(text: &str, span: Span, keys: &Keys, reporter: &mut Reporter<'_>) -> Option<&'static str> {
    if keys.later.contains(&text) {
        let message = format!("`{text}` is not supported by this version");
        reporter.error(span, message, format!("leave it out; {}", known_help(keys)));
        return None;
    }
    let meant = closest(text, keys.known.iter().copied());
    let help = match (text, meant) {
        ("<<", _) => "YAML merge keys are not read: write the keys out".to_owned(),
        (_, Some(meant)) => format!("did you mean `{meant}`?"),
        (_, None) => known_help(keys),
    };
    reporter.error(span, format!("{} has no key `{text}`", keys.what), help);
    meant
}

fn known_help(keys: &Keys) -> String {
    let verb = if keys.known.len() == 1 { "the key is" } else { "the keys are" };
    format!("{verb} {}", listed(keys.known))
}

/// `` `a`, `b` and `c` ``.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => format!("`{word}`"),
        [words @ .., last] => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", words.join(", "))
        }
    }
}
