//! The golden table put to the real object.

use super::{Row, rows};
use crate::check::{Expected, differences};
use crate::object::Lab;
use crate::packet::show::describe;
use crate::testrun::may_be_refused;
use anyhow::{Result, anyhow};
use gateway_user::policy::{Policy, parse};
use std::fmt::Write;

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Rows that were run.
    pub run: usize,
    /// Rows that could not be run at this hook, with the reason.
    pub skipped: Vec<(String, &'static str)>,
    /// Rows whose frame did not fare as it must, with everything there is to tell.
    pub failed: Vec<String>,
}

/// Reads a row's policy.
///
/// # Errors
/// If it is refused.
pub fn policy_of(text: &str) -> Result<Policy> {
    parse("golden", text).map_err(|diagnostics| anyhow!("{text}\n{diagnostics:?}"))
}

/// Runs every row at the laboratory's hook. Rows of one policy follow one another, those without
/// any come first. Each is run twice: classified, and from the memo.
///
/// # Errors
/// If a policy is refused or a test run fails.
pub fn run(lab: &mut Lab) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut rows = rows();
    rows.sort_by(|a, b| a.policy.cmp(&b.policy));
    let mut live = None;
    for row in &rows {
        if row.policy != live {
            if let Some(text) = &row.policy {
                lab.apply(&policy_of(text)?)?;
            }
            live.clone_from(&row.policy);
        }
        if let Some(reason) = may_be_refused(lab.hook, &row.frame)
            && lab.put(&row.frame).is_err()
        {
            outcome.skipped.push((row.name.clone(), reason));
            continue;
        }
        outcome.run += 1;
        for time in ["first", "second"] {
            if let Some(failure) = put(lab, row, time)? {
                outcome.failed.push(failure);
                break;
            }
        }
    }
    Ok(outcome)
}

fn put(lab: &Lab, row: &Row, time: &str) -> Result<Option<String>> {
    let observed = lab.put(&row.frame).map_err(|error| error.context(row.name.clone()))?;
    let found = differences(lab, &Expected::from(row), &observed);
    if found.is_empty() {
        return Ok(None);
    }
    let mut text = format!("{} ({:?}, {time} time)\n", row.name, lab.hook);
    for difference in found {
        let _ = writeln!(text, "  {difference}");
    }
    let _ = writeln!(
        text,
        "policy:\n{}\nframe: {}",
        row.policy.as_deref().unwrap_or("none"),
        describe(&row.frame)
    );
    Ok(Some(text))
}
