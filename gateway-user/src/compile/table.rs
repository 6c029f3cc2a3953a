//! Builds the hash tables of the image: bucketed cuckoo hashing, two slots a line, two lines a key
//! (see [`gateway_common::image::TableRef`]).
//!
//! The hash has no seed, so a table that does not come out even is doubled. With two slots a bucket
//! placement succeeds up to a load of some 0.89; a table starts at 0.8 or below.

use super::error::Problem;
use gateway_common::abi::Line;
use gateway_common::hash::finish;
use gateway_common::image::{Bucket, Key, Slot};

const EMPTY: u32 = u32::MAX;
/// Entries moved aside for one new one before the table is held to be too small.
const MAX_KICKS: u32 = 1_000;
/// A table may grow to this many times its first size, and to [`SMALL_LINES`] in any case.
const MAX_GROWTH: usize = 8;
const SMALL_LINES: usize = 1_024;

/// Lays out a table; no key may come twice. `what` names it in the error.
///
/// # Errors
/// Where the keys cannot be placed in a table of any reasonable size.
pub(super) fn build(what: &'static str, entries: &[(Key, u32)]) -> Result<Vec<Line>, Problem> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let hashes: Vec<u64> = entries.iter().map(|(key, _)| key.hash()).collect();
    // Two slots a line at a load of 0.8.
    let first_size = (entries.len() * 5).div_ceil(8).next_power_of_two();
    let last_size = (first_size * MAX_GROWTH).max(SMALL_LINES);
    let mut size = first_size;
    loop {
        if let Some(buckets) = place(&hashes, size) {
            return Ok(buckets.iter().map(|bucket| line(bucket, entries)).collect());
        }
        if size >= last_size {
            return Err(Problem::Unplaceable { table: what, entries: entries.len(), lines: size });
        }
        size *= 2;
    }
}

/// Gives each hash a slot in one of its two buckets, or finds no way.
fn place(hashes: &[u64], size: usize) -> Option<Vec<[u32; 2]>> {
    let mut cuckoo = Cuckoo { hashes, mask: size - 1, buckets: vec![[EMPTY; 2]; size], choice: 0 };
    for entry in 0..hashes.len() as u32 {
        cuckoo.insert(entry)?;
    }
    Some(cuckoo.buckets)
}

struct Cuckoo<'a> {
    hashes: &'a [u64],
    mask: usize,
    buckets: Vec<[u32; 2]>,
    /// Counts the choices made, each of which follows from its number.
    choice: u64,
}

impl Cuckoo<'_> {
    fn places(&self, entry: u32) -> [usize; 2] {
        let hash = self.hashes[entry as usize];
        [hash as u32 as usize & self.mask, (hash >> 32) as usize & self.mask]
    }

    fn insert(&mut self, entry: u32) -> Option<()> {
        let [first, second] = self.places(entry);
        if self.put(first, entry) || self.put(second, entry) {
            return Some(());
        }
        let (mut entry, mut bucket) = (entry, first);
        for _ in 0..MAX_KICKS {
            self.choice += 1;
            let slot = (finish(self.choice) & 1) as usize;
            std::mem::swap(&mut self.buckets[bucket][slot], &mut entry);
            let [first, second] = self.places(entry);
            bucket = if bucket == first { second } else { first };
            if self.put(bucket, entry) {
                return Some(());
            }
        }
        None
    }

    fn put(&mut self, bucket: usize, entry: u32) -> bool {
        let free = self.buckets[bucket].iter_mut().find(|slot| **slot == EMPTY);
        free.map(|slot| *slot = entry).is_some()
    }
}

fn line(bucket: &[u32; 2], entries: &[(Key, u32)]) -> Line {
    let mut slots = Bucket::default();
    for (slot, &entry) in slots.iter_mut().zip(bucket) {
        if let Some((key, value)) = entries.get(entry as usize) {
            *slot = Slot {
                a: key.a,
                b: key.b,
                tag_value: u64::from(key.tag) << 32 | u64::from(*value),
                c: key.c,
            };
        }
    }
    Line(bytemuck::cast(slots))
}
