//! A backend that dies under load, three ways: what a client meets with, behind the gateway with its daemon, with the
//! daemon killed, and behind nft, which asks nobody.

use crate::Effort;
use anyhow::{Context, Result};
use gateway_tests::backends::{Delivery, Links, SERVICE, address_of};
use gateway_tests::daemon::{Daemon, sum_of};
use gateway_tests::web::Server;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long wrk asks; after a quarter the backend dies, after three it is back.
const TIME: Duration = Duration::from_secs(12);
const PORT: u16 = 8_080;
/// Connections at once.
const AT_ONCE: &str = "100";
/// The one that dies.
const VICTIM: usize = 0;
/// Its labels in the metrics.
const LABELS: [&str; 2] = ["pool=\"web\"", "target=\"t0\""];
/// How often the metrics are read.
const EVERY: Duration = Duration::from_millis(20);

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
    /// The failures of the one that died, by the gateway's metrics.
    failures: Option<f64>,
    /// What the metrics told meanwhile, where a daemon served them.
    told: Option<Told>,
    /// What was noticed first, by the gateway's events.
    noticed: Option<String>,
}

/// The metrics of the one that dies, as they stand.
#[derive(Clone, Copy)]
struct Sight {
    at: Instant,
    /// Whether new connections go to it.
    takes: bool,
    /// Of its weight, from 0 to 1.
    share: f64,
    /// Connections so far.
    opened: f64,
    /// Handshakes refused, reset or unanswered so far.
    failures: f64,
}

/// What came of it by the metrics.
struct Told {
    /// From the death until it took no new connections, milliseconds.
    down: f64,
    /// New connections that it was given from then on until it was back.
    tried: f64,
    /// From when it was back until it took new connections again, and until it had its whole share, milliseconds.
    back: [f64; 2],
}

pub fn run(effort: Effort) -> Result<()> {
    effort.two_cpus()?;
    let time = effort.time(TIME);
    println!(
        "failover: wrk asks two nginx for {time:?}, {AT_ONCE} requests at once, a connection for each, given up after"
    );
    println!("          1 s; after a quarter of the time one of them dies, after three quarters it is back.");
    println!(
        "          Checks by TCP every 200 ms, or ten handshakes of clients that fail. By its metrics, read every"
    );
    println!(
        "          {EVERY:?}: handshakes that failed; until no new connection goes there; those that tried it yet;"
    );
    println!("          once it is back until connections go there, and until it has its whole share\n");
    println!(
        "{:<10}{:<24}{:>9}{:>8}{:>10}{:>9}{:>7}{:>9}{:>9}  first noticed",
        "", "", "requests", "failed", "handsh.", "down ms", "tried", "back ms", "whole ms"
    );
    crate::pin(&[0, 1])?;
    for (what, silence) in [("process", Silence::Process), ("host", Silence::Host), ("cable", Silence::Cable)]
    {
        for (way, between) in [
            ("gateway", Between::Gateway),
            ("gateway, daemon killed", Between::Alone),
            ("nft, dnat to a map", Between::Nft),
        ] {
            let outcome = one(silence, between, time).with_context(|| format!("{what}, {way}"))?;
            let number = |number: Option<f64>| {
                number
                    .filter(|number| number.is_finite())
                    .map_or("-".to_owned(), |number| format!("{number:.0}"))
            };
            let told = |of: &dyn Fn(&Told) -> f64| number(outcome.told.as_ref().map(of));
            println!(
                "{what:<10}{way:<24}{:>9}{:>8}{:>10}{:>9}{:>7}{:>9}{:>9}  {}",
                outcome.requests,
                outcome.failed,
                number(outcome.failures),
                told(&|told| told.down),
                told(&|told| told.tried),
                told(&|told| told.back[0]),
                told(&|told| told.back[1]),
                outcome.noticed.as_deref().unwrap_or("-")
            );
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
         timeout: 100ms, fall: 1, passive: {{failures: 10, window: 10s, ratio: 30%}}, eject: {{base: 2s, most: 10s}}, slow_start: 2s}}\n\
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
    let before = daemon.as_ref().map(sight).transpose()?;
    if let (Between::Alone, Some(daemon)) = (between, &mut daemon) {
        daemon.kill()?;
    }
    let watched = daemon.as_ref().filter(|_| between == Between::Gateway);
    let over = AtomicBool::new(false);
    let (told, seen, moments) = thread::scope(|scope| -> Result<_> {
        let watching = watched.map(|daemon| scope.spawn(|| watch(daemon, &over)));
        let asking = scope.spawn(|| {
            let seconds = format!("-d{}s", time.as_secs());
            let url = format!("http://{}/", SERVICE[0]);
            let arguments =
                ["-t1", "-c", AT_ONCE, &seconds, "--timeout", "1s", "-H", "Connection: close", &url];
            delivery.client.command("wrk", &arguments)
        });
        thread::sleep(time / 4);
        let mut dies = || -> Result<_> {
            let died = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
            fall_silent(silence, &delivery, &mut victim)?;
            thread::sleep(time / 2);
            come_back(silence, &delivery, &mut victim)?;
            Ok((died, Instant::now()))
        };
        let moments = dies();
        let told = asking.join();
        // Whatever became of it: the scope waits for who watches.
        over.store(true, Ordering::Relaxed);
        let told = told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let seen = watching.map(join).transpose()?;
        Ok((told?, seen, moments?))
    })?;
    let ((died, died_at), back) = moments;
    if let (Between::Alone, Some(daemon)) = (between, &mut daemon) {
        daemon.start_again()?;
        thread::sleep(Duration::from_secs(1));
    }
    let (mut noticed, mut failures) = (None, None);
    if let (Some(daemon), Some(before)) = (&daemon, before) {
        noticed = first_notice(daemon, died_at)?;
        failures = Some(sight(daemon)?.failures - before.failures);
    }
    let (requests, failed) = counts(&told)?;
    Ok(Outcome {
        requests,
        failed,
        failures,
        told: seen.and_then(|seen| told_by(&seen, died, back)),
        noticed,
    })
}

/// The metrics of the one that dies.
fn sight(daemon: &Daemon<'_>) -> Result<Sight> {
    let text = daemon.get("/metrics")?;
    let of = |name: &str| sum_of(&text, &format!("gateway_target_{name}"), &LABELS);
    Ok(Sight {
        at: Instant::now(),
        takes: of("up")? > 0.0,
        share: of("share_ratio")?,
        opened: of("connections_total")?,
        failures: of("handshakes_unanswered_total")? + of("refused_total")? + of("resets_total")?,
    })
}

/// Reads the metrics until it is over.
fn watch(daemon: &Daemon<'_>, over: &AtomicBool) -> Result<Vec<Sight>> {
    let mut seen = Vec::new();
    while !over.load(Ordering::Relaxed) {
        seen.push(sight(daemon)?);
        thread::sleep(EVERY);
    }
    Ok(seen)
}

/// What they say of a death and a return; nothing where it was never down.
fn told_by(seen: &[Sight], died: Instant, back: Instant) -> Option<Told> {
    let down = seen.iter().find(|sight| sight.at > died && !sight.takes)?;
    let last = seen.iter().rfind(|sight| sight.at < back)?;
    let ms = |found: Option<&Sight>| {
        found.map_or(f64::NAN, |sight| sight.at.duration_since(back).as_secs_f64() * 1e3)
    };
    let of_back = || seen.iter().filter(|sight| sight.at > back);
    let (taking, whole) =
        (of_back().find(|sight| sight.takes), of_back().find(|s| s.takes && s.share >= 1.0));
    Some(Told {
        down: down.at.duration_since(died).as_secs_f64() * 1e3,
        tried: last.opened - down.opened,
        back: [ms(taking), ms(whole)],
    })
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

/// The first bad word of the victim after its death: what, and when.
fn first_notice(daemon: &Daemon<'_>, died: Duration) -> Result<Option<String>> {
    let events = daemon.json(&["event", "list", "--alerts"])?;
    let events = events["events"].as_array().context("no events")?;
    let bad = events.iter().filter_map(|event| {
        let (at, change) = (event["time_unix_ns"].as_u64()?, event["change"].as_str()?);
        let after = at.checked_sub(u64::try_from(died.as_nanos()).ok()?)?;
        let is_bad = change.starts_with("down") || change.starts_with("open");
        (event["target"] == "web/t0" && is_bad).then(|| (after as f64 / 1e6, change.to_owned()))
    });
    let first = bad.min_by(|a: &(f64, String), b| a.0.total_cmp(&b.0));
    Ok(first.map(|(ms, change)| format!("{ms:.0} ms: {change}")))
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
    let refused = told.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses: "));
    let refused: u64 = refused.map_or(Ok(0), str::parse)?;
    Ok((requests, failed.sum::<u64>() + refused))
}
