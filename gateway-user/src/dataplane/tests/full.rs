//! Limits in the kernel: tables that are full, and rates that change; the time is the tests'.

use super::*;
use crate::policy::{KeyLengths, Limit, Over, Per, Quantity, Rate, RouteLimit};

const START_NS: u64 = 7_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// The slot that [`TestNames`] gives to a limit.
const SLOT: u32 = 1;

/// One set of keys and one of connections: four of each.
fn tiny(dir: &PinDir) -> Dataplane {
    let options = Options { limit_sets: 1, connection_sets: 1, repeatable: Some(1), ..dir.options() };
    let mut dataplane = Dataplane::open(&options).unwrap();
    dataplane.set_time(START_NS).unwrap();
    dataplane
}

fn limited(quantity: Quantity, per: Per) -> Image {
    let limit = Limit { quantity, per, over: Over::Drop, ban: None };
    let limits = vec![RouteLimit::Own(limit)];
    image(vec![Route { limits, ..Route::new("r0", Action::Pass) }], PolicyDefault::Pass)
}

fn packets(per_second: u64, burst: u64, per: Per) -> Image {
    limited(Quantity::Packets(Rate { per_second, burst }), per)
}

/// Whether a packet from this host passes.
fn passes(dataplane: &Dataplane, host: u8) -> bool {
    run(dataplane, &udp(host, 53), 1).return_value == XDP_PASS
}

#[test]
fn the_key_least_in_debt_gives_way_and_is_counted() {
    let dir = PinDir::new();
    let mut dataplane = tiny(&dir);
    dataplane.apply(&packets(1, 1, Per::Source(KeyLengths::ADDRESS)), [0; 4], 0).unwrap();
    let evicted = |dataplane: &Dataplane| dataplane.readers().telemetry().keys_evicted;
    for (i, host) in (0_u64..).zip([11, 12, 13, 14]) {
        dataplane.set_time(START_NS + i * 1_000_000).unwrap();
        assert!(passes(&dataplane, host) && !passes(&dataplane, host), "host {host}");
    }
    assert_eq!(evicted(&dataplane), 0);
    // Host 11 is nearest to a full bucket: it is the one that gives way.
    assert!(passes(&dataplane, 15));
    assert_eq!(evicted(&dataplane), 1);
    assert_eq!(dataplane.readers().limit_counts(SLOT).evicted, 1);
    assert!([12, 13, 14, 15].iter().all(|&host| !passes(&dataplane, host)));
    assert!(passes(&dataplane, 11), "a key that was given up begins with a full bucket");
    // Once their time has come, keys say nothing any more, and nobody loses anything.
    dataplane.set_time(START_NS + 2 * SECOND_NS).unwrap();
    let before = evicted(&dataplane);
    assert!((21..=24).all(|host| passes(&dataplane, host)));
    assert_eq!(evicted(&dataplane), before);
}

#[test]
fn a_connection_without_a_place_is_refused_and_counted() {
    let dir = PinDir::new();
    let mut dataplane = tiny(&dir);
    dataplane.apply(&limited(Quantity::OpenConnections(100), Per::Route), [0; 4], 0).unwrap();
    assert!((11..=14).all(|host| passes(&dataplane, host)));
    assert!(!passes(&dataplane, 15));
    assert_eq!(dataplane.readers().telemetry().connections_refused, 1);
    assert_eq!(dataplane.readers().bucket(SLOT).full_at, 4);
    assert!(passes(&dataplane, 11), "what is open stays open");
    // Silent for more than a minute: whoever comes next closes them.
    dataplane.set_time(START_NS + 62 * SECOND_NS).unwrap();
    assert!(passes(&dataplane, 16));
    assert_eq!(dataplane.readers().bucket(SLOT).full_at, 1);
}

#[test]
fn open_connections_are_counted_to_the_limit_by_key() {
    let dir = PinDir::new();
    let mut dataplane = tiny(&dir);
    let per = Per::Source(KeyLengths { ipv4: 24, ipv6: 64 });
    dataplane.apply(&limited(Quantity::OpenConnections(3), per), [0; 4], 0).unwrap();
    assert!((11..=13).all(|host| passes(&dataplane, host)));
    assert!(!passes(&dataplane, 14));
    assert_eq!(dataplane.readers().telemetry().connections_refused, 0);
}

#[test]
fn another_rate_leaves_what_was_used() {
    let dir = PinDir::new();
    let mut dataplane = tiny(&dir);
    let admitted = |dataplane: &Dataplane| (0..100).filter(|_| passes(dataplane, 11)).count();
    for per in [Per::Route, Per::Source(KeyLengths::ADDRESS)] {
        dataplane.apply(&packets(1_000, 100, per), [1; 4], 0).unwrap();
        assert_eq!((0..60).filter(|_| passes(&dataplane, 11)).count(), 60, "{per:?}");
        dataplane.apply(&packets(4_000, 100, per), [2; 4], 0).unwrap();
        assert_eq!(admitted(&dataplane), 40, "{per:?}");
        dataplane.apply(&packets(10, 100, per), [3; 4], 0).unwrap();
        assert_eq!(admitted(&dataplane), 0, "{per:?}");
    }
}
