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
    tool(Need::Network, "promtool", PROMTOOL.package),
    tool(Need::Network, "nginx", NGINX.package),
    Requirement {
        need: Need::Network,
        what: "nginx, stream module",
        probe: Probe::File(NGINX_STREAM.place),
        package: NGINX_STREAM.package,
    },
    tool(Need::Network, "haproxy", HAPROXY.package),
    tool(Need::Network, "openssl", "openssl"),
    tool(Need::Network, "wrk", "wrk"),
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

/// A package of which a program is all that is taken, with the libraries that it asks for: installing it
/// would start a server.
struct OnlyProgram {
    package: &'static str,
    /// In the package.
    program: &'static str,
    /// On this machine.
    place: &'static str,
}

const PROMTOOL: OnlyProgram =
    OnlyProgram { package: "prometheus", program: "usr/bin/promtool", place: "/usr/local/bin/promtool" };
const NGINX: OnlyProgram =
    OnlyProgram { package: "nginx", program: "usr/sbin/nginx", place: "/usr/local/sbin/nginx" };
/// Not a program, but of no use without that one, and its package asks for nginx as a server.
const NGINX_STREAM: OnlyProgram = OnlyProgram {
    package: "libnginx-mod-stream",
    program: "usr/lib/nginx/modules/ngx_stream_module.so",
    place: "/usr/local/lib/nginx/modules/ngx_stream_module.so",
};
const HAPROXY: OnlyProgram =
    OnlyProgram { package: "haproxy", program: "usr/sbin/haproxy", place: "/usr/local/sbin/haproxy" };
const ONLY_PROGRAMS: [OnlyProgram; 4] = [PROMTOOL, NGINX, NGINX_STREAM, HAPROXY];

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
                 {packages}\nby your package manager (of prometheus, nginx and haproxy, only the programs), and run this again"
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
            .filter(|name| ONLY_PROGRAMS.iter().all(|only| only.package != *name))
            .collect();
        for name in names.iter().filter(|name| name.starts_with("llvm-")) {
            if output(&mut program("apt-cache", ["show", name]))?.is_empty() {
                bail!("no source of apt holds {name}; https://apt.llvm.org says how to add one that does");
            }
        }
        install_packages(&names)?;
        let mut only = ONLY_PROGRAMS.iter().filter(|only| packages.contains(only.package));
        only.try_for_each(OnlyProgram::install)
    }
}

fn install_packages<S: AsRef<std::ffi::OsStr>>(names: &[S]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let options = ["install", "-qq", "-y", "--no-install-recommends", "--no-upgrade"];
    let mut command = program("apt-get", options);
    change(command.args(["-o", "Dpkg::Use-Pty=0"]).args(names).env("DEBIAN_FRONTEND", "noninteractive"))
}

impl OnlyProgram {
    fn install(&self) -> Result<()> {
        install_packages(&self.libraries()?)?;
        let folder = crate::shell::target_folder(&format!("setup/{}", self.package))?;
        let file = download(self.package, &folder, &[])?;
        change(program("dpkg", ["-x"]).arg(file).arg(&folder))?;
        change(program("install", ["-D", "-m", "0755"]).arg(folder.join(self.program)).arg(self.place))?;
        std::fs::remove_dir_all(&folder).context("cannot remove the unpacked package")
    }
}

impl OnlyProgram {
    /// The libraries that the package depends on.
    fn libraries(&self) -> Result<Vec<String>> {
        let options = ["depends", "--important", "--no-pre-depends", self.package];
        let text = output(&mut program("apt-cache", options))?;
        let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("Depends: "));
        let libraries = names.filter(|name| name.starts_with("lib") && !name.starts_with("libjs-"));
        Ok(libraries.map(str::to_owned).collect())
    }
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
