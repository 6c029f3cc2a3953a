//! What the packet is → what happens to it.

use super::parse::{Parsed, Unparsed, parse};
use gateway_common::abi::Verdict;
use gateway_common::reason::Reason;
use gateway_user::policy::{Action, Default, Match, Policy, PortRange, Route};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where a frame is counted beside its interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// This route's counter.
    Route(String),
    /// No route matched.
    Default,
    /// Not IP.
    NotIp,
    /// Malformed, dropped or passed.
    Malformed,
    /// No policy was loaded.
    NoPolicy,
}

/// What happens to a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Its fate.
    pub verdict: Verdict,
    /// Why it was dropped; or what is wrong with it, where the policy passes such frames.
    pub reason: Option<Reason>,
    /// Where it is counted.
    pub counter: Counter,
    /// skb mark, 0 if none is set; seen only where there is an skb in the end.
    pub mark: u32,
    /// skb priority, 0 if none is set.
    pub priority: u32,
    /// Where a redirected frame goes.
    pub target: Option<String>,
    /// The packet, if it was one that a route could match: it has a flow account.
    pub packet: Option<Parsed>,
}

/// What the judgement depends on beside policy and frame.
#[derive(Clone, Debug)]
pub struct World {
    /// The interface that the frame arrives on.
    pub interface: String,
    /// Redirect targets that are there.
    pub present: BTreeSet<String>,
}

/// Judges a frame that arrives under this policy, or under none.
#[must_use]
pub fn judge(policy: Option<&Policy>, world: &World, frame: &[u8]) -> Judgement {
    let Some(policy) = policy else { return passed(Counter::NoPolicy) };
    let packet = match parse(frame) {
        Ok(packet) => packet,
        Err(Unparsed::NotIp) => return passed(Counter::NotIp),
        Err(Unparsed::Malformed(reason)) => {
            let drops = policy.malformed.drop_bits & (1 << reason.code()) != 0;
            return Judgement {
                verdict: if drops { Verdict::Drop } else { Verdict::Pass },
                reason: Some(reason),
                ..passed(Counter::Malformed)
            };
        }
    };
    let route = policy.routes.iter().find(|route| matches(&route.matches, &world.interface, &packet));
    let mut judgement = match route {
        Some(route) => by_route(route, world),
        None if policy.default == Default::Drop => dropped(Reason::Default, Counter::Default),
        None => passed(Counter::Default),
    };
    judgement.packet = Some(packet);
    judgement
}

fn by_route(route: &Route, world: &World) -> Judgement {
    let counter = Counter::Route(route.name.clone());
    let mut judgement = match &route.action {
        Action::Pass => passed(counter),
        Action::Drop => dropped(Reason::Route, counter),
        Action::Tx => Judgement { verdict: Verdict::Tx, ..passed(counter) },
        Action::Redirect { interface } if world.present.contains(interface) => {
            Judgement { verdict: Verdict::Redirect, target: Some(interface.clone()), ..passed(counter) }
        }
        Action::Redirect { .. } => dropped(Reason::RedirectTarget, counter),
    };
    if judgement.verdict != Verdict::Drop {
        judgement.mark = route.mark.unwrap_or(0);
        judgement.priority = route.priority.unwrap_or(0);
    }
    judgement
}

fn passed(counter: Counter) -> Judgement {
    Judgement {
        verdict: Verdict::Pass,
        reason: None,
        counter,
        mark: 0,
        priority: 0,
        target: None,
        packet: None,
    }
}

fn dropped(reason: Reason, counter: Counter) -> Judgement {
    Judgement { verdict: Verdict::Drop, reason: Some(reason), ..passed(counter) }
}

fn matches(wanted: &Match, interface: &str, packet: &Parsed) -> bool {
    let interface_holds =
        wanted.interface.as_ref().is_none_or(|list| list.iter().any(|name| name == interface));
    let protocol_holds = wanted.protocol.as_ref().is_none_or(|list| list.contains(&packet.protocol));
    interface_holds
        && protocol_holds
        && address_holds(wanted.from.as_ref(), packet.source)
        && address_holds(wanted.to.as_ref(), packet.destination)
        && port_holds(wanted.source_port.as_ref(), packet.ports.map(|(source, _)| source))
        && port_holds(wanted.port.as_ref(), packet.ports.map(|(_, destination)| destination))
}

fn address_holds(wanted: Option<&Vec<IpNet>>, address: IpAddr) -> bool {
    wanted.is_none_or(|list| list.iter().any(|prefix| prefix_holds(prefix, address)))
}

/// Bit by bit, so that nobody's masks are trusted.
fn prefix_holds(prefix: &IpNet, address: IpAddr) -> bool {
    let (of_prefix, of_address) = match (prefix.addr(), address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.octets().to_vec(), b.octets().to_vec()),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.octets().to_vec(), b.octets().to_vec()),
        _ => return false,
    };
    let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
    (0..usize::from(prefix.prefix_len())).all(|i| bit(&of_prefix, i) == bit(&of_address, i))
}

fn port_holds(wanted: Option<&Vec<PortRange>>, port: Option<u16>) -> bool {
    let Some(list) = wanted else { return true };
    port.is_some_and(|port| list.iter().any(|range| range.first <= port && port <= range.last))
}
