//! Nanoseconds a packet, by BPF_PROG_TEST_RUN, the frame restored before each run.

use crate::Effort;
use crate::frames::{Flow, Frame, NOWHERE, frame};
use crate::kernel::{Bench, FRAMES, Gateway, Node};
use crate::policies::{self, Beside};
use crate::ways::{self, Ways};
use anyhow::{Context, Result, ensure};
use aya::programs::ProgramFd;
use gateway_common::abi::programs;
use gateway_user::dataplane::{AttachedMode, Mode};
use gateway_user::policy::{Per, Policy};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const ROUNDS: usize = 15;
/// How often everything is loaded anew, each time for a part of the rounds: where the kernel puts code and maps is worth
/// some nanoseconds either way.
const LOADS: usize = 3;
/// Lines of the arena: what 10,000 routes need, many times over.
const ARENA_LINES: u32 = 1 << 18;

/// A column of the table.
struct Column {
    /// Flows that take turns.
    flows: u32,
    /// Packets that are measured at once. Few, that some fall into times in which nobody else has the machine.
    runs: u32,
    /// How often that is in a round.
    times: usize,
}

/// One flow; as many as a busy node has; and so many that none is met again before the memo has given its line
/// away.
const COLUMNS: [Column; 3] = [
    Column { flows: 1, runs: 40_000, times: 10 },
    Column { flows: 1 << 16, runs: 1 << 17, times: 3 },
    Column { flows: FRAMES, runs: 400_000, times: 1 },
];

const FLOOR: &str = "empty program (floor)";
const LOOK_UP: &str = "LRU look-up (peer)";
const PASS: &str = "one route, pass";
const MARK: &str = "one route, mark";
const TEN: &str = "10 routes";
const WHOLE: &str = "limits, pool, ipip";

/// A row of the table.
struct Row {
    what: &'static str,
    /// `None`: no policy at all.
    policy: Option<Policy>,
    /// Routes that the frames are spread over.
    routes: u32,
    flow_accounting: bool,
    /// The network in which its pool's targets are.
    network: Option<u8>,
    told: Told,
}

/// What is told of a row beside its nanoseconds.
#[derive(Clone, Copy)]
enum Told {
    Nothing,
    /// How many times that row's.
    Times(&'static str),
    /// How much more than that row's.
    More(&'static str),
    /// That, and how many LRU look-ups it is.
    MoreInLookUps(&'static str),
}

impl Row {
    fn new(what: &'static str, policy: Policy) -> Row {
        Row {
            what,
            policy: Some(policy),
            routes: 1,
            flow_accounting: true,
            network: None,
            told: Told::Nothing,
        }
    }
    /// A row of a pool; it also says by which of the links.
    fn pool(what: &'static str, forward: &str, network: u8, ipv6: bool) -> Result<Row> {
        let policy = policies::read(&policies::pooled(forward, network, ipv6))?;
        Ok(Row { network: Some(network), ..Row::new(what, policy) })
    }
    fn spread(what: &'static str, routes: u32) -> Result<Row> {
        Ok(Row { routes, ..Row::new(what, policies::read(&policies::routes(routes))?) })
    }
    fn told(self, told: Told) -> Row {
        Row { told, ..self }
    }
}

fn rows() -> Result<Vec<Row>> {
    let one = |rest| policies::read(&policies::one(rest));
    let (pass, mark) = (one("action: pass")?, one("mark: 0x10, action: pass")?);
    let mut whole = Row::pool(WHOLE, "ipip", 4, false)?;
    whole.policy = whole.policy.map(|policy| {
        let policy = policies::limited(policy, Per::Route, policies::WIDE);
        policies::limited(policy, policies::PER_SOURCE, policies::WIDE)
    });
    Ok(vec![
        Row { policy: None, ..Row::new("no policy", policies::empty()) },
        Row::new(PASS, pass.clone()),
        Row { flow_accounting: false, ..Row::new("  flow accounting off", pass.clone()) },
        Row::new(MARK, mark.clone()),
        Row::new("one route, drop", one("action: drop")?),
        Row::new("one route, tx", one("action: tx")?),
        Row::new("pass, DSCP written", policies::with_dscp(pass.clone())).told(Told::More(PASS)),
        Row::new("pass, limit", policies::limited(pass.clone(), Per::Route, policies::WIDE))
            .told(Told::More(PASS)),
        Row::new("pass, limit, exact clock", policies::limited(pass.clone(), Per::Route, policies::NARROW))
            .told(Told::More(PASS)),
        Row::new("pass, limit per source", policies::limited(pass, policies::PER_SOURCE, policies::WIDE))
            .told(Told::MoreInLookUps(PASS)),
        Row::new("mark; others use flows'", policies::beside(mark.clone(), Beside::Flows))
            .told(Told::More(MARK)),
        Row::new("mark; others packets'", policies::beside(mark, Beside::Packets)).told(Told::More(MARK)),
        Row::pool("pool, l2", "l2", 0, false)?,
        Row::pool("pool, ipip", "ipip", 1, false)?,
        Row::pool("pool, ipip over IPv6", "ipip", 2, true)?,
        Row::pool("pool, gue", "gue", 3, false)?,
        whole,
        Row::spread(TEN, 10)?,
        Row::spread("1,000 routes", 1_000)?.told(Told::Times(TEN)),
        Row::spread("10,000 routes", 10_000)?.told(Told::Times(TEN)),
    ])
}

/// Frames of `count` flows, spread over `routes` routes (one: all to the only route).
fn frames(count: u32, routes: u32) -> Result<Vec<Frame>> {
    (0..count)
        .map(|n| {
            let (destination, port) =
                if routes == 1 { (Ipv4Addr::new(10, 0, 0, 1), 80) } else { policies::target(n % routes) };
            frame(&NOWHERE, Flow { source: Ipv4Addr::from(0xc612_0000 + n), destination, port })
        })
        .collect()
}

/// A program to be measured, and what keeps it loaded.
struct Subject {
    what: &'static str,
    routes: u32,
    program: ProgramFd,
    told: Told,
    ns: [f64; 3],
    _gateway: Option<Gateway>,
}

impl Subject {
    fn peer(what: &'static str, program: ProgramFd) -> Subject {
        Subject { what, routes: 1, program, told: Told::Nothing, ns: [f64::MAX; 3], _gateway: None }
    }
}

/// The floor, the peers, and every row's gateway under its policy.
fn subjects(bench: &mut Bench) -> Result<Vec<Subject>> {
    let gateway = Gateway::load(true)?;
    let program = gateway.program_fd(programs::XDP_PASS)?;
    let mut subjects = vec![
        Subject { _gateway: Some(gateway), ..Subject::peer(FLOOR, program) },
        Subject::peer("empty, leaving metadata", bench.program_fd("bench_metadata")?),
        Subject::peer("empty, head moved", bench.program_fd("bench_head")?),
        Subject::peer("LRU flow entry (peer)", bench.program_fd("bench_lru")?),
        Subject::peer(LOOK_UP, bench.program_fd("bench_look_up")?),
    ];
    for row in rows()? {
        let mut gateway = Gateway::with(|options| {
            options.arena_lines = ARENA_LINES;
            options.flow_accounting = row.flow_accounting;
        })?;
        if let Some(network) = row.network {
            let attachment = gateway.dataplane.attach(&ways::link(network), 1, Mode::Native)?;
            ensure!(attachment.mode == AttachedMode::Native, "attached as {attachment:?}");
        }
        if let Some(policy) = &row.policy {
            gateway.apply(policy, Node::default())?;
        }
        let program = gateway.program_fd(programs::XDP)?;
        let subject = Subject { routes: row.routes, told: row.told, ..Subject::peer(row.what, program) };
        subjects.push(Subject { _gateway: Some(gateway), ..subject });
    }
    Ok(subjects)
}

pub fn run(effort: Effort) -> Result<()> {
    Ways::make()?.run(|| measure(effort))
}

fn measure(effort: Effort) -> Result<()> {
    let rounds = effort.rounds(ROUNDS).div_ceil(LOADS);
    println!(
        "packet: ns a packet (64 bytes, UDP over IPv4), the frame restored before each run; the best of"
    );
    println!(
        "        {LOADS} times {rounds} rounds that go over all rows in turn, all of them loaded anew each time;"
    );
    println!(
        "        + is over the floor, an empty program behind the same restorer. New flows: none is met"
    );
    println!(
        "        twice, and nobody reads the ring; each has a source of its own. Pools have two targets,"
    );
    println!(
        "        and send by a veth. \"Others use flows'\": other routes of the policy have limits, labels,"
    );
    println!("        DSCP, SYN cookies; \"packets'\": they match TCP flags and lengths too.\n");
    println!(
        "{:<26}{:>10}{:>8}{:>12}{:>8}{:>12}{:>8}",
        "", "1 flow", "+", "64k flows", "+", "new flows", "+"
    );
    let mut benches = BTreeMap::new();
    for routes in [1, 10, 1_000, 10_000] {
        let mut bench = Bench::load()?;
        bench.load_frames(&frames(FRAMES, routes)?)?;
        benches.insert(routes, bench);
    }
    let mut best: Vec<[f64; 3]> = Vec::new();
    for load in 1..=LOADS {
        let mut peers = Bench::load()?;
        let mut subjects = subjects(&mut peers)?;
        for (subject, ns) in subjects.iter_mut().zip(best) {
            subject.ns = ns;
        }
        take_turns(&mut benches, &mut subjects, rounds)?;
        best = subjects.iter().map(|subject| subject.ns).collect();
        if load == LOADS {
            print(&subjects);
        }
    }
    Ok(())
}

/// Has the subjects take turns for so many rounds, and notes the best of each.
fn take_turns(benches: &mut BTreeMap<u32, Bench>, subjects: &mut [Subject], rounds: usize) -> Result<()> {
    for (column, Column { flows, runs, times }) in COLUMNS.into_iter().enumerate() {
        for _ in 0..rounds * times {
            for subject in &mut *subjects {
                let bench = benches.get_mut(&subject.routes).context("frames")?;
                bench.take_turns(flows)?;
                let ns = bench.measure(&subject.program, runs)?;
                subject.ns[column] = subject.ns[column].min(ns);
            }
        }
    }
    Ok(())
}

fn print(subjects: &[Subject]) {
    let of = |what| subjects.iter().find(|subject| subject.what == what).map_or([0.0; 3], |found| found.ns);
    let floor = of(FLOOR);
    let columns = |what: &str, unit: &str, value: &dyn Fn(usize) -> f64, digits: usize| {
        let [one, many, new] = [0, 1, 2].map(value);
        println!(
            "{:<26}{one:>17.digits$}{unit}{many:>19.digits$}{unit}{new:>19.digits$}{unit}",
            format!("  {what}")
        );
    };
    for subject in subjects {
        print!("{:<26}", subject.what);
        for (column, (ns, floor)) in subject.ns.iter().zip(floor).enumerate() {
            let width = if column == 0 { 10 } else { 12 };
            print!("{ns:>width$.0}{:>8.0}", ns - floor);
        }
        println!();
        match subject.told {
            Told::Nothing => {}
            Told::Times(base) => {
                columns(&format!("against {base}"), "x", &|i| subject.ns[i] / of(base)[i], 2);
            }
            Told::More(base) => {
                columns(&format!("more than {base}"), " ", &|i| subject.ns[i] - of(base)[i], 0);
            }
            Told::MoreInLookUps(base) => {
                let more = |i: usize| subject.ns[i] - of(base)[i];
                columns(&format!("more than {base}"), " ", &more, 0);
                columns("that, in LRU look-ups", "x", &|i| more(i) / (of(LOOK_UP)[i] - floor[i]), 2);
            }
        }
    }
    println!();
}
