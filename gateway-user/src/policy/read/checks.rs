//! What a check asks of targets.

use super::keys::{Fields, Keys, fields};
use super::ranges::status;
use super::scalars::{check_port, http_host, http_path, tls_name};
use super::values::{Reader, in_order, merged, no_value, optional, or_usual, scalar, text};
use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::suggest::did_you_mean;
use crate::policy::yaml::{Node, Value};
use crate::policy::{CheckKind, Forward, Target};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const KINDS: Keys = Keys { what: "`check`", known: &["tcp", "tls", "http", "icmp"], later: &[] };
const TCP: Keys = Keys { what: "`tcp`", known: &["port"], later: &[] };
const TLS: Keys = Keys { what: "`tls`", known: &["port", "name"], later: &[] };
const HTTP: Keys = Keys { what: "`http`", known: &["path", "port", "host", "status"], later: &[] };

/// Targets that an error lists.
const NAMES_SHOWN_MAX: usize = 8;

/// For who has no check yet.
pub(super) const CHECK_HELP: &str = "write `check: tcp` to ask the targets, `passive: {}` to count the handshakes of clients that fail, or both";
const KIND_HELP: &str = "write `tcp`, `tls`, `http` or `icmp`, or with keys: `{http: {path: /healthz}}`";

/// What a check asks: a word, or a map of one with its keys.
pub(super) fn kind(node: &Node, reporter: &mut Reporter<'_>) -> Option<CheckKind> {
    match &node.value {
        Value::Map(entries) if entries.is_empty() => {
            reporter.error(node.span, "`check` asks nothing", KIND_HELP);
            return None;
        }
        Value::Map(_) => return kind_with_keys(node, reporter),
        Value::List(_) => {
            let help = "keep the one that says most: `http` asks all that `tcp` does";
            reporter.error(node.span, "a pool has one check, not a list", help);
            return None;
        }
        Value::Scalar { .. } => {}
    }
    match text(node, "check", reporter)? {
        "tcp" => Some(CheckKind::Tcp { port: None }),
        "tls" => Some(CheckKind::Tls { port: None, name: None }),
        "http" => Some(CheckKind::Http {
            port: None,
            path: CheckKind::PATH.to_owned(),
            host: None,
            status: vec![CheckKind::STATUS],
        }),
        "icmp" => Some(CheckKind::Icmp),
        other => {
            let help = match other {
                "connect" => "write `tcp`".to_owned(),
                "https" | "ssl" => "write `tls`: a handshake, and nothing asked behind it".to_owned(),
                "ping" | "icmpv6" => "write `icmp`: an echo of the target's family".to_owned(),
                "none" | "off" => "leave `check` out".to_owned(),
                _ => did_you_mean(other, KINDS.known.iter().copied(), || KIND_HELP.to_owned()),
            };
            reporter.error(node.span, format!("a target cannot be checked by {other:?}"), help);
            None
        }
    }
}

fn kind_with_keys(node: &Node, reporter: &mut Reporter<'_>) -> Option<CheckKind> {
    let kinds = fields(node, &KINDS, reporter)?;
    let mut all = kinds.iter();
    let (name, node) = all.next()?;
    if let Some((second, _)) = all.next() {
        let help = format!("keep `{name}` or `{second}`");
        reporter.error(kinds.key_span(second), "a pool has one check, not two", help);
        return None;
    }
    if node.is_null() {
        no_value(name, node.span, &format!("write `check: {name}`"), reporter);
        return None;
    }
    match name {
        "tcp" => {
            let fields = fields(node, &TCP, reporter)?;
            Some(CheckKind::Tcp { port: port(&fields, reporter)? })
        }
        "tls" => {
            let fields = fields(node, &TLS, reporter)?;
            let port = port(&fields, reporter);
            let name = optional(&fields, "name", tls_name, reporter);
            Some(CheckKind::Tls { port: port?, name: name? })
        }
        "http" => http(node, reporter),
        _ => icmp(node, reporter),
    }
}

fn port(fields: &Fields<'_>, reporter: &mut Reporter<'_>) -> Option<Option<u16>> {
    optional(fields, "port", check_port, reporter)
}

fn http(node: &Node, reporter: &mut Reporter<'_>) -> Option<CheckKind> {
    let fields = fields(node, &HTTP, reporter)?;
    let port = port(&fields, reporter);
    let path = or_usual(&fields, "path", CheckKind::PATH.to_owned(), http_path, reporter);
    let host = optional(&fields, "host", http_host, reporter);
    let status = match fields.get("status") {
        Some(node) => statuses(node, reporter),
        None => Some(vec![CheckKind::STATUS]),
    };
    Some(CheckKind::Http { port: port?, path: path?, host: host?, status: status? })
}

/// One that is expected, or a list of them.
fn statuses(node: &Node, reporter: &mut Reporter<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    let reader = Reader { key: "status", node, clears: false, known: None };
    let nodes = reader.nodes("leave `status` out to expect 200-299", reporter)?;
    let ranges: Vec<_> = nodes.iter().filter_map(|node| scalar(node, "status", status, reporter)).collect();
    let whole = ranges.len() == nodes.len();
    whole.then(|| merged(in_order(ranges)).into_iter().map(|range| range.first..=range.last).collect())
}

/// Nothing of an echo can be chosen.
fn icmp(node: &Node, reporter: &mut Reporter<'_>) -> Option<CheckKind> {
    match &node.value {
        Value::Map(entries) if entries.is_empty() => Some(CheckKind::Icmp),
        _ => {
            reporter.error(node.span, "an ICMP check has no keys", "write `check: icmp`");
            None
        }
    }
}

/// Reports the targets that have no port where the check asks for one and names none; nothing where there are such.
pub(super) fn ask_without_port(
    kind: &CheckKind,
    span: Span,
    forward: &Forward,
    targets: &BTreeMap<String, Target>,
    reporter: &mut Reporter<'_>,
) -> Option<()> {
    let (port, example) = match kind {
        CheckKind::Tcp { port } | CheckKind::Http { port, .. } => (port, 80),
        CheckKind::Tls { port, .. } => (port, 443),
        CheckKind::Icmp => return Some(()),
    };
    let without = targets.iter().filter(|(_, target)| target.port.is_none());
    let without: Vec<String> = without.map(|(name, _)| format!("`{name}`")).collect();
    if port.is_some() || without.is_empty() {
        return Some(());
    }
    let mut names = without.iter().take(NAMES_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    if without.len() > NAMES_SHOWN_MAX {
        names += &format!(" and {} more", without.len() - NAMES_SHOWN_MAX);
    }
    let (targets, have) = if without.len() == 1 { ("target", "has") } else { ("targets", "have") };
    let kind = kind.name();
    let message = format!("the check names no port, and {targets} {names} {have} none");
    let mut help = format!("write the one to ask: `check: {{{kind}: {{port: {example}}}}}`");
    if forward.dnat().is_some() {
        help += ", or give each target its `port`";
    }
    reporter.error(span, message, help);
    None
}
