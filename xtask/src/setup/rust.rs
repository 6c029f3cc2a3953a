//! The Rust side: core's source for the BPF target, and the linker.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{change, find_llvm, say};
use crate::shell::{cargo, find_program, output, program};

/// The linker's version: bound to rustc's version by LLVM's.
const LINKER_VERSION: &str = "0.13.0";

/// The major version of LLVM that rustc was built with.
pub fn llvm_major() -> Result<u32> {
    let version = output(&mut rustc(&["-vV"]))?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = llvm.and_then(|version| version.split('.').next()).and_then(|major| major.parse().ok());
    let major = major.with_context(|| format!("`rustc -vV` names no LLVM version:\n{version}"))?;
    say("found", "rustc", version.lines().next().unwrap_or_default());
    Ok(major)
}

fn rustc(arguments: &[&str]) -> std::process::Command {
    let mut rustc = program("rustc", arguments);
    rustc.current_dir(crate::shell::root());
    rustc
}

/// The source of `core`, which is built for the BPF target.
pub fn ensure_source() -> Result<()> {
    let sysroot = output(&mut rustc(&["--print", "sysroot"]))?;
    let source = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    let was_there = source.exists();
    if !was_there {
        let Some(rustup) = find_program("rustup") else {
            bail!("rust-src is missing in {} and there is no rustup to add it", sysroot.trim());
        };
        let mut command = program(rustup, ["component", "add", "rust-src"]);
        change(command.current_dir(crate::shell::root()))?;
    }
    if !source.exists() {
        bail!("rust-src was added, but {} is not there", source.display());
    }
    say(if was_there { "found" } else { "installed" }, "rust-src", &source.display().to_string());
    Ok(())
}

/// bpf-linker, of the right version and linked with the right LLVM.
pub fn ensure_linker(llvm_major: u32) -> Result<()> {
    let was_there = linker_fits(llvm_major);
    if !was_there {
        let prefix = find_llvm(llvm_major).with_context(|| format!("LLVM {llvm_major} is not there"))?;
        let feature = format!("llvm-{llvm_major}");
        let mut install = cargo();
        install
            .args(["install", "--force", "--locked", "bpf-linker", "--version", LINKER_VERSION])
            .args(["--no-default-features", "--features", &feature])
            .env("LLVM_PREFIX", prefix);
        change(&mut install)?;
        if !linker_fits(llvm_major) {
            bail!("bpf-linker was installed, but is not in PATH; add cargo's bin folder to it");
        }
    }
    let place = find_program("bpf-linker").unwrap_or_default();
    let detail = format!("{LINKER_VERSION} for LLVM {llvm_major}, {}", place.display());
    say(if was_there { "found" } else { "installed" }, "bpf-linker", &detail);
    Ok(())
}

fn linker_fits(llvm_major: u32) -> bool {
    let Some(linker) = find_program("bpf-linker") else { return false };
    let version = output(&mut program(&linker, ["--version"])).unwrap_or_default();
    let libraries = output(program("ldd", [&linker]).env_remove("LD_LIBRARY_PATH")).unwrap_or_default();
    let other_llvm = libraries.contains("libLLVM")
        && !libraries.contains(&format!("libLLVM.so.{llvm_major}"))
        && !libraries.contains(&format!("libLLVM-{llvm_major}.so"));
    version.split_whitespace().last() == Some(LINKER_VERSION) && !other_llvm
}
