//! `cargo xtask bench`: what a packet costs, what a policy change costs, how fast frames are
//! forwarded. Every figure stands beside the floor and a peer measured in the same run.

mod apply;
mod frames;
mod kernel;
mod policies;
mod testrun;
mod wire;

use anyhow::{Context, Result, bail};

/// Runs and prints.
type Part = fn() -> Result<()>;

/// Parts that can be asked for by name; without a name all are run.
const PARTS: [(&str, Part); 3] = [("packet", testrun::run), ("apply", apply::run), ("wire", wire::run)];

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        bail!("there is no part {unknown:?}; there are: packet, apply, wire");
    }
    pin_to_first_cpu().context("pinning to a CPU")?;
    for (name, part) in PARTS {
        if asked.is_empty() || asked.iter().any(|wanted| wanted == name) {
            part().with_context(|| format!("part {name}"))?;
        }
    }
    Ok(())
}

/// Everything runs on one CPU, so that the figures are of one core.
fn pin_to_first_cpu() -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(0)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?;
    Ok(())
}
