//! The Maglev tables of all pools.
//!
//! They say nothing of routes and addresses, so that they are built once for pools that stay while
//! policies change, and their lines are shared by all images.

use super::maglev;
use crate::policy::Pool;
use gateway_common::abi::Line;
use gateway_common::image::u16_at;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Elements in a line.
const IN_LINE: usize = 32;

/// The tables of a policy's pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolTables {
    pools: BTreeMap<String, PoolTable>,
    lines: Arc<Vec<Line>>,
}

/// The table of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTable {
    /// Names and weights, in the order of the pool.
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
            let members = members(pool);
            let first_line = lines.len() as u32;
            let table = match before.pools.get(name).filter(|table| table.members == members) {
                Some(table) => {
                    lines.extend_from_slice(before.lines_of(table));
                    PoolTable { first_line, ..table.clone() }
                }
                None => {
                    let elements = maglev::table(&members);
                    let mut counts = vec![0; members.len()];
                    elements.iter().for_each(|place| counts[usize::from(*place)] += 1);
                    lines.extend(elements.chunks(IN_LINE).map(line));
                    PoolTable { members, first_line, size: elements.len() as u32, counts }
                }
            };
            tables.insert(name.clone(), table);
        }
        let lines = if tables == before.pools { Arc::clone(&before.lines) } else { Arc::new(lines) };
        PoolTables { pools: tables, lines }
    }

    /// The table of a pool.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&PoolTable> {
        self.pools.get(name)
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

fn members(pool: &Pool) -> Vec<(String, u16)> {
    pool.targets.iter().map(|(name, target)| (name.clone(), target.weight)).collect()
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
