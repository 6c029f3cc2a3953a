//! Pools and targets → their entries.

use super::Names;
use super::error::Problem;
use super::hashing::Build;
use super::pool_tables::{PoolTable, PoolTables};
use crate::policy::{Action, Dnat, Forward, Mss, Policy, Pool, Target};
use gateway_common::abi::Line;
use gateway_common::hash::{finish, fold};
use gateway_common::image::{
    self, Key, MAX_POOLS, MAX_TARGETS, MSS_OF_WAY, PoolEntry, TAG_TARGET_SOURCE, TargetEntry,
};
use gateway_common::packet::{Address, address_of};
use gateway_common::track::{TIMEOUT_MAX, UNIT_SHIFT};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Seed of the hashes that name pools in affinities.
const AFFINITY_SEED: u64 = 0x6166_6669_6e69;

/// All pools of a policy.
#[derive(Debug, Default)]
pub(super) struct Pools<'p> {
    /// Entry 0 is unused. Tables and targets are named by their lines among all tables, and all targets.
    pub entries: Vec<PoolEntry>,
    pub targets: Vec<TargetEntry>,
    indices: HashMap<&'p str, u16, Build>,
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

/// Numbers the pools by their names' order, and their targets by theirs.
pub(super) fn compile<'p>(
    policy: &'p Policy,
    tables: &PoolTables,
    names: &dyn Names,
    problems: &mut Vec<Problem>,
) -> Pools<'p> {
    let mut pools = Pools::default();
    let (count, targets) = (policy.pools.len(), policy.pools.values().map(|pool| pool.targets.len()).sum());
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
    for (name, pool) in &policy.pools {
        // Wraps only where there are too many, which is refused.
        let index = pools.entries.len() as u16;
        pools.indices.insert(name, index);
        let entry = pools.entry(name, pool, tables.tables(name));
        pools.entries.push(entry);
        for (target, of_target) in &pool.targets {
            let entry = target_entry(name, pool, (target, of_target), names, problems);
            pools.targets.push(entry);
        }
    }
    pools
}

impl Pools<'_> {
    /// The index of a pool, if the policy has it.
    pub(super) fn index(&self, name: &str) -> Option<u16> {
        self.indices.get(name).copied()
    }

    fn entry(&self, name: &str, pool: &Pool, tables: &[PoolTable]) -> PoolEntry {
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
            targets: self.targets.len() as u32,
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
            ..PoolEntry::default()
        };
        match pool.forward.dnat() {
            Some(dnat) => translating(entry, name, dnat),
            None => entry,
        }
    }
}

/// The entry with what only pools that translate have.
fn translating(entry: PoolEntry, name: &str, dnat: &Dnat) -> PoolEntry {
    PoolEntry {
        ports: dnat.source.map_or([0; 2], |source| [source.ports.first, source.ports.last]),
        timeouts: dnat.timeouts.all().map(units),
        affinity: dnat.affinity.map_or(0, units),
        affinity_key: affinity_key(name),
        ..entry
    }
}

/// Units of [`UNIT_SHIFT`], rounded up.
fn units(time: Duration) -> u16 {
    u16::try_from(time.as_nanos().div_ceil(1 << UNIT_SHIFT)).unwrap_or(TIMEOUT_MAX)
}

/// See [`PoolEntry::affinity_key`]; not 0.
fn affinity_key(name: &str) -> u64 {
    finish(name.bytes().fold(AFFINITY_SEED, |state, byte| fold(state, byte.into()))).max(1)
}

/// The addresses of the targets that routes may translate to, each once, as keys of
/// [`HeaderMore::target_sources`](image::HeaderMore::target_sources).
pub(super) fn target_sources(policy: &Policy) -> Vec<(Key, u32)> {
    let pools: BTreeSet<&String> = policy
        .routes
        .iter()
        .filter_map(|route| match &route.action {
            Action::Pool { pool } => Some(pool),
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
    (name, target): (&str, &Target),
    names: &dyn Names,
    problems: &mut Vec<Problem>,
) -> TargetEntry {
    let name = target_name(pool_name, name);
    let source = pool.forward.source().and_then(|source| {
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
