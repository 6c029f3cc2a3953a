//! Arguments of `gateway pool`.

use super::OutputArgs;
use super::observe::parse_interval;
use clap::{Args, Subcommand};
use std::time::Duration;

/// Examples of `pool`.
pub const EXAMPLE: &str = "Example:
  gateway pool list
  gateway pool show web
  gateway pool show web --rate -o json
  gateway pool top

Pools and their targets are part of the policy: gateway policy apply.";

/// Verbs of `pool`.
#[derive(Debug, Subcommand)]
pub enum PoolVerb {
    /// List the pools of the live policy
    #[command(after_help = "Example:
  gateway pool list
  gateway pool list -o wide")]
    List(OutputArgs),
    /// Show a pool: its targets, their health, their part of the flows, and what was sent to them
    #[command(after_help = "Example:
  gateway pool show web
  gateway pool show web --rate
  gateway pool show web -o json")]
    Show(ShowPoolArgs),
    /// Watch targets: their health, what goes to them, and how they answer
    #[command(after_help = "Example:
  gateway pool top
  gateway pool top web --interval 1s
  gateway pool top --once -o json

On a terminal it redraws until Ctrl-C; elsewhere it prints once, over one interval. WEIGHT is what counts
now: by hand or else the policy's, 0 while a target drains or its checks fail, times the share that its
circuit leaves it. HANDSHAKE is the bound that half of the interval's handshakes took less than, up to
twice what it is. RESETS are of connections that had begun and of those that had not. Where a pool
remembers no connections, new ones are those whose handshake was answered.")]
    Top(PoolTopArgs),
}

/// Arguments of `pool top`.
#[derive(Debug, Args)]
pub struct PoolTopArgs {
    /// Name of the pool [default: all]
    pub name: Option<String>,
    /// Time between two looks, over which rates are taken
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Print once, then end
    #[arg(long)]
    pub once: bool,
    /// How to show them; json and yaml print once.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `pool show`.
#[derive(Debug, Args)]
pub struct ShowPoolArgs {
    /// Name of the pool
    pub name: String,
    /// Look twice, a second apart, and show what is sent now
    #[arg(long)]
    pub rate: bool,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
}
