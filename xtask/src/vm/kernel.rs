//! Debian's cloud kernel, out of its package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::setup::{change, download};
use crate::shell::{output, program};

/// The oldest kernel promised.
const VERSION: &str = "6.1";
/// The Debian suite that has it.
const SUITE: &str = "bookworm";
const SUFFIX: &str = "-cloud-amd64";

/// An unpacked kernel.
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// What boots.
    pub image: PathBuf,
    /// What holds `lib/modules`.
    pub root: PathBuf,
}

/// Finds the unpacked kernel in the folder, or downloads and unpacks it.
pub fn fetch(folder: &Path) -> Result<Kernel> {
    let root = folder.join("kernel");
    if let Some(kernel) = unpacked(&root) {
        return Ok(kernel);
    }
    let (partial, packages) = (folder.join("kernel.partial"), folder.join("packages"));
    for folder in [&partial, &packages, &root] {
        remove(folder)?;
    }
    fs::create_dir_all(&packages)?;
    let package = download_package(folder, &packages)?;
    change(program("dpkg", ["-x"]).arg(package).arg(&partial))?;
    // Debian of today has /lib as a link to /usr/lib; the package may hold either.
    if !partial.join("lib/modules").exists() && partial.join("usr/lib/modules").exists() {
        fs::create_dir_all(partial.join("lib"))?;
        fs::rename(partial.join("usr/lib/modules"), partial.join("lib/modules"))?;
    }
    let kernel = unpacked(&partial).context("the package holds no kernel with its modules")?;
    change(program("depmod", ["-b"]).arg(&partial).arg(&kernel.release))?;
    fs::rename(&partial, &root)?;
    remove(&packages)?;
    unpacked(&root).context("the unpacked kernel is gone")
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn unpacked(root: &Path) -> Option<Kernel> {
    let entry = fs::read_dir(root.join("lib/modules")).ok()?.next()?.ok()?;
    let release = entry.file_name().to_string_lossy().into_owned();
    let image = root.join("boot").join(format!("vmlinuz-{release}"));
    image.exists().then(|| Kernel { release, image, root: root.to_owned() })
}

/// From the machine's own suites; else from the older one that has it, of the same Debian archive,
/// through a list of sources of our own.
fn download_package(folder: &Path, packages: &Path) -> Result<PathBuf> {
    if Uid::effective().is_root() {
        change(&mut program("apt-get", ["update", "-q"]))?;
    }
    if let Some(package) = newest_package(&[])? {
        return download(&package, packages, &[]);
    }
    let mirror = debian_archive()?;
    println!("{:>10}  no suite of apt's sources holds Linux {VERSION}: asking for {SUITE}", "");
    let apt = folder.join("apt");
    fs::create_dir_all(apt.join("lists/partial"))?;
    fs::create_dir_all(apt.join("cache/archives/partial"))?;
    let list = apt.join("sources.list");
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(&list, format!("deb [arch=amd64 signed-by={keys}] {mirror} {SUITE} main\n"))?;
    let options: Vec<String> = [
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=-".into(),
        format!("Dir::State::lists={}", apt.join("lists").display()),
        format!("Dir::Cache={}", apt.join("cache").display()),
        "APT::Sandbox::User=root".into(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect();
    change(program("apt-get", ["update", "-q"]).args(&options))?;
    match newest_package(&options)? {
        Some(package) => download(&package, packages, &options),
        None => bail!("{mirror} {SUITE} has no package linux-image-{VERSION}.…{SUFFIX}"),
    }
}

/// The Debian archive among the machine's package sources.
fn debian_archive() -> Result<String> {
    let targets = output(&mut program("apt-get", ["indextargets", "--format", "$(ORIGIN) $(REPO_URI)"]))?;
    let mut archives = targets.lines().filter_map(|line| line.strip_prefix("Debian "));
    // Not the security archive, whose suites have other names.
    let archive = archives.find(|archive| archive.trim_end_matches('/').ends_with("/debian"));
    archive.map(str::to_owned).with_context(|| {
        format!("no source of apt is a Debian archive, and the VM needs Linux {VERSION} of Debian {SUITE}: add one")
    })
}

/// `linux-image-6.1.0-NN-cloud-amd64` with the highest NN.
fn newest_package(options: &[String]) -> Result<Option<String>> {
    let prefix = format!("linux-image-{VERSION}.");
    let names = output(program("apt-cache", options).args(["pkgnames", &prefix]))?;
    let numbers = |name: &str| -> Vec<u32> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let kernels = names.lines().filter(|name| name.starts_with(&prefix) && name.ends_with(SUFFIX));
    Ok(kernels.max_by_key(|name| numbers(name)).map(str::to_owned))
}
