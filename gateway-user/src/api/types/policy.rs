//! Policies: documents, differences, diagnostics, reports of a change.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The live policy, in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicySummary {
    /// Number of the generation.
    pub generation: u32,
    /// Digest of the document, hexadecimal.
    pub digest: String,
    /// Where it came from: a file name, or "api".
    pub source: String,
    /// When it went live.
    pub applied_at_unix_secs: u64,
    /// Routes in it.
    pub routes: u32,
    /// `pass` or `drop`.
    pub default: String,
}

/// `GET /v1/policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDocument {
    /// Summary.
    #[serde(flatten)]
    pub summary: PolicySummary,
    /// The document, YAML.
    pub text: String,
}

/// The query of `PUT /v1/policy`, `POST /v1/policy/check` and `POST /v1/policy/diff`, and (without
/// `source`) of every change to a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeQuery {
    /// The generation that the change was based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_generation: Option<u32>,
    /// Do everything but make it live.
    #[serde(default)]
    pub dry_run: bool,
    /// File name for diagnostics and for `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What a change did: the answer to every write of policy or routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplyReport {
    /// The generation that is live now.
    pub generation: u32,
    /// Digest of the document, hexadecimal.
    pub digest: String,
    /// Whether anything changed, or would have; the same policy again makes no new generation.
    pub changed: bool,
    /// Nothing was made live, because `dry_run` was asked for.
    pub dry_run: bool,
    /// Against what was live before.
    pub diff: PolicyDiff,
    /// What is allowed but probably not meant: routes that can never match and the like.
    pub warnings: Vec<Diagnostic>,
    /// The warnings as text, source lines underlined; empty if there are none.
    pub rendered: String,
    /// How long each step took.
    pub timing: Timing,
}

/// `POST /v1/policy/check`: the document is valid, and compiles on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// Routes in it.
    pub routes: u32,
    /// Digest of the document, hexadecimal.
    pub digest: String,
    /// See [`ApplyReport::warnings`].
    pub warnings: Vec<Diagnostic>,
    /// The warnings as text, source lines underlined; empty if there are none.
    pub rendered: String,
    /// Arena lines (64 bytes each) that the compiled policy takes.
    pub image_lines: u64,
    /// How long each step took.
    pub timing: Timing,
}

/// `POST /v1/policy/diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffReport {
    /// The generation that it was compared with, 0 if none is live.
    pub generation: u32,
    /// The document against what is live.
    pub diff: PolicyDiff,
    /// See [`ApplyReport::warnings`].
    pub warnings: Vec<Diagnostic>,
}

/// What differs between two policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDiff {
    /// Names of new routes, in the new order.
    pub added: Vec<String>,
    /// Names of routes that are gone, in the old order.
    pub removed: Vec<String>,
    /// Names of routes that match or do something else than before.
    pub changed: Vec<String>,
    /// Names of routes whose order among those that stayed is another.
    pub moved: Vec<String>,
    /// Labels, limits, pools, `default`, `malformed` or `checksums` changed.
    pub settings_changed: bool,
    /// The two documents, canonically written (without comments), as a unified text diff, old to new;
    /// empty if they are the same.
    pub text: String,
}

/// Durations of an application, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    /// Reading and checking the document.
    pub parse_us: u64,
    /// Compiling it to tables.
    pub compile_us: u64,
    /// Writing the tables and making them live.
    pub apply_us: u64,
    /// Making it durable.
    pub store_us: u64,
    /// All together.
    pub total_us: u64,
}

/// An error or a warning in a policy document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// File name, as given by `source`.
    pub file: String,
    /// Line, from 1; 0 if it has no place.
    pub line: u32,
    /// Column, from 1, in characters; 0 if it has no place.
    pub column: u32,
    /// Characters underlined, at least 1 where there is a place.
    pub length: u32,
    /// What would be right.
    pub help: Option<String>,
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// It is accepted.
    Warning,
}
