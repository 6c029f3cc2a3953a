//! Forwarded packets a second over veth, one core, generator included: live frames enter a gateway's
//! namespace by one veth and leave by another, where a program counts and drops them. And what a client
//! waits for whose connections take such ways.

mod connect;

use crate::Effort;
use crate::frames::{EthernetAddresses, Flow, RESTORED, frame};
use crate::kernel::{Bench, Gateway, Node};
use crate::policies;
use anyhow::{Result, ensure};
use aya::programs::XdpMode;
use gateway_tests::netns::{Namespace, receive_offload};
use gateway_user::dataplane::Mode;
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const FRAMES: u32 = 3_000_000;
const ROUNDS: usize = 3;
const FLOWS: u32 = 1 << 16;
/// Of the gateway, with their slots.
const INTERFACES: [(&str, u8); 2] = [("in", 1), ("out", 2)];

/// Ethernet addresses of the gateway's side and of the sender.
const ETHERNET: EthernetAddresses = [2, 0, 0, 0, 0, 0x10, 2, 0, 0, 0, 0, 1];

/// sender ─ gateway ─ receiver.
struct Path {
    sender: Namespace,
    gateway: Namespace,
    receiver: Namespace,
}

impl Path {
    fn new() -> Result<Path> {
        let (sender, gateway, receiver) =
            (Namespace::new("send")?, Namespace::new("gate")?, Namespace::new("recv")?);
        gateway.veth("in", &sender, "out")?;
        gateway.veth("out", &receiver, "in")?;
        gateway.mac("in", [2, 0, 0, 0, 0, 0x10])?;
        receiver.mac("in", [2, 0, 0, 0, 0, 0x20])?;
        gateway.address("in", "198.18.0.1/15")?;
        gateway.address("out", "10.0.0.254/24")?;
        gateway.sysctl("net.ipv4.ip_forward", "1")?;
        gateway.ip(&["neighbor", "add", "10.0.0.1", "lladdr", "02:00:00:00:00:20", "dev", "out"])?;
        // Without a program of its own a veth takes XDP frames only while it merges packets.
        gateway.run(|| receive_offload("in", true))?;
        Ok(Path { sender, gateway, receiver })
    }
}

/// What stands between sender and receiver.
#[derive(Clone, Copy)]
enum Way {
    /// A program that does nothing but redirect.
    Redirect,
    /// The gateway, with a policy.
    Gateway(fn() -> String),
    /// The kernel's own forwarding, with a ruleset of nft.
    Kernel(fn() -> String),
}

/// The floor first.
const WAYS: [(&str, Way); 11] = [
    ("bare XDP redirect (floor)", Way::Redirect),
    ("gateway, redirect, flows accounted", Way::Gateway(|| policies::one("action: {redirect: out}"))),
    ("gateway, a pool, l2", Way::Gateway(|| pool("l2", ""))),
    ("gateway, a pool, ipip", Way::Gateway(|| pool("ipip, source: 10.0.0.254", ""))),
    ("gateway, a pool, gue", Way::Gateway(|| pool("gue, source: 10.0.0.254", ""))),
    ("gateway, a pool, dnat", Way::Gateway(|| pool("dnat", ", port: 8080"))),
    ("plain IP forwarding", Way::Kernel(String::new)),
    ("gateway, mark, then IP forwarding", Way::Gateway(|| policies::one("mark: 0x10, action: pass"))),
    ("nft: match, mark, then IP forwarding", Way::Kernel(marking)),
    ("nft: DNAT by a map of 1", Way::Kernel(|| translating(1))),
    ("nft: DNAT by a map of 10,000", Way::Kernel(|| translating(10_000))),
];

pub fn run(effort: Effort) -> Result<()> {
    let rounds = effort.rounds(ROUNDS);
    println!("wire: frames forwarded over veth, one core with the generator; the best of {rounds} runs of");
    println!("      {FRAMES}, with one flow and with {FLOWS}: ns a frame, times the floor, frames lost\n");
    println!("{:<38}{:>8}{:>8}{:>9}{:>10}{:>8}{:>9}", "", "1 flow", "", "lost", "64k flows", "", "lost");
    let path = Path::new()?;
    let mut receiver = path.receiver.run(|| {
        let mut bench = Bench::load()?;
        bench.program("bench_drop")?.attach("in", XdpMode::Driver)?;
        Ok(bench)
    })?;
    let mut sender = path.sender.run(|| {
        let mut bench = Bench::load()?;
        let frames: Vec<_> = (0..FLOWS)
            .map(|n| {
                let source = Ipv4Addr::from(0xc612_0100 + n);
                frame(&ETHERNET, Flow { source, destination: Ipv4Addr::new(10, 0, 0, 1), port: 80 })
            })
            .collect::<Result<_>>()?;
        bench.load_frames(&frames)?;
        bench.set_out(nix::net::if_::if_nametoindex("out")?)?;
        Ok(bench)
    })?;
    let mut floor = None;
    for (what, way) in WAYS {
        let measured = on(&path, way, || {
            let mut of = |flows: u32| {
                sender.take_turns(flows)?;
                measure(&path, &mut sender, &mut receiver, rounds)
            };
            Ok([of(1)?, of(FLOWS)?])
        })?;
        let floor = *floor.get_or_insert(measured);
        print!("{what:<38}");
        for ((ns, lost), (of_floor, _)) in measured.into_iter().zip(floor) {
            print!("{ns:>8.0}{:>7.2}x{lost:>9} ", ns / of_floor);
        }
        println!();
    }
    drop((sender, receiver, path));
    println!();
    connect::run(effort)
}

/// Does something while this stands in the gateway's namespace.
fn on<T: Send>(path: &Path, way: Way, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    match way {
        Way::Redirect => {
            let _redirect = path.gateway.run(|| {
                let mut bench = Bench::load()?;
                bench.set_out(nix::net::if_::if_nametoindex("out")?)?;
                bench.program("bench_redirect")?.attach("in", XdpMode::Driver)?;
                Ok(bench)
            })?;
            work()
        }
        Way::Gateway(policy) => path.gateway.run(|| governed(&policy(), work)),
        Way::Kernel(ruleset) => {
            let ruleset = Ruleset::load(&path.gateway, &ruleset())?;
            let done = work();
            ruleset.flush()?;
            done
        }
    }
}

/// In the calling thread's namespace the gateway governs `in` and `out` while something is done.
fn governed<T>(policy: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut gateway = Gateway::load(true)?;
    for (interface, slot) in INTERFACES {
        gateway.dataplane.attach(interface, slot, Mode::Native)?;
    }
    gateway.apply(&policies::read(policy)?, Node { interfaces: &INTERFACES, ..Node::default() })?;
    let result = work();
    gateway.dataplane.detach_all()?;
    result
}

/// A pool of one target, the receiver; `forward` with its keys, and those of the target.
fn pool(forward: &str, of_target: &str) -> String {
    let targets = format!("[{{name: a, address: 10.0.0.1{of_target}}}]");
    format!("{}pools:\n  p: {{forward: {forward}, targets: {targets}}}\n", policies::one("action: {pool: p}"))
}

/// A ruleset that marks what the gateway's route marks.
fn marking() -> String {
    "table ip bench {\n chain forward {\n  type filter hook forward priority 0;\n  \
     ip daddr 10.0.0.1 udp dport 80 counter meta mark set 0x10 accept\n }\n}\n"
        .to_owned()
}

/// A ruleset that translates by a map of so many ports, the last of which is the one in use.
fn translating(entries: u32) -> String {
    let elements = (0..entries).map(|n| format!("{} : 10.0.0.1 . 8080", 80 + n));
    let elements = elements.collect::<Vec<_>>().join(", ");
    format!(
        "table ip bench {{\n map targets {{\n  type inet_service : ipv4_addr . inet_service\n  \
         elements = {{ {elements} }}\n }}\n chain prerouting {{\n  type nat hook prerouting priority -100;\n  \
         dnat ip to udp dport map @targets\n }}\n}}\n"
    )
}

/// A ruleset of nft in a namespace.
struct Ruleset<'a>(&'a Namespace);

impl Ruleset<'_> {
    /// Loads one; an empty one leaves the namespace as it is.
    fn load<'a>(namespace: &'a Namespace, text: &str) -> Result<Ruleset<'a>> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        namespace.command("nft", &["-f", &file.path().display().to_string()])?;
        Ok(Ruleset(namespace))
    }

    fn flush(self) -> Result<()> {
        self.0.command("nft", &["flush", "ruleset"]).map(drop)
    }
}

/// Nanoseconds a frame and frames lost, of the best round.
fn measure(path: &Path, sender: &mut Bench, receiver: &mut Bench, rounds: usize) -> Result<(f64, u64)> {
    let mut best = (f64::MAX, 0);
    for _ in 0..rounds {
        let before = receiver.ended()?;
        let start = Instant::now();
        ensure!(path.sender.run(|| sender.generate(RESTORED, FRAMES))?, "a signal stopped the sender");
        let spent = start.elapsed();
        std::thread::sleep(Duration::from_millis(50));
        let arrived = receiver.ended()? - before;
        let ns = spent.as_nanos() as f64 / arrived.max(1) as f64;
        if ns < best.0 {
            best = (ns, u64::from(FRAMES) - arrived);
        }
    }
    Ok(best)
}
