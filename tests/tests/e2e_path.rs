//! Paths through pools: the gateway is a hop that answers, senders find out what fits, and errors about what
//! a backend answered reach it.
//!
//! Client – router – gateway – backends, which answer through the router.

use anyhow::{Context, Result, ensure};
use gateway_common::abi::COUNTER_FIRST_ROUTE;
use gateway_tests::backends::{Decapsulation, Delivery, SERVICE, Serving};
use gateway_tests::golden::run::policy_of;
use gateway_tests::netns::Namespace;
use gateway_tests::object::PinFolder;
use gateway_tests::report::report;
use gateway_user::compile::{LabelTable, Names, PoolTables, Surroundings, compile};
use gateway_user::dataplane::{AttachedMode, Dataplane, Mode, Options};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use std::io::{IoSliceMut, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Interfaces of the gateway, with their slots.
const GOVERNED: [(&str, u8); 3] = [("g0", 3), ("back0", 4), ("back1", 5)];
const PORT: u16 = 7_001;
/// Bytes that are fetched.
const BULK: usize = 10 << 20;
/// An answer comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections, so that both backends have some.
const CONNECTIONS: usize = 16;
/// The gateway's addresses towards the router.
const GATEWAY: [&str; 2] = ["10.9.0.1", "2001:db8:9::1"];

struct PathNames;

impl Names for PathNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        GOVERNED.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
    }
    fn counter_slot(&self, _: &str) -> u32 {
        COUNTER_FIRST_ROUTE
    }
    fn limit_slot(&self, _: &str) -> u32 {
        0 // The policy has none.
    }
    fn target_slot(&self, target: &str) -> u32 {
        if target.ends_with("b1") { 2 } else { 1 }
    }
    fn outer_source(&self, _: IpAddr) -> Option<IpAddr> {
        GATEWAY[0].parse().ok()
    }
    fn label_number(&self, _: &str) -> u32 {
        0 // Nor labels.
    }
}

const POLICY: &str = "\
version: 1
pools:
  web: {forward: ipip, targets: [{name: b0, address: 198.18.10.11}, {name: b1, address: 198.18.11.11}]}
routes:
  - {name: web, match: {protocol: [tcp, udp], port: 7001}, action: {pool: web}}
";

/// The namespaces; the router takes packets of `mtu` bytes to the client.
struct Network {
    delivery: Delivery,
    _router: Namespace,
}

impl Network {
    fn new(mtu: u16) -> Result<Network> {
        let (client, router, gateway) =
            (Namespace::new("client")?, Namespace::new("router")?, Namespace::new("gw")?);
        let mut backends = Vec::new();
        for forwarding in [&router, &gateway] {
            forwarding.sysctl("net.ipv4.ip_forward", "1")?;
            forwarding.sysctl("net.ipv6.conf.all.forwarding", "1")?;
            forwarding.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
            forwarding.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
        }
        link(&client, "c0", &router, "r0", 8)?;
        link(&gateway, "g0", &router, "rg", 9)?;
        for i in 0..2_u8 {
            let backend = Namespace::new("back")?;
            backend.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
            backend.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
            let (near, far) = (format!("back{i}"), format!("198.18.1{i}"));
            gateway.veth(&near, &backend, "b0")?;
            gateway.address(&near, &format!("{far}.1/24"))?;
            backend.address("b0", &format!("{far}.11/24"))?;
            link(&backend, "d0", &router, &format!("rd{i}"), 20 + i)?;
            default_routes(&backend, 20 + i)?;
            for service in SERVICE {
                let length = if service.contains(':') { 128 } else { 32 };
                backend.address("lo", &format!("{service}/{length}"))?;
            }
            backends.push(backend);
        }
        router.ip(&["route", "add", "203.0.113.0/24", "via", GATEWAY[0]])?;
        router.ip(&["route", "add", "2001:db8:5::/64", "via", GATEWAY[1]])?;
        default_routes(&gateway, 9)?;
        // What the router takes to the client is told to nobody, and what the client sends fits in any case.
        router.ip(&["link", "set", "dev", "r0", "mtu", &mtu.to_string()])?;
        let fits = (mtu - 60).to_string();
        for (network, via) in [("203.0.113.0/24", "10.8.0.2"), ("2001:db8:5::/64", "2001:db8:8::2")] {
            let route = ["route", "add", network, "via", via];
            let narrow = ["mtu", &fits, "advmss", "1440"];
            client.ip(&[&route[..], if mtu < 1_500 { &narrow } else { &[] }].concat())?;
        }
        Ok(Network { delivery: Delivery { client, gateway, backends }, _router: router })
    }
}

/// A veth pair, with the addresses 1 (near) and 2 of network `place`.
fn link(near: &Namespace, name: &str, far: &Namespace, far_name: &str, place: u8) -> Result<()> {
    near.veth(name, far, far_name)?;
    for (namespace, link, host) in [(near, name, 1), (far, far_name, 2)] {
        namespace.address(link, &format!("10.{place}.0.{host}/24"))?;
        namespace.address(link, &format!("2001:db8:{place}::{host}/64"))?;
    }
    Ok(())
}

/// Everything else is behind the router.
fn default_routes(namespace: &Namespace, place: u8) -> Result<()> {
    namespace.ip(&["route", "add", "default", "via", &format!("10.{place}.0.2")])?;
    namespace.ip(&["-6", "route", "add", "default", "via", &format!("2001:db8:{place}::2")]).map(drop)
}

/// A gateway in one mode.
struct Gateway {
    dataplane: Dataplane,
    _pins: PinFolder,
}

impl Gateway {
    fn start(mode: Mode, wanted: AttachedMode) -> Result<Gateway> {
        let pins = PinFolder::new("path");
        let mut options = Options::new(pins.path());
        options.arena_lines = 1 << 16;
        options.memo_sets_per_cpu = 1 << 10;
        let mut dataplane = Dataplane::open(&options)?;
        for (interface, slot) in GOVERNED {
            let attached = dataplane.attach(interface, slot, mode)?;
            ensure!(attached.mode == wanted, "{interface} is governed as {}", attached.mode.name());
        }
        let policy = policy_of(POLICY)?;
        let labels = LabelTable::build(&policy.labels)?;
        let surroundings = Surroundings {
            names: &PathNames,
            labels: &labels,
            live_sets: &[],
            pools: &PoolTables::default(),
            ns_per_jiffy: 4_000_000,
        };
        dataplane.apply(&compile(&policy, &surroundings)?, [0; 4], 0)?;
        Ok(Gateway { dataplane, _pins: pins })
    }
}

/// Who tells that a datagram with so many hops does not reach the service.
fn hop(service: SocketAddr, hops: i32) -> Result<IpAddr> {
    /// `IP_RECVERR` and `IPV6_RECVERR`, `IP_TTL` and `IPV6_UNICAST_HOPS` of linux/in.h and linux/in6.h.
    const V4: (i32, i32) = (11, 2);
    const V6: (i32, i32) = (25, 16);
    let any = if service.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    let (level, (receive_errors, time_to_live)) =
        if service.is_ipv4() { (libc::SOL_IP, V4) } else { (libc::SOL_IPV6, V6) };
    set_option(&socket, level, receive_errors, 1)?;
    set_option(&socket, level, time_to_live, hops)?;
    socket.connect(service)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"who is there?")?;
    let error = socket.recv(&mut [0; 64]).err().context("the service answers")?;
    ensure!(error.raw_os_error() == Some(libc::EHOSTUNREACH), "{service}, {hops} hops: {error}");
    let mut bytes = [0; 64];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = cmsg_space!([u8; 128]);
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_ERRQUEUE)?;
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4RecvErr(_, Some(who)) => {
                return Ok(IpAddr::from(who.sin_addr.s_addr.to_ne_bytes()));
            }
            ControlMessageOwned::Ipv6RecvErr(_, Some(who)) => {
                return Ok(IpAddr::from(who.sin6_addr.s6_addr));
            }
            _ => {}
        }
    }
    anyhow::bail!("nobody says who told it")
}

fn set_option(socket: &UdpSocket, level: i32, name: i32, value: i32) -> Result<()> {
    // SAFETY: the value lives across the call, and is as long as is said.
    let done = unsafe {
        let length = size_of::<i32>() as u32;
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length)
    };
    ensure!(done == 0, "option {name}: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Sends so many bytes and fetches them again: the number of the backend.
fn fetch(service: SocketAddr, bulk: usize) -> Result<u8> {
    let mut stream = TcpStream::connect_timeout(&service, PATIENCE).with_context(|| service.to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut number = [0];
    stream.read_exact(&mut number)?;
    let question: Vec<u8> = (0..bulk).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut answer = vec![0; bulk];
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&question));
        stream.read_exact(&mut answer).with_context(|| format!("{service}, backend {}", number[0]))?;
        writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.context("writing")
    })?;
    ensure!(answer == question, "{service} answers with something else");
    Ok(number[0])
}

fn in_mode(mode: Mode, wanted: AttachedMode) -> Result<()> {
    for mtu in [1_500, 1_400] {
        let network = Network::new(mtu)?;
        let Delivery { client, gateway, .. } = &network.delivery;
        let gateway = gateway.run(|| Gateway::start(mode, wanted))?;
        let mut serving = Serving::default();
        Decapsulation::Threads.start(&network.delivery, &mut serving)?;
        serving.answer(&network.delivery, &[PORT])?;
        let start = Instant::now();
        for (family, service) in SERVICE.into_iter().enumerate() {
            let service = SocketAddr::new(service.parse()?, PORT);
            let told = client.run(|| hop(service, 2))?;
            ensure!(told == GATEWAY[family].parse::<IpAddr>()?, "the second hop is {told}");
            let mut by = [0; 2];
            for _ in 0..CONNECTIONS {
                let bulk = if by == [0; 2] { BULK } else { BULK / 64 };
                by[usize::from(client.run(|| fetch(service, bulk))?)] += 1;
            }
            ensure!(by.iter().all(|connections| *connections > 0), "{service}: {by:?}");
        }
        let told = gateway.dataplane.readers().telemetry().errors_sent;
        // Two hops at least; and in a wide network the outer header makes the client's packets too big.
        ensure!(if mtu == 1_500 { told >= 4 } else { told == 2 }, "{told} errors at an MTU of {mtu}");
        report(&format!("path_{}_{mtu}", wanted.name()), "fetched_ms", start.elapsed().as_millis());
        serving.stop()?;
    }
    Ok(())
}

#[test]
fn native() -> Result<()> {
    in_mode(Mode::Native, AttachedMode::Native)
}

#[test]
fn tc() -> Result<()> {
    in_mode(Mode::Tc, AttachedMode::Tc)
}
