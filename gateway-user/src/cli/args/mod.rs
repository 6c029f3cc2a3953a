//! Raw arguments, as clap reads them. What they mean together is decided in [`super::config`] and in
//! the command modules.

mod backend;
mod connection;
mod decision;
mod label;
mod limit;
pub mod matching;
mod observe;
mod policy;
mod pool;
mod route;
mod run;
mod values;

pub use backend::{NamedTargetArgs, SetTargetArgs, TargetVerb};
pub use connection::{ConnectionListArgs, ConnectionVerb};
pub use label::{AddMembersArgs, DeleteMembersArgs, LabelVerb, ShowLabelArgs};
pub use limit::{LimitVerb, UnbanArgs};
pub use observe::{EventListArgs, EventVerb, FlowListArgs, FlowTopArgs, FlowVerb, FollowArgs, RateColumn};
pub use policy::{ApplyArgs, PolicyFileArgs, PolicyVerb};
pub use pool::{PoolTopArgs, PoolVerb, ShowPoolArgs};
pub use route::{AddRouteArgs, ChangeArgs, DeleteRouteArgs, RouteVerb, SetRouteArgs};
pub use run::{LogLevel, Mode, RunArgs, Settings};
pub use values::{Metrics, OnOff};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/gateway/gateway.sock";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    about = "A packet-level traffic governor: one policy decides in the kernel what each packet meets",
    after_help = "Example:
  gateway run --interface eth0 --policy policy.yaml    govern eth0
  gateway status                                       see what it does
  gateway policy apply policy.yaml                     change the policy under live traffic

Exit codes: 0 done, 1 refused, 2 usage, 3 the daemon cannot be reached.",
    disable_help_subcommand = true,
    propagate_version = false,
    max_term_width = 100
)]
pub struct Cli {
    /// The daemon's control socket [default: /run/gateway/gateway.sock]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The nouns, and the verbs that need none.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: govern interfaces by a policy
    #[command(after_help = run::EXAMPLE)]
    Run(Box<RunArgs>),
    /// Check, apply, compare and show policies
    #[command(subcommand, after_help = policy::EXAMPLE)]
    Policy(PolicyVerb),
    /// List and change single routes of the live policy
    #[command(subcommand, after_help = route::EXAMPLE)]
    Route(Box<RouteVerb>),
    /// List labels, and add and delete their live members
    #[command(subcommand, after_help = label::EXAMPLE)]
    Label(LabelVerb),
    /// Show the flows that the node forwards
    #[command(subcommand, after_help = observe::FLOW_EXAMPLE)]
    Flow(FlowVerb),
    /// Show limits, what they refuse, and whom they ban
    #[command(subcommand, after_help = limit::EXAMPLE)]
    Limit(LimitVerb),
    /// Show pools, their targets, and what was sent to them
    #[command(subcommand, after_help = pool::EXAMPLE)]
    Pool(PoolVerb),
    /// Change what pools' targets get, live
    #[command(subcommand, after_help = backend::EXAMPLE)]
    Target(TargetVerb),
    /// Show the connections of pools that translate
    #[command(subcommand, after_help = connection::EXAMPLE)]
    Connection(ConnectionVerb),
    /// Show sampled packets, what was decided for them, and alerts
    #[command(subcommand, after_help = observe::EVENT_EXAMPLE)]
    Event(EventVerb),
    /// Show the generation in force, the interfaces and what happened to their packets
    #[command(after_help = "Example:
  gateway status
  gateway status -o json")]
    Status(OutputArgs),
    /// Take the programs off the interfaces: packets flow ungoverned
    #[command(
        long_about = "Take the programs off every governed interface and unpin them. From then on packets \
                      flow ungoverned. Stopping the daemon does not do this: the kernel goes on by the last policy.",
        after_help = "Example:
  gateway detach --yes"
    )]
    Detach(DetachArgs),
}

/// How something is shown.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct OutputArgs {
    /// How to show it; all but table have exact numbers
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "table|wide|json|yaml",
        hide_possible_values = true
    )]
    pub output: Format,
}

/// Output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, human units
    #[default]
    Table,
    /// More columns, exact numbers
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Arguments of `detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;
    use clap::{Command as Clap, CommandFactory};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn clap_finds_no_fault() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        fn check(command: &mut Clap, path: &str) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example:\n"), "{path} --help has no example:\n{help}");
            assert!(help.contains(&format!("  {path}")), "{path} --help shows another verb:\n{help}");
            for verb in command.get_subcommands_mut() {
                let path = format!("{path} {}", verb.get_name());
                check(verb, &path);
            }
        }
        let mut command = Cli::command();
        command.build();
        check(&mut command, "gateway");
    }

    #[test]
    fn examples_are_right() {
        fn check(command: &mut Clap) {
            let help = command.render_long_help().to_string();
            let examples = help.split("Example:\n").nth(1).unwrap_or_default();
            for line in examples.lines().map(str::trim) {
                let Some(start) = line.find("gateway ") else { continue };
                if !(start == 0 || line[..start].ends_with("| ")) {
                    continue;
                }
                let line = line[start..].split(" | ").next().unwrap_or_default();
                let line = line.split("    ").next().unwrap_or_default();
                let line = line.split(" > ").next().unwrap_or_default();
                if let Err(error) = parse(line) {
                    panic!("{line}: {error}");
                }
            }
            command.get_subcommands_mut().for_each(check);
        }
        check(&mut Cli::command());
    }

    #[test]
    fn socket_is_global() {
        for line in
            ["gateway --socket /s status", "gateway status --socket /s", "gateway route list --socket /s"]
        {
            assert_eq!(parse(line).unwrap().socket, Some(PathBuf::from("/s")), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (line, kind) in [
            ("gateway", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("gateway route add web", ErrorKind::MissingRequiredArgument),
            ("gateway route add web --action fly", ErrorKind::ValueValidation),
            ("gateway route add web --action redirect", ErrorKind::ValueValidation),
            ("gateway route add web --action pool:", ErrorKind::ValueValidation),
            ("gateway pool show", ErrorKind::MissingRequiredArgument),
            ("gateway target set web/v2", ErrorKind::MissingRequiredArgument),
            ("gateway target set web/v2 --weight 65536", ErrorKind::ValueValidation),
            ("gateway target disable web", ErrorKind::ValueValidation),
            ("gateway route add web --action pass --mark 0", ErrorKind::ValueValidation),
            ("gateway route add web --action pass --mark 0x1ffffffff", ErrorKind::ValueValidation),
            ("gateway route add web --action pass --first --last", ErrorKind::ArgumentConflict),
            ("gateway route add web --action pass --before a --after b", ErrorKind::ArgumentConflict),
            ("gateway label add blocked", ErrorKind::MissingRequiredArgument),
            ("gateway label add blocked ::1 --ttl 0s", ErrorKind::ValueValidation),
            ("gateway label add blocked ::1 --ttl 366d", ErrorKind::ValueValidation),
            ("gateway label add blocked ::1 --ttl 10", ErrorKind::ValueValidation),
            ("gateway label delete blocked", ErrorKind::MissingRequiredArgument),
            ("gateway label delete blocked ::1 --all", ErrorKind::ArgumentConflict),
            ("gateway status -o xml", ErrorKind::InvalidValue),
            ("gateway flow list --limit 0", ErrorKind::ValueValidation),
            ("gateway flow top --interval 1ms", ErrorKind::ValueValidation),
            ("gateway flow top --networks", ErrorKind::MissingRequiredArgument),
            ("gateway flow top --sources --route web", ErrorKind::ArgumentConflict),
            ("gateway limit unban web/1", ErrorKind::MissingRequiredArgument),
            ("gateway run --mode fast", ErrorKind::InvalidValue),
            ("gateway run --table-memory much", ErrorKind::ValueValidation),
            ("gateway policy apply", ErrorKind::MissingRequiredArgument),
            ("gateway policy diff a b", ErrorKind::UnknownArgument),
        ] {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
    }

    #[test]
    fn a_route_is_read_from_flags() {
        use crate::api::types::{ActionSpec, PlainAction, Position};
        let line = "gateway route add web --to 203.0.113.10,2001:db8::/32 --to 192.0.2.1 --protocol tcp \
                    --port 80,8000-8099 --mark 0x10 --priority 6 --action redirect:eth1 --before old";
        let Command::Route(verb) = parse(line).unwrap().command else { panic!("{line}") };
        let RouteVerb::Add(args) = *verb else { panic!("{line}") };
        let matches = args.matches.spec();
        assert_eq!(matches.to.unwrap(), ["203.0.113.10", "2001:db8::/32", "192.0.2.1"]);
        assert_eq!(matches.port.unwrap(), ["80", "8000-8099"]);
        assert_eq!(matches.from, None);
        assert_eq!((args.mark, args.priority), (Some(16), Some(6)));
        assert_eq!(args.action, ActionSpec::Plain(PlainAction::Redirect("eth1".into())));
        assert_eq!(args.place.position(), Some(Position::Before("old".into())));
    }

    #[test]
    fn a_pool_is_an_action() {
        use crate::api::types::ActionSpec;
        let line = "gateway route set web --action pool:canary";
        let Command::Route(verb) = parse(line).unwrap().command else { panic!("{line}") };
        let RouteVerb::Set(args) = *verb else { panic!("{line}") };
        assert_eq!(args.action, Some(ActionSpec::pool("canary")));
    }

    #[test]
    fn only_what_is_named_is_set() {
        let line = "gateway route set web --mark none --port any";
        let Command::Route(verb) = parse(line).unwrap().command else { panic!("{line}") };
        let RouteVerb::Set(args) = *verb else { panic!("{line}") };
        let matches = args.matches.spec();
        assert_eq!((matches.port, matches.to), (Some(vec![]), None));
        assert_eq!((args.mark, args.priority, args.action), (Some(0), None, None));
        assert_eq!(args.place.position(), None);
    }
}
