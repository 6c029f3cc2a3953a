//! Network namespaces that are gone when their guard is.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::shell::{output, program};

const FOLDER: &str = "/run/netns";
/// Every name of the demo starts with this and the id of its process.
const PREFIX: &str = "gwdemo-";
/// Where the demo's daemons pin, one folder each.
const PIN_FOLDER: &str = "/sys/fs/bpf";

/// A name that no other demo on this machine has.
pub fn unique(label: &str) -> String {
    format!("{PREFIX}{}-{label}", std::process::id())
}

/// Where this demo's daemon pins its programs and maps.
pub fn pin_folder() -> PathBuf {
    Path::new(PIN_FOLDER).join(unique("pins"))
}

/// Removes what demos left behind that were killed and could not.
pub fn sweep() -> Result<()> {
    for (folder, is_namespace) in [(FOLDER, true), (PIN_FOLDER, false)] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            let Some(pid) = pid.filter(|pid| !Path::new("/proc").join(pid).exists()) else { continue };
            println!("{:>10}  {name}, left behind by process {pid}", "removing");
            if is_namespace {
                output(&mut program("ip", ["netns", "del", &name]))?;
            } else {
                std::fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
    }
    Ok(())
}

/// A network namespace; dropping it removes it.
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes one; loopback is up, and nothing in it speaks of its own accord.
    pub fn new(label: &str) -> Result<Namespace> {
        let name = unique(label);
        output(&mut program("ip", ["netns", "add", &name]))?;
        let file = match File::open(Path::new(FOLDER).join(&name)) {
            Ok(file) => file,
            Err(error) => {
                output(&mut program("ip", ["netns", "del", &name]))?;
                return Err(error).with_context(|| format!("cannot open namespace {name}"));
            }
        };
        let namespace = Namespace { name, file };
        for (key, value) in [
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
        ] {
            namespace.sysctl(key, value)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread into the namespace, for good. The file systems stay the host's.
    fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", self.name))
    }

    /// Runs `work` on a thread inside the namespace; what that starts stays inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` in the namespace, with arguments parted by spaces.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.output(program("ip", arguments.split(' ')))
    }

    /// Runs a command in the namespace and returns its output.
    pub fn output(&self, mut command: Command) -> Result<String> {
        self.run(move || output(&mut command))
    }

    /// Sets `/proc/sys/net/<key>`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let file = Path::new("/proc/sys/net").join(key);
        self.run(|| std::fs::write(&file, value).with_context(|| format!("cannot write {}", file.display())))
    }

    /// Loads nft rules in the namespace.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), rules)?;
        let mut command = program("nft", ["-f"]);
        command.arg(file.path());
        self.output(command).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = output(&mut program("ip", ["netns", "del", &self.name])) {
            eprintln!("cannot remove namespace {}: {error:#}", self.name);
        }
    }
}
