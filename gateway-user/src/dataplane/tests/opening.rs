//! Loading, adopting, replacing, removing.

use super::super::{Error, Mode, object_digest, pins};
use super::*;
use aya::maps::{Array, Map, MapData, ProgramArray};
use gateway_common::abi::{ABI_VERSION, Hook, ReasonCount, maps};
use gateway_common::reason::Reason;
use std::fs;

#[test]
fn a_second_start_adopts_what_the_first_left() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut first = dir.open();
        assert!(!first.opened().adopted);
        assert_eq!(first.live(), None);
        let applied = first.apply(&dropping(80), [1, 2, 3, 4], 1_700_000_000).unwrap();
        assert_eq!(applied.generation, 1);
        first.attach("lo", 1, Mode::Generic).unwrap();
        assert_eq!(run(&first, &udp(1, 80), 1).return_value, XDP_DROP);
        drop(first);

        let mut second = dir.open();
        let opened = second.opened().clone();
        assert!(opened.adopted && !opened.programs_replaced, "{opened:?}");
        assert_eq!((opened.generation, opened.interfaces), (1, vec!["lo".to_owned()]));
        assert_eq!(opened.notes, Vec::<String>::new());
        let live = second.live().unwrap();
        assert_eq!((live.generation, live.digest, live.routes), (1, [1, 2, 3, 4], 1));
        assert_eq!(live.applied_at_unix_secs, 1_700_000_000);
        assert_eq!(run(&second, &udp(1, 80), 1).return_value, XDP_DROP);
        assert_eq!(second.readers().route_counts(COUNTER_FIRST_ROUTE).packets, 2);
        assert_eq!(second.apply(&dropping(81), [0; 4], 0).unwrap().generation, 2);
        assert_eq!(run(&second, &udp(1, 80), 1).return_value, XDP_PASS);
        let received = second.readers().interface_stats(1)[Hook::Xdp as usize].received.packets;
        assert!(received >= 3, "{received}");
    });
}

#[test]
fn one_process_holds_the_pins() {
    let dir = PinDir::new();
    let first = dir.open();
    assert!(matches!(Dataplane::open(&dir.options()), Err(Error::Busy { .. })));
    assert!(matches!(remove(dir.path()), Err(Error::Busy { .. })));
    drop(first);
    dir.open();
}

#[test]
fn nothing_is_left_of_what_is_removed() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = dir.open();
        dataplane.attach("lo", 1, Mode::Generic).unwrap();
        dataplane.detach_all().unwrap();
        assert!(!dir.path().exists());
        assert!(!ip("-d link show lo").contains("xdp"));

        let mut dataplane = dir.open();
        dataplane.attach("lo", 1, Mode::Generic).unwrap();
        drop(dataplane);
        assert!(ip("-d link show lo").contains("xdp"));
        assert_eq!(remove(dir.path()).unwrap(), ["lo"]);
        assert!(!dir.path().exists());
        assert!(!ip("-d link show lo").contains("xdp"));
        assert_eq!(remove(dir.path()).unwrap(), Vec::<String>::new());
    });
}

#[test]
fn options_that_pinned_maps_override_are_told() {
    let dir = PinDir::new();
    drop(dir.open());
    let options = Options { arena_lines: 1 << 15, ..dir.options() };
    let dataplane = Dataplane::open(&options).unwrap();
    assert_eq!(dataplane.opened().notes.len(), 1, "{:?}", dataplane.opened().notes);
    assert_eq!(dataplane.map_sizes()[0].max_entries, 1 << 14);
}

#[test]
fn options_out_of_range_are_refused() {
    let dir = PinDir::new();
    for options in [
        Options { arena_lines: 1, ..dir.options() },
        Options { arena_lines: u32::MAX, ..dir.options() },
        Options { memo_sets_per_cpu: 3, ..dir.options() },
        Options { memo_sets_per_cpu: 0, ..dir.options() },
        Options { memo_sets_per_cpu: 1 << 31, ..dir.options() },
    ] {
        assert!(matches!(Dataplane::open(&options), Err(Error::Option { .. })), "{options:?}");
    }
    assert!(!dir.path().exists());
}

/// The folder of this version's pins.
fn version() -> String {
    format!("v{ABI_VERSION}")
}

#[test]
fn a_map_of_another_shape_is_not_adopted() {
    let dir = PinDir::new();
    drop(dir.open());
    let path = dir.path().join(version()).join("maps").join(maps::EGRESS);
    fs::remove_file(&path).unwrap();
    Array::<MapData, u64>::create(8, 1 << 10).unwrap().pin(&path).unwrap();
    match Dataplane::open(&dir.options()) {
        Err(Error::MapShape { map, field, found: 8, expected: 256 }) => {
            assert_eq!((map, field), (maps::EGRESS, "its number of elements"));
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn the_state_of_another_version_is_not_touched() {
    let dir = PinDir::new();
    drop(dir.open());
    fs::create_dir(dir.path().join("v99")).unwrap();
    assert!(matches!(Dataplane::open(&dir.options()), Err(Error::OtherAbi { .. })));
    assert!(dir.path().join("v99").exists() && dir.path().join(version()).join("maps").exists());
}

#[test]
fn an_interrupted_start_is_cleaned_up() {
    let dir = PinDir::new();
    fs::create_dir_all(dir.path().join("staging/maps")).unwrap();
    assert!(!dir.open().opened().adopted);
    assert!(!dir.path().join("staging").exists());
}

#[test]
fn programs_of_another_build_are_replaced_under_their_links() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        let mut first = dir.open();
        first.apply(&dropping(80), [0; 4], 0).unwrap();
        first.attach("t1", 1, Mode::Native).unwrap();
        drop(first);
        let before = ip("-d link show t1");

        let pins = pins::Pins::open(dir.path()).unwrap();
        assert_eq!(pins.object().unwrap(), Some(object_digest(0)));
        pins.set_object("another").unwrap();
        drop(pins);

        let mut second = dir.open();
        assert!(second.opened().adopted && second.opened().programs_replaced);
        let attachment = second.attach("t1", 1, Mode::Auto).unwrap();
        assert!(attachment.adopted);
        let after = ip("-d link show t1");
        let program =
            |text: &str| text.split("prog/xdp id ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        assert_ne!(program(&before), program(&after));
        assert_eq!(run(&second, &udp(1, 80), attachment.ifindex).return_value, XDP_DROP);
        drop(second);
        assert!(!dir.open().opened().programs_replaced);
    });
}

/// The kernel empties a map of programs that nobody in user space has.
#[test]
fn what_leads_from_the_short_way_to_the_whole_one_is_held_and_put_back() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut first = dir.open();
        first.apply(&dropping(80), [0; 4], 0).unwrap();
        let pin = dir.path().join(version()).join("programs").join(maps::XDP_WHOLE);
        fs::remove_file(&pin).unwrap();
        assert_eq!(run(&first, &udp(1, 80), 1).return_value, XDP_DROP);
        drop(first);
        let second = dir.open();
        assert!(second.opened().programs_replaced && pin.exists());
        assert_eq!(run(&second, &udp(2, 80), 1).return_value, XDP_DROP);
    });
}

#[test]
fn without_the_whole_way_what_needs_it_is_dropped_and_counted() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = dir.open();
        dataplane.attach("lo", 1, Mode::Generic).unwrap();
        let pin = dir.path().join(version()).join("programs").join(maps::XDP_WHOLE);
        let map = Map::ProgramArray(MapData::from_pin(pin).unwrap());
        ProgramArray::try_from(map).unwrap().clear_index(&0).unwrap();
        assert_eq!(run(&dataplane, &udp(1, 81), 1).return_value, XDP_PASS);
        assert!(dataplane.readers().reasons(1).is_empty());
        dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
        assert_eq!(run(&dataplane, &udp(1, 81), 1).return_value, XDP_DROP);
        let expected = ReasonCount { dropped: 1, ..ReasonCount::default() };
        assert_eq!(dataplane.readers().reasons(1), [(Reason::PolicyFault, expected)]);
        let stats = dataplane.readers().interface_stats(1)[Hook::Xdp as usize];
        assert_eq!((stats.received.packets, stats.verdicts[1].packets), (1, 1));
    });
}
