//! Routes that use every component of the vocabulary: 10 of them, and 10,000.

use crate::frames::{Frame, NOWHERE, RESTORED, between, restored, sized};
use crate::kernel::{Arrival, Bench, Gateway, Node};
use crate::{Effort, policies};
use anyhow::{Context, Result, anyhow};
use aya::programs::ProgramFd;
use gateway_common::abi::programs;
use gateway_tests::netns::Namespace;
use gateway_user::dataplane::Mode;
use gateway_user::policy::{
    Action, Fragment, Label, LabelTest, Match, Policy, Range, Route, TcpFlags, protocol_number,
};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 15;
const RUNS: u32 = 400_000;
const SIZES: [u32; 2] = [10, 10_000];
/// Flows that take turns.
const FLOWS: [u32; 2] = [1, 1 << 16];
/// So few that no packet finds its flow, unless it is the only one.
const MEMO_SETS: u32 = 16;
/// What a policy of 10,000 must not exceed, times one of 10.
const AIM: f64 = 1.5;
/// Sources of all frames; their addresses carry label `ours`.
const SOURCES_V4: u32 = 0xc612_0000;
const SOURCES_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);

/// What a route is about.
#[derive(Clone, Copy)]
enum About {
    Tcp,
    Icmp,
    Udp6,
    Udp,
}

fn about(n: u32) -> About {
    [About::Tcp, About::Icmp, About::Udp6, About::Udp][n as usize % 4]
}

fn destination(n: u32) -> IpAddr {
    match about(n) {
        About::Udp6 => Ipv6Addr::from(u128::from(SOURCES_V6) | 1 << 64 | u128::from(n)).into(),
        _ => policies::target(n).0.into(),
    }
}

fn one<T>(first: T, last: T) -> Option<Vec<Range<T>>> {
    Some(vec![Range { first, last }])
}

/// Route `n` of the policy: every component of the vocabulary is in it or in one of its neighbours.
fn route(n: u32, interface: &str) -> Result<Route> {
    let port = policies::target(n).1;
    let odd = n / 4 % 2 == 1;
    let common = Match {
        interface: Some(vec![interface.to_owned()]),
        to: Some(vec![IpNet::from(destination(n))]),
        length: one(20, if odd { 1500 } else { 400 }),
        dscp: one(0, if odd { 63 } else { 7 }),
        ttl: one(if odd { 1 } else { 32 }, 255),
        vlan: one(0, 0),
        not: Some(Box::new(Match {
            from: Some(vec![Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24).into()]),
            source_port: one(0, 1023),
            ..Match::default()
        })),
        ..Match::default()
    };
    let number = |name: &str| protocol_number(name).map(|number| vec![number]);
    let labels = LabelTest { names: vec!["ours".to_owned()], all: odd };
    let from =
        if odd { None } else { Some(vec![Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 0, 0), 16).into()]) };
    let matches = match about(n) {
        About::Tcp => Match {
            protocol: number("tcp"),
            port: one(port, port),
            tcp_flags: Some(vec![TcpFlags { set: 2, mask: if odd { 18 } else { 23 } }]),
            labels: Some(labels),
            from,
            ..common
        },
        About::Icmp => Match {
            protocol: number("icmp"),
            icmp_type: one(8, 8),
            icmp_code: one(0, if odd { 0 } else { 15 }),
            from: Some(vec![Ipv4Net::new_assert(Ipv4Addr::from(SOURCES_V4), 15).into()]),
            ..common
        },
        About::Udp6 => Match {
            protocol: number("udp"),
            port: one(port, port),
            flow_label: one(0, if odd { 0xf_ffff } else { 0xff }),
            labels: Some(labels),
            from,
            ..common
        },
        About::Udp => Match {
            protocol: number("udp"),
            port: one(port, port),
            source_port: one(1024, 65_535),
            fragment: Some(vec![Fragment::Dont]),
            from: Some(vec![Ipv4Net::new_assert(Ipv4Addr::from(SOURCES_V4), 15).into()]),
            ..common
        },
    };
    Ok(Route { matches, ..Route::new(format!("r{n}"), Action::Pass) })
}

fn policy(count: u32, interface: &str) -> Result<Policy> {
    let routes = (0..count).map(|n| route(n, interface)).collect::<Result<_>>()?;
    let ours = vec![
        Ipv4Net::new_assert(Ipv4Addr::from(SOURCES_V4), 15).into(),
        ipnet::Ipv6Net::new_assert(SOURCES_V6, 48).into(),
    ];
    let mut policy = Policy { routes, ..policies::empty() };
    policy.labels.insert("ours".to_owned(), Label { prefixes: Arc::new(ours), file: None });
    Ok(policy)
}

/// Flow `flow` reaches route `flow % routes`.
fn frames(routes: u32, flows: u32) -> Result<Vec<Frame>> {
    (0..flows)
        .map(|flow| {
            let n = flow % routes;
            let source: IpAddr = match about(n) {
                About::Udp6 => Ipv6Addr::from(u128::from(SOURCES_V6) | u128::from(flow)).into(),
                _ => Ipv4Addr::from(SOURCES_V4 + flow).into(),
            };
            let frame = between(&NOWHERE, source, destination(n));
            let port = policies::target(n).1;
            let frame = match about(n) {
                About::Tcp => frame.tcp(4096, port),
                About::Icmp => frame.icmp(8, 0),
                About::Udp6 | About::Udp => frame.udp(4096, port),
            };
            restored(&sized(frame, RESTORED))
        })
        .collect()
}

/// A gateway under a policy of one size, with a memo or as good as none.
struct Subject {
    routes: u32,
    program: ProgramFd,
    arrival: Arrival,
    gateway: Gateway,
    ns: [f64; 2],
}

impl Subject {
    fn load(routes: u32, memo: bool, namespace: &Namespace, interface: &str) -> Result<Subject> {
        let mut gateway = Gateway::with(|options| {
            if !memo {
                options.memo_sets_per_cpu = MEMO_SETS;
            }
        })?;
        gateway.dataplane.attach(interface, 1, Mode::Native)?;
        let policy = policy(routes, interface)?;
        let interfaces = [(interface, 1)];
        gateway
            .apply(&policy, Node { interfaces: &interfaces, ..Node::default() })
            .with_context(|| format!("{routes} routes are refused"))?;
        let program = gateway.program_fd(programs::XDP)?;
        let arrival = Arrival { length: RESTORED, ifindex: namespace.ifindex(interface)? };
        Ok(Subject { routes, program, arrival, gateway, ns: [f64::MAX; 2] })
    }

    /// Every frame must have met with a route: a policy that is passed by costs something else.
    fn check(&self, put: u64) -> Result<()> {
        let default = self.gateway.dataplane.readers().route_counts(gateway_common::abi::COUNTER_DEFAULT);
        let malformed = self.gateway.dataplane.readers().route_counts(gateway_common::abi::COUNTER_MALFORMED);
        if default.packets + malformed.packets == 0 {
            return Ok(());
        }
        Err(anyhow!(
            "of {put} packets {} met with no route, {} are malformed",
            default.packets,
            malformed.packets
        ))
    }
}

pub fn run(effort: Effort) -> Result<()> {
    let rounds = effort.rounds(ROUNDS);
    println!(
        "vocabulary: ns a packet (64 bytes; TCP, ICMP, UDP over IPv4 and IPv6 by turns) under routes each of"
    );
    println!("            which has a destination, port or type of its own, and which together use every");
    println!(
        "            component: interface, from, labels, to, protocol, ports, ICMP type and code, TCP flags,"
    );
    println!(
        "            length, DSCP, fragment, flow label, VLAN, TTL, not. The best of {rounds} rounds.\n"
    );
    println!("{:<26}{:>10}{:>14}{:>18}", "", "1 flow", "64k flows", "64k, no memo");
    let namespace = Namespace::new("words")?;
    namespace.silence()?;
    namespace.run(|| measure(&namespace, rounds))
}

fn measure(namespace: &Namespace, rounds: usize) -> Result<()> {
    crate::pin(&[0])?;
    let mut subjects = Vec::new();
    for routes in SIZES {
        for memo in [true, false] {
            let interface = format!("in{}", subjects.len());
            namespace.veth(&interface, namespace, &format!("out{}", subjects.len()))?;
            let start = Instant::now();
            subjects.push(Subject::load(routes, memo, namespace, &interface)?);
            if memo {
                println!(
                    "  {routes} routes: compiled and live in {:.2} s, loading included",
                    start.elapsed().as_secs_f64()
                );
            }
        }
    }
    let mut benches = Vec::new();
    for routes in SIZES {
        let mut bench = Bench::load()?;
        bench.load_frames(&frames(routes, FLOWS[1])?)?;
        benches.push(bench);
    }
    for _ in 0..rounds {
        for (column, flows) in FLOWS.into_iter().enumerate() {
            for subject in &mut subjects {
                let size = SIZES.iter().position(|size| *size == subject.routes).context("size")?;
                let bench = &mut benches[size];
                bench.take_turns(flows)?;
                bench.aim(&subject.program)?;
                subject.ns[column] = subject.ns[column].min(bench.put(subject.arrival, RUNS)?);
            }
        }
    }
    for subject in &subjects {
        subject.check(rounds as u64 * u64::from(RUNS) * FLOWS.len() as u64)?;
    }
    let [small, small_missed, large, large_missed] = &subjects[..] else { return Err(anyhow!("subjects")) };
    let columns = |hit: &Subject, missed: &Subject| [hit.ns[0], hit.ns[1], missed.ns[1]];
    let (small, large) = (columns(small, small_missed), columns(large, large_missed));
    for (what, [one, many, missed]) in [("10 routes", small), ("10,000 routes", large)] {
        println!("{what:<26}{one:>10.0}{many:>14.0}{missed:>18.0}");
    }
    let [one, many, missed] = [0, 1, 2].map(|i| large[i] / small[i]);
    println!("{:<26}{one:>9.2}x{many:>13.2}x{missed:>17.2}x  (aim: {AIM})\n", "  against 10 routes");
    Ok(())
}
