//! The labels' table against the longest prefix found one by one, and what a look-up touches.

use super::*;
use gateway_common::image::Arena;
use gateway_common::image::intervals::class_at;
use gateway_common::packet::address_of;
use ipnet::{Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A table whose look-ups are counted.
struct Counting<'a> {
    lines: &'a [Line],
    read: Cell<u32>,
}

impl Arena for Counting<'_> {
    fn line(&self, index: u32) -> Option<&Line> {
        self.read.set(self.read.get() + 1);
        self.lines.line(index)
    }
}

/// The labels of an address by the table, as ids, and how many lines were read.
fn found(table: &LabelTable, address: IpAddr) -> (Vec<u32>, u32) {
    let lines = Counting { lines: table.lines(), read: Cell::new(0) };
    let class = class_at(&lines, 0, if address.is_ipv4() { 4 } else { 6 }, address_of(address));
    let class = class.unwrap_or_else(|| panic!("{address}: the table points outside itself"));
    (table.classes().sets(class).to_vec(), lines.read.get())
}

/// Labels `0`, `1` and so on, of these prefixes.
fn table_of(lists: &[Vec<IpNet>]) -> LabelTable {
    let label = |(i, prefixes): (usize, &Vec<IpNet>)| {
        let prefixes: BTreeSet<IpNet> = prefixes.iter().copied().collect();
        let prefixes = Arc::new(prefixes.into_iter().collect());
        (format!("{i:03}"), Label { prefixes, file: None })
    };
    LabelTable::build(&lists.iter().enumerate().map(label).collect()).unwrap()
}

/// The same by looking at every prefix.
fn expected(lists: &[Vec<IpNet>], address: IpAddr) -> Vec<u32> {
    let holds = |list: &Vec<IpNet>| list.iter().any(|prefix| prefix.contains(&address));
    (0..).zip(lists).filter(|(_, list)| holds(list)).map(|(id, _)| id).collect()
}

/// The first and last address of a prefix, and those beside them.
fn edges(prefix: &IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.map(|bits| Ipv4Addr::from(bits).into()).to_vec()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.map(|bits| Ipv6Addr::from(bits).into()).to_vec()
        }
    }
}

fn v4(bits: u32, length: u8) -> IpNet {
    Ipv4Net::new_assert(bits.into(), length).trunc().into()
}

fn v6(bits: u128, length: u8) -> IpNet {
    Ipv6Net::new_assert(bits.into(), length).trunc().into()
}

/// All edges are as expected; the most lines that were read for one.
fn check_edges(lists: &[Vec<IpNet>], step: usize) -> u32 {
    let table = table_of(lists);
    let edges = lists.iter().flatten().step_by(step).flat_map(edges);
    let one = |address| {
        let (found, read) = found(&table, address);
        assert_eq!(found, expected(lists, address), "{address}");
        read
    };
    edges.map(one).max().unwrap_or(0)
}

/// Numbers that are the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (seed..).map(|i| gateway_common::hash::finish(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[test]
fn no_prefix_and_every_address() {
    let [zero, last] = ["0.0.0.0", "255.255.255.255"].map(|text| text.parse::<IpAddr>().unwrap());
    let [zero6, last6] = ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"].map(|text| text.parse().unwrap());
    let all4 = || vec![v4(0, 0)];
    let all6 = || vec![v6(0, 0)];
    for lists in [
        vec![],
        vec![vec![]],
        vec![all4()],
        vec![all6()],
        vec![all4(), all6(), [all4(), all6()].concat()],
        vec![[all4(), vec![v4(0, 32), v4(u32::MAX, 32)]].concat(), vec![v4(u32::MAX, 32)]],
        vec![vec![v6(0, 128)], vec![v6(u128::MAX, 128)], vec![v6(u128::MAX, 64), v6(0, 64)], all6()],
        vec![vec![v4(0, 1)], vec![v4(u32::MAX, 1)], vec![v6(0, 1)]],
    ] {
        let table = table_of(&lists);
        for address in [zero, last, zero6, last6] {
            assert_eq!(found(&table, address).0, expected(&lists, address), "{lists:?} {address}");
        }
        check_edges(&lists, 1);
    }
}

/// The addresses of a network by turns, the network as one interval, and either with far neighbours that
/// make the directory coarse.
#[test]
fn every_address_of_a_network() {
    let base = 0x0a01_0000;
    let hosts: Vec<IpNet> = (0..1 << 16).map(|i| v4(base + i, 32)).collect();
    let table = table_of(std::slice::from_ref(&hosts));
    assert_eq!(table.intervals(), 3 + 1, "what lies side by side with one class is one interval");
    assert_eq!(found(&table, Ipv4Addr::from(base + 77).into()).0, [0]);
    assert_eq!(found(&table, Ipv4Addr::from(base - 1).into()).0, [0; 0]);

    let far = vec![v4(0, 32), v4(u32::MAX, 32)];
    for lists in [
        vec![hosts.iter().copied().step_by(2).collect(), hosts.iter().copied().step_by(3).collect()],
        vec![hosts.iter().copied().step_by(2).collect(), far],
    ] {
        let table = table_of(&lists);
        for i in 0..1_u32 << 16 {
            let address = Ipv4Addr::from(base + i).into();
            let (found, read) = found(&table, address);
            let by_second = if lists[1].len() > 2 { i % 3 == 0 } else { false };
            let by_turns = [(0, i % 2 == 0), (1, by_second)];
            let expected: Vec<u32> =
                by_turns.into_iter().filter(|(_, holds)| *holds).map(|(id, _)| id).collect();
            assert_eq!(found, expected, "{address}");
            // Head, slot, and 11,000 leaves: eight children a line.
            assert!(read <= 2 + 5 + 1, "{address}: {read} lines");
        }
    }
}

/// Hosts of one IPv6 network beside others far away: the directory tells nothing, and all ends are whole
/// addresses.
#[test]
fn hosts_of_one_network() {
    let network = 0x2001_0db8_0000_0001_u128 << 64;
    let mut hosts: Vec<IpNet> =
        numbers(1).take(2_000).map(|bits| v6(network | u128::from(bits), 128)).collect();
    hosts.extend([v6(1, 128), v6(u128::MAX, 128), v6(network, 72)]);
    let others = vec![v6(network, 65), v6(network << 1, 48), v6(network | 0xffff_ffff, 96)];
    // 4,000 intervals, three a leaf, four children a line.
    let most = check_edges(&[hosts, others], 7);
    assert!((6..=2 + 6 + 1).contains(&most), "{most} lines");
}

/// Each prefix half of the one before: however fine a directory is, one of its slots has most of them.
#[test]
fn prefixes_that_crowd_at_one_end() {
    let chain = |side: u128| (1..=128).map(|length| v6(side, length)).collect::<Vec<_>>();
    let every_second = |side, first| chain(side).into_iter().skip(first).step_by(2).collect::<Vec<_>>();
    for side in [0, u128::MAX, 0x5555 << 100, 0x2001_0db8 << 96] {
        check_edges(&[every_second(side, 0), every_second(side, 1)], 1);
        let fans: Vec<IpNet> = (1..128).map(|length| v6(side ^ 1 << (127 - length), length + 1)).collect();
        check_edges(&[fans], 1);
    }
    let chain4: Vec<IpNet> = (0..=32).map(|length| v4(0x0a00_0000, length)).collect();
    let single: Vec<Vec<IpNet>> = chain4.into_iter().map(|prefix| vec![prefix]).collect();
    check_edges(&single, 1);
}

/// The size that the table is made for: what it touches, and what it takes.
#[test]
fn a_million_prefixes() {
    let prefixes: BTreeSet<IpNet> = numbers(2)
        .zip(numbers(1 << 40))
        .take(1_000_000)
        .map(|(bits, length)| match bits % 2 {
            0 => v4((bits >> 32) as u32, 16 + (length % 17) as u8),
            _ => v6(1 << 125 | u128::from(bits >> 3) << 64, 32 + (length % 33) as u8),
        })
        .collect();
    let (some, rest): (Vec<IpNet>, Vec<IpNet>) =
        prefixes.into_iter().partition(|prefix| prefix.prefix_len() % 2 == 0);
    let table = table_of(&[some.clone(), rest.clone()]);
    assert!(table.bytes() < table.intervals() * 14, "{} for {}", table.bytes(), table.intervals());

    // By binary search, since a million are too many to look at.
    let longest = |list: &[IpNet], address: IpAddr| {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        (0..=whole).any(|length| list.binary_search(&IpNet::new(address, length).unwrap().trunc()).is_ok())
    };
    let (mut lines, mut looked_up) = (0, 0);
    for prefix in some.iter().step_by(499).chain(rest.iter().step_by(503)) {
        for address in edges(prefix) {
            let (found, read) = found(&table, address);
            let expected: Vec<u32> = [&some, &rest]
                .iter()
                .zip(0..)
                .filter(|(list, _)| longest(list, address))
                .map(|(_, id)| id)
                .collect();
            assert_eq!(found, expected, "{address}");
            lines += read;
            looked_up += 1;
        }
    }
    // Head, slot, leaf, and a quarter more.
    assert!(lines * 2 < looked_up * 7, "{lines} lines for {looked_up} addresses");
}

/// Prefixes that nest and touch: few addresses at every length, at both ends of each half of an address.
fn crowded() -> impl Strategy<Value = IpNet> {
    let v4 = (0..8_u32, 0..=32_u8, any::<bool>()).prop_map(|(bits, length, high)| {
        v4(if high { bits << 29 | 0xff } else { bits | 0x0a00_0000 }, length)
    });
    let v6 = (0..8_u128, 0..=128_u8, 0..4_u32, any::<bool>()).prop_map(|(bits, length, place, ones)| {
        let bits = bits << [0, 60, 64, 125][place as usize];
        v6(if ones { !bits } else { bits }, length)
    });
    prop_oneof![v4, v6]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_longest_prefix_is_found(lists in vec(vec(crowded(), 0..40), 1..5), bits in vec(any::<u128>(), 20)) {
        check_edges(&lists, 1);
        let (table, again) = (table_of(&lists), table_of(&lists));
        prop_assert_eq!(table.lines(), again.lines(), "the same bytes each time");
        for bits in bits {
            for address in [Ipv6Addr::from(bits).into(), Ipv4Addr::from(bits as u32).into()] {
                prop_assert_eq!(found(&table, address).0, expected(&lists, address), "{}", address);
            }
        }
    }
}
