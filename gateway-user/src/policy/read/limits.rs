//! Limits: named ones, a route's own, SYN cookies.

use super::keys::{Fields, Keys, fields};
use super::quantities::{
    ban_duration, breaches, burst, connection_rate, connections, hold_duration, ipv4_length, ipv6_length,
    rate,
};
use super::ranges::one_dscp;
use super::scalars::{limit_name, nonzero_u32};
use super::values::{Known, Reader, no_value, scalar, take, text};
use crate::policy::diagnostics::{Reporter, Severity, Span};
use crate::policy::patch::Change;
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Ban, KeyLengths, Limit, Over, Per, Quantity, Rate, Route, RouteLimit, SynCookies};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Keys = Keys {
    what: "a limit",
    known: &["rate", "connections", "burst", "per", "ipv4_prefix", "ipv6_prefix", "over", "ban"],
    later: &[],
};
const DEMOTE: Keys = Keys { what: "`over`", known: &["dscp", "mark"], later: &[] };
const BAN: Keys = Keys { what: "`ban`", known: &["for", "after"], later: &[] };
const SYN_COOKIES: Keys = Keys { what: "`syn_cookies`", known: &["above", "hold"], later: &[] };

const LIMIT_HELP: &str = "write `{rate: 1kpps}` for example, or a name from `limits`";
const PER: &[&str] = &["route", "source", "destination", "label"];
const PER_HELP: &str = "write `route`, `source`, `destination` or `label`";
const OVER_HELP: &str = "write `drop`, `count` or `{dscp: cs1, mark: 0x20}`";
const BAN_HELP: &str = "write `10m`, or `{for: 10m, after: 100}`";
const SYN_HELP: &str = "write `always`, or `{above: 2kcps, hold: 10s}`";
/// A bucket that takes longer to fill is a mistake of units.
const FILL_MAX_SECS: u64 = 30 * 86_400;
/// A full frame without FCS.
const FRAME_BYTES: u64 = 1_514;
/// How long an attack must have been over where nothing else is said.
const HOLD_DEFAULT: Duration = Duration::from_secs(10);

/// The named limits of a document.
pub(super) fn read_all(
    node: &Node,
    known: &mut Known,
    reporter: &mut Reporter<'_>,
) -> BTreeMap<String, Limit> {
    let mut limits = BTreeMap::new();
    for (key, value) in super::labels::entries(node, "limits", "tenant-a: {rate: 50Mbit}", reporter) {
        let Some(name) = take(limit_name(key.text), key.span, reporter) else { continue };
        if !known.limits.insert(name.clone()) {
            reporter.error(key.span, format!("the limit `{name}` is given twice"), "rename one of them");
            continue;
        }
        if let Some(limit) = limit(value, reporter) {
            limits.insert(name, limit);
        }
    }
    limits
}

/// A route's limits.
pub(super) fn of_route(reader: &Reader<'_>, reporter: &mut Reporter<'_>) -> Change<Vec<RouteLimit>> {
    if let Some(change) = reader.null(reporter) {
        return change;
    }
    let nodes = match &reader.node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(reader.node),
    };
    if nodes.is_empty() {
        reporter.error(reader.node.span, "`limit` is an empty list", "leave `limit` out for no limit");
        return Change::Keep;
    }
    if let Some(node) = nodes.get(Route::MAX_LIMITS) {
        let help = format!("{} are the most: leave out what follows here", Route::MAX_LIMITS);
        reporter.error(node.span, format!("{} limits are more than a route can have", nodes.len()), help);
        return Change::Keep;
    }
    let mut limits = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(limit) = route_limit(node, reader.known, reporter) else { continue };
        if matches!(limit, RouteLimit::Named(_)) && limits.contains(&limit) {
            reporter.error(node.span, "the limit stands twice in this route", "leave one of them out");
            continue;
        }
        limits.push(limit);
    }
    if limits.len() < nodes.len() { Change::Keep } else { Change::Set(limits) }
}

fn route_limit(node: &Node, known: Option<&Known>, reporter: &mut Reporter<'_>) -> Option<RouteLimit> {
    if let Value::Map(_) = &node.value {
        return limit(node, reporter).map(RouteLimit::Own);
    }
    let name = text(node, "limit", reporter)?;
    // More likely a rate than a name.
    if rate(name).is_ok() {
        reporter.error(node.span, format!("{name:?} is not a limit"), format!("write `{{rate: {name}}}`"));
        return None;
    }
    let name = take(limit_name(name), node.span, reporter)?;
    if let Some(known) = known.filter(|known| !known.limits.contains(&name)) {
        let help = did_you_mean(&name, known.limits.iter().map(String::as_str), || {
            format!("write it under `limits`: `{name}: {{rate: 50Mbit}}`")
        });
        reporter.error(node.span, format!("there is no limit `{name}`"), help);
        return None;
    }
    Some(RouteLimit::Named(name))
}

fn limit(node: &Node, reporter: &mut Reporter<'_>) -> Option<Limit> {
    if node.is_null() {
        no_value("limit", node.span, LIMIT_HELP, reporter);
        return None;
    }
    let fields = fields(node, &LIMIT, reporter)?;
    let quantity = quantity(&fields, node, reporter);
    let per = per(&fields, reporter);
    let over = fields.get("over").map_or(Some(Over::Drop), |node| over(node, reporter));
    let ban = match fields.get("ban") {
        Some(node) => ban(node, reporter).map(Some),
        None => Some(None),
    };
    if fields.get("ban").is_some() {
        let span = fields.key_span("ban");
        if per == Some(Per::Route) {
            let help = "add `per: source`, or leave `ban` out";
            reporter.error(span, "a limit for all packets together has nobody to ban", help);
        }
        if over.is_some_and(|over| over != Over::Drop) {
            let help = "leave `over` or `ban` out";
            reporter.error(span, "`ban` refuses what `over` lets pass", help);
        }
    }
    Some(Limit { quantity: quantity?, per: per?, over: over?, ban: ban? })
}

fn quantity(fields: &Fields<'_>, node: &Node, reporter: &mut Reporter<'_>) -> Option<Quantity> {
    let (rate_node, most) = (fields.get("rate"), fields.get("connections"));
    match (rate_node, most) {
        (Some(_), Some(_)) => {
            let help = "make two limits of it";
            reporter.error(
                fields.key_span("connections"),
                "a limit has a rate or a number of connections",
                help,
            );
            return None;
        }
        (None, None) => {
            let missing = "a limit has neither `rate` nor `connections`";
            if !fields.misspelt("rate") && !fields.misspelt("connections") {
                reporter.error(
                    node.span,
                    missing,
                    "write `rate: 1kpps`, `rate: 50Mbit` or `connections: 1000`",
                );
            }
            return None;
        }
        (None, Some(most)) => {
            if fields.get("burst").is_some() {
                let help = "leave it out: the number is the most there is";
                reporter.error(fields.key_span("burst"), "a number of connections has no burst", help);
            }
            return scalar(most, "connections", connections, reporter).map(Quantity::OpenConnections);
        }
        (Some(_), None) => {}
    }
    let mut quantity = scalar(rate_node?, "rate", rate, reporter)?;
    let Some(node) = fields.get("burst") else { return Some(quantity) };
    let read = burst(text(node, "burst", reporter)?, &quantity);
    let units = take(read, node.span, reporter)?;
    let bytes = matches!(quantity, Quantity::Bytes(_));
    if let Quantity::Packets(rate) | Quantity::Bytes(rate) | Quantity::NewConnections(rate) = &mut quantity {
        rate.burst = units;
        too_slow(*rate, node.span, reporter);
    }
    if bytes && units < FRAME_BYTES {
        let message = format!("a burst of {units} bytes is less than a full frame");
        let help = "write at least 1514B, or longer frames pass only while the bucket is full".to_owned();
        reporter.add(Severity::Warning, node.span, message, help);
    }
    Some(quantity)
}

fn too_slow(rate: Rate, span: Span, reporter: &mut Reporter<'_>) {
    let secs = rate.burst / rate.per_second;
    if secs > FILL_MAX_SECS {
        let message = format!("at this rate the burst takes {} days to come back", secs / 86_400);
        reporter.error(span, message, "write a burst of at most 30 days' worth");
    }
}

fn per(fields: &Fields<'_>, reporter: &mut Reporter<'_>) -> Option<Per> {
    let ipv4 = fields.get("ipv4_prefix").map(|node| scalar(node, "ipv4_prefix", ipv4_length, reporter));
    let ipv6 = fields.get("ipv6_prefix").map(|node| scalar(node, "ipv6_prefix", ipv6_length, reporter));
    let lengths = KeyLengths {
        ipv4: ipv4.unwrap_or(Some(KeyLengths::ADDRESS.ipv4))?,
        ipv6: ipv6.unwrap_or(Some(KeyLengths::ADDRESS.ipv6))?,
    };
    let per = match fields.get("per") {
        None => Per::Route,
        Some(node) => match text(node, "per", reporter)? {
            "route" => Per::Route,
            "source" => Per::Source(lengths),
            "destination" => Per::Destination(lengths),
            "label" => Per::Label,
            other => {
                let help = did_you_mean(other, PER.iter().copied(), || PER_HELP.to_owned());
                reporter.error(node.span, format!("a limit cannot be per {other:?}"), help);
                return None;
            }
        },
    };
    if matches!(per, Per::Route | Per::Label) {
        for key in ["ipv4_prefix", "ipv6_prefix"].into_iter().filter(|key| fields.get(key).is_some()) {
            let help = "add `per: source` or `per: destination`, or leave it out";
            reporter.error(fields.key_span(key), format!("`{key}` has no address to shorten here"), help);
        }
    }
    Some(per)
}

fn over(node: &Node, reporter: &mut Reporter<'_>) -> Option<Over> {
    if let Value::Map(_) = &node.value {
        let fields = fields(node, &DEMOTE, reporter)?;
        let dscp = fields.get("dscp").map(|node| scalar(node, "dscp", one_dscp, reporter));
        let mark = fields.get("mark").map(|node| scalar(node, "mark", nonzero_u32, reporter));
        if dscp.is_none() && mark.is_none() {
            reporter.error(node.span, "`over` says nothing", OVER_HELP);
            return None;
        }
        let whole = |part: Option<Option<_>>| part.map_or(Some(None), |value| value.map(Some));
        let mark = mark.map_or(Some(None), |value| value.map(Some))?;
        return Some(Over::Demote { dscp: whole(dscp)?, mark });
    }
    match text(node, "over", reporter)? {
        "drop" => Some(Over::Drop),
        "count" => Some(Over::Count),
        other => {
            let help = did_you_mean(other, ["drop", "count"], || OVER_HELP.to_owned());
            reporter.error(node.span, format!("what goes over cannot be {other:?}"), help);
            None
        }
    }
}

fn ban(node: &Node, reporter: &mut Reporter<'_>) -> Option<Ban> {
    if let Value::Map(_) = &node.value {
        let fields = fields(node, &BAN, reporter)?;
        let duration = fields.need("for", BAN_HELP, reporter);
        let duration = duration.and_then(|node| scalar(node, "for", ban_duration, reporter));
        let after = fields.get("after").map_or(Some(1), |node| scalar(node, "after", breaches, reporter));
        return Some(Ban { duration: duration?, after: after? });
    }
    scalar(node, "ban", ban_duration, reporter).map(|duration| Ban { duration, after: 1 })
}

/// A route's SYN cookies.
pub(super) fn syn_cookies(reader: &Reader<'_>, reporter: &mut Reporter<'_>) -> Change<SynCookies> {
    if let Some(change) = reader.null(reporter) {
        return change;
    }
    if let Value::Map(_) = &reader.node.value {
        return above(reader.node, reporter).map_or(Change::Keep, Change::Set);
    }
    match text(reader.node, "syn_cookies", reporter) {
        Some("always") => return Change::Set(SynCookies::Always),
        Some(other) => {
            let help = if connection_rate(other).is_ok() {
                format!("write `{{above: {other}}}`")
            } else {
                did_you_mean(other, ["always"], || SYN_HELP.to_owned())
            };
            reporter.error(reader.node.span, format!("SYN cookies cannot be {other:?}"), help);
        }
        None => {}
    }
    Change::Keep
}

fn above(node: &Node, reporter: &mut Reporter<'_>) -> Option<SynCookies> {
    let fields = fields(node, &SYN_COOKIES, reporter)?;
    let above = fields.need("above", SYN_HELP, reporter);
    let per_second = above.and_then(|node| scalar(node, "above", connection_rate, reporter));
    let hold =
        fields.get("hold").map_or(Some(HOLD_DEFAULT), |node| scalar(node, "hold", hold_duration, reporter));
    Some(SynCookies::Above { per_second: per_second?, hold: hold? })
}
