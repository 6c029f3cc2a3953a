//! Tracked connections as they are read, and the states of targets; the tests write in the kernel's place.

use super::super::Connection;
use super::super::mapped::MappedMut;
use super::limiting::writer;
use super::*;
use gateway_common::abi::{
    Count, TARGET_DRAINS, TARGET_KNOWN, TRACK_WAYS, TRACKED_AFFINITY, TagSet, TargetState, Tracked, maps,
};
use gateway_common::packet::address_of;
use gateway_common::track::{Tag, UNIT_SHIFT, phase, units};
use std::net::SocketAddr;
use std::time::Instant;

const NOW_NS: u64 = 9_000 << UNIT_SHIFT;
const TARGET: [u64; 2] = [0x0a00_000b << 32, 0];

fn small(dir: &PinDir) -> Options {
    Options { track_sets: 8, repeatable: Some(1), ..dir.options() }
}

fn known(address: [u64; 2], port: u32) -> TargetState {
    TargetState { address, port, flags: TARGET_KNOWN, ..TargetState::default() }
}

/// What the kernel writes.
struct Kernel {
    tags: MappedMut<TagSet>,
    tracked: MappedMut<Tracked>,
}

impl Kernel {
    fn of(dataplane: &Dataplane) -> Kernel {
        Kernel { tags: writer(dataplane, maps::TRACK_TAGS), tracked: writer(dataplane, maps::TRACKED) }
    }

    /// `left` is in units; 0 is over.
    fn write(&self, index: u32, connection: &Tracked, phase: u8, left: u32) {
        assert!(self.tracked.store(index, connection));
        let tag = Tag::new(u64::from(index) << 32, phase, units(NOW_NS) + left);
        let (set, way) = (index / TRACK_WAYS as u32, index as usize % TRACK_WAYS);
        assert!(self.tags.store_u64(set, way * 8, tag.0));
    }
}

fn tracked(slot: u32, client_port: u16) -> Tracked {
    let address = |text: &str| address_of(text.parse().unwrap());
    Tracked {
        client: address("198.51.100.7"),
        service: address("203.0.113.10"),
        client_port,
        service_port: 80,
        protocol: 6,
        family: 4,
        counter: 17,
        slot: slot as u16,
        packets: 3,
        bytes: 300,
        target: TARGET,
        source: address("10.0.0.1"),
        target_port: 8_080,
        source_port: 61_000,
        opened: units(NOW_NS) - 5,
        return_packets: 2,
        return_bytes: 2_000,
        ..Tracked::default()
    }
}

fn listed(dataplane: &Dataplane) -> Vec<Connection> {
    let mut found = Vec::new();
    dataplane.readers().connections(|connection| found.push(*connection));
    found
}

#[test]
fn connections_are_told_as_they_lie() {
    let dir = PinDir::new();
    let mut dataplane = Dataplane::open(&small(&dir)).unwrap();
    dataplane.set_time(NOW_NS).unwrap();
    dataplane.set_target_states(&[(3, known(TARGET, 8_080))]).unwrap();
    let kernel = Kernel::of(&dataplane);
    kernel.write(9, &tracked(3, 4_242), phase::OPEN, 40);
    let end = |text: &str| text.parse::<SocketAddr>().unwrap();
    let expected = Connection {
        protocol: 6,
        client: end("198.51.100.7:4242"),
        service: end("203.0.113.10:80"),
        target: end("10.0.0.11:8080"),
        source: end("10.0.0.1:61000"),
        phase: phase::OPEN,
        counter: 17,
        slot: 3,
        age_ns: 5 << UNIT_SHIFT,
        left_ns: 40 << UNIT_SHIFT,
        sent: Count { packets: 3, bytes: 300 },
        returned: Count { packets: 2, bytes: 2_000 },
    };
    assert_eq!(listed(&dataplane), [expected]);

    // Over, being taken, an affinity, of a target that is elsewhere now: none of them is one.
    kernel.write(10, &tracked(3, 1), phase::OPEN, 0);
    kernel.write(11, &tracked(3, 2), phase::CLAIMED, 40);
    kernel.write(12, &Tracked { protocol: TRACKED_AFFINITY, ..tracked(3, 3) }, phase::OPEN, 40);
    kernel.write(13, &Tracked { target_port: 8_081, ..tracked(3, 4) }, phase::OPEN, 40);
    kernel.write(14, &tracked(4, 5), phase::OPEN, 40);
    let v6 = Tracked {
        client: address_of("2001:db8::7".parse().unwrap()),
        family: 6,
        protocol: 17,
        ..tracked(3, 6)
    };
    kernel.write(63, &v6, phase::HALF_OPEN, 1);
    let found = listed(&dataplane);
    assert_eq!((found.len(), found[1].client, found[1].phase), (2, end("[2001:db8::7]:6"), phase::HALF_OPEN));
    let counts = dataplane.readers().connection_counts();
    assert_eq!((counts.of(3), counts.of(4), counts.of(u32::MAX)), (2, 0, 0));
    // What takes room, whether it is one or not.
    assert_eq!((counts.entries, dataplane.readers().tracked_max()), (5, 64));

    // Connections of a target that has ended are over, and of one that drains they go on.
    let drains = TargetState { flags: TARGET_KNOWN | TARGET_DRAINS, ..known(TARGET, 8_080) };
    for (state, open) in [
        (drains, 2),
        (TargetState { ends_at_ns: NOW_NS + 1, ..drains }, 2),
        (TargetState { ends_at_ns: NOW_NS, ..drains }, 0),
        (TargetState::default(), 0),
    ] {
        dataplane.set_target_states(&[(3, state)]).unwrap();
        assert_eq!(dataplane.readers().connection_counts().of(3), open, "{state:?}");
        assert_eq!(listed(&dataplane).len() as u64, open, "{state:?}");
    }
}

#[test]
fn targets_are_known_while_a_policy_has_them() {
    let dir = PinDir::new();
    let mut dataplane = Dataplane::open(&small(&dir)).unwrap();
    let readers = dataplane.readers();
    let (one, two) = (known([1, 2], 80), TargetState { ends_at_ns: 5, ..known([3, 4], 0) });
    dataplane.set_target_states(&[(1, one), (2, two)]).unwrap();
    // Before a policy goes live its targets are added, and those of the one before stay.
    let moved = known([1, 9], 80);
    dataplane.add_target_states(&[(1, moved), (3, one)]).unwrap();
    assert_eq!([1, 2, 3].map(|slot| readers.target_state(slot)), [Some(moved), Some(two), Some(one)]);
    dataplane.set_target_states(&[(1, moved), (3, one)]).unwrap();
    assert_eq!([1, 2, 3].map(|slot| readers.target_state(slot)), [Some(moved), None, Some(one)]);
    drop(dataplane);
    // They outlive the process.
    let mut dataplane = Dataplane::open(&small(&dir)).unwrap();
    assert_eq!(dataplane.readers().target_state(3), Some(one));
    assert!(dataplane.add_target_states(&[(u32::MAX, one)]).is_err());
    dataplane.set_target_states(&[]).unwrap();
    assert_eq!(dataplane.readers().target_state(3), None);
}

/// Told, not asserted: the machine's load is nobody's here.
#[test]
fn how_long_a_walk_over_a_million_takes() {
    let dir = PinDir::new();
    let options = Options { track_sets: 1 << 17, ..small(&dir) };
    let mut dataplane = Dataplane::open(&options).unwrap();
    dataplane.set_time(NOW_NS).unwrap();
    dataplane.set_target_states(&[(3, known(TARGET, 0))]).unwrap();
    let kernel = Kernel::of(&dataplane);
    let most = dataplane.readers().tracked_max() as u32;
    for index in 0..most {
        kernel.write(index, &tracked(3, index as u16), phase::OPEN, 40);
    }
    let start = Instant::now();
    let counts = dataplane.readers().connection_counts();
    println!("{most} connections counted in {:?}", start.elapsed());
    assert_eq!((counts.of(3), counts.entries), (u64::from(most), u64::from(most)));
    let start = Instant::now();
    let mut listed = 0;
    dataplane.readers().connections(|_| listed += 1);
    println!("{listed} connections read in {:?}", start.elapsed());
    assert_eq!(listed, most);
}
