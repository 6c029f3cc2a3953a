//! What becomes of limits' buckets when a limit changes.
//!
//! A bucket is a time, "full again at". With another rate the same time is another level, so it is
//! moved: what was used of the burst stays used, in packets or bytes. A limit that counts something else
//! now, or by other keys, begins with full buckets. Bans stay. Packets that come between the flip and
//! the moment when their bucket is moved, less than a millisecond for all, see the old time.

use super::Readers;
use super::limits::LimitTime;
use gateway_common::abi::{BANNED, Bucket, KEYED_COUNT, KeyName, KeyedEntry, Line};
use gateway_common::image::LimitEntry;
use gateway_common::limit::{AHEAD_MAX, Unit, ahead};
use std::collections::HashMap;
use std::mem::offset_of;

/// What is to be done with the buckets of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// They are full.
    Fill,
    /// Their time to full is multiplied by this ratio of costs.
    Scale { to: u128, from: u128 },
}

/// What has to be done, by slot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves(HashMap<u32, Move>);

impl Moves {
    /// From one policy's limits to the next one's, as they lie in their images.
    pub(super) fn between(old: &[Line], new: &[Line]) -> Moves {
        let entries = |lines: &[Line]| -> Vec<LimitEntry> {
            lines.iter().skip(1).map(|line| bytemuck::cast(*line)).collect()
        };
        let before: HashMap<u32, LimitEntry> =
            entries(old).into_iter().map(|entry| (entry.slot, entry)).collect();
        let changed = entries(new).into_iter().filter_map(|new| {
            let old = before.get(&new.slot)?;
            Some((new.slot, Move::of(old, &new)?))
        });
        Moves(changed.collect())
    }
}

impl Move {
    fn of(old: &LimitEntry, new: &LimitEntry) -> Option<Move> {
        let keys = |entry: &LimitEntry| (entry.unit, entry.scope, entry.ipv4_length, entry.ipv6_length);
        if keys(old) != keys(new) {
            return Some(Move::Fill);
        }
        if (old.cost, old.shift) == (new.cost, new.shift) || old.unit == Unit::OpenConnections as u8 {
            return None;
        }
        if old.cost == 0 || new.cost == 0 {
            return Some(Move::Fill);
        }
        let (to, from) = (u128::from(new.cost) << old.shift, u128::from(old.cost) << new.shift);
        Some(Move::Scale { to, from })
    }

    /// The bucket's new time.
    fn apply(self, full_at: u64, now: u64) -> u64 {
        match self {
            Move::Fill => 0,
            Move::Scale { to, from } => {
                let ahead = u128::from(ahead(full_at, now, AHEAD_MAX));
                // `ahead` has 60 bits and the factors 44 to 84: what does not fit beside the first is cut off
                // both, and the smaller one keeps 26 bits and more.
                let digits = to.ilog2().saturating_sub(66);
                let scaled = ahead * (to >> digits) / (from >> digits).max(1);
                now.wrapping_add(u64::try_from(scaled).unwrap_or(AHEAD_MAX).min(AHEAD_MAX))
            }
        }
    }
}

impl Readers {
    /// Moves the buckets. Each by compare-and-swap: what a packet takes meanwhile is not lost.
    pub(super) fn move_levels(&self, moves: &Moves, now: LimitTime) {
        if moves.0.is_empty() {
            return;
        }
        let maps = &self.0.limits;
        for (&slot, &change) in &moves.0 {
            let offset = offset_of!(Bucket, full_at);
            let _ = maps
                .buckets
                .fetch_update_u64(slot, offset, |full_at| Some(change.apply(full_at, now.units())));
        }
        for set in 0..maps.keyed.len() {
            let Some(names) = maps.names.load(set) else { continue };
            for (way, name) in names.iter().enumerate() {
                if let Some(change) = moves.0.get(&name.slot) {
                    self.move_key(set, way, *change, name, now);
                }
            }
        }
    }

    fn move_key(&self, set: u32, way: usize, change: Move, name: &KeyName, now: LimitTime) {
        let maps = &self.0.limits;
        let Some(entry) = maps.keyed.load(set).map(|entries| entries[way]) else { return };
        let same = maps.names.load(set).is_some_and(|names| names[way] == *name);
        if entry.tag == 0 || !same {
            return;
        }
        let word = way * size_of::<KeyedEntry>();
        let offset = word + offset_of!(KeyedEntry, full_at);
        if change == Move::Fill {
            let tag = word + offset_of!(KeyedEntry, tag);
            let _ = maps.keyed.fetch_update_u64(set, tag, |tag| Some(tag & !KEYED_COUNT));
        } else if entry.tag & KEYED_COUNT == BANNED {
            return;
        }
        let _ = maps.keyed.fetch_update_u64(set, offset, |full_at| Some(change.apply(full_at, now.units())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::limit::{cost, price, time};

    fn limit(slot: u32, per_second: u64, unit: Unit) -> LimitEntry {
        let (cost, shift) = cost(per_second);
        LimitEntry { slot, cost, shift, unit: unit as u8, ..LimitEntry::default() }
    }

    fn lines(entries: &[LimitEntry]) -> Vec<Line> {
        let all = std::iter::once(&LimitEntry::default()).chain(entries).copied().collect::<Vec<_>>();
        all.into_iter().map(|entry| Line(bytemuck::cast(entry))).collect()
    }

    #[test]
    fn what_is_used_stays_used_whatever_the_rates() {
        let now = time(77_000_000_000);
        for (old, new) in [(1_000, 2_000), (2_000, 1_000), (1, 12_500_000_000), (12_500_000_000, 1_000)] {
            let (before, after) = (limit(3, old, Unit::Packets), limit(3, new, Unit::Packets));
            let used = 500;
            let full_at = now + price(used, before.cost, before.shift);
            let moved = Move::of(&before, &after).unwrap().apply(full_at, now);
            let (got, want) = ((moved - now) as f64, price(used, after.cost, after.shift) as f64);
            assert!((got - want).abs() <= want / 500.0 + 2.0, "{old} to {new}: {got} for {want}");
        }
    }

    #[test]
    fn only_what_changed_is_moved_and_what_means_something_else_is_filled() {
        let (a, b, c) =
            (limit(1, 100, Unit::Packets), limit(2, 100, Unit::Packets), limit(4, 100, Unit::Packets));
        let faster = limit(2, 200, Unit::Packets);
        let bytes = limit(4, 100, Unit::Bytes);
        let fresh = limit(9, 5, Unit::Packets);
        let moves = Moves::between(&lines(&[a, b, c]), &lines(&[a, faster, bytes, fresh]));
        assert_eq!(moves.0.len(), 2);
        assert!(matches!(moves.0[&2], Move::Scale { .. }));
        assert_eq!(moves.0[&4], Move::Fill);
    }
}
