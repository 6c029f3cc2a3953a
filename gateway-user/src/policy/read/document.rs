//! The document's top: version, labels, limits, pools, routes, default, malformed, checksums.

use super::keys::{Keys, fields};
use super::scalars::Wrong;
use super::values::{Known, scalar};
use super::{Document, labels, limits, pools, route};
use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Default, LabelFiles, Malformed, Policy, Route};
use gateway_common::abi::MAX_ROUTES;
use gateway_common::image::MAX_LIMITS;
use gateway_common::reason::Reason;
use std::collections::HashMap;

/// Routes in a policy; the last entry is the default's.
const ROUTES_MAX: usize = MAX_ROUTES - 1;
/// Limits in a policy; the first slot is no limit's.
const LIMITS_MAX: usize = MAX_LIMITS - 1;

const DOCUMENT: Keys = Keys {
    what: "the policy",
    known: &["version", "labels", "limits", "pools", "routes", "default", "malformed", "checksums"],
    later: &[],
};

pub(super) fn read(root: &Node, files: &dyn LabelFiles, reporter: &mut Reporter<'_>) -> Option<Document> {
    let fields = fields(root, &DOCUMENT, reporter)?;
    if let Some(node) = fields.need("version", "write `version: 1` first", reporter) {
        version(node, reporter);
    }
    // First, wherever they stand: routes name them.
    let mut known = Known::default();
    let labels = fields.get("labels").map(|node| labels::read_all(node, files, &mut known, reporter));
    let limits = fields.get("limits").map(|node| limits::read_all(node, &mut known, reporter));
    let (pools, pool_places) =
        fields.get("pools").map(|node| pools::read_all(node, &mut known, reporter)).unwrap_or_default();
    let (routes, names) = fields.get("routes").map(|node| routes(node, &known, reporter)).unwrap_or_default();
    let default = fields.get("default").and_then(|node| pass_or_drop(node, "default", reporter));
    let malformed = fields.get("malformed").map(|node| malformed(node, reporter));
    let checksums = fields.get("checksums").and_then(|node| scalar(node, "checksums", verify, reporter));
    let policy = Policy {
        labels: labels.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        pools,
        verify_checksums: checksums.unwrap_or(false),
        malformed: malformed.unwrap_or_default(),
        ..Policy::new(routes, default.unwrap_or(Default::Pass))
    };
    limits_fit(&policy, &names, reporter);
    Some(Document { policy, names, pools: pool_places })
}

/// Whether checksums are verified.
fn verify(text: &str) -> Result<bool, Wrong> {
    match text {
        "verify" => Ok(true),
        "ignore" => Ok(false),
        _ => Err(Wrong {
            message: format!("`checksums` is `verify` or `ignore`, not {text:?}"),
            help: did_you_mean(text, ["verify", "ignore"], || "write `verify` or `ignore`".to_owned()),
        }),
    }
}

/// Reports the route whose limits are too many, all routes before it counted.
fn limits_fit(policy: &Policy, names: &[Span], reporter: &mut Reporter<'_>) {
    let mut count = policy.limits.len();
    if count > LIMITS_MAX
        && let Some(first) = names.first()
    {
        let help = format!("{LIMITS_MAX} are the most, named ones and routes' own");
        return reporter.error(*first, format!("{count} limits are more than a policy can hold"), help);
    }
    for (route, span) in policy.routes.iter().zip(names) {
        count += route.own_limits();
        if count > LIMITS_MAX {
            let message = format!("with this route's limits the policy has {count}");
            let help =
                format!("{LIMITS_MAX} are the most, named ones and routes' own: let routes share named ones");
            return reporter.error(*span, message, help);
        }
    }
}

fn version(node: &Node, reporter: &mut Reporter<'_>) {
    match &node.value {
        Value::Scalar { text, .. } if text == "1" => {}
        Value::Scalar { text, .. } if !node.is_null() => {
            reporter.error(node.span, format!("version {text} is not known here"), "write `version: 1`");
        }
        _ => {
            let message = format!("`version` must be 1, not {}", node.kind());
            reporter.error(node.span, message, "write `version: 1`");
        }
    }
}

fn routes(node: &Node, known: &Known, reporter: &mut Reporter<'_>) -> (Vec<Route>, Vec<Span>) {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        // `routes:` with nothing behind it, all commented out for example.
        _ if node.is_null() => &[],
        _ => {
            let help = "write each route as an item: `- {name: web, action: pass}`";
            reporter.error(node.span, format!("`routes` must be a list, not {}", node.kind()), help);
            &[]
        }
    };
    if let Some(node) = nodes.get(ROUTES_MAX) {
        let message = format!("{} routes are more than a policy can hold", nodes.len());
        reporter.error(node.span, message, format!("{ROUTES_MAX} are the most: leave out what follows here"));
    }
    let mut routes = Vec::with_capacity(nodes.len());
    let mut names: Vec<Span> = Vec::with_capacity(nodes.len());
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(nodes.len());
    for node in nodes {
        let Some((route, span)) = route::read(node, Some(known), reporter) else { continue };
        if let Some(line) = seen.get(&route.name) {
            let help = format!("the first is in line {line}: rename one of them, counters follow the name");
            reporter.error(span, format!("the name `{}` is given twice", route.name), help);
            continue;
        }
        seen.insert(route.name.clone(), span.line);
        routes.push(route);
        names.push(span);
    }
    (routes, names)
}

fn pass_or_drop(node: &Node, key: &str, reporter: &mut Reporter<'_>) -> Option<Default> {
    match &node.value {
        Value::Scalar { text, .. } if text == "pass" => return Some(Default::Pass),
        Value::Scalar { text, .. } if text == "drop" => return Some(Default::Drop),
        _ if node.is_null() => {
            reporter.error(node.span, format!("`{key}` has no value"), "write `pass` or `drop`");
        }
        Value::Scalar { text, .. } => {
            let message = format!("`{key}` is `pass` or `drop`, not {text:?}");
            let help = match text.as_str() {
                "accept" | "allow" | "permit" => "write `pass`".to_owned(),
                "deny" | "reject" | "block" => "write `drop`".to_owned(),
                _ => did_you_mean(text, ["pass", "drop"], || "write `pass` or `drop`".to_owned()),
            };
            reporter.error(node.span, message, help);
        }
        _ => {
            let message = format!("`{key}` is `pass` or `drop`, not {}", node.kind());
            reporter.error(node.span, message, "write `pass` or `drop`");
        }
    }
    None
}

/// `drop`, `pass`, or a map of reasons with a `default`.
fn malformed(node: &Node, reporter: &mut Reporter<'_>) -> Malformed {
    let all = Reason::all_malformed_bits();
    let bits = |choice: Option<Default>| if choice == Some(Default::Pass) { 0 } else { all };
    let Value::Map(entries) = &node.value else {
        return Malformed { drop_bits: bits(pass_or_drop(node, "malformed", reporter)) };
    };
    let mut drop_bits = all;
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut exceptions = Vec::new();
    for (key, value) in entries {
        let Value::Scalar { text, .. } = &key.value else {
            reporter.error(
                key.span,
                "a key must be a reason's name",
                "write `ipv4_total_length`, for example",
            );
            continue;
        };
        if let Some(line) = seen.insert(text, key.span.line) {
            let help = format!("the first is in line {line}: keep one of them");
            reporter.error(key.span, format!("`{text}` stands twice"), help);
        }
        let reason = Reason::from_name(text).filter(|reason| reason.is_malformed());
        if text != "default" && reason.is_none() {
            unknown_reason(text, key.span, reporter);
            continue;
        }
        let choice = pass_or_drop(value, text, reporter);
        match reason {
            Some(reason) => exceptions.push((reason, choice)),
            None => drop_bits = bits(choice),
        }
    }
    for (reason, choice) in exceptions {
        match choice {
            Some(Default::Drop) => drop_bits |= reason.bit(),
            Some(Default::Pass) => drop_bits &= !reason.bit(),
            None => {}
        }
    }
    Malformed { drop_bits }
}

fn unknown_reason(text: &str, span: Span, reporter: &mut Reporter<'_>) {
    let names = Reason::ALL.iter().filter(|reason| reason.is_malformed()).map(|reason| reason.name());
    if Reason::from_name(text).is_some() {
        let help = "only what is wrong with a packet itself can be passed: `ipv4_total_length`, for example";
        return reporter.error(span, format!("`{text}` is not a way to be malformed"), help);
    }
    let help = did_you_mean(text, names.clone().chain(["default"]), || {
        format!("the reasons are default, {}", names.clone().collect::<Vec<_>>().join(", "))
    });
    reporter.error(span, format!("there is no reason `{text}`"), help);
}
