//! How a pool's targets are looked after.

use super::checks::{CHECK_HELP, ask_without_port, kind};
use super::keys::{Fields, Keys, fields};
use super::quantities::{
    answers, check_interval, check_timeout, eject_duration, failure_window, failures, part, part_or_none,
    slow_start, target_connections,
};
use super::values::{no_value, optional, or_usual, scalar};
use crate::policy::diagnostics::{Reporter, Span};
use crate::policy::units::duration_text;
use crate::policy::yaml::Node;
use crate::policy::{Check, Eject, Forward, Health, Passive, Target};
use std::collections::BTreeMap;
use std::time::Duration;

const HEALTH: Keys = Keys {
    what: "`health`",
    known: &[
        "check",
        "interval",
        "timeout",
        "rise",
        "fall",
        "passive",
        "eject",
        "panic",
        "slow_start",
        "trial",
        "connections",
    ],
    later: &[],
};
const PASSIVE: Keys = Keys { what: "`passive`", known: &["failures", "ratio", "window"], later: &[] };
const EJECT: Keys = Keys { what: "`eject`", known: &["base", "most", "at_most"], later: &[] };

/// Keys that look after targets by themselves; each of the others belongs to some of them.
const OF_THEMSELVES: [&str; 3] = ["check", "passive", "connections"];
/// Keys of a check.
const OF_CHECKS: [&str; 4] = ["interval", "timeout", "rise", "fall"];
/// Keys that say what follows where a check or clients' handshakes fail.
const OF_FAILURES: [&str; 4] = ["eject", "panic", "slow_start", "trial"];

/// The health of a pool's targets. `forward` and `targets` are the pool's, if they could be read.
pub(super) fn health(
    node: &Node,
    forward: Option<&Forward>,
    targets: Option<&BTreeMap<String, Target>>,
    reporter: &mut Reporter<'_>,
) -> Option<Health> {
    if node.is_null() {
        no_value("health", node.span, CHECK_HELP, reporter);
        return None;
    }
    let fields = fields(node, &HEALTH, reporter)?;
    refuse_idle(&fields, node.span, reporter);
    let check = check(&fields, forward, targets, reporter);
    let passive = match fields.get("passive") {
        Some(node) => passive(node, reporter).map(Some),
        None => Some(None),
    };
    let eject = fields.get("eject").map_or(Some(Eject::default()), |node| eject(node, reporter));
    let panic = or_usual(&fields, "panic", Health::PANIC, part_or_none, reporter);
    let slow_start = or_usual(&fields, "slow_start", Health::SLOW_START, slow_start, reporter);
    let trial = or_usual(&fields, "trial", Health::TRIAL, part, reporter);
    let connections = optional(&fields, "connections", target_connections, reporter);
    if let Some(forward) = forward.filter(|forward| forward.dnat().is_none())
        && fields.get("connections").is_some()
    {
        let message = format!("`{}` remembers no connection that could be counted", forward.name());
        let help = "leave `connections` out, or write `forward: dnat`";
        reporter.error(fields.key_span("connections"), message, help);
        return None;
    }
    Some(Health {
        check: check?,
        passive: passive?,
        eject: eject?,
        panic: panic?,
        slow_start: slow_start?,
        trial: trial?,
        connections: connections?,
    })
}

/// Reports the keys that do nothing without others that are not there.
fn refuse_idle(health: &Fields<'_>, span: Span, reporter: &mut Reporter<'_>) {
    let meant = |key: &str| health.get(key).is_some() || health.misspelt(key);
    if !OF_THEMSELVES.into_iter().any(meant) {
        let message = "`health` looks after nothing: it has no `check`, no `passive` and no `connections`";
        return reporter.error(span, message, CHECK_HELP);
    }
    let mut idle = |keys: [&str; 4], why: &str, add: &str| {
        for key in keys.into_iter().filter(|key| health.get(key).is_some()) {
            let help = format!("add {add}, or leave `{key}` out");
            reporter.error(health.key_span(key), format!("`{key}` {why}"), help);
        }
    };
    if !meant("check") {
        idle(OF_CHECKS, "is a check's, and there is none", "`check: tcp`");
        if !meant("passive") {
            let why = "says what follows where a target fails, and nothing looks whether one does";
            idle(OF_FAILURES, why, "`check: tcp` or `passive: {}`");
        }
    }
}

/// What this node asks, if anything.
fn check(
    health: &Fields<'_>,
    forward: Option<&Forward>,
    targets: Option<&BTreeMap<String, Target>>,
    reporter: &mut Reporter<'_>,
) -> Option<Option<Check>> {
    let interval = or_usual(health, "interval", Check::INTERVAL, check_interval, reporter);
    let timeout = timeout(health, interval, reporter);
    let rise = or_usual(health, "rise", Check::RISE, answers, reporter);
    let fall = or_usual(health, "fall", Check::FALL, answers, reporter);
    let Some(node) = health.get("check") else { return Some(None) };
    let kind = kind(node, reporter)?;
    if let (Some(forward), Some(targets)) = (forward, targets) {
        ask_without_port(&kind, node.span, forward, targets, reporter)?;
    }
    Some(Some(Check { kind, interval: interval?, timeout: timeout?, rise: rise?, fall: fall? }))
}

/// How long a check waits, which is over when the next one begins.
fn timeout(health: &Fields<'_>, interval: Option<Duration>, reporter: &mut Reporter<'_>) -> Option<Duration> {
    let Some(node) = health.get("timeout") else { return Some(Check::TIMEOUT.min(interval?)) };
    let timeout = scalar(node, "timeout", check_timeout, reporter)?;
    let interval = interval?;
    if timeout > interval {
        let (timeout, interval) = (duration_text(timeout), duration_text(interval));
        let message = format!("a timeout of {timeout} is longer than the interval, {interval}");
        reporter.error(node.span, message, format!("write at most {interval}, or a longer `interval`"));
        return None;
    }
    Some(timeout)
}

fn passive(node: &Node, reporter: &mut Reporter<'_>) -> Option<Passive> {
    if node.is_null() {
        no_value("passive", node.span, "write `passive: {}` for 10 failures, half of all, in 10s", reporter);
        return None;
    }
    let fields = fields(node, &PASSIVE, reporter)?;
    let usual = Passive::default();
    let failures = or_usual(&fields, "failures", usual.failures, failures, reporter);
    let ratio = or_usual(&fields, "ratio", usual.ratio, part, reporter);
    let window = or_usual(&fields, "window", usual.window, failure_window, reporter);
    Some(Passive { failures: failures?, ratio: ratio?, window: window? })
}

fn eject(node: &Node, reporter: &mut Reporter<'_>) -> Option<Eject> {
    let fields = fields(node, &EJECT, reporter)?;
    let usual = Eject::default();
    let base = or_usual(&fields, "base", usual.base, eject_duration, reporter);
    let most = or_usual(&fields, "most", usual.most, eject_duration, reporter);
    let at_most = or_usual(&fields, "at_most", usual.at_most, part, reporter);
    let eject = Eject { base: base?, most: most?, at_most: at_most? };
    if eject.base > eject.most {
        let (base, most) = (duration_text(eject.base), duration_text(eject.most));
        let node = fields.get("most").or(fields.get("base")).unwrap_or(node);
        let message = format!("the first time, {base}, is longer than the longest, {most}");
        reporter.error(node.span, message, format!("write `most: {base}` or more, or a shorter `base`"));
        return None;
    }
    Some(eject)
}
