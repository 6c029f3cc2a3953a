//! Clients reach a service through pools that translate, and its backends answer by way of the gateway.

use anyhow::Result;
use gateway_tests::backends::{Case, Decapsulation, Links, nat};
use gateway_tests::report::report;
use gateway_user::dataplane::{AttachedMode, Mode};

fn in_case(mode: Mode, attached: AttachedMode, links: Links) -> Result<()> {
    let case = Case { mode, attached, links, decapsulation: Decapsulation::Threads };
    let done = nat::run(case)?;
    let name = format!("nat_{case}");
    report(&name, "nat_datagrams", done.datagrams);
    report(&name, "nat_conversations", done.conversations);
    Ok(())
}

#[test]
fn native() -> Result<()> {
    in_case(Mode::Native, AttachedMode::Native, Links::Plain)
}

#[test]
fn native_to_backends_that_take_xdp_frames() -> Result<()> {
    in_case(Mode::Native, AttachedMode::Native, Links::XdpFrames)
}

#[test]
fn generic() -> Result<()> {
    in_case(Mode::Generic, AttachedMode::Generic, Links::Plain)
}

#[test]
fn tc() -> Result<()> {
    in_case(Mode::Tc, AttachedMode::Tc, Links::Plain)
}

#[test]
fn tc_with_segments_as_one() -> Result<()> {
    in_case(Mode::Tc, AttachedMode::Tc, Links::Segments)
}

/// What a router on the client's side says of packets that are too big for it reaches the backend that sent them.
#[test]
fn behind_a_narrow_hop() -> Result<()> {
    for (mode, attached) in [(Mode::Native, AttachedMode::Native), (Mode::Tc, AttachedMode::Tc)] {
        let case = Case { mode, attached, links: Links::Plain, decapsulation: Decapsulation::Threads };
        nat::run_narrow(case)?;
        report(&format!("nat_narrow_{case}"), "nat_transfers", 6);
    }
    Ok(())
}
