//! Random policies that keep the model's rules.

use crate::policy::{Action, Default, Malformed, Match, Policy, PortRange, Route};
use gateway_common::reason::Reason;
use ipnet::IpNet;
use proptest::prelude::*;
use std::collections::BTreeSet;

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

fn ports() -> BoxedStrategy<Option<Vec<PortRange>>> {
    let bounds = prop::collection::btree_set(any::<u16>(), 2..10).prop_map(|bounds| {
        let bounds: Vec<u16> = bounds.into_iter().collect();
        let range = |pair: &[u16]| PortRange { first: pair[0], last: pair[1] };
        let mut ranges: Vec<PortRange> = bounds.chunks_exact(2).map(range).collect();
        ranges.dedup_by(|next, previous| u32::from(next.first) <= u32::from(previous.last) + 1);
        ranges
    });
    let single = any::<u16>().prop_map(|port| vec![PortRange { first: port, last: port }]);
    prop::option::of(prop_oneof![bounds, single]).boxed()
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Pass),
        Just(Action::Drop),
        Just(Action::Tx),
        interface().prop_map(|interface| Action::Redirect { interface }),
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
    fn any_match()(ipv6 in any::<bool>())(
        interface in list(interface().boxed()),
        from in list(prefix(ipv6)),
        to in list(prefix(ipv6)),
        protocol in list(any::<u8>().boxed()),
        transport in list(prop::sample::select(vec![6u8, 17, 132]).boxed()),
        port in ports(),
        source_port in ports(),
    ) -> Match {
        let protocol = if port.is_some() || source_port.is_some() { transport } else { protocol };
        Match { interface, from, to, protocol, port, source_port }
    }
}

prop_compose! {
    pub(super) fn any_route()(
        name in "[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}",
        matches in any_match(),
        mark in prop::option::of(1u32..),
        priority in prop::option::of(1u32..),
        action in action(),
    ) -> Route {
        Route { name, matches, mark, priority, action }
    }
}

prop_compose! {
    pub(super) fn any_policy()(
        routes in prop::collection::vec(any_route(), 0..8),
        drops in any::<bool>(),
        drop_bits in any::<u64>(),
    ) -> Policy {
        let mut names = BTreeSet::new();
        let routes = routes.into_iter().filter(|route| names.insert(route.name.clone())).collect();
        let default = if drops { Default::Drop } else { Default::Pass };
        let malformed = Malformed { drop_bits: drop_bits & Reason::all_malformed_bits() };
        Policy { routes, default, malformed }
    }
}
