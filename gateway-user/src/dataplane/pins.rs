//! Where state outlives this process: the pin folder.
//!
//! ```text
//! <pin_dir>/v<ABI_VERSION>/
//!     object_<digest>/                  an empty folder: which object the pinned programs are of
//!     maps/<MAP>                        every map of gateway_common::abi::maps
//!     programs/<program>                every program of gateway_common::abi::programs
//!     interfaces/<name>/                a governed interface (`.` in a name is written `%2E`: the
//!         xdp_native | xdp_generic      BPF file system takes no dots); the XDP link
//!         xdp_netlink_native/ …         an empty folder instead: attached without a link
//!         tc_tcx                        the tc ingress link
//!         tc_clsact/                    an empty folder instead: attached to the clsact qdisc
//!         tc_egress_tcx | …_clsact/     the same for tc egress
//! ```
//!
//! The folder is made under another name and renamed when complete, so a version folder that exists
//! is whole. Who opens it holds a lock on `<pin_dir>`, so there is one daemon for each.

use super::Error;
use super::sys;
use gateway_common::abi::ABI_VERSION;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const STAGING: &str = "staging";
const OBJECT: &str = "object_";

/// The pin folder, locked.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    _lock: Flock<File>,
}

impl Pins {
    /// Makes and locks the folder, on a BPF file system.
    pub(super) fn open(pin_dir: &Path) -> Result<Pins, Error> {
        ensure_bpffs(pin_dir)?;
        fs::create_dir_all(pin_dir).map_err(Error::pins("making", pin_dir))?;
        Pins::lock(pin_dir)
    }

    fn lock(pin_dir: &Path) -> Result<Pins, Error> {
        let folder = File::open(pin_dir).map_err(Error::pins("opening", pin_dir))?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Pins { root: pin_dir.to_owned(), _lock: lock }),
            Err((_, nix::Error::EWOULDBLOCK)) => Err(Error::Busy { path: pin_dir.to_owned() }),
            Err((_, errno)) => Err(Error::pins("locking", pin_dir)(errno.into())),
        }
    }

    /// Whether a whole state of this version is pinned. Leftovers of an interrupted start are removed.
    ///
    /// # Errors
    /// [`Error::OtherAbi`] where another version has left its state.
    pub(super) fn exists(&self) -> Result<bool, Error> {
        let staging = self.root.join(STAGING);
        if staging.exists() {
            remove_tree(&staging)?;
        }
        for name in list(&self.root)? {
            if is_version(&name) && name != version() {
                return Err(Error::OtherAbi { path: self.root.clone(), found: name, expected: version() });
            }
        }
        Ok(self.version_dir().is_dir())
    }

    /// A new, empty state that [`Staged::publish`] makes the real one.
    pub(super) fn stage(&self, digest: &str) -> Result<Staged<'_>, Error> {
        let dir = self.root.join(STAGING);
        let staged = Staged { pins: self, dir: dir.clone(), published: false };
        for folder in ["maps", "programs", "interfaces", &format!("{OBJECT}{digest}")] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(Error::pins("making", &path))?;
        }
        Ok(staged)
    }

    pub(super) fn version_dir(&self) -> PathBuf {
        self.root.join(version())
    }
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.version_dir().join("maps").join(name)
    }
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.version_dir().join("programs").join(name)
    }
    pub(super) fn interface(&self, name: &str) -> PathBuf {
        self.version_dir().join("interfaces").join(escape(name))
    }

    /// Names of the interfaces that have pins.
    pub(super) fn interfaces(&self) -> Result<Vec<String>, Error> {
        Ok(list(&self.version_dir().join("interfaces"))?.iter().map(|name| unescape(name)).collect())
    }

    /// The digest of the object that the pinned programs are of.
    pub(super) fn object(&self) -> Result<Option<String>, Error> {
        let names = list(&self.version_dir())?;
        Ok(names.iter().find_map(|name| name.strip_prefix(OBJECT)).map(str::to_owned))
    }

    /// Records the digest of the object that the pinned programs are of now.
    pub(super) fn set_object(&self, digest: &str) -> Result<(), Error> {
        let new = self.version_dir().join(format!("{OBJECT}{digest}"));
        match self.object()? {
            Some(old) => {
                let old = self.version_dir().join(format!("{OBJECT}{old}"));
                fs::rename(&old, &new).map_err(Error::pins("renaming", old))
            }
            None => fs::create_dir(&new).map_err(Error::pins("making", new)),
        }
    }

    /// Removes every pin of every version, and the folder itself.
    pub(super) fn remove(self) -> Result<(), Error> {
        remove_tree(&self.root)
    }

    /// Locks the folder if it is there.
    pub(super) fn existing(pin_dir: &Path) -> Result<Option<Pins>, Error> {
        if pin_dir.is_dir() { Pins::lock(pin_dir).map(Some) } else { Ok(None) }
    }
}

/// A state in the making; removed again unless it is published.
pub(super) struct Staged<'a> {
    pins: &'a Pins,
    dir: PathBuf,
    published: bool,
}

impl Staged<'_> {
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.dir.join("maps").join(name)
    }
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join("programs").join(name)
    }

    /// Makes it the state of this version, at once.
    pub(super) fn publish(mut self) -> Result<(), Error> {
        fs::rename(&self.dir, self.pins.version_dir()).map_err(Error::pins("renaming", &self.dir))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = remove_tree(&self.dir)
        {
            tracing::warn!(%error, "an unfinished pin folder stays behind; the next start removes it");
        }
    }
}

/// Pins of one governed interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InterfacePin {
    /// The XDP link, native or generic.
    Xdp {
        /// Native.
        native: bool,
        /// A pinned link; else a marker.
        link: bool,
    },
    /// The tc link.
    Tc {
        /// At egress; else at ingress.
        egress: bool,
        /// A pinned TCX link; else a marker.
        link: bool,
    },
}

impl InterfacePin {
    const ALL: [InterfacePin; 8] = [
        InterfacePin::Xdp { native: true, link: true },
        InterfacePin::Xdp { native: false, link: true },
        InterfacePin::Xdp { native: true, link: false },
        InterfacePin::Xdp { native: false, link: false },
        InterfacePin::Tc { egress: false, link: true },
        InterfacePin::Tc { egress: false, link: false },
        InterfacePin::Tc { egress: true, link: true },
        InterfacePin::Tc { egress: true, link: false },
    ];

    pub(super) fn file(self) -> &'static str {
        match self {
            InterfacePin::Xdp { native: true, link: true } => "xdp_native",
            InterfacePin::Xdp { native: false, link: true } => "xdp_generic",
            InterfacePin::Xdp { native: true, link: false } => "xdp_netlink_native",
            InterfacePin::Xdp { native: false, link: false } => "xdp_netlink_generic",
            InterfacePin::Tc { egress: false, link: true } => "tc_tcx",
            InterfacePin::Tc { egress: false, link: false } => "tc_clsact",
            InterfacePin::Tc { egress: true, link: true } => "tc_egress_tcx",
            InterfacePin::Tc { egress: true, link: false } => "tc_egress_clsact",
        }
    }

    /// Whether it is a pinned link, and not a marker.
    pub(super) fn is_link(self) -> bool {
        let (InterfacePin::Xdp { link, .. } | InterfacePin::Tc { link, .. }) = self;
        link
    }

    /// The pins found in an interface's folder.
    pub(super) fn found(dir: &Path) -> Vec<InterfacePin> {
        InterfacePin::ALL.into_iter().filter(|pin| dir.join(pin.file()).exists()).collect()
    }
}

/// Removes a file or a folder with all in it; what is not there is no error.
pub(super) fn remove_tree(path: &Path) -> Result<(), Error> {
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            for name in list(path)? {
                remove_tree(&path.join(name))?;
            }
            fs::remove_dir(path)
        }
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::pins("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Names in a folder; none if it is not there.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::pins("listing", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::pins("listing", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Opens a pin, for what aya does not expose of it.
pub(super) fn open_pin(path: &Path) -> Result<std::os::fd::OwnedFd, Error> {
    sys::open_pin(path).map_err(Error::pins("opening", path))
}

fn version() -> String {
    format!("v{ABI_VERSION}")
}

fn is_version(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('.', "%2E")
}

fn unescape(name: &str) -> String {
    name.replace("%2E", ".").replace("%25", "%")
}

/// Where the kernel's documentation has the BPF file system; nothing else lies there.
const BPF_MOUNT_POINT: &str = "/sys/fs/bpf";

/// Sees to it that `pin_dir` lies on a BPF file system: mounts one at [`BPF_MOUNT_POINT`] if that is
/// where it is to be; over any other folder a mount could hide something.
fn ensure_bpffs(pin_dir: &Path) -> Result<(), Error> {
    let existing = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let kind = statfs(existing).map_err(|errno| Error::pins("asking", existing)(errno.into()))?;
    if kind.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    let mount_point = pin_dir.parent().unwrap_or(pin_dir).to_owned();
    mount_bpffs(&mount_point).map_err(|source| Error::Bpffs {
        pin_dir: pin_dir.to_owned(),
        mount_point: mount_point.clone(),
        source,
    })
}

fn mount_bpffs(at: &Path) -> io::Result<()> {
    if at != Path::new(BPF_MOUNT_POINT) {
        return Err(io::Error::new(ErrorKind::Unsupported, format!("only done at {BPF_MOUNT_POINT}")));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), at, Some("bpf"), flags, Some("mode=0700"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_survive_the_bpf_file_system() {
        for name in ["eth0", "eth0.100", "a%b", "%2E", "..a"] {
            let escaped = escape(name);
            assert!(!escaped.contains('.'), "{escaped}");
            assert_eq!(unescape(&escaped), name);
        }
    }

    #[test]
    fn only_version_folders_are_versions() {
        assert!(is_version("v1") && is_version("v23"));
        assert!(!is_version("v") && !is_version("vx") && !is_version("staging"));
    }
}
