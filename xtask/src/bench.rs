//! `cargo xtask bench`: what a packet, a change of policy and a forwarded frame cost, beside the
//! floor and a peer measured in the same run.

use anyhow::Result;

use crate::setup::{self, Need};
use crate::shell::{self, cargo};

/// Which parts.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these parts: packet (ns a packet), apply (a change of policy), wire (frames over veth).
    #[arg(value_parser = ["packet", "apply", "wire"])]
    parts: Vec<String>,
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
    shell::run(&mut command)
}
