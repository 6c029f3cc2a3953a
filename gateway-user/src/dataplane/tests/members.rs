//! The table of live members, in a file that is mapped as the kernel's map is, and in the kernel.

use super::super::mapped::MappedMut;
use super::super::members::{MemberPlan, MemberTable};
use super::super::{Error, LiveMember, MemberChange};
use super::*;
use gateway_common::abi::{Control, Line};
use gateway_common::live::{FOR_EVER, LENGTHS_V4_LINE, MAX_LABELS, MAX_LENGTHS, TABLE_LINE, labels_of};
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

/// Members by prefix and label, and their ends.
type Known = BTreeMap<(IpNet, u32), u32>;

/// A table of its own, new or kept.
struct Fixture {
    file: std::fs::File,
    lines: u32,
}

impl Fixture {
    fn new(table_lines: u32) -> Fixture {
        let file = tempfile::tempfile().unwrap();
        let lines = TABLE_LINE + table_lines;
        file.set_len(u64::from(lines) * size_of::<Line>() as u64).unwrap();
        Fixture { file, lines }
    }

    fn map(&self) -> MappedMut<Line> {
        MappedMut::new("LIVE", self.file.as_fd(), self.lines).unwrap()
    }

    fn open(&self) -> MemberTable {
        MemberTable::open(self.map()).unwrap()
    }

    /// The lines as a reader finds them.
    fn lines(&self) -> Vec<Line> {
        let map = self.map();
        (0..self.lines).map(|line| map.load(line).unwrap()).collect()
    }
}

fn member(prefix: &str, label: u32, until: u32) -> LiveMember {
    LiveMember { prefix: prefix.parse().unwrap(), label, until }
}

fn commit(table: &mut MemberTable, changes: &[MemberChange]) -> Result<u32, Error> {
    let plan = table.plan(changes)?;
    let mut waits = 0;
    table.commit(plan, &mut || {
        waits += 1;
        Ok(())
    })?;
    Ok(waits)
}

/// What a reader finds for a source.
fn carried(lines: &[Line], source: IpAddr, now: u32) -> Vec<u32> {
    let (family, address) = match source {
        IpAddr::V4(address) => (4, [u64::from(u32::from(address)) << 32, 0]),
        IpAddr::V6(address) => (6, [(u128::from(address) >> 64) as u64, u128::from(address) as u64]),
    };
    let mut labels = labels_of(lines, family, address, now).unwrap().labels.to_vec();
    labels.retain(|label| *label != 0);
    labels.sort_unstable();
    labels
}

/// What a reader finds who looks into the first line at one moment and into the second at another.
fn carried_in_two_looks(first: &[Line], second: &[Line], source: IpAddr) -> Vec<u32> {
    let IpAddr::V4(address) = source else { panic!("{source}") };
    let hash = gateway_common::live::place([u64::from(u32::from(address)) << 32, 0], 0x400 + 32);
    let mask = (hash >> 32) as u32 & (first.len() as u32 - TABLE_LINE - 1);
    let line = (TABLE_LINE + mask) as usize;
    let mut seen = first.to_vec();
    seen[line] = second[line];
    carried(&seen, source, 0)
}

/// What it should find, if that are not more than it can.
fn expected(known: &Known, source: IpAddr, now: u32) -> Option<Vec<u32>> {
    let holds = |(prefix, until): (&IpNet, u32)| {
        prefix.contains(&source) && (until == FOR_EVER || until.wrapping_sub(now) as i32 > 0)
    };
    let found = known.iter().filter(|((prefix, _), until)| holds((prefix, **until)));
    let mut labels: Vec<u32> = found.map(|((_, label), _)| *label).collect();
    labels.sort_unstable();
    (labels.len() <= MAX_LABELS).then_some(labels)
}

fn of(table: &MemberTable) -> Known {
    let all: Known = table.members().iter().map(|m| ((m.prefix, m.label), m.until)).collect();
    assert_eq!(all.len() as u32, table.count(), "none is there twice");
    all
}

/// Few prefixes, so that they meet.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (0u32..64, 0u8..=32).prop_map(|(bits, length)| {
        IpNet::new(Ipv4Addr::from(bits << 26 | bits).into(), length).unwrap().trunc()
    });
    let v6 = (0u128..16, prop::sample::select(vec![0u8, 16, 48, 64, 127, 128])).prop_map(|(bits, length)| {
        IpNet::new(std::net::Ipv6Addr::from(bits << 124 | bits).into(), length).unwrap().trunc()
    });
    prop_oneof![3 => v4, 1 => v6]
}

fn change() -> impl Strategy<Value = MemberChange> {
    let until = prop_oneof![Just(FOR_EVER), 900u32..1100, Just(0)];
    prop_oneof![
        3 => (prefix(), 1u32..5, until)
            .prop_map(|(prefix, label, until)| MemberChange::Set(LiveMember { prefix, label, until })),
        2 => (prefix(), 1u32..5).prop_map(|(prefix, label)| MemberChange::Remove { prefix, label }),
    ]
}

fn apply(known: &mut Known, change: &MemberChange) {
    match *change {
        MemberChange::Set(m) => known.insert((m.prefix, m.label), m.until),
        MemberChange::Remove { prefix, label } => known.remove(&(prefix, label)),
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Batches, refused ones among them, against a map; read back as the kernel reads.
    #[test]
    fn a_reader_finds_what_was_written(
        batches in prop::collection::vec(prop::collection::vec(change(), 1..12), 1..30),
        table_lines in prop::sample::select(vec![1u32, 4, 16, 64]),
        reopen in any::<prop::sample::Index>(),
    ) {
        let fixture = Fixture::new(table_lines);
        let mut table = fixture.open();
        let mut known = Known::new();
        let reopen = reopen.index(batches.len());
        for (i, batch) in batches.iter().enumerate() {
            if i == reopen {
                table = fixture.open();
            }
            match commit(&mut table, batch) {
                Ok(_) => batch.iter().for_each(|change| apply(&mut known, change)),
                Err(Error::MembersFull { most, .. }) => prop_assert_eq!(most, u64::from(table_lines) * 2),
                Err(error) => prop_assert!(false, "{error}"),
            }
            prop_assert_eq!(&of(&table), &known);
        }
        let lines = fixture.lines();
        for source in known.keys().flat_map(|(prefix, _)| [prefix.network(), prefix.broadcast()]) {
            if let Some(labels) = expected(&known, source, 1000) {
                prop_assert_eq!(carried(&lines, source, 1000), labels, "{}", source);
            }
        }
        // And all at once.
        let wanted: Vec<LiveMember> =
            known.iter().map(|((prefix, label), until)| LiveMember { prefix: *prefix, label: *label, until: *until }).collect();
        let (plan, refused) = table.plan_all(&wanted);
        prop_assert!(refused.is_empty());
        let lines_before = fixture.lines();
        table.commit(plan, &mut || Ok(())).unwrap();
        prop_assert_eq!(fixture.lines(), lines_before, "what is as it should be is left alone");
    }
}

/// Between any two stores a member that stays is found once or twice: whatever moment a reader
/// looks at its two lines, it is never without it.
#[test]
fn who_stays_is_seen_all_the_time() {
    let moved = std::cell::Cell::new(0);
    let hosts = prop::collection::btree_set(1u32..4000, 52..62);
    let mut runner = TestRunner::new(Config::with_cases(100));
    let seen = runner.run(&hosts, |hosts| {
        let fixture = Fixture::new(32);
        let mut table = fixture.open();
        let mut stays: Vec<IpAddr> = Vec::new();
        for host in hosts {
            let address = IpAddr::from(Ipv4Addr::from(host << 8));
            let set = MemberChange::Set(LiveMember { prefix: address.into(), label: 1, until: FOR_EVER });
            // Both its lines and those that their members could move to are full: another may fit.
            let Ok(plan) = table.plan(&[set]) else { continue };
            let moments = moments(&fixture, &plan);
            // Whoever makes room for it is written in another line before he leaves his.
            moved.set(moved.get() + usize::from(moments.len() > 1));
            for moments in &moments {
                for (i, first) in moments.iter().enumerate() {
                    for second in &moments[i..] {
                        for address in &stays {
                            let found = carried_in_two_looks(first, second, *address);
                            prop_assert!(found == [1] || found == [1, 1], "{address}: {found:?}");
                        }
                    }
                }
            }
            table.commit(plan, &mut || Ok(())).unwrap();
            stays.push(address);
        }
        Ok(())
    });
    seen.unwrap();
    assert!(moved.get() > 0, "no member had to make room, so nothing was looked at");
}

/// The table after each store of a plan, from one wait to the next: one reader may meet with any
/// two moments that no wait is between.
fn moments(fixture: &Fixture, plan: &MemberPlan) -> Vec<Vec<Vec<Line>>> {
    let mut moments = vec![vec![fixture.lines()]];
    for store in plan.stores() {
        let now = moments.last().unwrap().last().unwrap().clone();
        match store {
            None => moments.push(vec![now]),
            Some((line, word, value)) => {
                let mut lines = now;
                lines[line as usize].0[word] = value;
                moments.last_mut().unwrap().push(lines);
            }
        }
    }
    moments
}

#[test]
fn a_table_that_is_full_refuses_the_whole_batch() {
    let fixture = Fixture::new(1024);
    let mut table = fixture.open();
    let mut waits = 0;
    let full = (0u32..)
        .find_map(|host| {
            let set = member(&format!("{}/32", Ipv4Addr::from(host)), 1, FOR_EVER);
            match commit(&mut table, &[MemberChange::Set(set)]) {
                Ok(more) => {
                    waits += more;
                    None
                }
                Err(error) => Some(error),
            }
        })
        .unwrap();
    let count = table.count();
    assert!(count > 2048 * 8 / 10, "{count}");
    assert!(waits < count / 10, "{waits} waits for {count} members");
    assert!(matches!(full, Error::MembersFull { members, most: 2048 } if members == count), "{full}");
    assert!(full.to_string().contains("`live_lines`"), "{full}");
    let before = fixture.lines();
    let batch: Vec<MemberChange> = (0..2048u32)
        .map(|host| MemberChange::Set(member(&format!("10.0.{}.{}/32", host / 256, host % 256), 2, FOR_EVER)))
        .collect();
    assert!(commit(&mut table, &batch).is_err());
    assert_eq!(fixture.lines(), before);
    // What leaves makes room in the same batch.
    let prefix: IpNet = "0.0.0.0/32".parse().unwrap();
    let swap = [
        MemberChange::Remove { prefix, label: 1 },
        MemberChange::Set(LiveMember { prefix, label: 2, until: FOR_EVER }),
    ];
    commit(&mut table, &swap).unwrap();
    assert_eq!(carried(&fixture.lines(), "0.0.0.0".parse().unwrap(), 0), [2]);
}

#[test]
fn there_are_only_so_many_lengths() {
    let fixture = Fixture::new(256);
    let mut table = fixture.open();
    for length in 0..MAX_LENGTHS {
        let set = |prefix: &str| MemberChange::Set(member(prefix, 1, FOR_EVER));
        commit(&mut table, &[set(&format!("::/{}", length + 40)), set(&format!("0.0.0.0/{length}"))])
            .unwrap();
    }
    let one_more = MemberChange::Set(member("::/128", 1, FOR_EVER));
    let error = commit(&mut table, &[one_more]).unwrap_err();
    assert!(matches!(error, Error::MemberLengths { length: 128, most: MAX_LENGTHS }), "{error}");
    let gone = MemberChange::Remove { prefix: "::/40".parse().unwrap(), label: 1 };
    commit(&mut table, &[gone, one_more]).unwrap();
    let lines = fixture.lines();
    assert_eq!(carried(&lines, "::".parse().unwrap(), 0).len(), MAX_LABELS);
    assert_eq!(carried(&lines, "128.0.0.1".parse().unwrap(), 0), [1]);
}

#[test]
fn what_a_crash_left_is_tidied_up() {
    let fixture = Fixture::new(16);
    let mut table = fixture.open();
    let kept = [member("192.0.2.0/24", 1, FOR_EVER), member("2001:db8::/32", 2, 77)];
    commit(&mut table, &kept.map(MemberChange::Set)).unwrap();
    let map = fixture.map();
    // On its way from one line to the other: in both.
    let (line, members) = (TABLE_LINE..TABLE_LINE + 16)
        .find_map(|line| Some((line, map.load(line)?)).filter(|(_, found)| found.0[2] >> 32 == 0x400 + 24))
        .unwrap();
    let words = [members.0[0], members.0[1], members.0[2], members.0[3]];
    let hash = gateway_common::live::place([words[0], words[1]], (words[2] >> 32) as u32);
    let both = [hash as u32 & 15, (hash >> 32) as u32 & 15].map(|line| TABLE_LINE + line);
    let other = if both[0] == line { both[1] } else { both[0] };
    for (i, word) in words.into_iter().enumerate() {
        assert!(map.store_u64(other, 32 + i * 8, word));
    }
    // Something that is no member, something in a wrong line, a length whose member never came.
    assert!(map.store_u64(TABLE_LINE + 3, 16, 0x999 << 32 | 1));
    let stray = (TABLE_LINE..TABLE_LINE + 16).find(|line| !both.contains(line) && *line != TABLE_LINE + 3);
    for (i, word) in words.into_iter().enumerate() {
        assert!(map.store_u64(stray.unwrap(), i * 8, word));
    }
    assert!(map.store_u64(LENGTHS_V4_LINE, 0, 24 | 9 << 8 | 24 << 16));
    assert!(map.store_u64(0, 0, 3 | 1 << 32));

    let table = fixture.open();
    assert_eq!(of(&table), kept.iter().map(|m| ((m.prefix, m.label), m.until)).collect());
    let lines = fixture.lines();
    assert_eq!((lines[0].0[0], lines[LENGTHS_V4_LINE as usize].0[0] & 0xff), (1 | 1 << 32, 24));
    assert_eq!(carried(&lines, "192.0.2.9".parse().unwrap(), 0), [1]);
    assert_eq!(carried(&lines, "2001:db8::9".parse().unwrap(), 76), [2]);
    assert_eq!(carried(&lines, "2001:db8::9".parse().unwrap(), 77), [0u32; 0]);
}

#[test]
fn only_what_differs_is_written_when_all_is_told_at_once() {
    let fixture = Fixture::new(64);
    let mut table = fixture.open();
    let first = [member("10.0.0.0/8", 1, 500), member("10.1.0.0/16", 1, FOR_EVER), member("::/0", 2, 9)];
    commit(&mut table, &first.map(MemberChange::Set)).unwrap();
    // A tick is rounding; two are another end.
    let wanted = [member("10.0.0.0/8", 1, 501), member("::/0", 2, 11), member("10.0.0.0/8", 3, 1)];
    let (plan, refused) = table.plan_all(&wanted);
    assert!(refused.is_empty());
    table.commit(plan, &mut || Ok(())).unwrap();
    let ends: Vec<(IpNet, u32, u32)> = of(&table).into_iter().map(|((p, l), u)| (p, l, u)).collect();
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    assert_eq!(ends, [(net("10.0.0.0/8"), 1, 500), (net("10.0.0.0/8"), 3, 1), (net("::/0"), 2, 11)]);
    // What does not fit is named, and the rest is there.
    let small = Fixture::new(1);
    let mut table = small.open();
    let wanted: Vec<LiveMember> = (0..5).map(|i| member(&format!("10.0.0.{i}/32"), 1, 1)).collect();
    let (plan, refused) = table.plan_all(&wanted);
    table.commit(plan, &mut || Ok(())).unwrap();
    assert_eq!((table.count(), refused.len()), (2, 3));
    let there: BTreeSet<IpNet> = table.members().iter().map(|m| m.prefix).collect();
    assert!(refused.iter().all(|(m, _)| !there.contains(&m.prefix)));
}

#[test]
fn the_kernels_table_is_kept_over_a_restart_and_the_memo_made_stale() {
    let dir = PinDir::new();
    let options = Options { live_lines: 256, ..dir.options() };
    let mut dataplane = Dataplane::open(&options).unwrap();
    let live = |dataplane: &Dataplane| {
        let size = dataplane.map_sizes().into_iter().find(|size| size.map == "LIVE").unwrap();
        (size.entries, size.max_entries)
    };
    assert_eq!(live(&dataplane), (0, 512));
    let word = |dataplane: &Dataplane, offset| dataplane.control.load_u64(0, offset).unwrap();
    let stamp = |dataplane: &Dataplane| Control::stamp_of(word(dataplane, offset_of!(Control, active)));
    dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
    let before = stamp(&dataplane);
    let all = [member("10.0.0.1/32", 1, FOR_EVER), member("2001:db8::/32", 7, 9)];
    let plan = dataplane.plan_members(&all.map(MemberChange::Set)).unwrap();
    dataplane.commit_members(plan).unwrap();
    assert_eq!((live(&dataplane), stamp(&dataplane)), ((2, 512), before + 1), "one stamp for a batch");
    let (plan, _) = dataplane.plan_all_members(&all);
    dataplane.commit_members(plan).unwrap();
    assert_eq!(stamp(&dataplane), before + 1, "nothing changed");
    drop(dataplane);
    let dataplane = Dataplane::open(&options).unwrap();
    let found: BTreeSet<(IpNet, u32)> = dataplane.members().iter().map(|m| (m.prefix, m.label)).collect();
    assert_eq!(found, all.iter().map(|m| (m.prefix, m.label)).collect());

    // What limits count in: never ahead of the clock, behind by less than a jiffy (and a slow reading).
    let ns_per_jiffy = word(&dataplane, offset_of!(Control, ns_per_jiffy));
    let origin = word(&dataplane, offset_of!(Control, jiffies_offset_ns));
    let clock = dataplane.readers().clock().unwrap();
    assert_eq!(clock.ns_per_jiffy(), ns_per_jiffy);
    for _ in 0..50 {
        let clock = dataplane.readers().clock().unwrap();
        let coarse = clock.jiffies().wrapping_mul(ns_per_jiffy).wrapping_add(origin);
        let behind = clock.now_ns().wrapping_sub(coarse) as i64;
        assert!((-100_000..2 * ns_per_jiffy as i64).contains(&behind), "{behind}");
        thread::sleep(std::time::Duration::from_millis(1));
    }
}
