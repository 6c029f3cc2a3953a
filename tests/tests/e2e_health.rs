//! Targets that fail, with the real daemon and real servers: new connections go past them, those of the others live,
//! and they come back by themselves.

use anyhow::{Context, Result, ensure};
use gateway_tests::backends::{BACKENDS, Delivery, Links, SERVICE, address_of};
use gateway_tests::connections::{Connection, Echo, by_server, open};
use gateway_tests::daemon::Daemon;
use gateway_tests::faulty::{Faulty, Manner};
use gateway_tests::watch::settle;
use gateway_tests::web::fetch;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

/// What must come, comes within this.
const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 7_100;
const TARGET_PORT: u16 = 8_100;
/// New connections of which each is looked at.
const NEW: usize = 20;
/// Checks that tell soon, and a target that comes back at once.
const SOON: &str =
    "interval: 400ms, timeout: 400ms, fall: 2, rise: 2, eject: {base: 200ms, most: 1s}, slow_start: 0s";

fn address(backend: usize) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address_of(backend, false).parse()?, TARGET_PORT))
}

fn service() -> Result<SocketAddr> {
    Ok(SocketAddr::new(SERVICE[0].parse()?, PORT))
}

fn network() -> Result<Delivery> {
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    Ok(delivery)
}

/// A daemon whose pool `web` has both backends, `b0` and `b1`, and looks after them so.
fn daemon<'d>(delivery: &'d Delivery, health: &str) -> Result<Daemon<'d>> {
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], &[])?;
    let target = |n| format!("{{name: b{n}, address: {}, port: {TARGET_PORT}}}", address_of(n, false));
    daemon.apply(&format!(
        "version: 1\npools:\n  web: {{forward: dnat, health: {{{health}}}, targets: [{}, {}]}}\n\
         routes:\n  - {{name: web, match: {{protocol: tcp, port: {PORT}}}, action: {{pool: web}}}}\n",
        target(0),
        target(1)
    ))?;
    Ok(daemon)
}

fn echoes(delivery: &Delivery) -> Result<Vec<Echo>> {
    let start = |(n, backend)| Echo::start(backend, address(n)?, n as u8);
    delivery.backends.iter().enumerate().map(start).collect()
}

/// What became of a target or a pool, the oldest first.
fn told(daemon: &Daemon<'_>, subject: &str) -> Result<Vec<String>> {
    let events = daemon.json(&["event", "list", "--alerts"])?;
    let events = events["events"].as_array().with_context(|| events.to_string())?;
    let mine = events.iter().filter(|event| event["kind"] == "target" && event["target"] == subject);
    mine.map(|event| Ok(event["change"].as_str().context("no change")?.to_owned())).collect()
}

/// Waits until so many of the things that became of it hold this text; all that did.
fn wait_for(daemon: &Daemon<'_>, subject: &str, text: &str, times: usize) -> Result<Vec<String>> {
    let count = |told: &Vec<String>| told.iter().filter(|change| change.contains(text)).count();
    let found = settle(PATIENCE, || told(daemon, subject), |told| count(told) >= times)?;
    ensure!(count(&found) >= times, "{subject}, {text}: {found:?}\n{}", daemon.log());
    Ok(found)
}

/// So many new connections, by backend.
fn new(delivery: &Delivery, count: usize) -> Result<[usize; BACKENDS]> {
    delivery.client.run(|| Ok(by_server(&open(service()?, count)?)))
}

/// Waits until both backends get new connections.
fn both_serve(delivery: &Delivery) -> Result<()> {
    let by = settle(PATIENCE, || new(delivery, NEW), |by| by.iter().all(|count| *count > 0))?;
    ensure!(by.iter().all(|count| *count > 0), "one gets none: {by:?}");
    Ok(())
}

fn go_on<'c>(connections: impl IntoIterator<Item = &'c mut Connection>) -> Result<()> {
    (0..).zip(connections).try_for_each(|(n, connection)| connection.go_on(n))
}

/// Whatever comes to this backend is lost.
fn silence(delivery: &Delivery, backend: usize) -> Result<()> {
    let chain = "type filter hook ingress device \"b0\" priority 0; policy drop;";
    let table = format!("table netdev silent {{\n  chain arrivals {{\n    {chain}\n  }}\n}}\n");
    delivery.backends[backend].command("nft", &[&table]).map(drop)
}

fn hear(delivery: &Delivery, backend: usize) -> Result<()> {
    delivery.backends[backend].command("nft", &["delete table netdev silent"]).map(drop)
}

#[test]
fn a_target_that_is_gone_is_passed_over_until_it_is_back() -> Result<()> {
    let delivery = network()?;
    let mut servers = echoes(&delivery)?;
    let daemon = daemon(&delivery, &format!("check: tcp, {SOON}"))?;
    for (n, how) in (1..).zip(["killed", "silent", "unplugged"]) {
        let mut long = delivery.client.run(|| open(service()?, NEW))?;
        let by = by_server::<BACKENDS>(&long);
        ensure!(by.iter().all(|count| *count > 0), "before {how}: {by:?}\n{}", daemon.log());
        match how {
            "killed" => servers.remove(0).stop()?,
            "silent" => silence(&delivery, 0)?,
            _ => drop(delivery.gateway.ip(&["link", "set", "dev", "back0", "down"])?),
        }
        wait_for(&daemon, "web/b0", "down: tcp: ", n)?;
        let by = new(&delivery, NEW)?;
        ensure!(by == [0, NEW], "{how}: new ones went to {by:?}");
        long.retain(|connection| connection.by() == 1);
        go_on(&mut long).with_context(|| format!("{how}: the other's connections"))?;
        match how {
            "killed" => servers.insert(0, Echo::start(&delivery.backends[0], address(0)?, 0)?),
            "silent" => hear(&delivery, 0)?,
            _ => drop(delivery.gateway.ip(&["link", "set", "dev", "back0", "up"])?),
        }
        wait_for(&daemon, "web/b0", "up: tcp", n)?;
        // Until then it is on trial.
        wait_for(&daemon, "web/b0", "closed: in service", n)?;
        both_serve(&delivery).with_context(|| format!("{how}: it came back"))?;
        go_on(&mut long).with_context(|| format!("{how}: the other's connections, later"))?;
    }
    ensure!(told(&daemon, "web/b1")?.is_empty(), "the other one failed: {:?}", told(&daemon, "web/b1")?);
    servers.into_iter().try_for_each(Echo::stop)
}

#[test]
fn a_target_is_passed_over_though_no_daemon_runs() -> Result<()> {
    let delivery = network()?;
    let servers = echoes(&delivery)?;
    let mut daemon = daemon(
        &delivery,
        "passive: {failures: 3, ratio: 20%, window: 60s}, eject: {base: 10m, most: 1h}, slow_start: 0s",
    )?;
    let mut long = delivery.client.run(|| open(service()?, NEW))?;
    ensure!(by_server::<BACKENDS>(&long).iter().all(|count| *count > 0), "all went to one");
    let before = sent(&daemon)?;
    daemon.kill()?;
    silence(&delivery, 0)?;
    // They ask again after a second and more, by which the circuit opens, and then are sent elsewhere.
    let unanswered = std::thread::scope(|scope| {
        let ask = || {
            let service = service()?;
            delivery.client.run(|| Ok(TcpStream::connect_timeout(&service, PATIENCE).is_err()))
        };
        let asking: Vec<_> = (0..2 * NEW).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(join).collect::<Result<Vec<bool>>>()
    })?;
    let unanswered = unanswered.into_iter().filter(|unanswered| *unanswered).count();
    ensure!(unanswered == 0, "{unanswered} were never answered");
    let by = new(&delivery, 2 * NEW).context("while no daemon runs")?;
    ensure!(by == [0, 2 * NEW], "new ones went to {by:?}");
    long.retain(|connection| connection.by() == 1);
    go_on(&mut long)?;

    daemon.start_again()?;
    wait_for(&daemon, "web/b0", "open: as before the daemon started", 1)?;
    let after = sent(&daemon)?;
    ensure!(
        after[0] >= before[0] + 3,
        "hardly anything was asked of the one that is silent: {before:?}, {after:?}"
    );
    let by = new(&delivery, NEW).with_context(|| format!("started again\n{}", daemon.log()))?;
    ensure!(by == [0, NEW], "it is used again");
    hear(&delivery, 0)?;
    daemon.done(&["target", "enable", "web/b0"])?;
    both_serve(&delivery)?;
    go_on(&mut long)?;
    servers.into_iter().try_for_each(Echo::stop)
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn what_answers_is_not_yet_good() -> Result<()> {
    let delivery = network()?;
    let start = |(n, backend)| Faulty::start(backend, address(n)?);
    let servers = delivery.backends.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let daemon = daemon(&delivery, &format!("check: {{http: {{path: /}}}}, {SOON}"))?;
    let all_good = || -> Result<()> {
        for n in 0..NEW {
            delivery.client.run(|| fetch(service()?, PATIENCE)).with_context(|| format!("fetch {n}"))?;
        }
        Ok(())
    };
    all_good()?;
    for (n, manner, why) in [(1, Manner::Error, "HTTP status 500"), (2, Manner::Slow, "timeout after 400 ms")]
    {
        servers[0].be(manner);
        let found = wait_for(&daemon, "web/b0", "down: http: ", n)?;
        ensure!(found.iter().any(|change| change.contains(why)), "{manner:?}: {found:?}");
        // One that is only slow answers all the same: that none went there is the kernel's to say.
        let before = sent(&daemon)?;
        all_good().with_context(|| format!("{manner:?}"))?;
        let after = sent(&daemon)?;
        ensure!(after[0] == before[0] && after[1] > before[1], "{manner:?}: {before:?}, {after:?}");
        servers[0].be(Manner::Good);
        wait_for(&daemon, "web/b0", "up: http", n)?;
        let opened = || -> Result<u64> { all_good().and_then(|()| Ok(sent(&daemon)?[0])) };
        let back = settle(PATIENCE, opened, |sent| *sent > after[0])?;
        ensure!(back > after[0], "{manner:?}: it gets nothing again");
    }
    servers.into_iter().try_for_each(Faulty::stop)
}

/// Connections that began with each backend.
fn sent(daemon: &Daemon<'_>) -> Result<[u64; BACKENDS]> {
    let pool = daemon.json(&["pool", "show", "web"])?;
    let of = |n: usize| pool["targets"][n]["connections"]["opened"].as_u64();
    Ok([of(0).with_context(|| pool.to_string())?, of(1).with_context(|| pool.to_string())?])
}

#[test]
fn a_target_that_resets_some_is_passed_over() -> Result<()> {
    let delivery = network()?;
    let start = |(n, backend)| Faulty::start(backend, address(n)?);
    let servers = delivery.backends.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let daemon = daemon(
        &delivery,
        "check: tcp, interval: 1s, passive: {failures: 5, ratio: 10%, window: 60s}, eject: {base: 10m, most: 1h}",
    )?;
    servers[0].be(Manner::Resets);
    let fetch_some = || -> Result<usize> {
        let fetched = |_: &usize| delivery.client.run(|| fetch(service()?, PATIENCE)).is_err();
        Ok((0..NEW).filter(fetched).count())
    };
    let mut failed = 0;
    let opened = settle(
        PATIENCE,
        || {
            failed += fetch_some()?;
            told(&daemon, "web/b0")
        },
        |told| told.iter().any(|change| change.starts_with("open: ")),
    )?;
    ensure!(opened.iter().any(|change| change.starts_with("open: ")), "{failed} failed, {opened:?}");
    ensure!(failed >= 5, "only {failed} failed");
    // Its checks pass meanwhile: some of them, at least.
    ensure!(fetch_some()? + fetch_some()? == 0, "one that resets some is still used");
    servers.into_iter().try_for_each(Faulty::stop)
}

#[test]
fn where_all_fail_all_are_used() -> Result<()> {
    let delivery = network()?;
    let servers = echoes(&delivery)?;
    // Nobody listens where it asks.
    let daemon = daemon(&delivery, &format!("check: {{tcp: {{port: 9}}}}, {SOON}"))?;
    let mut lost = 0;
    let found = settle(
        PATIENCE,
        || {
            lost += NEW - new(&delivery, NEW)?.iter().sum::<usize>();
            told(&daemon, "web")
        },
        |told| !told.is_empty(),
    )?;
    ensure!(found.iter().any(|change| change.starts_with("panic: 0 of 200 ")), "{found:?}\n{}", daemon.log());
    both_serve(&delivery)?;
    ensure!(lost == 0, "{lost} connections were not answered");
    // At no time was the pool left without any.
    let dropped = daemon.metric("gateway_drops_total", &["reason=\"no_target\""])?;
    ensure!(dropped == 0.0, "{dropped} packets found no target");
    for subject in ["web/b0", "web/b1"] {
        wait_for(&daemon, subject, "down: tcp: connection refused", 1)?;
    }
    servers.into_iter().try_for_each(Echo::stop)
}

#[test]
fn a_target_stays_down_when_the_daemon_starts_again() -> Result<()> {
    let delivery = network()?;
    let servers = echoes(&delivery)?;
    let mut daemon = daemon(&delivery, &format!("check: tcp, {SOON}"))?;
    both_serve(&delivery)?;
    silence(&delivery, 0)?;
    wait_for(&daemon, "web/b0", "down: tcp: ", 1)?;
    let before = sent(&daemon)?;
    daemon.kill()?;
    ensure!(new(&delivery, NEW)? == [0, NEW], "it is used while no daemon runs");
    // Asked without a pause while the daemon starts.
    let started = AtomicBool::new(false);
    let meanwhile = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut by = [0; BACKENDS];
            while by == [0; BACKENDS] || !started.load(Ordering::Relaxed) {
                let more = new(&delivery, 1)?;
                by = [by[0] + more[0], by[1] + more[1]];
            }
            Ok(by)
        });
        let done = daemon.start_again();
        started.store(true, Ordering::Relaxed);
        done.and(join(asking))
    })?;
    ensure!(meanwhile[0] == 0, "{meanwhile:?}: it is used while the daemon starts");
    ensure!(new(&delivery, NEW)? == [0, NEW], "it is used again");
    let (after, asked) = (sent(&daemon)?, (meanwhile[1] + 2 * NEW) as u64);
    ensure!(after == [before[0], before[1] + asked], "{before:?}, {after:?}, {asked} asked");
    wait_for(&daemon, "web/b0", "open: as before the daemon started", 1)?;
    hear(&delivery, 0)?;
    wait_for(&daemon, "web/b0", "closed: in service", 1)?;
    both_serve(&delivery)?;
    servers.into_iter().try_for_each(Echo::stop)
}
