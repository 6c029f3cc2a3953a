//! Forwarded packets a second over veth, one core, generator included: live frames enter a gateway's
//! namespace by one veth and leave by another, where a program counts and drops them.

use crate::Effort;
use crate::frames::{EthernetAddresses, Flow, RESTORED, frame};
use crate::kernel::{Bench, Gateway, Node};
use crate::policies;
use anyhow::{Context, Result, ensure};
use aya::programs::XdpMode;
use gateway_tests::netns::{Namespace, receive_offload};
use gateway_user::dataplane::Mode;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const FRAMES: u32 = 3_000_000;
const ROUNDS: usize = 3;
const FLOWS: u32 = 1 << 10;

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

pub fn run(effort: Effort) -> Result<()> {
    let rounds = effort.rounds(ROUNDS);
    println!(
        "wire: frames forwarded over veth, one core with the generator; the best of {rounds} runs of {FRAMES}\n"
    );
    println!("{:<40}{:>10}{:>12}{:>10}{:>14}", "", "Mpps", "ns a frame", "lost", "to redirect");
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
    let mut show = |what: &str, path: &Path| -> Result<()> {
        let (ns, lost) = measure(path, &mut sender, &mut receiver, rounds)?;
        let floor = *floor.get_or_insert(ns);
        println!("{what:<40}{:>10.2}{ns:>12.0}{lost:>10}{:>13.2}x", 1e3 / ns, ns / floor);
        Ok(())
    };

    let redirect = path.gateway.run(|| {
        let mut bench = Bench::load()?;
        bench.set_out(nix::net::if_::if_nametoindex("out")?)?;
        bench.program("bench_redirect")?.attach("in", XdpMode::Driver)?;
        Ok(bench)
    })?;
    show("bare XDP redirect (floor)", &path)?;
    drop(redirect);

    with_gateway(&path, "action: {redirect: out}", || show("gateway, redirect, flows accounted", &path))?;
    show("plain IP forwarding", &path)?;
    with_gateway(&path, "mark: 0x10, action: pass", || show("gateway, mark, then IP forwarding", &path))?;
    path.gateway.command("nft", &["-f", &ruleset(1)?])?;
    show("nft: match, mark, then IP forwarding", &path)?;
    path.gateway.command("nft", &["flush", "ruleset"])?;
    println!();
    Ok(())
}

/// The gateway governs `in` under one route while `work` runs.
fn with_gateway(path: &Path, rest: &str, work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    path.gateway.run(|| {
        let mut gateway = Gateway::load(true)?;
        gateway.dataplane.register_egress("out", 2)?;
        gateway.dataplane.attach("in", 1, Mode::Native)?;
        let interfaces = [("in", 1), ("out", 2)];
        gateway.apply(
            &policies::read(&policies::one(rest))?,
            Node { interfaces: &interfaces, ..Node::default() },
        )?;
        let result = work();
        gateway.dataplane.detach_all()?;
        result
    })
}

/// A ruleset that marks what the gateway's route marks.
fn ruleset(routes: u32) -> Result<String> {
    let file = std::env::temp_dir().join(format!("gateway-bench-{}.nft", std::process::id()));
    let mut text =
        String::from("table ip bench {\n chain forward {\n  type filter hook forward priority 0;\n");
    for _ in 0..routes {
        text.push_str("  ip daddr 10.0.0.1 udp dport 80 counter meta mark set 0x10 accept\n");
    }
    text.push_str(" }\n}\n");
    std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    Ok(file.display().to_string())
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
