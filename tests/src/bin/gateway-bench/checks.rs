//! Thousands of targets checked every second: what that takes of the daemon, and whether it is on time.

use crate::Effort;
use anyhow::{Context, Result};
use gateway_tests::backends::{Delivery, Links, address_of};
use gateway_tests::connections::listen;
use gateway_tests::daemon::Daemon;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TARGETS: u32 = 5_000;
const TIME: Duration = Duration::from_secs(20);
/// Until all targets have been asked once.
const LEAD: Duration = Duration::from_secs(5);
const PORT: u16 = 8_080;
/// What a tick of `/proc/PID/stat` is, as every kernel for x86-64 has it.
const TICKS_A_SECOND: f64 = 100.0;

pub fn run(effort: Effort) -> Result<()> {
    let time = effort.time(TIME);
    println!(
        "checks: {TARGETS} targets of a pool, each asked by TCP every second, for {time:?}; one listener behind"
    );
    println!("        a veth answers for all\n");
    crate::pin(&[0, 1])?;
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    delivery.gateway.ip(&["route", "add", "10.99.0.0/16", "via", &address_of(0, false)])?;
    delivery.backends[0].ip(&["route", "add", "local", "10.99.0.0/16", "dev", "lo"])?;
    let listener = delivery.backends[0].run(|| listen(SocketAddr::from(([0, 0, 0, 0], PORT))))?;
    listener.set_nonblocking(true)?;
    let end = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                while listener.accept().is_ok() {}
                thread::sleep(Duration::from_millis(1));
            }
        });
        let measured = measure(&delivery, time);
        end.store(true, Ordering::Relaxed);
        measured
    })
}

fn measure(delivery: &Delivery, time: Duration) -> Result<()> {
    let targets: Vec<String> = (0..TARGETS)
        .map(|n| format!("{{name: t{n}, address: 10.99.{}.{}, port: {PORT}}}", n / 250, n % 250 + 1))
        .collect();
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0"], &[])?;
    let id = daemon.id().context("no daemon")?;
    let bare = resident_kib(id)?;
    daemon.apply(&format!(
        "version: 1\npools:\n  many: {{forward: dnat, health: {{check: tcp, interval: 1s, timeout: 500ms}}, targets: [{}]}}\n\
         routes:\n  - {{name: many, match: {{to: 203.0.113.10, protocol: tcp, port: 80}}, action: {{pool: many}}}}\n",
        targets.join(", ")
    ))?;
    thread::sleep(LEAD);
    // Before anybody asks for metrics, which are many for so many targets.
    let with = resident_kib(id)?;
    let (made, before, start) = (checks(&daemon)?, cpu_secs(id)?, Instant::now());
    thread::sleep(time);
    let (after, then, took) = (cpu_secs(id)?, checks(&daemon)?, start.elapsed().as_secs_f64());
    let line = |what: &str, value: String| println!("  {what:<44}{value:>14}");
    line("checks a second, passed", format!("{:.0}", (then.0 - made.0) / took));
    line("others in all", format!("{:.0}", then.1));
    line("CPU of the daemon, % of one", format!("{:.1}", (after - before) / took * 100.0));
    line("its memory before the pool, MiB", format!("{:.1}", bare as f64 / 1024.0));
    line("and with it, MiB", format!("{:.1}", with as f64 / 1024.0));
    line("threads", threads(id)?.to_string());
    line(
        "late by less than, 99 %, ms",
        late(&daemon)?.map_or("-".to_owned(), |secs| format!("{:.0}", secs * 1e3)),
    );
    println!();
    Ok(())
}

/// Checks that passed, and all others.
fn checks(daemon: &Daemon<'_>) -> Result<(f64, f64)> {
    let of = |outcome| daemon.metric("gateway_checks_total", &[outcome]);
    Ok((
        of("outcome=\"passed\"")?,
        of("outcome=\"failed\"")? + of("outcome=\"unmade\"")? + of("outcome=\"skipped\"")?,
    ))
}

/// The bound below which 99 of 100 checks began late, seconds.
fn late(daemon: &Daemon<'_>) -> Result<Option<f64>> {
    let text = daemon.get("/metrics")?;
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("gateway_check_late_seconds_bucket{le=\""))
        .filter_map(|line| {
            let (bound, count) = line.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        })
        .collect();
    let all = text
        .lines()
        .find_map(|line| line.strip_prefix("gateway_check_late_seconds_count ")?.parse::<f64>().ok())
        .context("no count")?;
    Ok(buckets.into_iter().find(|(_, count)| *count >= all * 0.99).map(|(bound, _)| bound))
}

fn proc(id: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{id}/{file}");
    std::fs::read_to_string(&path).context(path)
}

/// User and system time (proc_pid_stat(5), fields 14 and 15).
fn cpu_secs(id: u32) -> Result<f64> {
    let text = proc(id, "stat")?;
    let fields: Vec<&str> = text.rsplit_once(") ").context("no name")?.1.split(' ').collect();
    let ticks = |place: usize| -> Result<f64> { Ok(fields.get(place).context("too few fields")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}

fn status(id: u32, key: &str) -> Result<u64> {
    let text = proc(id, "status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_owned())?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
}

fn resident_kib(id: u32) -> Result<u64> {
    status(id, "RssAnon")
}

fn threads(id: u32) -> Result<u64> {
    status(id, "Threads")
}
