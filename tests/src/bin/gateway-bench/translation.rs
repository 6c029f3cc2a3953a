//! What packets of remembered connections cost, and what it costs to measure the health of their targets.

use crate::Effort;
use crate::frames::{Frame, NOWHERE, RESTORED, between, restored, sized};
use crate::kernel::{Bench, FRAMES, Gateway, Node};
use crate::policies;
use crate::ways::{self, Ways};
use anyhow::{Result, ensure};
use aya::programs::ProgramFd;
use gateway_common::abi::{TRACK_WAYS, programs};
use gateway_tests::packet;
use gateway_user::dataplane::{AttachedMode, Mode};
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 15;
/// Packets of established connections that are measured at once, for one connection and for many, and how often in a
/// round. Few, that some fall into times in which nobody else has the machine.
const AT_ONCE: [(u32, usize); 2] = [(40_000, 20), (MANY, 4)];
/// New connections that are measured at once.
const RUNS: u32 = 400_000;
/// New connections go in that often: each time they wait until those before are over.
const NEW_ROUNDS: usize = 3;
/// How long a connection lives that is not answered.
const LIVES: Duration = Duration::from_secs(1);
const MANY: u32 = 1 << 16;
/// Sets of the table: room for two connections each that are put there.
const SETS: u32 = 2 * FRAMES / TRACK_WAYS as u32;

const SYN: u8 = 2;
const ACK: u8 = 16;
const FLOOR: &str = "empty program (floor)";
const HEALTH: &str = "health: {passive: {failures: 2000, window: 100ms, ratio: 100%}}, ";

/// First sources of connections that are established, and of new ones.
const ESTABLISHED: u32 = 0x0b00_0000;
const NEW: u32 = 0x0c00_0000;

/// A row of the table.
struct Row {
    what: &'static str,
    forward: &'static str,
    tcp: bool,
    health: bool,
    /// The row of which it is told how much more this one is.
    base: Option<&'static str>,
}

const ROWS: [Row; 7] = [
    Row { what: "dnat, UDP", forward: "dnat", tcp: false, health: false, base: None },
    Row { what: "dnat, TCP", forward: "dnat", tcp: true, health: false, base: None },
    Row { what: "dnat, TCP, health", forward: "dnat", tcp: true, health: true, base: Some("dnat, TCP") },
    Row { what: "ipip, TCP", forward: "ipip", tcp: true, health: false, base: None },
    Row { what: "ipip, TCP, health", forward: "ipip", tcp: true, health: true, base: Some("ipip, TCP") },
    Row { what: "l2, TCP", forward: "l2", tcp: true, health: false, base: None },
    Row { what: "l2, TCP, health", forward: "l2", tcp: true, health: true, base: Some("l2, TCP") },
];

/// A row's gateway, and what was measured: one connection, many, new ones.
struct Subject {
    row: &'static Row,
    program: ProgramFd,
    ns: [f64; 3],
    gateway: Gateway,
}

/// What takes turns.
struct Frames {
    /// New connections, UDP and TCP.
    new: [Bench; 2],
    /// Packets of the established ones.
    data: [Bench; 2],
}

pub fn run(effort: Effort) -> Result<()> {
    Ways::make()?.run(|| measure(effort))
}

/// A packet of a client: of TCP with these flags, and nothing behind the header.
fn client(source: u32, flags: Option<u8>) -> Result<Frame> {
    let headers = between(&NOWHERE, Ipv4Addr::from(source).into(), Ipv4Addr::new(10, 0, 0, 1).into());
    restored(&transport(headers, 4096, 80, flags))
}

/// A target's answer to it.
fn answer(source: u32, network: u8, host: u8) -> Result<Frame> {
    let headers = between(&NOWHERE, ways::ipv4(network, host).into(), Ipv4Addr::from(source).into());
    restored(&transport(headers, 80, 4096, Some(SYN | ACK)))
}

fn transport(headers: packet::Frame, from: u16, to: u16, flags: Option<u8>) -> packet::Frame {
    match flags {
        Some(flags) => headers.tcp(from, to).tcp_with(flags, 0).payload(0),
        None => sized(headers.udp(from, to), RESTORED),
    }
}

fn loaded(frames: impl Iterator<Item = Result<Frame>>) -> Result<Bench> {
    let mut bench = Bench::load()?;
    bench.load_frames(&frames.collect::<Result<Vec<_>>>()?)?;
    Ok(bench)
}

fn policy(row: &Row, network: u8) -> String {
    let mut text = policies::pooled(row.forward, network, false);
    if row.forward == "dnat" {
        text = text.replace("dnat,", "dnat, timeouts: {unanswered: 1s, half_open: 1s},");
    }
    if row.tcp {
        text = text.replace("protocol: udp", "protocol: tcp");
    }
    if row.health {
        text = text.replace("targets:", &format!("{HEALTH}targets:"));
    }
    text
}

fn subject(row: &'static Row, network: u8) -> Result<Subject> {
    let mut gateway = Gateway::with(|options| options.track_sets = SETS)?;
    let link = ways::link(network);
    let attachment = gateway.dataplane.attach(&link, 1, Mode::Native)?;
    ensure!(attachment.mode == AttachedMode::Native, "attached as {attachment:?}");
    let node = Node { interfaces: &[(&link, 1)], ..Node::default() };
    gateway.apply(&policies::read(&policy(row, network))?, node)?;
    let program = gateway.program_fd(programs::XDP)?;
    Ok(Subject { row, program, ns: [f64::MAX; 3], gateway })
}

/// Brings the connections of a row into the state in which they are measured.
fn establish(subject: &Subject, network: u8, frames: &mut Frames) -> Result<()> {
    if subject.row.tcp {
        let of = |flags| (0..MANY).map(move |n| client(ESTABLISHED + n, Some(flags)));
        loaded(of(SYN))?.measure(&subject.program, MANY)?;
        for host in [11, 12] {
            // Of the other target it is a packet like any other.
            loaded((0..MANY).map(|n| answer(ESTABLISHED + n, network, host)))?
                .measure(&subject.program, MANY)?;
        }
    }
    frames.data[usize::from(subject.row.tcp)].measure(&subject.program, MANY)?;
    Ok(())
}

fn measure(effort: Effort) -> Result<()> {
    let rounds = effort.rounds(ROUNDS);
    println!(
        "translation: ns a packet of connections through a pool of two targets (64 bytes, IPv4), as in `packet`;"
    );
    println!(
        "             the best of {rounds} rounds, new connections the best of {NEW_ROUNDS}, none met twice. TCP: clients' ACKs"
    );
    println!(
        "             of open connections, and SYNs. health: handshakes are measured, circuits stand ready\n"
    );
    println!("{:<26}{:>10}{:>8}{:>12}{:>8}{:>12}{:>8}", "", "1 flow", "+", "64k flows", "+", "new", "+");
    let (mut subjects, mut floor) = (Vec::new(), [f64::MAX; 3]);
    let empty = Gateway::load(true)?;
    let empty = (empty.program_fd(programs::XDP_PASS)?, empty);
    let mut frames = Frames {
        new: [
            loaded((0..FRAMES).map(|n| client(NEW + n, None)))?,
            loaded((0..FRAMES).map(|n| client(NEW + n, Some(SYN))))?,
        ],
        data: [
            loaded((0..MANY).map(|n| client(ESTABLISHED + n, None)))?,
            loaded((0..MANY).map(|n| client(ESTABLISHED + n, Some(ACK))))?,
        ],
    };
    for (network, row) in (0..).zip(&ROWS) {
        let subject = subject(row, network)?;
        establish(&subject, network, &mut frames)?;
        subjects.push(subject);
    }
    for (column, (flows, (runs, times))) in [1, MANY].into_iter().zip(AT_ONCE).enumerate() {
        for _ in 0..rounds * times {
            for bench in &mut frames.data {
                bench.take_turns(flows)?;
            }
            floor[column] = floor[column].min(frames.data[0].measure(&empty.0, runs)?);
            for subject in &mut subjects {
                let ns = frames.data[usize::from(subject.row.tcp)].measure(&subject.program, runs)?;
                subject.ns[column] = subject.ns[column].min(ns);
            }
        }
    }
    for _ in 0..NEW_ROUNDS {
        for bench in &mut frames.new {
            bench.take_turns(FRAMES)?;
        }
        floor[2] = floor[2].min(frames.new[0].measure(&empty.0, RUNS)?);
        for subject in &mut subjects {
            let bench = &mut frames.new[usize::from(subject.row.tcp)];
            bench.take_turns(FRAMES)?;
            subject.ns[2] = subject.ns[2].min(bench.measure(&subject.program, RUNS)?);
        }
        // Until all are over.
        thread::sleep(3 * LIVES);
    }
    print(&subjects, floor);
    for subject in subjects {
        subject.gateway.dataplane.detach_all()?;
    }
    Ok(())
}

fn print(subjects: &[Subject], floor: [f64; 3]) {
    let line = |what: &str, ns: [f64; 3]| {
        print!("{what:<26}");
        for (column, (ns, floor)) in ns.iter().zip(floor).enumerate() {
            let width = if column == 0 { 10 } else { 12 };
            print!("{ns:>width$.0}{:>8.0}", ns - floor);
        }
        println!();
    };
    line(FLOOR, floor);
    for subject in subjects {
        line(subject.row.what, subject.ns);
        let base = subject.row.base.and_then(|base| subjects.iter().find(|other| other.row.what == base));
        if let Some(base) = base {
            let [one, many, new] = [0, 1, 2].map(|column| subject.ns[column] - base.ns[column]);
            println!("{:<26}{one:>17.0} {many:>19.0} {new:>19.0} ", format!("  more than {}", base.row.what));
        }
    }
    println!();
}
