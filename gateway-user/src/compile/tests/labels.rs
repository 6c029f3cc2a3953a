//! Labels: any, all and none of them, with live members and without.

use super::*;
use crate::compile::{LabelTable, MAX_LABEL_SETS, PoolTables, Problem, Section};
use crate::policy::{KeyLengths, LabelFile, LabelTest, Limit, Over, Per, Quantity, Rate, RouteLimit};
use gateway_common::image::{HeaderMore, MORE_LINE, dimension};
use gateway_common::live::FOR_EVER;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

fn test(names: &[&str], all: bool) -> Option<LabelTest> {
    Some(LabelTest { names: names.iter().map(|name| (*name).to_owned()).collect(), all })
}

fn any(names: &[&str]) -> Match {
    Match { labels: test(names, false), ..Match::default() }
}

fn all(names: &[&str]) -> Match {
    Match { labels: test(names, true), ..Match::default() }
}

/// `a` within 10/8 and 2001:db8::/32, `b` within 10.1/16 and 11/8, `c` nowhere.
fn with_labels(matches: impl IntoIterator<Item = Match>) -> Policy {
    let labels =
        labels(&[("a", &["10.0.0.0/8", "2001:db8::/32"]), ("b", &["10.1.0.0/16", "11.0.0.0/8"]), ("c", &[])]);
    Policy { labels, ..policy(matches) }
}

fn sets(sets: &[&[&str]]) -> Vec<Vec<String>> {
    sets.iter().map(|set| set.iter().map(|name| (*name).to_owned()).collect()).collect()
}

fn net(prefix: &str) -> IpNet {
    prefix.parse().unwrap()
}

fn sent_by(source: &str) -> Packet {
    packet(source, if source.contains(':') { "::9" } else { "9.9.9.9" })
}

#[test]
fn any_all_and_none() {
    let cases: [(Match, [bool; 5]); 8] = [
        (any(&["a"]), [true, true, false, true, false]),
        (any(&["a", "b"]), [true, true, true, true, false]),
        (all(&["a", "b"]), [false, true, false, false, false]),
        (all(&["a", "c"]), [false; 5]),
        (any(&["c"]), [false; 5]),
        (not(any(&["a", "b"])), [false, false, false, false, true]),
        (not(all(&["a", "b"])), [true, false, true, true, true]),
        (not(any(&["c"])), [true; 5]),
    ];
    for (matches, expected) in cases {
        let placed = Placed::of(&with_labels([matches.clone()]));
        let sources = ["10.9.0.1", "10.1.0.1", "11.0.0.1", "2001:db8::1", "12.0.0.1"];
        let found = sources.map(|source| placed.route(1, &sent_by(source)) == 0);
        assert_eq!(found, expected, "{matches:?}");
    }
}

#[test]
fn a_label_or_a_prefix_suffices() {
    let either = Match { from: list(&["12.0.0.0/8"]), ..any(&["b"]) };
    let neither = not(either.clone());
    let but = Match { not: Some(Box::new(from(&["11.1.0.0/16"]))), ..either.clone() };
    let everybody = Match { from: list(&["0.0.0.0/0", "::/0"]), ..any(&["c"]) };
    for (source, expected) in [
        ("11.0.0.1", [0, 1, 0, 0]),
        ("12.0.0.1", [0, 1, 0, 0]),
        ("11.1.0.1", [0, 1, 1, 0]),
        ("::1", [1, 0, 1, 0]),
    ] {
        let found = [&either, &neither, &but, &everybody]
            .map(|matches| Placed::of(&with_labels([matches.clone()])).route(1, &sent_by(source)));
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn live_members_add_to_what_prefixes_carry() {
    let policy = with_labels([all(&["a", "b", "c"]), all(&["b", "c"]), any(&["c"]), not(any(&["a"]))]);
    let image = compiled_with(&policy, &sets(&[&["b", "c"], &["c"]])).unwrap();
    let members = [
        (net("10.9.0.0/16"), "b", FOR_EVER),
        (net("10.9.9.0/24"), "c", FOR_EVER),
        (net("12.0.0.0/8"), "c", FOR_EVER),
        (net("12.1.0.0/16"), "b", FOR_EVER),
        (net("11.0.0.0/8"), "b", FOR_EVER),
        (net("2001:db8:1::/48"), "c", FOR_EVER),
    ];
    let placed = Placed::with_live(&image, &members);
    for (source, route) in [
        ("10.8.0.1", 4),
        ("10.9.0.1", 4),
        ("10.9.9.1", 0),
        ("12.2.0.1", 2),
        ("12.1.0.1", 1),
        ("11.0.0.1", 3),
        ("2001:db8:1::1", 2),
        ("2001:db8:2::1", 4),
        ("13.0.0.1", 3),
    ] {
        assert_eq!(placed.route(1, &sent_by(source)), route, "{source}");
    }
}

/// Whatever order the members of a source are met in, the classes meet at its whole set.
#[test]
fn every_order_of_members_ends_at_the_same_set() {
    let names = ["a", "b", "c", "d"];
    let mut policy = policy([all(&names), any(&["z"])]);
    policy.labels =
        labels(&[("a", &["10.0.0.0/8"]), ("b", &[]), ("c", &[]), ("d", &[]), ("z", &["1.0.0.0/8"])]);
    let image = compiled_with(&policy, &sets(&[&["b", "c", "d"]])).unwrap();
    // {a}, {z} and nothing, each with eight subsets.
    assert_eq!(image.summary().label_sets, 3 * 8 - 1);
    // And each label alone, of which two are not in the set.
    assert_eq!(image.summary().merge_entries, 3 * 12 + 2);
    let orders = [
        ["b", "c", "d"],
        ["b", "d", "c"],
        ["c", "b", "d"],
        ["c", "d", "b"],
        ["d", "b", "c"],
        ["d", "c", "b"],
    ];
    for order in orders {
        let members: Vec<_> = order
            .iter()
            .zip(8_u8..)
            .map(|(label, length)| (net(&format!("10.0.0.0/{length}")), *label, FOR_EVER))
            .collect();
        let placed = Placed::with_live(&image, &members);
        assert_eq!(placed.route(1, &sent_by("10.0.0.1")), 0, "{order:?}");
        assert_eq!(placed.route(1, &sent_by("10.128.0.1")), 2, "{order:?}");
    }
}

#[test]
fn a_label_alone_needs_no_set() {
    let image = compiled_with(&with_labels([any(&["c"]), any(&["b"])]), &[]).unwrap();
    let members = [(net("12.0.0.0/8"), "c", FOR_EVER), (net("2001:db9::/32"), "b", FOR_EVER)];
    let placed = Placed::with_live(&image, &members);
    for (source, route) in [("12.0.0.1", 0), ("2001:db9::1", 1), ("11.0.0.1", 1), ("13.0.0.1", 2)] {
        assert_eq!(placed.route(1, &sent_by(source)), route, "{source}");
    }
}

#[test]
fn a_table_knows_what_is_clear_of_its_prefixes() {
    let table = LabelTable::build(&with_labels([]).labels).unwrap();
    for (prefix, clear) in [
        ("10.0.0.0/8", false),
        ("10.255.255.255/32", false),
        ("8.0.0.0/5", false),
        ("0.0.0.0/0", false),
        ("::/0", false),
        ("2001:db8::/128", false),
        ("2001:db8:1::/48", false),
        ("2001:db0::/28", false),
        ("12.0.0.0/6", true),
        ("9.255.255.255/32", true),
        ("12.0.0.0/32", true),
        ("::/3", true),
        ("2001:db9::/32", true),
    ] {
        assert_eq!(table.is_clear_of(&net(prefix)), clear, "{prefix}");
    }
}

#[test]
fn a_member_whose_time_is_over_counts_no_more() {
    let image = compiled_with(&with_labels([any(&["c"])]), &sets(&[&["c"]])).unwrap();
    let placed = Placed::with_live(&image, &[(net("12.0.0.0/8"), "c", 100)]);
    let found = |now| placed.found(1, &sent_by("12.0.0.1"), now);
    assert_eq!((found(99).route, found(99).until), (0, 100));
    assert_eq!((found(100).route, found(100).until), (1, FOR_EVER));
}

/// Members of labels that another policy had: the table of members outlives policies.
#[test]
fn labels_that_the_policy_does_not_have_change_nothing() {
    let policy = with_labels([any(&["a"])]);
    let image = compiled_with(&policy, &sets(&[&["old"], &["c", "old"]])).unwrap();
    let placed = Placed::with_live(
        &image,
        &[(net("10.0.0.0/8"), "old", FOR_EVER), (net("12.0.0.0/8"), "old", FOR_EVER)],
    );
    assert_eq!(placed.route(1, &sent_by("10.0.0.1")), 0);
    assert_eq!(placed.route(1, &sent_by("12.0.0.1")), 1);
}

#[test]
fn labels_that_no_route_asks_for_are_left_out() {
    let image = compiled_with(&with_labels([from(&["10.0.0.0/8"])]), &sets(&[&["a", "b"]])).unwrap();
    assert_eq!(image.sections[Section::Labels as usize].len(), 0);
    assert_eq!(image.sections[Section::Merges as usize].len(), 0);
    assert_eq!(Placed::new(&image).hot.dimensions, dimension::SOURCE);
}

#[test]
fn a_limit_by_label_makes_packets_be_classified_by_label() {
    let rate = Rate { per_second: 1_000, burst: 100 };
    let per = |per| Limit { quantity: Quantity::Packets(rate), per, over: Over::Drop, ban: None };
    let mut policy = with_labels([Match::default()]);
    policy.routes[0].limits = vec![RouteLimit::Own(per(Per::Source(KeyLengths::ADDRESS)))];
    assert_eq!(Placed::of(&policy).hot.dimensions, 0);
    policy.limits.insert("each".to_owned(), per(Per::Label));
    policy.routes[0].limits.push(RouteLimit::Named("each".to_owned()));
    let placed = Placed::of(&policy);
    assert_eq!(placed.hot.dimensions, dimension::LABEL);
    assert_eq!(
        placed.entry(0).flags,
        gateway_common::image::ROUTE_EXTRA | gateway_common::image::ROUTE_PER_LABEL
    );
    let keys = |placed: &Placed| {
        let more: HeaderMore = placed.header(MORE_LINE);
        let keys = placed.arena[more.label_keys as usize..].iter().flat_map(|line| line.0);
        keys.take(more.label_key_count as usize).collect::<Vec<_>>()
    };
    let key_of = |placed: &Placed, source| keys(placed)[placed.found(1, &sent_by(source), 0).label as usize];
    let before = ["10.0.0.1", "10.1.0.1", "11.0.0.1", "12.0.0.1"].map(|source| key_of(&placed, source));
    assert_eq!(keys(&placed).len(), 5);
    assert!((1..4).all(|i| !before[..i].contains(&before[i])));

    // The keys are those of the labels' names, however sets are numbered.
    policy.labels.insert("0".to_owned(), labels(&[("0", &["0.0.0.0/8"])])["0"].clone());
    let placed = Placed::of(&policy);
    assert_eq!(keys(&placed).len(), 6);
    assert_eq!(
        ["10.0.0.1", "10.1.0.1", "11.0.0.1", "12.0.0.1"].map(|source| key_of(&placed, source)),
        before
    );
}

#[test]
fn a_table_is_known_by_its_prefixes() {
    let (x, same) = (labels(&[("a", &["10.0.0.0/8"])]), labels(&[("a", &["10.0.0.0/8"])]));
    let table = LabelTable::build(&x).unwrap();
    assert!(table.is_of(&x) && table.is_of(&same));
    for other in [labels(&[("a", &["10.0.0.0/9"])]), labels(&[("b", &["10.0.0.0/8"])]), labels(&[])] {
        assert!(!table.is_of(&other));
    }
    let from_file = |digest| {
        let mut label = labels(&[("a", &["10.0.0.0/8"])]);
        label.get_mut("a").unwrap().file = Some(LabelFile { path: "a.txt".into(), digest: [digest; 4] });
        label
    };
    let table = LabelTable::build(&from_file(1)).unwrap();
    assert!(table.is_of(&from_file(1)) && !table.is_of(&from_file(2)));
    assert_eq!(
        (table.len(), table.prefixes(), table.intervals(), table.sets(), table.bytes()),
        (1, 1, 4, 1, 64 * 5)
    );
}

/// The table is not copied for an image, so that a change of routes need not even compare it.
#[test]
fn images_share_the_table() {
    let policy = with_labels([any(&["a"])]);
    let table = LabelTable::build(&policy.labels).unwrap();
    let surroundings = Surroundings {
        names: &TestNames,
        labels: &table,
        live_sets: &[],
        pools: &PoolTables::default(),
        ns_per_jiffy: NS_PER_JIFFY,
    };
    let [one, other] =
        [(); 2].map(|()| compile(&policy, &surroundings).unwrap().sections[Section::Labels as usize].clone());
    assert!(Arc::ptr_eq(&one, &other) && !one.is_empty());
}

#[test]
fn a_label_of_a_hundred_thousand_prefixes() {
    let v4 = |i: u32| {
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(0x0a00_0000 + i * 16), 28 + (i % 5) as u8))
    };
    let prefixes: Vec<IpNet> = (0..100_000).map(v4).collect();
    let label = |prefixes: &[IpNet]| Label { prefixes: Arc::new(prefixes.to_vec()), file: None };
    let mut policy = policy([all(&["half", "many"]), any(&["many"])]);
    policy.labels.insert("many".into(), label(&prefixes));
    policy.labels.insert("half".into(), label(&prefixes[..50_000]));
    let start = std::time::Instant::now();
    let image = compiled(&policy).unwrap();
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    let placed = Placed::new(&image);
    for (i, prefix) in prefixes.iter().enumerate().step_by(97) {
        let packet = addressed(prefix.addr(), prefix.addr());
        assert_eq!(placed.route(1, &packet), u32::from(i >= 50_000), "{prefix}");
    }
    assert_eq!(placed.route(1, &sent_by("9.255.255.255")), 2);
}

#[test]
fn unknown_labels_are_named() {
    let problems = compiled(&with_labels([any(&["a", "x"]), not(all(&["y", "z"]))])).unwrap_err().problems;
    let unknown =
        |route: &str, label: &str| Problem::UnknownLabel { route: route.into(), label: label.into() };
    assert_eq!(problems, [unknown("r0", "x"), unknown("r1", "y"), unknown("r1", "z")]);
}

#[test]
fn more_sets_of_labels_than_are_numbered_are_refused() {
    // 17 labels, each address in those that its low bits name.
    let label = |bit: u32| {
        let prefixes = (0..1_u32 << 17).filter(|i| i >> bit & 1 != 0);
        let prefixes = prefixes.map(|i| Ipv4Net::new_assert(Ipv4Addr::from_bits(i), 32).into()).collect();
        (format!("l{bit:02}"), Label { prefixes: Arc::new(prefixes), file: None })
    };
    let labels: BTreeMap<_, _> = (0..17).map(label).collect();
    let problems = LabelTable::build(&labels).unwrap_err().problems;
    assert_eq!(problems, [Problem::TooManyLabelSets { sets: (1 << 17) - 1, limit: MAX_LABEL_SETS }]);
}

#[test]
fn live_sets_that_explode_are_refused() {
    let names: Vec<String> = (0..40).map(|i| format!("l{i:02}")).collect();
    let mut policy = policy([any(&["l00"])]);
    for (i, name) in names.iter().enumerate() {
        let prefixes = Arc::new(vec![net(&format!("10.{i}.0.0/16"))]);
        policy.labels.insert(name.clone(), Label { prefixes, file: None });
    }
    // All pairs and triples of 40 labels, beside 40 sets of one.
    let mut live = Vec::new();
    for a in 0..40 {
        for b in a + 1..40 {
            live.extend((b + 1..40).map(|c| vec![names[a].clone(), names[b].clone(), names[c].clone()]));
        }
    }
    let problems = compiled_with(&policy, &live).unwrap_err().problems;
    let [Problem::LiveSetsExplode { fixed: 40, live: 9_880, sets: Some(sets), .. }] = problems[..] else {
        panic!("{problems:?}");
    };
    assert!(sets > MAX_LABEL_SETS);
    assert!(compiled_with(&policy, &live[..100]).is_ok());
    // And those that would take too long to count.
    let problems = compiled_with(&policy, &[names]).unwrap_err().problems;
    assert!(matches!(problems[..], [Problem::LiveSetsExplode { sets: None, .. }]), "{problems:?}");
}
