//! Changes of a translating pool under long connections: which of them lives on.

use crate::backends::{Delivery, Links, SERVICE, address_of};
use crate::connections::{Connection, Echo, allow_sockets, by_server, open};
use crate::daemon::Daemon;
use crate::network::request;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PORT: u16 = 7_100;
/// Of the targets; the third is on the second backend, and comes and goes.
const TARGETS: [(usize, u16); 3] = [(0, 8_100), (1, 8_100), (1, 8_101)];
/// Its number.
const GOES: u8 = 2;
/// So many changes of weights, then the third target goes or comes.
const BETWEEN: usize = 4;

/// Descriptors for everything else.
const RESERVED: u64 = 1_000;

/// How it went.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Connections of each target.
    pub by_target: [usize; 3],
    /// Of those of targets that stayed, how many did not live on.
    pub lost: usize,
    /// Times that a connection was asked while changes went on.
    pub asked: usize,
    /// From the first change to the last.
    pub took: Duration,
}

/// The third target with its comma, or nothing.
fn policy(with_third: bool) -> String {
    let count = if with_third { 3 } else { 2 };
    let target = |(i, (backend, port)): (usize, &(usize, u16))| {
        format!("{{name: t{i}, address: {}, port: {port}}}", address_of(*backend, false))
    };
    let targets: Vec<String> = TARGETS[..count].iter().enumerate().map(target).collect();
    format!(
        "version: 1\npools:\n  web: {{forward: dnat, targets: [{}]}}\n\
         routes:\n  - {{name: web, match: {{protocol: tcp, port: {PORT}}}, action: {{pool: web}}}}\n",
        targets.join(", ")
    )
}

/// Sockets of so many connections: both ends are in this process.
const fn sockets(connections: usize) -> u64 {
    2 * connections as u64 + RESERVED
}

/// How many connections, of so many, this process may have.
///
/// # Errors
/// If the limit cannot be read or set.
pub fn allowed(connections: usize) -> Result<usize> {
    let sockets = allow_sockets(sockets(connections))?;
    Ok(connections.min(sockets.saturating_sub(RESERVED) as usize / 2))
}

/// Opens so many connections, and asks them in turn while the pool changes so many times: mostly by
/// another weight of a target, and at each fifth change a target goes or comes.
///
/// # Errors
/// If a connection cannot be opened, or a change is refused.
pub fn under(connections: usize, changes: usize, arguments: &[&str]) -> Result<Outcome> {
    let (needed, allowed) = (sockets(connections), allow_sockets(sockets(connections))?);
    ensure!(allowed >= needed, "{needed} sockets are needed, and {allowed} are all that a process may have");
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    delivery.client.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
    let mut servers = Vec::new();
    for (number, (backend, port)) in (0..).zip(TARGETS) {
        let at = SocketAddr::new(address_of(backend, false).parse()?, port);
        servers.push(Echo::start(&delivery.backends[backend], at, number)?);
    }
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], arguments)?;
    daemon.apply(&policy(true))?;
    let service = SocketAddr::new(SERVICE[0].parse()?, PORT);
    let connections = delivery.client.run(|| open(service, connections))?;
    let by_target = by_server(&connections);
    // Who comes and goes ends what it had.
    let (mut staying, _going): (Vec<_>, Vec<_>) =
        connections.into_iter().partition(|connection| connection.by() != GOES);
    let (end, start) = (&AtomicBool::new(false), Instant::now());
    let all = &mut staying;
    let (changed, mut lost, asked) = std::thread::scope(|scope| {
        let asking = scope.spawn(move || ask(all, end));
        let changed = change(&daemon, changes);
        end.store(true, Ordering::Relaxed);
        let (lost, asked) = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (changed, lost, asked)
    });
    changed?;
    let took = start.elapsed();
    for ((number, connection), lost) in (0..).zip(&mut staying).zip(&mut lost) {
        *lost = *lost || connection.go_on(number).is_err();
    }
    let lost = lost.into_iter().filter(|lost| *lost).count();
    Ok(Outcome { by_target, lost, asked, took })
}

/// Asks all in turn until it is told to end: which of them were lost, and how often any was asked.
fn ask(connections: &mut [Connection], end: &AtomicBool) -> (Vec<bool>, usize) {
    let (mut lost, mut asked) = (vec![false; connections.len()], 0);
    while !end.load(Ordering::Relaxed) {
        for (number, connection) in connections.iter_mut().enumerate() {
            if end.load(Ordering::Relaxed) {
                break;
            }
            if !lost[number] {
                lost[number] = connection.go_on(asked as u32).is_err();
                asked += 1;
            }
        }
    }
    (lost, asked)
}

fn change(daemon: &Daemon<'_>, changes: usize) -> Result<()> {
    let socket = daemon.socket();
    let mut there = true;
    for n in 0..changes {
        if n % (BETWEEN + 1) == BETWEEN {
            there = !there;
            daemon.apply(&policy(there)).with_context(|| format!("change {n}"))?;
            continue;
        }
        let path = format!("/v1/pools/web/targets/t{}/weight", n % 2);
        let body = format!("{{\"weight\": {}}}", 1 + n * 37 % 1_000);
        let (status, answer) = request(&socket, "PUT", &path, &body)?;
        ensure!(status == 200, "change {n}: {status} {answer}");
    }
    Ok(())
}
