//! Routes → entries: each is entered under every combination of the classes that its lists consist
//! of, unless an earlier route has the entry already.

use super::MAX_ENTRIES;
use super::classes::ClassesOfSets;
use super::dimension::{DIMENSIONS, Dimension};
use super::error::Problem;
use super::sets::Row;
use super::table::Key;
use gateway_common::abi::Line;
use gateway_common::classify::{Classes, combination_key};
use gateway_common::image::{Combination, dimension};

/// All routes, entered.
#[derive(Debug)]
pub(super) struct Combinations {
    /// Key → lowest route, no key twice.
    pub entries: Vec<(Key, u32)>,
    /// The sets of dimensions in use, in order of their lowest routes.
    pub list: Vec<Combination>,
}

impl Combinations {
    /// Bits of the dimensions that any entered route names.
    pub(super) fn dimensions(&self) -> u32 {
        self.list.iter().fold(0, |all, combination| all | combination.dimensions)
    }

    /// The combination list, four a line.
    pub(super) fn lines(&self) -> Vec<Line> {
        let line = |combinations: &[Combination]| {
            let mut padded = [Combination::default(); 4];
            padded[..combinations.len()].copy_from_slice(combinations);
            Line(bytemuck::cast(padded))
        };
        self.list.chunks(4).map(line).collect()
    }
}

/// Enters the rows, which are in order of their routes. `name` gives a route's name.
///
/// # Errors
/// Where that takes more than [`MAX_ENTRIES`] entries.
pub(super) fn compile(
    rows: &[Row],
    classes: &[ClassesOfSets; DIMENSIONS],
    name: impl Fn(u32) -> String,
) -> Result<Combinations, Problem> {
    let total = check_size(rows, classes, name)?;
    let mut index = Index::with_capacity(total as usize);
    let mut list: Vec<Combination> = Vec::new();
    let mut listed = [false; dimension::COMBINATIONS];
    let (mut words, mut wider) = (Vec::new(), Vec::new());
    for row in rows {
        words.clear();
        words.push((0, 0));
        for dimension in named(row) {
            let ids = classes[dimension as usize].of(row.sets[dimension as usize]);
            wider.clear();
            for &id in ids {
                let (high, low, _) = combination_key(dimension.bit(), &class(dimension, id));
                wider.extend(words.iter().map(|(a, b)| (a | high, b | low)));
            }
            std::mem::swap(&mut words, &mut wider);
        }
        let (_, _, tag) = combination_key(row.dimensions, &Classes::default());
        for &(a, b) in &words {
            index.insert(Key { a, b, tag }, row.route);
        }
        if !words.is_empty() && !std::mem::replace(&mut listed[row.dimensions as usize], true) {
            list.push(Combination { dimensions: row.dimensions, first_route: row.route, reserved: 0 });
        }
    }
    Ok(Combinations { entries: index.entries, list })
}

fn named(row: &Row) -> impl Iterator<Item = Dimension> + use<> {
    let dimensions = row.dimensions;
    Dimension::ALL.into_iter().filter(move |dimension| dimensions & dimension.bit() != 0)
}

/// The classes of a packet in one dimension, nothing said of the others.
fn class(dimension: Dimension, id: u32) -> Classes {
    let mut classes = Classes::default();
    match dimension {
        Dimension::Interface => classes.interface = id as u8,
        Dimension::From => classes.source = id,
        Dimension::To => classes.destination = id,
        Dimension::Protocol => classes.protocol = id as u8,
        Dimension::Port => classes.port = id as u16,
        Dimension::SourcePort => classes.source_port = id as u16,
    }
    classes
}

/// How many entries the rows take at most, keys that several share counted for each.
fn check_size(
    rows: &[Row],
    classes: &[ClassesOfSets; DIMENSIONS],
    name: impl Fn(u32) -> String,
) -> Result<u64, Problem> {
    let counts = |row: &Row| {
        let row = *row;
        named(&row).map(move |d| (d, classes[d as usize].of(row.sets[d as usize]).len()))
    };
    let (mut total, mut most, mut widest) = (0_u64, 0, None);
    for row in rows {
        let entries = counts(row).fold(1_u64, |product, (_, count)| product.saturating_mul(count as u64));
        total = total.saturating_add(entries);
        if entries > most {
            (most, widest) = (entries, Some(row));
        }
    }
    match widest {
        Some(row) if total > MAX_ENTRIES => Err(Problem::Explodes {
            route: name(row.route),
            entries: most,
            counts: counts(row).collect(),
            total,
            limit: MAX_ENTRIES,
        }),
        _ => Ok(total),
    }
}

/// The entries made so far, and where each key is among them: open addressing, at most half full.
struct Index {
    entries: Vec<(Key, u32)>,
    places: Vec<u32>,
    mask: usize,
}

const FREE: u32 = u32::MAX;

impl Index {
    fn with_capacity(entries: usize) -> Index {
        let size = (entries * 2).next_power_of_two();
        Index { entries: Vec::with_capacity(entries), places: vec![FREE; size], mask: size - 1 }
    }

    /// Enters a route, unless an earlier one has the key.
    fn insert(&mut self, key: Key, route: u32) {
        let mut place = key.hash() as usize & self.mask;
        loop {
            match self.places[place] {
                FREE => break,
                entry if self.entries[entry as usize].0 == key => return,
                _ => place = (place + 1) & self.mask,
            }
        }
        self.places[place] = self.entries.len() as u32;
        self.entries.push((key, route));
    }
}
