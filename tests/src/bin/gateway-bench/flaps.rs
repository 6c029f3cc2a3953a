//! Targets whose checks fail and pass again and again: what that does to the connections of one that is well.

use crate::Effort;
use anyhow::{Context, Result};
use gateway_tests::backends::{Delivery, Links, SERVICE, address_of};
use gateway_tests::connections::{Connection, Echo, listen, open};
use gateway_tests::daemon::Daemon;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(60);
/// Targets that flap, all on one backend; the one that is well is on the other.
const FLAPPING: usize = 40;
const CONNECTIONS: usize = 200;
const PORT: u16 = 7_100;
const TARGET_PORT: u16 = 8_100;
/// How often what the checks find is another.
const TURN: Duration = Duration::from_millis(100);
/// Between two looks at the counters.
const LOOK: Duration = Duration::from_secs(2);

pub fn run(effort: Effort) -> Result<()> {
    effort.two_cpus()?;
    let time = effort.time(TIME);
    println!(
        "flaps: {FLAPPING} of {} targets are checked by HTTP every 100 ms and answer 200 and 500 by turns, for {time:?};",
        FLAPPING + 1
    );
    println!("       {CONNECTIONS} connections to the one that is well are asked in turn meanwhile\n");
    crate::pin(&[0, 1])?;
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    delivery.gateway.ip(&["route", "add", "10.99.0.0/16", "via", &address_of(1, false)])?;
    delivery.backends[1].ip(&["route", "add", "local", "10.99.0.0/16", "dev", "lo"])?;
    let well = SocketAddr::new(address_of(0, false).parse()?, TARGET_PORT);
    let server = Echo::start(&delivery.backends[0], well, 0)?;
    let check = delivery.backends[0].run(|| listen(SocketAddr::new(well.ip(), TARGET_PORT + 1)))?;
    let flapping = delivery.backends[1].run(|| listen(SocketAddr::from(([0, 0, 0, 0], TARGET_PORT + 1))))?;
    check.set_nonblocking(true)?;
    flapping.set_nonblocking(true)?;
    let end = &AtomicBool::new(false);
    let measured = thread::scope(|scope| {
        scope.spawn(|| answer(&check, end, |_| true));
        scope.spawn(|| {
            answer(&flapping, end, |since| (since.as_millis() / TURN.as_millis()).is_multiple_of(2));
        });
        let measured = measure(&delivery, time);
        end.store(true, Ordering::Relaxed);
        measured
    });
    server.stop()?;
    measured
}

/// Answers checks until told to end; well or not, by the time since it began.
fn answer(listener: &TcpListener, end: &AtomicBool, well: impl Fn(Duration) -> bool) {
    let start = Instant::now();
    while !end.load(Ordering::Relaxed) {
        while let Ok((stream, _)) = listener.accept() {
            let status = if well(start.elapsed()) { "200 OK" } else { "500 Internal Server Error" };
            // One that went away is asked again soon.
            let _ = say(stream, status);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn say(mut stream: TcpStream, status: &str) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut question = [0; 512];
    let _ = stream.read(&mut question)?;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn policy() -> String {
    let flapping: Vec<String> = (1..=FLAPPING)
        .map(|n| format!("{{name: f{n}, address: 10.99.0.{n}, port: {TARGET_PORT}}}"))
        .collect();
    format!(
        "version: 1\npools:\n  web:\n    forward: dnat\n    targets: [{{name: well, address: {}, port: {TARGET_PORT}, weight: 10}}, {}]\n    \
         health: {{check: {{http: {{path: /, port: {}}}}}, interval: 100ms, timeout: 90ms, rise: 1, fall: 1, eject: {{base: 100ms, most: \
         100ms}}, panic: 0%, slow_start: 0s}}\nroutes:\n  - {{name: web, match: {{to: {}, protocol: tcp, port: {PORT}}}, action: {{pool: web}}}}\n",
        address_of(0, false),
        flapping.join(", "),
        TARGET_PORT + 1,
        SERVICE[0]
    )
}

fn measure(delivery: &Delivery, time: Duration) -> Result<()> {
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], &[])?;
    // At first only the target that is well: these connections are its own.
    let all = policy();
    let alone: String = all
        .split_inclusive('\n')
        .map(|line| match line.split_once(", {name: f1") {
            Some((first, _)) => format!("{first}]\n"),
            None => line.to_owned(),
        })
        .collect();
    daemon.apply(&alone)?;
    let service = SocketAddr::new(SERVICE[0].parse()?, PORT);
    let mut connections = delivery.client.run(|| open(service, CONNECTIONS))?;
    daemon.apply(&all)?;
    let before = generation(&daemon)?;
    let (start, mut looked) = (Instant::now(), Instant::now());
    let (mut asked, mut lost, mut went_back) = (0_u32, 0, 0);
    let mut counters = counters(&daemon)?;
    while start.elapsed() < time {
        let gone = |connection: &mut Connection| connection.go_on(asked).is_err();
        let left: Vec<usize> =
            (0..).zip(&mut connections).filter_map(|(n, connection)| gone(connection).then_some(n)).collect();
        asked += 1;
        lost += left.len();
        for n in left.into_iter().rev() {
            connections.remove(n);
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            let now = self::counters(&daemon)?;
            went_back +=
                counters.iter().filter(|(name, count)| now.get(*name).is_none_or(|new| new < count)).count();
            counters = now;
        }
    }
    let line = |what: &str, value: String| println!("  {what:<56}{value:>10}");
    let log = daemon.log();
    let flaps = log.lines().filter(|line| line.contains("\"down: ") || line.contains("\"up: ")).count();
    line("times that a target went down or up", flaps.to_string());
    line("tables built for that", (generation(&daemon)? - before).to_string());
    line("questions answered by the target that is well", (asked as usize * CONNECTIONS - lost).to_string());
    line("of its connections lost", lost.to_string());
    line("counters that went back", went_back.to_string());
    line(
        "packets dropped for want of a target",
        daemon.metric("gateway_drops_total", &["reason=\"no_target\""])?.to_string(),
    );
    println!();
    Ok(())
}

fn generation(daemon: &Daemon<'_>) -> Result<u64> {
    let status = daemon.json(&["status"])?;
    status["policy"]["generation"].as_u64().with_context(|| status.to_string())
}

/// All counters of the metrics.
fn counters(daemon: &Daemon<'_>) -> Result<HashMap<String, f64>> {
    let text = daemon.get("/metrics")?;
    let counters = text.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        name.split('{').next()?.ends_with("_total").then(|| Some((name.to_owned(), value.parse().ok()?)))?
    });
    Ok(counters.collect())
}
