//! The command line: raw arguments ([`args`]) → resolved configuration or request → answer → text.

mod args;
mod client;
mod command;
mod config;
mod config_file;
mod drawing;
mod output;
mod rates;
mod render;
mod target;
mod target_rates;
mod units;

pub use args::Cli;
pub use client::ClientError;
pub use config::SettingsError;

use crate::daemon::RunError;
use args::{Command, DEFAULT_SOCKET};
use client::Client;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Does what the command line says.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if code != 0 {
                output::complain(&format!("error: {error}"));
            }
            ExitCode::from(code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), CliError> {
    let request = match cli.command {
        Command::Run(args) => return command::run::run(*args, cli.socket),
        request => request,
    };
    let client = Client::new(cli.socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(async {
        match request {
            Command::Run(_) => Ok(()),
            Command::Policy(verb) => command::policy::run(&client, verb).await,
            Command::Route(verb) => command::route::run(&client, *verb).await,
            Command::Label(verb) => command::label::run(&client, verb).await,
            Command::Flow(verb) => command::flow::run(&client, verb).await,
            Command::Limit(verb) => command::limit::run(&client, verb).await,
            Command::Pool(verb) => command::pool::run(&client, verb).await,
            Command::Target(verb) => command::backend::run(&client, verb).await,
            Command::Connection(verb) => command::connection::run(&client, verb).await,
            Command::Event(verb) => command::event::run(&client, verb).await,
            Command::Status(args) => command::status::run(&client, args).await,
            Command::Detach(args) => command::detach::run(&client, &args).await,
        }
    })
}

/// Everything that can end a command early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The request failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon's configuration is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The daemon did not start, or broke down.
    #[error(transparent)]
    Daemon(Box<RunError>),
    /// A file that was named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A policy is wrong: the diagnostics with their source lines.
    #[error("{message}\n{rendered}")]
    Policy {
        /// How much is wrong.
        message: String,
        /// What, with source lines underlined.
        rendered: String,
    },
    /// The arguments make no sense together.
    #[error("{message}")]
    Usage {
        /// What would.
        message: String,
    },
    /// An answer cannot be put into the format asked for.
    #[error("cannot be shown in this format: {message}")]
    Format {
        /// Why.
        message: String,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// The runtime could not be started.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The person at the terminal said no.
    #[error("{what}")]
    Declined {
        /// What was not done.
        what: &'static str,
    },
    /// The daemon ended an answer that has no end.
    #[error("the daemon ended")]
    Ended,
}

impl CliError {
    fn format(error: impl std::fmt::Display) -> CliError {
        CliError::Format { message: error.to_string() }
    }

    /// 1 refused, 2 usage, 3 the daemon cannot be reached; 0 where the reader of a pipe has enough.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            CliError::Client(ClientError::Refused(_)) => 1,
            CliError::Client(_) | CliError::Ended => 3,
            CliError::Settings(_) | CliError::Read { .. } | CliError::Usage { .. } => 2,
            CliError::Policy { .. }
            | CliError::Daemon(_)
            | CliError::Declined { .. }
            | CliError::Format { .. }
            | CliError::Output(_)
            | CliError::Runtime(_) => 1,
        }
    }
}
