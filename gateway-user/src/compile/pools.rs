//! Pools and targets → their entries.

use super::Names;
use super::error::Problem;
use super::hashing::Build;
use super::pool_tables::{PoolTable, PoolTables};
use crate::policy::{Forward, Policy, Pool, Target};
use gateway_common::abi::Line;
use gateway_common::image::{self, MAX_POOLS, MAX_TARGETS, PoolEntry, TargetEntry};
use gateway_common::packet::address_of;
use std::collections::HashMap;

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
        let entry = pools.entry(pool, tables.pool(name));
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

    fn entry(&self, pool: &Pool, table: Option<&PoolTable>) -> PoolEntry {
        let (forward, port) = match pool.forward {
            Forward::Ipip { .. } => (image::Forward::Ipip, 0),
            Forward::Gue { port, .. } => (image::Forward::Gue, port),
            Forward::L2 => (image::Forward::L2, 0),
        };
        PoolEntry {
            table: table.map_or(0, PoolTable::first_line),
            size: table.map_or(0, PoolTable::size),
            targets: self.targets.len() as u32,
            count: pool.targets.len() as u16,
            forward: forward as u8,
            hash: pool.hash as u8,
            port,
            ..PoolEntry::default()
        }
    }
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
            problems.push(Problem::NoOuterSource { target: name.clone(), address: target.address });
        }
        found
    });
    TargetEntry {
        address: address_of(target.address),
        source: source.map_or([0; 2], address_of),
        slot: names.target_slot(&name),
        family: if target.address.is_ipv4() { 4 } else { 6 },
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
        bytemuck::cast(entry)
    };
    pools.iter().map(place).collect()
}
