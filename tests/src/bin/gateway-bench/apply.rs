//! What a change of policy costs: compiling, and from there to the packet that is judged by it.

use crate::Effort;
use crate::kernel::{Gateway, Node, compiled};
use crate::policies;
use anyhow::Result;
use std::time::{Duration, Instant};

const TIMES: usize = 7;

/// What it is called, the policy of a size, and the size.
type Case = (&'static str, fn(u32) -> String, u32);

pub fn run(effort: Effort) -> Result<()> {
    let times = effort.rounds(TIMES);
    println!("apply: ms, median of {times} changes one after another; live = from the compiled image to the");
    println!("       flip, and the grace period of the change before where its lines are needed\n");
    println!("{:<28}{:>10}{:>10}{:>10}", "", "read", "compile", "live");
    let cases: [Case; 4] = [
        ("10 routes", policies::routes, 10),
        ("1,000 routes", policies::routes, 1_000),
        ("10,000 routes", policies::routes, 10_000),
        ("100,000 from prefixes", policies::prefixes, 100_000),
    ];
    for (what, policy, count) in cases {
        let mut gateway = Gateway::load(true)?;
        // One entry more or less each time: the tables differ, and cannot be shared.
        let texts = [policy(count), policy(count - 1)];
        let mut spent = [const { Vec::new() }; 3];
        for n in 0..times {
            let text = &texts[n % 2];
            let start = Instant::now();
            let policy = policies::read(text)?;
            spent[0].push(start.elapsed());
            let start = Instant::now();
            let image = compiled(&policy, Node::default())?;
            spent[1].push(start.elapsed());
            let start = Instant::now();
            gateway.dataplane.apply(&image, [n as u64, 0, 0, 0], 0)?;
            spent[2].push(start.elapsed());
        }
        println!(
            "{what:<28}{:>10.1}{:>10.1}{:>10.1}",
            median(&mut spent[0]),
            median(&mut spent[1]),
            median(&mut spent[2])
        );
    }
    println!();
    Ok(())
}

/// Milliseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
