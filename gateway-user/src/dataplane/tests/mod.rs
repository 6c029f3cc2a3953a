//! Against the kernel: each test in a network namespace and pin folder of its own.

mod applying;
mod attaching;
mod flowing;
mod full;
mod limiting;
mod members;
mod opening;
mod tracking;

use super::{Dataplane, Options, Program, TestRunOutcome, remove};
use crate::compile::{self, Image, LabelTable, Names, PoolTables, Surroundings};
use crate::policy::{Action, Default as PolicyDefault, Match, Policy, PortRange, Route};
use gateway_common::abi::COUNTER_FIRST_ROUTE;
use nix::sched::{CloneFlags, unshare};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// `XDP_DROP`, `XDP_PASS` and `XDP_REDIRECT` of linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// Runs a test in a new network namespace, which ends with it.
fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        test()
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs `ip` in the namespace of this thread.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A veth pair, both ends up.
fn veth(a: &str, b: &str) {
    ip(&format!("link add {a} type veth peer name {b}"));
    ip(&format!("link set {a} up"));
    ip(&format!("link set {b} up"));
}

/// A pin folder that is removed with all in it.
struct PinDir(PathBuf);

impl PinDir {
    fn new() -> PinDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        PinDir(PathBuf::from(format!("/sys/fs/bpf/gwtest-{}-{n}", std::process::id())))
    }

    /// Small maps.
    fn options(&self) -> Options {
        Options { arena_lines: 1 << 14, memo_sets_per_cpu: 64, ..Options::new(&self.0) }
    }

    fn open(&self) -> Dataplane {
        Dataplane::open(&self.options()).unwrap()
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

/// Interface `t<n>` has slot n, route `r<n>` counter slot n.
struct TestNames;

impl Names for TestNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        name.strip_prefix('t')?.parse().ok()
    }
    fn counter_slot(&self, route: &str) -> u32 {
        COUNTER_FIRST_ROUTE + route.strip_prefix('r').unwrap().parse::<u32>().unwrap()
    }
    fn limit_slot(&self, limit: &str) -> u32 {
        1 + u32::from(limit.ends_with("syn"))
    }
    fn target_slot(&self, target: &str) -> u32 {
        target.len() as u32
    }
    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        Some(target)
    }
    fn label_number(&self, label: &str) -> u32 {
        label.strip_prefix('l').unwrap().parse().unwrap()
    }
}

fn route(name: &str, matches: Match, action: Action) -> Route {
    Route { matches, ..Route::new(name, action) }
}

/// Matches a destination port.
fn to_port(port: u16) -> Match {
    Match { port: Some(vec![PortRange { first: port, last: port }]), ..Match::default() }
}

fn image(routes: Vec<Route>, default: PolicyDefault) -> Image {
    compiled(&Policy::new(routes, default))
}

fn compiled(policy: &Policy) -> Image {
    let labels = LabelTable::build(&policy.labels).unwrap();
    let surroundings = Surroundings {
        names: &TestNames,
        labels: &labels,
        live_sets: &[],
        pools: &PoolTables::default(),
        ns_per_jiffy: 4_000_000,
    };
    compile::compile(policy, &surroundings).unwrap()
}

/// Passes all but the destination port `port`, under route `r0`.
fn dropping(port: u16) -> Image {
    image(vec![route("r0", to_port(port), Action::Drop)], PolicyDefault::Pass)
}

/// A UDP frame from 10.0.0.`host`:4000 to 10.0.0.2:`port`.
fn udp(host: u8, port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, host, 10, 0, 0, 2]);
    frame.extend(4000u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend([0, 26, 0, 0]);
    frame.resize(14 + 46, 0);
    frame
}

fn run(dataplane: &Dataplane, frame: &[u8], ifindex: u32) -> TestRunOutcome {
    dataplane.test_run(Program::Xdp, frame, Some(ifindex), 1).unwrap()
}

#[test]
fn everything_may_move_to_another_thread() {
    fn moves<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    moves::<Dataplane>();
    moves::<super::FlowRing>();
    moves::<super::EventRing>();
    moves::<super::LinkWatcher>();
    moves::<super::KernelLog>();
    shared::<super::Readers>();
    shared::<super::Error>();
}
