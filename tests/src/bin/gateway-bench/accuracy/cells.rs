//! The cells of the matrix, and in which runs they are measured.

use crate::frames::{Frame, NOWHERE, between, restored, sized};
use crate::policies;
use anyhow::Result;
use gateway_tests::packet;
use gateway_user::policy::{
    Action, KeyLengths, Label, Limit, Match, Per, Policy, Quantity, Rate, Route, RouteLimit,
};
use ipnet::Ipv4Net;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Whose packets share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Route,
    Source,
    Destination,
    Label,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Route, Kind::Source, Kind::Destination, Kind::Label];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Route => "route",
            Kind::Source => "source",
            Kind::Destination => "destination",
            Kind::Label => "label",
        }
    }
}

/// What is counted, and so much of it a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Packets(u64),
    /// Bits, 10^6 of them.
    Megabits(u64),
    Connections(u64),
}

impl Amount {
    pub const ALL: [Amount; 11] = [
        Amount::Packets(100),
        Amount::Packets(1_000),
        Amount::Packets(10_000),
        Amount::Packets(100_000),
        Amount::Packets(500_000),
        Amount::Megabits(1),
        Amount::Megabits(10),
        Amount::Megabits(100),
        Amount::Megabits(1_000),
        Amount::Connections(100),
        Amount::Connections(10_000),
    ];

    pub fn text(self) -> String {
        match self {
            Amount::Packets(rate) if rate < 1_000 => format!("{rate}pps"),
            Amount::Packets(rate) => format!("{}kpps", rate / 1_000),
            Amount::Megabits(rate) => format!("{rate}Mbit"),
            Amount::Connections(rate) if rate < 1_000 => format!("{rate}cps"),
            Amount::Connections(rate) => format!("{}kcps", rate / 1_000),
        }
    }

    /// Units a second: packets, bytes or connections.
    pub fn per_second(self) -> u64 {
        match self {
            Amount::Packets(rate) | Amount::Connections(rate) => rate,
            Amount::Megabits(rate) => rate * 1_000_000 / 8,
        }
    }
}

/// A limit under one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub kind: Kind,
    pub amount: Amount,
    /// Milliseconds' worth of the rate.
    pub burst_ms: u64,
    /// Bytes of a frame.
    pub length: usize,
    pub cpus: usize,
}

impl Cell {
    /// Units that a frame takes.
    pub fn units(&self) -> u64 {
        if matches!(self.amount, Amount::Megabits(_)) { self.length as u64 } else { 1 }
    }

    /// Rate and burst; the burst is two frames at least, or one that comes late could not be made up for.
    pub fn rate(&self) -> Rate {
        let per_second = self.amount.per_second();
        Rate { per_second, burst: (per_second * self.burst_ms / 1_000).max(2 * self.units()) }
    }

    /// Frames a second that are within the limit, all keys together.
    fn frames_within(&self) -> f64 {
        (self.keys() * self.amount.per_second()) as f64 / self.units() as f64
    }

    /// Frames a second that are offered: of a slow limit many times what it admits, since that is cheap
    /// and makes what comes between two frames small.
    pub fn offered(&self) -> f64 {
        let within = self.frames_within();
        let times = match within {
            0.0..2_000.0 => 20.0,
            2_000.0..20_000.0 => 6.0,
            20_000.0..60_000.0 => 2.0,
            _ => 1.3,
        };
        times * within
    }

    /// Keys that take turns, each with a bucket of its own.
    pub fn keys(&self) -> u64 {
        if self.kind == Kind::Route || self.amount.per_second() > 10_000 { 1 } else { KEYS_MAX }
    }
}

/// Most keys of a cell.
pub const KEYS_MAX: u64 = 4;

/// Cells that are measured at once.
pub struct Run {
    pub cells: Vec<Cell>,
    /// Frames a second.
    pub offered: f64,
}

/// Puts cells, which have length and CPUs in common, into as few runs as a sender can offer. A cell that
/// alone is more than that has a run of its own.
pub fn plan(cells: &[Cell], frames_per_second: f64) -> Vec<Run> {
    let mut sorted = cells.to_vec();
    sorted.sort_by(|a, b| b.offered().total_cmp(&a.offered()));
    let mut runs: Vec<Run> = Vec::new();
    for cell in sorted {
        let offered = cell.offered();
        match runs.iter_mut().find(|run| run.offered + offered <= frames_per_second) {
            Some(run) => {
                run.offered += offered;
                run.cells.push(cell);
            }
            None => runs.push(Run { cells: vec![cell], offered }),
        }
    }
    runs
}

/// Frames that take turns in a run: a power of two.
const TURNS: usize = 1 << 18;

impl Run {
    /// Cell and key of each frame in the order in which they take turns, each cell's as evenly as can be.
    pub fn turns(&self) -> Vec<(usize, u64)> {
        // What a cell's next frame is due at, as part of a turn, in 2^-63.
        let step = |cell: &Cell| ((self.offered / cell.offered()) / TURNS as f64 * 2f64.powi(63)) as u64;
        let steps: Vec<u64> = self.cells.iter().map(step).collect();
        let mut due: BinaryHeap<Reverse<(u64, usize)>> =
            steps.iter().enumerate().map(|(cell, step)| Reverse((step / 2, cell))).collect();
        let mut sent = vec![0; self.cells.len()];
        let mut turns = Vec::with_capacity(TURNS);
        while turns.len() < TURNS {
            let Some(Reverse((at, cell))) = due.pop() else { break };
            turns.push((cell, sent[cell] % self.cells[cell].keys()));
            sent[cell] += 1;
            due.push(Reverse((at.saturating_add(steps[cell]), cell)));
        }
        turns
    }

    /// The frames in that order.
    pub fn frames(&self) -> Result<Vec<Frame>> {
        let of_cells: Vec<Vec<Frame>> = (0..).zip(&self.cells).map(cell_frames).collect::<Result<_>>()?;
        Ok(self.turns().into_iter().map(|(cell, key)| of_cells[cell][key as usize]).collect())
    }

    /// A route for each cell, with its limit.
    pub fn policy(&self) -> Policy {
        let routes = (0..).zip(&self.cells).map(|(n, cell)| {
            let mut route = Route::new(format!("cell{n}"), Action::Pass);
            route.matches = Match { to: Some(vec![network(n).into()]), ..Match::default() };
            route.limits.push(RouteLimit::Own(cell_limit(cell)));
            route
        });
        let mut policy = Policy { routes: routes.collect(), ..policies::empty() };
        for key in 0..KEYS_MAX as u32 {
            let member = Ipv4Net::from(source(key)).into();
            let label = Label { prefixes: Arc::new(vec![member]), file: None };
            policy.labels.insert(format!("sender{key}"), label);
        }
        policy
    }
}

fn cell_limit(cell: &Cell) -> Limit {
    let rate = cell.rate();
    let quantity = match cell.amount {
        Amount::Packets(_) => Quantity::Packets(rate),
        Amount::Megabits(_) => Quantity::Bytes(rate),
        Amount::Connections(_) => Quantity::NewConnections(rate),
    };
    let per = match cell.kind {
        Kind::Route => Per::Route,
        Kind::Source => Per::Source(KeyLengths::ADDRESS),
        Kind::Destination => Per::Destination(KeyLengths::ADDRESS),
        Kind::Label => Per::Label,
    };
    policies::limit(quantity, per)
}

/// Of each key one.
fn cell_frames((n, cell): (u32, &Cell)) -> Result<Vec<Frame>> {
    (0..cell.keys() as u32).map(|key| restored(&frame(n, key, cell))).collect()
}

/// The frame of a key of the cell with this number.
pub fn frame(n: u32, key: u32, cell: &Cell) -> packet::Frame {
    let (source, destination) = match cell.kind {
        Kind::Destination => (source(0), destination(n, key)),
        _ => (source(key), destination(n, 0)),
    };
    let frame = between(&NOWHERE, source.into(), destination.into());
    let frame = match cell.amount {
        Amount::Connections(_) => frame.tcp(4096, 80),
        _ => frame.udp(4096, 80),
    };
    sized(frame, cell.length)
}

fn source(key: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0001 + key)
}

/// Of each cell's own network.
fn destination(n: u32, key: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(network(n).addr()) + 1 + key)
}

/// Where the frames of the cell with this number go.
pub fn network(n: u32) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from(0x0a00_0000 + (n << 8)), 24)
}
