// Builds one of this package's kernel objects from source; included by the build scripts that embed
// one.
//
// A build of its own, and not aya-build's, because that one can pass neither `-Ctarget-cpu` nor
// `--remap-path-prefix`: the object must hold v3 instructions, and be the same bytes whatever folder
// it is built in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "bpfel-unknown-none";

/// Builds `bin` and leaves it as `<bin>.bpf.o` in `OUT_DIR`.
fn build_object(bin: &str) {
    let out = PathBuf::from(var("OUT_DIR"));
    let workspace = PathBuf::from(var("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap_or_else(fail);
    for path in ["gateway-ebpf", "gateway-common", "Cargo.lock", "Cargo.toml", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }

    let target_dir = out.join("ebpf");
    let mut cargo = Command::new(var("CARGO"));
    cargo
        .current_dir(&workspace)
        .args(["build", "--package", "gateway-ebpf", "--bin", bin, "--release", "--locked"])
        .args(["--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&workspace).join("\x1f"));
    // What cargo sets for this script must not reach the build of another target.
    for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    let status = cargo.status().unwrap_or_else(fail);
    if !status.success() {
        println!("cargo::error=the kernel object did not build; `cargo xtask setup` installs what it needs");
        exit(1);
    }

    let built = target_dir.join(TARGET).join("release").join(bin);
    std::fs::copy(built, out.join(format!("{bin}.bpf.o"))).unwrap_or_else(fail);
}

fn rustflags(workspace: &Path) -> Vec<String> {
    let sysroot = Command::new(var("RUSTC")).args(["--print", "sysroot"]).output().unwrap_or_else(fail);
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let cargo_home = env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").unwrap_or_else(|_| "/root".into())));
    let arch = var("CARGO_CFG_TARGET_ARCH");
    vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        "-Ctarget-cpu=v3".into(),
        format!("--remap-path-prefix={}=gateway", workspace.display()),
        format!("--remap-path-prefix={cargo_home}=cargo"),
        format!("--remap-path-prefix={sysroot}=sysroot"),
    ]
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(fail)
}

fn fail<T>(error: impl std::fmt::Display) -> T {
    println!("cargo::error={error}");
    exit(1)
}
