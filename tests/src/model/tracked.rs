//! Connections of pools that translate: whose packets they are, and when they are over.
//!
//! Written from RFC 3022 2 (sessions), RFC 4787 4.3 and RFC 5382 5 (time-outs, and what a RST or a SYN on a closing
//! connection means), RFC 5508 3 (ICMP queries). Which target a new connection gets is the pool's table's word;
//! which port, and which target where the first one's ends are another's, the gateway is free to choose: what it
//! chose is read from what it sent, and must be one that it may choose.

use super::bucket::Tie;
use super::translate::{Ends, has_exchangeable_ports, takes_another_port};
use super::{Counter, Parsed, parse};
use gateway_common::reason::Reason;
use gateway_user::policy::{PortRange, Timeouts};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Time-outs are counted in steps of so many nanoseconds.
const UNIT_NS: u64 = 1 << 30;
/// How many ports are tried for a connection at least.
const TRIED: usize = 32;
/// Reserved (IANA, Protocol Numbers): nothing is known to come back.
const RESERVED: u8 = 255;

/// What was heard of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Of the client alone.
    HalfOpen,
    /// Of the target too, but of TCP the client has not confirmed.
    Answered,
    /// Of both.
    Open,
    /// Both have ended it, or one has reset it.
    Closing,
}

/// A connection.
#[derive(Clone, Debug)]
struct Connection {
    /// The ends as its target's packets show them; nothing while nobody saw the port.
    back: Option<Ends>,
    /// Where that port is.
    range: Option<PortRange>,
    /// What the target gets.
    there: Ends,
    name: String,
    counter: Counter,
    stage: Stage,
    /// It was open before it was reset.
    was_open: bool,
    /// Client and target have ended their halves.
    ended: [bool; 2],
    timeouts: Timeouts,
    last_ns: u64,
}

/// Those that are remembered, by their ends as their client's packets show them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracked(BTreeMap<Ends, Connection>);

/// A target as the policy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub name: String,
    pub address: IpAddr,
    pub port: Option<u16>,
}

/// What a new connection may get.
pub(super) struct Offer {
    /// The target that the table names, then all others of its family that it has.
    pub targets: Vec<At>,
    /// What the source is translated to.
    pub source: Option<(IpAddr, PortRange)>,
    pub timeouts: Timeouts,
    pub counter: Counter,
    /// How many connections there may be.
    pub most: usize,
}

/// Where a packet goes.
pub(super) struct Found {
    pub name: String,
    /// What it shows then.
    pub ends: Ends,
    pub counter: Counter,
    pub opened: bool,
}

/// What was seen of a packet: what the gateway is free to choose is read there.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The frame that came out.
    pub frame: Vec<u8>,
    /// The target that counted another connection, as `pool/target`.
    pub opened: Option<String>,
}

/// When, which of two right answers to give, and what was seen.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub now_ns: u64,
    pub tie: Tie,
    pub seen: &'a Seen,
}

impl Connection {
    fn hear(&mut self, packet: &Parsed, from_target: bool, now_ns: u64) {
        self.last_ns = now_ns;
        if packet.protocol != 6 {
            if from_target {
                self.stage = Stage::Open;
            }
            return;
        }
        let flags = packet.tcp_flags;
        if flags & RST != 0 {
            self.was_open |= self.stage == Stage::Open;
            self.stage = Stage::Closing;
            return;
        }
        self.ended[usize::from(from_target)] |= flags & FIN != 0;
        if self.ended == [true, true] {
            (self.stage, self.was_open) = (Stage::Closing, false);
            return;
        }
        // A reset is believed if silence follows; one that was not open begins its handshake again.
        if self.stage == Stage::Closing {
            self.stage = if self.was_open { Stage::Open } else { Stage::HalfOpen };
            self.was_open = false;
        }
        self.stage = match (self.stage, from_target) {
            (Stage::HalfOpen, true) => Stage::Answered,
            (Stage::Answered, false) if flags & (SYN | ACK) == ACK => Stage::Open,
            (stage, _) => stage,
        };
    }

    fn patience_ns(&self) -> u64 {
        let tcp = self.there.protocol == 6;
        let patience: Duration = match (self.stage, tcp) {
            (Stage::Open, true) => self.timeouts.established,
            (Stage::Closing, _) => self.timeouts.closing,
            (_, true) => self.timeouts.half_open,
            (Stage::Open, false) => self.timeouts.udp,
            (_, false) => self.timeouts.unanswered,
        };
        patience.as_nanos() as u64
    }

    /// Whether it is over, and whether that hangs on how times are rounded.
    fn is_over(&self, moment: Moment<'_>) -> (bool, bool) {
        let whole = self.patience_ns().next_multiple_of(UNIT_NS);
        let age = moment.now_ns - self.last_ns;
        let hung = age > whole && age < whole + UNIT_NS;
        (if hung { moment.tie == Tie::Refuse } else { age > whole }, hung)
    }

    /// Whether its target is still where it was.
    fn is_honoured(&self, targets: &[At]) -> bool {
        let there = &self.there;
        targets.iter().any(|at| {
            let port = at.port.filter(|_| has_exchangeable_ports(there.protocol));
            at.name == self.name
                && at.address == there.destination
                && port.is_none_or(|port| port == there.ports.1)
        })
    }
}

impl Tracked {
    /// A packet of a target, if it is a connection's; and whether that hung.
    pub(super) fn returned(
        &mut self,
        packet: &Parsed,
        targets: &[At],
        moment: Moment<'_>,
    ) -> (Option<Found>, bool) {
        let shown = Ends::of(packet);
        let hung_on_port = self.learn(&shown, moment);
        let found = self.0.iter_mut().find(|(_, one)| one.back == Some(shown));
        if found.is_none() {
            return (None, hung_on_port);
        }
        let Some((client, one)) = found.filter(|_| shown.protocol != RESERVED) else { return (None, false) };
        let (over, hung) = one.is_over(moment);
        if over || !one.is_honoured(targets) {
            return (None, hung);
        }
        one.hear(packet, true, moment.now_ns);
        let ends = turned(client);
        (Some(Found { name: one.name.clone(), ends, counter: one.counter.clone(), opened: false }), hung)
    }

    /// The connection of which an ICMP error tells, by the packet that it quotes, turned round: where the error goes, and
    /// whether that is to the client. The connection itself goes on as if nothing had come.
    pub(super) fn related(
        &self,
        turned: &Parsed,
        targets: &[At],
        moment: Moment<'_>,
    ) -> (Option<(Found, bool)>, bool) {
        let shown = Ends::of(turned);
        let by_client = self.0.get(&shown).map(|one| (one, one.there, false));
        let by_target = || {
            let found = self.0.iter().find(|(_, one)| one.back == Some(shown));
            found.map(|(client, one)| (one, self::turned(client), true))
        };
        let found = by_client.or_else(by_target).filter(|_| shown.protocol != RESERVED);
        let Some((one, ends, back)) = found else { return (None, false) };
        let (over, hung) = one.is_over(moment);
        if over || !one.is_honoured(targets) {
            return (None, hung);
        }
        let found = Found { name: one.name.clone(), ends, counter: one.counter.clone(), opened: false };
        (Some((found, back)), hung)
    }

    /// What a target answers may tell the port of a connection of which nobody saw it yet: it surely does where it
    /// was seen to go to that client, and none where the packet opened a connection of its own, which can leave with
    /// the same ends. Whether it hung on that.
    fn learn(&mut self, shown: &Ends, moment: Moment<'_>) -> bool {
        if moment.seen.opened.is_some() || self.0.values().any(|one| one.back == Some(*shown)) {
            return false;
        }
        let there = turned(shown);
        let seen = parse(&moment.seen.frame, false).ok().map(|seen| Ends::of(&seen));
        let port = there.ports.0;
        let candidates = self.0.iter_mut().filter(|(_, one)| {
            let with_port = Ends { ports: (port, one.there.ports.1), ..one.there };
            one.back.is_none()
                && with_port == there
                && one.range.is_some_and(|range| (range.first..=range.last).contains(&port))
        });
        let mut candidates: Vec<_> = candidates.collect();
        let sure = candidates.iter().position(|(ends, _)| seen == Some(turned(ends)));
        let hung = sure.is_none() && !candidates.is_empty();
        if let Some(place) = sure.or((hung && moment.tie == Tie::Refuse).then_some(0)) {
            let one = &mut candidates[place].1;
            one.there = there;
            one.back = Some(*shown);
        }
        hung
    }

    /// A client's packet to a pool: the connection that it has, or gets, or why it gets none. And whether that
    /// hung.
    pub(super) fn forwarded(
        &mut self,
        packet: &Parsed,
        targets: &[At],
        moment: Moment<'_>,
        offer: Offer,
    ) -> (Result<Found, Reason>, bool) {
        let shown = Ends::of(packet);
        let mut hung = false;
        if let Some(one) = self.0.get_mut(&shown) {
            let over;
            (over, hung) = one.is_over(moment);
            let anew = packet.protocol == 6
                && one.stage == Stage::Closing
                && packet.tcp_flags & (SYN | ACK | RST) == SYN;
            if !over && !anew && one.is_honoured(targets) {
                one.hear(packet, false, moment.now_ns);
                if one.back.is_none()
                    && let Some(port) = seen_port(&one.there, &moment.seen.frame)
                {
                    one.there.ports.0 = port;
                    one.back = Some(turned(&one.there));
                }
                let found = Found {
                    name: one.name.clone(),
                    ends: one.there,
                    counter: one.counter.clone(),
                    opened: false,
                };
                return (Ok(found), hung);
            }
            self.0.remove(&shown);
        }
        if offer.targets.is_empty() {
            return (Err(Reason::NoTarget), hung);
        }
        if !self.makes_room(offer.most, moment) {
            return (Err(Reason::ConnectionsFull), hung);
        }
        let (there, name, known, more) = match self.choose(packet, &shown, moment, &offer) {
            Ok(chosen) => chosen,
            Err(more) => return (Err(Reason::NoPort), hung || more),
        };
        let back = turned(&there);
        self.0.retain(|_, other| !known || other.back != Some(back));
        let mut one = Connection {
            back: known.then_some(back),
            range: offer.source.map(|(_, ports)| ports),
            there,
            name: name.clone(),
            counter: offer.counter.clone(),
            stage: Stage::HalfOpen,
            was_open: false,
            ended: [false; 2],
            timeouts: offer.timeouts,
            last_ns: moment.now_ns,
        };
        one.hear(packet, false, moment.now_ns);
        self.0.insert(shown, one);
        (Ok(Found { name, ends: there, counter: offer.counter, opened: true }), hung || more)
    }

    /// Whether there is room for another connection: where there is none, the one that is not open and that ends
    /// first gives way.
    fn makes_room(&mut self, most: usize, moment: Moment<'_>) -> bool {
        self.0.retain(|_, one| {
            let (over, hung) = one.is_over(moment);
            !over || hung
        });
        let live = self.0.iter().filter(|(_, one)| !one.is_over(moment).0);
        if live.clone().count() < most {
            return true;
        }
        let giving = live.filter(|(_, one)| one.stage != Stage::Open);
        let first = giving.min_by_key(|(_, one)| one.last_ns + one.patience_ns()).map(|(ends, _)| *ends);
        first.is_some_and(|ends| self.0.remove(&ends).is_some())
    }

    /// What a target gets of a new connection, the target's name, whether the port is known, and whether it hung
    /// on whether another one is over. Where there is no port, the last alone.
    fn choose(
        &self,
        packet: &Parsed,
        shown: &Ends,
        moment: Moment<'_>,
        offer: &Offer,
    ) -> Result<(Ends, String, bool, bool), bool> {
        let to = |at: &At| {
            let port = at.port.filter(|_| has_exchangeable_ports(shown.protocol)).unwrap_or(shown.ports.1);
            let source = offer.source.map_or(shown.source, |(source, _)| source);
            Ends { source, destination: at.address, ports: (shown.ports.0, port), protocol: shown.protocol }
        };
        let first = to(&offer.targets[0]);
        let mut hung = false;
        if let Some((_, range)) = offer.source.filter(|_| takes_another_port(packet)) {
            let with = |port| Ends { ports: (port, first.ports.1), ..first };
            let mut is_taken = |port| {
                let (taken, doubtful) = self.is_taken(&with(port), moment);
                hung |= doubtful;
                taken
            };
            let seen = seen_port(&first, &moment.seen.frame)
                .filter(|port| (range.first..=range.last).contains(port));
            if let Some(port) = seen.filter(|port| !is_taken(*port)) {
                return Ok((with(port), offer.targets[0].name.clone(), true, hung));
            }
            let ports = range.first..=range.last;
            let all = ports.len();
            let taken = ports.filter(|port| is_taken(*port)).count();
            let unseen = |one: &&Connection| {
                one.back.is_none()
                    && Ends { ports: first.ports, ..one.there } == first
                    && !one.is_over(moment).0
            };
            let unseen = self.0.values().filter(unseen).count();
            let most = all.min(TRIED);
            let may_be_none = taken + unseen >= most && moment.seen.opened.is_none();
            return if taken >= most || may_be_none {
                Err(hung)
            } else {
                Ok((first, offer.targets[0].name.clone(), false, hung))
            };
        }
        let (taken, doubtful) = self.is_taken(&first, moment);
        if !taken {
            return Ok((first, offer.targets[0].name.clone(), true, doubtful));
        }
        let seen = moment.seen.opened.as_ref();
        let other =
            offer.targets.iter().find(|at| Some(&at.name) == seen && !self.is_taken(&to(at), moment).0);
        other.map(|at| (to(at), at.name.clone(), true, doubtful)).ok_or(doubtful)
    }

    /// Whether another connection has these ends towards its target, and whether that hangs.
    fn is_taken(&self, there: &Ends, moment: Moment<'_>) -> (bool, bool) {
        let back = Some(turned(there));
        match self.0.values().find(|other| other.back == back) {
            Some(other) => {
                let (over, hung) = other.is_over(moment);
                (!over, hung)
            }
            None => (false, false),
        }
    }
}

fn turned(ends: &Ends) -> Ends {
    Ends {
        source: ends.destination,
        destination: ends.source,
        ports: (ends.ports.1, ends.ports.0),
        protocol: ends.protocol,
    }
}

/// The source port of what was seen to come out, if it is a packet between these addresses.
fn seen_port(there: &Ends, seen: &[u8]) -> Option<u16> {
    let packet = parse(seen, false).ok()?;
    let shown = Ends::of(&packet);
    let same = (shown.source, shown.destination, shown.ports.1, shown.protocol)
        == (there.source, there.destination, there.ports.1, there.protocol);
    (same && !packet.later_fragment).then_some(shown.ports.0)
}
