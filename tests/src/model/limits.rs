//! What limits let through, with time as the caller gives it.

use super::bucket::{Answer, Bucket, Tie};
use super::connections::Connections;
use super::forward::{element_of, outer_source};
use super::fragments::{Fragments, is_lost};
use super::quoted::Quoted;
use super::tracked::{At, Found, Moment, Offer, Seen, Tracked};
use super::{Counter, Flow, Parsed, World};
use gateway_common::reason::Reason;
use gateway_user::policy::{
    Action, Dnat, KeyLengths, Limit, Over, Per, Policy, Pool, Quantity, Route, RouteLimit, Target,
};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What the packets before have left behind.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The time, nanoseconds; never less than it was.
    pub now_ns: u64,
    /// Which of two right answers is given.
    pub tie: Tie,
    /// What was seen of the packet that is judged.
    pub seen: Seen,
    /// What the judgement hung on so far, and the target to which a connection began.
    notes: (bool, Option<String>),
    limits: Mark,
    /// Flows of which a packet was judged.
    flows: BTreeSet<Flow>,
    /// The flow of the last packet, if that was its first.
    newest: Option<Flow>,
}

/// What limits hold at some point, and what else follows from packets before.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    buckets: BTreeMap<(String, Key), Bucket>,
    /// Of ICMP errors.
    errors: Bucket,
    fragments: Fragments,
    /// What was told of the paths to targets, by their addresses and what is sent there from: the MTU, and when.
    paths: BTreeMap<(IpAddr, IpAddr), (usize, u64)>,
    connections: Connections,
    tracked: Tracked,
}

/// Whose packets share a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    All,
    Prefix(IpNet),
    Labels(BTreeSet<String>),
}

/// What one limit did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Its name.
    pub limit: String,
    /// The packet was within it.
    pub admitted: bool,
}

/// What all limits of a route did with a packet.
#[derive(Clone, Debug, Default)]
pub(super) struct Policed {
    pub charges: Vec<Charge>,
    pub refused: bool,
    pub banned: bool,
    pub dscp: Option<u8>,
    pub mark: Option<u32>,
    pub hung: bool,
}

/// The names of a route's limits, with what they stand for.
#[must_use]
pub fn limits_of<'a>(policy: &'a Policy, route: &'a Route) -> Vec<(String, &'a Limit)> {
    let named = |(i, limit): (usize, &'a RouteLimit)| match limit {
        RouteLimit::Named(name) => (name.clone(), &policy.limits[name]),
        RouteLimit::Own(limit) => (format!("{}/{}", route.name, i + 1), limit),
    };
    route.limits.iter().enumerate().map(named).collect()
}

impl State {
    /// A point to go back to before another packet comes but the next.
    #[must_use]
    pub fn mark(&mut self) -> Mark {
        self.newest = None;
        self.limits.clone()
    }

    /// Makes it as if the packet since had not come; gives back what it had left behind.
    pub fn back_to(&mut self, mark: Mark) -> Mark {
        if let Some(flow) = self.newest.take() {
            self.flows.remove(&flow);
        }
        std::mem::replace(&mut self.limits, mark)
    }

    /// Makes it as if the packet since had left this behind.
    pub fn settle(&mut self, mark: Mark) {
        self.limits = mark;
    }

    /// All limits are new ones.
    pub fn forget_limits(&mut self) {
        let Mark { errors, fragments, paths, tracked, .. } = std::mem::take(&mut self.limits);
        self.limits = Mark { errors, fragments, paths, tracked, ..Mark::default() };
    }

    /// Whether the judgement hung on when a connection is over, and the target to which one began.
    pub(super) fn take_notes(&mut self) -> (bool, Option<String>) {
        std::mem::take(&mut self.notes)
    }

    /// What a packet answers, if it is a target's whose connections are remembered.
    pub(super) fn returned(&mut self, policy: &Policy, packet: &Parsed) -> Option<Found> {
        let mut pools = translating(policy).filter(|(name, _)| is_routed(policy, name));
        let is_target = pools.any(|(_, pool)| pool.targets.values().any(|at| at.address == packet.source));
        if !is_target || is_lost(packet) {
            return None;
        }
        let moment = Moment { now_ns: self.now_ns, tie: self.tie, seen: &self.seen };
        let (found, hung) = self.limits.tracked.returned(packet, &targets(policy), moment);
        self.notes.0 |= hung;
        found
    }

    /// The connection of which an ICMP error tells, see [`Tracked::related`].
    pub(super) fn related(&mut self, policy: &Policy, turned: &Parsed) -> Option<(Found, bool)> {
        if !translating(policy).any(|(name, _)| is_routed(policy, name)) {
            return None;
        }
        let moment = Moment { now_ns: self.now_ns, tie: self.tie, seen: &self.seen };
        let (found, hung) = self.limits.tracked.related(turned, &targets(policy), moment);
        self.notes.0 |= hung;
        found
    }

    /// The connection of a client's packet, which begins if there is none.
    pub(super) fn track(
        &mut self,
        policy: &Policy,
        (name, pool, dnat): (&str, &Pool, &Dnat),
        world: &World,
        packet: &Parsed,
        counter: Counter,
    ) -> Result<Found, Reason> {
        let moment = Moment { now_ns: self.now_ns, tie: self.tie, seen: &self.seen };
        let nodes = &world.targets;
        let table = nodes.tables_of_families.get(name);
        let table = table.map_or(&[][..], |[ipv4, ipv6]| if packet.source.is_ipv4() { ipv4 } else { ipv6 });
        let mut names: Vec<&String> = element_of(pool, table, packet).into_iter().collect();
        names.extend(table.iter().collect::<BTreeSet<_>>());
        let mut of_pool: Vec<At> = names.into_iter().map(|target| at(name, target, pool)).collect();
        let mut source = of_pool.first().zip(dnat.source).and_then(|(first, translation)| {
            Some((outer_source(pool, nodes, first.address)?, translation.ports))
        });
        // This node would not take in what is from itself; and the client's port is as it is.
        if source.is_some() && nodes.own.contains(&of_pool[0].address) {
            source = None;
            of_pool.truncate(1);
        }
        let offer =
            Offer { targets: of_pool, source, timeouts: dnat.timeouts, counter, most: world.connections };
        let (found, hung) = self.limits.tracked.forwarded(packet, &targets(policy), moment, offer);
        self.notes.0 |= hung;
        if let Ok(Found { opened: true, name, .. }) = &found {
            self.notes.1 = Some(name.clone());
        }
        found
    }

    /// Lets an error be told: the bucket of errors, the time, and which of two right answers to give.
    pub(super) fn tell<T>(&mut self, tell: impl FnOnce(&mut Bucket, (u64, Tie)) -> T) -> T {
        tell(&mut self.limits.errors, (self.now_ns, self.tie))
    }

    /// Tells a later fragment what its first one said, see [`Fragments`].
    pub(super) fn follow(&self, packet: &mut Parsed) -> bool {
        self.limits.fragments.follow(packet, self.now_ns, self.tie)
    }

    /// A packet is sent to a pool; false if it is a fragment that must not be.
    pub(super) fn lead(&mut self, packet: &Parsed) -> bool {
        self.limits.fragments.lead(packet, self.now_ns)
    }

    /// Takes in what an ICMP error tells of the path of a packet that was wrapped for a target.
    pub(super) fn learn(&mut self, policy: &Policy, world: &World, quoted: &Quoted) {
        let (target, source) = (quoted.destination, quoted.source);
        let is_ours = policy.pools.values().any(|pool| {
            let mut targets = pool.targets.values().filter(|_| pool.forward.dnat().is_none());
            targets.any(|of_pool| of_pool.address == target)
                && outer_source(pool, &world.targets, target) == Some(source)
        });
        let Some(mtu) = quoted.path_mtu().filter(|_| is_ours) else { return };
        if self.path_mtu(target, source).is_none_or(|known| mtu < known) {
            self.limits.paths.insert((target, source), (mtu, self.now_ns));
        }
    }

    /// What is known of the path to a target: for ten minutes.
    pub(super) fn path_mtu(&self, target: IpAddr, source: IpAddr) -> Option<usize> {
        let (mtu, at) = self.limits.paths.get(&(target, source))?;
        (self.now_ns - at < 600_000_000_000).then_some(*mtu)
    }

    /// Notes the packet's flow; true if it is a new one.
    pub(super) fn meets(&mut self, packet: &Parsed) -> bool {
        let flow = Flow::from(packet);
        let is_new = self.flows.insert(flow);
        self.newest = is_new.then_some(flow);
        is_new
    }

    /// One limit after the other: each that is asked takes its own, and the first that drops is the last
    /// one asked.
    pub(super) fn police(
        &mut self,
        limits: &[(String, &Limit)],
        packet: &Parsed,
        labels: &BTreeSet<&str>,
        length: usize,
        first_of_flow: bool,
    ) -> Policed {
        let mut policed = Policed::default();
        let opens = opens(packet, first_of_flow);
        for (name, limit) in limits {
            let key = key_of(limit.per, packet, labels);
            let bucket = self.limits.buckets.entry((name.clone(), key.clone())).or_default();
            let (rate, units) = match limit.quantity {
                Quantity::Packets(rate) => (rate, 1),
                Quantity::Bytes(rate) => (rate, length as u64),
                Quantity::NewConnections(rate) if opens => (rate, 1),
                // What opens nothing takes nothing; but banned is banned.
                Quantity::NewConnections(_) if bucket.is_banned(self.now_ns) => (NOTHING, 0),
                Quantity::NewConnections(_) => continue,
                Quantity::OpenConnections(most) => {
                    let place = (name.as_str(), &key);
                    let (admitted, hung) =
                        self.limits.connections.offer(place, packet, most, opens, self.now_ns, self.tie);
                    policed.note(
                        name,
                        limit,
                        if admitted { Answer::Admitted } else { Answer::Refused },
                        hung,
                    );
                    if policed.refused {
                        break;
                    }
                    continue;
                }
            };
            let (answer, hung) = bucket.offer(rate, units, limit.ban, self.now_ns, self.tie);
            policed.note(name, limit, answer, hung);
            if policed.refused {
                break;
            }
        }
        policed
    }
}

fn translating(policy: &Policy) -> impl Iterator<Item = (&String, &Pool)> {
    policy.pools.iter().filter(|(_, pool)| pool.forward.dnat().is_some())
}

/// Whether packets come to this pool.
fn is_routed(policy: &Policy, name: &str) -> bool {
    let mut actions = policy.routes.iter().map(|route| &route.action);
    actions.any(|action| matches!(action, Action::Pool { pool, .. } if pool == name))
}

/// All targets that connections may be to.
fn targets(policy: &Policy) -> Vec<At> {
    translating(policy)
        .flat_map(|(name, pool)| pool.targets.keys().map(|target| at(name, target, pool)))
        .collect()
}

fn at(name: &str, target: &str, pool: &Pool) -> At {
    let Target { address, port, .. } = pool.targets[target];
    At { name: format!("{name}/{target}"), address, port }
}

/// A rate for a bucket that is not asked for anything.
const NOTHING: gateway_user::policy::Rate = gateway_user::policy::Rate { per_second: 1, burst: 1 };

impl Policed {
    fn note(&mut self, name: &str, limit: &Limit, answer: Answer, hung: bool) {
        self.hung |= hung;
        let admitted = answer == Answer::Admitted;
        self.charges.push(Charge { limit: name.to_owned(), admitted });
        if admitted {
            return;
        }
        match limit.over {
            Over::Drop => (self.refused, self.banned) = (true, answer == Answer::Banned),
            Over::Demote { dscp, mark } => {
                self.dscp = dscp.or(self.dscp);
                self.mark = mark.or(self.mark);
            }
            Over::Count => {}
        }
    }
}

/// Whether a packet opens a connection.
fn opens(packet: &Parsed, first_of_flow: bool) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    match packet.protocol {
        6 => packet.tcp_flags & (SYN | ACK) == SYN,
        _ => first_of_flow,
    }
}

fn key_of(per: Per, packet: &Parsed, labels: &BTreeSet<&str>) -> Key {
    match per {
        Per::Route => Key::All,
        Per::Source(lengths) => Key::Prefix(prefix(packet.source, lengths)),
        Per::Destination(lengths) => Key::Prefix(prefix(packet.destination, lengths)),
        Per::Label => Key::Labels(labels.iter().map(|name| (*name).to_owned()).collect()),
    }
}

fn prefix(address: IpAddr, lengths: KeyLengths) -> IpNet {
    let length = if address.is_ipv4() { lengths.ipv4 } else { lengths.ipv6 };
    IpNet::new_assert(address, length).trunc()
}
