//! For a virtual machine with another kernel: loads the object, runs every golden packet at both
//! hooks, compares random ones with the model, sends real frames in every mode, has clients served through
//! pools by backends whose kernel unwraps what arrives, and says how it went in one line:
//! `VM PASS <checks>` or `VM FAIL <what>`.

use anyhow::{Context, Result, ensure};
use gateway_common::abi::Hook;
use gateway_tests::backends::{self, Case, Decapsulation, Links, nat};
use gateway_tests::compare::{self, Compared};
use gateway_tests::golden::run::{Outcome, run};
use gateway_tests::random::seed;
use gateway_tests::wire;
use gateway_user::dataplane::{AttachedMode, Mode};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

/// Pairs of a policy and a packet that each hook compares.
const PAIRS: usize = 240;

/// How real frames are governed, and whether devices may leave work undone. Each loads the object anew, which takes
/// most of the time here.
const WIRES: [(Mode, bool); 4] =
    [(Mode::Native, false), (Mode::Native, true), (Mode::Generic, false), (Mode::Tc, true)];

/// How pools are governed, what the links around the gateway do, and whether pools that translate are tried too.
const POOLS: [(Mode, AttachedMode, Links, bool); 5] = [
    (Mode::Native, AttachedMode::Native, Links::Plain, true),
    (Mode::Native, AttachedMode::Native, Links::Tagged, false),
    (Mode::Generic, AttachedMode::Generic, Links::Tagged, true),
    (Mode::Tc, AttachedMode::Tc, Links::Segments, true),
    (Mode::Tc, AttachedMode::Tc, Links::Tagged, false),
];

fn main() -> ExitCode {
    match all() {
        Ok(checks) => {
            println!("VM PASS {checks}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("VM FAIL {}", format!("{error:#}").replace('\n', " | "));
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; gives back how many packets were checked.
fn all() -> Result<u64> {
    at();
    let mut checks = 0;
    for hook in Hook::ALL {
        let outcome = golden(hook).with_context(|| format!("golden packets at {}", hook.name()))?;
        let skipped = outcome.skipped.len();
        println!("golden packets at {}: {} run, {skipped} not{}", hook.name(), outcome.run, at());
        for (row, reason) in &outcome.skipped {
            println!("not run: {row}: {reason}");
        }
        for failure in &outcome.failed {
            println!("{failure}");
        }
        ensure!(
            outcome.failed.is_empty(),
            "{} golden packets failed at {}",
            outcome.failed.len(),
            hook.name()
        );
        checks += outcome.run as u64;
        let seed = seed();
        println!("random packets at {}: seed {seed:#x}{}", hook.name(), at());
        let compared = random(hook, seed).with_context(|| format!("random packets at {}", hook.name()))?;
        for failure in &compared.failures {
            println!("{failure}");
        }
        ensure!(compared.failures.is_empty(), "random packets at {} differ", hook.name());
        checks += compared.pairs as u64;
    }
    for (mode, offload) in WIRES {
        let done = wire::run(mode, offload).with_context(|| format!("real frames, {mode:?}, {offload}"))?;
        println!("real frames, {}, offload {offload}: {} sent{}", done.mode.name(), done.sent, at());
        checks += done.sent;
    }
    for (mode, attached, links, translates) in POOLS {
        let case = Case { mode, attached, links, decapsulation: Decapsulation::Kernel };
        let wrapped = backends::run(case).with_context(|| format!("wrapped, {case}"))?;
        println!("wrapped, {case}: {wrapped:?}{}", at());
        checks += wrapped.datagrams + wrapped.conversations;
        if translates {
            let translated = nat::run(case).with_context(|| format!("translated, {case}"))?;
            println!("translated, {case}: {translated:?}{}", at());
            checks += translated.datagrams + translated.conversations;
        }
    }
    Ok(checks)
}

/// When that was.
fn at() -> String {
    format!(", after {} s", START.get_or_init(Instant::now).elapsed().as_secs())
}

static START: OnceLock<Instant> = OnceLock::new();

/// On a thread of its own, since a laboratory keeps its thread in its namespace.
fn golden(hook: Hook) -> Result<Outcome> {
    let thread = std::thread::spawn(move || run(hook));
    thread.join().map_err(|_| anyhow::anyhow!("panicked"))?
}

/// The same way.
fn random(hook: Hook, seed: u64) -> Result<Compared> {
    let thread = std::thread::spawn(move || compare::run(hook, seed, PAIRS));
    thread.join().map_err(|_| anyhow::anyhow!("panicked"))?
}
