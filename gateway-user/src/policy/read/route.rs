//! A route, and a change to one.

use super::keys::{Fields, Keys, fields, listed};
use super::scalars::{Wrong, interface_name, nonzero_u32, port_range, prefix, protocol, route_name};
use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::patch::{Change, RoutePatch};
use crate::policy::sense;
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Action, Match, PortRange, Route};

const ROUTE: Keys = Keys {
    what: "a route",
    known: &["name", "match", "mark", "priority", "action"],
    later: &["limit", "dscp"],
};
const PATCH: Keys = Keys {
    what: "a change to a route",
    known: &["match", "mark", "priority", "action"],
    later: &["limit", "dscp"],
};
const MATCH: Keys = Keys {
    what: "a match",
    known: &["interface", "from", "to", "protocol", "port", "source_port"],
    later: &["icmp_type", "icmp_code", "tcp_flags", "length", "dscp", "fragment", "vlan", "ttl", "not"],
};
const ACTION: Keys = Keys { what: "an action", known: &["redirect"], later: &["pool", "proxy"] };
const ACTION_WORDS: &[&str] = &["pass", "drop", "tx"];
const ACTION_HELP: &str = "write `pass`, `drop`, `tx` or `{redirect: eth1}`";

/// Reads a route; returns it with the place of its name.
pub(super) fn read(node: &Node, reporter: &mut Reporter<'_>) -> Option<(Route, Span)> {
    let fields = fields(node, &ROUTE, reporter)?;
    let name_node = fields.need("name", "give it a name: its counters follow it", reporter);
    let name = name_node.and_then(|node| scalar(node, "name", route_name, reporter));
    fields.need("action", ACTION_HELP, reporter);
    let (patch, match_fields) = changes(&fields, false, reporter);
    // The route as far as it could be read: enough to look for contradictions.
    let mut route = Route {
        name: name.clone().unwrap_or_default(),
        matches: Match::default(),
        mark: None,
        priority: None,
        action: Action::Pass,
    };
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
    changes(&fields, true, reporter).0
}

/// Reads what a route and a change have in common, and returns the match's keys with it. `null`
/// takes a thing away where `clears`, and is an error elsewhere.
fn changes<'n>(
    fields: &Fields<'n>,
    clears: bool,
    reporter: &mut Reporter<'_>,
) -> (RoutePatch, Option<Fields<'n>>) {
    let mut patch = RoutePatch::default();
    let mut match_fields = None;
    for (key, node) in fields.iter() {
        let reader = Reader { key, node, clears };
        match key {
            "match" => match_fields = read_match(&reader, &mut patch, reporter),
            "mark" => patch.mark = reader.one(nonzero_u32, reporter),
            "priority" => patch.priority = reader.one(nonzero_u32, reporter),
            "action" => patch.action = action(node, reporter),
            _ => {}
        }
    }
    (patch, match_fields)
}

fn read_match<'n>(
    reader: &Reader<'n>,
    patch: &mut RoutePatch,
    reporter: &mut Reporter<'_>,
) -> Option<Fields<'n>> {
    if reader.node.is_null() {
        if reader.clears {
            patch.clear_match();
        } else {
            no_value(reader.key, reader.node.span, "leave `match` out to match every IP packet", reporter);
        }
        return None;
    }
    let fields = fields(reader.node, &MATCH, reporter)?;
    for (key, node) in fields.iter() {
        let reader = Reader { key, node, clears: reader.clears };
        match key {
            "interface" => patch.interface = reader.sorted(interface_name, reporter),
            "from" => patch.from = reader.sorted(prefix, reporter),
            "to" => patch.to = reader.sorted(prefix, reporter),
            "protocol" => patch.protocol = reader.sorted(protocol, reporter),
            "port" => patch.port = reader.sorted(port_range, reporter).map(merged),
            "source_port" => patch.source_port = reader.sorted(port_range, reporter).map(merged),
            _ => {}
        }
    }
    Some(fields)
}

fn action(node: &Node, reporter: &mut Reporter<'_>) -> Option<Action> {
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
            let target = fields(node, &ACTION, reporter)?.get("redirect")?;
            let interface = scalar(target, "redirect", interface_name, reporter)?;
            return Some(Action::Redirect { interface });
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
        "accept" | "allow" | "permit" => "write `pass`".to_owned(),
        "deny" | "reject" | "block" | "discard" => "write `drop`".to_owned(),
        _ => did_you_mean(text, ACTION_WORDS.iter().copied(), || ACTION_HELP.to_owned()),
    };
    reporter.error(node.span, format!("there is no action {text:?}"), help);
    None
}

/// A key's value that is about to be read.
struct Reader<'n> {
    key: &'static str,
    node: &'n Node,
    clears: bool,
}

impl Reader<'_> {
    /// Whether `null` stands there: taken for "take it away" or reported.
    fn null<T>(&self, reporter: &mut Reporter<'_>) -> Option<Change<T>> {
        if !self.node.is_null() {
            return None;
        }
        if self.clears {
            return Some(Change::Clear);
        }
        no_value(self.key, self.node.span, &format!("write one, or leave `{}` out", self.key), reporter);
        Some(Change::Keep)
    }

    fn one<T>(&self, read: fn(&str) -> Result<T, Wrong>, reporter: &mut Reporter<'_>) -> Change<T> {
        if let Some(change) = self.null(reporter) {
            return change;
        }
        scalar(self.node, self.key, read, reporter).map_or(Change::Keep, Change::Set)
    }

    /// A value or a list of them, sorted and each once. One bad value spoils the list: what is left
    /// of it is not what was meant.
    fn sorted<T: Ord>(
        &self,
        read: fn(&str) -> Result<T, Wrong>,
        reporter: &mut Reporter<'_>,
    ) -> Change<Vec<T>> {
        if let Some(change) = self.null(reporter) {
            return change;
        }
        let nodes = match &self.node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(self.node),
        };
        if nodes.is_empty() {
            let help = format!("leave `{}` out to match any", self.key);
            reporter.error(
                self.node.span,
                format!("`{}` is an empty list: it would match nothing", self.key),
                help,
            );
            return Change::Keep;
        }
        let mut values: Vec<T> =
            nodes.iter().filter_map(|node| scalar(node, self.key, read, reporter)).collect();
        if values.len() < nodes.len() {
            return Change::Keep;
        }
        values.sort_unstable();
        values.dedup();
        Change::Set(values)
    }
}

/// Reads a single value.
fn scalar<T>(
    node: &Node,
    key: &str,
    read: fn(&str) -> Result<T, Wrong>,
    reporter: &mut Reporter<'_>,
) -> Option<T> {
    if node.is_null() {
        no_value(key, node.span, "write one", reporter);
        return None;
    }
    let Value::Scalar { text, .. } = &node.value else {
        let help = format!("write {} as a plain word or number", listed(&[key]));
        reporter.error(node.span, format!("`{key}` takes single values, not {}", node.kind()), help);
        return None;
    };
    match read(text) {
        Ok(value) => Some(value),
        Err(Wrong { message, help }) => {
            reporter.error(node.span, message, help);
            None
        }
    }
}

fn no_value(key: &str, span: Span, help: &str, reporter: &mut Reporter<'_>) {
    reporter.error(span, format!("`{key}` has no value"), help);
}

/// Joins ranges, in order, that overlap or touch.
fn merged(ranges: Vec<PortRange>) -> Vec<PortRange> {
    let mut out: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(range.last);
            }
            _ => out.push(range),
        }
    }
    out
}
