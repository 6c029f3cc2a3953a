//! `cargo xtask build`: the binary, and the proof that its object does not depend on the folder.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup::{self, Need};
use crate::shell::{self, cargo, program};

#[derive(clap::Args)]
pub struct Arguments {
    /// With optimization.
    #[arg(long)]
    release: bool,
    /// Builds the object in a second folder too, and fails if one byte differs.
    #[arg(long)]
    verify_object: bool,
}

/// What a build left behind.
pub struct Built {
    /// The binary.
    pub executable: PathBuf,
    /// The kernel object that it holds.
    pub object: PathBuf,
    /// The program that built the object: gateway-user's build script.
    object_builder: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Need::Build])?;
    let built = build(arguments.release)?;
    if arguments.verify_object {
        verify_object(&built)?;
    }
    Ok(())
}

/// Builds the binary and says where it is.
pub fn build(release: bool) -> Result<Built> {
    println!("== build{}", if release { " --release" } else { "" });
    let mut command = cargo();
    command.args(["build", "--locked", "--package", "gateway-user", "--bins"]);
    if release {
        command.arg("--release");
    }
    let messages = messages(&mut command)?;
    let user =
        |message: &&Value| message["package_id"].as_str().is_some_and(|id| id.contains("gateway-user"));
    let find = |reason: &str, key: fn(&Value) -> Option<&str>| {
        let found = messages.iter().filter(|m| m["reason"] == reason).filter(user).find_map(key);
        found.map(PathBuf::from).with_context(|| format!("cargo named no {reason} of gateway-user"))
    };
    let built = Built {
        executable: find("compiler-artifact", |message| message["executable"].as_str())?,
        object: find("build-script-executed", |message| message["out_dir"].as_str())?.join("gateway.bpf.o"),
        object_builder: find("compiler-artifact", |message| {
            (message["target"]["kind"][0] == "custom-build")
                .then(|| message["filenames"][0].as_str())
                .flatten()
        })?,
    };
    println!("{:>10}  {}", "binary", built.executable.display());
    let size = fs::metadata(&built.object).context("no kernel object")?.len();
    println!("{:>10}  {} ({size} bytes)", "object", built.object.display());
    Ok(built)
}

/// Runs cargo with its messages as JSON and returns them; errors of the compiler go to the terminal.
pub fn messages(command: &mut std::process::Command) -> Result<Vec<Value>> {
    command.args(["--message-format", "json-render-diagnostics"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut messages = Vec::new();
    for line in BufReader::new(stdout).lines() {
        messages.push(serde_json::from_str(&line?).context("cargo wrote something that is not JSON")?);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed: {status}", shell::shown(command));
    }
    Ok(messages)
}

/// Builds the object once more from a copy of the tree in another folder, by the same program, and
/// compares the bytes.
pub fn verify_object(built: &Built) -> Result<()> {
    println!("== build --verify-object");
    let folder = shell::target_folder("verify-object")?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    let (copy, out) = (folder.join("another/folder"), folder.join("out"));
    fs::create_dir_all(&out)?;
    copy_tree(&shell::root(), &copy)?;
    let mut builder = program(&built.object_builder, [] as [&str; 0]);
    builder
        .current_dir(copy.join("gateway-user"))
        .env("CARGO_MANIFEST_DIR", copy.join("gateway-user"))
        .env("OUT_DIR", &out)
        .env("CARGO", cargo().get_program())
        .env("RUSTC", "rustc")
        .env("CARGO_CFG_TARGET_ARCH", std::env::consts::ARCH)
        .env("CARGO_TERM_QUIET", "true")
        .stdout(Stdio::null());
    shell::run(&mut builder)?;
    let (first, second) = (fs::read(&built.object)?, fs::read(out.join("gateway.bpf.o"))?);
    if first != second {
        bail!(
            "the object built in {} differs from the one built in {}",
            out.display(),
            built.object.display()
        );
    }
    println!("{:>10}  {} bytes from two folders", "identical", first.len());
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, source) = (entry.file_name(), entry.path());
        if source == shell::target() || name == OsStr::new("target") || name == OsStr::new(".git") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&source, &to.join(&name))?;
        } else {
            fs::copy(&source, to.join(&name)).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
