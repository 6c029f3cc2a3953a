use super::*;
use gateway_common::abi::COUNTER_FIRST_ROUTE;

fn record(generation: u32, text: &str) -> PolicyRecord {
    PolicyRecord {
        generation,
        digest: [u64::from(generation); 4],
        text: text.to_owned(),
        source: "test.yaml".to_owned(),
        applied_at_unix_secs: 1_700_000_000 + u64::from(generation),
    }
}

fn candidate(generation: u32, text: &str) -> Candidate {
    Candidate { record: record(generation, text), slots: NewSlots::default() }
}

fn apply(store: &Store, candidate: &Candidate) {
    store.prepare(candidate).unwrap();
    store.confirm(candidate).unwrap();
}

#[test]
fn a_candidate_is_told_from_the_current_policy_across_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.current().unwrap(), None);
    apply(&store, &candidate(1, "one"));
    assert_eq!(store.candidate().unwrap(), None);
    store.prepare(&candidate(2, "two")).unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.current().unwrap(), Some(record(1, "one")));
    assert_eq!(store.candidate().unwrap(), Some(candidate(2, "two")));
    store.abandon().unwrap();
    assert_eq!(store.candidate().unwrap(), None);

    let again = candidate(2, "two again");
    store.prepare(&again).unwrap();
    store.confirm(&again).unwrap();
    assert_eq!(store.current().unwrap(), Some(record(2, "two again")));
    assert_eq!(store.candidate().unwrap(), None);
    // The file may outlive its confirmation.
    store.prepare(&again).unwrap();
    store.confirm(&again).unwrap();
    assert_eq!(revisions(&store), [1, 2]);

    std::fs::write(folder.path().join("candidate.json"), "{\"record").unwrap();
    assert_eq!(store.candidate().unwrap(), None);
    assert!(!folder.path().join("candidate.json").exists());
}

fn revisions(store: &Store) -> Vec<u64> {
    let transaction = store.db.begin_read().unwrap();
    let records = transaction.open_table(RECORDS).unwrap();
    records.iter().unwrap().map(|row| row.unwrap().0.value()).collect()
}

#[test]
fn a_second_daemon_is_told_that_the_store_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Store::open(folder.path()).unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::InUse { .. })));
}

#[test]
fn history_keeps_the_last_hundred() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for generation in 1..=130 {
        apply(&store, &candidate(generation, "text"));
    }
    let kept = revisions(&store);
    assert_eq!(kept, (31..=130).collect::<Vec<u64>>());
}

#[test]
fn slots_stay_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let slots = store.slots().unwrap();
    let new = slots.plan(["a", "b", "a"].into_iter(), ["eth0", "eth1"].into_iter()).unwrap();
    assert_eq!((new.route("a"), slots.route("a")), (Some(COUNTER_FIRST_ROUTE), None));
    store.keep_slots(&new).unwrap();
    slots.plan(["dropped"].into_iter(), std::iter::empty()).unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let mut slots = store.slots().unwrap();
    let new = slots.plan(["c", "b"].into_iter(), ["eth1"].into_iter()).unwrap();
    apply(&store, &Candidate { record: record(1, "text"), slots: new.clone() });
    slots.add(new);
    assert_eq!(store.slots().unwrap().route("c"), Some(COUNTER_FIRST_ROUTE + 2));
    let expected =
        [("a", COUNTER_FIRST_ROUTE), ("b", COUNTER_FIRST_ROUTE + 1), ("c", COUNTER_FIRST_ROUTE + 2)];
    assert!(slots.routes().eq(expected));
    assert_eq!(slots.route("b"), Some(COUNTER_FIRST_ROUTE + 1));
    assert_eq!(slots.route_name(COUNTER_FIRST_ROUTE + 2), Some("c"));
    assert_eq!(slots.route_name(0), None);
    assert_eq!((slots.interface("eth0"), slots.interface("eth1")), (Some(1), Some(2)));
}

#[test]
fn what_the_kernel_counted_for_unknown_names_is_given_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut slots = store.slots().unwrap();
    let found = [("eth9", 7), ("eth8", 0)];
    let new = slots.plan_for_found(COUNTER_FIRST_ROUTE + 50, found.into_iter());
    store.keep_slots(&new).unwrap();
    slots.add(new);
    let new = slots.plan(["d"].into_iter(), ["eth0"].into_iter()).unwrap();
    store.keep_slots(&new).unwrap();
    slots.add(new);
    for slots in [slots, store.slots().unwrap()] {
        assert_eq!(slots.route("d"), Some(COUNTER_FIRST_ROUTE + 50));
        assert_eq!(slots.first_free_route(), COUNTER_FIRST_ROUTE + 51);
        assert_eq!(slots.route_name(COUNTER_FIRST_ROUTE + 20), None);
        assert_eq!((slots.interface("eth9"), slots.interface("eth8")), (Some(7), None));
        assert_eq!(slots.interface("eth0"), Some(1));
        // A store that knows the slot by another name keeps it.
        let again = slots.plan_for_found(0, [("other", 7)].into_iter());
        assert!(slots.has_all(&again));
    }
}

#[test]
fn no_slot_is_given_twice_when_they_run_out() {
    let mut slots = Slots::default();
    let names: Vec<String> = (0..Slots::MOST_ROUTES).map(|i| format!("r{i}")).collect();
    slots.add(slots.plan(names.iter().map(String::as_str), std::iter::empty()).unwrap());
    assert_eq!(slots.first_free_route() as usize, gateway_common::abi::ROUTE_COUNTERS);
    let refused = slots.plan(["r0", "new"].into_iter(), std::iter::empty());
    assert!(matches!(refused, Err(SlotError::Routes { name, .. }) if name == "new"));
    slots.plan(["r5"].into_iter(), std::iter::empty()).unwrap();

    let names: Vec<String> = (0..Slots::MOST_INTERFACES).map(|i| format!("if{i}")).collect();
    slots.add(slots.plan(std::iter::empty(), names.iter().map(String::as_str)).unwrap());
    let refused = slots.plan(std::iter::empty(), ["more"].into_iter());
    assert!(matches!(refused, Err(SlotError::Interfaces { .. })));
}
