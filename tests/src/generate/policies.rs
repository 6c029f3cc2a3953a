//! Random policies.

use super::{PORTS, PREFIXES, PROTOCOLS};
use crate::golden::{ABSENT, INTERFACE, TARGET, TARGET_WITHOUT_XDP};
use crate::random::Random;
use gateway_common::reason::Reason;
use gateway_user::policy::{Action, Default, Malformed, Match, Policy, PortRange, Route};
use ipnet::IpNet;

/// A policy of up to `most` routes.
#[must_use]
pub fn policy(random: &mut Random, most: usize) -> Policy {
    let count = random.below(most + 1);
    Policy {
        routes: (0..count).map(|i| route(random, i)).collect(),
        default: if random.chance(1, 2) { Default::Pass } else { Default::Drop },
        malformed: malformed(random),
    }
}

fn malformed(random: &mut Random) -> Malformed {
    let all = Reason::all_malformed_bits();
    let drop_bits = match random.below(3) {
        0 => all,
        1 => 0,
        _ => all & random.bits(),
    };
    Malformed { drop_bits }
}

fn route(random: &mut Random, number: usize) -> Route {
    let action = match random.below(8) {
        0..3 => Action::Pass,
        3..5 => Action::Drop,
        5 => Action::Tx,
        _ => Action::Redirect { interface: (*random.pick(&[TARGET, TARGET_WITHOUT_XDP, ABSENT])).to_owned() },
    };
    let value = |random: &mut Random| random.chance(1, 2).then(|| (random.bits() as u32).max(1));
    Route {
        name: format!("route-{number}"),
        matches: matches(random),
        mark: value(random),
        priority: value(random),
        action,
    }
}

fn matches(random: &mut Random) -> Match {
    // Of the six dimensions two to three are named on average, so that many sets of them occur.
    let mut named = |odds: usize| random.chance(1, odds);
    let (interface, from, to) = (named(5), named(2), named(2));
    let (protocol, port, source_port) = (named(3), named(4), named(5));
    Match {
        interface: interface.then(|| interfaces(random)),
        from: from.then(|| prefixes(random)),
        to: to.then(|| prefixes(random)),
        protocol: protocol.then(|| {
            let mut list = random.some(&PROTOCOLS, 3);
            list.sort_unstable();
            list
        }),
        port: port.then(|| ports(random)),
        source_port: source_port.then(|| ports(random)),
    }
}

fn interfaces(random: &mut Random) -> Vec<String> {
    random.some(&[INTERFACE, TARGET, TARGET_WITHOUT_XDP], 2).into_iter().map(str::to_owned).collect()
}

fn prefixes(random: &mut Random) -> Vec<IpNet> {
    let mut list: Vec<IpNet> =
        random.some(&PREFIXES, 4).into_iter().filter_map(|text| text.parse().ok()).collect();
    list.sort_unstable();
    list
}

/// Disjoint ranges, ascending, that do not touch.
fn ports(random: &mut Random) -> Vec<PortRange> {
    let mut wanted = vec![false; 1 << 16];
    for _ in 0..=random.below(3) {
        let (a, b) = (*random.pick(&PORTS), *random.pick(&PORTS));
        let (first, last) = if random.chance(1, 2) { (a, a) } else { (a.min(b), a.max(b)) };
        wanted[usize::from(first)..=usize::from(last)].fill(true);
    }
    let mut list: Vec<PortRange> = Vec::new();
    for port in (0..=u16::MAX).filter(|port| wanted[usize::from(*port)]) {
        match list.last_mut() {
            Some(range) if range.last.checked_add(1) == Some(port) => range.last = port,
            _ => list.push(PortRange { first: port, last: port }),
        }
    }
    list
}
