//! `gateway`: the daemon and the command line that talks to it.

use clap::Parser;
use gateway_user::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
