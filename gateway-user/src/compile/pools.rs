//! Pools and targets → their entries.

use super::Names;
use super::error::Problem;
use super::hashing::Build;
use super::pool_tables::{PoolPart, PoolTable, PoolTables, parts};
use crate::policy::{Action, Dnat, Forward, Mss, Policy, Pool, Target, TargetLabels};
use gateway_common::abi::Line;
use gateway_common::hash::{finish, fold};
use gateway_common::image::{
    self, Key, MAX_POOLS, MAX_TARGETS, MSS_OF_WAY, POOL_HEALTH, PoolEntry, TAG_TARGET_SOURCE, TargetEntry,
};
use gateway_common::packet::{Address, address_of};
use gateway_common::path;
use gateway_common::track::{TIMEOUT_MAX, UNIT_SHIFT};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Seed of the hashes that name pools in affinities.
const AFFINITY_SEED: u64 = 0x6166_6669_6e69;

/// All pools of a policy.
#[derive(Debug, Default)]
pub(super) struct Pools {
    /// Entry 0 is unused. Tables and targets are named by their lines among all tables, and all targets.
    pub entries: Vec<PoolEntry>,
    pub targets: Vec<TargetEntry>,
    /// By name, and the labels that a route narrows the pool to.
    indices: HashMap<PoolPart, u16, Build>,
}

/// The name by which a target has its slot ([`super::Names::target_slot`]): `web/v1`.
#[must_use]
pub fn target_name(pool: &str, target: &str) -> String {
    format!("{pool}/{target}")
}

/// Names of all targets of a policy, in the order of their entries.
#[must_use]
pub fn target_names(policy: &Policy) -> Vec<String> {
    let of_pool = |(name, pool): (&String, &Pool)| -> Vec<String> {
        pool.targets.keys().map(|target| target_name(name, target)).collect()
    };
    policy.pools.iter().flat_map(of_pool).collect()
}

/// Numbers the pools by their names' order, each in front of the parts of it that routes ask for, and their
/// targets by theirs. A part has its pool's targets.
pub(super) fn compile(
    policy: &Policy,
    tables: &PoolTables,
    names: &dyn Names,
    problems: &mut Vec<Problem>,
) -> Pools {
    let mut pools = Pools::default();
    let parts = parts(policy);
    let (count, targets) = (parts.len(), policy.pools.values().map(|pool| pool.targets.len()).sum());
    if count >= MAX_POOLS {
        problems.push(Problem::TooManyPools { count, limit: MAX_POOLS - 1 });
    }
    if targets >= MAX_TARGETS {
        problems.push(Problem::TooManyTargets { count: targets, limit: MAX_TARGETS - 1 });
    }
    if count == 0 {
        return pools;
    }
    pools.entries.push(PoolEntry::default());
    let mut first_target = 0;
    for part in parts {
        let (name, labels) = &part;
        let Some(pool) = policy.pools.get(name) else { continue };
        if labels.is_empty() {
            first_target = pools.targets.len() as u32;
            for target in &pool.targets {
                pools.targets.push(target_entry(name, pool, target, names, problems));
            }
        }
        let of_pool = &pools.targets[first_target as usize..][..pool.targets.len()];
        let entry = entry(&part, pool, tables.tables(name, labels), of_pool);
        let entry = PoolEntry { targets: first_target, ..entry };
        // Wraps only where there are too many, which is refused.
        let index = pools.entries.len() as u16;
        pools.entries.push(entry);
        pools.indices.insert(part, index);
    }
    pools
}

impl Pools {
    /// The index of a pool, or of the part of it with these labels, if the policy has it.
    pub(super) fn index(&self, name: &str, labels: &TargetLabels) -> Option<u16> {
        self.indices.get(&(name.to_owned(), labels.clone())).copied()
    }

    /// The targets that packets are wrapped for, see [`path::key`]: the lowest slot of each.
    pub(super) fn wrapped_targets(&self) -> Vec<(Key, u32)> {
        let wraps = |pool: &&PoolEntry| {
            [image::Forward::Ipip, image::Forward::Gue].iter().any(|forward| *forward as u8 == pool.forward)
        };
        let targets = |pool: &PoolEntry| {
            let first = pool.targets as usize;
            &self.targets[first..first + usize::from(pool.count)]
        };
        let mut slots = BTreeMap::new();
        for target in self.entries.iter().filter(wraps).flat_map(targets) {
            let slot = slots.entry((target.address, target.source)).or_insert(target.slot);
            *slot = target.slot.min(*slot);
        }
        slots.into_iter().map(|((address, source), slot)| (path::key(address, source), slot)).collect()
    }
}

fn entry(part: &PoolPart, pool: &Pool, tables: &[PoolTable], targets: &[TargetEntry]) -> PoolEntry {
    let (forward, port) = match pool.forward {
        Forward::Ipip { .. } => (image::Forward::Ipip, 0),
        Forward::Gue { port, .. } => (image::Forward::Gue, port),
        Forward::L2 => (image::Forward::L2, 0),
        Forward::Dnat(_) => (image::Forward::Dnat, 0),
    };
    let (table, table6) = (tables.first(), tables.get(1));
    let entry = PoolEntry {
        table: table.map_or(0, PoolTable::first_line),
        size: table.map_or(0, PoolTable::size),
        count: pool.targets.len() as u16,
        forward: forward as u8,
        hash: pool.hash as u8,
        port,
        mss: match pool.mss {
            None => 0,
            Some(Mss::Way) => MSS_OF_WAY,
            Some(Mss::AtMost(bytes)) => bytes,
        },
        table6: table6.map_or(0, PoolTable::first_line),
        size6: table6.map_or(0, PoolTable::size),
        flags: if pool.health.is_some() { POOL_HEALTH } else { 0 },
        ..PoolEntry::default()
    };
    match pool.forward.dnat() {
        Some(dnat) => translating(entry, part, dnat, targets),
        None => entry,
    }
}

/// The entry with what only pools that translate have.
fn translating(entry: PoolEntry, part: &PoolPart, dnat: &Dnat, targets: &[TargetEntry]) -> PoolEntry {
    PoolEntry {
        ports: dnat.source.map_or([0; 2], |source| [source.ports.first, source.ports.last]),
        timeouts: dnat.timeouts.all().map(units),
        affinity: dnat.affinity.map_or(0, units),
        affinity_key: affinity_key(part, targets.iter().map(|target| target.source).collect()),
        ..entry
    }
}

/// Units of [`UNIT_SHIFT`], rounded up.
fn units(time: Duration) -> u16 {
    u16::try_from(time.as_nanos().div_ceil(1 << UNIT_SHIFT)).unwrap_or(TIMEOUT_MAX)
}

/// See [`PoolEntry::affinity_key`]; not 0. A part of a pool has its own: a client's target of the whole may be
/// none of its targets. So do other sources: an affinity keeps the one that its target saw.
fn affinity_key((name, labels): &PoolPart, sources: BTreeSet<Address>) -> u64 {
    // No name holds a zero byte, so that words that stand one behind the other are told apart.
    let labels = labels.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    let bytes = std::iter::once(name.as_str()).chain(labels).flat_map(|word| word.bytes().chain([0]));
    let names = bytes.fold(AFFINITY_SEED, |state, byte| fold(state, byte.into()));
    finish(sources.iter().flatten().fold(names, |state, word| fold(state, *word))).max(1)
}

/// The addresses of the targets that routes may translate to, each once, as keys of
/// [`HeaderMore::target_sources`](image::HeaderMore::target_sources).
pub(super) fn target_sources(policy: &Policy) -> Vec<(Key, u32)> {
    let pools: BTreeSet<&String> = policy
        .routes
        .iter()
        .filter_map(|route| match &route.action {
            Action::Pool { pool, .. } => Some(pool),
            _ => None,
        })
        .collect();
    let pools = pools.into_iter().filter_map(|name| policy.pools.get(name));
    let targets = pools.filter(|pool| pool.forward.dnat().is_some()).flat_map(|pool| pool.targets.values());
    let addresses: BTreeSet<Address> = targets.map(|target| address_of(target.address)).collect();
    let key = |[a, b]: Address| Key { a, b, c: 0, tag: TAG_TARGET_SOURCE };
    addresses.into_iter().map(|address| (key(address), 1)).collect()
}

fn target_entry(
    pool_name: &str,
    pool: &Pool,
    (name, target): (&String, &Target),
    names: &dyn Names,
    problems: &mut Vec<Problem>,
) -> TargetEntry {
    let name = target_name(pool_name, name);
    // What a target that is this node answers comes out here by itself, and the kernel takes no packet in that is from
    // one of its own addresses.
    let keeps_source = pool.forward.dnat().is_some() && names.is_own(target.address);
    let source = pool.forward.source().filter(|_| !keeps_source).and_then(|source| {
        let found = source.towards(target.address).or_else(|| names.outer_source(target.address));
        if found.is_none() {
            problems.push(Problem::NoSource { target: name.clone(), address: target.address });
        }
        found
    });
    TargetEntry {
        address: address_of(target.address),
        source: source.map_or([0; 2], address_of),
        slot: names.target_slot(&name),
        family: if target.address.is_ipv4() { 4 } else { 6 },
        port: target.port.unwrap_or(0),
        ..TargetEntry::default()
    }
}

/// Pools with the places of their tables and targets, once those are known.
pub(super) fn placed(pools: &[Line], targets: u32, tables: u32) -> Vec<Line> {
    let place = |line: &Line| {
        let mut entry: PoolEntry = bytemuck::cast(*line);
        if entry.count > 0 {
            entry.targets += targets;
        }
        if entry.size > 0 {
            entry.table += tables;
        }
        if entry.size6 > 0 {
            entry.table6 += tables;
        }
        bytemuck::cast(entry)
    };
    pools.iter().map(place).collect()
}
