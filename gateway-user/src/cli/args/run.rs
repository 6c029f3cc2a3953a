//! Arguments of `gateway run`. The same structure is read from the configuration file, so that
//! every key is a flag and every flag a key.

use super::values::{Interval, Metrics, OnOff, Size, one_or_more};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::path::PathBuf;

/// Examples of `run`.
pub const EXAMPLE: &str = "Example:
  gateway run --config /etc/gateway/gateway.yaml
  gateway run --interface eth0 --interface eth1 --policy policy.yaml
  gateway run --config gateway.yaml --mode generic       a flag wins over the file

The file holds the same keys:
  interface: [eth0, eth1]
  policy: /etc/gateway/policy.yaml
  metrics: 127.0.0.1:10300";

/// Arguments of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Configuration file (YAML); its keys are the flags below, and a flag wins over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The keys.
    #[command(flatten)]
    pub settings: Settings,
}

/// Every key of the configuration; `None` or empty where it is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Interface to govern; again for more
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "one_or_more")]
    pub interface: Vec<String>,
    /// Policy to start with where none was ever applied, and to apply again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// How to attach: auto takes native XDP, then generic XDP, then tc [default: auto]
    #[arg(long, value_enum, value_name = "auto|native|generic|tc", hide_possible_values = true)]
    pub mode: Option<Mode>,
    // A global flag on the command line, so only the file needs it here.
    /// Control socket.
    #[arg(skip)]
    pub socket: Option<PathBuf>,
    /// Group whose members may read over the control socket [default: the daemon's own]
    #[arg(long, value_name = "NAME")]
    pub socket_group: Option<String>,
    /// Where programs and maps are pinned, on a bpffs [default: /sys/fs/bpf/gateway]
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// Where names and the last policy are kept [default: /var/lib/gateway]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where metrics are served, or off [default: 127.0.0.1:10300]
    #[arg(long, value_name = "ADDR|off")]
    pub metrics: Option<Metrics>,
    /// Memory for compiled policies: old and new must fit side by side [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub table_memory: Option<Size>,
    /// Live members that labels can have, a power of two, 32 bytes each [default: 131072]
    #[arg(long, value_name = "N")]
    pub live_members: Option<u32>,
    /// Keys (sources, destinations) that all limits together can hold, a power of two, 48 bytes each
    /// [default: 262144]
    #[arg(long, value_name = "N")]
    pub limit_keys: Option<u32>,
    /// Open connections that all limits together can count, a power of two, 16 bytes each
    /// [default: 262144]
    #[arg(long, value_name = "N")]
    pub limit_connections: Option<u32>,
    /// Connections that pools with `forward: dnat` remember at once, a power of two, 144 bytes each
    /// [default: 262144]
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// Whether flows are accounted for [default: on]
    #[arg(long, value_enum, value_name = "on|off", hide_possible_values = true)]
    pub flow_accounting: Option<OnOff>,
    /// Sets of the flow memo of each CPU, two flows each, a power of two [default: 65536]
    #[arg(long, value_name = "N")]
    pub flow_sets: Option<u32>,
    /// Flows that the daemon keeps once they left the memo [default: 1000000]
    #[arg(long, value_name = "N")]
    pub flow_table: Option<usize>,
    /// Forget a flow after this long without a packet [default: 5m]
    #[arg(long, value_name = "TIME")]
    pub flow_idle: Option<Interval>,
    /// Report one packet in N as an event, 0 none [default: 1000]
    #[arg(long, value_name = "N")]
    pub event_sample: Option<u32>,
    /// Report one dropped packet in N as an event, 0 none [default: 100]
    #[arg(long, value_name = "N")]
    pub drop_sample: Option<u32>,
    /// What the daemon logs [default: info]
    #[arg(long, value_enum, value_name = "off|error|warn|info|debug|trace", hide_possible_values = true)]
    pub log_level: Option<LogLevel>,
    /// What the kernel side logs; while it is off, the log is not even compiled in [default: off]
    #[arg(long, value_enum, value_name = "off|error|warn|info|debug|trace", hide_possible_values = true)]
    pub kernel_log_level: Option<LogLevel>,
}

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The best that the driver offers
    Auto,
    /// XDP in the driver, or fail
    Native,
    /// XDP in the stack, or fail
    Generic,
    /// tc ingress alone
    Tc,
}

/// A log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Nothing
    Off,
    /// What failed
    Error,
    /// What is wrong but works
    Warn,
    /// What changes
    Info,
    /// How it is done
    Debug,
    /// Everything
    Trace,
}

impl LogLevel {
    /// The level's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
