//! Every golden packet through the real object, at both hooks, and through the reference model.

use anyhow::{Result, ensure};
use gateway_common::abi::Hook;
use gateway_tests::check::Expected;
use gateway_tests::golden::run::{policy_of, run};
use gateway_tests::golden::translated_ways::PLACES;
use gateway_tests::golden::{INTERFACE, Row, TARGET, TARGET_WITHOUT_XDP, rows, sequences};
use gateway_tests::model::{Seen, State, World, judge};
use gateway_tests::object::Lab;
use gateway_tests::packet::Frame;
use gateway_tests::packet::show::describe;
use gateway_tests::report::report;
use gateway_tests::ways;
use gateway_user::dataplane::Program;
use gateway_user::policy::Policy;

fn at(hook: Hook) -> Result<()> {
    let outcome = run(hook)?;
    for (row, reason) in &outcome.skipped {
        println!("not run at {}: {row}: {reason}", hook.name());
    }
    for failure in &outcome.failed {
        println!("{failure}");
    }
    let name = format!("golden_{}", hook.name());
    report(&name, "golden_packets", outcome.run);
    report(&name, "golden_skipped", outcome.skipped.len());
    ensure!(outcome.failed.is_empty(), "{} of {} rows failed", outcome.failed.len(), outcome.run);
    Ok(())
}

#[test]
fn golden_packets_at_xdp() -> Result<()> {
    at(Hook::Xdp)
}

#[test]
fn golden_packets_at_tc() -> Result<()> {
    at(Hook::TcIngress)
}

/// The laboratory as the model sees it, without one.
fn world(hook: Hook, row: &Row, policy: Option<&Policy>) -> World {
    World {
        targets: ways::targets(policy),
        own: ways::SOURCES.to_vec(),
        takes_old_tags_off: hook == Hook::Xdp,
        interface: INTERFACE.to_owned(),
        present: [INTERFACE, TARGET, TARGET_WITHOUT_XDP].map(str::to_owned).into(),
        members: row.members.clone(),
        verifies_checksums: hook == Hook::Xdp,
        connections: PLACES,
        has_sockets: hook == Hook::TcIngress,
    }
}

/// In what model and table differ about a row, if they do.
fn difference(row: &Row, hook: Hook, state: &mut State) -> Result<Option<String>> {
    let policy = match &row.policy {
        Some(text) => match policy_of(text) {
            Ok(policy) => Some(policy),
            Err(error) => return Ok(Some(format!("{}: {error}", row.name))),
        },
        None => None,
    };
    state.seen = Seen { frame: row.output(), opened: row.opened.map(str::to_owned) };
    let judged = judge(policy.as_ref(), &world(hook, row, policy.as_ref()), state, &row.frame);
    // What limits count is not in the table.
    let model = Expected { charges: None, ..Expected::of_model(&judged, &row.frame) };
    let table = Expected::from(row);
    let same = format!("{model:?}") == format!("{table:?}");
    Ok((!same).then(|| format!("{}\nmodel: {model:?}\ntable: {table:?}\n{}", row.name, describe(&row.frame))))
}

#[test]
fn the_model_agrees_with_the_table() -> Result<()> {
    let mut found = Vec::new();
    for hook in Hook::ALL {
        for row in rows().iter().filter(|row| row.hook.is_none_or(|only| only == hook)) {
            found.extend(difference(row, hook, &mut State::default())?);
        }
        for sequence in sequences() {
            let mut state = State::default();
            for step in &sequence.steps {
                state.now_ns = step.at_ns;
                found.extend(difference(&step.row, hook, &mut state)?);
            }
        }
    }
    for difference in &found {
        println!("{difference}");
    }
    ensure!(found.is_empty(), "{} rows differ", found.len());
    Ok(())
}

/// The laboratory's interface is a veth, where what is sent back is redirected; all others get XDP_TX.
#[test]
fn what_is_sent_back_leaves_by_xdp_tx_elsewhere() -> Result<()> {
    const XDP_TX: u32 = 3;
    let mut lab = Lab::new(Hook::Xdp)?;
    lab.apply(&policy_of("version: 1\nroutes:\n  - {name: all, match: {}, action: tx}\n")?, &[])?;
    let frame = Frame::new().ip("198.51.100.7", "203.0.113.10").udp(1, 2).bytes();
    let outcome = lab.dataplane.test_run(Program::Xdp, &frame, None, 1)?;
    assert_eq!(outcome.return_value, XDP_TX);
    assert_eq!([&outcome.frame[6..12], &outcome.frame[..6]].concat(), frame[..12]);
    Ok(())
}
