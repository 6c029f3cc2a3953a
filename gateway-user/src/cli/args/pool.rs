//! Arguments of `gateway pool`.

use super::OutputArgs;
use clap::{Args, Subcommand};

/// Examples of `pool`.
pub const EXAMPLE: &str = "Example:
  gateway pool list
  gateway pool show web
  gateway pool show web --rate -o json

Pools and their targets are part of the policy: gateway policy apply.";

/// Verbs of `pool`.
#[derive(Debug, Subcommand)]
pub enum PoolVerb {
    /// List the pools of the live policy
    #[command(after_help = "Example:
  gateway pool list
  gateway pool list -o wide")]
    List(OutputArgs),
    /// Show a pool: its targets, their part of the flows, and what was sent to them
    #[command(after_help = "Example:
  gateway pool show web
  gateway pool show web --rate
  gateway pool show web -o json")]
    Show(ShowPoolArgs),
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
