//! Arguments of `gateway target`.

use super::OutputArgs;
use clap::{Args, Subcommand};

/// Examples of `target`.
pub const EXAMPLE: &str = "Example:
  gateway target set web/v2 --weight 20
  gateway target disable web/v2
  gateway target enable web/v2

A weight given here stays across restarts and changes of policy, as long as the policy has the target.";

/// Verbs of `target`.
#[derive(Debug, Subcommand)]
pub enum TargetVerb {
    /// Give a target a weight in the place of the policy's
    #[command(after_help = "Example:
  gateway target set web/v2 --weight 20")]
    Set(SetTargetArgs),
    /// Send a target nothing: weight 0
    #[command(after_help = "Example:
  gateway target disable web/v2")]
    Disable(NamedTargetArgs),
    /// Give a target the policy's weight back
    #[command(after_help = "Example:
  gateway target enable web/v2")]
    Enable(NamedTargetArgs),
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetName {
    /// Its pool.
    pub pool: String,
    /// Its own name.
    pub target: String,
}

fn target_name(text: &str) -> Result<TargetName, String> {
    match text.split_once('/') {
        Some((pool, target)) if !pool.is_empty() && !target.is_empty() => {
            Ok(TargetName { pool: pool.to_owned(), target: target.to_owned() })
        }
        _ => Err("write POOL/TARGET, web/v2 for example".to_owned()),
    }
}

/// Arguments of `target disable` and `target enable`.
#[derive(Debug, Args)]
pub struct NamedTargetArgs {
    /// The target: its pool's name, a slash, and its own
    #[arg(value_name = "POOL/TARGET", value_parser = target_name)]
    pub name: TargetName,
    /// How to show its pool afterwards.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `target set`.
#[derive(Debug, Args)]
pub struct SetTargetArgs {
    /// The target, and how to show its pool afterwards.
    #[command(flatten)]
    pub target: NamedTargetArgs,
    /// Its weight: 0 to 65535; its part of the sum is its part of the flows
    #[arg(long, value_name = "N")]
    pub weight: u16,
}
