//! Raw arguments and configuration file → the daemon's resolved configuration.

use super::args::{LogLevel, Metrics, Mode, OnOff, RunArgs, Settings};
use super::config_file;
use crate::daemon::{self, Config, ConfigError};
use gateway_common::abi::Line;
use std::path::PathBuf;

/// What `gateway run` runs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The daemon's part.
    pub config: Config,
    /// What is logged.
    pub log_level: LogLevel,
    /// What the kernel side logs.
    pub kernel_log_level: LogLevel,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file does not hold what it should.
    #[error("{} is not a configuration\n{rendered}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where, with the source line.
        rendered: String,
    },
    /// A value is out of range.
    #[error("`{key}` is {given}, but must be {right}")]
    Range {
        /// The key, which is also the flag's name.
        key: &'static str,
        /// What was given.
        given: String,
        /// What would be right.
        right: &'static str,
    },
    /// The whole does not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads the configuration file, lets flags win over it, fills in the defaults and checks the whole.
///
/// # Errors
/// An unreadable file, an unknown key, a value out of range.
pub fn resolve(args: RunArgs, socket: Option<PathBuf>) -> Result<Resolved, SettingsError> {
    let file = match &args.config {
        Some(path) => config_file::read(path)?,
        None => Settings::default(),
    };
    let flags = Settings { socket, ..args.settings };
    resolve_settings(over(flags, file))
}

/// Each key from `flags`, or else from `file`.
fn over(flags: Settings, file: Settings) -> Settings {
    Settings {
        interface: if flags.interface.is_empty() { file.interface } else { flags.interface },
        policy: flags.policy.or(file.policy),
        mode: flags.mode.or(file.mode),
        socket: flags.socket.or(file.socket),
        socket_group: flags.socket_group.or(file.socket_group),
        pin_dir: flags.pin_dir.or(file.pin_dir),
        state_dir: flags.state_dir.or(file.state_dir),
        metrics: flags.metrics.or(file.metrics),
        table_memory: flags.table_memory.or(file.table_memory),
        live_members: flags.live_members.or(file.live_members),
        limit_keys: flags.limit_keys.or(file.limit_keys),
        limit_connections: flags.limit_connections.or(file.limit_connections),
        connections: flags.connections.or(file.connections),
        flow_accounting: flags.flow_accounting.or(file.flow_accounting),
        flow_sets: flags.flow_sets.or(file.flow_sets),
        flow_table: flags.flow_table.or(file.flow_table),
        flow_idle: flags.flow_idle.or(file.flow_idle),
        event_sample: flags.event_sample.or(file.event_sample),
        drop_sample: flags.drop_sample.or(file.drop_sample),
        log_level: flags.log_level.or(file.log_level),
        kernel_log_level: flags.kernel_log_level.or(file.kernel_log_level),
    }
}

/// Settings with the defaults where nothing is set.
fn resolve_settings(settings: Settings) -> Result<Resolved, SettingsError> {
    let default = Config::default();
    let config = Config {
        arena_lines: arena_lines(&settings, default.arena_lines)?,
        memo_sets: memo_sets(&settings, default.memo_sets)?,
        live_members: entries("live-members", settings.live_members, default.live_members)?,
        limit_keys: entries("limit-keys", settings.limit_keys, default.limit_keys)?,
        limit_connections: entries(
            "limit-connections",
            settings.limit_connections,
            default.limit_connections,
        )?,
        connections: entries("connections", settings.connections, default.connections)?,
        flow_table_entries: settings.flow_table.unwrap_or(default.flow_table_entries),
        flow_idle_secs: settings.flow_idle.map_or(default.flow_idle_secs, |idle| idle.0.as_secs()),
        flows: settings.flow_accounting.map_or(default.flows, |switch| switch == OnOff::On),
        event_sample_rate: settings.event_sample.map_or(default.event_sample_rate, one_in),
        event_drop_sample_rate: settings.drop_sample.map_or(default.event_drop_sample_rate, one_in),
        interfaces: settings.interface,
        policy: settings.policy,
        mode: settings.mode.map_or(default.mode, daemon::Mode::from),
        socket: settings.socket.unwrap_or(default.socket),
        socket_group: settings.socket_group,
        pin_dir: settings.pin_dir.unwrap_or(default.pin_dir),
        state_dir: settings.state_dir.unwrap_or(default.state_dir),
        metrics: settings.metrics.map_or(default.metrics, |Metrics(address)| address),
    };
    if config.flow_table_entries == 0 {
        return Err(SettingsError::Range {
            key: "flow-table",
            given: "0".to_owned(),
            right: "at least 1; --flow-accounting off keeps none",
        });
    }
    if config.flow_idle_secs == 0 {
        return Err(SettingsError::Range { key: "flow-idle", given: "0s".to_owned(), right: "at least 1s" });
    }
    config.check()?;
    Ok(Resolved {
        config,
        log_level: settings.log_level.unwrap_or(LogLevel::Info),
        kernel_log_level: settings.kernel_log_level.unwrap_or(LogLevel::Off),
    })
}

/// Arena lines in the memory asked for.
fn arena_lines(settings: &Settings, default: u32) -> Result<u32, SettingsError> {
    let Some(size) = settings.table_memory else { return Ok(default) };
    let lines = size.0 / size_of::<Line>() as u64;
    u32::try_from(lines).ok().filter(|lines| (1 << 10..=1 << 26).contains(lines)).ok_or_else(|| {
        SettingsError::Range {
            key: "table-memory",
            given: format!("{} bytes", size.0),
            right: "64KiB to 4GiB; 64MiB holds some 100,000 prefixes twice",
        }
    })
}

/// Memo sets, a power of two.
fn memo_sets(settings: &Settings, default: u32) -> Result<u32, SettingsError> {
    let Some(sets) = settings.flow_sets else { return Ok(default) };
    if sets.is_power_of_two() && (1 << 6..=1 << 22).contains(&sets) {
        return Ok(sets);
    }
    Err(SettingsError::Range {
        key: "flow-sets",
        given: sets.to_string(),
        right: "a power of two from 64 to 4194304",
    })
}

/// Entries of a table, a power of two.
fn entries(key: &'static str, asked: Option<u32>, default: u32) -> Result<u32, SettingsError> {
    match asked {
        None => Ok(default),
        Some(entries) if daemon::is_table_size(entries) => Ok(entries),
        Some(entries) => {
            Err(SettingsError::Range { key, given: entries.to_string(), right: daemon::TABLE_SIZES })
        }
    }
}

/// One in `n` as a rate, 0 for none.
fn one_in(n: u32) -> f64 {
    if n == 0 { 0.0 } else { 1.0 / f64::from(n) }
}

impl From<Mode> for daemon::Mode {
    fn from(mode: Mode) -> daemon::Mode {
        match mode {
            Mode::Auto => daemon::Mode::Auto,
            Mode::Native => daemon::Mode::Native,
            Mode::Generic => daemon::Mode::Generic,
            Mode::Tc => daemon::Mode::Tc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn resolved(flags: &str, file: &str) -> Result<Resolved, SettingsError> {
        let cli = Cli::try_parse_from(flags.split_whitespace()).unwrap();
        let Command::Run(args) = cli.command else { panic!("not run: {flags}") };
        let file = config_file::parse("test", file)
            .map_err(|found| SettingsError::Parse { path: "test".into(), rendered: found.render(false) })?;
        resolve_settings(over(Settings { socket: cli.socket, ..args.settings }, file))
    }

    const FILE: &str = "
interface: [eth0, eth1]
policy: /etc/gateway/policy.yaml
mode: generic
socket: /run/a.sock
socket-group: operators
pin-dir: /sys/fs/bpf/a
state-dir: /var/lib/a
metrics: off
table-memory: 16MiB
live-members: 256
limit-keys: 512
limit-connections: 1024
connections: 4096
flow-accounting: off
flow-sets: 1024
flow-table: 5000
flow-idle: 1m
event-sample: 0
drop-sample: 4
log-level: debug
kernel-log-level: error
";

    #[test]
    fn every_key_of_the_file_counts() {
        let resolved = resolved("gateway run", FILE).unwrap();
        assert_eq!((resolved.log_level, resolved.kernel_log_level), (LogLevel::Debug, LogLevel::Error));
        assert_eq!(
            resolved.config,
            Config {
                interfaces: vec!["eth0".into(), "eth1".into()],
                policy: Some("/etc/gateway/policy.yaml".into()),
                mode: daemon::Mode::Generic,
                socket: "/run/a.sock".into(),
                socket_group: Some("operators".into()),
                pin_dir: "/sys/fs/bpf/a".into(),
                state_dir: "/var/lib/a".into(),
                metrics: None,
                arena_lines: 16 * 1024 * 1024 / 64,
                memo_sets: 1024,
                live_members: 256,
                limit_keys: 512,
                limit_connections: 1024,
                connections: 4096,
                flows: false,
                flow_table_entries: 5000,
                flow_idle_secs: 60,
                event_sample_rate: 0.0,
                event_drop_sample_rate: 0.25,
            }
        );
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flags = "gateway run --interface veth0 --policy p.yaml --mode tc --socket /s --socket-group g \
                     --pin-dir /p --state-dir /d --metrics 127.0.0.1:1 --table-memory 1MiB --flow-accounting on \
                     --live-members 512 --limit-keys 1024 --limit-connections 2048 --connections 8192 \
                     --flow-sets 64 --flow-table 7 --flow-idle 2s --event-sample 10 --drop-sample 1 --log-level warn --kernel-log-level trace";
        let resolved = resolved(flags, FILE).unwrap();
        assert_eq!((resolved.log_level, resolved.kernel_log_level), (LogLevel::Warn, LogLevel::Trace));
        assert_eq!(
            resolved.config,
            Config {
                interfaces: vec!["veth0".into()],
                policy: Some("p.yaml".into()),
                mode: daemon::Mode::Tc,
                socket: "/s".into(),
                socket_group: Some("g".into()),
                pin_dir: "/p".into(),
                state_dir: "/d".into(),
                metrics: Some(([127, 0, 0, 1], 1).into()),
                arena_lines: 16384,
                memo_sets: 64,
                live_members: 512,
                limit_keys: 1024,
                limit_connections: 2048,
                connections: 8192,
                flows: true,
                flow_table_entries: 7,
                flow_idle_secs: 2,
                event_sample_rate: 0.1,
                event_drop_sample_rate: 1.0,
            }
        );
    }

    #[test]
    fn nothing_set_is_the_default() {
        let resolved = resolved("gateway run --interface eth0", "").unwrap();
        assert_eq!((resolved.log_level, resolved.kernel_log_level), (LogLevel::Info, LogLevel::Off));
        assert_eq!(resolved.config, Config { interfaces: vec!["eth0".into()], ..Config::default() });
    }

    #[test]
    fn one_name_needs_no_list() {
        assert_eq!(resolved("gateway run", "interface: eth0").unwrap().config.interfaces, ["eth0"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |flags: &str, file: &str| resolved(flags, file).unwrap_err().to_string();
        assert_eq!(
            message("gateway run", ""),
            "no interface to govern is named: give --interface NAME, again for more"
        );
        assert_eq!(
            message("gateway run --interface a --flow-sets 100", ""),
            "`flow-sets` is 100, but must be a power of two from 64 to 4194304"
        );
        assert_eq!(
            message("gateway run --interface a --limit-keys 1000", ""),
            "`limit-keys` is 1000, but must be a power of two from 256 to 16777216"
        );
        assert_eq!(
            message("gateway run", "interface: eth0\nmetrics: localhost\n"),
            "test is not a configuration
  × `localhost` is not an address with a port; write it as 127.0.0.1:10300 or [::1]:10300, or off
   ╭─[test:2:10]
 1 │ interface: eth0
 2 │ metrics: localhost
   ·          ─────────
   ╰────
  help: `gateway run --help` tells what each key takes

1 error
"
        );
        let number = message("gateway run", "interface: eth0\nflow-sets: many\n");
        assert!(number.contains("this is not a whole number"), "{number}");
        let unknown = message("gateway run", "interface: eth0\ninterfase: eth1\n");
        assert!(unknown.contains("there is no key `interfase`"), "{unknown}");
        assert!(unknown.contains("the keys are interface, policy, mode"), "{unknown}");
    }

    #[test]
    fn help_tells_the_real_defaults() {
        use clap::CommandFactory;
        let mut command = Cli::command();
        command.build();
        let help = command.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        let default = Config::default();
        for text in [
            format!("default: {}", default.pin_dir.display()),
            format!("default: {}", default.state_dir.display()),
            format!("default: {}", default.metrics.unwrap()),
            format!("default: {}MiB", default.arena_lines as usize * size_of::<Line>() / (1 << 20)),
            format!("default: {}", default.memo_sets),
            format!("default: {}", default.live_members),
            format!("default: {}", default.limit_keys),
            format!("default: {}", default.limit_connections),
            format!("default: {}", default.connections),
            format!("default: {}", default.flow_table_entries),
            format!("default: {}m", default.flow_idle_secs / 60),
            format!("default: {}", (1.0 / default.event_sample_rate).round()),
            format!("default: {}", (1.0 / default.event_drop_sample_rate).round()),
            format!("default: {}", default.mode),
            format!("default: {}", default.socket.display()),
        ] {
            assert!(help.contains(&text), "{text} is not in\n{help}");
        }
    }
}
