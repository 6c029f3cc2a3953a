//! The golden table put to the real object.

use super::translated_ways::PLACES;
use super::{Row, Sequence, cookies, rows, sequences};
use crate::check::{Expected, differences};
use crate::model::Member;
use crate::object::{Lab, Sizes};
use crate::packet::show::describe;
use crate::testrun::may_be_refused;
use anyhow::{Result, anyhow};
use gateway_common::abi::{Hook, TRACK_WAYS};
use gateway_user::policy::{Policy, parse};
use std::fmt::Write;

/// Between two sequences: longer than any connection stays open, and any bucket stays empty.
const PAUSE_NS: u64 = 7_200_000_000_000;

/// Between two rows.
const STEP_NS: u64 = 10_000_000;

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

/// Runs the whole table at a hook: every row, every sequence, and SYN cookies.
///
/// # Errors
/// If a policy is refused or a test run fails.
pub fn run(hook: Hook) -> Result<Outcome> {
    // So few connections that whoever opens one sees all that are long silent, and that they can be too many.
    let sizes = Sizes { connection_sets: 2, track_sets: (PLACES / TRACK_WAYS) as u32, ..Sizes::default() };
    let mut lab = Lab::with_sizes(hook, sizes)?;
    lab.stay_on_this_cpu()?;
    let mut outcome = Outcome::default();
    run_rows(&mut lab, &mut outcome)?;
    let mut now_ns = PAUSE_NS;
    for sequence in sequences() {
        now_ns += run_sequence(&mut lab, &sequence, now_ns, &mut outcome)? + PAUSE_NS;
    }
    cookies::run(&mut lab, now_ns, &mut outcome)?;
    Ok(outcome)
}

/// What judges: a policy's text, and members of its labels.
type Judge = (Option<String>, Vec<Member>);

/// Makes a row's policy and members live, unless they are.
fn prepare(lab: &mut Lab, row: &Row, live: &mut Judge) -> Result<()> {
    if (&row.policy, &row.members) == (&live.0, &live.1) {
        return Ok(());
    }
    if let Some(text) = &row.policy {
        let applied = lab.apply(&policy_of(text)?, &row.members);
        applied.map_err(|error| error.context(row.name.clone()))?;
    }
    *live = (row.policy.clone(), row.members.clone());
    Ok(())
}

/// Runs every row. Rows of one policy follow one another, those without any come first. Each is run
/// twice: classified, and from the memo.
fn run_rows(lab: &mut Lab, outcome: &mut Outcome) -> Result<()> {
    let mut rows = rows();
    rows.retain(|row| row.hook.is_none_or(|hook| hook == lab.hook));
    rows.sort_by(|a, b| (&a.policy, a.members.len()).cmp(&(&b.policy, b.members.len())));
    let mut live = Judge::default();
    for (row, i) in rows.iter().zip(1..) {
        prepare(lab, row, &mut live)?;
        // Whatever is told of a row is within what may be told.
        lab.set_time(i * STEP_NS)?;
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
    Ok(())
}

/// Runs a sequence that begins at this time; gives back how long it took, nanoseconds.
fn run_sequence(lab: &mut Lab, sequence: &Sequence, begin_ns: u64, outcome: &mut Outcome) -> Result<u64> {
    lab.forget_limits();
    let mut live = Judge::default();
    for step in &sequence.steps {
        prepare(lab, &step.row, &mut live)?;
        lab.set_time(begin_ns + step.at_ns)?;
        outcome.run += 1;
        if let Some(failure) = put(lab, &step.row, "only")? {
            // What follows depends on it.
            outcome.failed.push(failure);
            break;
        }
    }
    Ok(sequence.steps.last().map_or(0, |step| step.at_ns))
}

fn put(lab: &Lab, row: &Row, time: &str) -> Result<Option<String>> {
    let observed = lab.put(&row.frame).map_err(|error| error.context(row.name.clone()))?;
    let found = differences(lab, &Expected::from(row), &observed);
    Ok((!found.is_empty()).then(|| failure(lab, row, time, &found)))
}

/// Everything there is to tell.
pub(super) fn failure(lab: &Lab, row: &Row, time: &str, found: &[String]) -> String {
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
    text
}
