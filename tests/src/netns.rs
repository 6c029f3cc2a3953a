//! Network namespaces and veth pairs that are gone when the test is, also after a panic.
//!
//! Names carry the process id; what a killed process left is swept by the next. A namespace is
//! entered with `setns` alone, by a thread of its own: `ip netns exec` would hide the BPF file
//! system.

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

const FOLDER: &str = "/run/netns";
const PREFIX: &str = "gwtest-";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name that no other test on this machine has: `gwtest-<pid>-<number>-<label>`.
#[must_use]
pub fn unique_name(label: &str) -> String {
    sweep_once();
    format!("{PREFIX}{}-{}-{label}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A network namespace; loopback is up. Dropping it removes it and every interface in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// Without the right to, or without iproute2.
    pub fn new(label: &str) -> Result<Namespace> {
        let name = unique_name(label);
        run("ip", &["netns", "add", &name])?;
        let opened = File::open(Path::new(FOLDER).join(&name));
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                run("ip", &["netns", "del", &name])?;
                bail!("namespace {name}: {error}");
            }
        };
        let namespace = Namespace { name, file };
        namespace.ip(&["link", "set", "lo", "up"])?;
        // Neither router solicitations nor duplicate address detection may disturb exact counts.
        namespace.sysctl("net.ipv6.conf.all.accept_dad", "0")?;
        namespace.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        namespace.sysctl("net.ipv6.conf.default.router_solicitations", "0")?;
        namespace.sysctl("net.ipv6.conf.default.mldv2_unsolicited_report_interval", "3600000")?;
        Ok(namespace)
    }

    /// The name under `/run/netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// No IPv6 on links that are made from now on: nothing is sent that no test sent.
    ///
    /// # Errors
    /// If the kernel has no such switch.
    pub fn silence(&self) -> Result<()> {
        self.sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// Without the right to.
    pub fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).with_context(|| format!("setns {}", self.name))
    }

    /// Runs `work` on a thread inside the namespace. A panic in there goes on in the caller.
    ///
    /// # Errors
    /// If the namespace cannot be entered, and what `work` returns.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` with these arguments in the namespace.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        run("ip", &[&["-n", &self.name], arguments].concat())
    }

    /// Runs a command on a thread inside the namespace.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.run(|| run(program, arguments))
    }

    /// Sets a `net.…` sysctl in the namespace.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
        self.run(|| std::fs::write(&path, value).with_context(|| format!("{}", path.display())))
    }

    /// Makes a veth pair: `near` in this namespace, `far` in the other, both up, transmit checksums
    /// computed (a redirected frame must be whole).
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn veth(&self, near: &str, other: &Namespace, far: &str) -> Result<()> {
        self.ip(&["link", "add", "name", near, "type", "veth", "peer", "name", far, "netns", &other.name])?;
        for (namespace, link) in [(self, near), (other, far)] {
            namespace.run(|| transmit_offload(link, false))?;
            namespace.ip(&["link", "set", "dev", link, "up"])?;
        }
        Ok(())
    }

    /// Makes a device for the frames of a link that carry this 802.1Q tag, up, and names it. The kernel
    /// writes and reads the tag in the frame, where programs see it. This takes a kernel with `8021q`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn vlan(&self, link: &str, id: u16) -> Result<String> {
        let (name, id) = (format!("{link}.{id}"), id.to_string());
        self.run(|| tags_in_frames(link))?;
        self.ip(&["link", "add", "link", link, "name", &name, "type", "vlan", "id", &id])?;
        self.ip(&["link", "set", "dev", &name, "up"])?;
        Ok(name)
    }

    /// Adds an address with its prefix length.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn address(&self, link: &str, address: &str) -> Result<()> {
        let mut arguments = vec!["addr", "add", address, "dev", link];
        if address.contains(':') {
            arguments.push("nodad");
        }
        self.ip(&arguments).map(drop)
    }

    /// Sets a link's MAC address.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn mac(&self, link: &str, mac: [u8; 6]) -> Result<()> {
        let text = crate::packet::show::hex(&mac, ":");
        self.ip(&["link", "set", "dev", link, "address", &text]).map(drop)
    }

    /// The index of a link.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn ifindex(&self, link: &str) -> Result<u32> {
        self.run(|| Ok(nix::net::if_::if_nametoindex(link)?)).with_context(|| format!("link {link}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("namespace {}: {error:#}", self.name);
        }
    }
}

/// Runs a command to its end and gives back what it printed.
///
/// # Errors
/// If it cannot be started or fails, with both of its streams.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let Output { status, stdout, stderr } = output;
    let out = String::from_utf8_lossy(&stdout).into_owned();
    ensure!(
        status.success(),
        "{program} {}: {status}\n{out}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&stderr)
    );
    Ok(out)
}

/// Removes a namespace at once: interfaces outlive its name while anything holds it open, so they
/// go first.
fn remove(name: &str) -> Result<()> {
    let links = run("ip", &["-n", name, "-o", "link", "show", "type", "veth"])?;
    for line in links.lines() {
        // "2: eth0@if3: <BROADCAST…"
        let link = line.split(": ").nth(1).and_then(|name| name.split('@').next());
        if let Some(link) = link {
            // Its peer's removal may have taken it along already.
            let _ = run("ip", &["-n", name, "link", "del", link]);
        }
    }
    run("ip", &["netns", "del", name]).map(drop)
}

/// Once a process: removes namespaces and pin folders whose process is dead.
fn sweep_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for name in leftovers(FOLDER) {
            eprintln!("removing namespace {name}, left by a process that is gone");
            end_processes_of(&name);
            if let Err(error) = remove(&name) {
                eprintln!("namespace {name}: {error:#}");
            }
        }
        for name in leftovers(crate::BPF_FOLDER) {
            eprintln!("removing pins {name}, left by a process that is gone");
            if let Err(error) = std::fs::remove_dir_all(Path::new(crate::BPF_FOLDER).join(&name)) {
                eprintln!("pins {name}: {error}");
            }
        }
    });
}

/// Daemons that a killed test left behind in its namespace: only such processes live there.
fn end_processes_of(namespace: &str) {
    let Ok(pids) = run("ip", &["netns", "pids", namespace]) else { return };
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
    }
}

fn leftovers(folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| {
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        })
        .collect()
}

/// Says whether a link of the calling thread's namespace is trusted to compute checksums, and to cut what
/// the stack sends into segments; else the stack does both before a frame leaves.
///
/// # Errors
/// If the device refuses.
pub fn transmit_offload(link: &str, on: bool) -> Result<()> {
    const ETHTOOL_STXCSUM: u32 = 0x17;
    ethtool(link, ETHTOOL_STXCSUM, u32::from(on))
        .with_context(|| format!("{link}: checksum offload"))
        .map(drop)
}

/// Switches generic receive offload of a link of the calling thread's namespace.
///
/// # Errors
/// If the device refuses.
pub fn receive_offload(link: &str, on: bool) -> Result<()> {
    const ETHTOOL_SGRO: u32 = 0x2c;
    ethtool(link, ETHTOOL_SGRO, u32::from(on)).with_context(|| format!("{link}: receive offload")).map(drop)
}

/// Has a link of the calling thread's namespace carry VLAN tags in the frame, and not beside it as with
/// hardware that writes and takes them off.
fn tags_in_frames(link: &str) -> Result<()> {
    const ETHTOOL_GFLAGS: u32 = 0x25;
    const ETHTOOL_SFLAGS: u32 = 0x26;
    /// `ETH_FLAG_TXVLAN` and `ETH_FLAG_RXVLAN`.
    const OFFLOAD: u32 = 1 << 7 | 1 << 8;
    let flags = ethtool(link, ETHTOOL_GFLAGS, 0).with_context(|| format!("{link}: features"))?;
    ethtool(link, ETHTOOL_SFLAGS, flags & !OFFLOAD).with_context(|| format!("{link}: VLAN offload")).map(drop)
}

/// Sets or gets a single value of a device.
fn ethtool(link: &str, command: u32, data: u32) -> Result<u32> {
    /// `struct ethtool_value` of linux/ethtool.h.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = Value { command, data };
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(link.len() < request.ifr_name.len(), "name too long");
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: request and the value it points to live across the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    ensure!(done == 0, "{}", std::io::Error::last_os_error());
    Ok(value.data)
}
