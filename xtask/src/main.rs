//! `cargo xtask`: everything that is done to this repository, one file a subcommand.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod environment;
mod lint;
mod setup;
mod shell;
mod signals;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Set-up, build, demo, tests and benchmarks of gateway.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Finds or installs what building, testing and the demo need; says what it found.
    Setup,
    /// Builds the binary, with the kernel object inside.
    Build(build::Arguments),
    /// A client, a gateway and two backends in network namespaces: real packets, counted by all.
    Demo(demo::Arguments),
    /// Formatting, clippy for the host and for BPF, documentation, and the house's own rules.
    Lint,
    /// Everything that must hold: set-up, build, lint, all tests, and the 6.1 kernel in a VM.
    Test,
    /// The object on Linux 6.1, the oldest kernel promised, in a VM.
    Vm,
    /// What a packet, a policy change and a forwarded frame cost, beside floor and peers.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup => setup::run(),
        Command::Build(arguments) => build::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Lint => lint::run(),
        Command::Test => test::run(),
        Command::Vm => vm::run(),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}
