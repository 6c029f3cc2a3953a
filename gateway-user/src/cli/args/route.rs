//! Arguments of `gateway route`.

use super::OutputArgs;
use crate::api::types::{ActionSpec, MatchSpec, Position};
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
  gateway route add bypass --interface eth0 --action redirect:eth1 --before web")]
    Add(AddRouteArgs),
    /// Change a route of the live policy: only what is named changes
    #[command(after_help = "Example:
  gateway route set web --mark 0x20
  gateway route set web --mark none --port any
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
    /// skb mark to set, such as 0x10
    #[arg(long, value_name = "MARK", help_heading = "Decision", value_parser = parse_number)]
    pub mark: Option<u32>,
    /// skb priority to set
    #[arg(long, value_name = "N", help_heading = "Decision", value_parser = parse_number)]
    pub priority: Option<u32>,
    /// What is done: pass, drop, tx or redirect:INTERFACE
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
    /// skb mark to set, such as 0x10; none sets no more
    #[arg(long, value_name = "MARK|none", help_heading = "Decision", value_parser = parse_setting)]
    pub mark: Option<u32>,
    /// skb priority to set; none sets no more
    #[arg(long, value_name = "N|none", help_heading = "Decision", value_parser = parse_setting)]
    pub priority: Option<u32>,
    /// What is done: pass, drop, tx or redirect:INTERFACE
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

/// Match components. All that are named must hold; within one, any of the list.
#[derive(Debug, Default, Args)]
pub struct MatchArgs {
    /// Interface that the packet arrived on
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', help_heading = "Match (`any`: not by this)")]
    pub interface: Option<Vec<String>>,
    /// Source addresses or prefixes
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',', help_heading = "Match (`any`: not by this)")]
    pub from: Option<Vec<String>>,
    /// Destination addresses or prefixes
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',', help_heading = "Match (`any`: not by this)")]
    pub to: Option<Vec<String>>,
    /// Protocols: tcp, udp, sctp, icmp, icmpv6 or a number
    #[arg(
        long,
        value_name = "PROTOCOL,…",
        value_delimiter = ',',
        help_heading = "Match (`any`: not by this)"
    )]
    pub protocol: Option<Vec<String>>,
    /// Destination ports or ranges, such as 80,443,8000-8099
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', help_heading = "Match (`any`: not by this)")]
    pub port: Option<Vec<String>>,
    /// Source ports or ranges
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', help_heading = "Match (`any`: not by this)")]
    pub source_port: Option<Vec<String>>,
}

impl MatchArgs {
    /// The components as the control API takes them: absent, or a list that is empty for `any`.
    #[must_use]
    pub fn spec(self) -> MatchSpec {
        let component = |values: Option<Vec<String>>| {
            values.map(|values| if values == ["any"] { Vec::new() } else { values })
        };
        MatchSpec {
            interface: component(self.interface),
            from: component(self.from),
            to: component(self.to),
            protocol: component(self.protocol),
            port: component(self.port),
            source_port: component(self.source_port),
        }
    }
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

/// `pass`, `drop`, `tx` or `redirect:eth1`.
fn parse_action(text: &str) -> Result<ActionSpec, String> {
    match text.split_once(':') {
        None if text == "pass" => Ok(ActionSpec::Pass),
        None if text == "drop" => Ok(ActionSpec::Drop),
        None if text == "tx" => Ok(ActionSpec::Tx),
        Some(("redirect", interface)) if !interface.is_empty() => {
            Ok(ActionSpec::Redirect(interface.to_owned()))
        }
        _ => Err("write pass, drop, tx or redirect:INTERFACE".to_owned()),
    }
}

/// A mark or a priority, decimal or 0x…; not 0, which stands for none.
fn parse_number(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        Ok(0) => Err("0 cannot be told from none; write 1 to 4294967295, or 0x1 to 0xffffffff".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write 1 to 4294967295, or 0x1 to 0xffffffff".to_owned()),
    }
}

/// The same, or `none`, which is 0 in the control API.
fn parse_setting(text: &str) -> Result<u32, String> {
    if text == "none" { Ok(0) } else { parse_number(text).map_err(|error| format!("{error}, or none")) }
}
