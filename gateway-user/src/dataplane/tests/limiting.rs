//! What the kernel keeps of limits, as it is read; the tests write in its place.

use super::super::mapped::MappedMut;
use super::super::object::open_map;
use super::super::{KeyBucket, KeySums, Level, LimitTime, LimitsBySlot};
use super::*;
use bytemuck::Pod;
use gateway_common::abi::{
    BANNED, Bucket, ConnectionEntry, ConnectionSet, Count, KEYED_COUNT, KEYED_WAYS, KeyName, KeyedEntry,
    KeyedNames, KeyedSet, LimitCount, OWNER_KEYED, maps,
};
use gateway_common::image::{LimitEntry, MAX_LIMITS};
use gateway_common::limit::{Scope, Unit, cost, key_hash, key_sets, owner_hash, price, time};
use gateway_common::packet::ipv4_address;
use std::os::fd::AsFd;

const NOW_NS: u64 = 5_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

fn small(dir: &PinDir) -> Options {
    Options { limit_sets: 64, connection_sets: 16, ..dir.options() }
}

pub(super) fn writer<T: Pod>(dataplane: &Dataplane, map: &'static str) -> MappedMut<T> {
    let data = open_map(map, &dataplane.pins.map(map)).unwrap();
    let len = data.info().unwrap().max_entries();
    MappedMut::new(map, data.fd().as_fd(), len).unwrap()
}

/// 1,000 packets a second, 100 at once; a ban of a minute after 10 refusals.
fn limit(slot: u32) -> LimitEntry {
    let (cost, shift) = cost(1000);
    LimitEntry {
        cost,
        shift,
        depth: price(100, cost, shift),
        hold: time(60 * SECOND_NS),
        slot,
        ban_after: 10,
        unit: Unit::Packets as u8,
        scope: Scope::Source as u8,
        ipv4_length: 32,
        ipv6_length: 64,
        ..LimitEntry::default()
    }
    .completed()
}

/// Writes keys as the kernel does.
struct Keys {
    sets: MappedMut<KeyedSet>,
    names: MappedMut<KeyedNames>,
    seed: u64,
}

impl Keys {
    fn open(dataplane: &Dataplane) -> Keys {
        let control: MappedMut<gateway_common::abi::Control> = writer(dataplane, maps::CONTROL);
        let seed = control.load(0).unwrap().limit_seed;
        Keys { sets: writer(dataplane, maps::KEYED), names: writer(dataplane, maps::KEYED_NAMES), seed }
    }

    /// Puts a key into a free way of its first set, and says which entry that is.
    fn put(&self, slot: u32, key: [u64; 2], count: u64, full_at: u64) -> u32 {
        let owner = owner_hash(self.seed, 4, key);
        let hash = key_hash(owner, slot);
        let [set, _] = key_sets(owner, hash, self.sets.len() - 1);
        let mut entries = self.sets.load(set).unwrap();
        let mut names = self.names.load(set).unwrap();
        let way = entries.iter().position(|entry| entry.tag == 0).unwrap();
        entries[way] = KeyedEntry { tag: (hash & !KEYED_COUNT) | (KEYED_COUNT + 1) | count, full_at };
        names[way] = KeyName { key, slot, family: 4, ..KeyName::default() };
        assert!(self.names.store(set, &names) && self.sets.store(set, &entries));
        set * KEYED_WAYS as u32 + way as u32
    }
}

#[test]
fn counters_are_added_up_over_cpus() {
    in_namespace(|| {
        let dir = PinDir::new();
        let dataplane = Dataplane::open(&small(&dir)).unwrap();
        let counts: MappedMut<LimitCount> = writer(&dataplane, maps::LIMITS);
        let one = LimitCount {
            admitted: Count { packets: 1, bytes: 60 },
            refused: Count { packets: 2, bytes: 120 },
            evicted: 3,
            bans: 4,
            cookies: 5,
            proven: 6,
        };
        let cpus = counts.len() / MAX_LIMITS as u32;
        for cpu in 0..cpus {
            assert!(counts.store(cpu * MAX_LIMITS as u32 + 7, &one));
        }
        let cpus = u64::from(cpus);
        let sum = dataplane.readers().limit_counts(7);
        assert_eq!(sum.admitted, Count { packets: cpus, bytes: 60 * cpus });
        assert_eq!(sum.refused, Count { packets: 2 * cpus, bytes: 120 * cpus });
        assert_eq!(
            [sum.evicted, sum.bans, sum.cookies, sum.proven],
            [3 * cpus, 4 * cpus, 5 * cpus, 6 * cpus]
        );
        assert_eq!(dataplane.readers().limit_counts(8), LimitCount::default());
        assert_eq!(dataplane.readers().limit_counts(MAX_LIMITS as u32 + 7), LimitCount::default());

        let buckets: MappedMut<Bucket> = writer(&dataplane, maps::BUCKETS);
        let bucket = Bucket { full_at: 9, attack_until: 10, ..Bucket::default() };
        assert!(buckets.store(7, &bucket));
        assert_eq!(dataplane.readers().bucket(7), bucket);
        assert_eq!(dataplane.readers().bucket(u32::MAX), Bucket::default());
    });
}

#[test]
fn keys_are_found_with_their_debts_and_bans() {
    in_namespace(|| {
        let dir = PinDir::new();
        let dataplane = Dataplane::open(&small(&dir)).unwrap();
        let readers = dataplane.readers();
        assert_eq!(readers.keys_max(), 256);
        let keys = Keys::open(&dataplane);
        let now = time(NOW_NS);
        let key = |host: u32| ipv4_address(0x0a00_0000 + host);
        keys.put(3, key(1), 0, now.wrapping_sub(1)); // full
        keys.put(3, key(2), 5, now + time(50_000_000)); // half of 100 packets
        keys.put(3, key(3), BANNED, now + time(40 * SECOND_NS));
        keys.put(3, key(4), 10, now + time(1000 * SECOND_NS)); // of long ago: no bucket is that far ahead
        keys.put(9, key(5), 0, now + time(SECOND_NS)); // of a limit that is no more
        let lone = keys.put(3, key(6), 0, now + 1);
        let stray = KeyName { key: key(7), slot: 3, family: 4, ..KeyName::default() };
        let set = lone / KEYED_WAYS as u32;
        let mut names = keys.names.load(set).unwrap();
        names[lone as usize % KEYED_WAYS] = stray;
        assert!(keys.names.store(set, &names)); // the name of another key

        let limits: LimitsBySlot = [limit(3), limit(4)].into_iter().collect();
        let moment = LimitTime::from_ns(NOW_NS);
        let mut found: Vec<KeyBucket> = Vec::new();
        let scan = readers.limit_keys(&limits, moment, |bucket| found.push(*bucket));
        assert_eq!((scan.entries, scan.in_debt, scan.unsettled), (6, 3, 1));
        assert_eq!(scan.sums(3), KeySums { in_debt: 2, banned: 1 });
        assert_eq!((scan.sums(4), scan.sums(u32::MAX)), (KeySums::default(), KeySums::default()));
        found.sort_by_key(|bucket| std::cmp::Reverse(bucket.level.rank()));
        let found: Vec<_> = found.iter().map(|found| (found.name.key, found.level)).collect();
        assert_eq!(
            found,
            [
                (key(3), Level::Banned { left_ns: 40 * SECOND_NS }),
                (key(2), Level::Used { permille: 500, full_in_ns: 50_000_000 }),
            ]
        );

        assert!(readers.forgive_key(3, 4, key(3), moment));
        assert!(!readers.forgive_key(3, 4, key(3), moment), "there is nothing left to forgive");
        assert!(!readers.forgive_key(3, 4, key(100), moment));
        let scan = readers.limit_keys(&limits, moment, |_| {});
        assert_eq!(scan.sums(3), KeySums { in_debt: 1, banned: 0 });
    });
}

#[test]
fn a_bucket_is_read_by_its_limit() {
    let moment = LimitTime::from_ns(NOW_NS);
    let now = time(NOW_NS);
    let level = |limit: &LimitEntry, full_at| {
        Level::of_bucket(&Bucket { full_at, ..Bucket::default() }, limit, moment)
    };
    let plain = LimitEntry { ban_after: 0, hold: 0, scope: Scope::All as u8, ..limit(1) }.completed();
    assert_eq!((level(&plain, 0), level(&plain, now)), (None, None));
    // Nothing can be further ahead.
    assert_eq!(level(&plain, now + plain.horizon + 1), None);
    let (cost, shift) = cost(125_000);
    let bytes = LimitEntry { cost, shift, depth: price(1000, cost, shift), unit: Unit::Bytes as u8, ..plain }
        .completed();
    // A packet of 1,500 bytes passed a full bucket of 1,000.
    let debt = level(&bytes, now + price(1500, cost, shift));
    assert_eq!(debt, Some(Level::Used { permille: 1500, full_in_ns: 12_000_000 }));
    let open = LimitEntry { cost: 0, depth: 10, unit: Unit::OpenConnections as u8, ..plain }.completed();
    assert_eq!((level(&open, 7), level(&open, 0)), (Some(Level::Open { connections: 7 }), None));
}

#[test]
fn connections_and_proven_sources_are_keys_too() {
    in_namespace(|| {
        let dir = PinDir::new();
        let dataplane = Dataplane::open(&small(&dir)).unwrap();
        let keys = Keys::open(&dataplane);
        let now = time(NOW_NS);
        keys.put(5, ipv4_address(1), 12, now + time(3600 * SECOND_NS));
        keys.put(5, ipv4_address(2), 0, now + time(3600 * SECOND_NS)); // all are closed
        keys.put(6, ipv4_address(3), 0, now + time(9 * SECOND_NS));
        let open = LimitEntry { cost: 0, depth: 20, unit: Unit::OpenConnections as u8, ..limit(5) };
        let syn = LimitEntry { scope: Scope::All as u8, unit: Unit::NewConnections as u8, ..limit(6) };
        let limits: LimitsBySlot = [open, syn].into_iter().collect();
        let mut found = Vec::new();
        let moment = LimitTime::from_ns(NOW_NS);
        dataplane
            .readers()
            .limit_keys(&limits, moment, |bucket| found.push((bucket.name.slot, bucket.level)));
        found.sort_by_key(|(slot, _)| *slot);
        let proven = Level::Proven { left_ns: 9 * SECOND_NS };
        assert_eq!(found, [(5, Level::Open { connections: 12 }), (6, proven)]);
    });
}

#[test]
fn open_connections_are_counted_by_limit() {
    in_namespace(|| {
        let dir = PinDir::new();
        let dataplane = Dataplane::open(&small(&dir)).unwrap();
        let keys = Keys::open(&dataplane);
        let owner = keys.put(5, ipv4_address(1), 0, 2);
        let table: MappedMut<ConnectionSet> = writer(&dataplane, maps::CONNECTIONS);
        let open = |tag: u64, owner| ConnectionEntry { tag: tag << 2 | 1, owner, last: 0 };
        let none = ConnectionEntry::default();
        assert!(table.store(3, &[open(1, 4), none, open(2, OWNER_KEYED | owner), open(3, 4)]));
        assert!(table.store(15, &[none, none, none, open(4, OWNER_KEYED | owner)]));
        let scan = dataplane.readers().limit_connections();
        assert_eq!(scan.entries, 4);
        let mut slots: Vec<_> = scan.slots.into_iter().collect();
        slots.sort_unstable();
        assert_eq!(slots, [(4, 2), (5, 2)]);
        assert_eq!(dataplane.readers().connections_max(), 64);
    });
}
