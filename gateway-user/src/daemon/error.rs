//! What can be refused or go wrong while the daemon governs, and while it starts and runs.

use super::ConfigError;
use crate::api::types::Diagnostic;
use crate::compile::CompileError;
use crate::dataplane;
use crate::policy::EditError;
use crate::store::{SlotError, StoreError};
use ipnet::IpNet;
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
    /// The live policy holds no such limit.
    #[error("no limit is named `{name}`")]
    NoSuchLimit {
        /// The name.
        name: String,
    },
    /// The live policy holds no such pool.
    #[error("no pool is named `{name}`")]
    NoSuchPool {
        /// The name.
        name: String,
    },
    /// The pool has no such target.
    #[error("pool `{pool}` has no target `{name}`")]
    NoSuchTarget {
        /// The pool.
        pool: String,
        /// The target.
        name: String,
    },
    /// A drain where no connection is remembered.
    #[error(
        "`{target}` cannot drain: its pool forwards by `{forward}`, which remembers no connections that could go on"
    )]
    NotTracked {
        /// The target: `web/v2`.
        target: String,
        /// How its pool forwards.
        forward: &'static str,
    },
    /// A time that connections cannot be given.
    #[error("`for_secs` is how long connections may go on while a target drains: 1 to 2592000")]
    DrainTime,
    /// Clients that are no prefix.
    #[error("{given:?} is neither an address nor a prefix")]
    InvalidClient {
        /// As it was given.
        given: String,
    },
    /// What was named is no key of the limit.
    #[error("`{key}` is no key of limit `{limit}`: {reason}")]
    InvalidKey {
        /// The limit.
        limit: String,
        /// As it was given.
        key: String,
        /// What would be one.
        reason: String,
    },
    /// A label's members cannot be changed that way.
    #[error(transparent)]
    Label(#[from] LabelError),
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

/// Why the live members of a label were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No label has this name.
    #[error("no label is named `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// What is to be taken out is not there.
    #[error("`{name}` has no live {} {}", if prefixes.len() == 1 { "member" } else { "members" }, listed(prefixes))]
    NoMembers {
        /// The label.
        name: String,
        /// The prefixes.
        prefixes: Vec<IpNet>,
        /// Whether one of them is the policy's.
        in_policy: bool,
    },
    /// Sources would carry more labels than a packet's look-up tells apart.
    #[error(
        "sources in {prefix} would carry {} labels by live members ({}), and {} are the most",
        labels.len(), labels.join(", "), gateway_common::live::MAX_LABELS
    )]
    TooMany {
        /// The sources.
        prefix: IpNet,
        /// The labels.
        labels: Vec<String>,
    },
    /// No time to live is that short or long.
    #[error("a time to live of {secs} seconds; it is 1 second to 365 days")]
    Ttl {
        /// The time to live, seconds.
        secs: u64,
    },
    /// No prefix is named.
    #[error("no prefix is named")]
    NoPrefix,
    /// Something that is no prefix.
    #[error("{text:?} is neither an address nor a prefix")]
    Prefix {
        /// It.
        text: String,
    },
}

/// The first few prefixes.
fn listed(prefixes: &[IpNet]) -> String {
    const LISTED: usize = 5;
    let texts: Vec<String> = prefixes.iter().take(LISTED).map(ToString::to_string).collect();
    let more = prefixes.len().saturating_sub(LISTED);
    if more == 0 { texts.join(", ") } else { format!("{}, and {more} more", texts.join(", ")) }
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
    /// The members of labels cannot be put in force.
    #[error("the members of labels cannot be put in force: {0}")]
    Members(#[source] Box<GovernError>),
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
