//! `cargo xtask setup`: finds or installs everything; safe to run again.

mod packages;
mod rust;

use anyhow::{Context, Result};

use crate::shell::{self, program, run as run_command};
pub use packages::download;
use packages::find_llvm;

/// What a subcommand needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Building the object and the binary.
    Build,
    /// Running it, and looking at what it does.
    Network,
    /// Other kernels.
    Vm,
}

/// Everything.
pub fn run() -> Result<()> {
    ensure(&[Need::Build, Need::Network, Need::Vm])
}

/// Finds or installs what these needs name.
pub fn ensure(needs: &[Need]) -> Result<()> {
    println!("== setup");
    let llvm_major = rust::llvm_major()?;
    packages::ensure(needs, llvm_major)?;
    if needs.contains(&Need::Build) {
        rust::ensure_source()?;
        rust::ensure_linker(llvm_major)?;
    }
    if needs.contains(&Need::Network) {
        ensure_bpffs()?;
    }
    Ok(())
}

/// One line for each thing that is needed.
fn say(state: &str, what: &str, detail: &str) {
    println!("{state:>10}  {what:<28} {detail}");
}

fn ensure_bpffs() -> Result<()> {
    const FOLDER: &str = "/sys/fs/bpf";
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let mounted = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(FOLDER) && fields.next() == Some("bpf")
    });
    if !mounted {
        shell::run(&mut program("mount", ["-t", "bpf", "bpf", FOLDER]))
            .context("the BPF file system is not mounted, and mounting it needs root")?;
    }
    say(if mounted { "found" } else { "mounted" }, "BPF file system", FOLDER);
    Ok(())
}

/// Says which command it runs, and runs it.
pub fn change(command: &mut std::process::Command) -> Result<()> {
    println!("{:>10}  {}", "running", shell::shown(command));
    run_command(command)
}
