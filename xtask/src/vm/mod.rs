//! `cargo xtask vm`: the oldest kernel promised loads the object, judges the golden packets as it
//! should, and unwraps what pools wrap, under qemu's software emulation.
//!
//! What runs there is gateway-tests' program `gateway-vm`, the very build that the host's tests use,
//! as the last step of an initramfs. A VM tells the truth about the verifier and about semantics,
//! never about speed.

mod initramfs;
mod kernel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::setup::{self, Need};
use crate::shell::{cargo, program, target_folder};

/// The program that runs in the VM.
const PROGRAM: &str = "gateway-vm";
/// Without hardware virtualisation, and with half a core for the two that it would have, it takes half an
/// hour.
const TIMEOUT: Duration = Duration::from_secs(2_700);

/// Sets up what it needs, then [`check`]s.
pub fn run() -> Result<()> {
    setup::ensure(&[Need::Build, Need::Vm])?;
    check().map(|_| ())
}

/// Runs the program under the kernel, and returns its last line.
pub fn check() -> Result<String> {
    println!("== vm");
    if std::env::consts::ARCH != "x86_64" {
        bail!("the VM's kernel is built for x86_64, and this is {}", std::env::consts::ARCH);
    }
    let folder = target_folder("vm")?;
    let kernel = kernel::fetch(&folder)?;
    println!("{:>10}  {}", "kernel", kernel.release);
    let image = initramfs::build(&folder, &kernel, &build_program()?)?;
    let console = folder.join("console.log");
    let start = Instant::now();
    boot(&kernel.image, &image, &console)?;
    let text: String = String::from_utf8_lossy(&fs::read(&console)?)
        .chars()
        .filter(|character| *character == '\n' || !character.is_control())
        .collect();
    match verdict(&text) {
        Ok(pass) => {
            println!("{:>10}  {} s: {pass}", "ran", start.elapsed().as_secs());
            Ok(format!("{}: {pass}", kernel.release))
        }
        Err(error) => {
            println!("{text}\n== end of {}", console.display());
            Err(error.context(format!("kernel {}", kernel.release)))
        }
    }
}

fn build_program() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--locked", "--package", "gateway-tests", "--bin", PROGRAM]);
    let messages = build::messages(&mut command)?;
    let executable = messages
        .iter()
        .filter(|message| message["target"]["name"] == PROGRAM)
        .find_map(|message| message["executable"].as_str());
    executable.map(PathBuf::from).with_context(|| format!("cargo named no program {PROGRAM}"))
}

/// Boots, and waits until the machine is off; its serial console goes to a file.
fn boot(kernel: &Path, initramfs: &Path, console: &Path) -> Result<()> {
    let log = File::create(console).with_context(|| format!("cannot write {}", console.display()))?;
    let mut qemu = program("qemu-system-x86_64", ["-accel", "tcg,thread=multi", "-M", "pc", "-cpu", "max"]);
    qemu.args(["-m", "1024", "-smp", "2", "-nographic", "-nodefaults", "-no-reboot"])
        .args(["-serial", "stdio", "-monitor", "none"])
        .args(["-append", "console=ttyS0 panic=-1 quiet rdinit=/init"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log);
    wait(&mut qemu, TIMEOUT).with_context(|| format!("the console's log is {}", console.display()))
}

/// Starts a command and waits for its end, but no longer than this.
fn wait(command: &mut Command, timeout: Duration) -> Result<()> {
    let mut child = command.spawn().context("cannot start qemu")?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(()) } else { bail!("qemu failed: {status}") };
        }
        if start.elapsed() > timeout {
            child.kill()?;
            child.wait()?;
            println!("{:>10}  the VM was stopped after {} s", "timeout", timeout.as_secs());
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The console must hold one line `VM PASS …`, no `VM FAIL …`, and an exit code of 0.
fn verdict(console: &str) -> Result<String> {
    let line = |prefix: &str| console.lines().find(|line| line.starts_with(prefix)).map(str::to_owned);
    if let Some(failure) = line("VM FAIL") {
        bail!("{failure}");
    }
    match (line("VM PASS"), line("VM EXIT ")) {
        (Some(pass), Some(exit)) if exit == "VM EXIT 0" => Ok(pass),
        (_, Some(exit)) => bail!("{PROGRAM} did not pass: {exit}"),
        (_, None) => bail!("{PROGRAM} did not end: the kernel did not boot, or crashed, or time ran out"),
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn only_a_pass_with_exit_0_passes() {
        assert_eq!(verdict("noise\nVM PASS 104\nVM EXIT 0\n").unwrap(), "VM PASS 104");
        assert!(verdict("VM PASS 104\nVM EXIT 1\n").is_err());
        assert!(verdict("VM PASS 104\n").is_err());
        assert!(verdict("VM FAIL 3: x\nVM PASS 1\nVM EXIT 0\n").is_err());
        assert!(verdict("VM EXIT 0\n").is_err());
        assert!(verdict("").is_err());
    }
}
