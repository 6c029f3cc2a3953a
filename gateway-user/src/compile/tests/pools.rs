//! Pools: the entries are what the policy says, and the tables what Maglev promises.

use super::{BASE, Placed, TestNames, compiled};
use crate::compile::maglev::{self, table_size};
use crate::compile::{
    Image, LabelTable, Names, PoolTables, Problem, Section, Surroundings, compile, target_names,
};
use crate::policy::{Action, Default, Forward, OuterSource, Policy, Pool, Route, Target};
use gateway_common::abi::{ACTIVE_POOLS, Verdict};
use gateway_common::hash::{finish, fold};
use gateway_common::image::{
    ATTRIBUTES_LINE, Arena, HashOver, HeaderAttributes, HeaderHot, HeaderMore, MORE_LINE, PoolEntry,
    ROUTE_EXTRA, TargetEntry, lookup, u16_at,
};
use gateway_common::image::{Forward as Way, MAX_TARGETS};
use gateway_common::packet::address_of;
use gateway_common::path;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

fn pool(forward: Forward, targets: &[(&str, &str, u16)]) -> Pool {
    let target = |&(name, address, weight): &(&str, &str, u16)| {
        (name.to_owned(), Target { weight, ..Target::new(address.parse().unwrap()) })
    };
    Pool::new(forward, targets.iter().map(target).collect())
}

fn ipip() -> Forward {
    Forward::Ipip { source: OuterSource::default() }
}

/// A policy with these pools, and a route to each.
fn policy(pools: Vec<(&str, Pool)>) -> Policy {
    let route = |(i, (name, _)): (usize, &(&str, Pool))| Route::new(format!("r{i}"), Action::pool(*name));
    let routes = pools.iter().enumerate().map(route).collect();
    let pools = pools.into_iter().map(|(name, pool)| (name.to_owned(), pool)).collect();
    Policy { pools, ..Policy::new(routes, Default::Pass) }
}

/// A pool as the kernel finds it.
pub(super) struct Read {
    pub(super) entry: PoolEntry,
    pub(super) targets: Vec<TargetEntry>,
    /// The first of its tables.
    pub(super) table: Vec<u16>,
}

impl Placed {
    pub(super) fn pool(&self, index: u16) -> Read {
        let hot: HeaderHot = self.header(0);
        assert_ne!(hot.pools, 0);
        let line = |line: u32| *self.arena[..].line(line).unwrap();
        let entry: PoolEntry = bytemuck::cast(line(hot.pools + u32::from(index)));
        let targets = (0..u32::from(entry.count)).map(|i| bytemuck::cast(line(entry.targets + i)));
        let table = (0..entry.size).map(|i| u16_at(&self.arena[..], entry.table, i).unwrap());
        Read { entry, targets: targets.collect(), table: table.collect() }
    }
}

#[test]
fn what_is_written_is_what_the_policy_says() {
    let source = OuterSource { ipv4: None, ipv6: Some("2001:db8::1".parse().unwrap()) };
    let targets: &[_] = &[("v1", "10.0.0.11", 95), ("v2", "2001:db8::12", 5)];
    let gue =
        Pool { hash: HashOver::SourceDestination, ..pool(Forward::Gue { port: 6_081, source }, targets) };
    let idle = pool(ipip(), &[("x", "10.0.0.1", 0), ("y", "10.0.0.2", 0)]);
    let one = pool(Forward::L2, &[("a", "2001:db8::1", 0), ("bb", "10.0.0.9", 1)]);
    let placed = Placed::of(&policy(vec![("web", gue), ("idle", idle), ("one", one)]));

    // In the order of their names.
    let idle = placed.pool(1);
    assert_eq!((idle.entry.size, idle.entry.table, idle.entry.count), (0, 0, 2));
    assert_eq!(idle.targets[1].address, address_of("10.0.0.2".parse().unwrap()));
    let one = placed.pool(2);
    assert_eq!((one.entry.forward, one.table), (Way::L2 as u8, vec![1]));
    let expected = TargetEntry {
        address: address_of("2001:db8::1".parse().unwrap()),
        slot: "one/a".len() as u32,
        family: 6,
        ..TargetEntry::default()
    };
    assert_eq!(one.targets[0], expected);
    assert_eq!((one.targets[1].source, one.targets[1].family, one.targets[1].slot), ([0; 2], 4, 6));
    let web = placed.pool(3);
    let PoolEntry { forward, hash, port, count, size, .. } = web.entry;
    assert_eq!((forward, hash, port), (Way::Gue as u8, HashOver::SourceDestination as u8, 6_081));
    assert_eq!((count, size), (2, 65_537));
    assert!(web.table.iter().all(|place| *place < 2));
    // The node's own source where the pool names none of the family.
    assert_eq!(web.targets[0].source, address_of("10.0.0.1".parse().unwrap()));
    assert_eq!(web.targets[1].source, address_of("2001:db8::1".parse().unwrap()));

    for (route, index) in [(0, 3), (1, 1), (2, 2)] {
        let entry = placed.entry(route);
        assert_eq!((entry.pool, entry.verdict, entry.egress_slot), (index, Verdict::Redirect as u8, 0));
        assert_ne!(entry.flags & ROUTE_EXTRA, 0);
    }
    assert_eq!((placed.entry(3).pool, placed.entry(3).flags), (0, 0));
}

#[test]
fn targets_of_wrapped_packets_are_found_by_address_and_source() {
    let source = OuterSource { ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)), ipv6: None };
    let wrapped = |address: &str| pool(Forward::Ipip { source }, &[("a", address, 1)]);
    let direct = pool(Forward::L2, &[("a", "10.0.0.3", 1)]);
    let pools = vec![("one", wrapped("10.0.0.1")), ("same", wrapped("10.0.0.1")), ("direct", direct)];
    let placed = Placed::of(&policy(pools));
    let header: HeaderAttributes = placed.header(ATTRIBUTES_LINE);
    let slot = |target: &str, source: &str| {
        let [target, source] = [target, source].map(|address| address_of(address.parse().unwrap()));
        lookup(&placed.arena[..], header.wrapped_targets, &path::key(target, source))
    };
    let slots = ["one/a", "same/a"].map(|name| TestNames.target_slot(name));
    assert_eq!(slot("10.0.0.1", "192.0.2.1"), slots.into_iter().min());
    assert_eq!(slot("10.0.0.1", "192.0.2.2"), None);
    assert_eq!(slot("10.0.0.3", "192.0.2.1"), None, "nothing is put around its packets");
    let image = compiled(&policy(vec![("one", wrapped("10.0.0.1"))])).unwrap();
    assert_eq!(image.active_flags() & ACTIVE_POOLS, ACTIVE_POOLS);
}

#[test]
fn a_policy_without_pools_has_none() {
    let placed = Placed::of(&policy(Vec::new()));
    let (hot, more): (HeaderHot, HeaderMore) = (placed.header(0), placed.header(MORE_LINE));
    assert_eq!((hot.pools, more.pool_count), (0, 0));
    assert!(placed.arena.len() > BASE as usize);
}

#[test]
fn everything_that_is_wrong_is_told() {
    let mut policy =
        policy(vec![("web", pool(ipip(), &[("v1", "2001:db8::1", 1), ("v2", "2001:db8::2", 1)]))]);
    policy.routes.push(Route::new("r1", Action::pool("wbe")));
    let lost = |name: &str, address: &str| Problem::NoSource {
        target: format!("web/{name}"),
        address: address.parse().unwrap(),
    };
    let unknown = Problem::UnknownPool { route: "r1".into(), pool: "wbe".into() };
    let found = compiled(&policy).unwrap_err().problems;
    assert_eq!(found, [lost("v1", "2001:db8::1"), lost("v2", "2001:db8::2"), unknown]);
    assert_eq!(
        found[0].to_string(),
        "packets for target `web/v1` have no source of this node's, since its routing knows no way to \
         2001:db8::1: add that route, or name a `source` of its family in the pool"
    );

    let names: Vec<String> = (0..MAX_TARGETS).map(|i| format!("t{i}")).collect();
    let address = |i: usize| IpAddr::from([10, 0, (i >> 8) as u8, i as u8]);
    let target = |(i, name): (usize, String)| (name, Target { weight: 0, ..Target::new(address(i)) });
    policy.routes.clear();
    policy.pools.get_mut("web").unwrap().targets = names.into_iter().enumerate().map(target).collect();
    let found = compiled(&policy).unwrap_err().problems;
    assert_eq!(found, [Problem::TooManyTargets { count: MAX_TARGETS, limit: MAX_TARGETS - 1 }]);
}

#[test]
fn tables_of_pools_that_stay_are_shared() {
    let two = || pool(ipip(), &[("v1", "10.0.0.11", 1), ("v2", "10.0.0.12", 1)]);
    let three = || pool(ipip(), &[("v1", "10.0.0.11", 1), ("v2", "10.0.0.12", 1), ("v3", "10.0.0.13", 0)]);
    let with = |policy: &Policy, pools: &PoolTables| -> Image {
        let labels = LabelTable::build(&policy.labels).unwrap();
        let surroundings = Surroundings {
            names: &TestNames,
            labels: &labels,
            live_sets: &[],
            pools,
            ns_per_jiffy: 4_000_000,
        };
        compile(policy, &surroundings).unwrap()
    };
    let tables = |image: &Image| Arc::clone(&image.sections[Section::MaglevTables as usize]);
    let first = with(&policy(vec![("a", two()), ("b", three())]), &PoolTables::default());
    // Other addresses and routes: the very same lines.
    let mut moved = policy(vec![("a", two()), ("b", three())]);
    moved.pools.get_mut("a").unwrap().targets.get_mut("v1").unwrap().address = IpAddr::from([10, 9, 9, 9]);
    moved.routes.pop();
    assert!(Arc::ptr_eq(&tables(&first), &tables(&with(&moved, first.pool_tables()))));
    // With a pool in front of them, and with one that is another: what it would be built anew.
    for changed in [
        policy(vec![("0", three()), ("a", two()), ("b", three())]),
        policy(vec![("a", three()), ("b", three())]),
        policy(vec![("b", two())]),
    ] {
        let anew = with(&changed, &PoolTables::default());
        assert_eq!(with(&changed, first.pool_tables()), anew);
        let targets = changed.pools.values().map(|pool| pool.targets.len());
        assert_eq!(target_names(&changed).len(), targets.sum::<usize>());
    }
}

/// A pool of any kind; every family has a source.
fn any_pool() -> impl Strategy<Value = Pool> {
    let source = OuterSource { ipv4: "10.0.0.1".parse().ok(), ipv6: "2001:db8::1".parse().ok() };
    let forward = prop_oneof![
        Just(Forward::Ipip { source }),
        (1..u16::MAX).prop_map(move |port| Forward::Gue { port, source }),
        Just(Forward::L2),
    ];
    let hash = prop::sample::select(vec![HashOver::FiveTuple, HashOver::Source, HashOver::SourceDestination]);
    let weight = prop_oneof![Just(0_u16), Just(1), any::<u16>()];
    let targets = prop::collection::btree_map("[a-z]{1,8}", (any::<u32>(), any::<bool>(), weight), 1..5);
    (forward, hash, targets).prop_map(|(forward, hash, targets)| {
        let target = |(name, (host, is_v4, weight)): (String, (u32, bool, u16))| {
            let v6 = Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(host));
            let address = if is_v4 { Ipv4Addr::from(host).into() } else { v6.into() };
            (name, Target { weight, ..Target::new(address) })
        };
        Pool { hash, ..Pool::new(forward, targets.into_iter().map(target).collect()) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_pools_are_found_as_they_were_written(pools in prop::collection::vec(any_pool(), 1..4)) {
        let names = ["a", "b", "c", "d"];
        let placed = Placed::of(&policy(names.into_iter().zip(pools.clone()).collect()));
        for ((index, name), pool) in (1..).zip(names).zip(&pools) {
            let Read { entry, targets, table } = placed.pool(index);
            let (way, port, source) = match pool.forward {
                Forward::Ipip { source } => (Way::Ipip, 0, Some(source)),
                Forward::Gue { port, source } => (Way::Gue, port, Some(source)),
                Forward::L2 => (Way::L2, 0, None),
                Forward::Dnat(_) => unreachable!("none is made"),
            };
            prop_assert_eq!((entry.forward, entry.hash, entry.port), (way as u8, pool.hash as u8, port));
            let expected: Vec<TargetEntry> = pool.targets.iter().map(|(target, of)| TargetEntry {
                address: address_of(of.address),
                source: source.and_then(|source| source.towards(of.address)).map_or([0; 2], address_of),
                slot: format!("{name}/{target}").len() as u32,
                family: if of.address.is_ipv4() { 4 } else { 6 },
                ..TargetEntry::default()
            }).collect();
            prop_assert_eq!(targets, expected);
            let weights: Vec<u16> = pool.targets.values().map(|target| target.weight).collect();
            let taking = weights.iter().filter(|weight| **weight > 0).count();
            prop_assert_eq!(table.len(), match taking { 0 => 0, 1 => 1, _ => 65_537 });
            prop_assert!(table.iter().all(|place| weights[usize::from(*place)] > 0));
        }
    }
}

/// Targets `v0`, `v1`, … with these weights.
fn weighted(weights: &[u16]) -> BTreeMap<String, u16> {
    weights.iter().enumerate().map(|(i, weight)| (format!("v{i}"), *weight)).collect()
}

/// For each element the name of its target.
fn table(weights: &BTreeMap<String, u16>) -> Vec<String> {
    let address = |i: usize| IpAddr::from([10, 0, (i >> 8) as u8, i as u8]);
    let target = |(i, (name, weight)): (usize, (&String, &u16))| {
        (name.clone(), Target { weight: *weight, ..Target::new(address(i)) })
    };
    let targets = weights.iter().enumerate().map(target).collect();
    let pool = Pool { hash: HashOver::Source, ..Pool::new(Forward::L2, targets) };
    let names: Vec<&String> = weights.keys().collect();
    let read = Placed::of(&policy(vec![("web", pool)])).pool(1);
    read.table.iter().map(|place| names[usize::from(*place)].clone()).collect()
}

/// The share of elements that went elsewhere.
fn moved(before: &[String], after: &[String]) -> f64 {
    let moved = before.iter().zip(after).filter(|(before, after)| before != after).count();
    moved as f64 / before.len() as f64
}

fn share(weights: &BTreeMap<String, u16>, name: &str) -> f64 {
    let sum: f64 = weights.values().map(|weight| f64::from(*weight)).sum();
    weights.get(name).map_or(0.0, |weight| f64::from(*weight) / sum)
}

#[test]
fn each_target_has_its_weight_of_the_table() {
    for weights in [
        &[1_u16, 1][..],
        &[95, 5],
        &[999, 1],
        &[1, 65_535],
        &[100, 0, 50, 7, 3, 100, 100],
        &[1; 16],
        &[65_535, 1, 1, 300, 9_999, 12_345],
        &[3; 40],
        &[[65_535; 17], [1; 17]].concat(),
    ] {
        let weights = weighted(weights);
        let table = table(&weights);
        for name in weights.keys() {
            let count = table.iter().filter(|target| *target == name).count() as f64;
            let share = share(&weights, name);
            let due = share * table.len() as f64;
            // Within an element, however small the weight; of many targets within what a die does with a million flows.
            let die = (share * (1.0 - share) / 1e6).sqrt() * table.len() as f64;
            let allowed = if weights.len() > 16 { die + 1.0 } else { 1.0 };
            assert!((count - due).abs() <= allowed, "{name}: {count} elements, {due} are due");
            assert!(count > 0.0 || due < 1.0, "{name} has none of {due} elements");
        }
    }
}

/// A million flows, as the kernel spreads them: the high bits of a hash over the table.
#[test]
fn a_million_flows_are_spread_by_weight() {
    const FLOWS: u64 = 1_000_000;
    for weights in [&[95_u16, 5][..], &[1; 2], &[1; 10], &[50, 30, 15, 5], &[100, 100, 100, 1]] {
        let weights = weighted(weights);
        let table = table(&weights);
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for flow in 0..FLOWS {
            let hash = finish(fold(fold(0x5eed, flow), 0x0a00_0001_0050));
            let element = ((hash >> 32) * table.len() as u64) >> 32;
            *counts.entry(&table[element as usize]).or_default() += 1;
        }
        for name in weights.keys() {
            let count = counts.get(name.as_str()).copied().unwrap_or(0) as f64;
            let due = share(&weights, name) * FLOWS as f64;
            // Within 1 %, and where that is less than chance alone allows, four standard deviations.
            let allowed = (0.01 * due).max(4.0 * due.sqrt());
            assert!((count - due).abs() <= allowed, "{name}: {count} flows, {due} are due");
        }
    }
}

/// What moves when a target goes, comes or changes its weight, as a multiple of what has to.
#[test]
fn little_moves_that_does_not_have_to() {
    // Targets, and how much may move. What is beyond what must comes of chance, and grows as the share
    // of what must move shrinks.
    for (targets, most) in [(2_usize, 1.01), (3, 1.02), (10, 1.06), (16, 1.08), (48, 1.05), (100, 1.05)] {
        let weights = weighted(&vec![100; targets]);
        let before = table(&weights);
        let mut worst: f64 = 0.0;
        let changes = [("v0", None), ("added", Some(100)), ("v1", Some(50)), ("v1", Some(200))];
        // Unoptimised, a table of the largest takes seconds.
        for (changed, weight) in changes.into_iter().take(if targets > 48 { 1 } else { 4 }) {
            let mut after = weights.clone();
            match weight {
                None => drop(after.remove(changed)),
                Some(weight) => drop(after.insert(changed.to_owned(), weight)),
            }
            // With one more target a pool may be of those with larger tables.
            if table_size(after.len()) != table_size(weights.len()) {
                continue;
            }
            let must = (share(&after, changed) - share(&weights, changed)).abs();
            let ratio = moved(&before, &table(&after)) / must;
            println!("{targets} targets, {changed} to {weight:?}: {ratio:.3} of {:.3} %", must * 100.0);
            worst = worst.max(ratio);
        }
        assert!(worst <= most, "{targets} targets: {worst}");
    }
}

/// A table is as large as what the pool names asks for, whatever weights there are.
#[test]
fn a_table_grows_with_the_targets_that_are_named() {
    for (targets, size) in [(2, 65_537), (16, 65_537), (17, 655_373), (48, 655_373), (49, 2_621_447)] {
        let mut weights = vec![0; targets];
        weights[..2].fill(1);
        let names = weighted(&weights).into_iter().collect::<Vec<_>>();
        let table = maglev::table(&names);
        assert_eq!(table.len(), size, "{targets} targets");
        assert_eq!(u32::try_from(size).unwrap(), table_size(targets));
    }
    for size in [65_537_u32, 655_373, 2_621_447] {
        assert!((2..1_700).all(|divisor| size % divisor != 0), "{size} is no prime");
    }
}

#[test]
fn proportions_and_names_make_the_table() {
    let table_of = |weights: &[(&str, u16)]| {
        table(&weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect())
    };
    assert_eq!(table_of(&[("a", 1), ("b", 3)]), table_of(&[("a", 1_000), ("b", 3_000)]));
    // One that takes nothing is as if it were not there.
    assert_eq!(table_of(&[("a", 1), ("b", 3)]), table_of(&[("a", 1), ("0", 0), ("b", 3)]));
    assert_ne!(table_of(&[("a", 1), ("b", 1)]), table_of(&[("a", 1), ("c", 1)]));
    assert_eq!(table_of(&[("a", 0), ("b", 1)]), ["b"]);
    assert!(table_of(&[("a", 0), ("b", 0)]).is_empty());
}
