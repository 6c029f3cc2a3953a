//! What the packet is → what happens to it.

use super::forward::{Stuck, forwarded};
use super::icmp_error::{Told, Trouble, told};
use super::limits::{Charge, State, limits_of};
use super::matching::Sight;
use super::parse::{Parsed, Unparsed, parse};
use super::quoted::quoted;
use super::{Forwarded, Member, Targets};
use gateway_common::abi::Verdict;
use gateway_common::reason::Reason;
use gateway_user::policy::{Action, Default, Policy, Route};
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
    /// DSCP that is written into it.
    pub dscp: Option<u8>,
    /// Where a redirected frame goes.
    pub target: Option<String>,
    /// How a pool's packet is sent to its target.
    pub forwarded: Option<Forwarded>,
    /// What becomes of the error that its sender is due.
    pub told: Option<Told>,
    /// The limits that were asked, in order.
    pub charges: Vec<Charge>,
    /// Whether it hung on rounding, or on when a silent connection is closed: then the other
    /// [`super::Tie`] is as right.
    pub hung: bool,
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
    /// Live members of labels.
    pub members: Vec<Member>,
    /// Ways to targets, and what the node knows of them.
    pub targets: Targets,
    /// The interface's own addresses, one of a family.
    pub own: Vec<IpAddr>,
    /// Tags of EtherType 0x9100 can be taken off where the frame is judged.
    pub takes_old_tags_off: bool,
    /// Checksums can be verified where the frame is judged.
    pub verifies_checksums: bool,
}

/// Judges a frame that arrives under this policy, or under none.
pub fn judge(policy: Option<&Policy>, world: &World, state: &mut State, frame: &[u8]) -> Judgement {
    let Some(policy) = policy else { return passed(Counter::NoPolicy) };
    let mut packet = match parse(frame, policy.verify_checksums && world.verifies_checksums) {
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
    let pools = policy.routes.iter().any(|route| matches!(route.action, Action::Pool { .. }));
    let hung_on_first = pools && state.follow(&mut packet);
    let sight = Sight::new(policy, world, &packet);
    let first_of_flow = state.meets(&packet);
    let route = policy.routes.iter().find(|route| sight.holds(&route.matches));
    let mut judgement = match route {
        Some(route) => {
            let limits = limits_of(policy, route);
            let policed = state.police(&limits, &packet, sight.labels(), frame.len(), first_of_flow);
            let mut told_hung = false;
            let reason = if policed.banned { Reason::Banned } else { Reason::Limit };
            let mut judgement = match policed.refused {
                true => dropped(reason, Counter::Route(route.name.clone())),
                false => {
                    let follows = !matches!(route.action, Action::Pool { .. }) || state.lead(&packet);
                    let (mut judgement, trouble) = match follows {
                        true => by_route(policy, route, world, state, (&packet, frame)),
                        false => (dropped(Reason::FragmentUnseen, Counter::Route(route.name.clone())), None),
                    };
                    if let Some((told, hung)) = trouble.and_then(|trouble| {
                        state.tell(|bucket, at| told(trouble, world, (&packet, frame), bucket, at))
                    }) {
                        judgement.told = Some(told);
                        told_hung = hung;
                    }
                    judgement
                }
            };
            if judgement.verdict != Verdict::Drop {
                judgement.mark = policed.mark.unwrap_or(judgement.mark);
                judgement.dscp = policed.dscp.or(route.dscp);
            }
            judgement.charges = policed.charges;
            judgement.hung = policed.hung || told_hung;
            judgement
        }
        None if policy.default == Default::Drop => dropped(Reason::Default, Counter::Default),
        None => passed(Counter::Default),
    };
    if pools && judgement.verdict == Verdict::Pass && judgement.forwarded.is_none() {
        to_owner(policy, world, state, (&packet, frame), &mut judgement);
    }
    judgement.hung |= hung_on_first;
    judgement.packet = Some(packet);
    judgement
}

/// An ICMP error that passes belongs to whom the packet that it quotes was an answer of; or it tells of the
/// path to a target.
fn to_owner(
    policy: &Policy,
    world: &World,
    state: &mut State,
    (packet, frame): (&Parsed, &[u8]),
    judgement: &mut Judgement,
) {
    let Some(quoted) = quoted(packet, frame) else { return };
    state.learn(policy, world, &quoted);
    let Some(turned) = quoted.turned(packet) else { return };
    let sight = Sight::new(policy, world, &turned);
    let route = policy.routes.iter().find(|route| sight.holds(&route.matches));
    let Some(Route { action: Action::Pool { pool, .. }, .. }) = route else { return };
    let counter = judgement.counter.clone();
    let kept = judgement.clone();
    *judgement = match by_pool(pool, policy, world, state, (&turned, frame), counter.clone()) {
        Ok(sent) => Judgement { mark: kept.mark, priority: kept.priority, dscp: kept.dscp, ..sent },
        Err(stuck) => dropped(stuck.reason, counter),
    };
    (judgement.charges, judgement.hung) = (kept.charges, kept.hung);
}

fn by_route(
    policy: &Policy,
    route: &Route,
    world: &World,
    state: &State,
    packet: (&Parsed, &[u8]),
) -> (Judgement, Option<Trouble>) {
    let counter = Counter::Route(route.name.clone());
    let mut trouble = None;
    let mut judgement = match &route.action {
        Action::Pass | Action::Proxy { .. } => passed(counter),
        Action::Drop => dropped(Reason::Route, counter),
        Action::Tx => Judgement { verdict: Verdict::Tx, ..passed(counter) },
        Action::Redirect { interface } if world.present.contains(interface) => {
            Judgement { verdict: Verdict::Redirect, target: Some(interface.clone()), ..passed(counter) }
        }
        Action::Redirect { .. } => dropped(Reason::RedirectTarget, counter),
        Action::Pool { pool, .. } => match by_pool(pool, policy, world, state, packet, counter.clone()) {
            Ok(judgement) => judgement,
            Err(stuck) => {
                trouble = stuck.trouble;
                dropped(stuck.reason, counter)
            }
        },
    };
    if judgement.verdict != Verdict::Drop {
        judgement.mark = route.mark.unwrap_or(0);
        judgement.priority = route.priority.unwrap_or(0);
    }
    (judgement, trouble)
}

fn by_pool(
    name: &str,
    policy: &Policy,
    world: &World,
    state: &State,
    (packet, frame): (&Parsed, &[u8]),
    counter: Counter,
) -> Result<Judgement, Stuck> {
    let forwarded = forwarded((name, &policy.pools[name]), &world.targets, state, packet)?;
    let mut tags = (12..packet.offset - 2).step_by(4);
    if !world.takes_old_tags_off && tags.any(|at| frame[at..at + 2] == [0x91, 0x00]) {
        return Err(Reason::NoRoom.into());
    }
    let interface = forwarded.way.interface.clone();
    let (verdict, target) = if forwarded.cut {
        (Verdict::Pass, None)
    } else if interface == world.interface {
        (Verdict::Tx, None)
    } else {
        (Verdict::Redirect, Some(interface))
    };
    Ok(Judgement { verdict, target, forwarded: Some(forwarded), ..passed(counter) })
}

fn passed(counter: Counter) -> Judgement {
    Judgement {
        verdict: Verdict::Pass,
        reason: None,
        counter,
        mark: 0,
        priority: 0,
        dscp: None,
        target: None,
        forwarded: None,
        told: None,
        charges: Vec::new(),
        hung: false,
        packet: None,
    }
}

fn dropped(reason: Reason, counter: Counter) -> Judgement {
    Judgement { verdict: Verdict::Drop, reason: Some(reason), ..passed(counter) }
}
