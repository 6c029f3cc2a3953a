//! `cargo xtask bench`: what a packet costs, what a policy change costs, how fast frames are
//! forwarded, how exact limits are, what a flood does, how flows are spread. Every figure stands beside the floor and a peer
//! measured in the same run.

mod accuracy;
mod apply;
mod checks;
mod connections;
mod crowd;
mod failover;
mod flaps;
mod flood;
mod frames;
mod kernel;
mod labels;
mod maglev;
mod policies;
mod testrun;
mod translation;
mod vocabulary;
mod ways;
mod wire;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::time::Duration;

/// Runs and prints.
type Part = fn(Effort) -> Result<()>;

/// Parts that can be asked for by name; without a name all are run.
const PARTS: [(&str, Part); 13] = [
    ("packet", testrun::run),
    ("apply", apply::run),
    ("wire", wire::run),
    ("accuracy", accuracy::run),
    ("flood", flood::run),
    ("labels", labels::run),
    ("vocabulary", vocabulary::run),
    ("maglev", maglev::run),
    ("translation", translation::run),
    ("connections", connections::run),
    ("failover", failover::run),
    ("checks", checks::run),
    ("flaps", flaps::run),
];

/// How much is measured, where it is not what each part does by itself.
#[derive(Clone, Copy)]
pub struct Effort {
    rounds: Option<usize>,
    seconds: Option<u64>,
    /// CPUs that there are.
    cpus: usize,
}

impl Effort {
    /// How often what is measured at once is measured again.
    pub fn rounds(self, usual: usize) -> usize {
        self.rounds.unwrap_or(usual).max(1)
    }
    /// Refuses where there are fewer than two CPUs.
    pub fn two_cpus(self) -> Result<()> {
        ensure!(self.cpus >= 2, "this part needs two CPUs, and there is {}", self.cpus);
        Ok(())
    }
    /// How long what is measured over time is measured.
    pub fn time(self, usual: Duration) -> Duration {
        self.seconds.map_or(usual, Duration::from_secs)
    }
}

fn main() -> Result<()> {
    if crowd::take_part(&std::env::args().skip(1).collect::<Vec<_>>())? {
        return Ok(());
    }
    let (asked, effort) = arguments(std::env::args().skip(1))?;
    pin(&[0])?;
    for (name, part) in PARTS {
        if asked.is_empty() || asked.iter().any(|wanted| wanted == name) {
            part(effort).with_context(|| format!("part {name}"))?;
            pin(&[0])?;
        }
    }
    Ok(())
}

/// `[PART]… [--rounds N] [--seconds N]`.
fn arguments(mut given: impl Iterator<Item = String>) -> Result<(Vec<String>, Effort)> {
    // Asked before any thread is pinned.
    let cpus = std::thread::available_parallelism()?.get();
    let (mut parts, mut effort) = (Vec::new(), Effort { rounds: None, seconds: None, cpus });
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--rounds" | "--seconds" => {
                let value = given.next().with_context(|| format!("{argument} wants a number"))?;
                let number: u64 = value.parse().with_context(|| format!("{argument} {value}"))?;
                if argument == "--rounds" {
                    effort.rounds = Some(usize::try_from(number)?);
                } else {
                    effort.seconds = Some(number);
                }
            }
            part if PARTS.iter().any(|(name, _)| *name == part) => parts.push(argument),
            unknown => {
                let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
                bail!("there is no part {unknown:?}; there are: {}", names.join(", "));
            }
        }
    }
    Ok((parts, effort))
}

/// The calling thread, and those that it starts, run on these CPUs from now on. At first that is one, so
/// that the figures are of one core.
pub fn pin(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to CPUs {cpus:?}"))
}
