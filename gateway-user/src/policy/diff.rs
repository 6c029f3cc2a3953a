//! What changes from one policy to another.

use super::health_words::health_word;
use super::pool_words::{forward_words, pool_word, target_words};
use super::words::{
    Word, checksums_word, decision_words, default_word, label_word, limit_word, malformed_word, match_words,
};
use super::{Component, Label, Policy, Pool, Route};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Values that the text lists of a change to a long list.
const VALUES_SHOWN_MAX: usize = 8;

/// The differences between two policies, in the order of the new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Routes of the old policy that the new one does not have.
    pub removed: Vec<Route>,
    /// Routes that are new.
    pub added: Vec<Placed<Route>>,
    /// Routes that match or do something else.
    pub changed: Vec<RouteChange>,
    /// Names of routes that stand in another place among those that both policies have.
    pub moved: Vec<Placed<String>>,
    /// The default, if it is another.
    pub default: Option<FieldChange>,
    /// What becomes of malformed packets, if it is something else.
    pub malformed: Option<FieldChange>,
    /// Whether checksums are verified, if that is another.
    pub checksums: Option<FieldChange>,
    /// Labels that came, went or hold other prefixes.
    pub labels: Vec<FieldChange>,
    /// Named limits that came, went or are others.
    pub limits: Vec<FieldChange>,
    /// Pools that came, went or are others.
    pub pools: Vec<FieldChange>,
}

/// A route and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed<T> {
    /// The route.
    pub route: T,
    /// The route directly in front of it in the new policy; none for the first.
    pub after: Option<String>,
}

/// What is different about a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteChange {
    /// Its name.
    pub route: String,
    /// Each difference.
    pub fields: Vec<FieldChange>,
}

/// A value that is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Its key: `mark`, `match.from`, `default`, `labels.blocked`.
    pub field: String,
    /// What it was; nothing if it was not set.
    pub from: Option<Word>,
    /// What it is; nothing if it is not set.
    pub to: Option<Word>,
}

impl Diff {
    /// The policies say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Diff::default()
    }
}

/// What changes from `old` to `new`.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Diff {
    let old_index = by_name(old);
    let new_index = by_name(new);
    let after = |index: usize| index.checked_sub(1).map(|before| new.routes[before].name.clone());
    let mut out = Diff {
        removed: old
            .routes
            .iter()
            .filter(|route| !new_index.contains_key(route.name.as_str()))
            .cloned()
            .collect(),
        default: field("default", Some(default_word(old.default)), Some(default_word(new.default))),
        malformed: field(
            "malformed",
            Some(malformed_word(old.malformed)),
            Some(malformed_word(new.malformed)),
        ),
        checksums: field(
            "checksums",
            Some(checksums_word(old.verify_checksums)),
            Some(checksums_word(new.verify_checksums)),
        ),
        labels: named("labels", &old.labels, &new.labels, content_word),
        limits: named("limits", &old.limits, &new.limits, limit_word),
        pools: pools(&old.pools, &new.pools),
        ..Diff::default()
    };
    // Places in the old and the new policy of the routes that both have.
    let mut kept = Vec::new();
    for (index, route) in new.routes.iter().enumerate() {
        let Some(&old_place) = old_index.get(route.name.as_str()) else {
            out.added.push(Placed { route: route.clone(), after: after(index) });
            continue;
        };
        kept.push((old_place, index));
        let before = &old.routes[old_place];
        if before != route {
            out.changed.push(RouteChange { route: route.name.clone(), fields: fields(before, route) });
        }
    }
    let moved = |index: usize| Placed { route: new.routes[index].name.clone(), after: after(index) };
    out.moved = out_of_order(&kept).into_iter().map(moved).collect();
    out
}

fn by_name(policy: &Policy) -> HashMap<&str, usize> {
    policy.routes.iter().enumerate().map(|(index, route)| (route.name.as_str(), index)).collect()
}

fn field(name: &str, from: Option<Word>, to: Option<Word>) -> Option<FieldChange> {
    (from != to).then(|| FieldChange { field: name.to_owned(), from, to })
}

/// What is different about things with names.
fn named<T: PartialEq>(
    key: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    word: fn(&T) -> Word,
) -> Vec<FieldChange> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let change = |name: &String| FieldChange {
        field: format!("{key}.{name}"),
        from: old.get(name).map(word),
        to: new.get(name).map(word),
    };
    differs.map(change).collect()
}

/// What is different about pools; of one that both have, its health and each target by itself.
fn pools(old: &BTreeMap<String, Pool>, new: &BTreeMap<String, Pool>) -> Vec<FieldChange> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut out = Vec::new();
    for name in names {
        let key = format!("pools.{name}");
        let (Some(before), Some(now)) = (old.get(name), new.get(name)) else {
            out.extend(field(&key, old.get(name).map(pool_word), new.get(name).map(pool_word)));
            continue;
        };
        let way = |pool| Some(Word::Map(forward_words(pool)));
        out.extend(field(&key, way(before), way(now)));
        let health = |pool: &Pool| pool.health.as_ref().map(health_word);
        out.extend(field(&format!("{key}.health"), health(before), health(now)));
        out.extend(named(&format!("{key}.targets"), &before.targets, &now.targets, |target| {
            Word::Map(target_words(target))
        }));
    }
    out
}

/// A label; of one from a file the file and how much it holds.
fn content_word(label: &Label) -> Word {
    let Some(file) = &label.file else { return label_word(label) };
    let count = u32::try_from(label.prefixes.len()).unwrap_or(u32::MAX);
    let digest = Word::Plain(format!("{:016x}", file.digest[0]));
    Word::Map(vec![
        ("file", Word::Text(file.path.clone())),
        ("prefixes", Word::Number(count)),
        ("sha256", digest),
    ])
}

fn fields(old: &Route, new: &Route) -> Vec<FieldChange> {
    let (old_match, new_match) = (match_words(&old.matches), match_words(&new.matches));
    let take = |words: &[(&str, Word)], key: &str| {
        words.iter().find(|(name, _)| *name == key).map(|(_, word)| word.clone())
    };
    let mut out: Vec<FieldChange> = Component::KEYS
        .into_iter()
        .filter_map(|key| field(&format!("match.{key}"), take(&old_match, key), take(&new_match, key)))
        .collect();
    let (old, new) = (decision_words(old), decision_words(new));
    let keys = ["limit", "syn_cookies", "mark", "priority", "dscp", "action"];
    out.extend(keys.into_iter().filter_map(|key| field(key, take(&old, key), take(&new, key))));
    out
}

/// The new places of the routes that must move if as many as possible stay: all that are not in a
/// longest ascending sequence of old places.
fn out_of_order(kept: &[(usize, usize)]) -> Vec<usize> {
    // ends[n]: index into `kept` of the lowest end of an ascending sequence of n + 1.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(kept.len());
    for (index, (old_place, _)) in kept.iter().enumerate() {
        let length = ends.partition_point(|end| kept[*end].0 < *old_place);
        previous.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut stays = vec![false; kept.len()];
    let mut next = ends.last().copied();
    while let Some(index) = next {
        stays[index] = true;
        next = previous[index];
    }
    kept.iter().zip(stays).filter(|(_, stays)| !stays).map(|((_, place), _)| *place).collect()
}

/// A line each: `-` for what goes, `+` for what comes, `~` for what changes.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for route in &self.removed {
            writeln!(f, "- {}", line(route))?;
        }
        for Placed { route, after } in &self.added {
            writeln!(f, "+ {}  ({})", line(route), place(after.as_deref()))?;
        }
        for RouteChange { route, fields } in &self.changed {
            writeln!(f, "~ {route}")?;
            for field in fields {
                write_change(field, "    ", f)?;
            }
        }
        for Placed { route, after } in &self.moved {
            writeln!(f, "~ {route}  (moved {})", place(after.as_deref()))?;
        }
        let settings = self.default.iter().chain(&self.malformed).chain(&self.checksums);
        for field in self.labels.iter().chain(&self.limits).chain(&self.pools).chain(settings) {
            write_change(field, "~ ", f)?;
        }
        Ok(())
    }
}

fn place(after: Option<&str>) -> String {
    after.map_or_else(|| "first".to_owned(), |name| format!("after {name}"))
}

/// A route in one line, long lists cut.
fn line(route: &Route) -> String {
    let mut parts = vec![route.name.clone()];
    parts.extend(
        match_words(&route.matches).into_iter().map(|(key, word)| format!("{key} {}", shortened(&word))),
    );
    parts.extend(decision_words(route).into_iter().map(|(key, word)| format!("{key} {}", shortened(&word))));
    parts.join(" ")
}

fn shortened(word: &Word) -> String {
    match word {
        Word::List(items) if items.len() > VALUES_SHOWN_MAX => {
            format!("[{}]", listed(&items.iter().collect::<Vec<_>>()))
        }
        _ => word.to_string(),
    }
}

fn listed(items: &[&Word]) -> String {
    let shown: Vec<String> = items.iter().take(VALUES_SHOWN_MAX).map(ToString::to_string).collect();
    let more = match items.len().checked_sub(VALUES_SHOWN_MAX) {
        Some(more @ 1..) => format!(", … {more} more"),
        _ => String::new(),
    };
    format!("{}{more}", shown.join(", "))
}

/// `field: old → new`; of lists of which one is long, what came and what went.
fn write_change(change: &FieldChange, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let FieldChange { field, from, to } = change;
    if let (Some(Word::List(old)), Some(Word::List(new))) = (from, to)
        && old.len().max(new.len()) > VALUES_SHOWN_MAX
    {
        for (sign, left, right) in [("-", old, new), ("+", new, old)] {
            let right: std::collections::HashSet<&Word> = right.iter().collect();
            let only: Vec<&Word> = left.iter().filter(|item| !right.contains(item)).collect();
            if !only.is_empty() {
                writeln!(f, "{indent}{field} {sign} {}", listed(&only))?;
            }
        }
        return Ok(());
    }
    let text = |word: &Option<Word>| word.as_ref().map_or_else(|| "unset".to_owned(), shortened);
    writeln!(f, "{indent}{field}: {} → {}", text(from), text(to))
}
