//! Every golden packet through the real object, at both hooks, and through the reference model.

use anyhow::{Result, ensure};
use gateway_common::abi::Hook;
use gateway_tests::check::Expected;
use gateway_tests::golden::run::{policy_of, run};
use gateway_tests::golden::{INTERFACE, TARGET, TARGET_WITHOUT_XDP, rows};
use gateway_tests::model::{World, judge};
use gateway_tests::object::Lab;
use gateway_tests::packet::Frame;
use gateway_tests::packet::show::describe;
use gateway_tests::report::report;
use gateway_user::dataplane::Program;

fn at(hook: Hook) -> Result<()> {
    let outcome = run(&mut Lab::new(hook)?)?;
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

#[test]
fn the_model_agrees_with_the_table() -> Result<()> {
    let present = [INTERFACE, TARGET, TARGET_WITHOUT_XDP].map(str::to_owned).into();
    let world = World { interface: INTERFACE.to_owned(), present };
    for row in rows() {
        let policy = row.policy.as_deref().map(policy_of).transpose()?;
        let judged = judge(policy.as_ref(), &world, &row.frame);
        let (model, table) = (Expected::of_model(&judged, &row.frame), Expected::from(&row));
        let same = format!("{model:?}") == format!("{table:?}");
        ensure!(same, "{}\nmodel: {model:?}\ntable: {table:?}\n{}", row.name, describe(&row.frame));
    }
    Ok(())
}

/// The laboratory's interface is a veth, where what is sent back is redirected; all others get XDP_TX.
#[test]
fn what_is_sent_back_leaves_by_xdp_tx_elsewhere() -> Result<()> {
    const XDP_TX: u32 = 3;
    let mut lab = Lab::new(Hook::Xdp)?;
    lab.apply(&policy_of("version: 1\nroutes:\n  - {name: all, match: {}, action: tx}\n")?)?;
    let frame = Frame::new().ip("198.51.100.7", "203.0.113.10").udp(1, 2).bytes();
    let outcome = lab.dataplane.test_run(Program::Xdp, &frame, None, 1)?;
    assert_eq!(outcome.return_value, XDP_TX);
    assert_eq!([&outcome.frame[6..12], &outcome.frame[..6]].concat(), frame[..12]);
    Ok(())
}
