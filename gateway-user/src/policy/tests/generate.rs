//! Random policies that keep the model's rules.

use super::health::{any_health, of_pool};
use super::limits::{any_limit, any_limits, any_syn_cookies};
use crate::policy::sense::problems;
use crate::policy::{
    Action, Component, Default, Dnat, Forward, Fragment, Label, LabelFile, LabelTest, Malformed, Match, Mss,
    OuterSource, Policy, Pool, Range, Route, Severity, Target, TargetLabels, TcpFlags, Timeouts, Translation,
};
use gateway_common::image::HashOver;
use gateway_common::packet::protocol::{TCP, UDP};
use gateway_common::reason::Reason;
use ipnet::IpNet;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// Labels of every generated policy, and names that tempt a writer to forget the quotes among them.
const LABELS: [&str; 5] = ["blocked", "null", "staging", "trusted-1.x_y", "yes"];
/// Pools of every generated policy.
const POOLS: [&str; 3] = ["null", "v1.x_y", "web"];
/// Named limits of every generated policy.
pub(super) const LIMITS: [&str; 3] = ["null", "tenant-a", "tenant-b"];

fn prefix(ipv6: bool) -> BoxedStrategy<IpNet> {
    if ipv6 {
        let parts = (any::<[u8; 16]>(), 0u8..=128);
        parts.prop_map(|(bytes, length)| IpNet::new(bytes.into(), length).expect("in range").trunc()).boxed()
    } else {
        let parts = (any::<[u8; 4]>(), 0u8..=32);
        parts.prop_map(|(bytes, length)| IpNet::new(bytes.into(), length).expect("in range").trunc()).boxed()
    }
}

fn list<T: Ord + std::fmt::Debug + 'static>(value: BoxedStrategy<T>) -> BoxedStrategy<Option<Vec<T>>> {
    let list =
        prop::collection::btree_set(value, 1..12).prop_map(|set: BTreeSet<T>| set.into_iter().collect());
    prop::option::of(list).boxed()
}

/// Disjoint ranges within bounds, ascending, never touching.
fn ranges<T>(min: T, max: T) -> BoxedStrategy<Option<Vec<Range<T>>>>
where
    T: Copy + Ord + Into<u32> + TryFrom<u32> + std::fmt::Debug + 'static,
    T::Error: std::fmt::Debug,
{
    let number = move || min.into()..=max.into();
    let narrow = |number: u32| T::try_from(number).expect("within bounds");
    let several = prop::collection::btree_set(number(), 2..10).prop_map(move |bounds| {
        let bounds: Vec<u32> = bounds.into_iter().collect();
        let range = |pair: &[u32]| Range { first: narrow(pair[0]), last: narrow(pair[1]) };
        let mut ranges: Vec<Range<T>> = bounds.chunks_exact(2).map(range).collect();
        ranges.dedup_by(|next, previous| next.first.into() <= previous.last.into() + 1);
        ranges
    });
    let single = number().prop_map(move |one| vec![Range { first: narrow(one), last: narrow(one) }]);
    seldom(prop_oneof![several, single].boxed())
}

/// Most routes name few components.
fn seldom<T: std::fmt::Debug + Clone + 'static>(value: BoxedStrategy<T>) -> BoxedStrategy<Option<T>> {
    prop_oneof![3 => Just(None), 1 => value.prop_map(Some)].boxed()
}

fn labels() -> BoxedStrategy<Option<LabelTest>> {
    let test = (prop::sample::subsequence(LABELS.to_vec(), 1..=5), any::<bool>()).prop_map(|(names, all)| {
        let all = all && names.len() > 1;
        LabelTest { names: names.into_iter().map(str::to_owned).collect(), all }
    });
    seldom(test.boxed())
}

fn tcp_flags() -> BoxedStrategy<Option<Vec<TcpFlags>>> {
    let flags = (any::<u8>(), 1u8..).prop_map(|(set, mask)| TcpFlags { set: set & mask, mask });
    seldom(prop::collection::btree_set(flags, 1..4).prop_map(|set| set.into_iter().collect()).boxed())
}

fn fragments() -> BoxedStrategy<Option<Vec<Fragment>>> {
    let all = vec![Fragment::Dont, Fragment::First, Fragment::Later, Fragment::Last];
    seldom(prop::sample::subsequence(all, 1..=4).boxed())
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Pass),
        Just(Action::Drop),
        Just(Action::Tx),
        (1u16..).prop_map(|port| Action::Proxy { port }),
        interface().prop_map(|interface| Action::Redirect { interface }),
        prop::sample::select(POOLS.to_vec()).prop_map(Action::pool),
    ]
}

/// Names that tempt a writer to forget the quotes among them.
fn interface() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}[0-9]{0,3}",
        "[!-9;-~]{1,15}".prop_map(|name| name.replace('/', "+")),
        prop::sample::select(vec!["null", "1e3", "0x10", "no", "~", "é\u{2066}", "\"\\", "#a", "- b"])
            .prop_map(|name| name.replace(' ', "_")),
    ]
    .prop_filter("not a folder", |name| name != "." && name != "..")
}

prop_compose! {
    fn addressed()(ipv6 in any::<bool>())(
        interface in list(interface().boxed()),
        from in list(prefix(ipv6)),
        labels in labels(),
        to in list(prefix(ipv6)),
        protocol in list(any::<u8>().boxed()),
    ) -> Match {
        // All of some labels, and prefixes, cannot be asked for at once.
        let from = from.filter(|_| !labels.as_ref().is_some_and(|test| test.all));
        Match { interface, from, labels, to, protocol, ..Match::default() }
    }
}

prop_compose! {
    fn components()(
        addressed in addressed(),
        (port, source_port) in (ranges(0u16, 65_535), ranges(0u16, 65_535)),
        (icmp_type, icmp_code) in (ranges(0u8, 255), ranges(0u8, 255)),
        tcp_flags in tcp_flags(),
        length in ranges(0u16, 65_535),
        dscp in ranges(0u8, 63),
        fragment in fragments(),
        flow_label in ranges(0u32, 0xf_ffff),
        vlan in ranges(0u16, 4_094),
        ttl in ranges(0u8, 255),
    ) -> Match {
        Match {
            port, source_port, icmp_type, icmp_code, tcp_flags, length, dscp, fragment, flow_label, vlan, ttl,
            ..addressed
        }
    }
}

fn is_sound(route: &Route) -> bool {
    problems(route).iter().all(|problem| problem.severity != Severity::Error)
}

prop_compose! {
    pub(super) fn any_route()(
        name in "[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}",
        matches in components(),
        not in seldom(components().prop_filter("names something", |not| *not != Match::default()).boxed()),
        mark in prop::option::of(1u32..),
        priority in prop::option::of(1u32..),
        dscp in prop::option::of(0u8..64),
        limits in any_limits(),
        syn_cookies in any_syn_cookies(),
        action in action(),
    ) -> Route {
        let not = not.map(Box::new);
        let mut route =
            Route { matches: Match { not, ..matches }, mark, priority, dscp, ..Route::new(name, action) };
        if matches!(route.action, Action::Proxy { .. }) {
            route.matches.protocol = Some(vec![TCP, UDP]);
        }
        // What contradicts the rest goes.
        for part in Component::ALL.into_iter().rev() {
            if !is_sound(&route) {
                part.copy(&Match::default(), &mut route.matches);
            }
        }
        if !is_sound(&route) {
            route.action = Action::Pass;
        }
        if route.action != Action::Drop {
            route.limits = limits;
            route.syn_cookies = syn_cookies;
        }
        if !is_sound(&route) {
            route.syn_cookies = None;
        }
        route
    }
}

/// Prefixes in the document, or in a file of the label's name.
fn label() -> impl Strategy<Value = (Vec<IpNet>, bool)> {
    let prefixes = prop::collection::btree_set(any::<bool>().prop_flat_map(prefix), 0..12);
    (prefixes.prop_map(|set| set.into_iter().collect()), any::<bool>())
}

/// What a generated label's file holds.
pub(super) fn file_text(prefixes: &[IpNet]) -> String {
    prefixes.iter().map(|prefix| format!("{prefix}\n")).collect()
}

fn label_of(name: &str, prefixes: Vec<IpNet>, in_file: bool) -> Label {
    let bytes: [u8; 32] = Sha256::digest(file_text(&prefixes)).into();
    let word = |at: usize| u64::from_be_bytes(bytes[8 * at..8 * at + 8].try_into().expect("8 bytes"));
    let file = in_file.then(|| LabelFile { path: format!("{name}.txt"), digest: std::array::from_fn(word) });
    Label { prefixes: Arc::new(prefixes), file }
}

fn address(ipv6: bool, tail: u16) -> IpAddr {
    if ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 7, tail).into()
    } else {
        Ipv4Addr::from(0x0a00_0000 + u32::from(tail)).into()
    }
}

fn source() -> impl Strategy<Value = OuterSource> {
    (prop::option::of(1u16..), prop::option::of(1u16..)).prop_map(|(v4, v6)| OuterSource {
        ipv4: v4.map(|tail| Ipv4Addr::from(0x0a01_0000 + u32::from(tail))),
        ipv6: v6.map(|tail| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, tail)),
    })
}

fn connection_time() -> impl Strategy<Value = Duration> {
    (Timeouts::LEAST.as_millis() as u64..=Timeouts::MOST.as_millis() as u64).prop_map(Duration::from_millis)
}

prop_compose! {
    fn dnat()(
        addresses in prop::option::of(source()),
        (first, last) in (1u16.., 1u16..),
        times in prop::array::uniform5(prop::option::of(connection_time())),
        affinity in prop::option::of(connection_time()),
    ) -> Dnat {
        let ports = Range { first: first.min(last), last: first.max(last) };
        let [established, half_open, closing, udp, unanswered] = times;
        let usual = Timeouts::default();
        Dnat {
            source: addresses.map(|addresses| Translation { addresses, ports }),
            timeouts: Timeouts {
                established: established.unwrap_or(usual.established),
                half_open: half_open.unwrap_or(usual.half_open),
                closing: closing.unwrap_or(usual.closing),
                udp: udp.unwrap_or(usual.udp),
                unanswered: unanswered.unwrap_or(usual.unanswered),
            },
            affinity,
        }
    }
}

fn forward() -> BoxedStrategy<Forward> {
    prop_oneof![
        source().prop_map(|source| Forward::Ipip { source }),
        (source(), 1u16..).prop_map(|(source, port)| Forward::Gue { port, source }),
        Just(Forward::L2),
        dnat().prop_map(Forward::Dnat),
    ]
    .boxed()
}

fn mss() -> impl Strategy<Value = Option<Mss>> {
    prop_oneof![Just(None), Just(Some(Mss::Way)), (Mss::LEAST..).prop_map(|bytes| Some(Mss::AtMost(bytes)))]
}

/// Of IPv6 or not, port, weight, labels.
type AnyTarget = (bool, Option<u16>, u16, TargetLabels);

/// Names and values that tempt a writer to forget the quotes among them.
fn target_labels() -> impl Strategy<Value = TargetLabels> {
    let value = prop_oneof!["[A-Za-z0-9_.-]{1,6}", Just("1e3".to_owned()), Just("no".to_owned())];
    prop::collection::btree_map(
        prop_oneof!["[A-Za-z][A-Za-z0-9_.-]{0,5}", Just("yes".to_owned())],
        value,
        0..3,
    )
}

/// Routes ask for labels that a target has: those of the first.
fn narrowed(route: &mut Route, pools: &BTreeMap<String, Pool>) {
    if let Action::Pool { pool, targets } = &mut route.action
        && route.mark.is_none()
    {
        *targets = pools[pool].targets.values().next().map(|first| first.labels.clone()).unwrap_or_default();
    }
}

fn pool() -> BoxedStrategy<Pool> {
    let hash = prop::sample::select(vec![HashOver::FiveTuple, HashOver::Source, HashOver::SourceDestination]);
    let target = (any::<bool>(), prop::option::of(1u16..), any::<u16>(), target_labels());
    let targets = prop::collection::btree_map("[A-Za-z][A-Za-z0-9_.-]{0,8}", target, 1..8);
    let parts = (forward(), hash, mss(), any_health(), targets);
    let pool = parts.prop_map(|(forward, hash, mss, health, targets)| {
        // Each has an address of its own.
        let target = |(tail, (name, (ipv6, port, weight, labels))): (u16, (String, AnyTarget))| {
            let port = port.filter(|_| forward.dnat().is_some());
            (name, Target { port, weight, labels, ..Target::new(address(ipv6, tail)) })
        };
        let targets = (1..).zip(targets).map(target).collect();
        let health = of_pool(health, &forward, &targets);
        Pool { hash, mss, health, ..Pool::new(forward, targets) }
    });
    // Boxed: as one value all of it is more than a test's stack takes.
    pool.boxed()
}

prop_compose! {
    pub(super) fn any_policy()(
        labels in prop::array::uniform5(label()),
        limits in prop::array::uniform3(any_limit()),
        pools in prop::array::uniform3(pool()),
        routes in prop::collection::vec(any_route(), 0..8),
        drops in any::<bool>(),
        drop_bits in any::<u64>(),
        verify_checksums in any::<bool>(),
    ) -> Policy {
        let mut names = BTreeSet::new();
        let mut routes: Vec<Route> =
            routes.into_iter().filter(|route| names.insert(route.name.clone())).collect();
        let default = if drops { Default::Drop } else { Default::Pass };
        let malformed = Malformed { drop_bits: drop_bits & Reason::all_malformed_bits() };
        let label = |(name, (prefixes, in_file)): (&str, (Vec<IpNet>, bool))| {
            (name.to_owned(), label_of(name, prefixes, in_file))
        };
        let labels: BTreeMap<String, Label> = LABELS.into_iter().zip(labels).map(label).collect();
        let limits = LIMITS.into_iter().map(str::to_owned).zip(limits).collect();
        let pools: BTreeMap<String, Pool> = POOLS.into_iter().map(str::to_owned).zip(pools).collect();
        routes.iter_mut().for_each(|route| narrowed(route, &pools));
        Policy { malformed, labels, limits, pools, verify_checksums, ..Policy::new(routes, default) }
    }
}
