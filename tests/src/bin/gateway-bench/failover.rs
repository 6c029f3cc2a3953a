//! A backend that dies under load, three ways: what a client meets with, behind the gateway with its daemon, with the
//! daemon killed, and behind nft, which asks nobody.

use crate::Effort;
use anyhow::{Context, Result};
use gateway_tests::backends::{Delivery, Links, SERVICE, address_of};
use gateway_tests::daemon::Daemon;
use gateway_tests::web::Server;
use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long wrk asks; after a quarter the backend dies, after three it is back.
const TIME: Duration = Duration::from_secs(12);
const PORT: u16 = 8_080;
/// Connections at once.
const AT_ONCE: &str = "100";
/// The one that dies.
const VICTIM: usize = 0;

/// How it falls silent.
#[derive(Clone, Copy)]
enum Silence {
    /// The process is killed: its host refuses.
    Process,
    /// The host drops whatever comes.
    Host,
    /// The link is down.
    Cable,
}

/// What stands between.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// The gateway and its daemon.
    Gateway,
    /// The gateway alone: its daemon is killed before.
    Alone,
    /// nft's destination NAT.
    Nft,
}

/// What wrk and the gateway tell.
struct Outcome {
    requests: u64,
    failed: u64,
    /// From the death on, milliseconds; what was noticed.
    noticed: Option<(f64, String)>,
}

pub fn run(effort: Effort) -> Result<()> {
    effort.two_cpus()?;
    let time = effort.time(TIME);
    println!(
        "failover: wrk asks two nginx for {time:?}, {AT_ONCE} requests at once, a connection for each, given up after"
    );
    println!("          1 s; after a quarter of the time one of them dies, after three quarters it is back.");
    println!("          Checks by TCP every 200 ms, three failures; or ten handshakes of clients\n");
    println!("{:<10}{:<28}{:>10}{:>9}{:>13}  noticed", "", "", "requests", "failed", "ms after");
    crate::pin(&[0, 1])?;
    for (what, silence) in [("process", Silence::Process), ("host", Silence::Host), ("cable", Silence::Cable)]
    {
        for (way, between) in [
            ("gateway", Between::Gateway),
            ("gateway, daemon killed", Between::Alone),
            ("nft, dnat to a map", Between::Nft),
        ] {
            let Outcome { requests, failed, noticed } =
                one(silence, between, time).with_context(|| format!("{what}, {way}"))?;
            let (after, said) =
                noticed.map_or(("-".to_owned(), "-".to_owned()), |(ms, said)| (format!("{ms:.0}"), said));
            println!("{what:<10}{way:<28}{requests:>10}{failed:>9}{after:>13}  {said}");
        }
    }
    println!();
    Ok(())
}

fn at(backend: usize) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address_of(backend, false).parse()?, PORT))
}

fn policy() -> String {
    let target = |n| format!("{{name: t{n}, address: {}, port: {PORT}}}", address_of(n, false));
    format!(
        "version: 1\npools:\n  web:\n    forward: dnat\n    targets: [{}, {}]\n    health: {{check: tcp, interval: 200ms, \
         timeout: 150ms, passive: {{failures: 10, window: 10s, ratio: 30%}}, eject: {{base: 2s, most: 10s}}, slow_start: 2s}}\n\
         routes:\n  - {{name: web, match: {{to: {}, protocol: tcp, port: 80}}, action: {{pool: web}}}}\n",
        target(0),
        target(1),
        SERVICE[0]
    )
}

fn ruleset() -> String {
    format!(
        "table ip nat {{\nchain in {{\ntype nat hook prerouting priority -100;\nip daddr {} tcp dport 80 dnat to numgen \
         inc mod 2 map {{ 0 : {}, 1 : {} }} : {PORT}\n}}\n}}\n",
        SERVICE[0],
        address_of(0, false),
        address_of(1, false)
    )
}

fn one(silence: Silence, between: Between, time: Duration) -> Result<Outcome> {
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    delivery.client.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
    let mut victim = Some(Server::start(&delivery.backends[VICTIM], &[at(VICTIM)?])?);
    let _other = Server::start(&delivery.backends[1], &[at(1)?])?;
    let mut daemon = None;
    if between == Between::Nft {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(ruleset().as_bytes())?;
        delivery.gateway.command("nft", &["-f", &file.path().display().to_string()])?;
    } else {
        let started = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], &[])?;
        started.apply(&policy())?;
        // Until its checks know the targets.
        thread::sleep(Duration::from_secs(2));
        daemon = Some(started);
    }
    if let (Between::Alone, Some(daemon)) = (between, &mut daemon) {
        daemon.kill()?;
    }
    let (told, died) = thread::scope(|scope| -> Result<_> {
        let asking = scope.spawn(|| {
            let seconds = format!("-d{}s", time.as_secs());
            let url = format!("http://{}/", SERVICE[0]);
            let arguments =
                ["-t1", "-c", AT_ONCE, &seconds, "--timeout", "1s", "-H", "Connection: close", &url];
            delivery.client.command("wrk", &arguments)
        });
        thread::sleep(time / 4);
        let died = SystemTime::now().duration_since(UNIX_EPOCH)?;
        fall_silent(silence, &delivery, &mut victim)?;
        thread::sleep(time / 2);
        come_back(silence, &delivery, &mut victim)?;
        let told = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((told, died))
    })?;
    if let (Between::Alone, Some(daemon)) = (between, &mut daemon) {
        daemon.start_again()?;
        thread::sleep(Duration::from_secs(1));
    }
    let noticed = match &daemon {
        Some(daemon) => first_notice(daemon, died)?,
        None => None,
    };
    let (requests, failed) = counts(&told)?;
    Ok(Outcome { requests, failed, noticed })
}

fn fall_silent(silence: Silence, delivery: &Delivery, victim: &mut Option<Server>) -> Result<()> {
    match silence {
        Silence::Process => *victim = None,
        Silence::Host => {
            let mut file = tempfile::NamedTempFile::new()?;
            file.write_all(
                b"table inet dead {\nchain in {\ntype filter hook input priority 0;\ndrop\n}\n}\n",
            )?;
            delivery.backends[VICTIM].command("nft", &["-f", &file.path().display().to_string()])?;
        }
        Silence::Cable => drop(delivery.backends[VICTIM].ip(&["link", "set", "dev", "b0", "down"])?),
    }
    Ok(())
}

fn come_back(silence: Silence, delivery: &Delivery, victim: &mut Option<Server>) -> Result<()> {
    let backend = &delivery.backends[VICTIM];
    match silence {
        Silence::Process => *victim = Some(Server::start(backend, &[at(VICTIM)?])?),
        Silence::Host => drop(backend.command("nft", &["flush", "ruleset"])?),
        Silence::Cable => {
            backend.ip(&["link", "set", "dev", "b0", "up"])?;
            // Routes went with the link.
            backend.ip(&["route", "replace", "192.0.2.0/24", "via", &format!("198.18.1{VICTIM}.1")])?;
        }
    }
    Ok(())
}

/// The first bad word of the victim after its death: when, and what.
fn first_notice(daemon: &Daemon<'_>, died: Duration) -> Result<Option<(f64, String)>> {
    let events = daemon.json(&["event", "list", "--alerts"])?;
    let events = events["events"].as_array().context("no events")?;
    let bad = events.iter().filter_map(|event| {
        let (at, change) = (event["time_unix_ns"].as_u64()?, event["change"].as_str()?);
        let after = at.checked_sub(u64::try_from(died.as_nanos()).ok()?)?;
        let is_bad = change.starts_with("down") || change.starts_with("open");
        (event["target"] == "web/t0" && is_bad).then(|| (after as f64 / 1e6, change.to_owned()))
    });
    Ok(bad.min_by(|a, b| a.0.total_cmp(&b.0)))
}

/// What wrk tells: requests that were answered, and those that failed one way or another.
fn counts(told: &str) -> Result<(u64, u64)> {
    let requests = told
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .with_context(|| told.to_owned())?;
    let errors = told.lines().find_map(|line| line.trim().strip_prefix("Socket errors: "));
    let failed =
        errors.unwrap_or_default().split(", ").filter_map(|part| part.split_once(' ')?.1.parse::<u64>().ok());
    Ok((requests, failed.sum()))
}
