//! System packages: what shows that one is there, and how it is installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::{Need, change, say};
use crate::shell::{find_program, output, program};

/// How one sees that something is installed.
enum Probe {
    Program(&'static str),
    File(&'static str),
    /// A file in LLVM's own folder.
    Llvm(&'static str),
}

struct Requirement {
    need: Need,
    what: &'static str,
    probe: Probe,
    /// Debian's package; `{}` stands for LLVM's major version.
    package: &'static str,
}

const fn tool(need: Need, name: &'static str, package: &'static str) -> Requirement {
    Requirement { need, what: name, probe: Probe::Program(name), package }
}

const fn library(what: &'static str, file: &'static str, package: &'static str) -> Requirement {
    Requirement { need: Need::Build, what, probe: Probe::File(file), package }
}

const fn llvm(what: &'static str, file: &'static str, package: &'static str) -> Requirement {
    Requirement { need: Need::Build, what, probe: Probe::Llvm(file), package }
}

const REQUIREMENTS: &[Requirement] = &[
    tool(Need::Build, "c++", "build-essential"),
    llvm("LLVM, tools", "bin/llvm-strip", "llvm-{}"),
    llvm("LLVM, headers", "include/llvm-c/Core.h", "llvm-{}-dev"),
    llvm("LLVM, Polly", "lib/libPolly.a", "libpolly-{}-dev"),
    library("zlib, headers", "/usr/include/zlib.h", "zlib1g-dev"),
    library("zstd, headers", "/usr/include/zstd.h", "libzstd-dev"),
    library("libxml2, headers", "/usr/include/libxml2/libxml/parser.h", "libxml2-dev"),
    tool(Need::Network, "ip", "iproute2"),
    tool(Need::Network, "tc", "iproute2"),
    tool(Need::Network, "ethtool", "ethtool"),
    tool(Need::Network, "nft", "nftables"),
    tool(Need::Network, "iperf3", "iperf3"),
    tool(Need::Network, "ping", "iputils-ping"),
    tool(Need::Network, "tcpdump", "tcpdump"),
    tool(Need::Network, "curl", "curl"),
    tool(Need::Network, "python3", "python3"),
    tool(Need::Network, "bpftool", BPFTOOL),
    tool(Need::Network, "promtool", PROMTOOL),
    tool(Need::Vm, "qemu-system-x86_64", "qemu-system-x86"),
    tool(Need::Vm, "busybox", "busybox-static"),
    tool(Need::Vm, "dash", "dash"),
    tool(Need::Vm, "modprobe", "kmod"),
    tool(Need::Vm, "cpio", "cpio"),
    tool(Need::Vm, "ip", "iproute2"),
    Requirement {
        need: Need::Vm,
        what: "Debian's archive keys",
        probe: Probe::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        package: "debian-archive-keyring",
    },
];

/// Ubuntu keeps it in another package.
const BPFTOOL: &str = "bpftool";
const BPFTOOL_UBUNTU: &str = "linux-tools-common";
/// Only promtool is taken out of it: installing the package would start a server.
const PROMTOOL: &str = "prometheus";

/// Finds or installs the packages that these needs name.
pub fn ensure(needs: &[Need], llvm_major: u32) -> Result<()> {
    let mut missing = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for requirement in REQUIREMENTS.iter().filter(|r| needs.contains(&r.need)) {
        if !seen.insert(requirement.what) {
            continue;
        }
        match find(&requirement.probe, llvm_major) {
            Some(place) => say("found", requirement.what, &place.display().to_string()),
            None => {
                missing.insert(requirement.package.replace("{}", &llvm_major.to_string()));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let apt = Apt::open(&missing)?;
    apt.install(&missing)?;
    for requirement in REQUIREMENTS.iter().filter(|r| needs.contains(&r.need)) {
        let package = requirement.package.replace("{}", &llvm_major.to_string());
        let place = find(&requirement.probe, llvm_major);
        match place {
            Some(place) if missing.contains(&package) => {
                say("installed", requirement.what, &place.display().to_string());
            }
            Some(_) => {}
            None => bail!("{} is still not there though {package} was installed", requirement.what),
        }
    }
    Ok(())
}

fn find(probe: &Probe, llvm_major: u32) -> Option<PathBuf> {
    match probe {
        Probe::Program(name) => find_program(name),
        Probe::File(file) => Some(PathBuf::from(file)).filter(|file| file.exists()),
        Probe::Llvm(file) => {
            find_llvm(llvm_major).map(|prefix| prefix.join(file)).filter(|file| file.exists())
        }
    }
}

/// The folder that LLVM of this major version is installed in.
pub fn find_llvm(major: u32) -> Option<PathBuf> {
    let candidates = [
        format!("/usr/lib/llvm-{major}/bin/llvm-config"),
        format!("llvm-config-{major}"),
        "llvm-config".into(),
    ];
    candidates.iter().find_map(|config| {
        let version = output(&mut program(config, ["--version"])).ok()?;
        let prefix = output(&mut program(config, ["--prefix"])).ok()?;
        (version.split('.').next() == Some(&major.to_string())).then(|| PathBuf::from(prefix.trim()))
    })
}

/// Debian's and Ubuntu's package manager, with its lists brought up to date.
pub struct Apt {
    ubuntu: bool,
}

impl Apt {
    /// Fails, saying what to install, where there is no apt or no right to use it.
    pub fn open(wanted: &BTreeSet<String>) -> Result<Apt> {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let family = release
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .collect::<Vec<_>>()
            .join(" ");
        let ubuntu = family.contains("ubuntu");
        let mut packages: Vec<&str> = wanted.iter().map(|name| Self::local_name(name, ubuntu)).collect();
        packages.sort_unstable();
        let packages = packages.join(" ");
        if !family.contains("debian") && !ubuntu {
            bail!(
                "this is neither Debian nor Ubuntu: install what holds the same as Debian's packages\n  \
                 {packages}\nby your package manager (of prometheus, only promtool), and run this again"
            );
        }
        if !Uid::effective().is_root() {
            bail!(
                "packages are missing, and installing them needs root:\n  \
                 sudo apt-get update && sudo apt-get install --no-install-recommends {packages}"
            );
        }
        change(&mut program("apt-get", ["update", "-q"])).context("apt cannot read its sources")?;
        Ok(Apt { ubuntu })
    }

    fn local_name(package: &str, ubuntu: bool) -> &str {
        if ubuntu && package == BPFTOOL { BPFTOOL_UBUNTU } else { package }
    }

    fn install(&self, packages: &BTreeSet<String>) -> Result<()> {
        let names: Vec<&str> = packages
            .iter()
            .map(|name| Self::local_name(name, self.ubuntu))
            .filter(|n| *n != PROMTOOL)
            .collect();
        for name in names.iter().filter(|name| name.starts_with("llvm-")) {
            if output(&mut program("apt-cache", ["show", name]))?.is_empty() {
                bail!("no source of apt holds {name}; https://apt.llvm.org says how to add one that does");
            }
        }
        if !names.is_empty() {
            let options = ["install", "-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"];
            change(program("apt-get", options).args(&names).env("DEBIAN_FRONTEND", "noninteractive"))?;
        }
        if packages.contains(PROMTOOL) {
            install_promtool()?;
        }
        Ok(())
    }
}

fn install_promtool() -> Result<()> {
    let folder = crate::shell::target_folder("setup/promtool")?;
    let file = download(PROMTOOL, &folder, &[])?;
    change(program("dpkg", ["-x"]).arg(file).arg(&folder))?;
    change(
        program("install", ["-m", "0755"])
            .arg(folder.join("usr/bin/promtool"))
            .arg("/usr/local/bin/promtool"),
    )?;
    std::fs::remove_dir_all(&folder).context("cannot remove the unpacked package")
}

/// Downloads a package's file into an empty folder, and says where it is.
pub fn download(package: &str, folder: &Path, options: &[String]) -> Result<PathBuf> {
    let mut command = program("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root"]);
    change(command.args(options).arg(package).current_dir(folder))?;
    let prefix = format!("{package}_");
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            return Ok(entry.path());
        }
    }
    bail!("apt-get left no file of {package} in {}", folder.display())
}
