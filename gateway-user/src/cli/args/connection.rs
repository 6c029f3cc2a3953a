//! Arguments of `gateway connection`.

use super::OutputArgs;
use clap::{Args, Subcommand};

/// Examples of `connection`.
pub const EXAMPLE: &str = "Example:
  gateway connection list
  gateway connection list --target web/v2 --client 198.51.100.0/24";

/// Verbs of `connection`.
#[derive(Debug, Subcommand)]
pub enum ConnectionVerb {
    /// List connections, those that began last first
    #[command(after_help = "Example:
  gateway connection list
  gateway connection list --pool web --limit 20
  gateway connection list --target web/v2 -o wide
  gateway connection list --route web --client 2001:db8::/32 -o json

Pools with `forward: dnat` remember their connections; others need not. STATE is half_open while only the
client was heard, then answered, open and closing. LEFT is when it is over if nothing more is heard.")]
    List(ConnectionListArgs),
}

/// Arguments of `connection list`.
#[derive(Debug, Args)]
pub struct ConnectionListArgs {
    /// Only those that came by this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Only those to targets of this pool
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// Only those to this target
    #[arg(long, value_name = "POOL/TARGET")]
    pub target: Option<String>,
    /// Only those of clients in this prefix
    #[arg(long, value_name = "PREFIX")]
    pub client: Option<String>,
    /// Most connections to show, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// How to show them.
    #[command(flatten)]
    pub output: OutputArgs,
}
