//! `cargo xtask bench`: what a packet, a change of policy and a forwarded frame cost, how exact limits
//! are and what a flood does, beside the floor and a peer measured in the same run.

use anyhow::Result;

use crate::setup::{self, Need};
use crate::shell::{self, cargo};

/// Which parts.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these parts: packet (ns a packet), apply (a change of policy), wire (frames over veth),
    /// accuracy (admitted over allowed), flood (a real client under a SYN flood), labels (a million
    /// prefixes), vocabulary (10,000 routes that match on everything), maglev (how a pool's flows are spread,
    /// and what moves), translation (packets of remembered connections, and what their targets' health costs),
    /// connections (a million translated ones, and changes under them), failover (a backend that dies under load),
    /// checks (5,000 targets asked every second), flaps (targets whose checks fail and pass by turns).
    #[arg(value_parser = ["packet", "apply", "wire", "accuracy", "flood", "labels", "vocabulary", "maglev", "translation", "connections", "failover", "checks", "flaps"])]
    parts: Vec<String>,
    /// How often each is measured, where it is measured several times.
    #[arg(long)]
    rounds: Option<u32>,
    /// How long each is measured, where it is measured over time.
    #[arg(long)]
    seconds: Option<u32>,
}

/// Sets up, builds for release, and runs the benchmarks.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Need::Build, Need::Network])?;
    println!("== bench");
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--locked", "--release", "--package", "gateway-tests"])
        .args(["--bin", "gateway-bench", "--"])
        .args(&arguments.parts);
    for (option, value) in [("--rounds", arguments.rounds), ("--seconds", arguments.seconds)] {
        if let Some(value) = value {
            command.arg(option).arg(value.to_string());
        }
    }
    shell::run(&mut command)
}
