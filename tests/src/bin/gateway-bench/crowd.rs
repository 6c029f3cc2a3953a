//! More connections than one process may have sockets for: servers and clients are processes of their own.

use anyhow::{Context, Result, anyhow, bail, ensure};
use gateway_tests::backends::Delivery;
use gateway_tests::changes::{self, Crowd};
use gateway_tests::connections::{allow_sockets, by_server, listen, open, serve};
use gateway_tests::netns::Namespace;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What this program is asked for to be such a process.
const SERVE: &str = "crowd-serve";
const OPEN: &str = "crowd-open";
/// Connections of one client, for which a process may have sockets nearly everywhere.
const OF_EACH: usize = 10_000;
/// Descriptors for everything else.
const RESERVED: u64 = 100;

/// Servers and clients.
pub struct Processes {
    servers: Vec<Worker>,
    clients: Vec<Worker>,
    by_target: [usize; 3],
}

/// A process, which ends when nobody writes to it any more.
struct Worker {
    child: Child,
    to: Option<ChildStdin>,
    from: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(namespace: &Namespace, arguments: &[String]) -> Result<Worker> {
        let program = std::env::current_exe()?;
        let mut child = namespace.run(|| {
            let mut command = Command::new(&program);
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
            Ok(command.spawn()?)
        })?;
        let to = child.stdin.take();
        let from = child.stdout.take().context("no output")?;
        Ok(Worker { child, to, from: BufReader::new(from).lines() })
    }

    /// The numbers of its next line.
    fn numbers(&mut self) -> Result<Vec<usize>> {
        let line = self.from.next().ok_or_else(|| anyhow!("a process of the crowd ended"))??;
        line.split(' ').map(|word| word.parse().with_context(|| line.clone())).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.to = None;
        // It ended by itself, or does so now; there is nobody to tell.
        let _ = self.child.wait();
    }
}

impl Processes {
    /// Opens so many connections.
    pub fn gather(delivery: &Delivery, service: SocketAddr, connections: usize) -> Result<Processes> {
        let mut servers = Vec::new();
        for (number, (backend, at)) in changes::servers()?.into_iter().enumerate() {
            let arguments = [SERVE.to_owned(), at.to_string(), number.to_string()];
            let mut server = Worker::start(&delivery.backends[backend], &arguments)?;
            server.numbers()?;
            servers.push(server);
        }
        let mut clients = Vec::new();
        let mut left = connections;
        while left > 0 {
            let count = left.min(OF_EACH);
            let arguments = [OPEN.to_owned(), service.to_string(), count.to_string()];
            clients.push(Worker::start(&delivery.client, &arguments)?);
            left -= count;
        }
        let mut by_target = [0; 3];
        for client in &mut clients {
            let of_client = client.numbers()?;
            ensure!(of_client.len() == by_target.len(), "{of_client:?}");
            for (all, count) in by_target.iter_mut().zip(of_client) {
                *all += count;
            }
        }
        Ok(Processes { servers, clients, by_target })
    }
}

impl Crowd for Processes {
    fn by_target(&self) -> [usize; 3] {
        self.by_target
    }

    fn ask(&mut self, end: &AtomicBool) -> Result<(usize, usize)> {
        for client in &mut self.clients {
            client.to.as_mut().context("no input")?.write_all(b"ask\n")?;
        }
        while !end.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        let (mut lost, mut asked) = (0, 0);
        for client in &mut self.clients {
            client.to = None;
        }
        for client in &mut self.clients {
            let [of_client, times] = client.numbers()?[..] else { bail!("no two numbers") };
            (lost, asked) = (lost + of_client, asked + times);
        }
        self.servers.clear();
        Ok((lost, asked))
    }
}

/// Is a process of a crowd, where the arguments say so; whether they did.
pub fn take_part(arguments: &[String]) -> Result<bool> {
    let [what, at, number] = arguments else { return Ok(false) };
    match what.as_str() {
        SERVE => serve_until_told(at.parse()?, number.parse()?)?,
        OPEN => open_and_ask(at.parse()?, number.parse()?)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Sets this once nobody writes to this process any more, and waits for the first line at most.
fn told(end: &'static AtomicBool) -> thread::JoinHandle<()> {
    thread::spawn(|| {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
        }
        end.store(true, Ordering::Relaxed);
    })
}

static END: AtomicBool = AtomicBool::new(false);

fn serve_until_told(at: SocketAddr, number: u8) -> Result<()> {
    allow_sockets(u64::MAX >> 32)?;
    let listener = listen(at)?;
    println!("{number}");
    told(&END);
    serve(&listener, number, &END)
}

fn open_and_ask(service: SocketAddr, count: usize) -> Result<()> {
    let (needed, allowed) = (count as u64 + RESERVED, allow_sockets(count as u64 + RESERVED)?);
    ensure!(allowed >= needed, "{needed} sockets are needed, and {allowed} are all that a process may have");
    let mut connections = open(service, count)?;
    let [a, b, c] = by_server::<3>(&connections);
    println!("{a} {b} {c}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    ensure!(line == "ask\n", "told {line:?}");
    told(&END);
    let (lost, asked) = changes::ask(&mut connections, &END);
    println!("{lost} {asked}");
    Ok(())
}
