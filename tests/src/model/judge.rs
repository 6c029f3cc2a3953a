//! What the packet is → what happens to it.

use super::forward::{Stuck, by_connection, forwarded};
use super::icmp_error::{Told, told};
use super::limits::{Charge, Policed, State, limits_of};
use super::matching::Sight;
use super::parse::{Parsed, Unparsed, parse};
use super::quoted::quoted;
use super::tracked::Found;
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
    /// Port of the socket that tc is to hand it to.
    pub proxy: Option<u16>,
    /// The target that it begins a connection to, as `pool/target`.
    pub opened: Option<String>,
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
    /// Connections of pools that translate, at most.
    pub connections: usize,
    /// Packets can be handed to sockets where the frame is judged; there is none that listens.
    pub has_sockets: bool,
}

/// Judges a frame that arrives under this policy, or under none.
pub fn judge(policy: Option<&Policy>, world: &World, state: &mut State, frame: &[u8]) -> Judgement {
    state.take_notes();
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
    let mut judgement = match (state.returned(policy, &packet), route) {
        (Some(found), _) => back(found, world, state, (&packet, frame)),
        (None, Some(route)) => {
            let limits = limits_of(policy, route);
            let policed = state.police(&limits, &packet, sight.labels(), frame.len(), first_of_flow);
            policed_by(policy, (route, policed), world, state, (&packet, frame))
        }
        (None, None) if policy.default == Default::Drop => dropped(Reason::Default, Counter::Default),
        (None, None) => passed(Counter::Default),
    };
    // What no route names may still be about what one does.
    let open = judgement.verdict == Verdict::Pass || judgement.reason == Some(Reason::Default);
    if pools && open && judgement.forwarded.is_none() {
        let is_dropped = judgement.verdict == Verdict::Drop;
        let owned = owned(policy, world, state, (&packet, frame), (is_dropped, &judgement.counter));
        if let Some(Owned { judgement: sent, keeps_marks }) = owned {
            let kept = std::mem::replace(&mut judgement, sent);
            if keeps_marks && judgement.verdict != Verdict::Drop {
                (judgement.mark, judgement.priority) = (kept.mark, kept.priority);
            }
            if judgement.verdict != Verdict::Drop {
                judgement.dscp = kept.dscp;
            }
            (judgement.charges, judgement.hung) = (kept.charges, kept.hung);
        }
    }
    let (hung, opened) = state.take_notes();
    judgement.hung |= hung_on_first || hung;
    judgement.opened = opened;
    judgement.packet = Some(packet);
    judgement
}

/// A packet of a connection's target: it goes back, whatever its own route says.
fn back(found: Found, world: &World, state: &mut State, (packet, frame): (&Parsed, &[u8])) -> Judgement {
    let counter = found.counter.clone();
    if !state.lead(packet) {
        return dropped(Reason::FragmentUnseen, counter);
    }
    let sent = by_connection(found, true, &world.targets, packet)
        .and_then(|forwarded| sent(forwarded, world, (packet, frame), counter.clone()));
    sent.unwrap_or_else(|stuck| dropped_and_told(stuck, world, state, (packet, frame), counter))
}

/// A packet's route, after its limits.
fn policed_by(
    policy: &Policy,
    (route, policed): (&Route, Policed),
    world: &World,
    state: &mut State,
    (packet, frame): (&Parsed, &[u8]),
) -> Judgement {
    let counter = Counter::Route(route.name.clone());
    let reason = if policed.banned { Reason::Banned } else { Reason::Limit };
    let forwards = matches!(route.action, Action::Pool { .. });
    let owned = (forwards && !policed.refused)
        .then(|| owned(policy, world, state, (packet, frame), (false, &counter)))
        .flatten();
    let keeps_marks = owned.as_ref().is_none_or(|owned| owned.keeps_marks);
    let mut judgement = if policed.refused {
        dropped(reason, counter)
    } else if let Some(Owned { judgement, .. }) = owned {
        judgement
    } else if forwards && !state.lead(packet) {
        dropped(Reason::FragmentUnseen, counter)
    } else {
        by_route(policy, route, world, state, (packet, frame))
    };
    if judgement.verdict != Verdict::Drop {
        judgement.dscp = policed.dscp.or(route.dscp);
        if keeps_marks {
            judgement.mark = policed.mark.or(route.mark).unwrap_or(0);
            judgement.priority = route.priority.unwrap_or(0);
        }
    }
    judgement.charges = policed.charges;
    judgement.hung |= policed.hung;
    judgement
}

/// What becomes of an ICMP error that belongs to somebody.
struct Owned {
    judgement: Judgement,
    /// Its route's mark and priority stay.
    keeps_marks: bool,
}

/// An ICMP error that passes, or goes to a pool as what it is, belongs to whom the packet that it quotes was an
/// answer of; or it tells of the path to a target.
fn owned(
    policy: &Policy,
    world: &World,
    state: &mut State,
    (packet, frame): (&Parsed, &[u8]),
    (is_dropped, counter): (bool, &Counter),
) -> Option<Owned> {
    let quoted = quoted(packet, frame)?;
    state.learn(policy, world, &quoted);
    let turned = quoted.turned(packet)?;
    if let Some((found, back)) = state.related(policy, &turned) {
        let sent = by_connection(found, back, &world.targets, packet)
            .and_then(|forwarded| sent(forwarded.quoting(quoted), world, (packet, frame), counter.clone()));
        let judgement = sent.unwrap_or_else(|stuck| dropped(stuck.reason, counter.clone()));
        return Some(Owned { judgement, keeps_marks: false });
    }
    if is_dropped {
        return None;
    }
    let sight = Sight::new(policy, world, &turned);
    let route = policy.routes.iter().find(|route| sight.holds(&route.matches));
    let Some(Route { action: Action::Pool { pool, .. }, .. }) = route else { return None };
    // What a connection's end is told is not its client's as it is.
    if policy.pools[pool].forward.dnat().is_some() {
        return None;
    }
    let sent = by_pool(pool, policy, world, state, (&turned, frame), counter.clone());
    let judgement = sent.unwrap_or_else(|stuck| dropped(stuck.reason, counter.clone()));
    Some(Owned { judgement, keeps_marks: true })
}

fn by_route(
    policy: &Policy,
    route: &Route,
    world: &World,
    state: &mut State,
    packet: (&Parsed, &[u8]),
) -> Judgement {
    let counter = Counter::Route(route.name.clone());
    match &route.action {
        Action::Pass => passed(counter),
        Action::Proxy { .. } if world.has_sockets => dropped(Reason::NoListener, counter),
        Action::Proxy { port } => Judgement { proxy: Some(*port), ..passed(counter) },
        Action::Drop => dropped(Reason::Route, counter),
        Action::Tx => Judgement { verdict: Verdict::Tx, ..passed(counter) },
        Action::Redirect { interface } if world.present.contains(interface) => {
            Judgement { verdict: Verdict::Redirect, target: Some(interface.clone()), ..passed(counter) }
        }
        Action::Redirect { .. } => dropped(Reason::RedirectTarget, counter),
        Action::Pool { pool, .. } => match by_pool(pool, policy, world, state, packet, counter.clone()) {
            Ok(judgement) => judgement,
            Err(stuck) => dropped_and_told(stuck, world, state, packet, counter),
        },
    }
}

fn by_pool(
    name: &str,
    policy: &Policy,
    world: &World,
    state: &mut State,
    (packet, frame): (&Parsed, &[u8]),
    counter: Counter,
) -> Result<Judgement, Stuck> {
    let pool = &policy.pools[name];
    let forwarded = match pool.forward.dnat() {
        Some(dnat) => {
            let found = state.track(policy, (name, pool, dnat), world, packet, counter.clone())?;
            by_connection(found, false, &world.targets, packet)?
        }
        None => forwarded((name, pool), &world.targets, state, packet)?,
    };
    sent(forwarded, world, (packet, frame), counter)
}

fn sent(
    forwarded: Forwarded,
    world: &World,
    (packet, frame): (&Parsed, &[u8]),
    counter: Counter,
) -> Result<Judgement, Stuck> {
    let mut tags = (12..packet.offset - 2).step_by(4);
    let as_it_is = forwarded.cut && forwarded.is_translated();
    if !as_it_is && !world.takes_old_tags_off && tags.any(|at| frame[at..at + 2] == [0x91, 0x00]) {
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

/// A packet that cannot go on: whoever sent it may be due an error.
fn dropped_and_told(
    stuck: Stuck,
    world: &World,
    state: &mut State,
    packet: (&Parsed, &[u8]),
    counter: Counter,
) -> Judgement {
    let mut judgement = dropped(stuck.reason, counter);
    let told =
        stuck.trouble.and_then(|trouble| state.tell(|bucket, at| told(trouble, world, packet, bucket, at)));
    if let Some((told, hung)) = told {
        (judgement.told, judgement.hung) = (Some(told), hung);
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
        dscp: None,
        target: None,
        forwarded: None,
        proxy: None,
        opened: None,
        told: None,
        charges: Vec::new(),
        hung: false,
        packet: None,
    }
}

fn dropped(reason: Reason, counter: Counter) -> Judgement {
    Judgement { verdict: Verdict::Drop, reason: Some(reason), ..passed(counter) }
}
