//! Whether a route's parts make sense together.

use super::diagnostics::Severity;
use super::protocols::{has_ports, protocol_name};
use super::{Action, Route};
use gateway_common::packet::protocol::{ICMP, ICMPV6};
use ipnet::IpNet;

/// The part of a route that a problem is shown at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    To,
    Protocol,
    Port,
    SourcePort,
    Mark,
    Priority,
}

impl Part {
    /// Its key.
    pub fn key(self) -> &'static str {
        match self {
            Part::To => "to",
            Part::Protocol => "protocol",
            Part::Port => "port",
            Part::SourcePort => "source_port",
            Part::Mark => "mark",
            Part::Priority => "priority",
        }
    }

    /// Whether the key stands in `match`.
    pub fn is_match(self) -> bool {
        !matches!(self, Part::Mark | Part::Priority)
    }
}

/// Something that does not make sense.
pub(super) struct Problem {
    pub severity: Severity,
    pub part: Part,
    pub message: String,
    pub help: String,
}

/// Everything that does not make sense about a route.
pub(super) fn problems(route: &Route) -> Vec<Problem> {
    let mut found = Vec::new();
    families(route, &mut found);
    ports(route, &mut found);
    icmp_family(route, &mut found);
    unused(route, &mut found);
    found
}

/// Which families a list of prefixes holds: IPv4, IPv6.
fn families_of(prefixes: Option<&Vec<IpNet>>) -> (bool, bool) {
    prefixes.map_or((true, true), |prefixes| {
        let is_v4 = |prefix: &IpNet| matches!(prefix, IpNet::V4(_));
        (prefixes.iter().any(is_v4), !prefixes.iter().all(is_v4))
    })
}

fn families(route: &Route, found: &mut Vec<Problem>) {
    let from = families_of(route.matches.from.as_ref());
    let to = families_of(route.matches.to.as_ref());
    let only = |families| if families == (true, false) { "IPv4" } else { "IPv6" };
    if !(from.0 && to.0 || from.1 && to.1) {
        found.push(Problem {
            severity: Severity::Error,
            part: Part::To,
            message: format!(
                "nothing can match: `from` holds only {} prefixes, `to` only {}",
                only(from),
                only(to)
            ),
            help: "give both prefixes of the same family".to_owned(),
        });
        return;
    }
    if route.matches.from.is_none() || route.matches.to.is_none() || from == to {
        return;
    }
    let lonely = if from.0 == to.0 { "IPv6" } else { "IPv4" };
    let (holds, lacks) = if from == (true, true) { ("from", "to") } else { ("to", "from") };
    found.push(Problem {
        severity: Severity::Warning,
        part: Part::To,
        message: format!("`{holds}` holds {lonely} prefixes, `{lacks}` none: they never match"),
        help: format!("add {lonely} prefixes to `{lacks}`, or take them out of `{holds}`"),
    });
}

fn ports(route: &Route, found: &mut Vec<Problem>) {
    let matches = &route.matches;
    let part = match (&matches.port, &matches.source_port) {
        (Some(_), _) => Part::Port,
        (None, Some(_)) => Part::SourcePort,
        (None, None) => return,
    };
    let Some(protocols) = &matches.protocol else { return };
    let without: Vec<String> = protocols.iter().filter(|p| !has_ports(**p)).map(|p| word(*p)).collect();
    if without.is_empty() {
        return;
    }
    let names = without.join(", ");
    if without.len() == protocols.len() {
        found.push(Problem {
            severity: Severity::Error,
            part,
            message: format!("nothing can match: protocol {names} has no ports"),
            help: format!("leave `{}` out, or name protocol tcp, udp or sctp", part.key()),
        });
    } else {
        found.push(Problem {
            severity: Severity::Warning,
            part: Part::Protocol,
            message: format!("protocol {names} has no ports: a route that names ports never matches it"),
            help: format!("take {names} out, or give it a route of its own without `{}`", part.key()),
        });
    }
}

fn word(protocol: u8) -> String {
    protocol_name(protocol).map_or_else(|| protocol.to_string(), str::to_owned)
}

/// ICMP of the other family: possible on the wire, but never meant.
fn icmp_family(route: &Route, found: &mut Vec<Problem>) {
    let matches = &route.matches;
    let from = families_of(matches.from.as_ref());
    let to = families_of(matches.to.as_ref());
    let Some(protocols) = &matches.protocol else { return };
    let (family, named, meant) = match (from.0 && to.0, from.1 && to.1) {
        (true, false) if protocols.contains(&ICMPV6) => ("IPv4", "icmpv6", "icmp"),
        (false, true) if protocols.contains(&ICMP) => ("IPv6", "icmp", "icmpv6"),
        _ => return,
    };
    found.push(Problem {
        severity: Severity::Warning,
        part: Part::Protocol,
        message: format!("only {family} packets can match, and they do not carry {named}"),
        help: format!("did you mean `{meant}`?"),
    });
}

/// A mark or a priority that nobody will see.
fn unused(route: &Route, found: &mut Vec<Problem>) {
    let action = match route.action {
        Action::Drop => "drop",
        Action::Tx => "tx",
        Action::Pass | Action::Redirect { .. } => return,
    };
    for (part, set) in [(Part::Mark, route.mark.is_some()), (Part::Priority, route.priority.is_some())] {
        if set {
            found.push(Problem {
                severity: Severity::Warning,
                part,
                message: format!("`{}` has no effect with action {action}", part.key()),
                help: "leave it out: the packet does not reach the stack".to_owned(),
            });
        }
    }
}
