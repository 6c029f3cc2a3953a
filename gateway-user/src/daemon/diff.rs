//! What differs between two policies.

use crate::api::types::PolicyDiff;
use crate::policy::{Policy, Route};
use similar::TextDiff;
use std::collections::HashMap;
use std::time::Duration;

/// Lines shown around a difference.
const CONTEXT_LINES: usize = 3;
/// After this long the text is compared roughly.
const TEXT_TIME_MAX: Duration = Duration::from_millis(200);

/// Old to new; either may be missing. The texts are the canonical ones of each.
#[must_use]
pub fn diff(old: Option<(&Policy, &str)>, new: (&Policy, &str)) -> PolicyDiff {
    let old_routes: &[Route] = old.map_or(&[], |(policy, _)| &policy.routes);
    let old_by_name: HashMap<&str, (usize, &Route)> =
        old_routes.iter().enumerate().map(|(i, route)| (route.name.as_str(), (i, route))).collect();
    let mut diff = PolicyDiff::default();
    let mut stayed = Vec::new();
    for route in &new.0.routes {
        match old_by_name.get(route.name.as_str()) {
            None => diff.added.push(route.name.clone()),
            Some((place, before)) => {
                stayed.push((*place, route.name.as_str()));
                if *before != route {
                    diff.changed.push(route.name.clone());
                }
            }
        }
    }
    if stayed.len() < old_routes.len() {
        let kept: std::collections::HashSet<&str> = stayed.iter().map(|(_, name)| *name).collect();
        let gone = old_routes.iter().filter(|route| !kept.contains(route.name.as_str()));
        diff.removed = gone.map(|route| route.name.clone()).collect();
    }
    diff.moved = moved(&stayed);
    diff.settings_changed = old.is_some_and(|(policy, _)| settings_differ(policy, new.0));
    let old_text = old.map_or("", |(_, text)| text);
    if old_text != new.1 {
        let texts = TextDiff::configure().timeout(TEXT_TIME_MAX).diff_lines(old_text, new.1);
        diff.text = texts.unified_diff().context_radius(CONTEXT_LINES).header("live", "new").to_string();
    }
    diff
}

/// Whether anything but the routes is different.
fn settings_differ(old: &Policy, new: &Policy) -> bool {
    let of = |policy: &Policy| (policy.default, policy.malformed, policy.verify_checksums);
    of(old) != of(new) || old.limits != new.limits || old.labels != new.labels || old.pools != new.pools
}

/// The fewest names that must have moved for old places to stand in this order: those outside of a
/// longest increasing subsequence (patience sorting).
fn moved(stayed: &[(usize, &str)]) -> Vec<String> {
    let mut piles: Vec<usize> = Vec::new();
    let mut before = vec![None; stayed.len()];
    for (i, (place, _)) in stayed.iter().enumerate() {
        let pile = piles.partition_point(|top| stayed[*top].0 < *place);
        before[i] = pile.checked_sub(1).map(|left| piles[left]);
        if pile == piles.len() {
            piles.push(i);
        } else {
            piles[pile] = i;
        }
    }
    let mut unmoved = vec![false; stayed.len()];
    let mut next = piles.last().copied();
    while let Some(i) = next {
        unmoved[i] = true;
        next = before[i];
    }
    stayed
        .iter()
        .zip(unmoved)
        .filter(|(_, unmoved)| !unmoved)
        .map(|((_, name), _)| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{parse, to_yaml};

    fn policy(routes: &[(&str, &str)], default: &str) -> Policy {
        let mut text = "version: 1\nroutes:\n".to_owned();
        for (name, action) in routes {
            text.push_str(&format!(
                "  - {{name: {name}, match: {{port: {}}}, action: {action}}}\n",
                80 + name.len()
            ));
        }
        parse("test", &format!("{text}default: {default}\n")).unwrap()
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let old = policy(&[("a", "pass"), ("bb", "pass"), ("ccc", "drop"), ("dddd", "pass")], "pass");
        let new = policy(&[("dddd", "pass"), ("a", "drop"), ("eeeee", "pass"), ("ccc", "drop")], "drop");
        let (old_text, new_text) = (to_yaml(&old), to_yaml(&new));
        let found = diff(Some((&old, &old_text)), (&new, &new_text));
        assert_eq!(found.added, ["eeeee"]);
        assert_eq!(found.removed, ["bb"]);
        assert_eq!(found.changed, ["a"]);
        assert_eq!(found.moved, ["dddd"]);
        assert!(found.settings_changed);
        assert!(found.text.starts_with("--- live\n+++ new\n"), "{}", found.text);

        assert_eq!(diff(Some((&new, &new_text)), (&new, &new_text)), PolicyDiff::default());
        let first = diff(None, (&old, &old_text));
        assert_eq!((first.added.len(), first.settings_changed), (4, false));
    }

    #[test]
    fn a_reversal_leaves_one_unmoved() {
        assert_eq!(moved(&[(2, "c"), (1, "b"), (0, "a")]), ["c", "b"]);
        assert_eq!(moved(&[]), Vec::<String>::new());
    }
}
