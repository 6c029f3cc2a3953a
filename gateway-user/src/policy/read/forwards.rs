//! How a pool forwards, and the keys that only some ways take.

use super::keys::{Fields, Keys, fields};
use super::quantities::connection_duration;
use super::ranges::translated_ports;
use super::scalars::{interface_address, udp_port};
use super::values::{optional, or_usual, scalar, text};
use crate::policy::diagnostics::Reporter;
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Dnat, Forward, OuterSource, Timeouts, Translation};
use std::net::IpAddr;

const FORWARDS: [&str; 4] = ["ipip", "gue", "l2", "dnat"];
const TIMEOUTS: Keys = Keys { what: "`timeouts`", known: &Timeouts::KEYS, later: &[] };
/// Keys of pools that translate, and what the others have none of.
const OF_DNAT: [(&str, &str); 3] = [
    ("ports", "translates no port"),
    ("timeouts", "remembers no connection that could time out"),
    ("affinity", "remembers no client"),
];

pub(super) const FORWARD_HELP: &str = "write `ipip`, `gue`, `l2` or `dnat`";
const MASQUERADE: &str = "masquerade";

/// How packets get to the targets of the pool with these keys.
pub(super) fn forward(pool: &Fields<'_>, reporter: &mut Reporter<'_>) -> Option<Forward> {
    let node = pool.need("forward", FORWARD_HELP, reporter)?;
    let name = text(node, "forward", reporter)?;
    let Some(name) = FORWARDS.into_iter().find(|known| *known == name) else {
        let help = match name {
            "nat" | "masquerade" | "snat" => {
                "write `dnat`, with `source: masquerade` to translate sources too"
            }
            "proxy" => "hand packets to a proxy of this node by a route's `action: {proxy: 15001}`",
            "ip4ip6" | "sit" | "ip6tnl" | "tunnel" => "write `ipip`: each family in either",
            "dsr" | "l2dsr" | "mac" => "write `l2`",
            "fou" | "udp" => "write `gue`: fou takes it too",
            _ => "",
        };
        let help = match help {
            "" => did_you_mean(name, FORWARDS, || FORWARD_HELP.to_owned()),
            help => help.to_owned(),
        };
        reporter.error(node.span, format!("a pool cannot forward by {name:?}"), help);
        return None;
    };
    refuse_foreign(name, pool, reporter);
    match name {
        "ipip" => Some(Forward::Ipip { source: outer_source(pool, name, reporter)? }),
        "gue" => {
            let port = or_usual(pool, "port", Forward::GUE_PORT, udp_port, reporter);
            let source = outer_source(pool, name, reporter);
            Some(Forward::Gue { port: port?, source: source? })
        }
        "l2" => Some(Forward::L2),
        _ => dnat(pool, reporter).map(Forward::Dnat),
    }
}

/// Reports the keys that this way of forwarding does not take.
fn refuse_foreign(forward: &str, pool: &Fields<'_>, reporter: &mut Reporter<'_>) {
    let mut without = |key: &str, message: &str, help: &str| {
        if pool.get(key).is_some() {
            reporter.error(pool.key_span(key), message, help);
        }
    };
    match forward {
        "ipip" => {
            let help = "leave `port` out, or write `forward: gue`";
            without("port", "an IP header has no port: `ipip` takes none", help);
        }
        "l2" => {
            let help = "leave it out: packets keep their headers";
            without("port", "`l2` adds no header that a port could stand in", help);
            without("source", "`l2` adds no header that a source could stand in", help);
        }
        "dnat" => {
            let help = "write it at the targets: `{name: v1, address: 10.0.0.11, port: 8080}`";
            without("port", "a pool that translates has a port for each target", help);
        }
        _ => {}
    }
    if forward != "dnat" {
        for (key, why) in OF_DNAT {
            let help = format!("leave `{key}` out, or write `forward: dnat`");
            without(key, &format!("`{forward}` {why}"), &help);
        }
    }
}

/// The source of outer headers.
fn outer_source(pool: &Fields<'_>, forward: &str, reporter: &mut Reporter<'_>) -> Option<OuterSource> {
    let Some(node) = pool.get("source") else { return Some(OuterSource::default()) };
    if is_masquerade(node) {
        let help = "leave `source` out to let the node's routing choose, or write `forward: dnat`";
        reporter.error(node.span, format!("`{forward}` translates no source"), help);
        return None;
    }
    addresses(node, "leave `source` out to let the node's routing choose", reporter)
}

fn is_masquerade(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if text == MASQUERADE)
}

/// An address, or one of each family.
fn addresses(node: &Node, without: &str, reporter: &mut Reporter<'_>) -> Option<OuterSource> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() {
        reporter.error(node.span, "`source` is an empty list", without);
        return None;
    }
    let mut found = OuterSource::default();
    let mut whole = true;
    for node in nodes {
        let twice = match scalar(node, "source", interface_address, reporter) {
            Some(IpAddr::V4(address)) => found.ipv4.replace(address).is_some(),
            Some(IpAddr::V6(address)) => found.ipv6.replace(address).is_some(),
            None => {
                whole = false;
                continue;
            }
        };
        if twice {
            let help = "keep one: a pool has one source for each family";
            reporter.error(node.span, "`source` names two addresses of one family", help);
            whole = false;
        }
    }
    whole.then_some(found)
}

fn dnat(pool: &Fields<'_>, reporter: &mut Reporter<'_>) -> Option<Dnat> {
    let source = translation(pool, reporter);
    let timeouts = match pool.get("timeouts") {
        Some(node) => timeouts(node, reporter),
        None => Some(Timeouts::default()),
    };
    let affinity = optional(pool, "affinity", connection_duration, reporter);
    Some(Dnat { source: source?, timeouts: timeouts?, affinity: affinity? })
}

/// What sources are translated to, if at all.
fn translation(pool: &Fields<'_>, reporter: &mut Reporter<'_>) -> Option<Option<Translation>> {
    let ports = or_usual(pool, "ports", Translation::PORTS, translated_ports, reporter);
    let Some(node) = pool.get("source") else {
        if pool.get("ports").is_some() && !pool.misspelt("source") {
            let help = "write `source: masquerade` too, or leave `ports` out";
            reporter.error(
                pool.key_span("ports"),
                "`ports` are those of translated sources: these stay",
                help,
            );
            return None;
        }
        return Some(None);
    };
    let addresses = if is_masquerade(node) {
        Some(OuterSource::default())
    } else {
        addresses(node, "write `masquerade`, or leave `source` out to keep clients' addresses", reporter)
    };
    Some(Some(Translation { addresses: addresses?, ports: ports? }))
}

fn timeouts(node: &Node, reporter: &mut Reporter<'_>) -> Option<Timeouts> {
    let fields = fields(node, &TIMEOUTS, reporter)?;
    let mut whole = true;
    let mut timeouts = Timeouts::default();
    for (key, node) in fields.iter() {
        let Some(time) = scalar(node, key, connection_duration, reporter) else {
            whole = false;
            continue;
        };
        match key {
            "established" => timeouts.established = time,
            "half_open" => timeouts.half_open = time,
            "closing" => timeouts.closing = time,
            "udp" => timeouts.udp = time,
            _ => timeouts.unanswered = time,
        }
    }
    whole.then_some(timeouts)
}
