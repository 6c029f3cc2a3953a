//! Arguments of `gateway limit`.

use super::OutputArgs;
use clap::{Args, Subcommand};

/// Examples of `limit`.
pub const EXAMPLE: &str = "Example:
  gateway limit list
  gateway limit show web/1
  gateway limit unban web/1 198.51.100.7

A route's own limits are named after it and their place in its list, web/1; its SYN cookies web/syn.";

/// Verbs of `limit`.
#[derive(Debug, Subcommand)]
pub enum LimitVerb {
    /// List the limits of the live policy with what they admitted and refused
    #[command(after_help = "Example:
  gateway limit list
  gateway limit list -o wide")]
    List(OutputArgs),
    /// Show a limit, and its keys that are banned or most in debt
    #[command(after_help = "Example:
  gateway limit show tenant-a
  gateway limit show web/1 --limit 100 -o json")]
    Show(ShowLimitArgs),
    /// End the bans of keys, and fill their buckets
    #[command(after_help = "Example:
  gateway limit unban web/1 198.51.100.7
  gateway limit unban web/1 2001:db8:20::/48 203.0.113.9")]
    Unban(UnbanArgs),
}

/// Arguments of `limit show`.
#[derive(Debug, Args)]
pub struct ShowLimitArgs {
    /// Name of the limit
    pub name: String,
    /// Most keys to show, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `limit unban`.
#[derive(Debug, Args)]
pub struct UnbanArgs {
    /// Name of the limit
    pub name: String,
    /// Addresses, or prefixes of the limit's length
    #[arg(required = true, value_delimiter = ',', value_name = "KEY")]
    pub keys: Vec<String>,
    /// How to show what was done.
    #[command(flatten)]
    pub output: OutputArgs,
}
