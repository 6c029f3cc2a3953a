//! What changes from one policy to another.

use super::words::{Word, action_word, default_word, malformed_word, match_words};
use super::{Policy, Route};
use serde::Serialize;
use std::collections::HashMap;
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
    /// Routes whose match, mark, priority or action is another.
    pub changed: Vec<RouteChange>,
    /// Names of routes that stand in another place among those that both policies have.
    pub moved: Vec<Placed<String>>,
    /// The default, if it is another.
    pub default: Option<FieldChange>,
    /// What becomes of malformed packets, if it is something else.
    pub malformed: Option<FieldChange>,
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
    /// Its key: `mark`, `match.from`, `default`.
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

fn fields(old: &Route, new: &Route) -> Vec<FieldChange> {
    let (old_match, new_match) = (match_words(&old.matches), match_words(&new.matches));
    let take = |words: &[(&str, Word)], key: &str| {
        words.iter().find(|(name, _)| *name == key).map(|(_, word)| word.clone())
    };
    let mut out: Vec<FieldChange> = ["interface", "from", "to", "protocol", "port", "source_port"]
        .into_iter()
        .filter_map(|key| field(&format!("match.{key}"), take(&old_match, key), take(&new_match, key)))
        .collect();
    out.extend(field("mark", old.mark.map(Word::Hex), new.mark.map(Word::Hex)));
    out.extend(field("priority", old.priority.map(Word::Number), new.priority.map(Word::Number)));
    out.extend(field("action", Some(action_word(&old.action)), Some(action_word(&new.action))));
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
        for field in self.default.iter().chain(&self.malformed) {
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
    parts.extend(route.mark.map(|mark| format!("mark {mark:#x}")));
    parts.extend(route.priority.map(|priority| format!("priority {priority}")));
    parts.push(format!("action {}", action_word(&route.action)));
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
