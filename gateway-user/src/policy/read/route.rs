//! A route, and a change to one.

use super::components;
use super::keys::{Fields, Keys, fields};
use super::limits;
use super::pools;
use super::ranges::one_dscp;
use super::scalars::{interface_name, nonzero_u32, proxy_port, route_name};
use super::values::{Known, Reader, no_value, scalar};
use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::patch::RoutePatch;
use crate::policy::sense;
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Action, Route};

const ROUTE: Keys = Keys {
    what: "a route",
    known: &["name", "match", "limit", "syn_cookies", "mark", "priority", "dscp", "action"],
    later: &[],
};
const PATCH: Keys = Keys {
    what: "a change to a route",
    known: &["match", "limit", "syn_cookies", "mark", "priority", "dscp", "action"],
    later: &[],
};
const ACTION: Keys = Keys { what: "an action", known: &["redirect", "pool", "targets", "proxy"], later: &[] };
const ACTION_WORDS: &[&str] = &["pass", "drop", "tx"];
const ACTION_HELP: &str = "write `pass`, `drop`, `tx`, `{redirect: eth1}`, `{pool: web}` or `{proxy: 15001}`";

/// Reads a route; returns it with the place of its name. `known` is what its document names; nothing
/// where it has none.
pub(super) fn read(node: &Node, known: Option<&Known>, reporter: &mut Reporter<'_>) -> Option<(Route, Span)> {
    let fields = fields(node, &ROUTE, reporter)?;
    let name_node = fields.need("name", "give it a name: its counters follow it", reporter);
    let name = name_node.and_then(|node| scalar(node, "name", route_name, reporter));
    fields.need("action", ACTION_HELP, reporter);
    let (patch, match_fields) = changes(&fields, false, known, reporter);
    // The route as far as it could be read: enough to look for contradictions.
    let mut route = Route::new(name.clone().unwrap_or_default(), Action::Pass);
    patch.apply(&mut route);
    for problem in sense::problems(&route) {
        let fields = match &match_fields {
            Some(match_fields) if problem.part.is_match() => match_fields,
            _ => &fields,
        };
        reporter.add(problem.severity, fields.key_span(problem.part.key()), problem.message, problem.help);
    }
    name.and(name_node).map(|node| (route, node.span))
}

/// Reads a change to a route.
pub(super) fn read_patch(node: &Node, reporter: &mut Reporter<'_>) -> RoutePatch {
    let Some(fields) = fields(node, &PATCH, reporter) else { return RoutePatch::default() };
    changes(&fields, true, None, reporter).0
}

/// Reads what a route and a change have in common, and returns the match's keys with it. `null`
/// takes a thing away where `clears`, and is an error elsewhere.
fn changes<'n>(
    fields: &Fields<'n>,
    clears: bool,
    known: Option<&'n Known>,
    reporter: &mut Reporter<'_>,
) -> (RoutePatch, Option<Fields<'n>>) {
    let mut patch = RoutePatch::default();
    let mut match_fields = None;
    for (key, node) in fields.iter() {
        let reader = Reader { key, node, clears, known };
        match key {
            "match" => match_fields = components::read(&reader, &mut patch, reporter),
            "limit" => patch.limits = limits::of_route(&reader, reporter),
            "syn_cookies" => patch.syn_cookies = limits::syn_cookies(&reader, reporter),
            "mark" => patch.mark = reader.one(nonzero_u32, reporter),
            "priority" => patch.priority = reader.one(nonzero_u32, reporter),
            "dscp" => patch.dscp = reader.one(one_dscp, reporter),
            "action" => patch.action = action(node, known, reporter),
            _ => {}
        }
    }
    (patch, match_fields)
}

fn action(node: &Node, known: Option<&Known>, reporter: &mut Reporter<'_>) -> Option<Action> {
    let text = match &node.value {
        _ if node.is_null() => {
            no_value("action", node.span, ACTION_HELP, reporter);
            return None;
        }
        Value::Scalar { text, .. } => text.as_str(),
        Value::Map(entries) if entries.is_empty() => {
            no_value("action", node.span, ACTION_HELP, reporter);
            return None;
        }
        Value::Map(_) => {
            let fields = fields(node, &ACTION, reporter)?;
            return elsewhere(&fields, known, reporter);
        }
        Value::List(_) => {
            reporter.error(node.span, "a route has one action, not a list", ACTION_HELP);
            return None;
        }
    };
    let help = match text {
        "pass" => return Some(Action::Pass),
        "drop" => return Some(Action::Drop),
        "tx" => return Some(Action::Tx),
        "redirect" => "say where to: `{redirect: eth1}`".to_owned(),
        "pool" => "say which: `{pool: web}`".to_owned(),
        "proxy" => "say where it listens: `{proxy: 15001}`".to_owned(),
        "accept" | "allow" | "permit" => "write `pass`".to_owned(),
        "deny" | "reject" | "block" | "discard" => "write `drop`".to_owned(),
        _ => did_you_mean(text, ACTION_WORDS.iter().copied(), || ACTION_HELP.to_owned()),
    };
    reporter.error(node.span, format!("there is no action {text:?}"), help);
    None
}

/// An action that names where packets go.
fn elsewhere(fields: &Fields<'_>, known: Option<&Known>, reporter: &mut Reporter<'_>) -> Option<Action> {
    let mut ways = ["redirect", "pool", "proxy"].into_iter().filter_map(|key| Some((key, fields.get(key)?)));
    let first = ways.next();
    if let Some((key, _)) = ways.next() {
        let help = "keep one of them: a packet goes one way";
        reporter.error(fields.key_span(key), "a route has one action, not two", help);
        return None;
    }
    let targets = fields.get("targets");
    if targets.is_some() && first.is_none_or(|(key, _)| key != "pool") && !fields.misspelt("pool") {
        let help = "write `{pool: web, targets: {version: v2}}`";
        reporter.error(fields.key_span("targets"), "`targets` chooses among those of a pool", help);
        return None;
    }
    match first? {
        ("redirect", node) => {
            Some(Action::Redirect { interface: scalar(node, "redirect", interface_name, reporter)? })
        }
        ("pool", node) => pools::forwarded_to(node, targets, known, reporter),
        (_, node) => Some(Action::Proxy { port: scalar(node, "proxy", proxy_port, reporter)? }),
    }
}
