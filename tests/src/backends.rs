//! Client – gateway – two backends that answer the client themselves, and what a backend does with a
//! packet that comes wrapped: this kernel need not know how.

use crate::netns::{Namespace, receive_offload};
use crate::receive::set_option;
use anyhow::{Context, Result, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::{TimeVal, TimeValLike};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many backends there are.
pub const BACKENDS: usize = 2;
/// The address that clients know, on every backend's loopback.
pub const SERVICE: [&str; 2] = ["203.0.113.10", "2001:db8:5::10"];
/// What the links to the backends take, so that a client's longest packet fits when it is wrapped.
const MTU: &str = "1600";
/// How often a thread looks whether it is to end.
const BEAT: Duration = Duration::from_millis(100);

/// The namespaces, with links, addresses and routes. Neighbours find one another.
#[derive(Debug)]
pub struct Delivery {
    /// Whose packets are forwarded.
    pub client: Namespace,
    /// Between `gw0` towards the client, and `back0` and `back1`.
    pub gateway: Namespace,
    /// Behind `back0` and `back1`.
    pub backends: Vec<Namespace>,
}

/// The address of a backend.
#[must_use]
pub fn address_of(backend: usize, six: bool) -> String {
    if six { format!("2001:db8:b{backend}::11") } else { format!("198.18.1{backend}.11") }
}

impl Delivery {
    /// Makes one. With `xdp_frames` the backends take XDP frames.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new(xdp_frames: bool) -> Result<Delivery> {
        let (client, gateway) = (Namespace::new("client")?, Namespace::new("gw")?);
        gateway.sysctl("net.ipv4.ip_forward", "1")?;
        gateway.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        client.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
        gateway.veth("gw0", &client, "c0")?;
        for (namespace, link, host) in [(&gateway, "gw0", 1), (&client, "c0", 77)] {
            namespace.address(link, &format!("192.0.2.{host}/24"))?;
            namespace.address(link, &format!("2001:db8:c::{host}/64"))?;
        }
        client.ip(&["route", "add", "203.0.113.0/24", "via", "192.0.2.1"])?;
        client.ip(&["route", "add", "2001:db8:5::/64", "via", "2001:db8:c::1"])?;
        let mut backends = Vec::new();
        for i in 0..BACKENDS {
            let backend = Namespace::new("back")?;
            backend.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
            backend.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
            let near = format!("back{i}");
            gateway.veth(&near, &backend, "b0")?;
            gateway.address(&near, &format!("198.18.1{i}.1/24"))?;
            gateway.address(&near, &format!("2001:db8:b{i}::1/64"))?;
            backend.address("b0", &format!("{}/24", address_of(i, false)))?;
            backend.address("b0", &format!("{}/64", address_of(i, true)))?;
            for (namespace, link) in [(&gateway, near.as_str()), (&backend, "b0")] {
                namespace.ip(&["link", "set", "dev", link, "mtu", MTU])?;
            }
            backend.run(|| receive_offload("b0", xdp_frames))?;
            // The way of the answers.
            let way = format!("d{i}");
            client.veth(&way, &backend, "d0")?;
            client.address(&way, &format!("10.77.{i}.1/24"))?;
            backend.address("d0", &format!("10.77.{i}.2/24"))?;
            client.address(&way, &format!("2001:db8:d{i}::1/64"))?;
            backend.address("d0", &format!("2001:db8:d{i}::2/64"))?;
            backend.ip(&["route", "add", "192.0.2.0/24", "via", &format!("10.77.{i}.1")])?;
            backend.ip(&["route", "add", "2001:db8:c::/64", "via", &format!("2001:db8:d{i}::1")])?;
            for service in SERVICE {
                backend
                    .address("lo", &format!("{service}/{}", if service.contains(':') { 128 } else { 32 }))?;
            }
            backends.push(backend);
        }
        Ok(Delivery { client, gateway, backends })
    }
}

/// Threads that serve until this is dropped.
#[derive(Debug, Default)]
pub struct Serving {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Serving {
    fn spawn(&mut self, work: impl FnOnce(&AtomicBool) -> Result<()> + Send + 'static) {
        let end = Arc::clone(&self.end);
        self.threads.push(std::thread::spawn(move || work(&end)));
    }

    /// On each backend: takes packets out of what they are wrapped in, those in UDP at `gue_port`, and
    /// answers on these ports of the service, UDP and TCP. An answer is what was asked; that of UDP and a
    /// TCP connection's first byte is the backend's number.
    ///
    /// # Errors
    /// If a socket or a device cannot be had.
    pub fn on(delivery: &Delivery, ports: &[u16], gue_port: u16) -> Result<Serving> {
        let mut serving = Serving::default();
        for (number, backend) in delivery.backends.iter().enumerate() {
            // Its two UDP sockets have the same port.
            backend.sysctl("net.ipv6.bindv6only", "1")?;
            let decapsulator = backend.run(|| Decapsulator::open(gue_port))?;
            backend.ip(&["link", "set", "dev", "tun0", "up"])?;
            backend.sysctl("net.ipv4.conf.tun0.rp_filter", "0")?;
            decapsulator.run(&mut serving)?;
            for service in SERVICE {
                let service: IpAddr = service.parse()?;
                for port in ports {
                    let at = SocketAddr::new(service, *port);
                    let (udp, tcp) = backend.run(|| Ok((UdpSocket::bind(at)?, TcpListener::bind(at)?)))?;
                    serving.spawn(move |end| answer_udp(&udp, number as u8, end));
                    serving.spawn(move |end| answer_tcp(&tcp, number as u8, end));
                }
            }
        }
        Ok(serving)
    }

    /// Ends all threads.
    ///
    /// # Errors
    /// That of the first thread that failed.
    pub fn stop(mut self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| anyhow::anyhow!("a server panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn answer_udp(socket: &UdpSocket, number: u8, end: &AtomicBool) -> Result<()> {
    socket.set_read_timeout(Some(BEAT))?;
    let mut bytes = [0; 2_048];
    while !end.load(Ordering::Relaxed) {
        match socket.recv_from(&mut bytes[1..]) {
            Ok((length, from)) => {
                bytes[0] = number;
                socket.send_to(&bytes[..=length], from)?;
            }
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn answer_tcp(listener: &TcpListener, number: u8, end: &AtomicBool) -> Result<()> {
    listener.set_nonblocking(true)?;
    while !end.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => converse(stream, number).context("answering over TCP")?,
            Err(error) if is_late(&error) => std::thread::sleep(BEAT / 10),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn converse(mut stream: TcpStream, number: u8) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&[number])?;
    let mut bytes = vec![0; 65_536];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            length => stream.write_all(&bytes[..length])?,
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
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
