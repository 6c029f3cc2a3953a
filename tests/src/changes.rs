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

/// Servers of the targets, and connections to them.
pub trait Crowd: Send {
    /// Connections of each target.
    fn by_target(&self) -> [usize; 3];
    /// Asks those of the targets that stay in turn until it is told to end, and then once more: how many were lost,
    /// and how often any was asked.
    ///
    /// # Errors
    /// If that cannot be known.
    fn ask(&mut self, end: &AtomicBool) -> Result<(usize, usize)>;
}

/// Where the targets' servers are: the number of the backend, and the address.
///
/// # Errors
/// Never: all are addresses.
pub fn servers() -> Result<[(usize, SocketAddr); 3]> {
    let mut servers = [(0, SocketAddr::from(([0; 4], 0))); 3];
    for (server, (backend, port)) in servers.iter_mut().zip(TARGETS) {
        *server = (backend, SocketAddr::new(address_of(backend, false).parse()?, port));
    }
    Ok(servers)
}

/// Asks a crowd in turn while the pool changes so many times: mostly by another weight of a target, and at each fifth
/// change a target goes or comes. `gather` makes it, once its pool is live at this address.
///
/// # Errors
/// If a connection cannot be opened, or a change is refused.
pub fn under<C: Crowd>(
    changes: usize,
    gather: impl FnOnce(&Delivery, SocketAddr) -> Result<C>,
) -> Result<Outcome> {
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    delivery.client.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], &[])?;
    daemon.apply(&policy(true))?;
    let mut crowd = gather(&delivery, SocketAddr::new(SERVICE[0].parse()?, PORT))?;
    let by_target = crowd.by_target();
    let (end, start) = (&AtomicBool::new(false), Instant::now());
    let all = &mut crowd;
    let (changed, asked) = std::thread::scope(|scope| {
        let asking = scope.spawn(move || all.ask(end));
        let changed = change(&daemon, changes);
        let took = start.elapsed();
        end.store(true, Ordering::Relaxed);
        let asked = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (changed.map(|()| took), asked)
    });
    let took = changed?;
    let (lost, asked) = asked?;
    Ok(Outcome { by_target, lost, asked, took })
}

/// A crowd of this process.
pub struct Threads {
    _servers: Vec<Echo>,
    connections: Vec<Connection>,
}

impl Threads {
    /// Opens so many connections.
    ///
    /// # Errors
    /// If one cannot be opened, or this process may not have so many sockets.
    pub fn gather(delivery: &Delivery, service: SocketAddr, connections: usize) -> Result<Threads> {
        let (needed, allowed) = (sockets(connections), allow_sockets(sockets(connections))?);
        ensure!(
            allowed >= needed,
            "{needed} sockets are needed, and {allowed} are all that a process may have"
        );
        let mut running = Vec::new();
        for (number, (backend, at)) in (0..).zip(servers()?) {
            running.push(Echo::start(&delivery.backends[backend], at, number)?);
        }
        let connections = delivery.client.run(|| open(service, connections))?;
        Ok(Threads { _servers: running, connections })
    }
}

impl Crowd for Threads {
    fn by_target(&self) -> [usize; 3] {
        by_server(&self.connections)
    }
    fn ask(&mut self, end: &AtomicBool) -> Result<(usize, usize)> {
        Ok(ask(&mut self.connections, end))
    }
}

/// See [`Crowd::ask`].
pub fn ask(connections: &mut [Connection], end: &AtomicBool) -> (usize, usize) {
    // Who comes and goes ends what it had.
    let mut staying: Vec<&mut Connection> =
        connections.iter_mut().filter(|connection| connection.by() != GOES).collect();
    let (mut lost, mut asked) = (vec![false; staying.len()], 0);
    let mut last = false;
    while !last {
        last = end.load(Ordering::Relaxed);
        for (connection, lost) in staying.iter_mut().zip(&mut lost) {
            if !last && end.load(Ordering::Relaxed) {
                break;
            }
            if !*lost {
                *lost = connection.go_on(asked as u32).is_err();
                asked += 1;
            }
        }
    }
    (lost.into_iter().filter(|lost| *lost).count(), asked)
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
