//! A match and its components.

use super::keys::{Fields, Keys, fields};
use super::ranges::{dscp, flow_label, fragment, icmp_code, icmp_type, length, port, tcp_flags, ttl, vlan};
use super::scalars::{interface_name, label_name, looks_like_a_name, prefix, protocol};
use super::values::{Known, Reader, in_order, no_value, take, text};
use crate::policy::diagnostics::Reporter;
use crate::policy::patch::{Change, RoutePatch};
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{Component, LabelTest, Match};
use ipnet::IpNet;

const MATCH: Keys = Keys { what: "a match", known: &Component::KEYS, later: &[] };
const NOT: Keys =
    Keys { what: "`not`", known: Component::KEYS.split_at(Component::KEYS.len() - 1).0, later: &[] };
const ALL: Keys = Keys { what: "`from`", known: &["all"], later: &[] };

/// Reads a match into a change, and returns its keys.
pub(super) fn read<'n>(
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
        let reader = Reader { key, node, ..*reader };
        let Some(part) = Component::of_key(key) else { continue };
        if component(part, &reader, &mut patch.matches, reporter) {
            patch.components.push(part);
        }
    }
    Some(fields)
}

/// Reads one component; false if there was nothing to take from it.
fn component(component: Component, reader: &Reader<'_>, to: &mut Match, reporter: &mut Reporter<'_>) -> bool {
    match component {
        Component::Interface => put(reader.sorted(interface_name, reporter), &mut to.interface),
        Component::From => {
            let (prefixes, labels) = match senders(reader, reporter) {
                Change::Keep => return false,
                Change::Clear => (None, None),
                Change::Set(senders) => senders,
            };
            (to.from, to.labels) = (prefixes, labels);
            true
        }
        Component::To => put(reader.sorted(prefix, reporter), &mut to.to),
        Component::Protocol => put(reader.sorted(protocol, reporter), &mut to.protocol),
        Component::Port => put(reader.ranges(port, reporter), &mut to.port),
        Component::SourcePort => put(reader.ranges(port, reporter), &mut to.source_port),
        Component::IcmpType => put(reader.ranges(icmp_type, reporter), &mut to.icmp_type),
        Component::IcmpCode => put(reader.ranges(icmp_code, reporter), &mut to.icmp_code),
        Component::TcpFlags => put(reader.sorted(tcp_flags, reporter), &mut to.tcp_flags),
        Component::Length => put(reader.ranges(length, reporter), &mut to.length),
        Component::Dscp => put(reader.ranges(dscp, reporter), &mut to.dscp),
        Component::Fragment => put(reader.sorted(fragment, reporter), &mut to.fragment),
        Component::FlowLabel => put(reader.ranges(flow_label, reporter), &mut to.flow_label),
        Component::Vlan => put(reader.ranges(vlan, reporter), &mut to.vlan),
        Component::Ttl => put(reader.ranges(ttl, reporter), &mut to.ttl),
        Component::Not => put(negated(reader, reporter), &mut to.not),
    }
}

fn put<T>(change: Change<T>, to: &mut Option<T>) -> bool {
    *to = match change {
        Change::Keep => return false,
        Change::Clear => None,
        Change::Set(value) => Some(value),
    };
    true
}

/// Components none of which may hold.
fn negated(reader: &Reader<'_>, reporter: &mut Reporter<'_>) -> Change<Box<Match>> {
    if let Some(change) = reader.null(reporter) {
        return change;
    }
    if let Value::Map(entries) = &reader.node.value {
        if let Some((key, _)) = entries.iter().find(|(key, _)| key.is_text("not")) {
            let help = "write the component itself: what is not not so is so";
            reporter.error(key.span, "`not` stands within `not`", help);
            return Change::Keep;
        }
        if entries.is_empty() {
            let help = "write what must not be so, `not: {port: 22}` for example";
            reporter.error(reader.node.span, "`not` names nothing", help);
            return Change::Keep;
        }
    }
    let Some(fields) = fields(reader.node, &NOT, reporter) else { return Change::Keep };
    let mut matches = Match::default();
    let mut whole = true;
    for (key, node) in fields.iter() {
        let reader = Reader { key, node, clears: false, ..*reader };
        let Some(part) = Component::of_key(key) else { continue };
        whole &= component(part, &reader, &mut matches, reporter);
    }
    // With keys that are not known there may be nothing.
    if whole && matches != Match::default() { Change::Set(Box::new(matches)) } else { Change::Keep }
}

/// Source prefixes, and labels.
type Senders = (Option<Vec<IpNet>>, Option<LabelTest>);

/// Who sends: any of a list of labels and prefixes, or `{all: […]}` of some labels.
fn senders(reader: &Reader<'_>, reporter: &mut Reporter<'_>) -> Change<Senders> {
    if let Some(change) = reader.null(reporter) {
        return change;
    }
    if let Value::Map(_) = &reader.node.value {
        let names = fields(reader.node, &ALL, reporter)
            .and_then(|fields| fields.need("all", "write `{all: [staging, trusted]}`", reporter))
            .and_then(|node| all_of(&Reader { key: "all", node, ..*reader }, reporter));
        let Some(names) = names else { return Change::Keep };
        // All of one is any of one.
        let all = names.len() > 1;
        return Change::Set((None, Some(LabelTest { names, all })));
    }
    let Some(nodes) = reader.nodes("leave `from` out to match any", reporter) else { return Change::Keep };
    let (mut prefixes, mut names) = (Vec::new(), Vec::new());
    for node in nodes {
        let Some(text) = text(node, "from", reporter) else { continue };
        if looks_like_a_name(text) {
            names.extend(label(node, text, reader.known, reporter));
        } else {
            prefixes.extend(take(prefix(text), node.span, reporter));
        }
    }
    if prefixes.len() + names.len() < nodes.len() {
        return Change::Keep;
    }
    let prefixes = Some(in_order(prefixes)).filter(|prefixes| !prefixes.is_empty());
    let labels = Some(in_order(names)).filter(|names| !names.is_empty());
    Change::Set((prefixes, labels.map(|names| LabelTest { names, all: false })))
}

fn all_of(reader: &Reader<'_>, reporter: &mut Reporter<'_>) -> Option<Vec<String>> {
    let nodes = reader.nodes("name the labels that a sender must carry, all of them", reporter)?;
    let name = |node: &Node, reporter: &mut Reporter<'_>| {
        let text = text(node, "all", reporter)?;
        if !looks_like_a_name(text) && prefix(text).is_ok() {
            let help = "name labels here; prefixes stand in a list: `from: [10.0.0.0/8]`";
            reporter.error(node.span, format!("{text} is a prefix and not a label"), help);
            return None;
        }
        label(node, text, reader.known, reporter)
    };
    let names: Vec<String> = nodes.iter().filter_map(|node| name(node, reporter)).collect();
    (names.len() == nodes.len()).then(|| in_order(names))
}

/// A label that a route names.
fn label(node: &Node, text: &str, known: Option<&Known>, reporter: &mut Reporter<'_>) -> Option<String> {
    let name = take(label_name(text), node.span, reporter)?;
    let Some(known) = known.filter(|known| !known.labels.contains(&name)) else { return Some(name) };
    let help = did_you_mean(&name, known.labels.iter().map(String::as_str), || {
        format!("write it under `labels`, `{name}: [10.0.0.0/8]` for example; host names are not looked up")
    });
    reporter.error(node.span, format!("there is no label `{name}`"), help);
    None
}
