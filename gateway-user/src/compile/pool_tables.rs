//! The Maglev tables of all pools.
//!
//! They say nothing of routes and addresses, so that they are built once for pools that stay while
//! policies change, and their lines are shared by all images.

use super::maglev;
use crate::policy::{Action, Policy, Pool, Target, TargetLabels};
use gateway_common::abi::Line;
use gateway_common::image::u16_at;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Elements in a line.
const IN_LINE: usize = 32;

/// A pool, or the part of it that routes narrow it to: its name, and the labels that targets must have.
pub(super) type PoolPart = (String, TargetLabels);

/// All pools of a policy, and the parts of them that its routes ask for, in order: a pool stands directly in
/// front of its parts.
pub(super) fn parts(policy: &Policy) -> BTreeSet<PoolPart> {
    let whole = policy.pools.keys().map(|name| (name.clone(), TargetLabels::new()));
    let asked = policy.routes.iter().filter_map(|route| match &route.action {
        Action::Pool { pool, targets } if policy.pools.contains_key(pool) => {
            Some((pool.clone(), targets.clone()))
        }
        _ => None,
    });
    whole.chain(asked).collect()
}

/// The tables of a policy's pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolTables {
    pools: BTreeMap<PoolPart, OfPool>,
    lines: Arc<Vec<Line>>,
}

/// The tables of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OfPool {
    /// One for all packets.
    Whole(PoolTable),
    /// Of a pool that translates, for IPv4 and for IPv6: addresses are exchanged for such of their family.
    ByFamily([PoolTable; 2]),
}

/// A table of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTable {
    /// Names and weights, in the order of the pool; with weight 0 those that the table is not for.
    members: Vec<(String, u16)>,
    /// First line among those of all tables.
    first_line: u32,
    size: u32,
    /// Elements of each target.
    counts: Vec<u32>,
}

impl PoolTables {
    /// Builds the tables of this policy's pools, and of the parts that its routes ask for, or takes them
    /// from those of `before` whose names and weights are the same.
    #[must_use]
    pub fn build(policy: &Policy, before: &PoolTables) -> PoolTables {
        let mut lines = Vec::new();
        let mut tables = BTreeMap::new();
        for part in parts(policy) {
            let Some(pool) = policy.pools.get(&part.0) else { continue };
            let known = before.pools.get(&part).map(OfPool::tables).unwrap_or_default();
            let mut table = |of: fn(IpAddr) -> bool| {
                let members = members(pool, |target| of(target.address) && target.has(&part.1));
                let first_line = lines.len() as u32;
                if let Some(table) = known.iter().find(|table| table.members == members) {
                    lines.extend_from_slice(before.lines_of(table));
                    return PoolTable { first_line, ..table.clone() };
                }
                let elements = maglev::table(&members);
                let mut counts = vec![0; members.len()];
                elements.iter().for_each(|place| counts[usize::from(*place)] += 1);
                lines.extend(elements.chunks(IN_LINE).map(line));
                PoolTable { members, first_line, size: elements.len() as u32, counts }
            };
            let of_pool = if pool.forward.dnat().is_some() {
                OfPool::ByFamily([table(|address| address.is_ipv4()), table(|address| address.is_ipv6())])
            } else {
                OfPool::Whole(table(|_| true))
            };
            tables.insert(part, of_pool);
        }
        let lines = if tables == before.pools { Arc::clone(&before.lines) } else { Arc::new(lines) };
        PoolTables { pools: tables, lines }
    }

    /// The table by which a pool finds targets of this one's family.
    #[must_use]
    pub fn table_for(&self, name: &str, target: IpAddr) -> Option<&PoolTable> {
        match (self.tables(name, &TargetLabels::new()), target) {
            ([_, table], IpAddr::V6(_)) | ([table, ..], _) => Some(table),
            ([], _) => None,
        }
    }

    /// The tables of a pool, or of the part of it with these labels: one for all packets, or where addresses
    /// are translated one for IPv4 and one for IPv6. None where no route asks for that part.
    #[must_use]
    pub fn tables(&self, pool: &str, labels: &TargetLabels) -> &[PoolTable] {
        let part = (pool.to_owned(), labels.clone());
        self.pools.get(&part).map(OfPool::tables).unwrap_or_default()
    }

    /// An element of one of these tables: the target's place in the order of the pool. Nothing behind the
    /// table's end.
    #[must_use]
    pub fn element(&self, table: &PoolTable, index: u32) -> Option<u16> {
        if index >= table.size {
            return None;
        }
        u16_at(self.lines.as_slice(), table.first_line, index)
    }

    /// The lines of all tables.
    pub(super) fn lines(&self) -> &Arc<Vec<Line>> {
        &self.lines
    }

    fn lines_of(&self, table: &PoolTable) -> &[Line] {
        let first = table.first_line as usize;
        &self.lines[first..][..(table.size as usize).div_ceil(IN_LINE)]
    }
}

impl OfPool {
    fn tables(&self) -> &[PoolTable] {
        match self {
            OfPool::Whole(table) => std::slice::from_ref(table),
            OfPool::ByFamily(tables) => tables,
        }
    }
}

impl PoolTable {
    /// First line among those of all tables.
    pub(super) fn first_line(&self) -> u32 {
        self.first_line
    }

    /// How many elements it has: 0 where no target takes packets.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How many of them belong to each target, in the order of the pool.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }
}

/// Names and weights, of others than `are` weight 0: they are as if they were not there.
fn members(pool: &Pool, are: impl Fn(&Target) -> bool) -> Vec<(String, u16)> {
    let weight = |target: &Target| if are(target) { target.weight } else { 0 };
    pool.targets.iter().map(|(name, target)| (name.clone(), weight(target))).collect()
}

/// A line of elements, as [`gateway_common::image::u16_at`] reads it.
fn line(elements: &[u16]) -> Line {
    let mut line = Line::default();
    for (word, elements) in line.0.iter_mut().zip(elements.chunks(4)) {
        for (i, &element) in elements.iter().enumerate() {
            *word |= u64::from(element) << (i * 16);
        }
    }
    line
}
