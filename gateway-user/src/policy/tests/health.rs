//! Random health of pools that keeps the model's rules.

use crate::policy::{Check, CheckKind, Eject, Forward, Health, Passive, Target};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Whole milliseconds, round times among them.
fn time(least: Duration, most: Duration) -> BoxedStrategy<Duration> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).expect("short");
    let any = (millis(least)..=millis(most)).prop_map(Duration::from_millis);
    let round = prop::sample::select(vec![1u64, 2, 10, 60, 3_600]).prop_map(Duration::from_secs);
    prop_oneof![any, round.prop_map(move |time| time.clamp(least, most))].boxed()
}

fn host() -> BoxedStrategy<String> {
    // Names that tempt a writer to forget the quotes among them.
    let odd = prop::sample::select(vec!["no", "1e3", "0x10", "null", "10.0.0.1.example"]);
    prop_oneof!["[a-z0-9]{1,9}(\\.[a-z0-9]([a-z0-9_-]{0,4}[a-z])?){1,3}", odd.prop_map(str::to_owned)].boxed()
}

/// Ascending, none touching another.
fn statuses() -> BoxedStrategy<Vec<RangeInclusive<u16>>> {
    let ranges = |bounds: BTreeSet<u16>| {
        let bounds: Vec<u16> = bounds.into_iter().collect();
        let mut ranges: Vec<_> = bounds.chunks_exact(2).map(|pair| pair[0]..=pair[1]).collect();
        ranges.dedup_by(|next, previous| *next.start() <= *previous.end() + 1);
        ranges
    };
    let several = prop::collection::btree_set(100u16..=599, 2..8).prop_map(ranges);
    prop_oneof![Just(vec![CheckKind::STATUS]), several, (100u16..=599).prop_map(|one| vec![one..=one])]
        .boxed()
}

fn kind() -> BoxedStrategy<CheckKind> {
    let port = || prop::option::of(1u16..);
    let path = prop_oneof![Just(CheckKind::PATH.to_owned()), "/[!-\"$-~]{0,12}"];
    let field =
        prop_oneof![host(), host().prop_map(|host| format!("{host}:8080")), Just("[fd00::1]".to_owned())];
    let http = (port(), path, prop::option::of(field), statuses());
    prop_oneof![
        port().prop_map(|port| CheckKind::Tcp { port }),
        (port(), prop::option::of(host())).prop_map(|(port, name)| CheckKind::Tls { port, name }),
        http.prop_map(|(port, path, host, status)| CheckKind::Http { port, path, host, status }),
        Just(CheckKind::Icmp),
    ]
    .boxed()
}

prop_compose! {
    fn check()(
        kind in kind(),
        interval in time(Check::INTERVAL_LEAST, Check::INTERVAL_MOST),
        timeout in time(Check::TIMEOUT_LEAST, Check::INTERVAL_MOST),
        (rise, fall) in (1u8..=100, 1u8..=100),
    ) -> Check {
        Check { kind, interval, timeout: timeout.min(interval), rise, fall }
    }
}

prop_compose! {
    fn passive()(
        failures in prop_oneof![Just(Passive::default().failures), 1..=Passive::FAILURES_MOST],
        ratio in 1u8..=100,
        window in time(Passive::WINDOW_LEAST, Passive::WINDOW_MOST),
    ) -> Passive {
        Passive { failures, ratio, window }
    }
}

prop_compose! {
    fn eject()(
        one in time(Eject::LEAST, Eject::MOST),
        other in time(Eject::LEAST, Eject::MOST),
        at_most in 1u8..=100,
    ) -> Eject {
        Eject { base: one.min(other), most: one.max(other), at_most }
    }
}

prop_compose! {
    fn followed()(
        check in prop::option::of(check()),
        passive in prop::option::of(prop_oneof![Just(Passive::default()), passive()]),
        eject in prop_oneof![Just(Eject::default()), eject()],
        panic in prop_oneof![Just(Health::PANIC), 0u8..=100],
        slow_start in prop_oneof![Just(Duration::ZERO), time(Duration::ZERO, Health::SLOW_START_MOST)],
        trial in prop_oneof![Just(Health::TRIAL), 1u8..=100],
    ) -> Health {
        if check.is_none() && passive.is_none() {
            return Health::new();
        }
        Health { check, passive, eject, panic, slow_start, trial, connections: None }
    }
}

pub(super) fn any_health() -> BoxedStrategy<Option<Health>> {
    let health = (followed(), prop::option::of(1u32..));
    prop::option::of(health.prop_map(|(health, connections)| Health { connections, ..health })).boxed()
}

/// The same for a pool of these targets: what it cannot have goes.
pub(super) fn of_pool(
    health: Option<Health>,
    forward: &Forward,
    targets: &BTreeMap<String, Target>,
) -> Option<Health> {
    let mut health = health?;
    if forward.dnat().is_none() {
        health.connections = None;
    }
    let ports = targets.values().all(|target| target.port.is_some());
    if let Some(Check {
        kind: CheckKind::Tcp { port } | CheckKind::Tls { port, .. } | CheckKind::Http { port, .. },
        ..
    }) = &mut health.check
        && !ports
    {
        *port = port.or(Some(8_080));
    }
    let looked_after = health.check.is_some() || health.passive.is_some() || health.connections.is_some();
    looked_after.then_some(health)
}
