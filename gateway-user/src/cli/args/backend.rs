//! Arguments of `gateway target`.

use super::OutputArgs;
use super::values::seconds;
use clap::{Args, Subcommand};

/// Examples of `target`.
pub const EXAMPLE: &str = "Example:
  gateway target set web/v2 --weight 20
  gateway target drain web/v2 --for 10m
  gateway target disable web/v2
  gateway target enable web/v2

What is said here stays across restarts and changes of policy, as long as the policy has the target.";

/// Verbs of `target`.
#[derive(Debug, Subcommand)]
pub enum TargetVerb {
    /// Give a target a weight in the place of the policy's
    #[command(after_help = "Example:
  gateway target set web/v2 --weight 20")]
    Set(SetTargetArgs),
    /// Send a target no new connections, and let those that it has go on
    #[command(after_help = "Example:
  gateway target drain web/v2
  gateway target drain web/v2 --for 10m
  gateway connection list --target web/v2        those that are left

Only pools that remember connections (`forward: dnat`) know new ones from others. Without --for,
connections go on to their own end. Its health is looked after meanwhile, and does not bring it new connections.")]
    Drain(DrainArgs),
    /// Send a target nothing more: its connections end
    #[command(after_help = "Example:
  gateway target disable web/v2

Its health is looked after meanwhile, and does not bring it back.")]
    Disable(NamedTargetArgs),
    /// Let a target take connections again, with the policy's weight
    #[command(after_help = "Example:
  gateway target enable web/v2

Where its pool's health is looked after its circuit closes too: it takes its whole part at once, until checks or
handshakes fail anew.")]
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
    /// Its weight: 0 to 65535; its part of the sum is its part of the flows. With 0 it takes no new ones
    #[arg(long, value_name = "N")]
    pub weight: u16,
}

/// Arguments of `target drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The target, and how to show its pool afterwards.
    #[command(flatten)]
    pub target: NamedTargetArgs,
    /// End the connections that are left after this long: 1s to 30d
    #[arg(long = "for", value_name = "TIME", value_parser = span_secs)]
    pub span: Option<u64>,
}

/// How long connections may go on, seconds.
fn span_secs(text: &str) -> Result<u64, String> {
    seconds(text, 30 * 86_400, "30d")
}
