//! Clients reach a service through pools that translate, and its backends answer by way of the gateway.

use super::talk::{DATAGRAMS, PATIENCE};
use super::{BACKENDS, Case, Delivery, Links, SERVICE, Serving, address_of, ask, talk};
use crate::counters::Snapshot;
use crate::golden::run::policy_of;
use crate::netns::{Namespace, transmit_offload};
use crate::object::PinFolder;
use anyhow::{Context, Result, bail, ensure};
use gateway_common::abi::{COUNTER_FIRST_ROUTE, TARGET_KNOWN, TargetState, Verdict};
use gateway_common::packet::address_of as words;
use gateway_user::compile::{LabelTable, Names, PoolTables, Surroundings, compile};
use gateway_user::dataplane::{Dataplane, Options};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Interfaces of the gateway, with their slots.
const GOVERNED: [(&str, u8); 3] = [("gw0", 3), ("back0", 4), ("back1", 5)];
/// The port at which backends answer.
const PORT: u16 = 8_080;
/// The port of the service behind which nobody listens.
const CLOSED: u16 = 7_104;
/// UDP flows to each port of the service and over each IP version.
const FLOWS: u16 = 12;
/// Bytes that are sent over TCP without a pause.
const BULK: usize = 400_000;
/// Targets of each pool: every backend by each IP version.
const TARGETS: usize = 2 * BACKENDS;

/// A pool for each way; the port of the service says which.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    port: u16,
    /// What the pool says beyond its targets.
    says: &'static str,
    /// Port of its targets.
    target_port: Option<u16>,
}

const ROWS: [Row; 4] = [
    Row { name: "plain", port: 7_101, says: "", target_port: Some(PORT) },
    Row { name: "same-port", port: PORT, says: "", target_port: None },
    Row {
        name: "source",
        port: 7_103,
        says: ", source: masquerade, ports: 61000-61999",
        target_port: Some(PORT),
    },
    Row { name: "closed", port: CLOSED, says: "", target_port: Some(9) },
];

/// The rows whose targets answer.
fn answering() -> impl Iterator<Item = (usize, Row)> {
    ROWS.into_iter().enumerate().filter(|(_, row)| row.port != CLOSED)
}

impl Row {
    fn policy_of_pool(self) -> String {
        let port = self.target_port.map_or_else(String::new, |port| format!(", port: {port}"));
        let target = |number, six| {
            let address = address_of(number, six);
            let name = target_name(number, six);
            format!("{{name: {name}, address: '{address}'{port}}}")
        };
        let targets: Vec<String> =
            (0..BACKENDS).flat_map(|number| [target(number, false), target(number, true)]).collect();
        format!("  {}: {{forward: dnat{}, targets: [{}]}}\n", self.name, self.says, targets.join(", "))
    }

    fn policy_of_route(self) -> String {
        let Row { name, port, .. } = self;
        format!(
            "  - {{name: {name}, match: {{protocol: [tcp, udp], port: {port}, to: [{}, '{}']}}, action: {{pool: {name}}}}}\n",
            SERVICE[0], SERVICE[1]
        )
    }
}

fn target_name(number: usize, six: bool) -> String {
    format!("b{number}-{}", if six { "six" } else { "four" })
}

/// Slot of a backend, by one of its addresses, as target of the pool in this place.
fn slot_of(place: usize, backend: usize, six: bool) -> usize {
    1 + place * TARGETS + 2 * backend + usize::from(six)
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
        slot_of(place, usize::from(target.starts_with("b1")), target.ends_with("six")) as u32
    }
    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        let own = if target.is_ipv4() { "192.0.2.1" } else { "2001:db8:c::1" };
        own.parse().ok()
    }
    fn label_number(&self, _: &str) -> u32 {
        0 // Nor labels.
    }
}

/// A gateway in one mode.
struct Gateway {
    dataplane: Dataplane,
    _pins: PinFolder,
}

impl Gateway {
    fn start(case: Case) -> Result<Gateway> {
        let pins = PinFolder::new("nat");
        let mut options = Options::new(pins.path());
        options.arena_lines = 1 << 17;
        options.memo_sets_per_cpu = 1 << 10;
        options.track_sets = 1 << 10;
        let mut dataplane = Dataplane::open(&options)?;
        for (interface, slot) in GOVERNED {
            let attached = dataplane.attach(interface, slot, case.mode)?;
            ensure!(attached.mode == case.attached, "{interface} is governed as {}", attached.mode.name());
        }
        let pools: String = ROWS.into_iter().map(Row::policy_of_pool).collect();
        let routes: String = ROWS.into_iter().map(Row::policy_of_route).collect();
        // What no route names is dropped: answers need none.
        let policy = policy_of(&format!("version: 1\npools:\n{pools}routes:\n{routes}default: drop\n"))?;
        let labels = LabelTable::build(&policy.labels)?;
        let surroundings = Surroundings {
            names: &PoolNames,
            labels: &labels,
            live_sets: &[],
            pools: &PoolTables::default(),
            ns_per_jiffy: 4_000_000,
        };
        dataplane.set_target_states(&states()?)?;
        dataplane.apply(&compile(&policy, &surroundings)?, [0; 4], 0)?;
        Ok(Gateway { dataplane, _pins: pins })
    }

    fn counters(&self) -> Snapshot {
        let slots = GOVERNED.map(|(_, slot)| slot);
        let routes = COUNTER_FIRST_ROUTE..COUNTER_FIRST_ROUTE + ROWS.len() as u32;
        let targets = 1..=(ROWS.len() * TARGETS) as u32;
        Snapshot::take(&self.dataplane.readers(), slots, routes, [], targets)
    }
}

/// All targets take connections.
fn states() -> Result<Vec<(u32, TargetState)>> {
    let mut states = Vec::new();
    for (place, row) in ROWS.into_iter().enumerate() {
        for backend in 0..BACKENDS {
            for six in [false, true] {
                let state = TargetState {
                    address: words(address_of(backend, six).parse()?),
                    flags: TARGET_KNOWN,
                    port: row.target_port.map_or(0, u32::from),
                    ..TargetState::default()
                };
                states.push((slot_of(place, backend, six) as u32, state));
            }
        }
    }
    Ok(states)
}

/// What went well.
#[derive(Clone, Copy, Debug)]
pub struct Translated {
    /// Datagrams that reached the backend that was counted and were answered.
    pub datagrams: u64,
    /// TCP conversations, to their last byte.
    pub conversations: u64,
}

/// Clients ask and talk, by every way; what they were answered is compared with what was counted.
///
/// # Errors
/// Where an answer is missing or wrong, or a count is.
pub fn run(case: Case) -> Result<Translated> {
    let delivery = Delivery::new(case.links)?;
    delivery.answer_through_gateway()?;
    let gateway = delivery.gateway.run(|| Gateway::start(case))?;
    let mut serving = Serving::default();
    serving.answer_at_backends(&delivery, PORT)?;
    let before = gateway.counters();
    let mut by_target = [0_u64; 1 + ROWS.len() * TARGETS];
    for (place, row) in answering() {
        for (six, service) in SERVICE.into_iter().enumerate() {
            let service = SocketAddr::new(service.parse()?, row.port);
            let mut by = [0; BACKENDS];
            for flow in 0..FLOWS {
                let asked = delivery.client.run(|| ask(service, 20_000 + 100 * place as u16 + flow));
                let number = asked
                    .with_context(|| format!("pool {}: {:?}", row.name, gateway.counters().since(&before)))?;
                by[usize::from(number)] += DATAGRAMS;
            }
            ensure!(by.iter().all(|flows| *flows > 0), "{}: {by:?}", row.name);
            for (backend, sent) in by.into_iter().enumerate() {
                by_target[slot_of(place, backend, six == 1)] = sent;
            }
        }
    }
    let delta = Snapshot::at_rest(|| gateway.counters(), &before)?;
    for (slot, sent) in by_target.iter().enumerate().skip(1) {
        let counted = delta.targets.get(&(slot as u32)).map_or(0, |count| count.packets);
        ensure!(counted == *sent, "target slot {slot}: {counted} counted, {sent} answered: {delta:?}");
        let returned = gateway.dataplane.readers().target_counts(slot as u32).returned.packets;
        ensure!(returned == *sent, "target slot {slot}: {returned} came back of {sent}");
    }
    let datagrams: u64 = by_target.iter().sum();
    let redirected: u64 =
        delta.stats.values().map(|stats| stats.verdicts[Verdict::Redirect as usize].packets).sum();
    ensure!(redirected == 2 * datagrams, "{datagrams} sent and answered, counted {delta:?}");
    let mut conversations = 0;
    for (_, row) in answering() {
        for service in SERVICE {
            let service = SocketAddr::new(service.parse()?, row.port);
            delivery.client.run(|| talk(service, BULK)).with_context(|| format!("pool {}", row.name))?;
            conversations += 1;
        }
    }
    let delta = Snapshot::at_rest(|| gateway.counters(), &before)?;
    if case.links == Links::Segments {
        let of = delta.targets.values().fold((0, 0), |sum, one| (sum.0 + one.packets, sum.1 + one.bytes));
        ensure!(of.1 > of.0 * 1_514, "no segments came as one: {} packets, {} bytes", of.0, of.1);
    }
    for service in SERVICE {
        let service = SocketAddr::new(service.parse()?, CLOSED);
        delivery.client.run(|| refused(service))?;
    }
    serving.stop()?;
    Ok(Translated { datagrams, conversations })
}

/// That nobody listens is told to whoever asked: the backend's ICMP error comes back translated, and so does what
/// it quotes, by which the client's kernel finds the socket.
fn refused(service: SocketAddr) -> Result<()> {
    let any = if service.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(service)?;
    socket.send(b"who is there?")?;
    match socket.recv(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => bail!("{service}, behind which nobody listens: {other:?}"),
    }
}

/// A client behind a hop that takes less than the rest of its path; bytes of each transfer.
const NARROW: &str = "1400";
const TRANSFER: usize = 10_000_000;

/// Clients behind a narrow hop, which tells the service and not the backend, get all that they ask for.
///
/// # Errors
/// Where a transfer does not end, or no packet was told to be too big.
pub fn run_narrow(case: Case) -> Result<()> {
    let delivery = Delivery::new(case.links)?;
    delivery.answer_through_gateway()?;
    let far = Namespace::new("far")?;
    let hop = &delivery.client;
    hop.sysctl("net.ipv4.ip_forward", "1")?;
    hop.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    hop.veth("f0", &far, "f1")?;
    far.run(|| transmit_offload("f1", false))?;
    for (namespace, link, host) in [(hop, "f0", 1), (&far, "f1", 2)] {
        namespace.address(link, &format!("10.99.0.{host}/24"))?;
        namespace.address(link, &format!("2001:db8:99::{host}/64"))?;
    }
    hop.ip(&["link", "set", "dev", "f0", "mtu", NARROW])?;
    // It sends what fits, and says that it takes more: what comes back meets the hop.
    for (via, segment) in [("10.99.0.1", "1448"), ("2001:db8:99::1", "1428")] {
        far.ip(&["route", "add", "default", "via", via, "mtu", NARROW, "advmss", segment])?;
    }
    for (network, via) in [("10.99.0.0/24", "192.0.2.77"), ("2001:db8:99::/64", "2001:db8:c::77")] {
        delivery.gateway.ip(&["route", "add", network, "via", via])?;
    }
    for (number, backend) in delivery.backends.iter().enumerate() {
        backend.ip(&["route", "add", "10.99.0.0/24", "via", &format!("198.18.1{number}.1")])?;
        backend.ip(&["route", "add", "2001:db8:99::/64", "via", &format!("2001:db8:b{number}::1")])?;
    }
    let gateway = delivery.gateway.run(|| Gateway::start(case))?;
    let mut serving = Serving::default();
    serving.answer_at_backends(&delivery, PORT)?;
    for (_, row) in answering() {
        for service in SERVICE {
            let service = SocketAddr::new(service.parse()?, row.port);
            far.run(|| talk(service, TRANSFER)).with_context(|| {
                format!("pool {}: {:?}", row.name, gateway.dataplane.readers().telemetry())
            })?;
        }
    }
    let told = hop.run(too_big_told)?;
    ensure!(told.iter().all(|errors| *errors > 0), "the hop told of packets too big: {told:?}");
    serving.stop()
}

/// ICMP errors that the calling thread's namespace sent: destination unreachable over IPv4, packet too big over IPv6.
fn too_big_told() -> Result<[u64; 2]> {
    let four = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut icmp = four.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (icmp.next().unwrap_or_default(), icmp.next().unwrap_or_default());
    let place = names.split(' ').position(|name| name == "OutDestUnreachs").context("OutDestUnreachs")?;
    let six = std::fs::read_to_string("/proc/thread-self/net/snmp6")?;
    let sent = six.lines().find_map(|line| line.strip_prefix("Icmp6OutPktTooBigs")).context("snmp6")?;
    Ok([values.split(' ').nth(place).context("Icmp")?.parse()?, sent.trim().parse()?])
}
