//! The compiler's tests: images are placed in a slice and read by the kernel's own classifier.

mod limits;
mod matching;
mod properties;

use super::{Image, Names, compile};
use crate::policy::{Action, Default, Malformed, Match, Policy, PortRange, Route};
use gateway_common::abi::Line;
use gateway_common::classify::{classify, route_entry};
use gateway_common::image::{HeaderCold, HeaderHot, RouteEntry};
use gateway_common::packet::{Packet, flags, ipv4_address, protocol};
use std::net::IpAddr;

/// Where the tests place an image: anywhere but at line 0.
const BASE: u32 = 7;

/// `eth1` is in slot 1 and so on; routes count from 16 by the number in their names.
pub(super) struct TestNames;

impl Names for TestNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        name.strip_prefix("eth")?.parse().ok()
    }
    fn counter_slot(&self, route: &str) -> u32 {
        16 + route.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
    }
}

/// An image in a slice of lines.
pub(super) struct Placed {
    arena: Vec<Line>,
    hot: HeaderHot,
}

impl Placed {
    pub(super) fn new(image: &Image) -> Placed {
        let mut arena = vec![Line::default(); BASE as usize + image.lines()];
        let hot = image.place_in(&mut arena, BASE, &HeaderCold::default()).unwrap();
        Placed { arena, hot }
    }
    pub(super) fn of(policy: &Policy) -> Placed {
        Placed::new(&compile(policy, &TestNames).unwrap())
    }
    pub(super) fn route(&self, slot: u16, packet: &Packet) -> u32 {
        classify(&self.arena[..], BASE, &self.hot, slot, packet).unwrap()
    }
    pub(super) fn entry(&self, route: u32) -> &RouteEntry {
        route_entry(&self.arena[..], &self.hot, route).unwrap()
    }
}

pub(super) fn policy(matches: impl IntoIterator<Item = Match>) -> Policy {
    let route = |(i, matches)| Route {
        name: format!("r{i}"),
        matches,
        mark: None,
        priority: None,
        action: Action::Pass,
    };
    Policy {
        routes: matches.into_iter().enumerate().map(route).collect(),
        default: Default::Pass,
        malformed: Malformed::default(),
    }
}

/// A list of a match, in the order that the model promises.
pub(super) fn list<T: Ord + std::str::FromStr<Err: std::fmt::Debug>>(items: &[&str]) -> Option<Vec<T>> {
    let mut items: Vec<T> = items.iter().map(|item| item.parse().unwrap()).collect();
    items.sort();
    items.dedup();
    Some(items)
}

pub(super) fn from(prefixes: &[&str]) -> Match {
    Match { from: list(prefixes), ..Match::default() }
}

pub(super) fn ports(ranges: &[(u16, u16)]) -> Option<Vec<PortRange>> {
    Some(ranges.iter().map(|&(first, last)| PortRange { first, last }).collect())
}

pub(super) fn packet(source: &str, destination: &str) -> Packet {
    addressed(source.parse().unwrap(), destination.parse().unwrap())
}

pub(super) fn tcp(source: &str, destination: &str, source_port: u16, port: u16) -> Packet {
    Packet {
        source_port,
        port,
        protocol: protocol::TCP,
        flags: flags::HAS_PORTS,
        ..packet(source, destination)
    }
}

pub(super) fn addressed(source: IpAddr, destination: IpAddr) -> Packet {
    let words = |address| match address {
        IpAddr::V4(address) => ipv4_address(address.to_bits()),
        IpAddr::V6(address) => [(address.to_bits() >> 64) as u64, address.to_bits() as u64],
    };
    Packet {
        source: words(source),
        destination: words(destination),
        family: if source.is_ipv4() { 4 } else { 6 },
        protocol: 255,
        ..Packet::default()
    }
}
