//! `cargo xtask lint`: what a change must look like.

use anyhow::{Result, bail};

use crate::setup::{self, Need};
use crate::shell::{cargo, run as run_command};
use crate::{build, tidy};

pub fn run() -> Result<()> {
    setup::ensure(&[Need::Build])?;
    check()?;
    build::verify_object(&build::build(false)?)
}

type Check = fn() -> Result<()>;

/// All but what is seen by building. What fails does not keep the rest from being looked at.
pub fn check() -> Result<()> {
    let checks: [(&str, Check); 5] = [
        ("the house's rules", tidy::check),
        ("format", || run_command(cargo().args(["fmt", "--all", "--check"]))),
        ("clippy", clippy),
        ("clippy for BPF", clippy_for_bpf),
        ("documentation", documentation),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        println!("== lint: {name}");
        if let Err(error) = check() {
            eprintln!("{name}: {error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("not clean: {}", failed.join(", ")) }
}

fn clippy() -> Result<()> {
    run_command(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// The object's own code, which the host's build leaves out, with the flags that it is built with.
fn clippy_for_bpf() -> Result<()> {
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        "-Ctarget-cpu=v3".into(),
        "-Dwarnings".into(),
        // aya's macros hand the context over by value.
        "-Aclippy::needless_pass_by_value".into(),
    ];
    run_command(
        cargo()
            .args(["clippy", "--locked", "--package", "gateway-ebpf", "--bins", "--release"])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")),
    )
}

/// Of all but gateway-ebpf, whose program has the name of gateway-user's.
fn documentation() -> Result<()> {
    run_command(
        cargo()
            .args(["doc", "--locked", "--workspace", "--exclude", "gateway-ebpf"])
            .args(["--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private_intra_doc_links"),
    )
}
