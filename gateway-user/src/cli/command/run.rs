//! `gateway run`.

use super::super::CliError;
use super::super::args::{LogLevel, RunArgs};
use super::super::config::{self, Resolved};
use crate::daemon;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// What this program itself logs comes under this target.
const OWN_TARGET: &str = "gateway_user";
/// What the kernel side logs comes under targets that begin so: its modules.
const KERNEL_TARGET: &str = "gateway::";
/// The daemon compiles the kernel side's log in where this target is enabled.
const KERNEL_SWITCH: &str = "gateway::kernel";

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// A wrong configuration, or a daemon that cannot start.
pub fn run(args: RunArgs, socket: Option<PathBuf>) -> Result<(), CliError> {
    let Resolved { config, log_level, kernel_log_level } = config::resolve(args, socket)?;
    log(log_level, kernel_log_level);
    daemon::run(config).map_err(|error| CliError::Daemon(Box::new(error)))
}

/// Logs to standard error: for people on a terminal, JSON elsewhere.
fn log(level: LogLevel, kernel_level: LogLevel) {
    let switch = if kernel_level == LogLevel::Off { LevelFilter::OFF } else { LevelFilter::TRACE };
    // What the libraries say below a warning is of no use to who runs a node.
    let targets = Targets::new()
        .with_default(filter(level).min(LevelFilter::WARN))
        .with_target(OWN_TARGET, filter(level))
        .with_target(KERNEL_SWITCH, switch)
        .with_target(KERNEL_TARGET, filter(kernel_level));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if io::stderr().is_terminal() {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
