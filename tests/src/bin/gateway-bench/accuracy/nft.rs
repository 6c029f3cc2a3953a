//! The same limits by nftables' own `limit`, where it can express them: live frames over a veth pair to
//! a chain at ingress.

use super::cells::{Amount, Cell, Kind, Run, network, plan};
use super::{Measured, SETTLE_MAX};
use crate::kernel::Bench;
use anyhow::{Context, Result};
use gateway_tests::netns::Namespace;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Frames of one test run.
const BATCH: u32 = 32_768;
/// Part of what a sender can offer that is planned with.
const PLANNED: f64 = 0.8;
/// What an skb's length lacks at ingress of the frame's.
const ETHERNET: u64 = 14;

/// A sender, a receiver with nftables, and a veth pair between them.
pub struct Nft {
    sender: Namespace,
    receiver: Namespace,
    bench: Bench,
}

/// Whether nftables has such a limit: it knows no label.
pub fn can(cell: &Cell) -> bool {
    cell.kind != Kind::Label && !matches!(cell.amount, Amount::Connections(_))
}

impl Nft {
    pub fn new() -> Result<Nft> {
        let (sender, receiver) = (Namespace::new("send")?, Namespace::new("recv")?);
        for namespace in [&sender, &receiver] {
            namespace.silence()?;
        }
        receiver.veth("in", &sender, "out")?;
        receiver.run(|| gateway_tests::netns::receive_offload("in", true))?;
        let mut bench = sender.run(Bench::load)?;
        bench.set_out(sender.ifindex("out")?)?;
        Ok(Nft { sender, receiver, bench })
    }

    /// Frames a second that can be relied upon to be offered.
    pub fn capacity(&mut self) -> Result<f64> {
        let amount = Amount::Packets(10_000);
        let cell = Cell { kind: Kind::Route, amount, burst_ms: 100, length: 64, cpus: 1 };
        let run = plan(&[cell], f64::MAX).pop().context("no cell")?;
        Ok(self.measure(&run, Duration::from_millis(500))?.1 * PLANNED)
    }

    /// The cells of a run, in its order, and frames a second that were offered.
    pub fn measure(&mut self, run: &Run, time: Duration) -> Result<(Vec<Measured>, f64)> {
        let length = run.cells.first().context("an empty run")?.length;
        let script = ruleset(run);
        self.receiver.command("nft", &["flush ruleset"])?;
        self.receiver.command("nft", &[&script])?;
        self.bench.load_frames(&run.frames()?)?;
        let (receiver, bench, sender) = (&self.receiver, &mut self.bench, &self.sender);
        let stop = &AtomicBool::new(false);
        thread::scope(|scope| {
            let thread = scope.spawn(move || -> Result<()> {
                crate::pin(&[0])?;
                sender.enter()?;
                while !stop.load(Ordering::Relaxed) {
                    bench.generate(length, BATCH)?;
                }
                Ok(())
            });
            let measured = observe(receiver, run, time);
            stop.store(true, Ordering::Relaxed);
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            measured
        })
    }
}

/// By counter: packets and bytes.
type Counters = BTreeMap<String, (u64, u64)>;

fn counters(namespace: &Namespace) -> Result<(Instant, Counters)> {
    let asked = Instant::now();
    let text = namespace.command("nft", &["--json", "list counters"])?;
    // The counters are read at some time in between.
    let at = asked + asked.elapsed() / 2;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let entries = value["nftables"].as_array().context("nft gave no list")?;
    let counters = entries.iter().filter_map(|entry| entry.get("counter")).map(|counter| {
        let name = counter["name"].as_str().context("a counter without a name")?.to_owned();
        let number = |what: &str| counter[what].as_u64().with_context(|| format!("{name}: no {what}"));
        let both = (number("packets")?, number("bytes")?);
        Ok((name, both))
    });
    Ok((at, counters.collect::<Result<_>>()?))
}

fn observe(receiver: &Namespace, run: &Run, time: Duration) -> Result<(Vec<Measured>, f64)> {
    const REFUSED: u64 = 64;
    let start = Instant::now();
    let before = loop {
        let (at, counters) = counters(receiver)?;
        let cells = 0..run.cells.len();
        let refuses = cells.clone().all(|n| counters[&refused(n)].0 >= REFUSED);
        if refuses || start.elapsed() > SETTLE_MAX {
            break (at, counters);
        }
        thread::sleep(Duration::from_millis(50));
    };
    thread::sleep(time);
    let after = counters(receiver)?;
    let elapsed = (after.0 - before.0).as_secs_f64();
    let mut all = 0;
    let cells = run.cells.iter().enumerate().map(|(n, cell)| {
        let units = |name: String| {
            let (then, now) = (before.1[&name], after.1[&name]);
            all += now.0 - then.0;
            if matches!(cell.amount, Amount::Megabits(_)) { now.1 - then.1 } else { now.0 - then.0 }
        };
        let [admitted, refused] = [admitted(n), refused(n)].map(units);
        let allowed = (cell.keys() * counted(cell, cell.rate().per_second)) as f64 * elapsed;
        Measured {
            steady: admitted as f64 / allowed,
            with_burst: None,
            offered: (admitted + refused) as f64 / allowed,
            missed: 0.0,
        }
    });
    let cells = cells.collect();
    Ok((cells, all as f64 / elapsed))
}

/// Units as nftables counts them: of bytes those behind the Ethernet header, so that as many frames are
/// within its limit as are within the gateway's.
fn counted(cell: &Cell, units: u64) -> u64 {
    match cell.amount {
        Amount::Megabits(_) => units * (cell.length as u64 - ETHERNET) / cell.length as u64,
        _ => units,
    }
}

fn admitted(cell: usize) -> String {
    format!("admitted{cell}")
}

fn refused(cell: usize) -> String {
    format!("refused{cell}")
}

/// A chain for each cell, found by its destination.
fn ruleset(run: &Run) -> String {
    let mut text = String::from("table netdev accuracy {\n");
    let mut chains = String::new();
    let mut jumps = String::new();
    for (n, cell) in run.cells.iter().enumerate() {
        let (per_second, burst) = (counted(cell, cell.rate().per_second), counted(cell, cell.rate().burst));
        let limit = if matches!(cell.amount, Amount::Megabits(_)) {
            format!("limit rate {per_second} bytes/second burst {burst} bytes")
        } else {
            format!("limit rate {per_second}/second burst {burst} packets")
        };
        let of_key = match cell.kind {
            Kind::Source => format!("add @keys{n} {{ ip saddr {limit} }}"),
            Kind::Destination => format!("add @keys{n} {{ ip daddr {limit} }}"),
            Kind::Route | Kind::Label => limit,
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  counter {} {{}}\n  counter {} {{}}", admitted(n), refused(n));
        if cell.kind != Kind::Route {
            let _ = writeln!(text, "  set keys{n} {{ type ipv4_addr; flags dynamic; size 1024; }}");
        }
        let _ = writeln!(
            chains,
            "  chain cell{n} {{\n    {of_key} counter name {} drop\n    counter name {} drop\n  }}",
            admitted(n),
            refused(n)
        );
        let _ = write!(jumps, "{}{} : goto cell{n}", if n == 0 { "" } else { ", " }, network(n as u32));
    }
    text += &chains;
    let _ = writeln!(
        text,
        "  chain arrivals {{\n    type filter hook ingress device \"in\" priority 0;\n    ip daddr vmap {{ {jumps} }}\n  }}\n}}"
    );
    text
}
