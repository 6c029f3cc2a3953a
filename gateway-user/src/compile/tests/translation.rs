//! Pools that translate: their entries, a table for each family, and the addresses that packets come back
//! from.

use super::pools::Read;
use super::{Placed, compiled};
use crate::compile::Problem;
use crate::policy::{
    Action, Default, Dnat, Forward, Mss, OuterSource, Policy, Pool, PortRange, Route, Target, Timeouts,
    Translation,
};
use gateway_common::abi::{ACTIVE_POOLS, ACTIVE_TRACKS, Verdict};
use gateway_common::image::{
    Forward as Way, HeaderMore, Key, MORE_LINE, MSS_OF_WAY, ROUTE_EXTRA, TAG_TARGET_SOURCE, TargetEntry,
    lookup, u16_at,
};
use gateway_common::packet::address_of;
use std::time::Duration;

fn target(address: &str, port: Option<u16>, weight: u16) -> Target {
    Target { port, weight, ..Target::new(address.parse().unwrap()) }
}

fn pool(dnat: Dnat, targets: &[(&str, Target)]) -> Pool {
    let targets = targets.iter().map(|(name, target)| ((*name).to_owned(), target.clone()));
    Pool::new(Forward::Dnat(dnat), targets.collect())
}

fn with(pools: Vec<(&str, Pool)>, routed: &[&str]) -> Policy {
    let route = |name: &&str| Route::new(*name, Action::pool(*name));
    let pools = pools.into_iter().map(|(name, pool)| (name.to_owned(), pool)).collect();
    Policy { pools, ..Policy::new(routed.iter().map(route).collect(), Default::Pass) }
}

/// The names of a pool's targets of both families, one of them in a pool with weight 0.
fn both() -> Vec<(&'static str, Target)> {
    vec![
        ("a", target("2001:db8::11", Some(8_080), 1)),
        ("b", target("10.0.0.11", Some(8_080), 3)),
        ("c", target("10.0.0.11", Some(8_081), 1)),
        ("d", target("10.0.0.12", None, 0)),
    ]
}

#[test]
fn what_is_written_is_what_the_policy_says() {
    let addresses = OuterSource { ipv4: None, ipv6: Some("2001:db8::1".parse().unwrap()) };
    let dnat = Dnat {
        source: Some(Translation { addresses, ports: PortRange { first: 1_024, last: 2_047 } }),
        timeouts: Timeouts {
            established: Timeouts::MOST,
            half_open: Timeouts::LEAST,
            closing: Duration::from_nanos(1 << 31),
            ..Timeouts::default()
        },
        affinity: Some(Duration::from_secs(600)),
    };
    let web = Pool { mss: Some(Mss::Way), ..pool(dnat, &both()) };
    let other = Pool { mss: Some(Mss::AtMost(1_400)), ..pool(Dnat::default(), &both()) };
    let placed = Placed::of(&with(vec![("web", web), ("other", other)], &["web"]));

    let Read { entry, targets, table } = placed.pool(2);
    assert_eq!((entry.forward, entry.port, entry.mss), (Way::Dnat as u8, 0, MSS_OF_WAY));
    assert_eq!((entry.ports, entry.count), ([1_024, 2_047], 4));
    // In steps of 2^30 ns, rounded up: 18 h, 1 s, exactly two, 2 min, 30 s; 10 min.
    assert_eq!((entry.timeouts, entry.affinity), ([60_350, 1, 2, 112, 28], 559));
    // A table for each family, and none holds what is not of it or takes nothing.
    assert_eq!((entry.size, entry.size6), (65_537, 1));
    let share = table.iter().filter(|place| **place == 1).count();
    assert!(
        table.iter().all(|place| [1, 2].contains(place)) && (49_150..=49_155).contains(&share),
        "{share}"
    );
    assert_eq!(u16_at(&placed.arena[..], entry.table6, 0), Some(0));
    let expected = TargetEntry {
        address: address_of("10.0.0.11".parse().unwrap()),
        source: address_of("10.0.0.1".parse().unwrap()),
        slot: "web/c".len() as u32,
        family: 4,
        port: 8_081,
        ..TargetEntry::default()
    };
    assert_eq!((targets[2], targets[3].port), (expected, 0));
    assert_eq!(targets[0].source, addresses.ipv6.map(|address| address_of(address.into())).unwrap());

    let other = placed.pool(1);
    assert_eq!((other.entry.ports, other.entry.affinity, other.entry.mss), ([0; 2], 0, 1_400));
    assert!(other.targets.iter().all(|target| target.source == [0; 2]));
    // Names and sources make the keys, and nothing else does.
    assert_ne!((entry.affinity_key, other.entry.affinity_key), (0, 0));
    assert_ne!(entry.affinity_key, other.entry.affinity_key);
    let key = |dnat, targets: &[(&str, Target)]| {
        Placed::of(&with(vec![("web", pool(dnat, targets))], &[])).pool(1).entry.affinity_key
    };
    let affinity = Some(Duration::from_secs(1));
    assert_eq!(
        key(Dnat { affinity, timeouts: Timeouts::default(), ..dnat }, &both()[..2]),
        entry.affinity_key
    );
    assert_ne!(key(Dnat { source: None, ..dnat }, &both()), entry.affinity_key);
    assert_ne!(key(dnat, &both()[..1]), entry.affinity_key);
}

/// Where a target is this node, the source of what is translated for it stays; what is wrapped has one.
#[test]
fn a_target_that_is_this_node_sees_its_clients() {
    let translation =
        Translation { addresses: OuterSource::default(), ports: PortRange { first: 1, last: 2 } };
    let dnat = Dnat { source: Some(translation), ..Dnat::default() };
    let own = target("10.0.0.99", None, 1);
    let targets = [("a", target("10.0.0.11", None, 1)), ("b", own.clone())];
    let wrapping = Pool::new(
        Forward::Ipip { source: OuterSource::default() },
        [("b".to_owned(), own)].into_iter().collect(),
    );
    let placed = Placed::of(&with(vec![("direct", wrapping), ("web", pool(dnat, &targets))], &[]));
    let sources = |index| placed.pool(index).targets.iter().map(|target| target.source).collect::<Vec<_>>();
    let node = address_of("10.0.0.1".parse().unwrap());
    assert_eq!((sources(1), sources(2)), (vec![node], vec![node, [0; 2]]));
}

#[test]
fn packets_may_come_back_from_targets_that_routes_forward_to() {
    let l2 = Pool::new(Forward::L2, [("a".to_owned(), target("10.0.0.13", None, 1))].into());
    let spare = pool(Dnat::default(), &[("a", target("10.0.0.14", None, 1))]);
    let pools =
        || vec![("web", pool(Dnat::default(), &both())), ("near", l2.clone()), ("spare", spare.clone())];
    let flags = |policy: &Policy| {
        let flags = compiled(policy).unwrap().active_flags();
        (flags & ACTIVE_TRACKS != 0, flags & ACTIVE_POOLS != 0)
    };
    assert_eq!(flags(&with(pools(), &[])), (false, false));
    assert_eq!(flags(&with(pools(), &["near"])), (false, true));
    assert_eq!(flags(&with(pools(), &["near", "web"])), (true, true));

    let placed = Placed::of(&with(pools(), &["near", "web"]));
    let more: HeaderMore = placed.header(MORE_LINE);
    let found = |address: &str| {
        let [a, b] = address_of(address.parse().unwrap());
        lookup(&placed.arena[..], more.target_sources, &Key { a, b, c: 0, tag: TAG_TARGET_SOURCE })
    };
    for address in ["2001:db8::11", "10.0.0.11", "10.0.0.12"] {
        assert_eq!(found(address), Some(1), "{address}");
    }
    for address in ["10.0.0.13", "10.0.0.14", "10.0.0.10", "2001:db8::12"] {
        assert_eq!(found(address), None, "{address}");
    }
    let none: HeaderMore = Placed::of(&with(pools(), &["near"])).header(MORE_LINE);
    assert_eq!(none.target_sources.base, 0);
}

#[test]
fn a_source_is_asked_for_only_where_sources_are_translated() {
    let targets = || [("a", target("2001:db8::11", None, 1))];
    assert!(compiled(&with(vec![("web", pool(Dnat::default(), &targets()))], &[])).is_ok());
    let source = Some(Translation { addresses: OuterSource::default(), ports: Translation::PORTS });
    let dnat = Dnat { source, ..Dnat::default() };
    let lost = Problem::NoSource { target: "web/a".into(), address: "2001:db8::11".parse().unwrap() };
    let found = compiled(&with(vec![("web", pool(dnat, &targets()))], &[])).unwrap_err();
    assert_eq!(found.problems, [lost]);
}

#[test]
fn routes_share_the_parts_of_pools_that_they_ask_for() {
    let labelled = |version: &str, target: Target| Target {
        labels: [("version".to_owned(), version.to_owned())].into(),
        ..target
    };
    let targets: Vec<(&str, Target)> = both()
        .into_iter()
        .map(|(name, target)| (name, labelled(if name == "c" || name == "a" { "v2" } else { "v1" }, target)))
        .collect();
    let affinity = Some(Duration::from_secs(60));
    let web = pool(Dnat { affinity, ..Dnat::default() }, &targets);
    let later = Pool::new(Forward::L2, [("x".to_owned(), target("10.0.0.13", None, 1))].into());
    let mut policy = with(vec![("web", web), ("zzz", later)], &["web", "zzz"]);
    let narrowed = |version: &str| Action::Pool {
        pool: "web".into(),
        targets: [("version".to_owned(), version.to_owned())].into(),
    };
    for (name, version) in [("r1", "v2"), ("r2", "v1"), ("r3", "v2")] {
        policy.routes.push(Route::new(name, narrowed(version)));
    }
    let image = compiled(&policy).unwrap();
    assert_eq!((image.summary().pools, image.summary().targets), (2, 5));
    let placed = Placed::new(&image);
    // The whole of `web`, then its parts in order, then the next pool.
    let of_routes = [0, 1, 2, 3, 4].map(|route| placed.entry(route).pool);
    assert_eq!(of_routes, [1, 4, 3, 2, 3]);
    let whole = placed.pool(1);
    let (first, second) = (placed.pool(2), placed.pool(3));
    assert_eq!((first.entry.targets, second.entry.targets), (whole.entry.targets, whole.entry.targets));
    assert_eq!((&first.targets, &second.targets), (&whole.targets, &whole.targets));
    // v1 is b (of weight 3) and d (of 0), v2 is a and c; a family has none, or one.
    assert_eq!((first.table, first.entry.size6), (vec![1], 0));
    assert_eq!((second.table, second.entry.size6), (vec![2], 1));
    assert_eq!(u16_at(&placed.arena[..], second.entry.table6, 0), Some(0));
    assert_eq!(placed.pool(4).targets[0].address, address_of("10.0.0.13".parse().unwrap()));
    // A client's target of the whole pool may be none of a part's.
    let keys = [&whole.entry, &first.entry, &second.entry].map(|entry| entry.affinity_key);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
    assert_eq!(first.entry.affinity, whole.entry.affinity);
}

#[test]
fn a_proxy_is_a_port_beside_pass() {
    let proxied = Route::new("r0", Action::Proxy { port: 15_001 });
    let placed = Placed::of(&Policy::new(vec![proxied, Route::new("r1", Action::Pass)], Default::Pass));
    let entry = placed.entry(0);
    assert_eq!((entry.proxy_port, entry.verdict, entry.pool), (15_001, Verdict::Pass as u8, 0));
    assert_ne!(entry.flags & ROUTE_EXTRA, 0);
    assert_eq!((placed.entry(1).proxy_port, placed.entry(1).flags), (0, 0));
}
