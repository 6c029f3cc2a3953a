//! Random matches: every component, wanted or denied.

use super::{DSCPS, FLOW_LABELS, LENGTHS, PORTS, PREFIXES, PROTOCOLS, TCP_FLAGS, TTLS, VLANS};
use crate::golden::{INTERFACE, TARGET, TARGET_WITHOUT_XDP};
use crate::random::Random;
use gateway_user::policy::{Fragment, LabelTest, Match, Range, TcpFlags};
use ipnet::IpNet;

/// Components, the usual ones more often.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Component {
    From,
    To,
    Protocol,
    Port,
    SourcePort,
    Interface,
    IcmpType,
    IcmpCode,
    TcpFlags,
    Length,
    Dscp,
    Fragment,
    FlowLabel,
    Vlan,
    Ttl,
}
use Component::{
    Dscp, FlowLabel, Fragment as Fragments, From, IcmpCode, IcmpType, Interface, Length, Port, Protocol,
    SourcePort, TcpFlags as Flags, To, Ttl, Vlan,
};

const WEIGHTED: [Component; 28] = [
    From, From, From, From, From, To, To, To, To, Protocol, Protocol, Protocol, Port, Port, Port, SourcePort,
    SourcePort, Interface, Interface, IcmpType, IcmpCode, Flags, Length, Dscp, Fragments, FlowLabel, Vlan,
    Ttl,
];

/// A match; `labels` are those of the policy. It names a few components, and denies one or two: the sets
/// that a policy's routes are made of are the product of what they name.
pub(super) fn matches(random: &mut Random, labels: &[String]) -> Match {
    let named = random.below(5);
    let mut wanted = components(random, labels, named);
    if random.chance(1, 4) {
        let denied = 1 + random.below(2);
        wanted.not = Some(Box::new(components(random, labels, denied)));
    }
    wanted
}

/// Up to so many components.
fn components(random: &mut Random, labels: &[String], most: usize) -> Match {
    let mut out = Match::default();
    for _ in 0..most {
        match random.pick(&WEIGHTED) {
            From => (out.from, out.labels) = senders(random, labels),
            To => out.to = Some(prefixes(random, 4)),
            Protocol => {
                let mut list = random.some(&PROTOCOLS, 3);
                list.sort_unstable();
                out.protocol = Some(list);
            }
            Port => out.port = Some(ranges(random, &PORTS)),
            SourcePort => out.source_port = Some(ranges(random, &PORTS)),
            Interface => out.interface = Some(interfaces(random)),
            IcmpType => out.icmp_type = Some(ranges(random, &[0, 3, 8, 11, 127, 128, 129, 135, 255])),
            IcmpCode => out.icmp_code = Some(ranges(random, &[0, 1, 2, 3, 4, 255])),
            Flags => out.tcp_flags = Some(flags(random)),
            Length => out.length = Some(ranges(random, &LENGTHS)),
            Dscp => out.dscp = Some(ranges(random, &DSCPS)),
            Fragments => {
                let kinds = [Fragment::Dont, Fragment::First, Fragment::Later, Fragment::Last];
                out.fragment = Some(random.some(&kinds, 2));
            }
            FlowLabel => out.flow_label = Some(ranges(random, &FLOW_LABELS)),
            Vlan => out.vlan = Some(vlans(random)),
            Ttl => out.ttl = Some(ranges(random, &TTLS)),
        }
    }
    out
}

/// Prefixes, labels, or both.
fn senders(random: &mut Random, labels: &[String]) -> (Option<Vec<IpNet>>, Option<LabelTest>) {
    if labels.is_empty() || random.chance(1, 2) {
        return (Some(prefixes(random, 4)), None);
    }
    let names = random.some(labels, 3);
    let all = names.len() > 1 && random.chance(1, 3);
    let prefixes = (!all && random.chance(1, 3)).then(|| prefixes(random, 2));
    (prefixes, Some(LabelTest { names, all }))
}

fn interfaces(random: &mut Random) -> Vec<String> {
    random.some(&[INTERFACE, TARGET, TARGET_WITHOUT_XDP], 2).into_iter().map(str::to_owned).collect()
}

pub(super) fn prefixes(random: &mut Random, most: usize) -> Vec<IpNet> {
    let mut list: Vec<IpNet> =
        random.some(&PREFIXES, most).into_iter().filter_map(|text| text.parse().ok()).collect();
    list.sort_unstable();
    list
}

/// 0 is "no tag" and touches no range: 1 is the first identifier.
fn vlans(random: &mut Random) -> Vec<Range<u16>> {
    let mut list = ranges(random, &VLANS[1..6]);
    if random.chance(1, 3) {
        list.insert(0, Range { first: 0, last: 0 });
        if list[1].first == 1 {
            list[0].last = list.remove(1).last;
        }
    }
    list
}

fn flags(random: &mut Random) -> Vec<TcpFlags> {
    let mut list: Vec<_> = (0..=random.below(2))
        .map(|_| {
            let mask = match random.below(3) {
                0 => random.bits() as u8,
                1 => 0x12,
                _ => *random.pick(&TCP_FLAGS),
            };
            let mask = mask.max(1);
            TcpFlags { set: mask & if random.chance(1, 3) { 0 } else { *random.pick(&TCP_FLAGS) }, mask }
        })
        .collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// Disjoint ranges between these edges, ascending, that do not touch.
fn ranges<T>(random: &mut Random, edges: &[T]) -> Vec<Range<T>>
where
    T: Copy + Ord + Into<u32> + TryFrom<u32>,
{
    let mut wanted: Vec<(u32, u32)> = (0..=random.below(3))
        .map(|_| {
            let (a, b) = (*random.pick(edges), *random.pick(edges));
            let (first, last) = if random.chance(1, 2) { (a, a) } else { (a.min(b), a.max(b)) };
            (first.into(), last.into())
        })
        .collect();
    wanted.sort_unstable();
    let mut list: Vec<(u32, u32)> = Vec::new();
    for (first, last) in wanted {
        match list.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => list.push((first, last)),
        }
    }
    // The edges were of this type.
    list.into_iter()
        .filter_map(|(first, last)| {
            Some(Range { first: first.try_into().ok()?, last: last.try_into().ok()? })
        })
        .collect()
}
