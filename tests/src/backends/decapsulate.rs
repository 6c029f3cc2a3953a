//! How packets come out of what they are wrapped in: by threads of the tests, since not every kernel knows
//! how, or by the kernel's own tunnels.

use super::serve::{BEAT, Serving, is_late};
use super::{Delivery, address_of};
use crate::netns::Namespace;
use crate::receive::set_option;
use anyhow::{Context, Result, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::{TimeVal, TimeValLike};
use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// UDP port of packets that are wrapped in UDP.
pub const GUE_PORT: u16 = 6_080;
/// The same, where the kernel is told that all of them hold IPv4, and IPv6.
pub const FOU_PORTS: [u16; 2] = [6_081, 6_082];

/// Who takes packets out of what they are wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decapsulation {
    /// Threads of the tests, through a TUN device.
    Threads,
    /// The kernel: `ipip`, `sit`, `ip6_tunnel`, `fou` and `fou6`.
    Kernel,
}

impl Decapsulation {
    /// Begins on each backend.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn start(self, delivery: &Delivery, serving: &mut Serving) -> Result<()> {
        for (number, backend) in delivery.backends.iter().enumerate() {
            match self {
                Decapsulation::Threads => threads(backend, serving)?,
                Decapsulation::Kernel => kernel(backend, number)?,
            }
        }
        Ok(())
    }

    /// The device of a backend by which a packet of this version arrives that came in such an outer header.
    #[must_use]
    pub const fn device(self, outer_six: bool, inner_six: bool) -> &'static str {
        match (self, outer_six, inner_six) {
            (Decapsulation::Threads, ..) => "tun0",
            (Decapsulation::Kernel, false, false) => "in4in4",
            (Decapsulation::Kernel, false, true) => "in6in4",
            (Decapsulation::Kernel, true, _) => "in6",
        }
    }
}

/// The tunnels are to the backend's addresses, from wherever.
fn kernel(backend: &Namespace, number: usize) -> Result<()> {
    let (four, six) = (address_of(number, false), address_of(number, true));
    for (device, tunnel) in [
        ("in4in4", &["type", "ipip", "local", &four][..]),
        ("in6in4", &["type", "sit", "local", &four]),
        ("in6", &["type", "ip6tnl", "mode", "any", "local", &six]),
    ] {
        backend.ip(&[&["link", "add", "name", device], tunnel].concat())?;
        backend.ip(&["link", "set", "dev", device, "up"])?;
        backend.sysctl(&format!("net.ipv4.conf.{device}.rp_filter"), "0")?;
    }
    // GUE's receiver tells variant 1 and what is in it by the first bits; the others are told.
    let [with_4, with_6] = FOU_PORTS.map(|port| port.to_string());
    for (port, holds) in
        [(GUE_PORT.to_string(), &["gue"][..]), (with_4, &["ipproto", "4"]), (with_6, &["ipproto", "41"])]
    {
        for version in ["-4", "-6"] {
            backend.ip(&[&[version, "fou", "add", "port", &port], holds].concat())?;
        }
    }
    Ok(())
}

fn threads(backend: &Namespace, serving: &mut Serving) -> Result<()> {
    // The two UDP sockets have the same port.
    backend.sysctl("net.ipv6.bindv6only", "1")?;
    let decapsulator = backend.run(|| Decapsulator::open(GUE_PORT))?;
    backend.ip(&["link", "set", "dev", "tun0", "up"])?;
    backend.sysctl("net.ipv4.conf.tun0.rp_filter", "0")?;
    decapsulator.run(serving)
}

/// Takes IP in IP, and GUE at this port, and gives what is inside to the namespace through a TUN device.
struct Decapsulator {
    tun: File,
    /// Each with whether an IPv4 header precedes what is read.
    sockets: Vec<(File, bool)>,
}

impl Decapsulator {
    /// In the calling thread's namespace, with device `tun0`.
    fn open(gue_port: u16) -> Result<Decapsulator> {
        const IN_IPV4: i32 = 4;
        const IN_IPV6: i32 = 41;
        /// `UDP_NO_CHECK6_RX` of linux/udp.h: takes datagrams without a checksum (RFC 6935 5).
        const NO_CHECK6_RX: i32 = 102;
        let mut sockets = Vec::new();
        for (family, has_header) in [(libc::AF_INET, true), (libc::AF_INET6, false)] {
            for protocol in [IN_IPV4, IN_IPV6] {
                sockets.push((raw_socket(family, protocol)?, has_header));
            }
        }
        let (four, six) = (UdpSocket::bind(("0.0.0.0", gue_port))?, UdpSocket::bind(("::", gue_port))?);
        set_option(six.as_raw_fd(), libc::SOL_UDP, NO_CHECK6_RX).context("UDP_NO_CHECK6_RX")?;
        sockets.push((four.into(), false));
        sockets.push((six.into(), false));
        for (socket, _) in &sockets {
            setsockopt(socket, ReceiveTimeout, &TimeVal::milliseconds(BEAT.as_millis() as i64))?;
        }
        let sockets = sockets.into_iter().map(|(socket, header)| (File::from(socket), header)).collect();
        Ok(Decapsulator { tun: tun_device("tun0")?, sockets })
    }

    fn run(self, serving: &mut Serving) -> Result<()> {
        for (mut socket, has_header) in self.sockets {
            let mut tun = self.tun.try_clone()?;
            serving.spawn(move |end| {
                let mut bytes = vec![0; 65_536];
                while !end.load(Ordering::Relaxed) {
                    match socket.read(&mut bytes) {
                        Ok(length) => {
                            let header = if has_header { usize::from(bytes[0] & 15) * 4 } else { 0 };
                            tun.write_all(&bytes[header..length]).context("tun0")?;
                        }
                        Err(error) if is_late(&error) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            });
        }
        Ok(())
    }
}

/// A socket that gets every packet of this protocol.
fn raw_socket(family: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers; a descriptor that is not negative is a new one of ours.
    unsafe {
        let fd = libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
        ensure!(fd >= 0, "raw socket {protocol}: {}", std::io::Error::last_os_error());
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Makes a TUN device of this name in the calling thread's namespace; it goes with the descriptor.
fn tun_device(name: &str) -> Result<File> {
    /// `TUNSETIFF` of linux/if_tun.h.
    const SET: libc::c_ulong = 0x4004_54ca;
    let file = File::options().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(name.len() < request.ifr_name.len(), "name too long");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: request lives across the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), SET as _, &raw mut request) };
    ensure!(done == 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
    Ok(file)
}
