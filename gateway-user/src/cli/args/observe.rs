//! Arguments of `gateway flow` and `gateway event`.

use super::OutputArgs;
use super::values::Interval;
use crate::api::types;
use clap::{Args, Subcommand, ValueEnum};
use std::time::Duration;

/// Examples of `flow`.
pub const FLOW_EXAMPLE: &str = "Example:
  gateway flow list --route web
  gateway flow top --by packets
  gateway flow top --sources";

/// Examples of `event`.
pub const EVENT_EXAMPLE: &str = "Example:
  gateway event list
  gateway event follow -o json | jq 'select(.verdict == \"drop\")'";

/// Verbs of `flow`.
#[derive(Debug, Subcommand)]
pub enum FlowVerb {
    /// List flows
    #[command(after_help = "Example:
  gateway flow list
  gateway flow list --route web --limit 20 --by packets
  gateway flow list -o json --limit 10000")]
    List(FlowListArgs),
    /// Watch the largest flows, with their rates
    #[command(after_help = "Example:
  gateway flow top
  gateway flow top --by packets --interval 1s
  gateway flow top --sources --by packets
  gateway flow top --sources --networks --once
  gateway flow top --once > flows.txt

On a terminal it redraws until Ctrl-C; elsewhere it prints once, over one interval. With --sources it
shows who sent most in the last one to two minutes, by a sketch of fixed size: nobody sent more than it
says, nor less by more than 1/4096 of all that was sent.")]
    Top(FlowTopArgs),
}

/// Arguments of `flow list`.
#[derive(Debug, Args)]
pub struct FlowListArgs {
    /// Most flows to show, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Only flows that this route decided
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// The order, the greatest first
    #[arg(long, value_enum, value_name = "bytes|packets|last", hide_possible_values = true, default_value_t = FlowColumn::Last)]
    pub by: FlowColumn,
    /// How to show them.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `flow top`.
#[derive(Debug, Args)]
pub struct FlowTopArgs {
    /// The order, the fastest first
    #[arg(long, value_enum, value_name = "bytes|packets", hide_possible_values = true, default_value_t = RateColumn::Bytes)]
    pub by: RateColumn,
    /// Time between two looks, over which rates are taken
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Most flows to show [default: what fits the terminal, elsewhere 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: Option<u32>,
    /// Only flows that this route decided
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Watch source addresses, and not single flows
    #[arg(long, conflicts_with = "route")]
    pub sources: bool,
    /// Watch source networks: /24 of IPv4, /48 of IPv6
    #[arg(long, requires = "sources")]
    pub networks: bool,
    /// Print once, then end
    #[arg(long)]
    pub once: bool,
    /// How to show them; json and yaml print once.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What flows are listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlowColumn {
    /// Bytes
    Bytes,
    /// Packets
    Packets,
    /// The last packet
    Last,
}

impl From<FlowColumn> for types::FlowOrder {
    fn from(column: FlowColumn) -> types::FlowOrder {
        match column {
            FlowColumn::Bytes => types::FlowOrder::Bytes,
            FlowColumn::Packets => types::FlowOrder::Packets,
            FlowColumn::Last => types::FlowOrder::Last,
        }
    }
}

/// What the top is taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RateColumn {
    /// Bytes
    Bytes,
    /// Packets
    Packets,
}

/// Verbs of `event`.
#[derive(Debug, Subcommand)]
pub enum EventVerb {
    /// List the latest sampled packets and alerts
    #[command(after_help = "Example:
  gateway event list
  gateway event list --alerts
  gateway event list --limit 1000 -o json")]
    List(EventListArgs),
    /// Print sampled packets and alerts as they come, one a line
    #[command(after_help = "Example:
  gateway event follow
  gateway event follow --alerts
  gateway event follow -o json | jq 'select(.verdict == \"drop\") | .source'")]
    Follow(FollowArgs),
}

/// Arguments of `event list`.
#[derive(Debug, Args)]
pub struct EventListArgs {
    /// Most events to show, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Alerts alone: limits reached, bans, attacks, and what became of targets
    #[arg(long)]
    pub alerts: bool,
    /// How to show them.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `event follow`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// End after this many
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Alerts alone: limits reached, bans, attacks, and what became of targets
    #[arg(long)]
    pub alerts: bool,
    /// How to show them; json is an object a line.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A time between two looks, at least 100 ms.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    let Interval(interval) = text.parse()?;
    if interval < Duration::from_millis(100) {
        return Err("at least 100ms".to_owned());
    }
    Ok(interval)
}
