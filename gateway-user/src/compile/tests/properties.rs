//! Random policies and packets: the kernel's classifier over the image against a plain scan of the
//! model.

use super::evaluate::{Arrival, first_match};
use super::{Placed, addressed, compiled_with, policy};
use crate::policy::{Fragment, Label, LabelTest, Match, Policy, Range, TcpFlags};
use gateway_common::live::FOR_EVER;
use gateway_common::packet::{Packet, flags, protocol};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const PACKETS: usize = 60;
const LABELS: [&str; 4] = ["a", "b", "c", "d"];

/// Few bits vary, so that prefixes nest and packets hit them.
fn v4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        select(vec![0, 1, 0x0a00_0000, 0x0aff_ffff, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
        any::<u32>().prop_map(|bits| 0x0a00_0000 | bits & 0x0081_8103),
    ]
    .prop_map(Ipv4Addr::from_bits)
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    const DOC: u128 = 0x2001_0db8 << 96;
    prop_oneof![
        select(vec![0, 1, DOC, DOC | 1 << 64, u128::MAX, u128::MAX << 64, 0x0a00_0000 << 96]),
        any::<u128>().prop_map(|bits| DOC | bits & 0x8001_8000_0000_0001_8000_0000_8003),
    ]
    .prop_map(Ipv6Addr::from_bits)
}

fn prefix() -> impl Strategy<Value = IpNet> {
    let v4_length = prop_oneof![select(vec![0, 1, 8, 9, 16, 23, 24, 31, 32]), 0..=32_u8];
    let v6_length = prop_oneof![select(vec![0, 1, 32, 48, 63, 64, 65, 127, 128]), 0..=128_u8];
    prop_oneof![
        (v4(), v4_length).prop_map(|(address, length)| Ipv4Net::new_assert(address, length).trunc().into()),
        (v6(), v6_length).prop_map(|(address, length)| Ipv6Net::new_assert(address, length).trunc().into()),
    ]
}

fn prefixes(least: usize) -> impl Strategy<Value = Vec<IpNet>> {
    vec(prefix(), least..6).prop_map(ordered)
}

fn ordered<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

/// The values that rules and packets meet at.
const PORTS: [u32; 10] = [0, 1, 22, 53, 79, 80, 81, 443, 65_534, 65_535];
const BYTES: [u32; 8] = [0, 1, 3, 8, 64, 127, 128, 255];
const LENGTHS: [u32; 7] = [20, 40, 41, 576, 1_500, 9_000, 65_535];
const DSCPS: [u32; 6] = [0, 1, 8, 10, 46, 63];
const FLOW_LABELS: [u32; 6] = [0, 1, 2, 77, 0x8_0000, 0xf_ffff];
const VLANS: [u32; 6] = [0, 1, 2, 100, 101, 4_094];
const TCP_FLAGS: [u32; 8] = [0, 0x01, 0x02, 0x10, 0x12, 0x29, 0x80, 0xff];

/// Disjoint, ascending and never touching, as the model promises.
fn ranges<T: TryFrom<u32, Error: std::fmt::Debug> + std::fmt::Debug>(
    values: &'static [u32],
) -> impl Strategy<Value = Vec<Range<T>>> {
    let value = || select(values);
    let range = prop_oneof![2 => value().prop_map(|value| (value, value)), 1 => (value(), value())];
    vec(range, 1..4).prop_map(|ranges| {
        let ranges = ordered(ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect());
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, before)) if first <= *before + 1 => *before = last.max(*before),
                _ => merged.push((first, last)),
            }
        }
        let narrow = |value: u32| T::try_from(value).unwrap();
        merged.into_iter().map(|(first, last)| Range { first: narrow(first), last: narrow(last) }).collect()
    })
}

fn interfaces() -> impl Strategy<Value = Vec<String>> {
    let interface = select(vec!["eth1", "eth2", "eth3", "eth255", "unknown"]).prop_map(str::to_owned);
    vec(interface, 1..3).prop_map(ordered)
}

fn protocol_number() -> impl Strategy<Value = u8> {
    select(vec![0, protocol::ICMP, protocol::TCP, protocol::TCP, protocol::UDP, protocol::ICMPV6, 255])
}

fn label_test() -> impl Strategy<Value = LabelTest> {
    (subsequence(LABELS.to_vec(), 1..4), any::<bool>())
        .prop_map(|(names, all)| LabelTest { names: names.into_iter().map(str::to_owned).collect(), all })
}

fn tcp_flags() -> impl Strategy<Value = Vec<TcpFlags>> {
    let one = (select(&TCP_FLAGS[..]), select(&TCP_FLAGS[1..]));
    let one = one.prop_map(|(set, mask)| TcpFlags { set: (set & mask) as u8, mask: mask as u8 });
    vec(one, 1..3).prop_map(ordered)
}

fn fragments() -> impl Strategy<Value = Vec<Fragment>> {
    subsequence(vec![Fragment::Dont, Fragment::First, Fragment::Later, Fragment::Last], 1..3)
}

/// How many components a match has; labels stand beside prefixes.
const COMPONENTS: u32 = 16;

/// A match that names the components of `kept` (a bit each).
fn naming(kept: u32) -> impl Strategy<Value = Match> {
    let who = (interfaces(), prefixes(1), prefixes(1), label_test());
    let l4 = (
        vec(protocol_number(), 1..4).prop_map(ordered),
        ranges(&PORTS),
        ranges(&PORTS),
        ranges(&BYTES),
        ranges(&BYTES),
        tcp_flags(),
    );
    let l3 =
        (ranges(&LENGTHS), ranges(&DSCPS), fragments(), ranges(&FLOW_LABELS), ranges(&VLANS), ranges(&BYTES));
    (who, l4, l3).prop_map(move |(who, l4, l3)| {
        let (interface, from, to, labels) = who;
        let (protocol, port, source_port, icmp_type, icmp_code, tcp_flags) = l4;
        let (length, dscp, fragment, flow_label, vlan, ttl) = l3;
        let named = |bit: u32| kept >> bit & 1 != 0;
        Match {
            interface: named(0).then_some(interface),
            from: (named(1) && !(named(3) && labels.all)).then_some(from),
            to: named(2).then_some(to),
            labels: named(3).then_some(labels),
            protocol: named(4).then_some(protocol),
            port: named(5).then_some(port),
            source_port: named(6).then_some(source_port),
            icmp_type: named(7).then_some(icmp_type),
            icmp_code: named(8).then_some(icmp_code),
            tcp_flags: named(9).then_some(tcp_flags),
            length: named(10).then_some(length),
            dscp: named(11).then_some(dscp),
            fragment: named(12).then_some(fragment),
            flow_label: named(13).then_some(flow_label),
            vlan: named(14).then_some(vlan),
            ttl: named(15).then_some(ttl),
            not: None,
        }
    })
}

/// A match that names some of these components, and negates some.
fn matches(components: u32) -> impl Strategy<Value = Match> {
    (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_flat_map(move |(named, negated, rarer)| {
            (naming(components & named), naming(components & negated & rarer))
        })
        .prop_map(|(matches, not)| {
            let not = (not != Match::default()).then(|| Box::new(not));
            Match { not, ..matches }
        })
}

/// Policies whose routes all name some of the same few components, so that they get in each other's way.
fn narrow_policy() -> impl Strategy<Value = Policy> {
    let few = subsequence((0..COMPONENTS).collect::<Vec<_>>(), 1..4)
        .prop_map(|bits| bits.into_iter().fold(0, |components, bit| components | 1 << bit));
    with_labels(few.prop_flat_map(|components| vec(matches(components), 0..8)))
}

/// Policies that ask for nothing but senders.
fn sender_policy() -> impl Strategy<Value = Policy> {
    const FROM_AND_LABELS: u32 = 0b1010;
    with_labels(vec(matches(FROM_AND_LABELS), 1..8))
}

/// Policies of few routes that name any components.
fn wide_policy() -> impl Strategy<Value = Policy> {
    let some = (any::<u32>(), any::<u32>()).prop_flat_map(|(a, b)| naming(a & b));
    with_labels(vec(some, 1..5))
}

fn with_labels(routes: impl Strategy<Value = Vec<Match>>) -> impl Strategy<Value = Policy> {
    (routes, vec(prefixes(0), LABELS.len())).prop_map(|(routes, prefixes)| {
        let label = |(name, prefixes): (&str, _)| {
            (name.to_owned(), Label { prefixes: Arc::new(prefixes), file: None })
        };
        Policy { labels: LABELS.into_iter().zip(prefixes).map(label).collect(), ..policy(routes) }
    })
}

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        (v4(), v4()).prop_map(|(a, b)| (a.into(), b.into())),
        (v6(), v6()).prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let slot = select(vec![0, 1, 2, 3, 4, 255]);
    let l4 = (protocol_number(), select(&PORTS[..]), select(&PORTS[..]), select(&BYTES[..]));
    let attributes = (
        select(&TCP_FLAGS[..]),
        select(&LENGTHS[..]),
        select(&DSCPS[..]),
        select(vec![0, flags::DONT_FRAGMENT, flags::FIRST_FRAGMENT, flags::LATER_FRAGMENT, 1 | 32, 16 | 32]),
        select(&FLOW_LABELS[..]),
        select(&BYTES[..]),
    );
    (slot, addresses(), l4, attributes, select(&VLANS[..])).prop_map(
        |(slot, (source, destination), l4, attributes, vlan)| {
            let (protocol, port, source_port, icmp_code) = l4;
            let (tcp_flags, length, dscp, fragment, flow_label, ttl) = attributes;
            let mut packet = Packet {
                protocol,
                flags: fragment,
                vlan: vlan as u16,
                l3_offset: 14,
                end: 14 + length,
                traffic_class: (dscp << 2) as u8 | 1,
                ttl: ttl as u8,
                ..addressed(source, destination)
            };
            if source.is_ipv6() {
                packet.flow_label = flow_label;
            }
            let icmp = if source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
            if fragment & flags::LATER_FRAGMENT != 0 {
                // No transport header.
            } else if [protocol::TCP, protocol::UDP].contains(&protocol) {
                packet.flags |= flags::HAS_PORTS;
                (packet.port, packet.source_port) = (port as u16, source_port as u16);
                packet.tcp_flags = if protocol == protocol::TCP { tcp_flags as u8 } else { 0 };
            } else if protocol == icmp {
                packet.flags |= flags::HAS_ICMP;
                packet.port = (ttl << 8 | icmp_code) as u16;
            }
            Arrival { slot, source, destination, packet }
        },
    )
}

/// Members that come and go beside the policy; never more labels than one source may carry.
fn live_members() -> impl Strategy<Value = Vec<(IpNet, &'static str)>> {
    let wide = select(vec!["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "::/0", "2001:db8::/32", "2001::/16"]);
    let prefix = prop_oneof![prefix(), wide.prop_map(|prefix| prefix.parse().unwrap())];
    vec((prefix, select(&LABELS[..])), 0..=4)
}

/// Holds an image against the model.
fn check(
    policy: &Policy,
    members: &[(IpNet, &'static str)],
    arrivals: &[Arrival],
) -> Result<(), TestCaseError> {
    let live_sets = [ordered(members.iter().map(|(_, label)| (*label).to_owned()).collect())];
    let image = compiled_with(policy, &live_sets).unwrap();
    prop_assert_eq!(&image, &compiled_with(policy, &live_sets).unwrap(), "the same bytes each time");
    let table: Vec<_> = members.iter().map(|(prefix, label)| (*prefix, *label, FOR_EVER)).collect();
    let placed = Placed::with_live(&image, &table);
    for arrival in arrivals {
        let expected = first_match(policy, members, arrival);
        prop_assert_eq!(placed.route(arrival.slot, &arrival.packet), expected, "{:?}", arrival);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_first_match_is_found(
        policy in narrow_policy(),
        members in live_members(),
        arrivals in vec(arrival(), PACKETS),
    ) {
        check(&policy, &members, &arrivals)?;
    }

    #[test]
    fn any_components_go_together(
        policy in wide_policy(),
        members in live_members(),
        arrivals in vec(arrival(), PACKETS),
    ) {
        check(&policy, &members, &arrivals)?;
    }

    #[test]
    fn live_members_count_like_prefixes(
        policy in sender_policy(),
        members in live_members(),
        arrivals in vec(arrival(), PACKETS),
    ) {
        check(&policy, &members, &arrivals)?;
    }

    /// What the memo keeps of a flow holds for all its packets of the same variant.
    #[test]
    fn a_variant_goes_one_way(policy in narrow_policy(), arrivals in vec(arrival(), PACKETS)) {
        let image = compiled_with(&policy, &[]).unwrap();
        let unmemoizable = image.active_flags() & gateway_common::abi::ACTIVE_UNMEMOIZABLE != 0;
        let placed = Placed::new(&image);
        for pair in arrivals.chunks_exact(2) {
            let (one, other) = (&pair[0].packet, &pair[1].packet);
            let has = one.flags & (flags::HAS_PORTS | flags::HAS_ICMP | flags::LATER_FRAGMENT);
            let kinds = flags::DONT_FRAGMENT | flags::FIRST_FRAGMENT | flags::LAST_FRAGMENT;
            let other = Packet {
                tcp_flags: other.tcp_flags,
                traffic_class: other.traffic_class,
                ttl: other.ttl,
                end: other.end,
                flow_label: if one.family == 6 { other.flow_label } else { 0 },
                flags: has | other.flags & kinds,
                ..*one
            };
            if !unmemoizable && placed.variant(one) == placed.variant(&other) {
                let slot = pair[0].slot;
                prop_assert_eq!(placed.route(slot, one), placed.route(slot, &other), "{:?} {:?}", one, other);
            }
        }
    }

    /// One dimension alone, with many lists: classes and markers under strain.
    #[test]
    fn nested_prefixes_are_told_apart(
        lists in vec(prefixes(1), 1..40),
        addresses in vec(addresses(), PACKETS),
    ) {
        let policy = policy(lists.into_iter().map(|from| Match { from: Some(from), ..Match::default() }));
        let placed = Placed::of(&policy);
        for (source, destination) in addresses {
            let arrival = Arrival { slot: 1, source, destination, packet: addressed(source, destination) };
            let expected = first_match(&policy, &[], &arrival);
            prop_assert_eq!(placed.route(1, &arrival.packet), expected, "{} {}", source, destination);
        }
    }
}
