//! The compiler's tests: images are placed in a slice and read by the kernel's own classifier.

mod components;
mod evaluate;
mod intervals;
mod labels;
mod large;
mod limits;
mod matching;
mod pools;
mod properties;
mod translation;

use super::{CompileError, Image, LabelTable, Names, PoolTables, Surroundings, compile};
use crate::policy::{Action, Default, Label, Match, Policy, PortRange, Route};
use gateway_common::abi::Line;
use gateway_common::classify::{Found, Place, classify, route_entry, variant};
use gateway_common::image::{HeaderCold, HeaderHot, RouteEntry, TAG_V4, TAG_V6};
use gateway_common::live::{self, LiveHead, Member, Members};
use gateway_common::packet::{Packet, address_of, flags, protocol};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Where the tests place an image: anywhere but at line 0.
const BASE: u32 = 7;
/// A jiffy of the tests.
const NS_PER_JIFFY: u64 = 4_000_000;

/// `eth1` is in slot 1 and so on; routes count from 16 by the number in their names. A limit's slot is
/// the length of its name, and so is a target's; a label's number
/// is its first letters. The node gives what it sends 10.0.0.1, and nothing of IPv6; 10.0.0.99 is its own too.
pub(super) struct TestNames;

impl Names for TestNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        name.strip_prefix("eth")?.parse().ok()
    }
    fn counter_slot(&self, route: &str) -> u32 {
        16 + route.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
    }
    fn limit_slot(&self, limit: &str) -> u32 {
        limit.len() as u32
    }
    fn target_slot(&self, target: &str) -> u32 {
        target.len() as u32
    }
    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        match target {
            IpAddr::V4(_) => Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
            IpAddr::V6(_) => None,
        }
    }
    fn is_own(&self, target: IpAddr) -> bool {
        target == IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99))
    }
    fn label_number(&self, label: &str) -> u32 {
        label.bytes().take(4).fold(0, |number, byte| number << 8 | u32::from(byte))
    }
}

/// Compiles a policy where no label has live members.
pub(super) fn compiled(policy: &Policy) -> Result<Image, CompileError> {
    compiled_with(policy, &[])
}

/// Compiles a policy where live members give these sets of labels.
pub(super) fn compiled_with(policy: &Policy, live_sets: &[Vec<String>]) -> Result<Image, CompileError> {
    let labels = LabelTable::build(&policy.labels)?;
    assert!(labels.is_of(&policy.labels));
    compile(
        policy,
        &Surroundings {
            names: &TestNames,
            labels: &labels,
            live_sets,
            pools: &PoolTables::default(),
            ns_per_jiffy: NS_PER_JIFFY,
        },
    )
}

/// An image in a slice of lines, with a table of live members.
pub(super) struct Placed {
    pub(super) arena: Vec<Line>,
    pub(super) hot: HeaderHot,
    live: Vec<Line>,
}

impl Placed {
    pub(super) fn new(image: &Image) -> Placed {
        Placed::with_live(image, &[])
    }
    pub(super) fn with_live(image: &Image, members: &[(IpNet, &str, u32)]) -> Placed {
        let mut arena = vec![Line::default(); BASE as usize + image.lines()];
        let hot = image.place_in(&mut arena, BASE, &HeaderCold::default()).unwrap();
        Placed { arena, hot, live: live_table(members) }
    }
    pub(super) fn of(policy: &Policy) -> Placed {
        Placed::new(&compiled(policy).unwrap())
    }
    pub(super) fn found(&self, slot: u16, packet: &Packet, now: u32) -> Found {
        let place = Place { header_line: BASE, header: &self.hot, slot, now };
        classify(&self.arena[..], &self.live[..], &place, packet).unwrap()
    }
    pub(super) fn route(&self, slot: u16, packet: &Packet) -> u32 {
        self.found(slot, packet, 0).route
    }
    pub(super) fn variant(&self, packet: &Packet) -> u16 {
        variant(&self.arena[..], BASE, packet).unwrap()
    }
    pub(super) fn entry(&self, route: u32) -> &RouteEntry {
        route_entry(&self.arena[..], self.hot.routes, route).unwrap()
    }
    /// A line of the header.
    pub(super) fn header<T: bytemuck::AnyBitPattern>(&self, line: u32) -> T {
        bytemuck::pod_read_unaligned(bytemuck::bytes_of(&self.arena[(BASE + line) as usize]))
    }
}

/// A table of live members (prefix, label, end of its time to live) as [`gateway_common::live`] says.
fn live_table(members: &[(IpNet, &str, u32)]) -> Vec<Line> {
    const LINES: u32 = 64;
    let mut head = LiveHead { mask: LINES - 1, ..LiveHead::default() };
    let mut table = vec![Line::default(); (live::TABLE_LINE + LINES) as usize];
    for &(prefix, label, until) in members {
        let length = prefix.prefix_len();
        let (tag, first, count) = match prefix {
            IpNet::V4(_) => (TAG_V4, live::LENGTHS_V4_LINE, &mut head.v4_lengths),
            IpNet::V6(_) => (TAG_V6, live::LENGTHS_V6_LINE, &mut head.v6_lengths),
        };
        let line: &mut [u8] = bytemuck::bytes_of_mut(&mut table[first as usize]);
        if !line[..*count as usize].contains(&length) {
            line[*count as usize] = length;
            *count += 1;
        }
        let tag = tag + u32::from(length);
        let address = address_of(prefix.network());
        let tag_label = u64::from(tag) << 32 | u64::from(TestNames.label_number(label));
        let member = Member { prefix: address, tag_label, until, reserved: 0 };
        let hash = live::place(address, tag);
        let mut places = [hash as u32, (hash >> 32) as u32].into_iter().flat_map(|hash| {
            let line = (live::TABLE_LINE + (hash & (LINES - 1))) as usize;
            [(line, 0), (line, 1)]
        });
        let members = |line: usize| bytemuck::cast::<Line, Members>(table[line]);
        let (line, slot) = places.find(|&(line, slot)| members(line)[slot].tag_label == 0).unwrap();
        let mut filled = members(line);
        filled[slot] = member;
        table[line] = bytemuck::cast(filled);
    }
    table[0] = bytemuck::cast(head);
    table
}

pub(super) fn policy(matches: impl IntoIterator<Item = Match>) -> Policy {
    let route = |(i, matches)| Route { matches, ..Route::new(format!("r{i}"), Action::Pass) };
    Policy::new(matches.into_iter().enumerate().map(route).collect(), Default::Pass)
}

/// Labels with their prefixes.
pub(super) fn labels(labels: &[(&str, &[&str])]) -> BTreeMap<String, Label> {
    let label = |(name, prefixes): &(&str, &[&str])| {
        let prefixes = Arc::new(list(prefixes).unwrap_or_default());
        ((*name).to_owned(), Label { prefixes, file: None })
    };
    labels.iter().map(label).collect()
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

pub(super) fn not(matches: Match) -> Match {
    Match { not: Some(Box::new(matches)), ..Match::default() }
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
    Packet {
        source: address_of(source),
        destination: address_of(destination),
        family: if source.is_ipv4() { 4 } else { 6 },
        protocol: 255,
        ..Packet::default()
    }
}
