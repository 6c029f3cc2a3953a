//! What the kernel keeps of limits: counters, buckets, keys, open connections.

use super::mapped::{Mapped, MappedMut};
use super::stats::{Readers, add_count};
use gateway_common::abi::{
    BANNED, Bucket, CONNECTION_WAYS, ConnectionSet, Control, KEYED_COUNT, KEYED_WAYS, KeyName, KeyedEntry,
    KeyedNames, KeyedSet, LimitCount, OWNER_KEYED,
};
use gateway_common::image::{LimitEntry, MAX_LIMITS};
use gateway_common::limit::{
    AHEAD_MAX, PROVEN_NS, Scope, TIME_SHIFT, Unit, ahead, key_hash, key_sets, owner_hash, time,
};
use std::collections::HashMap;
use std::mem::offset_of;

/// How often an entry that changes under the reader is read again.
const TRIES: u32 = 16;

/// The maps of limits.
pub(super) struct LimitMaps {
    pub(super) counts: Mapped<LimitCount>,
    pub(super) buckets: MappedMut<Bucket>,
    pub(super) keyed: MappedMut<KeyedSet>,
    pub(super) names: Mapped<KeyedNames>,
    pub(super) connections: Mapped<ConnectionSet>,
}

/// Limits by slot, as the kernel has them.
#[derive(Clone, Debug)]
pub struct LimitsBySlot {
    /// Place in `entries` of each slot, from 1 on; 0: not there.
    places: Vec<u32>,
    entries: Vec<LimitEntry>,
}

impl FromIterator<LimitEntry> for LimitsBySlot {
    fn from_iter<I: IntoIterator<Item = LimitEntry>>(entries: I) -> LimitsBySlot {
        let entries: Vec<LimitEntry> = entries.into_iter().collect();
        let mut places = vec![0; MAX_LIMITS];
        for (place, entry) in (1..).zip(&entries) {
            if let Some(of_slot) = places.get_mut(entry.slot as usize) {
                *of_slot = place;
            }
        }
        LimitsBySlot { places, entries }
    }
}

impl LimitsBySlot {
    /// The limit with this slot.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&LimitEntry> {
        let place = *self.places.get(slot as usize)?;
        self.entries.get(place.checked_sub(1)? as usize)
    }
}

/// A moment in the unit of limits, see [`gateway_common::limit::time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitTime(u64);

impl LimitTime {
    /// From `CLOCK_MONOTONIC` nanoseconds.
    #[must_use]
    pub fn from_ns(monotonic_ns: u64) -> LimitTime {
        LimitTime(time(monotonic_ns))
    }

    /// In units of [`gateway_common::limit::time`].
    #[must_use]
    pub fn units(self) -> u64 {
        self.0
    }
}

/// How full a bucket is, or what else stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// So much of the burst is used; the bucket is full again after so long.
    Used {
        /// Part of the burst, thousandths; above 1,000 after a packet that was dearer than the whole bucket.
        permille: u64,
        /// Nanoseconds.
        full_in_ns: u64,
    },
    /// So many connections are open.
    Open {
        /// Connections.
        connections: u64,
    },
    /// Everything of this key is refused for so long.
    Banned {
        /// Nanoseconds.
        left_ns: u64,
    },
    /// The source has shown a SYN cookie, and need not show another for so long.
    Proven {
        /// Nanoseconds.
        left_ns: u64,
    },
}

impl Level {
    /// Of a limit that is not by key. Nothing for a bucket that is full.
    #[must_use]
    pub fn of_bucket(bucket: &Bucket, limit: &LimitEntry, now: LimitTime) -> Option<Level> {
        if limit.unit == Unit::OpenConnections as u8 {
            return (bucket.full_at != 0).then_some(Level::Open { connections: bucket.full_at });
        }
        Level::of_time(bucket.full_at, limit, now)
    }

    /// Of a key. Nothing for a bucket that is full.
    fn of_key(entry: &KeyedEntry, limit: &LimitEntry, now: LimitTime) -> Option<Level> {
        let count = entry.tag & KEYED_COUNT;
        if limit.unit == Unit::OpenConnections as u8 {
            return (count != 0).then_some(Level::Open { connections: count });
        }
        if limit.scope == Scope::All as u8 {
            // Only SYN cookies have keys without being by key.
            let left = ahead(entry.full_at, now.0, time(PROVEN_NS));
            return (left != 0).then_some(Level::Proven { left_ns: left >> TIME_SHIFT });
        }
        if count == BANNED {
            let left = ahead(entry.full_at, now.0, AHEAD_MAX);
            return (left != 0).then_some(Level::Banned { left_ns: left >> TIME_SHIFT });
        }
        Level::of_time(entry.full_at, limit, now)
    }

    fn of_time(full_at: u64, limit: &LimitEntry, now: LimitTime) -> Option<Level> {
        let ahead = ahead(full_at, now.0, limit.horizon);
        let part = u128::from(ahead) * 1000 / u128::from(limit.depth.max(1));
        let permille = u64::try_from(part).unwrap_or(u64::MAX);
        (ahead != 0).then_some(Level::Used { permille, full_in_ns: ahead >> TIME_SHIFT })
    }

    /// The order of keys, the most indebted first: bans, then the rest by how much is used.
    #[must_use]
    pub fn rank(&self) -> (bool, u64) {
        match *self {
            Level::Banned { left_ns } => (true, left_ns),
            Level::Used { permille, .. } => (false, permille),
            Level::Open { connections } => (false, connections),
            Level::Proven { left_ns } => (false, left_ns),
        }
    }
}

/// The bucket of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBucket {
    /// Whose it is.
    pub name: KeyName,
    /// How full it is.
    pub level: Level,
}

/// Keys of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySums {
    /// Keys whose bucket is not full.
    pub in_debt: u32,
    /// Those of them that are banned.
    pub banned: u32,
}

/// What a walk over all keys found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyScan {
    /// By limit slot.
    slots: Vec<KeySums>,
    /// Entries that belong to a key, in debt or not. A key that is not in debt gives way at once.
    pub entries: u64,
    /// Entries whose key is in debt, those of limits that the policy does not hold any more among them.
    pub in_debt: u64,
    /// Entries that changed hands each time they were read.
    pub unsettled: u64,
}

impl KeyScan {
    /// Keys of the limit with this slot.
    #[must_use]
    pub fn sums(&self, slot: u32) -> KeySums {
        self.slots.get(slot as usize).copied().unwrap_or_default()
    }

    /// Adds an entry to what was found.
    fn note(
        &mut self,
        (entry, name): (KeyedEntry, KeyName),
        limits: &LimitsBySlot,
        now: LimitTime,
        each: &mut impl FnMut(&KeyBucket),
    ) {
        let (Some(limit), Some(sums)) = (limits.get(name.slot), self.slots.get_mut(name.slot as usize))
        else {
            self.in_debt += u64::from(ahead(entry.full_at, now.0, AHEAD_MAX) > 0);
            return;
        };
        let Some(level) = Level::of_key(&entry, limit, now) else { return };
        self.in_debt += 1;
        sums.in_debt += 1;
        sums.banned += u32::from(matches!(level, Level::Banned { .. }));
        each(&KeyBucket { name, level });
    }
}

/// What a walk over the table of open connections found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionScan {
    /// Connections by limit slot.
    pub slots: HashMap<u32, u64>,
    /// All of them.
    pub entries: u64,
}

/// What an entry holds of a hash, above its count.
fn tag(hash: u64) -> u64 {
    (hash & !KEYED_COUNT) | (KEYED_COUNT + 1)
}

fn hash_of(seed: u64, name: &KeyName) -> u64 {
    key_hash(owner_hash(seed, name.family, name.key), name.slot)
}

fn is_empty(entry: &KeyedEntry) -> bool {
    *entry == KeyedEntry::default()
}

impl Readers {
    /// What a limit counted on all CPUs; zero for a slot that does not exist.
    #[must_use]
    pub fn limit_counts(&self, slot: u32) -> LimitCount {
        let mut sum = LimitCount::default();
        if (slot as usize) < MAX_LIMITS {
            for count in self.per_cpu(&self.0.limits.counts, |cpu| cpu * MAX_LIMITS as u32 + slot) {
                add_count(&mut sum.admitted, &count.admitted);
                add_count(&mut sum.refused, &count.refused);
                sum.evicted += count.evicted;
                sum.bans += count.bans;
                sum.cookies += count.cookies;
                sum.proven += count.proven;
            }
        }
        sum
    }

    /// The bucket of a limit that is not by key; an untouched one for a slot that does not exist.
    #[must_use]
    pub fn bucket(&self, slot: u32) -> Bucket {
        self.0.limits.buckets.load(slot).unwrap_or_default()
    }

    /// Places for keys of limits, all together.
    #[must_use]
    pub fn keys_max(&self) -> u64 {
        u64::from(self.0.limits.keyed.len()) * KEYED_WAYS as u64
    }

    /// Places for open connections, all together.
    #[must_use]
    pub fn connections_max(&self) -> u64 {
        u64::from(self.0.limits.connections.len()) * CONNECTION_WAYS as u64
    }

    /// Walks over the keys of all limits; `each` sees those in debt whose limit is among `limits`.
    pub fn limit_keys(
        &self,
        limits: &LimitsBySlot,
        now: LimitTime,
        mut each: impl FnMut(&KeyBucket),
    ) -> KeyScan {
        let slots = vec![KeySums::default(); MAX_LIMITS];
        let mut scan = KeyScan { slots, entries: 0, in_debt: 0, unsettled: 0 };
        let maps = &self.0.limits;
        let seed = self.limit_seed();
        let belongs =
            |entry: &KeyedEntry, name: &KeyName| entry.tag & !KEYED_COUNT == tag(hash_of(seed, name));
        for set in 0..maps.keyed.len() {
            let Some(entries) = maps.keyed.load(set) else { continue };
            if entries.iter().all(is_empty) {
                continue;
            }
            let Some(names) = maps.names.load(set) else { continue };
            for way in (0..KEYED_WAYS).filter(|way| !is_empty(&entries[*way])) {
                scan.entries += 1;
                let mut found = (entries[way], names[way]);
                // An entry holds a hash of its name. Until they belong together, it changes hands.
                for _ in 0..TRIES {
                    if belongs(&found.0, &found.1) {
                        break;
                    }
                    std::hint::spin_loop();
                    let name = maps.names.load(set).unwrap_or(names)[way];
                    found = (maps.keyed.load(set).unwrap_or(entries)[way], name);
                }
                if belongs(&found.0, &found.1) {
                    scan.note(found, limits, now, &mut each);
                } else {
                    scan.unsettled += 1;
                }
            }
        }
        scan
    }

    /// Fills the bucket of a key up, and so ends its ban; whether there was anything to fill up. The key is
    /// [`KeyName::key`]. Not for limits of open connections, which are open all the same.
    pub fn forgive_key(&self, slot: u32, family: u32, key: [u64; 2], now: LimitTime) -> bool {
        let owner = owner_hash(self.limit_seed(), family, key);
        let hash = key_hash(owner, slot);
        let sets = &self.0.limits.keyed;
        let mask = sets.len().wrapping_sub(1);
        let mut forgiven = false;
        for set in key_sets(owner, hash, mask) {
            for way in 0..KEYED_WAYS {
                let Some(entry) = sets.load(set).map(|entries| entries[way]) else { continue };
                if entry.tag & !KEYED_COUNT != tag(hash) {
                    continue;
                }
                let offset = way * size_of::<KeyedEntry>() + offset_of!(KeyedEntry, full_at);
                forgiven |= sets.fetch_update_u64(set, offset, |full_at| {
                    (ahead(full_at, now.0, AHEAD_MAX) > 0).then_some(now.0)
                });
            }
        }
        forgiven
    }

    /// Walks over the open connections that limits count.
    #[must_use]
    pub fn limit_connections(&self) -> ConnectionScan {
        let mut scan = ConnectionScan::default();
        let maps = &self.0.limits;
        for set in 0..maps.connections.len() {
            for entry in maps.connections.load(set).iter().flatten().filter(|entry| entry.tag != 0) {
                scan.entries += 1;
                let slot = if entry.owner & OWNER_KEYED == 0 {
                    Some(entry.owner)
                } else {
                    let place = (entry.owner & !OWNER_KEYED) as usize;
                    let names = maps.names.load((place / KEYED_WAYS) as u32);
                    names.map(|names| names[place % KEYED_WAYS].slot)
                };
                *scan.slots.entry(slot.unwrap_or_default()).or_default() += 1;
            }
        }
        scan
    }

    fn limit_seed(&self) -> u64 {
        self.0.control.load_u64(0, offset_of!(Control, limit_seed)).unwrap_or_default()
    }
}
