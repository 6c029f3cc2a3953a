//! What a client waits for: from the beginning of a connection to the first byte that the server sends, one
//! connection after the other, by ways that end at the same server.

use super::{INTERFACES, Ruleset, governed};
use crate::Effort;
use crate::kernel::Bench;
use anyhow::{Context, Result};
use aya::programs::XdpMode;
use gateway_tests::netns::{Namespace, receive_offload};
use gateway_tests::packet::show::hex;
use gateway_tests::process::Process;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 4_000;
/// Address and port of the service, and of the server behind it.
const SERVICE: SocketAddr = at(203, 10);
const SERVER: SocketAddr = at(10, 1);
/// The gateway's own, at which proxies listen.
const PROXY: SocketAddr = at(198, 1);
const PORT: u16 = 7_000;
/// An answer comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the server looks whether it is to end.
const BEAT: Duration = Duration::from_millis(50);

/// An address of the client's network (198), the server's (10), or the service's (203).
const fn at(network: u8, host: u8) -> SocketAddr {
    let address = match network {
        10 => Ipv4Addr::new(10, 0, 0, host),
        198 => Ipv4Addr::new(198, 18, 0, host),
        _ => Ipv4Addr::new(203, 0, 113, host),
    };
    SocketAddr::new(std::net::IpAddr::V4(address), PORT)
}

/// What stands between client and server.
#[derive(Clone, Copy)]
enum Way {
    Redirect,
    Kernel(&'static str),
    /// The gateway, with a pool of these keys and these of its target.
    Pool(&'static str, &'static str),
    /// A program on the node, with its configuration, and how it is started with that.
    Proxy(&'static str, fn(&str) -> String, &'static [&'static str]),
}

/// The floor first.
const WAYS: [(&str, Way); 7] = [
    ("XDP redirect, both ways (floor)", Way::Redirect),
    ("plain IP forwarding", Way::Kernel("")),
    ("gateway, a pool, l2", Way::Pool("l2", "")),
    ("gateway, a pool, dnat", Way::Pool("dnat", ", port: 7000")),
    ("nft: DNAT by a map", Way::Kernel(TRANSLATING)),
    ("nginx stream", Way::Proxy("nginx", nginx, &["-e", "stderr", "-c"])),
    ("haproxy, TCP mode", Way::Proxy("haproxy", haproxy, &["-db", "-f"])),
];

const TRANSLATING: &str = "table ip bench {\n map targets {\n  \
    type ipv4_addr . inet_service : ipv4_addr . inet_service\n  \
    elements = { 203.0.113.10 . 7000 : 10.0.0.1 . 7000 }\n }\n chain prerouting {\n  \
    type nat hook prerouting priority -100;\n  dnat ip to ip daddr . tcp dport map @targets\n }\n}\n";

fn nginx(folder: &str) -> String {
    format!(
        "load_module /usr/local/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n\
         pid {folder}/nginx.pid;\nevents {{ worker_connections 1024; }}\n\
         stream {{ server {{ listen {PROXY}; proxy_pass {SERVER}; }} }}\n"
    )
}

fn haproxy(_folder: &str) -> String {
    format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         listen service\n  bind {PROXY}\n  server a {SERVER}\n"
    )
}

/// client ─ gateway ─ server. Client and server are as if on one link where frames are redirected.
struct Site {
    client: Namespace,
    gateway: Namespace,
    server: Namespace,
}

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 2];

impl Site {
    fn new() -> Result<Site> {
        let (client, gateway, server) =
            (Namespace::new("client")?, Namespace::new("gate")?, Namespace::new("server")?);
        for namespace in [&client, &gateway, &server] {
            namespace.silence()?;
        }
        gateway.veth("in", &client, "c0")?;
        gateway.veth("out", &server, "s0")?;
        client.mac("c0", CLIENT_MAC)?;
        server.mac("s0", SERVER_MAC)?;
        gateway.address("in", "198.18.0.1/24")?;
        gateway.address("out", "10.0.0.254/24")?;
        client.address("c0", "198.18.0.77/24")?;
        server.address("s0", "10.0.0.1/24")?;
        server.address("lo", "203.0.113.10/32")?;
        client.ip(&["route", "add", "default", "via", "198.18.0.1"])?;
        server.ip(&["route", "add", "default", "via", "10.0.0.254"])?;
        gateway.ip(&["route", "add", "203.0.113.10/32", "via", "10.0.0.1"])?;
        gateway.sysctl("net.ipv4.ip_forward", "1")?;
        // A veth takes XDP frames where its peer has a program or merges packets.
        client.run(|| receive_offload("c0", true))?;
        server.run(|| receive_offload("s0", true))?;
        Ok(Site { client, gateway, server })
    }

    /// Does something while this stands in the gateway's namespace; `work` is told where to connect.
    fn with<T: Send>(&self, way: Way, work: impl FnOnce(SocketAddr) -> Result<T> + Send) -> Result<T> {
        match way {
            Way::Redirect => {
                let _both = self.gateway.run(|| Ok([redirect("in", "out")?, redirect("out", "in")?]))?;
                let [client, server] = [CLIENT_MAC, SERVER_MAC].map(|mac| hex(&mac, ":"));
                self.client.ip(&["neigh", "replace", "198.18.0.1", "lladdr", &server, "dev", "c0"])?;
                self.server.ip(&["neigh", "replace", "10.0.0.254", "lladdr", &client, "dev", "s0"])?;
                let done = work(SERVICE);
                self.client.ip(&["neigh", "del", "198.18.0.1", "dev", "c0"])?;
                self.server.ip(&["neigh", "del", "10.0.0.254", "dev", "s0"])?;
                done
            }
            Way::Kernel(ruleset) => {
                let ruleset = Ruleset::load(&self.gateway, ruleset)?;
                let done = work(SERVICE);
                ruleset.flush()?;
                done
            }
            Way::Pool(forward, of_target) => self.gateway.run(|| {
                let target = format!("{{name: a, address: 10.0.0.1{of_target}}}");
                let policy = format!(
                    "version: 1\npools:\n  p: {{forward: {forward}, targets: [{target}]}}\nroutes:\n  \
                     - {{name: only, match: {{to: 203.0.113.10, protocol: tcp}}, action: {{pool: p}}}}\n"
                );
                governed(&policy, || work(SERVICE))
            }),
            Way::Proxy(program, configuration, arguments) => {
                let folder = tempfile::tempdir()?;
                let shown = |path: &Path| path.display().to_string();
                let file = folder.path().join("configuration");
                std::fs::write(&file, configuration(&shown(folder.path())))?;
                let file = shown(&file);
                let arguments = [arguments, &[file.as_str()]].concat();
                let _proxy = Process::serve(&self.gateway, program, &arguments, PORT)?;
                work(PROXY)
            }
        }
    }
}

/// What comes by one interface leaves by the other.
fn redirect(from: &str, to: &str) -> Result<Bench> {
    let mut bench = Bench::load()?;
    bench.set_out(nix::net::if_::if_nametoindex(to)?)?;
    bench.program("bench_redirect")?.attach(from, XdpMode::Driver)?;
    Ok(bench)
}

pub fn run(effort: Effort) -> Result<()> {
    effort.two_cpus()?;
    println!(
        "connect: a client connects, waits for the server's first byte, and closes: {CONNECTIONS} times, one"
    );
    println!(
        "         after the other, over {} and {}. With two CPUs it counts most whether whoever is woken",
        INTERFACES[0].0, INTERFACES[1].0
    );
    println!("         sleeps on the other one, with one what is done on the way\n");
    let site = Site::new()?;
    for cpus in [&[0, 1][..], &[0]] {
        crate::pin(cpus)?;
        let title = format!("CPUs for all: {}", cpus.len());
        println!("{title:<38}{:>11}{:>9}{:>11}{:>16}", "median us", "", "p99 us", "connections/s");
        measure(&site)?;
        println!();
    }
    Ok(())
}

/// By all ways, on the CPUs that the caller is pinned to.
fn measure(site: &Site) -> Result<()> {
    let end = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let listener = site.server.run(|| TcpListener::bind(("0.0.0.0", PORT)).context("the server"))?;
        let server = scope.spawn(move || serve(&listener, end));
        let mut floor = None;
        let shown = WAYS.into_iter().try_for_each(|(what, way)| {
            let times = site.with(way, |service| site.client.run(|| connect(service)));
            show(what, &times.with_context(|| what)?, &mut floor);
            Ok(())
        });
        end.store(true, Ordering::Relaxed);
        let served = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        shown.and(served)
    })
}

/// One byte for each who comes.
fn serve(listener: &TcpListener, end: &AtomicBool) -> Result<()> {
    nix::sys::socket::setsockopt(
        listener,
        nix::sys::socket::sockopt::ReceiveTimeout,
        &nix::sys::time::TimeVal::new(0, BEAT.subsec_micros().into()),
    )?;
    while !end.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => stream.write_all(b"x")?,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How long each connection took to its first byte, ascending, and all of them together.
fn connect(service: SocketAddr) -> Result<(Vec<Duration>, Duration)> {
    let begin = Instant::now();
    let one = |_| -> Result<Duration> {
        let start = Instant::now();
        let mut stream = TcpStream::connect_timeout(&service, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0])?;
        Ok(start.elapsed())
    };
    let mut times = (0..CONNECTIONS).map(one).collect::<Result<Vec<_>>>()?;
    let all = begin.elapsed();
    times.sort();
    Ok((times, all))
}

fn show(what: &str, (times, all): &(Vec<Duration>, Duration), floor: &mut Option<f64>) {
    let micros = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let median = micros(50);
    let floor = *floor.get_or_insert(median);
    println!(
        "{what:<38}{median:>11.1}{:>8.2}x{:>11.1}{:>16.0}",
        median / floor,
        micros(99),
        times.len() as f64 / all.as_secs_f64()
    );
}
