//! Pools and their targets.

use super::forwards::{FORWARD_HELP, forward};
use super::health::health;
use super::keys::{Fields, Keys, fields};
use super::labels::{Name, entries};
use super::scalars::{mss, pool_name};
use super::targets::{TARGETS_HELP, labels, targets};
use super::values::{Known, no_value, optional, scalar, take, text};
use crate::policy::diagnostics::{Reporter, Severity, Span};
use crate::policy::pool::none_selected;
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Action, Forward, OuterSource, Pool, TargetLabels};
use gateway_common::image::{HashOver, MAX_POOLS, MAX_TARGETS};
use std::collections::{BTreeMap, HashMap};

/// Pools in a policy; index 0 is no pool's.
const POOLS_MAX: usize = MAX_POOLS - 1;
/// Targets in a policy, all pools together; slot 0 is no target's.
const TARGETS_MAX: usize = MAX_TARGETS - 1;

const POOL: Keys = Keys {
    what: "a pool",
    known: &[
        "forward", "hash", "port", "source", "ports", "timeouts", "affinity", "mss", "health", "targets",
    ],
    later: &[],
};
const HASHES: [&str; 3] = ["five-tuple", "source", "source-destination"];

const HASH_HELP: &str = "write `five-tuple`, `source` or `source-destination`";

/// The pools of a document, each with the place of its name.
pub(super) fn read_all(
    node: &Node,
    known: &mut Known,
    reporter: &mut Reporter<'_>,
) -> (BTreeMap<String, Pool>, HashMap<String, Span>) {
    let (mut pools, mut places) = (BTreeMap::new(), HashMap::new());
    let example = "web: {forward: ipip, targets: [{name: v1, address: 10.0.0.11}]}";
    let entries = entries(node, "pools", example, reporter);
    if let Some((name, _)) = entries.get(POOLS_MAX) {
        let help = format!("{POOLS_MAX} are the most: leave out what follows here");
        reporter.error(name.span, format!("{} pools are more than a policy can hold", entries.len()), help);
        return (pools, places);
    }
    let mut targets = 0;
    for (Name { text, span }, value) in entries {
        let Some(name) = take(pool_name(text), span, reporter) else { continue };
        if known.pools.insert(name.clone(), None).is_some() {
            reporter.error(span, format!("the pool `{name}` is given twice"), "rename one of them");
            continue;
        }
        let Some(pool) = pool(value, &name, span, reporter) else { continue };
        let before = targets;
        targets += pool.targets.len();
        if before <= TARGETS_MAX && targets > TARGETS_MAX {
            let message = format!("with this pool's targets the policy has {targets}");
            reporter.error(span, message, format!("{TARGETS_MAX} are the most, of all pools together"));
        }
        let labels = pool.targets.values().map(|target| target.labels.clone());
        known.pools.insert(name.clone(), Some(labels.collect()));
        places.insert(name.clone(), span);
        pools.insert(name, pool);
    }
    (pools, places)
}

fn pool(node: &Node, name: &str, span: Span, reporter: &mut Reporter<'_>) -> Option<Pool> {
    if node.is_null() {
        no_value("pool", node.span, FORWARD_HELP, reporter);
        return None;
    }
    let fields = fields(node, &POOL, reporter)?;
    let forward = forward(&fields, reporter);
    let hash = fields.get("hash").map_or(Some(HashOver::FiveTuple), |node| hash(node, reporter));
    let mss = optional(&fields, "mss", mss, reporter);
    let targets = match fields.need("targets", TARGETS_HELP, reporter) {
        Some(node) => targets(node, forward.as_ref(), reporter),
        None => None,
    };
    let health = match fields.get("health") {
        Some(node) => health(node, forward.as_ref(), targets.as_ref(), reporter).map(Some),
        None => Some(None),
    };
    let pool = Pool { forward: forward?, hash: hash?, mss: mss?, health: health?, targets: targets? };
    doubtful(&pool, name, span, &fields, reporter);
    Some(pool)
}

/// What can be meant, but hardly is.
fn doubtful(pool: &Pool, name: &str, span: Span, fields: &Fields<'_>, reporter: &mut Reporter<'_>) {
    if pool.targets.values().all(|target| target.weight == 0) {
        let message = format!("no target of pool `{name}` takes packets: all have weight 0");
        let help = "what routes send to it is dropped until one has a weight".to_owned();
        reporter.add(Severity::Warning, span, message, help);
    }
    if pool.health.as_ref().is_some_and(|health| health.passive.is_some())
        && pool.targets.values().filter(|target| target.weight > 0).count() == 1
    {
        let message =
            format!("only one target of pool `{name}` takes packets: where it is passed over none is left");
        let help = "add a target, or write `check` instead of `passive` to see how this one does".to_owned();
        reporter.add(Severity::Warning, fields.key_span("health"), message, help);
    }
    for source in pool.forward.source().iter().flat_map(OuterSource::iter) {
        if !pool.targets.values().any(|target| target.address.is_ipv4() == source.is_ipv4()) {
            let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
            let message =
                format!("no target of pool `{name}` has an {family} address: {source} is never used");
            let of_family = match pool.forward {
                Forward::Dnat(_) => "an address is translated to one of its family",
                _ => "an outer header is of its target's family",
            };
            let help = format!("leave it out; {of_family}");
            reporter.add(Severity::Warning, fields.key_span("source"), message, help);
        }
    }
}

fn hash(node: &Node, reporter: &mut Reporter<'_>) -> Option<HashOver> {
    match text(node, "hash", reporter)? {
        "five-tuple" => Some(HashOver::FiveTuple),
        "source" => Some(HashOver::Source),
        "source-destination" => Some(HashOver::SourceDestination),
        other => {
            let help = did_you_mean(other, HASHES, || HASH_HELP.to_owned());
            reporter.error(node.span, format!("a target cannot be chosen by {other:?}"), help);
            None
        }
    }
}

/// The pool that an action names, and the labels that it narrows it to. `known` is what the document names.
pub(super) fn forwarded_to(
    pool: &Node,
    targets: Option<&Node>,
    known: Option<&Known>,
    reporter: &mut Reporter<'_>,
) -> Option<Action> {
    let name = scalar(pool, "pool", pool_name, reporter);
    let labels = match targets {
        Some(node) => selector(node, reporter),
        None => Some(TargetLabels::new()),
    };
    let name = name?;
    let Some(known) = known else { return Some(Action::Pool { pool: name, targets: labels? }) };
    let Some(of_targets) = known.pools.get(&name) else {
        let help = did_you_mean(&name, known.pools.keys().map(String::as_str), || {
            format!("write it under `pools`: `{name}: {{forward: ipip, targets: [...]}}`")
        });
        reporter.error(pool.span, format!("there is no pool `{name}`"), help);
        return None;
    };
    let labels = labels?;
    if let (Some(node), Some(of_targets)) = (targets, of_targets)
        && !of_targets.iter().any(|have| labels.iter().all(|(key, value)| have.get(key) == Some(value)))
    {
        let (message, help) = none_selected(&name, of_targets.iter(), &labels);
        reporter.error(node.span, message, help);
        return None;
    }
    Some(Action::Pool { pool: name, targets: labels })
}

/// Labels by which a route chooses among a pool's targets, at least one.
fn selector(node: &Node, reporter: &mut Reporter<'_>) -> Option<TargetLabels> {
    if node.is_null() || matches!(&node.value, Value::Map(entries) if entries.is_empty()) {
        no_value("targets", node.span, "write labels, `{version: v2}`, or leave it out for all", reporter);
        return None;
    }
    labels(node, "targets", reporter)
}
