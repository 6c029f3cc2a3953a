//! The VM's root: busybox and dash, iproute2 with its libraries, the modules, and the program.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use crate::shell::{find_program, output, program};

/// With all that they depend on, in load order: those that the tests need anywhere, and then what this
/// kernel has and the machine's own need not, tunnels that unwrap what pools send, and VLANs.
const MODULES: &[&str] =
    &["veth", "sch_ingress", "cls_bpf", "ipip", "sit", "ip6_tunnel", "fou", "fou6", "8021q"];
/// The real ones: busybox's `ip` knows too little.
const TOOLS: &[&str] = &["dash", "ip", "tc", "ethtool"];

const INIT: &str = "#!/bin/dash
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mount -t tmpfs tmpfs /run
busybox mount -t bpf bpf /sys/fs/bpf
while read -r module; do busybox insmod \"$module\" || echo \"VM FAIL insmod $module\"; done </modules.list
ip link set lo up
/bin/program
echo \"VM EXIT $?\"
busybox poweroff -f
";

/// Packs the initramfs and returns its file.
pub fn build(folder: &Path, kernel: &Kernel, executable: &Path) -> Result<PathBuf> {
    let root = folder.join("initramfs");
    if root.exists() {
        fs::remove_dir_all(&root).context("cannot remove the last initramfs")?;
    }
    for name in ["bin", "proc", "sys", "dev", "run", "tmp", "modules", "etc"] {
        fs::create_dir_all(root.join(name))?;
    }
    let mut programs = vec![install_program(executable, &root)?];
    for tool in TOOLS.iter().filter(|tool| **tool != "ethtool" || find_program(tool).is_some()) {
        let from = find_program(tool).with_context(|| format!("no program {tool}"))?;
        let to = root.join("bin").join(tool);
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        programs.push(from);
    }
    install_busybox(&root)?;
    install_libraries(&programs, &root)?;
    install_modules(kernel, &root)?;
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    pack(folder, &root)
}

/// Without debug information, which only makes booting slower.
fn install_program(executable: &Path, root: &Path) -> Result<PathBuf> {
    output(program("strip", ["-o"]).arg(root.join("bin/program")).arg(executable))?;
    Ok(executable.to_owned())
}

fn install_busybox(root: &Path) -> Result<()> {
    let busybox = find_program("busybox").context("no program busybox")?;
    if !libraries(&busybox)?.is_empty() {
        bail!("{} is not linked statically: install busybox-static", busybox.display());
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    symlink("dash", root.join("bin/sh")).context("cannot link sh")
}

fn install_libraries(programs: &[PathBuf], root: &Path) -> Result<()> {
    let mut all = BTreeSet::new();
    for program in programs {
        all.extend(libraries(program)?);
    }
    for library in all {
        let to = root.join(library.strip_prefix("/").unwrap_or(&library));
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        fs::copy(&library, to).with_context(|| format!("cannot copy {}", library.display()))?;
    }
    Ok(())
}

/// The shared libraries of a program; none if it is static.
fn libraries(executable: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut ldd = program("ldd", [executable]);
    let ldd = ldd.env_remove("LD_LIBRARY_PATH").output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&ldd.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} lacks a library: {}", executable.display(), missing.trim());
    }
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect())
}

fn install_modules(kernel: &Kernel, root: &Path) -> Result<()> {
    let mut list = Vec::new();
    for module in MODULES {
        let mut modprobe = program("modprobe", ["-S", &kernel.release, "--show-depends", module, "-d"]);
        let text = output(modprobe.arg(&kernel.root))?;
        for file in text.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let file = Path::new(file.trim());
            let name = file.file_name().context("modprobe named no file")?.to_string_lossy().into_owned();
            let place = format!("/modules/{name}");
            if !list.contains(&place) {
                fs::copy(file, root.join("modules").join(&name))?;
                list.push(place);
            }
        }
    }
    fs::write(root.join("modules.list"), list.join("\n") + "\n").context("cannot write the list of modules")
}

fn pack(folder: &Path, root: &Path) -> Result<PathBuf> {
    let (names, image) = (folder.join("initramfs.names"), folder.join("initramfs.cpio"));
    fs::write(&names, output(Command::new("find").arg(".").current_dir(root))?)?;
    let mut cpio = program("cpio", ["--quiet", "-o", "-H", "newc", "-R", "0:0"]);
    cpio.current_dir(root).stdin(File::open(&names)?).stdout(File::create(&image)?);
    let status = cpio.status().context("cannot start cpio")?;
    if !status.success() {
        bail!("cpio failed: {status}");
    }
    Ok(image)
}
