//! All that can be said about a document: errors, and where there are none, what is doubtful.

use super::diagnostics::{Diagnostics, Reporter, Severity, Span};
use super::shadow::shadowed_indices;
use super::{Action, LabelFiles, NoFiles, Policy, Pool, Route, Target, read};
use gateway_common::packet::protocol::TCP;
use std::collections::HashMap;

/// Names that a warning lists of the routes that hide one.
const NAMES_SHOWN_MAX: usize = 8;

/// Reads a document that names no label files, and looks at what it says: routes that can never match are warned of, and the
/// routes that hide them named.
#[must_use]
pub fn check(source_name: &str, text: &str) -> (Option<Policy>, Diagnostics) {
    check_with(source_name, text, &NoFiles)
}

/// The same of a document that may name label files.
#[must_use]
pub fn check_with(source_name: &str, text: &str, files: &dyn LabelFiles) -> (Option<Policy>, Diagnostics) {
    let mut reporter = Reporter::new(source_name, text);
    let Some(document) = read::document(text, files, &mut reporter) else { return (None, reporter.finish()) };
    let policy = document.policy;
    for (route, by) in shadowed_indices(&policy) {
        let shown = by.iter().take(NAMES_SHOWN_MAX).map(|index| format!("`{}`", policy.routes[*index].name));
        let mut names = shown.collect::<Vec<_>>().join(", ");
        if by.len() > NAMES_SHOWN_MAX {
            names += &format!(" and {} more", by.len() - NAMES_SHOWN_MAX);
        }
        let takes = if by.len() == 1 { "takes" } else { "take" };
        let name = &policy.routes[route].name;
        let message = format!("route `{name}` can never match: {names} {takes} all its packets first");
        let help = format!("move `{name}` in front, or take it out");
        reporter.add(Severity::Warning, document.names[route], message, help);
    }
    for (pool, place) in &document.pools {
        let forwards =
            |route: &Route| matches!(&route.action, Action::Pool { pool: named, .. } if named == pool);
        if !policy.routes.iter().any(forwards) {
            let help = format!("let a route have `action: {{pool: {pool}}}`, or take it out");
            reporter.add(Severity::Warning, *place, format!("no route forwards to pool `{pool}`"), help);
        }
    }
    unheard_handshakes(&policy, &document.pools, &mut reporter);
    idle_selections(&policy, &document.names, &mut reporter);
    (Some(policy), reporter.finish())
}

/// Warns of pools that count TCP handshakes, and that no route forwards TCP to.
fn unheard_handshakes(policy: &Policy, places: &HashMap<String, Span>, reporter: &mut Reporter<'_>) {
    for (name, place) in places {
        let passive = |pool: &Pool| pool.health.as_ref().is_some_and(|health| health.passive.is_some());
        let forwards = |route: &&Route| matches!(&route.action, Action::Pool { pool, .. } if pool == name);
        let tcp = |route: &Route| route.matches.protocol.as_ref().is_none_or(|list| list.contains(&TCP));
        let mut routes = policy.routes.iter().filter(forwards).peekable();
        if policy.pools.get(name).is_some_and(passive) && routes.peek().is_some() && !routes.any(tcp) {
            let message = format!(
                "pool `{name}` has `passive`, which counts TCP handshakes, and no route forwards TCP to it"
            );
            let help = "write `check: icmp` or another check instead".to_owned();
            reporter.add(Severity::Warning, *place, message, help);
        }
    }
}

/// Warns of routes whose targets all have weight 0, though not all of the pool's have.
fn idle_selections(policy: &Policy, names: &[Span], reporter: &mut Reporter<'_>) {
    for (route, place) in policy.routes.iter().zip(names) {
        let Action::Pool { pool: name, targets } = &route.action else { continue };
        let Some(pool) = policy.pools.get(name) else { continue };
        let takes = |target: &Target| target.weight > 0;
        if pool.targets.values().any(takes) && !pool.selected(targets).any(|(_, target)| takes(target)) {
            let message = format!(
                "no target of pool `{name}` that route `{}` asks for takes packets: all have weight 0",
                route.name
            );
            let help = "what it sends there is dropped until one has a weight".to_owned();
            reporter.add(Severity::Warning, *place, message, help);
        }
    }
}
