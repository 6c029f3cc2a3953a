use super::*;
use crate::dataplane::FlowId;
use gateway_common::abi::Verdict;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

fn key(n: u64) -> FlowId {
    let source = IpAddr::V4(Ipv4Addr::from_bits(n as u32));
    FlowId { words: 1 << 63 | n, source, destination: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

fn account(packets: u64, first_ns: u64, last_ns: u64) -> Account {
    Account {
        packets,
        bytes: packets * 100,
        first_ns,
        last_ns,
        counter: 0,
        mark: 0,
        priority: 0,
        verdict: Verdict::Pass,
        reason: None,
        tcp_flags: 0,
        egress_slot: 0,
    }
}

const ALL: Filter = Filter { counter: None, seen_since_ns: 0 };

#[test]
fn the_later_account_says_what_was_decided() {
    let early = Account { verdict: Verdict::Drop, counter: 16, tcp_flags: 2, ..account(3, 10, 20) };
    let late = Account { verdict: Verdict::Pass, counter: 17, tcp_flags: 16, ..account(5, 15, 30) };
    for (mut first, second) in [(early, late), (late, early)] {
        first.merge(&second);
        assert_eq!(
            first,
            Account { verdict: Verdict::Pass, counter: 17, tcp_flags: 18, ..account(8, 10, 30) }
        );
    }
}

#[test]
fn a_full_table_evicts_the_longest_idle_and_counts_them() {
    let mut table = Table::new(32);
    for n in 0..32 {
        // Not in the order of arrival: the even ones are old.
        let last_ns = if n % 2 == 0 { n } else { 1000 + n };
        table.add(key(n), &account(n, 0, last_ns));
    }
    table.add(key(5), &account(1, 0, 2000));
    assert_eq!((table.len(), table.counters()), (32, TableCounters::default()));
    table.add(key(100), &account(1, 0, 3000));
    // A sixteenth of 32 went: flows 0 and 2.
    assert_eq!(table.len(), 31);
    assert!(table.get(&key(0)).is_none() && table.get(&key(2)).is_none() && table.get(&key(4)).is_some());
    let counters = table.counters();
    assert_eq!((counters.evicted_flows, counters.evicted_packets, counters.evicted_bytes), (2, 2, 200));

    table.expire(1000);
    assert_eq!(table.counters().expired_flows, 14);
    assert_eq!(table.len(), 17);
}

#[test]
fn equal_times_do_not_empty_the_table() {
    let mut table = Table::new(64);
    for n in 0..65 {
        table.add(key(n), &account(1, 7, 7));
    }
    assert_eq!(table.counters().evicted_flows, 4);
    assert_eq!(table.len(), 61);
}

#[test]
fn a_flow_on_two_cpus_and_in_the_table_is_one() {
    let mut table = Table::new(10);
    table.add(key(1), &account(10, 5, 6));
    table.add(key(2), &account(4, 5, 6));
    let live = [(key(1), account(1, 7, 9)), (key(1), account(2, 8, 8)), (key(3), account(100, 1, 2))];
    let selection = select(&table, live, ALL, Order::Packets, 2);
    assert_eq!(selection.flows, [(key(3), account(100, 1, 2)), (key(1), account(13, 5, 9))]);
    assert_eq!(selection.matched, Sums { flows: 3, packets: 117, bytes: 11_700 });

    let recent = Filter { seen_since_ns: 6, ..ALL };
    let selection = select(&table, live, recent, Order::Last, 10);
    assert_eq!(selection.flows.iter().map(|flow| flow.0).collect::<Vec<_>>(), [key(1), key(2)]);
    let none = Filter { counter: Some(99), ..ALL };
    let selection = select(&table, live, none, Order::Bytes, 10);
    assert_eq!((selection.flows.len(), selection.matched.flows, selection.all.flows), (0, 0, 3));
}

proptest! {
    /// Whatever comes in whatever order: packets in the table and evicted ones are all that came,
    /// the bound holds, and the selection is what sorting everything gives.
    #[test]
    fn nothing_is_lost_or_made_up(
        entries_max in 1usize..40,
        records in proptest::collection::vec((0u64..60, 1u64..1000, 0u64..50), 0..300),
        live in proptest::collection::vec((0u64..60, 1u64..1000, 0u64..50), 0..60),
        limit in 0usize..70,
    ) {
        let mut table = Table::new(entries_max);
        for (n, packets, last) in &records {
            table.add(key(*n), &account(*packets, *last, *last));
            prop_assert!(table.len() <= entries_max);
        }
        let held: u64 = table.iter().map(|(_, account)| account.packets).sum();
        let came: u64 = records.iter().map(|(_, packets, _)| packets).sum();
        prop_assert_eq!(held + table.counters().evicted_packets, came);

        let mut sums: HashMap<FlowId, u64> = table.iter().map(|(key, account)| (*key, account.packets)).collect();
        for (n, packets, _) in &live {
            *sums.entry(key(*n)).or_default() += packets;
        }
        let mut expected: Vec<(FlowId, u64)> = sums.into_iter().collect();
        expected.sort_by_key(|(key, packets)| (std::cmp::Reverse(*packets), *key));
        expected.truncate(limit);
        let lines = live.iter().map(|(n, packets, last)| (key(*n), account(*packets, *last, *last)));
        let selection = select(&table, lines, ALL, Order::Packets, limit);
        let picked: Vec<(FlowId, u64)> = selection.flows.iter().map(|(key, account)| (*key, account.packets)).collect();
        prop_assert_eq!(picked, expected);
    }
}
