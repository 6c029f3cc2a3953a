//! Clients reach a service through pools, and its backends answer them directly.

use anyhow::{Context, Result, ensure};
use gateway_common::abi::{COUNTER_FIRST_ROUTE, Verdict};
use gateway_tests::backends::{BACKENDS, Delivery, SERVICE, Serving, address_of};
use gateway_tests::counters::Snapshot;
use gateway_tests::golden::run::policy_of;
use gateway_tests::netns::transmit_offload;
use gateway_tests::object::PinFolder;
use gateway_tests::report::report;
use gateway_user::compile::{LabelTable, Names, PoolTables, Surroundings, compile};
use gateway_user::dataplane::{AttachedMode, Dataplane, Mode, Options};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Interfaces of the gateway, with their slots.
const GOVERNED: [(&str, u8); 3] = [("gw0", 3), ("back0", 4), ("back1", 5)];
const GUE_PORT: u16 = 6_080;
/// UDP flows to each port of the service and over each IP version, and datagrams of each.
const FLOWS: u16 = 12;
const DATAGRAMS: u64 = 3;
/// Turns of a TCP conversation, and bytes of each.
const TURNS: usize = 30;
const TURN: usize = 900;
/// Bytes that are sent without a pause.
const BULK: usize = 400_000;
/// An answer comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pool for each way, by the family of its targets; the port of the service says which.
const POOLS: [(&str, u16, &str, bool); 6] = [
    ("ipip4", 7_001, "ipip", false),
    ("ipip6", 7_002, "ipip", true),
    ("gue4", 7_003, "gue", false),
    ("gue6", 7_004, "gue", true),
    ("l2four", 7_005, "l2", false),
    ("l2six", 7_006, "l2", true),
];

struct PoolNames;

impl Names for PoolNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        GOVERNED.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
    }
    fn counter_slot(&self, route: &str) -> u32 {
        let place = POOLS.iter().position(|(name, ..)| *name == route).unwrap_or(POOLS.len());
        COUNTER_FIRST_ROUTE + place as u32
    }
    fn limit_slot(&self, _: &str) -> u32 {
        0 // The policy has none.
    }
    fn target_slot(&self, target: &str) -> u32 {
        let (pool, target) = target.split_once('/').unwrap_or_default();
        let place = POOLS.iter().position(|(name, ..)| *name == pool).unwrap_or(0);
        (1 + place * BACKENDS + usize::from(target == "b1")) as u32
    }
    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        let own = if target.is_ipv4() { "192.0.2.1" } else { "2001:db8:c::1" };
        own.parse().ok()
    }
    fn label_number(&self, _: &str) -> u32 {
        0 // Nor labels.
    }
}

fn policy() -> String {
    let pool = |(name, _, forward, six): &(&str, u16, &str, bool)| {
        let (a, b) = (address_of(0, *six), address_of(1, *six));
        let targets = format!("[{{name: b0, address: '{a}'}}, {{name: b1, address: '{b}'}}]");
        format!("  {name}: {{forward: {forward}, targets: {targets}}}\n")
    };
    let route = |(name, port, ..): &(&str, u16, &str, bool)| {
        format!(
            "  - {{name: {name}, match: {{protocol: [tcp, udp], port: {port}}}, action: {{pool: {name}}}}}\n"
        )
    };
    let pools: String = POOLS.iter().map(pool).collect();
    let routes: String = POOLS.iter().map(route).collect();
    format!("version: 1\npools:\n{pools}routes:\n{routes}")
}

/// A gateway in one mode.
struct Gateway {
    dataplane: Dataplane,
    _pins: PinFolder,
}

impl Gateway {
    fn start(mode: Mode, wanted: AttachedMode) -> Result<Gateway> {
        let pins = PinFolder::new("pool");
        let mut options = Options::new(pins.path());
        options.arena_lines = 1 << 16;
        options.memo_sets_per_cpu = 1 << 10;
        let mut dataplane = Dataplane::open(&options)?;
        for (interface, slot) in GOVERNED {
            let attached = dataplane.attach(interface, slot, mode)?;
            ensure!(attached.mode == wanted, "{interface} is governed as {}", attached.mode.name());
        }
        let policy = policy_of(&policy())?;
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
        let routes = COUNTER_FIRST_ROUTE..COUNTER_FIRST_ROUTE + POOLS.len() as u32;
        let targets = 1..=(POOLS.len() * BACKENDS) as u32;
        Snapshot::take(&self.dataplane.readers(), slots, routes, [], targets)
    }
}

/// Asks from a socket of its own; the backend that answered each time is one and the same.
fn ask(service: SocketAddr, own_port: u16) -> Result<u8> {
    let any: IpAddr = if service.is_ipv4() { "0.0.0.0".parse()? } else { "::".parse()? };
    let socket = UdpSocket::bind(SocketAddr::new(any, own_port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut by = None;
    for turn in 0..DATAGRAMS {
        let question = vec![turn as u8; 100 + usize::from(own_port % 7) * 200];
        socket.send_to(&question, service)?;
        let mut answer = [0; 2_048];
        let (length, from) =
            socket.recv_from(&mut answer).with_context(|| format!("no answer of {service}"))?;
        ensure!(from == service, "{service} answers from {from}");
        ensure!(answer[1..length] == question, "{service} answers with something else");
        let before = by.replace(answer[0]);
        ensure!(before.is_none_or(|before| before == answer[0]), "{service}: another backend");
    }
    by.context("nothing was asked")
}

/// Talks over TCP in turns, and then without waiting for so many bytes.
fn talk(service: SocketAddr, bulk: usize) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&service, PATIENCE).with_context(|| service.to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut number = [0];
    stream.read_exact(&mut number)?;
    for turn in 0..TURNS {
        let question = vec![turn as u8; TURN];
        stream.write_all(&question)?;
        let mut answer = vec![0; TURN];
        stream.read_exact(&mut answer).with_context(|| format!("{service}, turn {turn}"))?;
        ensure!(answer == question, "{service} answers with something else");
    }
    let question: Vec<u8> = (0..bulk).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut answer = vec![0; bulk];
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&question));
        stream.read_exact(&mut answer).with_context(|| format!("{service}, in bulk"))?;
        writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.context("writing in bulk")
    })?;
    ensure!(answer == question, "{service} answers with something else, in bulk");
    Ok(())
}

/// What the links around the gateway do with packets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Links {
    Plain,
    /// The backends take XDP frames.
    XdpFrames,
    /// The client sends many segments as one, without checksums.
    Segments,
}

fn in_mode(mode: Mode, wanted: AttachedMode, links: Links) -> Result<()> {
    let delivery = Delivery::new(links == Links::XdpFrames)?;
    delivery.client.run(|| transmit_offload("c0", links == Links::Segments))?;
    let gateway = delivery.gateway.run(|| Gateway::start(mode, wanted))?;
    let ports = POOLS.map(|(_, port, ..)| port);
    let serving = Serving::on(&delivery, &ports, GUE_PORT)?;
    let before = gateway.counters();
    let mut by_target = [0_u64; 1 + POOLS.len() * BACKENDS];
    for (place, (name, port, ..)) in POOLS.iter().enumerate() {
        let mut by = [0; BACKENDS];
        for service in SERVICE {
            let service = SocketAddr::new(service.parse()?, *port);
            for flow in 0..FLOWS {
                let number = delivery.client.run(|| ask(service, 20_000 + flow))?;
                by[usize::from(number)] += 1;
                by_target[1 + place * BACKENDS + usize::from(number)] += DATAGRAMS;
            }
        }
        // Of 24 flows all go to one backend once in eight million times, and these are always the same.
        ensure!(by.iter().all(|flows| *flows > 0), "pool {name}: {by:?}");
    }
    let delta = gateway.counters().since(&before);
    delta.conserved().map_err(anyhow::Error::msg)?;
    for (slot, sent) in by_target.iter().enumerate().skip(1) {
        let counted = delta.targets.get(&(slot as u32)).map_or(0, |count| count.packets);
        ensure!(counted == *sent, "target slot {slot}: {counted} counted, {sent} answered: {delta:?}");
    }
    let verdicts = |verdict: Verdict| -> u64 {
        let of = delta.stats.iter().filter(|((slot, _), _)| *slot == GOVERNED[0].1);
        of.map(|(_, stats)| stats.verdicts[verdict as usize].packets).sum()
    };
    let sent: u64 = by_target.iter().sum();
    ensure!(verdicts(Verdict::Redirect) == sent, "{sent} sent, counted {delta:?}");
    ensure!(verdicts(Verdict::Drop) == 0, "dropped: {delta:?}");
    let mut talks = 0;
    for (_, port, forward, _) in POOLS {
        for service in SERVICE {
            let service = SocketAddr::new(service.parse()?, port);
            // A backend that takes XDP frames also merges segments, which its decapsulator cannot know.
            let merged = links == Links::XdpFrames && forward != "l2";
            let bulk = if merged { 0 } else { BULK };
            delivery.client.run(|| talk(service, bulk))?;
            talks += 1;
        }
    }
    let delta = gateway.counters().since(&before);
    delta.conserved().map_err(anyhow::Error::msg)?;
    if links == Links::Segments {
        // Else the test would show nothing: a segment on the wire is 1,514 bytes at most.
        let of = delta.targets.values().fold((0, 0), |sum, one| (sum.0 + one.packets, sum.1 + one.bytes));
        ensure!(of.1 > of.0 * 1_514, "no segments came as one: {} packets, {} bytes", of.0, of.1);
    }
    serving.stop()?;
    let name = format!("pool_{}_{links:?}", wanted.name());
    report(&name, "pool_datagrams", sent);
    report(&name, "pool_conversations", talks);
    Ok(())
}

#[test]
fn native() -> Result<()> {
    in_mode(Mode::Native, AttachedMode::Native, Links::Plain)
}

#[test]
fn native_to_backends_that_take_xdp_frames() -> Result<()> {
    in_mode(Mode::Native, AttachedMode::Native, Links::XdpFrames)
}

#[test]
fn generic() -> Result<()> {
    in_mode(Mode::Generic, AttachedMode::Generic, Links::Plain)
}

#[test]
fn tc() -> Result<()> {
    in_mode(Mode::Tc, AttachedMode::Tc, Links::Plain)
}

#[test]
fn tc_with_segments_as_one() -> Result<()> {
    in_mode(Mode::Tc, AttachedMode::Tc, Links::Segments)
}
