//! The model back to the words of a document: one tree that JSON, YAML and differences are written
//! from.

use super::protocols::protocol_name;
use super::{Action, Default, Malformed, Match, Policy, PortRange, Route};
use gateway_common::reason::Reason;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A value in a document's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Text that may need quotes.
    Text(String),
    /// Text that never needs quotes.
    Plain(String),
    /// A number.
    Number(u32),
    /// A number that people read in hexadecimal.
    Hex(u32),
    /// A list.
    List(Vec<Word>),
    /// A map, in the order in which it is written.
    Map(Vec<(&'static str, Word)>),
}

impl Word {
    fn plain(text: &str) -> Word {
        Word::Plain(text.to_owned())
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Word::Text(text) | Word::Plain(text) => serializer.serialize_str(text),
            Word::Number(number) | Word::Hex(number) => serializer.serialize_u32(*number),
            Word::List(items) => serializer.collect_seq(items),
            Word::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn list<T>(key: &'static str, values: Option<&Vec<T>>, word: fn(&T) -> Word) -> Option<(&'static str, Word)> {
    values.map(|values| (key, Word::List(values.iter().map(word).collect())))
}

fn port(range: &PortRange) -> Word {
    if range.first == range.last { Word::Number(range.first.into()) } else { Word::Plain(range.to_string()) }
}

fn protocol(number: &u8) -> Word {
    protocol_name(*number).map_or(Word::Number((*number).into()), Word::plain)
}

/// A match's components, in the order in which they are written.
pub(super) fn match_words(matches: &Match) -> Vec<(&'static str, Word)> {
    let components = [
        list("interface", matches.interface.as_ref(), |name| Word::Text(name.clone())),
        list("from", matches.from.as_ref(), |prefix| Word::Text(prefix.to_string())),
        list("to", matches.to.as_ref(), |prefix| Word::Text(prefix.to_string())),
        list("protocol", matches.protocol.as_ref(), protocol),
        list("port", matches.port.as_ref(), port),
        list("source_port", matches.source_port.as_ref(), port),
    ];
    components.into_iter().flatten().collect()
}

/// An action's word.
pub(super) fn action_word(action: &Action) -> Word {
    match action {
        Action::Pass => Word::plain("pass"),
        Action::Drop => Word::plain("drop"),
        Action::Tx => Word::plain("tx"),
        Action::Redirect { interface } => Word::Map(vec![("redirect", Word::Text(interface.clone()))]),
    }
}

/// A route's keys, in the order in which they are written.
pub(super) fn route_words(route: &Route) -> Vec<(&'static str, Word)> {
    let mut words = vec![("name", Word::Text(route.name.clone()))];
    let components = match_words(&route.matches);
    if !components.is_empty() {
        words.push(("match", Word::Map(components)));
    }
    words.extend(route.mark.map(|mark| ("mark", Word::Hex(mark))));
    words.extend(route.priority.map(|priority| ("priority", Word::Number(priority))));
    words.push(("action", action_word(&route.action)));
    words
}

/// The default's word.
pub(super) fn default_word(default: Default) -> Word {
    Word::plain(match default {
        Default::Pass => "pass",
        Default::Drop => "drop",
    })
}

/// `drop` or `pass`, or the more frequent of them as `default` beside the exceptions.
pub(super) fn malformed_word(malformed: Malformed) -> Word {
    let all = Reason::all_malformed_bits();
    let drops = malformed.drop_bits & all;
    if drops == all {
        return Word::plain("drop");
    }
    if drops == 0 {
        return Word::plain("pass");
    }
    let mostly_drop = 2 * drops.count_ones() >= all.count_ones();
    let (default, exception) = if mostly_drop { ("drop", "pass") } else { ("pass", "drop") };
    let exceptions = Reason::ALL
        .iter()
        .filter(|reason| reason.is_malformed() && (drops & reason.bit() != 0) != mostly_drop)
        .map(|reason| (reason.name(), Word::plain(exception)));
    Word::Map(std::iter::once(("default", Word::plain(default))).chain(exceptions).collect())
}

/// In the words of a document.
impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Word::Map(route_words(self)).serialize(serializer)
    }
}

/// In the words of a document.
impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("version", &1)?;
        map.serialize_entry("routes", &self.routes)?;
        map.serialize_entry("default", &default_word(self.default))?;
        map.serialize_entry("malformed", &malformed_word(self.malformed))?;
        map.end()
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
