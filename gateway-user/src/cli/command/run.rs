//! `gateway run`.

use super::super::CliError;
use super::super::args::{LogLevel, RunArgs};
use super::super::config::{self, Resolved};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use tracing_subscriber::filter::LevelFilter;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// A wrong configuration, or a daemon that cannot start.
pub fn run(args: RunArgs, socket: Option<PathBuf>) -> Result<(), CliError> {
    let Resolved { config, log_level } = config::resolve(args, socket)?;
    log(log_level);
    tracing::debug!(?config, "configured");
    Err(CliError::Usage { message: "this build holds no daemon yet".to_owned() })
}

/// Logs to standard error: for people on a terminal, JSON elsewhere.
fn log(level: LogLevel) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
}
