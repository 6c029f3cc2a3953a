//! What can be refused or go wrong while the daemon governs, and while it starts and runs.

use super::ConfigError;
use crate::api::types::Diagnostic;
use crate::compile::CompileError;
use crate::dataplane;
use crate::policy::EditError;
use crate::store::{SlotError, StoreError};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a request to the governor was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum GovernError {
    /// The document, the route or the change is wrong.
    #[error("{what} is not valid: {errors} {}", if *errors == 1 { "error" } else { "errors" })]
    Invalid {
        /// The document or request.
        what: String,
        /// Errors among the diagnostics.
        errors: usize,
        /// All that is wrong.
        diagnostics: Vec<Diagnostic>,
        /// The same for people.
        rendered: String,
    },
    /// The policy is valid, but cannot be compiled.
    #[error("the policy cannot be compiled: {0}")]
    Compile(#[source] CompileError),
    /// A route cannot be changed that way.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A name found no slot.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The change was based on another generation.
    #[error("the change was based on generation {base}, but generation {live} is live")]
    Moved {
        /// What it was based on.
        base: u32,
        /// What is live, 0 if nothing is.
        live: u32,
    },
    /// No policy is live.
    #[error("no policy is live")]
    NoPolicy,
    /// What is live was found in the kernel, and the store does not know it.
    #[error(
        "generation {generation} is live, but what it says is not in the store: a route of it cannot be \
         changed, apply a whole policy"
    )]
    UnknownPolicy {
        /// The generation.
        generation: u32,
    },
    /// No route has this name.
    #[error("no route is named `{name}`")]
    NoSuchRoute {
        /// The name.
        name: String,
    },
    /// The generation number is used up.
    #[error("there have been 4294967295 generations: start over with `gateway detach`")]
    GenerationsUsedUp,
    /// The store failed before anything became live.
    #[error("the change could not be made durable, so nothing was changed: {0}")]
    Store(#[from] StoreError),
    /// The data plane refused.
    #[error("the kernel's tables could not be changed: {0}")]
    Dataplane(#[from] dataplane::Error),
    /// The daemon is on its way out.
    #[error("the daemon is stopping")]
    Stopping,
    /// A task of the daemon's own broke down.
    #[error("the daemon failed inside: {what}")]
    Broken {
        /// What.
        what: String,
    },
}

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data plane cannot be brought up.
    #[error(transparent)]
    Dataplane(#[from] dataplane::Error),
    /// An interface found no slot.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The policy file cannot be read.
    #[error("cannot read the policy {}: {source}", path.display())]
    PolicyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The policy to start with was refused, and no other is live.
    #[error("the policy to start with was refused: {}", in_full(.0))]
    Policy(#[source] Box<GovernError>),
    /// The control socket cannot be served.
    #[error("cannot serve the control socket {}: {reason}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The metrics cannot be served.
    #[error("cannot serve metrics at {address}: {source}")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Rights could not be given up.
    #[error("cannot give up rights that are not needed: {reason}")]
    Rights {
        /// What failed.
        reason: String,
    },
    /// The operating system refused something that every process may do.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A task of the daemon's own broke down.
    #[error("the daemon failed inside: {what}")]
    Broken {
        /// What.
        what: String,
    },
}

fn in_full(error: &GovernError) -> String {
    match error {
        GovernError::Invalid { rendered, .. } => format!("{error}\n{rendered}"),
        _ => error.to_string(),
    }
}
