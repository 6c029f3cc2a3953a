//! Pools and their targets.

use super::forwards::{FORWARD_HELP, forward};
use super::keys::{Fields, Keys, fields};
use super::labels::{Name, entries};
use super::scalars::{interface_address, mss, pool_name, target_name, target_port, target_weight};
use super::values::{Known, no_value, scalar, take, text};
use crate::policy::diagnostics::{Reporter, Severity, Span};
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Forward, OuterSource, Pool, Target};
use gateway_common::image::{HashOver, MAX_POOLS, MAX_TARGETS};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Pools in a policy; index 0 is no pool's.
const POOLS_MAX: usize = MAX_POOLS - 1;
/// Targets in a policy, all pools together; slot 0 is no target's.
const TARGETS_MAX: usize = MAX_TARGETS - 1;

const POOL: Keys = Keys {
    what: "a pool",
    known: &["forward", "hash", "port", "source", "ports", "timeouts", "affinity", "mss", "targets"],
    later: &[],
};
const TARGET: Keys =
    Keys { what: "a target", known: &["name", "address", "port", "weight"], later: &["labels"] };
const HASHES: [&str; 3] = ["five-tuple", "source", "source-destination"];

const HASH_HELP: &str = "write `five-tuple`, `source` or `source-destination`";
const TARGETS_HELP: &str = "write `targets: [{name: v1, address: 10.0.0.11}]`";
const TARGET_NAME_HELP: &str = "give it a name: its counters and its packets follow it";
const TARGET_ADDRESS_HELP: &str = "write where it is reached: `address: 10.0.0.11`";

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
        if !known.pools.insert(name.clone()) {
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
    let mss = match fields.get("mss") {
        Some(node) => scalar(node, "mss", mss, reporter).map(Some),
        None => Some(None),
    };
    let targets = match fields.need("targets", TARGETS_HELP, reporter) {
        Some(node) => targets(node, forward.as_ref(), reporter),
        None => None,
    };
    let pool = Pool { forward: forward?, hash: hash?, mss: mss?, targets: targets? };
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

/// `forward` is the pool's, if it could be read.
fn targets(
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
        let Some(Parts { name, address, port, weight }) = target(node, forward, reporter) else {
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
        match (name, address, port, weight) {
            (Some((name, _)), Some((address, _)), Some(port), Some(weight)) => {
                targets.insert(name, Target { port, weight, ..Target::new(address) });
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
    let weight = match fields.get("weight") {
        Some(node) => scalar(node, "weight", target_weight, reporter),
        None => Some(Target::WEIGHT),
    };
    Some(Parts { name, address, port, weight })
}

/// The pool that an action names.
pub(super) fn named(node: &Node, known: Option<&Known>, reporter: &mut Reporter<'_>) -> Option<String> {
    let name = scalar(node, "pool", pool_name, reporter)?;
    if let Some(known) = known.filter(|known| !known.pools.contains(&name)) {
        let help = did_you_mean(&name, known.pools.iter().map(String::as_str), || {
            format!("write it under `pools`: `{name}: {{forward: ipip, targets: [...]}}`")
        });
        reporter.error(node.span, format!("there is no pool `{name}`"), help);
        return None;
    }
    Some(name)
}
