//! What the tables of pools promise: each target gets its weight's share of a million flows, and when one
//! is lost, comes or changes its weight, hardly more moves than must.

mod turns;

use crate::Effort;
use crate::kernel::compiled;
use crate::policies;
use anyhow::{Context, Result};
use gateway_common::image::HashOver;
use gateway_common::packet::{Packet, flags, ipv4_address, protocol};
use gateway_common::target::{element, hash};
use gateway_user::compile::{PoolTables, Section};
use gateway_user::policy::{Action, Forward, Policy, Pool, Route, Target, TargetLabels};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const FLOWS: u32 = 1_000_000;
const NAME: &str = "web";
/// Weights of the targets of a pool, one after the other and again from the beginning.
const EQUAL: &[u16] = &[100];
const SKEWED: &[u16] = &[500, 100, 50, 200];

/// The weights of a pool's targets, by name.
type Weights = BTreeMap<String, u16>;

pub fn run(_: Effort) -> Result<()> {
    println!(
        "maglev: share = the target that is farthest from its weight's share, in percent of that share:"
    );
    println!("        by elements of the table, and by {FLOWS} TCP flows of as many sources, beside one");
    println!("        standard deviation of what a fair die would give that target. Moved = elements that");
    println!("        have another target when one is lost, comes, or gets half its weight, over the share");
    println!("        that must move: the worst of three. In brackets the same by the paper's turns.\n");
    println!(
        "{:<16}{:>10}{:>7}{:>10}{:>9}{:>9}{:>7}{:>21}{:>17}{:>17}",
        "targets",
        "elements",
        "KiB",
        "build ms",
        "table %",
        "flows %",
        "die %",
        "moved: lost",
        "added",
        "half"
    );
    for (count, weights) in
        [(3, EQUAL), (3, SKEWED), (10, EQUAL), (10, SKEWED), (40, EQUAL), (100, EQUAL), (100, SKEWED)]
    {
        let weights = weighted(count, weights);
        let spread = Spread::of(&weights)?;
        spread.show(&weights);
        moved(&weights)?;
    }
    // For what it takes: a change of such a pool is worth what it costs.
    let weights = weighted(1_000, EQUAL);
    Spread::of(&weights)?.show(&weights);
    moved(&weights)?;
    println!();
    step()?;
    println!();
    Ok(())
}

fn weighted(count: usize, weights: &[u16]) -> Weights {
    let weights = weights.iter().cycle().take(count).enumerate();
    weights.map(|(i, weight)| (format!("v{i}"), *weight)).collect()
}

/// A pool of these targets, and nothing else.
fn policy(weights: &Weights) -> Policy {
    let address = |i: u32| Ipv4Addr::from(0x0a00_0001 + i).into();
    let targets = (0..).zip(weights);
    let targets = targets
        .map(|(i, (name, weight))| (name.clone(), Target { weight: *weight, ..Target::new(address(i)) }));
    let pool = Pool::new(Forward::L2, targets.collect());
    Policy {
        pools: BTreeMap::from([(NAME.to_owned(), pool)]),
        routes: vec![Route::new("all", Action::pool(NAME))],
        ..policies::empty()
    }
}

/// The table of a pool, and how long it took.
fn table(weights: &Weights) -> Result<(Vec<u16>, Duration)> {
    let policy = policy(weights);
    let start = Instant::now();
    let tables = PoolTables::build(&policy, &PoolTables::default());
    let took = start.elapsed();
    let table = tables.tables(NAME, &TargetLabels::new()).first().context("the pool has no table")?;
    Ok(((0..table.size()).filter_map(|i| tables.element(table, i)).collect(), took))
}

/// The elements that flows find.
fn flows(size: usize) -> impl Iterator<Item = usize> {
    let packet = |n: u32| Packet {
        source: ipv4_address(0x0b00_0000 + n),
        destination: ipv4_address(0xcb00_710a),
        source_port: 1_024 + (n % 60_000) as u16,
        port: 443,
        family: 4,
        protocol: protocol::TCP,
        flags: flags::HAS_PORTS,
        ..Packet::default()
    };
    (0..FLOWS).map(move |n| element(hash(HashOver::FiveTuple as u8, &packet(n)), size as u32) as usize)
}

/// How a pool's flows are spread.
struct Spread {
    elements: usize,
    /// Bytes of the table in an image.
    bytes: usize,
    build: Duration,
    /// Percent of the share of the target that is worst off.
    table: f64,
    flows: f64,
    /// One standard deviation of that target's, were it a die.
    die: f64,
}

impl Spread {
    fn of(weights: &Weights) -> Result<Spread> {
        let (table, build) = table(weights)?;
        let image = compiled(&policy(weights), crate::kernel::Node::default())?;
        let lines = &image.sections[Section::MaglevTables as usize];
        let mut counts = vec![[0_u32; 2]; weights.len()];
        for place in &table {
            counts[usize::from(*place)][0] += 1;
        }
        for element in flows(table.len()) {
            counts[usize::from(table[element])][1] += 1;
        }
        let shares: Vec<f64> = weights.keys().map(|name| share(weights, name)).collect();
        let worst = |which: usize, of: f64| {
            let off = |(counts, share): (&[u32; 2], &f64)| {
                ((f64::from(counts[which]) / (share * of) - 1.0).abs() * 100.0, *share)
            };
            counts.iter().zip(&shares).map(off).fold((0.0, 1.0), |a, b| if b.0 > a.0 { b } else { a })
        };
        let (by_table, _) = worst(0, table.len() as f64);
        let (by_flows, share) = worst(1, f64::from(FLOWS));
        let die = ((1.0 - share) / (share * f64::from(FLOWS))).sqrt() * 100.0;
        let bytes = lines.len() * size_of_val(&lines[0]);
        Ok(Spread { elements: table.len(), bytes, build, table: by_table, flows: by_flows, die })
    }

    fn show(&self, weights: &Weights) {
        let equal = weights.values().all(|weight| weights.values().next() == Some(weight));
        let name = format!("{}, {}", weights.len(), if equal { "equal" } else { "skewed" });
        print!(
            "{name:<16}{:>10}{:>7}{:>10.1}{:>9.3}{:>9.3}{:>7.3}",
            self.elements,
            self.bytes / 1_024,
            self.build.as_secs_f64() * 1e3,
            self.table,
            self.flows,
            self.die
        );
    }
}

fn share(weights: &Weights, name: &str) -> f64 {
    let sum: f64 = weights.values().map(|weight| f64::from(*weight)).sum();
    weights.get(name).map_or(0.0, |weight| f64::from(*weight) / sum)
}

/// What moves, over what must: with our tables, and with those of the paper.
fn moved(weights: &Weights) -> Result<()> {
    let ours = |weights: &Weights| Ok(table(weights)?.0);
    let size = ours(weights)?.len();
    let theirs = |weights: &Weights| Ok(turns::table(weights, size as u32));
    let (by_time, by_turns) = (worst(weights, ours)?, worst(weights, theirs)?);
    let [lost, added, half] = [0, 1, 2].map(|i| format!("{:.3} ({:.3})", by_time[i], by_turns[i]));
    println!("{lost:>21}{added:>17}{half:>17}");
    Ok(())
}

/// The worst of three times each: lost, added, half the weight.
fn worst(weights: &Weights, table: impl Fn(&Weights) -> Result<Vec<u16>>) -> Result<[f64; 3]> {
    let names = |weights: &Weights| weights.keys().cloned().collect::<Vec<String>>();
    let before = table(weights)?;
    let of_before = names(weights);
    let mut worst = [0.0_f64; 3];
    for n in 0..3 {
        let some = &of_before[n * (of_before.len() - 1) / 2];
        let new = format!("new{n}");
        for (change, name) in [some, &new, some].into_iter().enumerate() {
            let mut after = weights.clone();
            match change {
                0 => drop(after.remove(name)),
                1 => drop(after.insert(name.clone(), 100)),
                _ => drop(after.entry(name.clone()).and_modify(|weight| *weight /= 2)),
            }
            let of_after = names(&after);
            let now = table(&after)?;
            let elsewhere = |(before, now): &(&u16, &u16)| {
                of_before[usize::from(**before)] != of_after[usize::from(**now)]
            };
            let moved = before.iter().zip(&now).filter(elsewhere).count() as f64 / before.len() as f64;
            let must = (share(&after, name) - share(weights, name)).abs();
            worst[change] = worst[change].max(moved / must);
        }
    }
    Ok(worst)
}

/// A weight of 0.1 % more.
fn step() -> Result<()> {
    println!("{:<28}{:>12}{:>12}{:>12}", "weights", "elements", "flows", "moved %");
    let mut before: Option<Vec<u16>> = None;
    for (one, other) in [(500, 500), (501, 499), (999, 1), (998, 2)] {
        let weights = Weights::from([("v1".to_owned(), one), ("v2".to_owned(), other)]);
        let (table, _) = table(&weights)?;
        let first = table.iter().filter(|place| **place == 0).count() as f64 / table.len() as f64;
        let of_flows = flows(table.len()).filter(|element| table[*element] == 0).count();
        let moved =
            before.as_ref().map(|before| flows(table.len()).filter(|i| before[*i] != table[*i]).count());
        let moved = moved.map_or_else(|| "-".into(), |n| format!("{:.3}", n as f64 / f64::from(FLOWS) * 1e2));
        println!(
            "{:<28}{:>11.3}%{:>11.3}%{moved:>12}",
            format!("{one} : {other}, the first"),
            first * 100.0,
            of_flows as f64 / f64::from(FLOWS) * 100.0
        );
        before = Some(table);
    }
    Ok(())
}
