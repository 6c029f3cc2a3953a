//! Arguments of `gateway route`.

use super::OutputArgs;
use super::decision::{parse_action, parse_limit, parse_number, parse_setting, parse_syn_cookies};
use super::matching::{MatchArgs, NotArgs};
use crate::api::types::{ActionSpec, LimitUse, Position, SynCookiesSpec};
use clap::{Args, Subcommand};

/// Examples of `route`.
pub const EXAMPLE: &str = "Example:
  gateway route list
  gateway route add web --to 203.0.113.10 --protocol tcp --port 80,443 --mark 0x10 --action pass
  gateway route set web --mark 0x20
  gateway route delete web";

/// Verbs of `route`.
#[derive(Debug, Subcommand)]
pub enum RouteVerb {
    /// List the routes in the order that decides, with their counters
    #[command(after_help = "Example:
  gateway route list
  gateway route list -o wide
  gateway route list -o json | jq '.routes[].name'")]
    List(OutputArgs),
    /// Show one route
    #[command(after_help = "Example:
  gateway route show web")]
    Show(NamedRouteArgs),
    /// Add a route to the live policy
    #[command(after_help = "Example:
  gateway route add web --to 203.0.113.10 --protocol tcp --port 80,443 --mark 0x10 --action pass
  gateway route add deny-scanner --from 198.51.100.0/24 --action drop --first
  gateway route add bypass --interface eth0 --action redirect:eth1 --before web
  gateway route add canary --from staging --action pool:web,version=v2 --before web
  gateway route add mesh --protocol tcp --to 203.0.113.11 --action proxy:15001
  gateway route add deny-blocked --from blocked --not-to 203.0.113.53 --action drop --first
  gateway route add null-scan --tcp-flags none/fin+syn+rst+psh+ack+urg --action drop --first
  gateway route add tunnel --from staging+trusted --vlan 100-199 --set-dscp af21 --action pass
  gateway route add small-pings --icmp-type 8,128 --length 0-128 --ttl 2-255 --action pass
  gateway route add whole --fragment dont --not-port 22 --dscp ef --action pass
  gateway route add dns --port 53 --limit rate=1kpps,burst=2k,per=source --action pass
  gateway route add shop --limit tenant-a --limit connections=1000,per=source --action pass
  gateway route add login --protocol tcp --port 443 --syn-cookies 2kcps,hold=10s --action pass")]
    Add(AddRouteArgs),
    /// Change a route of the live policy: only what is named changes
    #[command(after_help = "Example:
  gateway route set web --mark 0x20
  gateway route set web --mark none --port any
  gateway route set web --not-source-port 0-1023 --limit rate=50Mbit,burst=1MB,dscp=cs1
  gateway route set web --limit none --syn-cookies none --set-dscp none
  gateway route set web --action drop")]
    Set(SetRouteArgs),
    /// Delete a route from the live policy; its name keeps its counters
    #[command(after_help = "Example:
  gateway route delete web
  gateway route delete web --if-generation 41")]
    Delete(DeleteRouteArgs),
}

/// One route.
#[derive(Debug, Args)]
pub struct NamedRouteArgs {
    /// The route's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `route add`.
#[derive(Debug, Args)]
pub struct AddRouteArgs {
    /// The new route's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it matches.
    #[command(flatten)]
    pub matches: MatchArgs,
    /// What it does not match.
    #[command(flatten)]
    pub not: NotArgs,
    /// A limit of its own, such as rate=1kpps,burst=2k,per=source, or one of the policy's by name (again for
    /// more)
    #[arg(long, value_name = "LIMIT", help_heading = "Decision", value_parser = parse_limit)]
    pub limit: Vec<LimitUse>,
    /// SYN cookies: always, or from so many SYNs a second on, such as 2kcps or 2kcps,hold=10s
    #[arg(long, value_name = "WHEN", help_heading = "Decision", value_parser = parse_syn_cookies)]
    pub syn_cookies: Option<SynCookiesSpec>,
    /// DSCP to write, such as af21
    #[arg(long, value_name = "DSCP", help_heading = "Decision")]
    pub set_dscp: Option<String>,
    /// skb mark to set, such as 0x10
    #[arg(long, value_name = "MARK", help_heading = "Decision", value_parser = parse_number)]
    pub mark: Option<u32>,
    /// skb priority to set
    #[arg(long, value_name = "N", help_heading = "Decision", value_parser = parse_number)]
    pub priority: Option<u32>,
    /// What is done: pass, drop, tx, redirect:INTERFACE, pool:NAME, pool:NAME,LABEL=VALUE (only targets with
    /// that label; again for more) or proxy:PORT (a socket of this node)
    #[arg(long, value_name = "ACTION", help_heading = "Decision", value_parser = parse_action)]
    pub action: ActionSpec,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// How the change is made.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Arguments of `route set`.
#[derive(Debug, Args)]
pub struct SetRouteArgs {
    /// The route's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it matches; `any` takes a component away.
    #[command(flatten)]
    pub matches: MatchArgs,
    /// What it does not match.
    #[command(flatten)]
    pub not: NotArgs,
    /// All its limits (again for more), as for `add`; none takes them away
    #[arg(long, value_name = "LIMIT|none", help_heading = "Decision", value_parser = parse_limit)]
    pub limit: Option<Vec<LimitUse>>,
    /// SYN cookies, as for `add`; none takes them away
    #[arg(long, value_name = "WHEN|none", help_heading = "Decision", value_parser = parse_syn_cookies)]
    pub syn_cookies: Option<SynCookiesSpec>,
    /// DSCP to write; none writes none
    #[arg(long, value_name = "DSCP|none", help_heading = "Decision")]
    pub set_dscp: Option<String>,
    /// skb mark to set, such as 0x10; none sets no more
    #[arg(long, value_name = "MARK|none", help_heading = "Decision", value_parser = parse_setting)]
    pub mark: Option<u32>,
    /// skb priority to set; none sets no more
    #[arg(long, value_name = "N|none", help_heading = "Decision", value_parser = parse_setting)]
    pub priority: Option<u32>,
    /// What is done: pass, drop, tx, redirect:INTERFACE, pool:NAME, pool:NAME,LABEL=VALUE (only targets with
    /// that label; again for more) or proxy:PORT (a socket of this node)
    #[arg(long, value_name = "ACTION", help_heading = "Decision", value_parser = parse_action)]
    pub action: Option<ActionSpec>,
    /// Where it moves.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// How the change is made.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Arguments of `route delete`.
#[derive(Debug, Args)]
pub struct DeleteRouteArgs {
    /// The route's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How the change is made.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// A place among the routes.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct PlaceArgs {
    /// Right before this route
    #[arg(long, value_name = "NAME", help_heading = "Place")]
    pub before: Option<String>,
    /// Right behind this route
    #[arg(long, value_name = "NAME", help_heading = "Place")]
    pub after: Option<String>,
    /// Before all others
    #[arg(long, help_heading = "Place")]
    pub first: bool,
    /// Behind all others (so it is added unless told otherwise)
    #[arg(long, help_heading = "Place")]
    pub last: bool,
}

impl PlaceArgs {
    /// The place, if one was named.
    #[must_use]
    pub fn position(self) -> Option<Position> {
        match self {
            PlaceArgs { before: Some(name), .. } => Some(Position::Before(name)),
            PlaceArgs { after: Some(name), .. } => Some(Position::After(name)),
            PlaceArgs { first: true, .. } => Some(Position::First),
            PlaceArgs { last: true, .. } => Some(Position::Last),
            _ => None,
        }
    }
}

/// How a change of the live policy is made.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Do everything but the change
    #[arg(long)]
    pub dry_run: bool,
    /// Refuse unless this generation is still the live one
    #[arg(long, value_name = "N")]
    pub if_generation: Option<u32>,
    /// How to show the outcome.
    #[command(flatten)]
    pub output: OutputArgs,
}
