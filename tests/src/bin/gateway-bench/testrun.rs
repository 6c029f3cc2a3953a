//! Nanoseconds a packet, by BPF_PROG_TEST_RUN, the frame restored before each run.

use crate::frames::{Flow, Frame, frame};
use crate::kernel::{Bench, FRAMES, Gateway};
use crate::policies;
use anyhow::{Context, Result};
use aya::programs::ProgramFd;
use gateway_common::abi::programs;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const ROUNDS: usize = 15;
const RUNS: u32 = 400_000;
/// Flows that take turns: one; as many as a busy node has; and so many that none is met again before
/// the memo has given its line away.
const FLOWS: [u32; 3] = [1, 1 << 16, FRAMES];

/// A row of the table.
struct Row {
    what: &'static str,
    /// `None`: no policy at all.
    policy: Option<String>,
    /// Routes that the frames are spread over.
    routes: u32,
    flow_accounting: bool,
}

impl Row {
    fn new(what: &'static str, policy: String) -> Row {
        Row { what, policy: Some(policy), routes: 1, flow_accounting: true }
    }
    fn spread(what: &'static str, routes: u32) -> Row {
        Row { routes, ..Row::new(what, policies::routes(routes)) }
    }
}

fn rows() -> Vec<Row> {
    vec![
        Row { policy: None, ..Row::new("no policy", String::new()) },
        Row::new("one route, pass", policies::one("action: pass")),
        Row { flow_accounting: false, ..Row::new("  flow accounting off", policies::one("action: pass")) },
        Row::new("one route, mark", policies::one("mark: 0x10, action: pass")),
        Row::new("one route, drop", policies::one("action: drop")),
        Row::new("one route, tx", policies::one("action: tx")),
        Row::spread("10 routes", 10),
        Row::spread("1,000 routes", 1_000),
        Row::spread("10,000 routes", 10_000),
    ]
}

/// Frames of `count` flows, spread over `routes` routes (one: all to the only route).
fn frames(count: u32, routes: u32) -> Vec<Frame> {
    let ethernet = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    (0..count)
        .map(|n| {
            let (destination, port) =
                if routes == 1 { (Ipv4Addr::new(10, 0, 0, 1), 80) } else { policies::target(n % routes) };
            frame(&ethernet, Flow { source: Ipv4Addr::from(0xc612_0000 + n), destination, port })
        })
        .collect()
}

/// A program to be measured, and what keeps it loaded.
struct Subject {
    what: &'static str,
    routes: u32,
    program: ProgramFd,
    ns: [f64; 3],
    _gateway: Option<Gateway>,
}

/// The floor, the peer, and every row's gateway under its policy.
fn subjects(bench: &mut Bench) -> Result<Vec<Subject>> {
    let none = [f64::MAX; 3];
    let gateway = Gateway::load(true)?;
    let program = gateway.program_fd(programs::XDP_PASS)?;
    let what = "empty program (floor)";
    let floor = Subject { what, routes: 1, program, ns: none, _gateway: Some(gateway) };
    let program = bench.program_fd("bench_lru")?;
    let peer = Subject { what: "LRU flow entry (peer)", routes: 1, program, ns: none, _gateway: None };
    let program = bench.program_fd("bench_metadata")?;
    let what = "empty, leaving metadata";
    let metadata = Subject { what, routes: 1, program, ns: none, _gateway: None };
    let mut subjects = vec![floor, metadata, peer];
    for row in rows() {
        let mut gateway = Gateway::load(row.flow_accounting)?;
        if let Some(policy) = &row.policy {
            gateway.apply(policy, &[])?;
        }
        let program = gateway.program_fd(programs::XDP)?;
        let (what, routes) = (row.what, row.routes);
        subjects.push(Subject { what, routes, program, ns: none, _gateway: Some(gateway) });
    }
    Ok(subjects)
}

pub fn run() -> Result<()> {
    println!(
        "packet: ns a packet (64 bytes, UDP over IPv4), the frame restored before each run; the best of"
    );
    println!("        {ROUNDS} rounds that go over all rows in turn; + is over the floor, an empty program");
    println!("        behind the same restorer. New flows: none is met twice, and nobody reads the ring.\n");
    println!(
        "{:<24}{:>10}{:>8}{:>12}{:>8}{:>12}{:>8}",
        "", "1 flow", "+", "64k flows", "+", "new flows", "+"
    );
    let mut benches = BTreeMap::new();
    for routes in [1, 10, 1_000, 10_000] {
        let mut bench = Bench::load()?;
        bench.load_frames(&frames(FRAMES, routes))?;
        benches.insert(routes, bench);
    }
    let mut first = Bench::load()?;
    let mut subjects = subjects(&mut first)?;
    for (column, flows) in FLOWS.into_iter().enumerate() {
        for _ in 0..ROUNDS {
            for subject in &mut subjects {
                let bench = benches.get_mut(&subject.routes).context("frames")?;
                bench.take_turns(flows)?;
                let ns = bench.measure(&subject.program, RUNS)?;
                subject.ns[column] = subject.ns[column].min(ns);
            }
        }
    }
    print(&subjects);
    Ok(())
}

fn print(subjects: &[Subject]) {
    let floor = subjects[0].ns;
    let ten = subjects.iter().find(|subject| subject.routes == 10).map_or(floor, |subject| subject.ns);
    for subject in subjects {
        print!("{:<24}", subject.what);
        for (column, (ns, floor)) in subject.ns.iter().zip(floor).enumerate() {
            let width = if column == 0 { 10 } else { 12 };
            print!("{ns:>width$.0}{:>8.0}", ns - floor);
        }
        println!();
        if subject.routes > 10 {
            let [one, many, new] = [0, 1, 2].map(|column| subject.ns[column] / ten[column]);
            println!("{:<24}{one:>9.2}x{many:>19.2}x{new:>19.2}x", "  against 10 routes");
        }
    }
    println!();
}
