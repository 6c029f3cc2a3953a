//! A label of a million prefixes: how long until it is live, how large, what a packet pays, and how long
//! one member more or less takes.

use crate::Effort;
use crate::frames::{Frame, NOWHERE, between, restored, sized};
use crate::kernel::{Bench, Gateway, Node, compiled_with};
use anyhow::{Context, Result, anyhow, ensure};
use aya::programs::ProgramFd;
use gateway_common::abi::programs;
use gateway_common::live::FOR_EVER;
use gateway_tests::daemon::Daemon;
use gateway_tests::netns::Namespace;
use gateway_tests::network::request;
use gateway_tests::random::Random;
use gateway_user::compile::LabelTable;
use gateway_user::dataplane::{LiveMember, MemberChange};
use gateway_user::policy::{self, Policy};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

const PREFIXES: usize = 1_000_000;
const SEED: u64 = 0x6c61_6265_6c73;
/// Sources that take turns.
const SOURCES: usize = 1 << 16;
const ROUNDS: usize = 7;
const RUNS: u32 = 200_000;
/// Members added and removed.
const CHANGES: usize = 200;
/// So few that no packet finds its flow.
const MEMO_SETS: u32 = 16;
/// What an image needs beside its label table, lines and to spare.
const OTHER_LINES: u32 = 1 << 16;

/// The documents: no label, one prefix, all of them.
const NONE: &str = "version: 1\nroutes:\n  - {name: all, match: {protocol: udp}, action: pass}\n";
const LABELLED: &str = "version: 1\nlabels:\n  members: {file: FILE}\nroutes:\n  \
                        - {name: members, match: {from: [members], protocol: udp}, action: pass}\n";

/// IPv4 and IPv6 by turns, lengths from 16 to 32 and from 32 to 64.
fn prefixes(random: &mut Random) -> Vec<IpNet> {
    let mut found = BTreeSet::new();
    while found.len() < PREFIXES {
        let bits = random.bits();
        let prefix = if found.len() % 2 == 0 {
            // From 1.0.0.0 on, below multicast and beside loopback.
            let address = Ipv4Addr::from(0x0100_0000 + (bits as u32) % 0x7000_0000);
            Ipv4Net::new_assert(address, 16 + random.below(17) as u8).trunc().into()
        } else {
            let address = Ipv6Addr::from((0x2000_u128 << 112) | u128::from(bits >> 3) << 64);
            Ipv6Net::new_assert(address, 32 + random.below(33) as u8).trunc().into()
        };
        found.insert(prefix);
    }
    found.into_iter().collect()
}

/// An address within the prefix.
fn member(prefix: &IpNet, random: &mut Random) -> IpAddr {
    match prefix {
        IpNet::V4(net) => {
            let host = u32::from(net.hostmask()) & random.bits() as u32;
            Ipv4Addr::from(u32::from(net.network()) | host).into()
        }
        IpNet::V6(net) => {
            let host = u128::from(net.hostmask()) & u128::from(random.bits());
            Ipv6Addr::from(u128::from(net.network()) | host).into()
        }
    }
}

/// Packets from sources of which each lies in a prefix.
fn frames(prefixes: &[IpNet], random: &mut Random) -> Result<Vec<Frame>> {
    (0..SOURCES)
        .map(|_| {
            let source = member(random.pick(prefixes), random);
            let destination = match source {
                IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 1).into(),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
            };
            restored(&sized(between(&NOWHERE, source, destination).udp(4096, 80), 64))
        })
        .collect()
}

pub fn run(effort: Effort) -> Result<()> {
    let rounds = effort.rounds(ROUNDS);
    let mut random = Random::new(SEED);
    let prefixes = prefixes(&mut random);
    let frames = frames(&prefixes, &mut random)?;
    let folder = tempfile::tempdir()?;
    let file = |prefixes: &[IpNet]| -> Result<String> {
        let path = folder.path().join(format!("{}.txt", prefixes.len()));
        let mut text = String::new();
        for prefix in prefixes {
            writeln!(text, "{prefix}")?;
        }
        std::fs::write(&path, text)?;
        Ok(LABELLED.replace("FILE", &path.display().to_string()))
    };
    let (one, all) = (file(&prefixes[..1])?, file(&prefixes)?);
    println!(
        "labels: {PREFIXES} prefixes in a file, IPv4 /16 to /32 and IPv6 /32 to /64 by turns, seed {SEED:#x}\n"
    );
    let mut subject = Subject::load(&all, true)?;
    println!("\n{:<38}{:>10}", "ns a packet, memo missed", "");
    let mut bench = Bench::load()?;
    bench.load_frames(&frames)?;
    println!("  64k sources, half of them IPv6; the best of {rounds} rounds");
    let mut others = [Subject::load(NONE, false)?, Subject::load(&one, false)?];
    let mut best = [f64::MAX; 3];
    for _ in 0..rounds {
        let [none, one] = &mut others;
        for (best, subject) in best.iter_mut().zip([none, one, &mut subject]) {
            *best = best.min(bench.measure(&subject.program, RUNS)?);
        }
    }
    let [none, one_prefix, million] = best;
    println!("  {:<36}{none:>10.0}", "no label");
    println!("  {:<36}{one_prefix:>10.0}", "one prefix");
    println!("  {:<36}{million:>10.0}{:>8.2}x one prefix (aim: 2)", "a million", million / one_prefix);
    live(&mut subject.gateway, &prefixes)?;
    daemon(&all)
}

/// A gateway under a document.
struct Subject {
    gateway: Gateway,
    program: ProgramFd,
}

impl Subject {
    /// Says how long it took and how large it is, if that is asked for.
    fn load(document: &str, told: bool) -> Result<Subject> {
        let start = Instant::now();
        let policy = parse(document)?;
        let read = start.elapsed();
        let start = Instant::now();
        let labels = LabelTable::build(&policy.labels)?;
        let tables = start.elapsed();
        let start = Instant::now();
        let image = compiled_with(&policy, Node::default(), &labels)?;
        let compiled = start.elapsed();
        let lines = u32::try_from(labels.bytes() / 64)?.saturating_add(OTHER_LINES).next_power_of_two();
        let mut gateway = Gateway::with(|options| {
            options.memo_sets_per_cpu = MEMO_SETS;
            options.arena_lines = options.arena_lines.max(lines);
        })?;
        let start = Instant::now();
        gateway.dataplane.apply(&image, [0; 4], 0)?;
        let live = start.elapsed();
        if told {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            println!("{:<38}{:>10.3} s", "reading the file", read.as_secs_f64());
            println!("{:<38}{:>10.3} s", "label table", tables.as_secs_f64());
            println!("{:<38}{:>10.3} s", "the rest of the image", compiled.as_secs_f64());
            println!("{:<38}{:>10.3} s", "going live", live.as_secs_f64());
            println!("{:<38}{:>10.3} s", "in all", (read + tables + compiled + live).as_secs_f64());
            println!(
                "{:<38}{:>10.1} MiB, {} intervals; the arena has {:.0} MiB",
                "in the kernel",
                mib(labels.bytes() as u64),
                labels.intervals(),
                mib(u64::from(lines.max(1 << 20)) * 64)
            );
        }
        let program = gateway.program_fd(programs::XDP)?;
        Ok(Subject { gateway, program })
    }
}

fn parse(document: &str) -> Result<Policy> {
    policy::parse_with("bench", document, &policy::Folder(Path::new("/").to_owned()))
        .map_err(|errors| anyhow!("{}", errors.render(false)))
}

/// Prefixes that are none of the label's, of lengths that live members have.
fn strangers() -> impl Iterator<Item = IpNet> {
    (0..CHANGES as u32).map(|n| Ipv4Net::new_assert(Ipv4Addr::from(0xc600_0000 + (n << 8)), 24).into())
}

/// One live member added, and removed again, by the data plane.
fn live(gateway: &mut Gateway, prefixes: &[IpNet]) -> Result<()> {
    ensure!(strangers().all(|stranger| prefixes.binary_search(&stranger).is_err()), "strangers are members");
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for prefix in strangers() {
        let member = LiveMember { prefix, label: 1, until: FOR_EVER };
        for (times, change) in [
            (&mut added, MemberChange::Set(member)),
            (&mut removed, MemberChange::Remove { prefix, label: 1 }),
        ] {
            let start = Instant::now();
            let plan = gateway.dataplane.plan_members(&[change])?;
            gateway.dataplane.commit_members(plan)?;
            times.push(start.elapsed());
        }
    }
    println!("\n{:<38}{:>10}{:>10}", "one live member, ms", "median", "worst");
    show("added, by the data plane", &mut added);
    show("removed", &mut removed);
    Ok(())
}

/// The same by a daemon, asked through its API and by the command line.
fn daemon(document: &str) -> Result<()> {
    let namespace = Namespace::new("labels")?;
    let daemon = Daemon::start(&namespace, &["lo"], &["--mode", "tc", "--table-memory", "256MiB"])?;
    let path = daemon.policy_file("million.yaml", document)?;
    let start = Instant::now();
    daemon.done(&["policy", "apply", &path])?;
    let applied = start.elapsed();
    let (mut added, mut removed, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
    for prefix in strangers() {
        let members = "/v1/labels/members/members";
        let add = ("POST", members.to_owned(), format!("{{\"prefixes\": [\"{prefix}\"]}}"));
        let remove = ("DELETE", format!("{members}?prefix={prefix}"), String::new());
        for (times, (method, path, body)) in [(&mut added, add), (&mut removed, remove)] {
            let start = Instant::now();
            let (status, reply) = request(&daemon.socket(), method, &path, &body)?;
            times.push(start.elapsed());
            ensure!(status == 200, "{method} {prefix}: {status} {reply}");
        }
    }
    for prefix in strangers().take(CHANGES / 10) {
        let start = Instant::now();
        daemon.done(&["label", "add", "members", &prefix.to_string()])?;
        by_hand.push(start.elapsed());
    }
    show("added, by the daemon's API", &mut added);
    show("removed", &mut removed);
    show("added, by `gateway label add`", &mut by_hand);
    println!("\n{:<38}{:>10.3} s", "`gateway policy apply`", applied.as_secs_f64());
    let pid = daemon.json(&["status"])?["pid"].as_u64().context("the daemon has no pid")?;
    let (now, most) = (memory(pid, "VmRSS:")?, memory(pid, "VmHWM:")?);
    println!("{:<38}{now:>10.1} MiB, at most {most:.1}\n", "the daemon's memory, maps mapped into it");
    Ok(())
}

/// MiB, as /proc/PID/status says.
fn memory(pid: u64, key: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_owned())?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let worst = times.last().copied().unwrap_or_default();
    println!("  {what:<36}{:>10.3}{:>10.3}", ms(times[times.len() / 2]), ms(worst));
}
