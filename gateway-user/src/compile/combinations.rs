//! Routes → entries: each is entered under every combination of the classes that its selectors take,
//! unless an earlier route has the entry already.

use super::MAX_ENTRIES;
use super::classes::Cut;
use super::dimension::{DIMENSIONS, Dimension};
use super::error::Problem;
use super::sets::Row;
use gateway_common::abi::Line;
use gateway_common::classify::{FIELDS, mask};
use gateway_common::image::{Combination, Key, TAG_COMBINATION, dimension};

/// All routes, entered.
#[derive(Debug)]
pub(super) struct Combinations {
    /// Key → lowest route, no key twice.
    pub entries: Vec<(Key, u32)>,
    /// The sets of dimensions in use, in order of their lowest routes.
    pub list: Vec<Combination>,
    /// Bits of the dimensions in which class 0 is entered. Not the protocol, which has no classes.
    pub with_class_zero: u32,
}

impl Combinations {
    /// Bits of the dimensions that any entered route names.
    pub(super) fn dimensions(&self) -> u32 {
        self.list.iter().fold(0, |all, combination| all | combination.dimensions)
    }

    /// The combination list, two a line.
    pub(super) fn lines(&self) -> Vec<Line> {
        let line = |combinations: &[Combination]| {
            let mut padded = [Combination::default(); 2];
            padded[..combinations.len()].copy_from_slice(combinations);
            Line(bytemuck::cast(padded))
        };
        self.list.chunks(2).map(line).collect()
    }
}

/// Enters the rows, which are in order of their routes. `name` gives a route's name.
///
/// # Errors
/// Where that takes more than [`MAX_ENTRIES`] entries, or more sets of dimensions than the kernel probes.
pub(super) fn compile(
    rows: &[Row],
    cuts: &[Cut; DIMENSIONS],
    name: impl Fn(u32) -> String,
) -> Result<Combinations, Vec<Problem>> {
    let total = check(rows, cuts, name)?;
    let mut index = Index::with_capacity(total as usize);
    let mut list: Vec<Combination> = Vec::new();
    let mut listed = Listed::new();
    let mut with_class_zero = 0;
    let (mut words, mut wider) = (Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| entries(row, cuts) > 0) {
        words.clear();
        words.push(Key { tag: TAG_COMBINATION | row.dimensions, ..Key::default() });
        for dimension in row.named() {
            let classes = cuts[dimension as usize].classes(row.selectors[dimension as usize]);
            if classes.first() == Some(&0) && dimension != Dimension::Protocol {
                with_class_zero |= dimension.bit();
            }
            wider.clear();
            for &class in classes.iter() {
                let (word, low, _) = FIELDS[dimension as usize];
                let mut part = [0; 3];
                part[word] = u64::from(class) << low;
                let [a, b, c] = part;
                let join = |key: &Key| Key { a: key.a | a, b: key.b | b, c: key.c | c, ..*key };
                wider.extend(words.iter().map(join));
            }
            std::mem::swap(&mut words, &mut wider);
        }
        for &key in &words {
            index.insert(key, row.route);
        }
        if listed.is_new(row.dimensions) {
            let mask = mask(row.dimensions);
            list.push(Combination { dimensions: row.dimensions, first_route: row.route, mask });
        }
    }
    Ok(Combinations { entries: index.entries, list, with_class_zero })
}

/// Which sets of dimensions were met.
struct Listed(Vec<bool>);

impl Listed {
    fn new() -> Listed {
        Listed(vec![false; 1 << dimension::COUNT])
    }

    fn is_new(&mut self, dimensions: u32) -> bool {
        !std::mem::replace(&mut self.0[dimensions as usize], true)
    }
}

fn counts<'a>(row: &'a Row, cuts: &'a [Cut; DIMENSIONS]) -> impl Iterator<Item = (Dimension, usize)> + 'a {
    row.named().map(|d| (d, cuts[d as usize].count(row.selectors[d as usize])))
}

fn entries(row: &Row, cuts: &[Cut; DIMENSIONS]) -> u64 {
    counts(row, cuts).fold(1, |product, (_, count)| product.saturating_mul(count as u64))
}

/// How many entries the rows take at most, keys that several share counted for each.
fn check(rows: &[Row], cuts: &[Cut; DIMENSIONS], name: impl Fn(u32) -> String) -> Result<u64, Vec<Problem>> {
    let (mut total, mut most, mut widest) = (0_u64, 0, None);
    let (mut listed, mut combinations, mut first_over) = (Listed::new(), 0, None);
    for row in rows {
        let entries = entries(row, cuts);
        total = total.saturating_add(entries);
        if entries > most {
            (most, widest) = (entries, Some(row));
        }
        if entries > 0 && listed.is_new(row.dimensions) {
            combinations += 1;
            if combinations > dimension::COMBINATIONS {
                first_over = first_over.or(Some(row));
            }
        }
    }
    let mut problems = Vec::new();
    if let Some(row) = first_over {
        problems.push(Problem::TooManyCombinations {
            count: combinations,
            limit: dimension::COMBINATIONS,
            route: name(row.route),
            dimensions: row.named().collect(),
        });
    }
    if let Some(row) = widest.filter(|_| total > MAX_ENTRIES) {
        problems.push(Problem::Explodes {
            route: name(row.route),
            entries: most,
            counts: counts(row, cuts).collect(),
            total,
            limit: MAX_ENTRIES,
        });
    }
    if problems.is_empty() { Ok(total) } else { Err(problems) }
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
