//! Random policies and packets: the kernel's classifier over the image against a plain scan of the
//! model.

use super::{Placed, addressed, policy};
use crate::compile::compile;
use crate::policy::{Match, Policy, PortRange};
use gateway_common::packet::{Packet, flags, protocol};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const POLICIES: u32 = 500;
const PACKETS: usize = 60;

/// The first route that matches, by looking at one after the other.
fn first_match(policy: &Policy, interface: &str, addresses: (IpAddr, IpAddr), packet: &Packet) -> u32 {
    let has_ports = packet.flags & flags::HAS_PORTS != 0;
    let in_ports = |list: &Option<Vec<PortRange>>, port: u16| match list {
        None => true,
        Some(list) => has_ports && list.iter().any(|range| range.first <= port && port <= range.last),
    };
    let in_prefixes = |list: &Option<Vec<IpNet>>, address: IpAddr| {
        list.as_ref().is_none_or(|list| list.iter().any(|prefix| prefix.contains(&address)))
    };
    let holds = |matches: &Match| {
        matches.interface.as_ref().is_none_or(|list| list.iter().any(|name| name == interface))
            && in_prefixes(&matches.from, addresses.0)
            && in_prefixes(&matches.to, addresses.1)
            && matches.protocol.as_ref().is_none_or(|list| list.contains(&packet.protocol))
            && in_ports(&matches.port, packet.port)
            && in_ports(&matches.source_port, packet.source_port)
    };
    let found = policy.routes.iter().position(|route| holds(&route.matches));
    found.unwrap_or(policy.routes.len()) as u32
}

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

fn prefixes() -> impl Strategy<Value = Vec<IpNet>> {
    vec(prefix(), 1..6).prop_map(ordered)
}

fn ordered<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![select(vec![0, 1, 22, 53, 80, 443, 65_534, 65_535]), 75..85_u16, any::<u16>()]
}

/// Disjoint, ascending and never touching, as the model promises.
fn port_ranges() -> impl Strategy<Value = Vec<PortRange>> {
    let range = prop_oneof![port().prop_map(|port| (port, port)), (port(), port())];
    vec(range, 1..4).prop_map(|ranges| {
        let ranges = ordered(ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect());
        let mut merged: Vec<PortRange> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if u32::from(first) <= u32::from(before.last) + 1 => {
                    before.last = before.last.max(last);
                }
                _ => merged.push(PortRange { first, last }),
            }
        }
        merged
    })
}

fn interface() -> impl Strategy<Value = String> {
    select(vec!["eth1", "eth2", "eth3", "eth255", "unknown"]).prop_map(str::to_owned)
}

fn protocol_number() -> impl Strategy<Value = u8> {
    select(vec![0, protocol::ICMP, protocol::TCP, protocol::UDP, protocol::SCTP, 255])
}

fn matches() -> impl Strategy<Value = Match> {
    (
        option::weighted(0.3, vec(interface(), 1..3).prop_map(ordered)),
        option::weighted(0.5, prefixes()),
        option::weighted(0.5, prefixes()),
        option::weighted(0.4, vec(protocol_number(), 1..4).prop_map(ordered)),
        option::weighted(0.4, port_ranges()),
        option::weighted(0.2, port_ranges()),
    )
        .prop_map(|(interface, from, to, protocol, port, source_port)| Match {
            interface,
            from,
            to,
            protocol,
            port,
            source_port,
        })
}

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        (v4(), v4()).prop_map(|(a, b)| (a.into(), b.into())),
        (v6(), v6()).prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

type Arrival = (u16, (IpAddr, IpAddr), Packet);

fn arrival() -> impl Strategy<Value = Arrival> {
    let slot = select(vec![0, 1, 2, 3, 4, 255]);
    let transport = prop_oneof![
        3 => (port(), port()).prop_map(|ports| (flags::HAS_PORTS, ports)),
        1 => (port(), Just(0)).prop_map(|ports| (flags::HAS_ICMP, ports)),
        1 => Just((flags::LATER_FRAGMENT, (0, 0))),
    ];
    (slot, addresses(), protocol_number(), transport).prop_map(
        |(slot, addresses, protocol, (flags, (port, source_port)))| {
            let packet = Packet { protocol, flags, port, source_port, ..addressed(addresses.0, addresses.1) };
            (slot, addresses, packet)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: POLICIES, ..ProptestConfig::default() })]

    #[test]
    fn the_first_match_is_found(
        policy in vec(matches(), 0..12).prop_map(policy),
        arrivals in vec(arrival(), PACKETS),
    ) {
        let image = compile(&policy, &super::TestNames).unwrap();
        prop_assert_eq!(&image, &compile(&policy, &super::TestNames).unwrap(), "the same bytes each time");
        let placed = Placed::new(&image);
        for (slot, addresses, packet) in &arrivals {
            let interface = format!("eth{slot}");
            let expected = first_match(&policy, &interface, *addresses, packet);
            prop_assert_eq!(placed.route(*slot, packet), expected, "{} {:?}", interface, packet);
        }
    }

    /// One dimension alone, with many lists: classes and markers under strain.
    #[test]
    fn nested_prefixes_are_told_apart(
        lists in vec(prefixes(), 1..40),
        addresses in vec(addresses(), PACKETS),
    ) {
        let policy = policy(lists.into_iter().map(|from| Match { from: Some(from), ..Match::default() }));
        let placed = Placed::of(&policy);
        for addresses in addresses {
            let packet = addressed(addresses.0, addresses.1);
            let expected = first_match(&policy, "eth1", addresses, &packet);
            prop_assert_eq!(placed.route(1, &packet), expected, "{:?}", addresses);
        }
    }
}
