//! The model back to the words of a document: one tree that JSON, YAML and differences are written
//! from.

use super::flags::{dscp_name, flags_text};
use super::pool_words::pool_word;
use super::protocols::protocol_name;
use super::units::{burst_text, connection_rate_text, duration_text, rate_text};
use super::{
    Action, Component, Default, Fragment, KeyLengths, Label, LabelTest, Limit, Malformed, Match, Over, Per,
    Policy, Quantity, Range, Route, RouteLimit, SynCookies, TcpFlags,
};
use gateway_common::reason::Reason;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::fmt;

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
    /// A map of names to texts.
    Names(BTreeMap<String, String>),
}

impl Word {
    pub(super) fn plain(text: &str) -> Word {
        Word::Plain(text.to_owned())
    }

    /// Its text without quotes; of a list its items' texts.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match self {
            Word::Text(text) | Word::Plain(text) => vec![text.clone()],
            Word::List(items) => items.iter().flat_map(Word::texts).collect(),
            Word::Map(entries) => entries.iter().flat_map(|(_, word)| word.texts()).collect(),
            Word::Names(entries) => entries.values().cloned().collect(),
            Word::Number(_) | Word::Hex(_) => vec![self.to_string()],
        }
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Word::Text(text) | Word::Plain(text) => serializer.serialize_str(text),
            Word::Number(number) | Word::Hex(number) => serializer.serialize_u32(*number),
            Word::List(items) => serializer.collect_seq(items),
            Word::Names(entries) => entries.serialize(serializer),
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

fn list<T>(values: Option<&Vec<T>>, word: fn(&T) -> Word) -> Option<Word> {
    values.map(|values| Word::List(values.iter().map(word).collect()))
}

fn range<T: Copy + PartialEq + Into<u32> + fmt::Display>(range: &Range<T>) -> Word {
    if range.first == range.last { Word::Number(range.first.into()) } else { Word::Plain(range.to_string()) }
}

fn protocol(number: &u8) -> Word {
    protocol_name(*number).map_or(Word::Number((*number).into()), Word::plain)
}

/// A code point that stands alone by its name.
fn dscps(of: &Range<u8>) -> Word {
    if of.first == of.last { dscp_word(of.first) } else { range(of) }
}

/// A code point.
pub(super) fn dscp_word(number: u8) -> Word {
    dscp_name(number).map_or(Word::Number(number.into()), Word::plain)
}

fn tcp_flags(flags: &TcpFlags) -> Word {
    let set = flags_text(flags.set);
    Word::Plain(if flags.set == flags.mask { set } else { format!("{set}/{}", flags_text(flags.mask)) })
}

fn fragment(kind: &Fragment) -> Word {
    Word::plain(match kind {
        Fragment::Dont => "dont",
        Fragment::First => "first",
        Fragment::Later => "later",
        Fragment::Last => "last",
    })
}

/// "No tag" is not a number in a document.
fn vlans(ranges: &[Range<u16>]) -> Word {
    let mut items = Vec::with_capacity(ranges.len() + 1);
    for of in ranges {
        if of.first == 0 {
            items.push(Word::plain("untagged"));
        }
        if of.last > 0 {
            items.push(range(&Range { first: of.first.max(1), last: of.last }));
        }
    }
    Word::List(items)
}

/// Labels in front of prefixes.
fn senders(matches: &Match) -> Option<Word> {
    let names = |test: &LabelTest| test.names.iter().map(|name| Word::Text(name.clone())).collect();
    if let Some(test) = matches.labels.as_ref().filter(|test| test.all) {
        return Some(Word::Map(vec![("all", Word::List(names(test)))]));
    }
    let mut items: Vec<Word> = matches.labels.as_ref().map(names).unwrap_or_default();
    items.extend(matches.from.iter().flatten().map(|prefix| Word::Text(prefix.to_string())));
    (!items.is_empty()).then_some(Word::List(items))
}

/// A component, if the match names it.
fn component_word(component: Component, matches: &Match) -> Option<Word> {
    match component {
        Component::Interface => list(matches.interface.as_ref(), |name| Word::Text(name.clone())),
        Component::From => senders(matches),
        Component::To => list(matches.to.as_ref(), |prefix| Word::Text(prefix.to_string())),
        Component::Protocol => list(matches.protocol.as_ref(), protocol),
        Component::Port => list(matches.port.as_ref(), range),
        Component::SourcePort => list(matches.source_port.as_ref(), range),
        Component::IcmpType => list(matches.icmp_type.as_ref(), range),
        Component::IcmpCode => list(matches.icmp_code.as_ref(), range),
        Component::TcpFlags => list(matches.tcp_flags.as_ref(), tcp_flags),
        Component::Length => list(matches.length.as_ref(), range),
        Component::Dscp => list(matches.dscp.as_ref(), dscps),
        Component::Fragment => list(matches.fragment.as_ref(), fragment),
        Component::FlowLabel => list(matches.flow_label.as_ref(), range),
        Component::Vlan => matches.vlan.as_deref().map(vlans),
        Component::Ttl => list(matches.ttl.as_ref(), range),
        Component::Not => matches.not.as_ref().map(|not| Word::Map(match_words(not))),
    }
}

/// A match's components, in the order in which they are written.
#[must_use]
pub fn match_words(matches: &Match) -> Vec<(&'static str, Word)> {
    let word = |part: Component| component_word(part, matches).map(|word| (part.key(), word));
    Component::ALL.into_iter().filter_map(word).collect()
}

/// A limit.
#[must_use]
pub fn limit_word(limit: &Limit) -> Word {
    let quantity = match limit.quantity {
        Quantity::OpenConnections(most) => ("connections", Word::Number(most)),
        _ => ("rate", Word::Plain(rate_text(&limit.quantity))),
    };
    let mut words = vec![quantity];
    words.extend(burst_text(&limit.quantity).map(|burst| ("burst", Word::Plain(burst))));
    let (per, lengths) = match limit.per {
        Per::Route => (None, KeyLengths::ADDRESS),
        Per::Source(lengths) => (Some("source"), lengths),
        Per::Destination(lengths) => (Some("destination"), lengths),
        Per::Label => (Some("label"), KeyLengths::ADDRESS),
    };
    words.extend(per.map(|per| ("per", Word::plain(per))));
    let shorter = |length: u8, whole: u8| (length != whole).then_some(Word::Number(length.into()));
    words.extend(shorter(lengths.ipv4, KeyLengths::ADDRESS.ipv4).map(|word| ("ipv4_prefix", word)));
    words.extend(shorter(lengths.ipv6, KeyLengths::ADDRESS.ipv6).map(|word| ("ipv6_prefix", word)));
    match limit.over {
        Over::Drop => {}
        Over::Count => words.push(("over", Word::plain("count"))),
        Over::Demote { dscp, mark } => {
            let dscp = dscp.map(|dscp| ("dscp", dscp_word(dscp)));
            let mark = mark.map(|mark| ("mark", Word::Hex(mark)));
            words.push(("over", Word::Map(dscp.into_iter().chain(mark).collect())));
        }
    }
    if let Some(ban) = limit.ban {
        let after = ("after", Word::Number(ban.after.into()));
        words.push(("ban", Word::Map(vec![("for", Word::Plain(duration_text(ban.duration))), after])));
    }
    Word::Map(words)
}

/// A route's limits.
pub(super) fn limits_word(limits: &[RouteLimit]) -> Option<Word> {
    let word = |limit: &RouteLimit| match limit {
        RouteLimit::Named(name) => Word::Text(name.clone()),
        RouteLimit::Own(limit) => limit_word(limit),
    };
    (!limits.is_empty()).then(|| Word::List(limits.iter().map(word).collect()))
}

/// A route's SYN cookies.
pub(super) fn syn_cookies_word(cookies: SynCookies) -> Word {
    match cookies {
        SynCookies::Always => Word::plain("always"),
        SynCookies::Above { per_second, hold } => Word::Map(vec![
            ("above", Word::Plain(connection_rate_text(per_second))),
            ("hold", Word::Plain(duration_text(hold))),
        ]),
    }
}

/// An action's word.
pub(super) fn action_word(action: &Action) -> Word {
    match action {
        Action::Pass => Word::plain("pass"),
        Action::Drop => Word::plain("drop"),
        Action::Tx => Word::plain("tx"),
        Action::Redirect { interface } => Word::Map(vec![("redirect", Word::Text(interface.clone()))]),
        Action::Pool { pool, targets } => {
            let mut words = vec![("pool", Word::Text(pool.clone()))];
            if !targets.is_empty() {
                words.push(("targets", Word::Names(targets.clone())));
            }
            Word::Map(words)
        }
        Action::Proxy { port } => Word::Map(vec![("proxy", Word::Number((*port).into()))]),
    }
}

/// What a route does, in the order in which it is written: all keys but its name and match.
pub(super) fn decision_words(route: &Route) -> Vec<(&'static str, Word)> {
    let mut words = Vec::new();
    words.extend(limits_word(&route.limits).map(|limits| ("limit", limits)));
    words.extend(route.syn_cookies.map(|cookies| ("syn_cookies", syn_cookies_word(cookies))));
    words.extend(route.mark.map(|mark| ("mark", Word::Hex(mark))));
    words.extend(route.priority.map(|priority| ("priority", Word::Number(priority))));
    words.extend(route.dscp.map(|dscp| ("dscp", dscp_word(dscp))));
    words.push(("action", action_word(&route.action)));
    words
}

/// A route's keys, in the order in which they are written.
pub(super) fn route_words(route: &Route) -> Vec<(&'static str, Word)> {
    let mut words = vec![("name", Word::Text(route.name.clone()))];
    let components = match_words(&route.matches);
    if !components.is_empty() {
        words.push(("match", Word::Map(components)));
    }
    words.extend(decision_words(route));
    words
}

/// A label: its prefixes, or the file that they are in.
pub(super) fn label_word(label: &Label) -> Word {
    match &label.file {
        Some(file) => Word::Map(vec![("file", Word::Text(file.path.clone()))]),
        None => Word::List(label.prefixes.iter().map(|prefix| Word::Text(prefix.to_string())).collect()),
    }
}

/// The default's word.
pub(super) fn default_word(default: Default) -> Word {
    Word::plain(match default {
        Default::Pass => "pass",
        Default::Drop => "drop",
    })
}

/// What becomes of checksums.
pub(super) fn checksums_word(verify: bool) -> Word {
    Word::plain(if verify { "verify" } else { "ignore" })
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
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &1)?;
        if !self.labels.is_empty() {
            let words = self.labels.iter().map(|(name, label)| (name, label_word(label)));
            map.serialize_entry("labels", &Named(words.collect()))?;
        }
        if !self.limits.is_empty() {
            let words = self.limits.iter().map(|(name, limit)| (name, limit_word(limit)));
            map.serialize_entry("limits", &Named(words.collect()))?;
        }
        if !self.pools.is_empty() {
            let words = self.pools.iter().map(|(name, pool)| (name, pool_word(pool)));
            map.serialize_entry("pools", &Named(words.collect()))?;
        }
        map.serialize_entry("routes", &self.routes)?;
        map.serialize_entry("default", &default_word(self.default))?;
        map.serialize_entry("malformed", &malformed_word(self.malformed))?;
        if self.verify_checksums {
            map.serialize_entry("checksums", &checksums_word(true))?;
        }
        map.end()
    }
}

/// Things under their names.
struct Named<'p>(Vec<(&'p String, Word)>);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, word)| (name, word)))
    }
}

impl<T: PartialEq + fmt::Display> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
