//! Real frames over real veth pairs, in every mode, with and without peers that take XDP frames.

use anyhow::{Result, ensure};
use gateway_tests::report::report;
use gateway_tests::wire::run;
use gateway_user::dataplane::{AttachedMode, Mode};

fn in_mode(mode: Mode, wanted: AttachedMode) -> Result<()> {
    let mut sent = 0;
    for offload in [false, true] {
        let wire = run(mode, offload)?;
        ensure!(wire.mode == wanted, "governed as {}", wire.mode.name());
        sent += wire.sent;
    }
    report(&format!("wire_{}", wanted.name()), "wire_frames", sent);
    Ok(())
}

#[test]
fn native() -> Result<()> {
    in_mode(Mode::Native, AttachedMode::Native)
}

#[test]
fn automatic_is_native_on_veth() -> Result<()> {
    in_mode(Mode::Auto, AttachedMode::Native)
}

#[test]
fn generic() -> Result<()> {
    in_mode(Mode::Generic, AttachedMode::Generic)
}

#[test]
fn tc() -> Result<()> {
    in_mode(Mode::Tc, AttachedMode::Tc)
}
