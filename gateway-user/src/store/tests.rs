use super::*;
use gateway_common::abi::COUNTER_FIRST_ROUTE;

fn used<'a>(routes: &[&'a str], interfaces: &[&'a str]) -> Used<'a> {
    Used { routes: routes.to_vec(), interfaces: interfaces.to_vec(), ..Used::default() }
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn record(generation: u32, text: &str) -> PolicyRecord {
    PolicyRecord {
        generation,
        digest: [u64::from(generation); 4],
        text: text.to_owned(),
        source: "test.yaml".to_owned(),
        applied_at_unix_secs: 1_700_000_000 + u64::from(generation),
        details: Details::default(),
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
    let new = slots.plan(&used(&["a", "b", "a"], &["eth0", "eth1"])).unwrap();
    assert_eq!((new.route("a"), slots.route("a")), (Some(COUNTER_FIRST_ROUTE), None));
    store.keep_slots(&new).unwrap();
    slots.plan(&used(&["dropped"], &[])).unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let mut slots = store.slots().unwrap();
    let new = slots.plan(&used(&["c", "b"], &["eth1"])).unwrap();
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
    let new = slots.plan_for_found(COUNTER_FIRST_ROUTE + 50, 8, 0, found.into_iter());
    store.keep_slots(&new).unwrap();
    slots.add(new);
    let new = slots.plan(&used(&["d"], &["eth0"])).unwrap();
    store.keep_slots(&new).unwrap();
    slots.add(new);
    for slots in [slots, store.slots().unwrap()] {
        assert_eq!(slots.route("d"), Some(COUNTER_FIRST_ROUTE + 50));
        assert_eq!(slots.first_free_route(), COUNTER_FIRST_ROUTE + 51);
        assert_eq!(slots.route_name(COUNTER_FIRST_ROUTE + 20), None);
        assert_eq!((slots.interface("eth9"), slots.interface("eth8")), (Some(7), None));
        assert_eq!(slots.interface("eth0"), Some(1));
        // A store that knows the slot by another name keeps it.
        let again = slots.plan_for_found(0, 0, 0, [("other", 7)].into_iter());
        assert!(slots.has_all(&again));
    }
}

#[test]
fn no_slot_is_given_twice_when_they_run_out() {
    let mut slots = Slots::default();
    let names: Vec<String> = (0..Slots::MOST_ROUTES).map(|i| format!("r{i}")).collect();
    slots.add(slots.plan(&used(&texts(&names), &[])).unwrap());
    assert_eq!(slots.first_free_route() as usize, gateway_common::abi::ROUTE_COUNTERS);
    let refused = slots.plan(&used(&["r0", "new"], &[]));
    assert!(matches!(refused, Err(SlotError::Routes { name, .. }) if name == "new"));
    slots.plan(&used(&["r5"], &[])).unwrap();

    let names: Vec<String> = (0..Slots::MOST_INTERFACES).map(|i| format!("if{i}")).collect();
    slots.add(slots.plan(&used(&[], &texts(&names))).unwrap());
    let refused = slots.plan(&used(&[], &["more"]));
    assert!(matches!(refused, Err(SlotError::Interfaces { .. })));
}

#[test]
fn limits_labels_and_targets_keep_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut slots = store.slots().unwrap();
    // What the kernel counted for names that are not known is nobody's.
    let found = slots.plan_for_found(0, 8, 5, std::iter::empty());
    store.keep_slots(&found).unwrap();
    slots.add(found);
    let all = |limits: &[&'static str], labels: &[&'static str]| Used {
        limits: limits.to_vec(),
        labels: labels.to_vec(),
        ..Used::default()
    };
    let targets = |targets: &[&'static str]| Used { targets: targets.to_vec(), ..Used::default() };
    let new = slots.plan(&targets(&["web/v1", "web/v2"])).unwrap();
    assert_eq!((new.target("web/v1"), new.target("web/v2")), (Some(5), Some(6)));
    store.keep_slots(&new).unwrap();
    slots.add(new);
    let new = slots.plan(&all(&["web/1", "tenant", "web/1"], &["blocked", "staging"])).unwrap();
    assert_eq!((new.limit("tenant"), new.label("staging")), (Some(9), Some(2)));
    assert!(!slots.has_all(&new));
    store.keep_slots(&new).unwrap();
    slots.add(new);
    for slots in [slots, store.slots().unwrap()] {
        assert_eq!(
            (slots.limit("web/1"), slots.limit_name(9), slots.limit_name(3)),
            (Some(8), Some("tenant"), None)
        );
        assert_eq!((slots.target("web/v2"), slots.target("web/v3")), (Some(6), None));
        let next = slots.plan(&targets(&["web/v3", "web/v1"])).unwrap();
        assert_eq!((next.target("web/v3"), next.target("web/v1")), (Some(7), None));
        assert_eq!((slots.label("blocked"), slots.label_name(2)), (Some(1), Some("staging")));
        assert_eq!(slots.limits_used(), 9);
        let again = slots.plan(&all(&["new", "tenant"], &["staging", "third"])).unwrap();
        assert_eq!(
            (again.limit("new"), again.limit("tenant"), again.label("third")),
            (Some(10), None, Some(3))
        );
    }

    let mut slots = Slots::default();
    let names: Vec<String> = (0..=Slots::MOST_LABELS).map(|i| format!("n{i}")).collect();
    let names = texts(&names);
    let limits = Used { limits: names[..Slots::MOST_LIMITS as usize].to_vec(), ..Used::default() };
    slots.add(slots.plan(&limits).unwrap());
    assert!(slots.limit("n16382").is_some_and(|slot| (slot as usize) < gateway_common::image::MAX_LIMITS));
    let one_more = Used { limits: vec!["n0", "more"], ..Used::default() };
    assert!(matches!(slots.plan(&one_more), Err(SlotError::Limits { name, most: 16_383 }) if name == "more"));
    let labels = Used { labels: names, ..Used::default() };
    assert!(matches!(slots.plan(&labels), Err(SlotError::Labels { name, .. }) if name == "n65535"));
}

#[test]
fn the_same_document_again_takes_no_place_in_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    apply(&store, &candidate(1, "one"));
    let mut again = candidate(1, "one");
    again.record.generation = 2;
    again.record.details.live_sets = vec![vec!["a".to_owned(), "b".to_owned()]];
    apply(&store, &again);
    assert_eq!((revisions(&store), store.current().unwrap()), (vec![1], Some(again.record)));
}

#[test]
fn label_files_are_kept_once_and_go_with_the_last_policy_that_used_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<ipnet::IpNet>>();
    let one = nets(&["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32"]);
    let two = nets(&[]);
    let with = |generation, digests: &[u64]| {
        let mut candidate = candidate(generation, &format!("text {generation}"));
        let file = |digest: &u64| LabelFileRef { path: format!("{digest}.txt"), digest: [*digest; 4] };
        candidate.record.details.label_files = digests.iter().map(file).collect();
        candidate
    };
    store.keep_label_files([([1; 4], one.as_slice()), ([2; 4], &two)].into_iter()).unwrap();
    apply(&store, &with(1, &[1, 2]));
    // Never applied: gone with the next that is.
    store.keep_label_files([([3; 4], one.as_slice()), ([1; 4], &two)].into_iter()).unwrap();
    assert_eq!(store.label_file([3; 4]).unwrap(), Some(one.clone()));
    apply(&store, &with(2, &[2]));
    assert_eq!(store.label_file([1; 4]).unwrap(), Some(one), "the history refers to it");
    assert_eq!(store.label_file([3; 4]).unwrap(), None);
    assert_eq!(store.current().unwrap().unwrap(), with(2, &[2]).record);
    for generation in 3..=102 {
        apply(&store, &with(generation, &[2]));
    }
    assert_eq!(store.label_file([1; 4]).unwrap(), None);
    assert_eq!(store.label_file([2; 4]).unwrap(), Some(two));
}

#[test]
fn members_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let member = |label: &str, prefix: &str, expires_at_unix_ms| StoredMember {
        label: label.to_owned(),
        prefix: prefix.parse().unwrap(),
        since_unix_ms: 5,
        expires_at_unix_ms,
    };
    let all = [
        member("a", "192.0.2.0/24", None),
        member("a", "2001:db8::/32", Some(9)),
        member("b", "192.0.2.0/24", Some(7)),
    ];
    store.add_members(&all).unwrap();
    let later = member("b", "192.0.2.0/24", Some(8));
    store.add_members(std::slice::from_ref(&later)).unwrap();
    let gone = [("a", all[0].prefix), ("a", "10.0.0.0/8".parse().unwrap())];
    store.remove_members(gone.into_iter()).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.members().unwrap(), [all[1].clone(), later]);
}

#[test]
fn a_store_of_the_first_format_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    apply(&store, &candidate(1, "one"));
    let set = |store: &Store, format: u64| {
        store
            .write(|transaction| {
                transaction.open_table(META)?.insert(META_FORMAT, format)?;
                Ok(())
            })
            .unwrap();
    };
    set(&store, 1);
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.current().unwrap(), Some(record(1, "one")));
    set(&store, FORMAT + 1);
    drop(store);
    let refused = Store::open(folder.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Format { found, known: FORMAT, .. } if found == FORMAT + 1));
}
