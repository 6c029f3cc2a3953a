use super::*;
use gateway_common::abi::COUNTER_FIRST_ROUTE;

fn record(generation: u32, text: &str) -> PolicyRecord {
    PolicyRecord {
        generation,
        digest: [generation as u8; 32],
        text: text.to_owned(),
        source: "test.yaml".to_owned(),
        applied_at_unix_secs: 1_700_000_000 + u64::from(generation),
    }
}

fn apply(store: &Store, record: &PolicyRecord) {
    let mut routes = store.route_slots().unwrap();
    let mut interfaces = store.interface_slots().unwrap();
    store.prepare(record, &mut routes, &mut interfaces).unwrap();
    store.confirm().unwrap();
}

#[test]
fn a_candidate_is_told_from_the_current_policy_across_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.current().unwrap(), None);
    assert_eq!(store.last_generation().unwrap(), 0);
    apply(&store, &record(1, "one"));
    let (mut routes, mut interfaces) = (store.route_slots().unwrap(), store.interface_slots().unwrap());
    store.prepare(&record(2, "two"), &mut routes, &mut interfaces).unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.current().unwrap(), Some(record(1, "one")));
    assert_eq!(store.candidate().unwrap(), Some(record(2, "two")));
    store.abandon().unwrap();
    assert_eq!(store.candidate().unwrap(), None);
    assert_eq!(store.last_generation().unwrap(), 1);

    store.prepare(&record(2, "two again"), &mut routes, &mut interfaces).unwrap();
    store.confirm().unwrap();
    assert_eq!(store.current().unwrap(), Some(record(2, "two again")));
    assert_eq!(store.candidate().unwrap(), None);
    store.forget_current().unwrap();
    assert_eq!(store.current().unwrap(), None);
    assert_eq!(store.last_generation().unwrap(), 2);
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
        apply(&store, &record(generation, "text"));
    }
    let transaction = store.db.begin_read().unwrap();
    let records = transaction.open_table(RECORDS).unwrap();
    let kept: Vec<u32> = records.iter().unwrap().map(|row| row.unwrap().0.value()).collect();
    assert_eq!(kept, (31..=130).collect::<Vec<u32>>());
}

#[test]
fn slots_stay_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (mut routes, mut interfaces) = (store.route_slots().unwrap(), store.interface_slots().unwrap());
    routes.allocate(["a", "b"].into_iter()).unwrap();
    assert_eq!(interfaces.allocate("eth0").unwrap(), 1);
    assert_eq!(interfaces.allocate("eth1").unwrap(), 2);
    store.keep_slots(&mut routes, &mut interfaces).unwrap();
    routes.allocate(["lost"].into_iter()).unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let (mut routes, mut interfaces) = (store.route_slots().unwrap(), store.interface_slots().unwrap());
    routes.allocate(["c", "b", "c"].into_iter()).unwrap();
    assert_eq!(routes.get("a"), Some(COUNTER_FIRST_ROUTE));
    assert_eq!(routes.get("b"), Some(COUNTER_FIRST_ROUTE + 1));
    assert_eq!(routes.get("c"), Some(COUNTER_FIRST_ROUTE + 2));
    assert_eq!(routes.name(COUNTER_FIRST_ROUTE + 2), Some("c"));
    assert_eq!(routes.name(0), None);
    assert_eq!(interfaces.allocate("eth1").unwrap(), 2);
    interfaces.adopt("eth9", 7);
    interfaces.adopt("eth8", 7);
    assert_eq!((interfaces.get("eth9"), interfaces.get("eth8")), (Some(7), None));

    routes.skip_to(COUNTER_FIRST_ROUTE + 50);
    routes.allocate(["d"].into_iter()).unwrap();
    assert_eq!(routes.get("d"), Some(COUNTER_FIRST_ROUTE + 50));
    store.keep_slots(&mut routes, &mut interfaces).unwrap();
    let again = store.route_slots().unwrap();
    assert_eq!(again.first_free(), COUNTER_FIRST_ROUTE + 51);
    assert_eq!(again.name(COUNTER_FIRST_ROUTE + 20), None);
}

#[test]
fn no_slot_is_given_twice_when_they_run_out() {
    let mut routes = RouteSlots::new(Vec::new(), None);
    let names: Vec<String> = (0..RouteSlots::MOST).map(|i| format!("r{i}")).collect();
    routes.allocate(names.iter().map(String::as_str)).unwrap();
    assert_eq!(routes.first_free() as usize, gateway_common::abi::ROUTE_COUNTERS);
    assert!(
        matches!(routes.allocate(["r0", "new"].into_iter()), Err(SlotError::Routes { name, .. }) if name == "new")
    );
    assert_eq!(routes.get("new"), None);
    routes.allocate(["r5"].into_iter()).unwrap();

    let mut interfaces = InterfaceSlots::new(Vec::new());
    for i in 0..InterfaceSlots::MOST {
        interfaces.allocate(&format!("if{i}")).unwrap();
    }
    assert!(matches!(interfaces.allocate("more"), Err(SlotError::Interfaces { .. })));
}
