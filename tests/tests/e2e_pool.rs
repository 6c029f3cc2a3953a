//! Clients reach a service through pools, and its backends answer them directly.

use anyhow::Result;
use gateway_tests::backends::{Case, Decapsulation, Links, run};
use gateway_tests::report::report;
use gateway_user::dataplane::{AttachedMode, Mode};

fn in_mode(mode: Mode, attached: AttachedMode, links: Links) -> Result<()> {
    let case = Case { mode, attached, links, decapsulation: Decapsulation::Threads };
    let done = run(case)?;
    let name = format!("pool_{case}");
    report(&name, "pool_datagrams", done.datagrams);
    report(&name, "pool_conversations", done.conversations);
    Ok(())
}

#[test]
fn native() -> Result<()> {
    in_mode(Mode::Native, AttachedMode::Native, Links::Plain)
}

#[test]
fn native_to_backends_that_take_xdp_frames() -> Result<()> {
    in_mode(Mode::Native, AttachedMode::Native, Links::XdpFrames)
}

#[test]
fn generic() -> Result<()> {
    in_mode(Mode::Generic, AttachedMode::Generic, Links::Plain)
}

#[test]
fn tc() -> Result<()> {
    in_mode(Mode::Tc, AttachedMode::Tc, Links::Plain)
}

#[test]
fn tc_with_segments_as_one() -> Result<()> {
    in_mode(Mode::Tc, AttachedMode::Tc, Links::Segments)
}
