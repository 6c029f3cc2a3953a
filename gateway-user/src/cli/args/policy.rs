//! Arguments of `gateway policy`.

use super::OutputArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Examples of `policy`.
pub const EXAMPLE: &str = "Example:
  gateway policy check policy.yaml
  gateway policy diff policy.yaml
  gateway policy apply policy.yaml
  gateway policy show > policy.yaml";

/// Verbs of `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Read a policy and tell everything that is wrong with it; needs no daemon
    #[command(after_help = "Example:
  gateway policy check policy.yaml
  generate-policy | gateway policy check -")]
    Check(PolicyFileArgs),
    /// Make a policy live, whole or not at all
    #[command(after_help = "Example:
  gateway policy apply policy.yaml
  gateway policy apply policy.yaml --dry-run
  gateway policy apply policy.yaml --if-generation 41    refused if somebody was faster")]
    Apply(ApplyArgs),
    /// Compare a policy with the live one
    #[command(after_help = "Example:
  gateway policy diff policy.yaml
  gateway policy diff policy.yaml -o json")]
    Diff(PolicyFileArgs),
    /// Print the live policy
    #[command(after_help = "Example:
  gateway policy show
  gateway policy show -o json")]
    Show(OutputArgs),
}

/// A policy file.
#[derive(Debug, Args)]
pub struct PolicyFileArgs {
    /// Policy file, - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to show the outcome.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `policy apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Policy file, - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
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
