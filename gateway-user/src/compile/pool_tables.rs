//! The Maglev tables of all pools.
//!
//! They say nothing of routes and addresses, so that they are built once for pools that stay while
//! policies change, and their lines are shared by all images.

use super::maglev;
use crate::policy::{Pool, Target};
use gateway_common::abi::Line;
use gateway_common::image::u16_at;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Elements in a line.
const IN_LINE: usize = 32;

/// The tables of a policy's pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolTables {
    pools: BTreeMap<String, OfPool>,
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
    /// Names and weights, in the order of the pool; those of the other family with weight 0.
    members: Vec<(String, u16)>,
    /// First line among those of all tables.
    first_line: u32,
    size: u32,
    /// Elements of each target.
    counts: Vec<u32>,
}

impl PoolTables {
    /// Builds the tables of these pools, or takes them from those of `before` whose names and weights are
    /// the same.
    #[must_use]
    pub fn build(pools: &BTreeMap<String, Pool>, before: &PoolTables) -> PoolTables {
        let mut lines = Vec::new();
        let mut tables = BTreeMap::new();
        for (name, pool) in pools {
            let known = before.pools.get(name).map(OfPool::tables).unwrap_or_default();
            let mut table = |of: fn(IpAddr) -> bool| {
                let members = members(pool, of);
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
            tables.insert(name.clone(), of_pool);
        }
        let lines = if tables == before.pools { Arc::clone(&before.lines) } else { Arc::new(lines) };
        PoolTables { pools: tables, lines }
    }

    /// The table by which a pool finds targets of this one's family.
    #[must_use]
    pub fn table_for(&self, name: &str, target: IpAddr) -> Option<&PoolTable> {
        match (self.pools.get(name)?, target) {
            (OfPool::Whole(table), _) => Some(table),
            (OfPool::ByFamily([table, _]), IpAddr::V4(_)) | (OfPool::ByFamily([_, table]), IpAddr::V6(_)) => {
                Some(table)
            }
        }
    }

    /// The tables of a pool: one for all packets, or of a pool that translates one for IPv4 and one for
    /// IPv6.
    #[must_use]
    pub fn tables(&self, name: &str) -> &[PoolTable] {
        self.pools.get(name).map(OfPool::tables).unwrap_or_default()
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
fn members(pool: &Pool, are: fn(IpAddr) -> bool) -> Vec<(String, u16)> {
    let weight = |target: &Target| if are(target.address) { target.weight } else { 0 };
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
