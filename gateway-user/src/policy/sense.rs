//! Whether a route's parts make sense together.

use super::diagnostics::Severity;
use super::protocols::{carriers, protocol_name};
use super::shadow::{AXES, parts};
use super::{Action, Component, Fragment, Match, Route};
use gateway_common::packet::protocol::{ICMP, ICMPV6, TCP, UDP};
use ipnet::IpNet;
use std::collections::HashMap;

/// The part of a route that a problem is shown at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Match(Component),
    Limit,
    SynCookies,
    Mark,
    Priority,
    Dscp,
    Action,
}

impl Part {
    /// Its key.
    pub fn key(self) -> &'static str {
        match self {
            Part::Match(component) => component.key(),
            Part::Limit => "limit",
            Part::SynCookies => "syn_cookies",
            Part::Mark => "mark",
            Part::Priority => "priority",
            Part::Dscp => "dscp",
            Part::Action => "action",
        }
    }

    /// Whether the key stands in `match`.
    pub fn is_match(self) -> bool {
        matches!(self, Part::Match(_))
    }
}

/// Something that does not make sense.
pub(super) struct Problem {
    pub severity: Severity,
    pub part: Part,
    pub message: String,
    pub help: String,
}

impl Problem {
    fn error(part: Part, message: String, help: String) -> Problem {
        Problem { severity: Severity::Error, part, message, help }
    }

    fn warning(part: Part, message: String, help: String) -> Problem {
        Problem { severity: Severity::Warning, part, message, help }
    }
}

/// Everything that does not make sense about a route.
pub(super) fn problems(route: &Route) -> Vec<Problem> {
    let matches = &route.matches;
    let mut found = Vec::new();
    families(matches, &mut found);
    carried(matches, &mut found);
    of_one_family(matches, &mut found);
    later_fragments(matches, &mut found);
    icmp_family(matches, &mut found);
    if !found.iter().any(|problem| problem.severity == Severity::Error) {
        nothing_left(matches, &mut found);
    }
    syn_cookies(route, &mut found);
    proxied(route, &mut found);
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

/// The families that source and destination leave: IPv4, IPv6.
fn families_left(matches: &Match) -> (bool, bool) {
    let from = senders(matches);
    let to = families_of(matches.to.as_ref());
    (from.0 && to.0, from.1 && to.1)
}

/// Labels are of both families.
fn senders(matches: &Match) -> (bool, bool) {
    if matches.labels.is_some() { (true, true) } else { families_of(matches.from.as_ref()) }
}

fn families(matches: &Match, found: &mut Vec<Problem>) {
    let from = senders(matches);
    let to = families_of(matches.to.as_ref());
    let part = Part::Match(Component::To);
    let only = |families| if families == (true, false) { "IPv4" } else { "IPv6" };
    if families_left(matches) == (false, false) {
        found.push(Problem::error(
            part,
            format!("nothing can match: `from` holds only {} prefixes, `to` only {}", only(from), only(to)),
            "give both prefixes of the same family".to_owned(),
        ));
        return;
    }
    if matches.labels.is_some() || matches.from.is_none() || matches.to.is_none() || from == to {
        return;
    }
    let lonely = if from.0 == to.0 { "IPv6" } else { "IPv4" };
    let (holds, lacks) = if from == (true, true) { ("from", "to") } else { ("to", "from") };
    found.push(Problem::warning(
        part,
        format!("`{holds}` holds {lonely} prefixes, `{lacks}` none: they never match"),
        format!("add {lonely} prefixes to `{lacks}`, or take them out of `{holds}`"),
    ));
}

/// What only some protocols' packets have, as it is told.
fn thing(component: Component) -> (&'static str, &'static str) {
    match component {
        Component::TcpFlags => ("TCP flags", "tcp"),
        Component::IcmpType | Component::IcmpCode => ("ICMP type or code", "icmp or icmpv6"),
        _ => ("ports", "tcp, udp or sctp"),
    }
}

/// The protocols whose packets have what a component names, in any family.
fn carriers_of(component: Component) -> Option<Vec<u8>> {
    let mut all = carriers(component, false)?.to_vec();
    all.extend(carriers(component, true)?);
    Some(all)
}

/// Components that only some protocols' packets have: against each other, and against the protocols.
fn carried(matches: &Match, found: &mut Vec<Problem>) {
    let named = Component::ALL.into_iter().filter(|component| component.is_named(matches));
    let mut seen: Vec<(Component, Vec<u8>)> = Vec::new();
    for component in named {
        let Some(carriers) = carriers_of(component) else { continue };
        let (things, protocols) = thing(component);
        let other = seen.iter().find(|(_, others)| !others.iter().any(|other| carriers.contains(other)));
        if let Some((other, _)) = other {
            found.push(Problem::error(
                Part::Match(component),
                format!("nothing can match: no packet has both {} and {things}", thing(*other).0),
                format!("leave `{}` or `{}` out", other.key(), component.key()),
            ));
            return;
        }
        if !seen.iter().any(|(other, _)| thing(*other) == (things, protocols)) {
            of_protocols(matches, component, &carriers, found);
        }
        seen.push((component, carriers));
    }
}

fn of_protocols(matches: &Match, component: Component, carriers: &[u8], found: &mut Vec<Problem>) {
    let Some(named) = &matches.protocol else { return };
    let (things, protocols) = thing(component);
    let without: Vec<String> = named.iter().filter(|p| !carriers.contains(p)).map(|p| word(*p)).collect();
    if without.is_empty() {
        return;
    }
    let names = without.join(", ");
    if without.len() == named.len() {
        found.push(Problem::error(
            Part::Match(component),
            format!("nothing can match: protocol {names} has no {things}"),
            format!("leave `{}` out, or name protocol {protocols}", component.key()),
        ));
    } else {
        found.push(Problem::warning(
            Part::Match(Component::Protocol),
            format!("protocol {names} has no {things}: a route that names {things} never matches it"),
            format!("take {names} out, or give it a route of its own without `{}`", component.key()),
        ));
    }
}

fn word(protocol: u8) -> String {
    protocol_name(protocol).map_or_else(|| protocol.to_string(), str::to_owned)
}

/// What only packets of one family have.
fn of_one_family(matches: &Match, found: &mut Vec<Problem>) {
    let families = families_left(matches);
    if families == (true, false) && matches.flow_label.is_some() {
        found.push(Problem::error(
            Part::Match(Component::FlowLabel),
            "nothing can match: only IPv4 packets can, and they have no flow label".to_owned(),
            "leave `flow_label` out, or name IPv6 prefixes".to_owned(),
        ));
    }
    let only_dont = matches.fragment.as_deref() == Some(&[Fragment::Dont]);
    if only_dont && (families == (false, true) || matches.flow_label.is_some()) {
        found.push(Problem::error(
            Part::Match(Component::Fragment),
            "nothing can match: IPv6 packets have no don't-fragment bit".to_owned(),
            "leave `fragment` out, or name IPv4 prefixes".to_owned(),
        ));
    }
}

/// Later fragments have no transport header.
fn later_fragments(matches: &Match, found: &mut Vec<Problem>) {
    let later = |kind: &Fragment| matches!(kind, Fragment::Later | Fragment::Last);
    if !matches.fragment.as_ref().is_some_and(|kinds| kinds.iter().all(later)) {
        return;
    }
    let carried = |component: &Component| component.is_named(matches) && carriers_of(*component).is_some();
    if let Some(component) = Component::ALL.into_iter().find(carried) {
        found.push(Problem::error(
            Part::Match(component),
            format!("nothing can match: a later fragment has no {}", thing(component).0),
            format!("leave `{}` out, or `fragment`", component.key()),
        ));
    }
}

/// ICMP of the other family: possible on the wire, but never meant.
fn icmp_family(matches: &Match, found: &mut Vec<Problem>) {
    let Some(protocols) = &matches.protocol else { return };
    let (family, named, meant) = match families_left(matches) {
        (true, false) if protocols.contains(&ICMPV6) => ("IPv4", "icmpv6", "icmp"),
        (false, true) if protocols.contains(&ICMP) => ("IPv6", "icmp", "icmpv6"),
        _ => return,
    };
    found.push(Problem::warning(
        Part::Match(Component::Protocol),
        format!("only {family} packets can match, and they do not carry {named}"),
        format!("did you mean `{meant}`?"),
    ));
}

/// A `not` that takes away all that the rest leaves.
fn nothing_left(matches: &Match, found: &mut Vec<Problem>) {
    if matches.not.is_none() {
        return;
    }
    let mut ids = HashMap::new();
    let mut left = parts(matches, false, &mut ids);
    left.extend(parts(matches, true, &mut ids));
    if left.iter().any(|part| part.axes.iter().all(|axis| !axis.is_empty())) {
        return;
    }
    let emptied = |axis: &usize| left.iter().all(|part| part.axes[*axis].is_empty());
    let what = match (0..AXES).find(emptied) {
        Some(axis) if !left.is_empty() => format!("`{}`", Component::ALL[axis].key()),
        _ if left.is_empty() => "`from`".to_owned(),
        _ => "the match".to_owned(),
    };
    found.push(Problem::error(
        Part::Match(Component::Not),
        format!("nothing can match: `not` takes away all that {what} leaves"),
        "let `not` name less, or leave the route out".to_owned(),
    ));
}

/// SYN cookies where there is no SYN.
fn syn_cookies(route: &Route, found: &mut Vec<Problem>) {
    if route.syn_cookies.is_none() {
        return;
    }
    let matches = &route.matches;
    let wants = |protocols: &Option<Vec<u8>>| protocols.as_ref().is_none_or(|all| all.contains(&TCP));
    let refuses = matches
        .not
        .as_ref()
        .is_some_and(|not| not.protocol.as_ref().is_some_and(|protocols| protocols.contains(&TCP)));
    let carried = |component: Component| {
        component.is_named(matches) && carriers_of(component).is_some_and(|all| !all.contains(&TCP))
    };
    if !wants(&matches.protocol) || refuses || Component::ALL.into_iter().any(carried) {
        found.push(Problem::error(
            Part::SynCookies,
            "this route matches no TCP packets, so nothing asks for a SYN cookie".to_owned(),
            "leave `syn_cookies` out, or name protocol tcp".to_owned(),
        ));
    }
}

/// What no socket that a proxy has can take.
fn proxied(route: &Route, found: &mut Vec<Problem>) {
    let Action::Proxy { .. } = route.action else { return };
    let taken = |protocols: &Vec<u8>| protocols.iter().all(|protocol| [TCP, UDP].contains(protocol));
    if !route.matches.protocol.as_ref().is_some_and(taken) {
        found.push(Problem::error(
            Part::Action,
            "a proxy takes TCP and UDP, and this route matches other protocols too".to_owned(),
            "name them: `match: {protocol: [tcp, udp]}`, or one of them".to_owned(),
        ));
    }
}

/// What has no effect beside the action.
fn unused(route: &Route, found: &mut Vec<Problem>) {
    let action = match route.action {
        Action::Drop => "drop",
        Action::Tx => "tx",
        Action::Pass | Action::Redirect { .. } | Action::Pool { .. } | Action::Proxy { .. } => return,
    };
    let drops = route.action == Action::Drop;
    for (part, set) in
        [(Part::Limit, !route.limits.is_empty()), (Part::SynCookies, route.syn_cookies.is_some())]
    {
        if set && drops {
            found.push(Problem::error(
                part,
                format!("`{}` decides what passes, and action drop lets nothing pass", part.key()),
                "leave it out, or let the route pass what is within its limits".to_owned(),
            ));
        }
    }
    for (part, set) in [(Part::Mark, route.mark.is_some()), (Part::Priority, route.priority.is_some())] {
        if set {
            found.push(Problem::warning(
                part,
                format!("`{}` has no effect with action {action}", part.key()),
                "leave it out: the packet does not reach the stack".to_owned(),
            ));
        }
    }
    if route.dscp.is_some() && drops {
        found.push(Problem::warning(
            Part::Dscp,
            "`dscp` has no effect with action drop".to_owned(),
            "leave it out: the packet goes nowhere".to_owned(),
        ));
    }
}
