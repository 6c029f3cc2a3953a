//! Tests of the language as a whole; the parts have theirs beside them.

mod edits;
mod errors;
mod generate;
mod health;
mod health_errors;
mod health_texts;
mod label_files;
mod limit_errors;
mod limits;
mod match_errors;
mod pools;
mod round_trip;
mod selecting;
mod size;
mod translation;

use super::{Policy, parse};

fn policy(text: &str) -> Policy {
    match parse("policy.yaml", text) {
        Ok(policy) => policy,
        Err(diagnostics) => panic!("{}", diagnostics.render(false)),
    }
}

/// A policy of these routes.
fn routes(lines: &str) -> Policy {
    policy(&format!("version: 1\nroutes:\n{lines}"))
}
