//! Arguments of `gateway label`.

use super::OutputArgs;
use super::values::seconds;
use crate::daemon::TTL_SECS_MAX;
use clap::{Args, Subcommand};

/// Examples of `label`.
pub const EXAMPLE: &str = "Example:
  gateway label list
  gateway label add blocked 203.0.113.0/24 --ttl 10m
  gateway label show blocked
  gateway label delete blocked 203.0.113.0/24";

/// Verbs of `label`.
#[derive(Debug, Subcommand)]
pub enum LabelVerb {
    /// List the labels of the live policy, and those that have live members
    #[command(after_help = "Example:
  gateway label list
  gateway label list -o json | jq '.labels[].members'")]
    List(OutputArgs),
    /// Show a label's prefixes and live members
    #[command(after_help = "Example:
  gateway label show blocked
  gateway label show blocked --limit 100000 -o json")]
    Show(ShowLabelArgs),
    /// Add live members to a label: in force with the next packet, without a change of the policy
    #[command(
        long_about = "Add live members to a label. They are in force with the next packet, need no change of the \
                      policy, and survive changes of it and restarts. A time to live ends by itself, also while \
                      the daemon is down, at most 3 seconds late. All that are named are added, or none.",
        after_help = "Example:
  gateway label add blocked 203.0.113.0/24 --ttl 10m
  gateway label add staging 10.20.30.40 2001:db8:20::/48"
    )]
    Add(AddMembersArgs),
    /// Delete live members from a label: all that are named, or none
    #[command(after_help = "Example:
  gateway label delete blocked 203.0.113.0/24
  gateway label delete blocked --all")]
    Delete(DeleteMembersArgs),
}

/// Arguments of `label show`.
#[derive(Debug, Args)]
pub struct ShowLabelArgs {
    /// The label's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Most prefixes and most live members to show
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `label add`.
#[derive(Debug, Args)]
pub struct AddMembersArgs {
    /// The label's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Addresses and prefixes
    #[arg(value_name = "PREFIX", required = true)]
    pub prefixes: Vec<String>,
    /// How long they stay, 1s to 365d; until they are deleted if it is left out
    #[arg(long, value_name = "TIME", value_parser = ttl_secs)]
    pub ttl: Option<u64>,
    /// How to show the outcome.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `label delete`.
#[derive(Debug, Args)]
pub struct DeleteMembersArgs {
    /// The label's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Live members
    #[arg(value_name = "PREFIX", required_unless_present = "all", conflicts_with = "all")]
    pub prefixes: Vec<String>,
    /// Every live member; the policy's own prefixes stay
    #[arg(long)]
    pub all: bool,
    /// How to show the outcome.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A time to live, seconds.
fn ttl_secs(text: &str) -> Result<u64, String> {
    seconds(text, TTL_SECS_MAX, "365d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live() {
        for (text, secs) in [("1s", 1), ("90s", 90), ("10m", 600), ("2h", 7_200), ("365d", TTL_SECS_MAX)] {
            assert_eq!(ttl_secs(text), Ok(secs), "{text}");
        }
        for text in ["", "s", "0s", "10", "5ms", "-1s", "1.5h", "366d", "99999999999999999999d"] {
            assert!(ttl_secs(text).is_err(), "{text}");
        }
    }
}
