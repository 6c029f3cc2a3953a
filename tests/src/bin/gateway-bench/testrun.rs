//! Nanoseconds a packet, by BPF_PROG_TEST_RUN, the frame restored before each run.

use crate::frames::{Flow, Frame, frame};
use crate::kernel::{Bench, Gateway};
use crate::policies;
use anyhow::Result;
use gateway_common::abi::programs;
use std::net::Ipv4Addr;

const ROUNDS: u32 = 15;
const RUNS: u32 = 400_000;
const MANY: u32 = 1 << 16;

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

pub fn run() -> Result<()> {
    println!("packet: ns a packet (64 bytes, UDP over IPv4), the frame restored before each run;");
    println!("        floor = an empty program behind the same restorer, + = over the floor\n");
    println!("{:<24}{:>14}{:>10}{:>14}{:>10}", "", "1 flow", "+", "64k flows", "+");
    let mut bench = Bench::load()?;
    let floors = [floor(&mut bench, 1)?, floor(&mut bench, MANY)?];
    println!("{:<24}{:>14.0}{:>10}{:>14.0}", "empty program (floor)", floors[0], "", floors[1]);
    let lru = bench.program_fd("bench_lru")?;
    let mut peers = [0.0; 2];
    for (peer, count) in peers.iter_mut().zip([1, MANY]) {
        bench.set_frames(&frames(count, 1))?;
        *peer = bench.measure(&lru, ROUNDS, RUNS)?;
    }
    print("LRU flow entry (peer)", peers, floors);

    let mut ten = [0.0; 2];
    for row in rows() {
        let mut gateway = Gateway::load(row.flow_accounting)?;
        if let Some(policy) = &row.policy {
            gateway.apply(policy, &[])?;
        }
        let program = gateway.program_fd(programs::XDP)?;
        let mut costs = [0.0; 2];
        for (cost, count) in costs.iter_mut().zip([1, MANY]) {
            bench.set_frames(&frames(count, row.routes))?;
            *cost = bench.measure(&program, ROUNDS, RUNS)?;
        }
        print(row.what, costs, floors);
        if row.what == "10 routes" {
            ten = costs;
        }
        if row.routes > 10 {
            println!(
                "{:<24}{:>13.2}x{:>10}{:>13.2}x",
                "  against 10 routes",
                costs[0] / ten[0],
                "",
                costs[1] / ten[1]
            );
        }
    }
    println!();
    Ok(())
}

fn floor(bench: &mut Bench, count: u32) -> Result<f64> {
    let gateway = Gateway::load(true)?;
    bench.set_frames(&frames(count, 1))?;
    bench.measure(&gateway.program_fd(programs::XDP_PASS)?, ROUNDS, RUNS)
}

fn print(what: &str, costs: [f64; 2], floors: [f64; 2]) {
    println!(
        "{what:<24}{:>14.0}{:>10.0}{:>14.0}{:>10.0}",
        costs[0],
        costs[0] - floors[0],
        costs[1],
        costs[1] - floors[1]
    );
}
