//! Targets of pools.

use super::keys::{Keys, fields};
use super::labels::{Name, entries};
use super::scalars::{
    interface_address, target_label, target_label_value, target_name, target_port, target_weight,
};
use super::values::{or_usual, scalar, take};
use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::yaml::{Node, Value};
use crate::policy::{Forward, Target, TargetLabels};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

const TARGET: Keys =
    Keys { what: "a target", known: &["name", "address", "port", "weight", "labels"], later: &[] };

pub(super) const TARGETS_HELP: &str = "write `targets: [{name: v1, address: 10.0.0.11}]`";
const TARGET_NAME_HELP: &str = "give it a name: its counters and its packets follow it";
const TARGET_ADDRESS_HELP: &str = "write where it is reached: `address: 10.0.0.11`";

/// The targets of a pool. `forward` is the pool's, if it could be read.
pub(super) fn targets(
    node: &Node,
    forward: Option<&Forward>,
    reporter: &mut Reporter<'_>,
) -> Option<BTreeMap<String, Target>> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ if node.is_null() => &[],
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() {
        reporter.error(node.span, "a pool without targets has nowhere to send packets", TARGETS_HELP);
        return None;
    }
    let mut targets = BTreeMap::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut addresses: HashMap<(IpAddr, Option<u16>), usize> = HashMap::new();
    let mut whole = true;
    for node in nodes {
        let Some(Parts { name, address, port, weight, labels }) = target(node, forward, reporter) else {
            whole = false;
            continue;
        };
        if let Some((name, span)) = &name
            && let Some(line) = names.insert(name.clone(), span.line)
        {
            let help = format!("the first is in line {line}: rename one of them");
            reporter.error(*span, format!("the target `{name}` is given twice"), help);
            whole = false;
        }
        if let Some((address, span)) = address
            && let Some(port) = port
            && let Some(line) = addresses.insert((address, port), span.line)
        {
            let shown = Target { port, ..Target::new(address) };
            let help = format!("the first is in line {line}: give that one both their weights");
            reporter.error(span, format!("the address {shown} is given twice in this pool"), help);
            whole = false;
        }
        match (name, address, port, weight, labels) {
            (Some((name, _)), Some((address, _)), Some(port), Some(weight), Some(labels)) => {
                targets.insert(name, Target { address, port, weight, labels });
            }
            _ => whole = false,
        }
    }
    whole.then_some(targets)
}

/// As much of a target as could be read, name and address with their places.
struct Parts {
    name: Option<(String, Span)>,
    address: Option<(IpAddr, Span)>,
    port: Option<Option<u16>>,
    weight: Option<u16>,
    labels: Option<TargetLabels>,
}

fn target(node: &Node, forward: Option<&Forward>, reporter: &mut Reporter<'_>) -> Option<Parts> {
    let fields = fields(node, &TARGET, reporter)?;
    let name = fields.need("name", TARGET_NAME_HELP, reporter);
    let name = name.and_then(|node| Some((scalar(node, "name", target_name, reporter)?, node.span)));
    let address = fields.need("address", TARGET_ADDRESS_HELP, reporter);
    let address =
        address.and_then(|node| Some((scalar(node, "address", interface_address, reporter)?, node.span)));
    let port = match (fields.get("port"), forward) {
        (Some(_), Some(forward)) if forward.dnat().is_none() => {
            let message = format!("`{}` translates no port: packets keep theirs", forward.name());
            let help = "leave `port` out, or write `forward: dnat`";
            reporter.error(fields.key_span("port"), message, help);
            None
        }
        (Some(node), _) => scalar(node, "port", target_port, reporter).map(Some),
        (None, _) => Some(None),
    };
    let weight = or_usual(&fields, "weight", Target::WEIGHT, target_weight, reporter);
    let labels = match fields.get("labels") {
        Some(node) => labels(node, "labels", reporter),
        None => Some(TargetLabels::new()),
    };
    Some(Parts { name, address, port, weight, labels })
}

/// What is said of a target, or asked of one, under `key`.
pub(super) fn labels(node: &Node, key: &'static str, reporter: &mut Reporter<'_>) -> Option<TargetLabels> {
    if !node.is_null() && !matches!(node.value, Value::Map(_)) {
        let message = format!("`{key}` must be a map of labels, not {}", node.kind());
        reporter.error(node.span, message, "write each with its value: `{version: v2}`");
        return None;
    }
    let mut labels = TargetLabels::new();
    let mut whole = true;
    for (Name { text, span }, value) in entries(node, key, "version: v2", reporter) {
        let name = take(target_label(text), span, reporter);
        let value = scalar(value, text, target_label_value, reporter);
        let (Some(name), Some(value)) = (name, value) else {
            whole = false;
            continue;
        };
        if labels.insert(name, value).is_some() {
            reporter.error(span, format!("the label `{text}` is given twice"), "keep one of them");
            whole = false;
        }
    }
    whole.then_some(labels)
}
