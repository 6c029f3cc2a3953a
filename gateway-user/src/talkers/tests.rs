use super::credits::Credits;
use super::*;
use gateway_common::abi::Verdict;
use proptest::prelude::*;

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(n))
}

fn flow(source: u32, port: u64) -> FlowId {
    FlowId { words: 1 << 63 | port, source: address(source), destination: address(1) }
}

fn account(packets: u64, last_ns: u64) -> Account {
    Account {
        packets,
        bytes: packets * 100,
        first_ns: 0,
        last_ns,
        counter: 16,
        mark: 0,
        priority: 0,
        verdict: Verdict::Pass,
        reason: None,
        tcp_flags: 0,
        egress_slot: 0,
    }
}

fn part(id: FlowId, packets: u64, last_ns: u64) -> FlowAccount {
    FlowAccount {
        id,
        packets,
        bytes: packets * 100,
        first_ns: 0,
        last_ns,
        tcp_flags: 0,
        verdict: Verdict::Pass,
        reason: None,
        counter: 16,
        stamp: 1,
        mark: 0,
        priority: 0,
        egress_slot: 0,
    }
}

/// What every sketch promises, against the true sums.
fn check(sketch: &Sketch<u32>, counters: u32, truth: &HashMap<u32, u64>) -> Result<(), TestCaseError> {
    let total: u64 = truth.values().sum();
    prop_assert_eq!(sketch.total(), total);
    prop_assert_eq!(sketch.estimates().map(|estimate| estimate.count).sum::<u64>(), total);
    prop_assert!(sketch.floor() <= total / u64::from(counters));
    for (key, &true_count) in truth {
        let estimate = sketch.estimate(*key);
        prop_assert!(estimate.count >= true_count, "{:?} is {}", estimate, true_count);
        prop_assert!(estimate.count - estimate.error <= true_count, "{:?} is {}", estimate, true_count);
        prop_assert!(estimate.error <= total / u64::from(counters));
    }
    Ok(())
}

fn sums(stream: &[(u32, u64)]) -> HashMap<u32, u64> {
    let mut truth = HashMap::new();
    for (key, weight) in stream {
        *truth.entry(*key).or_default() += weight;
    }
    truth
}

fn sketch_of(counters: u32, stream: &[(u32, u64)]) -> Sketch<u32> {
    let mut sketch = Sketch::new(counters);
    stream.iter().for_each(|(key, weight)| sketch.add(*key, *weight));
    sketch
}

proptest! {
    /// Bounds of the counts, whatever comes in whatever order.
    #[test]
    fn no_count_is_wrong_by_more_than_the_bound(
        counters in 1u32..20,
        stream in proptest::collection::vec((0u32..60, 0u64..1000), 0..400),
    ) {
        let stream: Vec<_> = stream.into_iter().filter(|(_, weight)| *weight > 0).collect();
        check(&sketch_of(counters, &stream), counters, &sums(&stream))?;
    }

    /// Two sketches together are right for both their streams.
    #[test]
    fn two_halves_are_as_right_as_one(
        counters in 1u32..20,
        first in proptest::collection::vec((0u32..60, 1u64..1000), 0..200),
        second in proptest::collection::vec((0u32..60, 1u64..1000), 0..200),
    ) {
        let (a, b) = (sketch_of(counters, &first), sketch_of(counters, &second));
        let truth = sums(&[first, second].concat());
        let all = greatest(&a, &b, usize::MAX);
        prop_assert!(all.is_sorted_by_key(|estimate| std::cmp::Reverse(estimate.count)));
        let bound = a.total() / u64::from(counters) + b.total() / u64::from(counters);
        for estimate in &all {
            let true_count = truth.get(&estimate.key).copied().unwrap_or_default();
            prop_assert!(estimate.count >= true_count && estimate.count - estimate.error <= true_count);
            prop_assert!(estimate.error <= bound);
        }
        for (key, true_count) in &truth {
            let known = all.iter().any(|estimate| estimate.key == *key);
            prop_assert!(known || *true_count <= a.floor() + b.floor(), "{} is left out", key);
        }
    }

    /// Looks, departures and returns in any order: every packet is told once.
    #[test]
    fn every_packet_is_told_once(
        balances_max in 2usize..12,
        steps in proptest::collection::vec((0u64..10, 1u64..50, 0u8..6), 1..200),
    ) {
        let mut live: HashMap<FlowId, Account> = HashMap::new();
        let mut credits = Credits::new(balances_max);
        let (mut sent, mut told) = (0, 0);
        for (n, packets, what) in steps {
            let id = flow(7, n);
            match what {
                0 => if let Some(gone) = live.remove(&id) {
                    told += credits.left(id, credits::counts(&gone)).packets;
                },
                1 => credits.look(&live, |_, _, due| told += due.packets),
                _ => {
                    sent += packets;
                    let now = live.entry(id).or_insert(account(0, 0));
                    *now = account(now.packets + packets, 0);
                }
            }
            prop_assert!(credits.balances.len() <= balances_max);
            let due: u64 = live.iter().map(|(id, now)| credits.due(id, credits::counts(now)).packets).sum();
            prop_assert_eq!(told + due, sent);
        }
        for (id, gone) in live {
            told += credits.left(id, credits::counts(&gone)).packets;
        }
        prop_assert_eq!((told, credits.balances.len()), (sent, 0));
    }
}

#[test]
fn ten_heavy_ones_are_found_among_a_million_spoofed() {
    let mut sketch = Sketch::new(COUNTERS);
    let room = sketch.room();
    let spoofed = |n: u32| address(0x0100_0000 + n.wrapping_mul(2_654_435_761) % 0xd000_0000);
    let heavy = |n: u32| address(0xf000_0000 + n);
    for n in 0..1_000_000 {
        sketch.add(spoofed(n), 1);
        if n % 100 == 0 {
            (0..10).for_each(|i| sketch.add(heavy(i), u64::from(10 - i)));
        }
    }
    assert!(!has_grown(&sketch, room));
    let bound = sketch.total() / u64::from(COUNTERS);
    assert_eq!((sketch.total(), bound), (1_550_000, 378));
    let top = greatest(&sketch, &Sketch::new(1), 10);
    for (i, found) in (0..).zip(&top) {
        let sent = u64::from(10 - i) * 10_000;
        assert_eq!(found.key, heavy(i));
        assert!(found.count >= sent && found.count <= sent + bound && found.error <= bound, "{found:?}");
    }
}

#[test]
fn a_full_sketch_is_cleared_in_its_memory() {
    let mut sketch = Sketch::new(100);
    let room = sketch.room();
    for round in 0..50 {
        (0..1000).for_each(|n| sketch.add(n * round, 1));
        assert_eq!(sketch.floor(), 10 - u64::from(round == 0) * 10);
        sketch.clear();
        assert_eq!((sketch.total(), sketch.floor(), sketch.estimates().count()), (0, 0, 0));
    }
    assert!(!has_grown(&sketch, room));
}

/// The table's room counts without the places of keys that were taken out, so that it may seem less.
fn has_grown<K: Copy + Eq + std::hash::Hash>(sketch: &Sketch<K>, before: [usize; 3]) -> bool {
    sketch.room().iter().zip(before).any(|(now, before)| *now > before)
}

const SECOND_NS: u64 = 1_000_000_000;
const NONE: Counts = Counts { packets: 0, bytes: 0 };

fn packets(top: &Top) -> Vec<(String, u64)> {
    top.talkers.iter().map(|estimate| (estimate.key.to_string(), estimate.count)).collect()
}

#[test]
fn the_recent_past_is_told_and_the_rest_forgotten() {
    let start = 1_000 * SECOND_NS;
    let mut talkers = Talkers::with_counters(start, NONE, 8, 16);
    let ask = |talkers: &Talkers, live: &HashMap<FlowId, Account>| {
        packets(&talkers.top(live, NONE, Measure::Packets, Grouping::Address, 10))
    };
    // A flow that sent 500 before anybody looked; what it sent since is what counts.
    let mut live = HashMap::from([(flow(2, 1), account(500, start - SECOND_NS))]);
    assert!(talkers.is_over(start));
    talkers.turn(&live, start, NONE);
    assert_eq!(ask(&talkers, &live), []);
    live.insert(flow(2, 1), account(530, start + SECOND_NS));
    live.insert(flow(3, 1), account(40, start + SECOND_NS));
    let told = [("0.0.0.3".to_owned(), 40), ("0.0.0.2".to_owned(), 30)];
    assert_eq!(ask(&talkers, &live), told);
    assert_eq!(ask(&talkers, &live), told, "asking tells nothing twice");

    assert!(!talkers.is_over(start + HALF_NS - 1) && talkers.is_over(start + HALF_NS));
    talkers.turn(&live, start + HALF_NS, NONE);
    assert_eq!(ask(&talkers, &live), told);
    live.remove(&flow(3, 1));
    talkers.left(&part(flow(3, 1), 45, start + HALF_NS + 1));
    assert_eq!(ask(&talkers, &live), [("0.0.0.3".to_owned(), 45), ("0.0.0.2".to_owned(), 30)]);
    talkers.turn(&live, start + 2 * HALF_NS, NONE);
    assert_eq!(ask(&talkers, &live), [("0.0.0.3".to_owned(), 5)]);
    // An old account that leaves late is of no use.
    talkers.left(&part(flow(4, 1), 9, start));
    talkers.turn(&live, start + 3 * HALF_NS, NONE);
    assert_eq!(ask(&talkers, &live), []);
}

#[test]
fn networks_bytes_and_losses_are_told() {
    let mut talkers = Talkers::new(0, Counts { packets: 3, bytes: 300 });
    talkers.left(&part(flow(0x0a00_0001, 9), 1000, 1)); // of before it began
    talkers.turn(&HashMap::new(), 0, Counts { packets: 4, bytes: 400 });
    talkers.left(&part(flow(0x0a00_0001, 1), 10, 1));
    talkers.left(&part(flow(0x0a00_00ff, 1), 5, 1));
    let v6 = IpAddr::V6("2001:db8:7:8::9".parse().unwrap());
    talkers.left(&part(FlowId { source: v6, ..flow(1, 1) }, 7, 1));
    let lost = Counts { packets: 5, bytes: 420 };
    let top = talkers.top(&HashMap::new(), lost, Measure::Bytes, Grouping::Network, 10);
    let named: Vec<_> =
        top.talkers.iter().map(|found| (Grouping::Network.text(found.key), found.count)).collect();
    assert_eq!(named, [("10.0.0.0/24".to_owned(), 1500), ("2001:db8:7::/48".to_owned(), 700)]);
    assert_eq!((top.total, top.unknown_max, top.lost), (2200, 0, Counts { packets: 2, bytes: 120 }));
    assert_eq!(Grouping::Address.text(v6), "2001:db8:7:8::9");
}
