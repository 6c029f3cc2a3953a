//! How exact limits are: what was admitted over what was allowed, as a matrix of rate, burst, length of
//! the frames, CPUs and kind of limit.

mod cells;
mod gateway;
mod ideal;
mod nft;

use crate::Effort;
use anyhow::Result;
use cells::{Amount, Cell, Kind, plan};
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(10);
const BURSTS_MS: [u64; 3] = [10, 100, 500];
const LENGTHS: [usize; 3] = [64, 512, 1514];
const CPUS: [usize; 2] = [1, 2];
/// The burst with which nftables is measured.
const NFT_BURST_MS: u64 = 100;
/// Longest wait until all bursts are used up.
const SETTLE_MAX: Duration = Duration::from_secs(6);
/// What is exact: 1 %.
const EXACT: f64 = 0.01;
/// A limit must be offered at least this many times what it admits.
const OFFERED_MIN: f64 = 1.05;

/// What came of a cell.
#[derive(Clone, Copy)]
pub struct Measured {
    /// Admitted over rate × time, once the burst was used up.
    pub steady: f64,
    /// Admitted over burst + rate × time, from a full bucket on.
    pub with_burst: Option<f64>,
    /// Offered over rate × time.
    pub offered: f64,
    /// Part of the time for which nothing could be admitted: the bucket was full, and no frame came.
    pub missed: f64,
}

impl Measured {
    fn is_offered(&self) -> bool {
        self.offered >= OFFERED_MIN
    }
    fn is_exact(&self) -> bool {
        let near = |ratio: f64| (ratio - 1.0).abs() <= EXACT;
        near(self.steady) && self.with_burst.is_none_or(near)
    }
    fn text(&self) -> String {
        match (self.is_offered(), self.is_exact()) {
            (false, _) => format!("{:.4}~", self.steady),
            (true, true) => format!("{:.4} ", self.steady),
            (true, false) => format!("{:.4}!", self.steady),
        }
    }
}

type Matrix = Vec<(Cell, Measured)>;

pub fn run(effort: Effort) -> Result<()> {
    effort.two_cpus()?;
    let time = effort.time(TIME);
    println!(
        "accuracy: admitted over allowed in {time:?} after the burst was used up; frames are put to the real"
    );
    println!(
        "          program, with the real clock, by test runs on one and on two CPUs at once. Allowed is rate x"
    );
    println!(
        "          time, less what an ideal bucket could not admit of the same frames: other work holds senders,"
    );
    println!(
        "          each notes when that was and what it put by every millisecond, and meanwhile a bucket gets full."
    );
    println!(
        "          ! is more than 1 % off there, or from a full bucket on (burst + rate x time); ~ was offered"
    );
    println!(
        "          less than {OFFERED_MIN} times the rate. nft: nftables' `limit` at ingress, over veth, with"
    );
    println!("          {NFT_BURST_MS} ms of burst; - where it has none, or is too slow.\n");
    // This thread reads counters beside the one CPU that is measured.
    crate::pin(&[1])?;
    let start = Instant::now();
    let (ours, runs, subject) = gateway_matrix(time)?;
    let (theirs, nft_runs) = nft_matrix(time)?;
    println!();
    print(&ours, &theirs);
    let judged = || ours.iter().filter(|(_, measured)| measured.is_offered());
    let outside = judged().filter(|(_, measured)| !measured.is_exact()).count();
    let worst = |ratio: &dyn Fn(&Measured) -> Option<f64>| {
        let ratios = judged().filter_map(|(_, measured)| ratio(measured));
        ratios
            .fold(1.0, |worst: f64, next| if (next - 1.0).abs() > (worst - 1.0).abs() { next } else { worst })
    };
    println!(
        "\n{} cells, {} offered enough, {outside} outside 1 %; the worst {:.4}, with the burst {:.4}",
        ours.len(),
        judged().count(),
        worst(&|measured| Some(measured.steady)),
        worst(&|measured| measured.with_burst)
    );
    let outside = theirs.iter().filter(|(_, measured)| measured.is_offered() && !measured.is_exact()).count();
    println!("nft: {} cells, {outside} outside 1 %", theirs.len());
    println!(
        "a sender was held by other work for up to {:.1} ms at once; most time that a cell missed by it: {:.1} %",
        subject.held.as_secs_f64() * 1e3,
        judged().map(|(_, measured)| measured.missed).fold(0.0, f64::max) * 100.0
    );
    println!(
        "{} packets refused because CPUs were at one bucket at once; {runs} runs and {nft_runs} of nft, {:.0} s\n",
        subject.contended(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// All cells of these frames and CPUs.
fn cells(length: usize, cpus: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    for kind in Kind::ALL {
        for amount in Amount::ALL {
            // What a connection's first packet holds does not matter: one length is enough.
            if matches!(amount, Amount::Connections(_)) && length != LENGTHS[0] {
                continue;
            }
            for burst_ms in BURSTS_MS {
                cells.push(Cell { kind, amount, burst_ms, length, cpus });
            }
        }
    }
    cells
}

/// Also how many runs there were, and what they were put to.
fn gateway_matrix(time: Duration) -> Result<(Matrix, usize, gateway::Subject)> {
    let mut subject = gateway::Subject::load(CPUS[1])?;
    let (mut matrix, mut runs) = (Vec::new(), 0);
    for cpus in CPUS {
        let capacity = subject.capacity(cpus)?;
        for length in LENGTHS {
            let planned = plan(&cells(length, cpus), capacity);
            println!("{cpus} CPU, {length} B: {} runs at {:.1} Mpps", planned.len(), capacity / 1e6);
            for run in planned {
                let (measured, _) = subject.measure(&run, time)?;
                matrix.extend(run.cells.iter().copied().zip(measured));
                runs += 1;
            }
        }
    }
    Ok((matrix, runs, subject))
}

/// One CPU, one burst, and what it is fast enough for.
fn nft_matrix(time: Duration) -> Result<(Matrix, usize)> {
    let mut subject = nft::Nft::new()?;
    let capacity = subject.capacity()?;
    let (mut matrix, mut runs) = (Vec::new(), 0);
    for length in LENGTHS {
        let possible =
            |cell: &Cell| nft::can(cell) && cell.burst_ms == NFT_BURST_MS && cell.offered() <= capacity;
        let cells: Vec<Cell> = cells(length, 1).into_iter().filter(possible).collect();
        let planned = plan(&cells, capacity);
        println!("nft, {length} B: {} runs at {:.1} Mpps", planned.len(), capacity / 1e6);
        for run in planned {
            let (measured, _) = subject.measure(&run, time)?;
            matrix.extend(run.cells.iter().copied().zip(measured));
            runs += 1;
        }
    }
    Ok((matrix, runs))
}

fn print(ours: &Matrix, theirs: &Matrix) {
    print!("{:<13}{:>8}{:>7}", "kind", "limit", "burst");
    for cpus in CPUS {
        for length in LENGTHS {
            print!("{:>10}", format!("{cpus}x {length} B"));
        }
    }
    for length in LENGTHS {
        print!("{:>12}", format!("nft {length} B"));
    }
    println!();
    let text = |matrix: &Matrix, wanted: Cell| {
        let found = matrix.iter().find(|(cell, _)| *cell == wanted);
        found.map_or_else(|| "- ".to_owned(), |(_, measured)| measured.text())
    };
    for kind in Kind::ALL {
        for amount in Amount::ALL {
            for burst_ms in BURSTS_MS {
                print!("{:<13}{:>8}{:>7}", kind.name(), amount.text(), format!("{burst_ms}ms"));
                for cpus in CPUS {
                    for length in LENGTHS {
                        print!("{:>10}", text(ours, Cell { kind, amount, burst_ms, length, cpus }));
                    }
                }
                for length in LENGTHS {
                    print!("{:>12}", text(theirs, Cell { kind, amount, burst_ms, length, cpus: 1 }));
                }
                println!();
            }
        }
    }
}
