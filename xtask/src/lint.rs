//! `cargo xtask lint`: what a change must look like.

use anyhow::Result;

use crate::setup::{self, Need};
use crate::shell::{cargo, run as run_command};
use crate::{build, tidy};

pub fn run() -> Result<()> {
    setup::ensure(&[Need::Build])?;
    check()?;
    build::verify_object(&build::build(false)?)
}

/// All but what is seen by building.
pub fn check() -> Result<()> {
    println!("== lint: the house's rules");
    tidy::check()?;
    println!("== lint: format");
    run_command(cargo().args(["fmt", "--all", "--check"]))?;
    println!("== lint: clippy");
    run_command(cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    println!("== lint: clippy for BPF");
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        "-Ctarget-cpu=v3".into(),
        "-Dwarnings".into(),
    ];
    run_command(
        cargo()
            .args(["clippy", "--locked", "--package", "gateway-ebpf", "--bins", "--release"])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")),
    )?;
    println!("== lint: documentation");
    run_command(
        cargo()
            .args(["doc", "--locked", "--workspace", "--exclude", "gateway-ebpf"])
            .args(["--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-Dwarnings"),
    )
}
