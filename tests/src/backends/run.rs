//! Clients reach a service through pools of every stateless kind, and its backends answer them directly.

use super::decapsulate::{FOU_PORTS, GUE_PORT};
use super::serve::BEAT;
use super::talk::DATAGRAMS;
use super::{BACKENDS, Decapsulation, Delivery, Links, SERVICE, Serving, address_of, ask, talk};
use crate::counters::Snapshot;
use crate::golden::run::policy_of;
use crate::network::received;
use crate::object::PinFolder;
use anyhow::{Context, Result, ensure};
use gateway_common::abi::{COUNTER_FIRST_ROUTE, Verdict};
use gateway_user::compile::{LabelTable, Names, PoolTables, Surroundings, compile};
use gateway_user::dataplane::{AttachedMode, Dataplane, Mode, Options};
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

/// Interfaces of the gateway, with their slots.
const GOVERNED: [(&str, u8); 3] = [("gw0", 3), ("back0", 4), ("back1", 5)];
/// UDP flows to each port of the service and over each IP version.
const FLOWS: u16 = 12;
/// Bytes that are sent over TCP without a pause.
const BULK: usize = 400_000;
/// How often it is looked again whether all that was answered is counted.
const BEATS: u32 = 50;

/// A pool for each way; the port of the service says which.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    port: u16,
    forward: &'static str,
    /// UDP port, where the packets are wrapped in UDP.
    udp: Option<u16>,
    /// Its targets have IPv6 addresses.
    six: bool,
    /// Versions of its clients' packets: IPv6 or not.
    inner: &'static [bool],
}

const BOTH: &[bool] = &[false, true];

const fn row(name: &'static str, port: u16, forward: &'static str, udp: Option<u16>, six: bool) -> Row {
    Row { name, port, forward, udp, six, inner: BOTH }
}

const ROWS: [Row; 10] = [
    row("ipip4", 7_001, "ipip", None, false),
    row("ipip6", 7_002, "ipip", None, true),
    row("gue4", 7_003, "gue", Some(GUE_PORT), false),
    row("gue6", 7_004, "gue", Some(GUE_PORT), true),
    row("l2four", 7_005, "l2", None, false),
    row("l2six", 7_006, "l2", None, true),
    // Only for a receiver that is told what is inside.
    Row { inner: &[false], ..row("fou4in4", 7_007, "gue", Some(FOU_PORTS[0]), false) },
    Row { inner: &[true], ..row("fou6in4", 7_008, "gue", Some(FOU_PORTS[1]), false) },
    Row { inner: &[false], ..row("fou4in6", 7_009, "gue", Some(FOU_PORTS[0]), true) },
    Row { inner: &[true], ..row("fou6in6", 7_010, "gue", Some(FOU_PORTS[1]), true) },
];

impl Row {
    /// The rows that can be delivered.
    fn of(decapsulation: Decapsulation) -> impl Iterator<Item = (usize, Row)> {
        let told = |udp: Option<u16>| udp.is_some_and(|port| FOU_PORTS.contains(&port));
        let can = move |row: &Row| decapsulation == Decapsulation::Kernel || !told(row.udp);
        ROWS.into_iter().enumerate().filter(move |(_, row)| can(row))
    }

    /// Where its clients find the service, and whether that is IPv6.
    fn services(self) -> impl Iterator<Item = Result<(SocketAddr, bool)>> {
        self.inner.iter().map(move |six| {
            let address = SERVICE[usize::from(*six)].parse()?;
            Ok((SocketAddr::new(address, self.port), *six))
        })
    }

    fn policy_of_pool(self) -> String {
        let Row { name, forward, .. } = self;
        let udp = self.udp.map_or_else(String::new, |port| format!(", port: {port}"));
        let target = |number| format!("{{name: b{number}, address: '{}'}}", address_of(number, self.six));
        let targets: Vec<String> = (0..BACKENDS).map(target).collect();
        format!("  {name}: {{forward: {forward}{udp}, targets: [{}]}}\n", targets.join(", "))
    }

    fn policy_of_route(self) -> String {
        let Row { name, port, .. } = self;
        format!(
            "  - {{name: {name}, match: {{protocol: [tcp, udp], port: {port}}}, action: {{pool: {name}}}}}\n"
        )
    }
}

struct PoolNames;

impl Names for PoolNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        GOVERNED.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
    }
    fn counter_slot(&self, route: &str) -> u32 {
        let place = ROWS.iter().position(|row| row.name == route).unwrap_or(ROWS.len());
        COUNTER_FIRST_ROUTE + place as u32
    }
    fn limit_slot(&self, _: &str) -> u32 {
        0 // The policy has none.
    }
    fn target_slot(&self, target: &str) -> u32 {
        let (pool, target) = target.split_once('/').unwrap_or_default();
        let place = ROWS.iter().position(|row| row.name == pool).unwrap_or(0);
        slot_of(place, usize::from(target == "b1")) as u32
    }
    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        let own = if target.is_ipv4() { "192.0.2.1" } else { "2001:db8:c::1" };
        own.parse().ok()
    }
    fn label_number(&self, _: &str) -> u32 {
        0 // Nor labels.
    }
}

/// Slot of a backend as target of the pool in this place.
fn slot_of(place: usize, backend: usize) -> usize {
    1 + place * BACKENDS + backend
}

/// How everything stands.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// How the gateway is asked to govern its interfaces.
    pub mode: Mode,
    /// How it must then govern them.
    pub attached: AttachedMode,
    /// What lies around it.
    pub links: Links,
    /// What the backends do.
    pub decapsulation: Decapsulation,
}

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{:?}_{:?}", self.attached.name(), self.links, self.decapsulation)
    }
}

/// What went well.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Datagrams that reached the backend that was counted and were answered.
    pub datagrams: u64,
    /// TCP conversations, to their last byte.
    pub conversations: u64,
}

/// A gateway in one mode.
struct Gateway {
    dataplane: Dataplane,
    _pins: PinFolder,
}

impl Gateway {
    fn start(case: Case) -> Result<Gateway> {
        let pins = PinFolder::new("pool");
        let mut options = Options::new(pins.path());
        options.arena_lines = 1 << 17;
        options.memo_sets_per_cpu = 1 << 10;
        let mut dataplane = Dataplane::open(&options)?;
        for (interface, slot) in GOVERNED {
            let attached = dataplane.attach(interface, slot, case.mode)?;
            ensure!(attached.mode == case.attached, "{interface} is governed as {}", attached.mode.name());
        }
        let rows = || Row::of(case.decapsulation).map(|(_, row)| row);
        let pools: String = rows().map(Row::policy_of_pool).collect();
        let routes: String = rows().map(Row::policy_of_route).collect();
        let policy = policy_of(&format!("version: 1\npools:\n{pools}routes:\n{routes}"))?;
        let labels = LabelTable::build(&policy.labels)?;
        let surroundings = Surroundings {
            names: &PoolNames,
            labels: &labels,
            live_sets: &[],
            pools: &PoolTables::default(),
            ns_per_jiffy: 4_000_000,
        };
        dataplane.apply(&compile(&policy, &surroundings)?, [0; 4], 0)?;
        Ok(Gateway { dataplane, _pins: pins })
    }

    fn counters(&self) -> Snapshot {
        let slots = GOVERNED.map(|(_, slot)| slot);
        let routes = COUNTER_FIRST_ROUTE..COUNTER_FIRST_ROUTE + ROWS.len() as u32;
        let targets = 1..=(ROWS.len() * BACKENDS) as u32;
        Snapshot::take(&self.dataplane.readers(), slots, routes, [], targets)
    }
}

/// Clients ask and talk, by every way that there is in this case; what they were answered is compared with
/// what was counted, and with the device of the backend by which it came.
///
/// # Errors
/// Where an answer is missing or wrong, or a count is.
pub fn run(case: Case) -> Result<Done> {
    let delivery = Delivery::new(case.links)?;
    let gateway = delivery.gateway.run(|| Gateway::start(case))?;
    let mut serving = Serving::default();
    case.decapsulation.start(&delivery, &mut serving)?;
    let ports: Vec<u16> = Row::of(case.decapsulation).map(|(_, row)| row.port).collect();
    serving.answer(&delivery, &ports)?;
    let before = gateway.counters();
    let mut by_target = [0_u64; 1 + ROWS.len() * BACKENDS];
    for (place, row) in Row::of(case.decapsulation) {
        let by = asked(case, row, &delivery).with_context(|| format!("pool {}", row.name))?;
        for (backend, flows) in by.into_iter().enumerate() {
            by_target[slot_of(place, backend)] = flows * DATAGRAMS;
        }
    }
    let delta = Snapshot::at_rest(|| gateway.counters(), &before)?;
    for (slot, sent) in by_target.iter().enumerate().skip(1) {
        let counted = delta.targets.get(&(slot as u32)).map_or(0, |count| count.packets);
        ensure!(counted == *sent, "target slot {slot}: {counted} counted, {sent} answered: {delta:?}");
    }
    let verdicts = |verdict: Verdict| -> u64 {
        let of = delta.stats.iter().filter(|((slot, _), _)| *slot == GOVERNED[0].1);
        of.map(|(_, stats)| stats.verdicts[verdict as usize].packets).sum()
    };
    let datagrams: u64 = by_target.iter().sum();
    ensure!(verdicts(Verdict::Redirect) == datagrams, "{datagrams} sent, counted {delta:?}");
    ensure!(verdicts(Verdict::Drop) == 0, "dropped: {delta:?}");
    let conversations = conversed(case, &delivery)?;
    let delta = Snapshot::at_rest(|| gateway.counters(), &before)?;
    if case.links == Links::Segments {
        // Else the test would show nothing: a segment on the wire is 1,514 bytes at most.
        let of = delta.targets.values().fold((0, 0), |sum, one| (sum.0 + one.packets, sum.1 + one.bytes));
        ensure!(of.1 > of.0 * 1_514, "no segments came as one: {} packets, {} bytes", of.0, of.1);
    }
    serving.stop()?;
    Ok(Done { datagrams, conversations })
}

/// Asks through a pool; how many flows each backend answered.
fn asked(case: Case, row: Row, delivery: &Delivery) -> Result<[u64; BACKENDS]> {
    let mut by = [0; BACKENDS];
    for service in row.services() {
        let (service, inner_six) = service?;
        let device = if row.forward == "l2" { "b0" } else { case.decapsulation.device(row.six, inner_six) };
        let arrived =
            || -> Result<u64> { delivery.backends.iter().map(|backend| received(backend, device)).sum() };
        let before = arrived()?;
        for flow in 0..FLOWS {
            let number = delivery.client.run(|| ask(service, 20_000 + flow))?;
            by[usize::from(number)] += 1;
        }
        let sent = u64::from(FLOWS) * DATAGRAMS;
        // A tun counts a frame after it has handed it up: the answer may be back before.
        let mut come = 0;
        for _ in 0..BEATS {
            come = arrived()? - before;
            if come >= sent {
                break;
            }
            std::thread::sleep(BEAT);
        }
        ensure!(come >= sent, "{service}: {sent} sent, {come} arrived by {device}");
    }
    // Of 12 flows all go to one backend once in two thousand times, and these are always the same.
    ensure!(by.iter().all(|flows| *flows > 0), "{by:?}");
    Ok(by)
}

/// Talks through every pool; how often.
fn conversed(case: Case, delivery: &Delivery) -> Result<u64> {
    let mut talks = 0;
    for (_, row) in Row::of(case.decapsulation) {
        // A backend that takes XDP frames also merges segments, which threads that unwrap cannot know.
        let merged = case.links == Links::XdpFrames && row.forward != "l2";
        let bulk = if merged && case.decapsulation == Decapsulation::Threads { 0 } else { BULK };
        for service in row.services() {
            let (service, _) = service?;
            delivery.client.run(|| talk(service, bulk)).with_context(|| format!("pool {}", row.name))?;
            talks += 1;
        }
    }
    Ok(talks)
}
