//! A SYN flood at the machine's full rate, while a real client fetches from a real server behind the
//! gateway: quiet, with SYN cookies, without.

use crate::frames::{RESTORED, restored};
use crate::kernel::{Bench, Gateway, Node};
use crate::{Effort, policies};
use anyhow::Result;
use aya::programs::XdpMode;
use gateway_common::abi::LimitCount;
use gateway_tests::flood::{ATTACKER, SERVER, Site, TO_ATTACKER, TO_CLIENT, spoofed_syn};
use gateway_tests::web::{self, Server};
use gateway_user::dataplane::{Mode, Readers};
use gateway_user::policy::{Action, Match, Policy, Range, Route, SynCookies};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(10);
/// Spoofed sources, a power of two.
const SOURCES: u32 = 1 << 17;
/// Frames of one test run.
const BATCH: u32 = 16_384;
/// A fetch that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two fetches.
const PAUSE: Duration = Duration::from_millis(5);
/// From the beginning of the flood to the first fetch that counts.
const LEAD: Duration = Duration::from_secs(1);
/// Slot of the route's SYN cookies.
const SLOT: u32 = 1;
/// What must hold with protection: no more than this times the quiet figure.
const AIM: f64 = 1.5;

/// How fetches went.
struct Fetched {
    tried: usize,
    /// Of those that succeeded, ascending.
    times: Vec<Duration>,
    /// Frames of the flood a second.
    flood: f64,
    counts: LimitCount,
}

impl Fetched {
    fn success(&self) -> f64 {
        self.times.len() as f64 / self.tried.max(1) as f64
    }
    /// Milliseconds; nothing where no fetch succeeded.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let last = self.times.len().checked_sub(1)?;
        Some(self.times[last * percent / 100].as_secs_f64() * 1e3)
    }
}

pub fn run(effort: Effort) -> Result<()> {
    effort.two_cpus()?;
    let time = effort.time(TIME);
    println!(
        "flood: a client fetches from nginx through the gateway, a connection each, one after the other,"
    );
    println!(
        "       for {time:?}; a fetch that takes {PATIENCE:?} has failed. Meanwhile SYNs from {SOURCES} spoofed"
    );
    println!(
        "       sources, as fast as one CPU makes and the gateway judges them; client and nginx have the"
    );
    println!(
        "       other CPU. nginx as shipped (backlog 511); its kernel's own SYN cookies are off. Veth.\n"
    );
    println!(
        "{:<24}{:>9}{:>10}{:>11}{:>11}{:>9}{:>14}{:>9}",
        "", "fetches", "success", "median ms", "p99 ms", "flood/s", "cookies sent", "proven"
    );
    // What is not the flood runs on the second CPU.
    crate::pin(&[1])?;
    let quiet = phase(Some(protection()), false, time)?;
    show("quiet, protected", &quiet, None);
    let protected = phase(Some(protection()), true, time)?;
    show("flood, protected", &protected, Some(&quiet));
    let bare = phase(None, true, time)?;
    show("flood, unprotected", &bare, Some(&quiet));
    println!("\naim: protected success and median within {AIM} of quiet ones; unprotected not\n");
    Ok(())
}

fn protection() -> SynCookies {
    SynCookies::Above { per_second: 1_000, hold: Duration::from_secs(10) }
}

fn policy(syn_cookies: Option<SynCookies>) -> Policy {
    let mut web = Route::new("web", Action::Pass);
    let port = SERVER.port();
    web.matches = Match {
        to: Some(vec![SERVER.ip().into()]),
        protocol: Some(vec![6]),
        port: Some(vec![Range { first: port, last: port }]),
        ..Match::default()
    };
    web.syn_cookies = syn_cookies;
    Policy { routes: vec![web], ..policies::empty() }
}

/// A site of its own, so that nothing of the phase before is left in any table.
fn phase(syn_cookies: Option<SynCookies>, attacked: bool, time: Duration) -> Result<Fetched> {
    let site = Site::new()?;
    let _server = Server::start(&site.server, &[SERVER])?;
    let gateway = site.gateway.run(|| {
        let mut gateway = Gateway::load(true)?;
        gateway.dataplane.attach(TO_CLIENT, 1, Mode::Native)?;
        gateway.dataplane.attach(TO_ATTACKER, 2, Mode::Native)?;
        gateway.apply(&policy(syn_cookies), Node { first_limit: SLOT, ..Node::default() })?;
        Ok(gateway)
    })?;
    let readers = gateway.dataplane.readers();
    let fetched = under_attack(&site, attacked, &readers, time);
    site.gateway.run(|| Ok(gateway.dataplane.detach_all()?))?;
    fetched
}

fn under_attack(site: &Site, attacked: bool, readers: &Readers, time: Duration) -> Result<Fetched> {
    let mut attacker = site.attacker.run(|| {
        let mut bench = Bench::load()?;
        let frames = (0..SOURCES).map(|n| restored(&spoofed_syn(n))).collect::<Result<Vec<_>>>()?;
        bench.load_frames(&frames)?;
        bench.set_out(nix::net::if_::if_nametoindex(ATTACKER)?)?;
        // What is answered to spoofed sources ends at the attacker's interface.
        bench.program("bench_drop")?.attach(ATTACKER, XdpMode::Driver)?;
        Ok(bench)
    })?;
    let (stop, sent) = (&AtomicBool::new(false), &AtomicU64::new(0));
    thread::scope(|scope| {
        let flood = attacked.then(|| {
            scope.spawn(move || -> Result<()> {
                crate::pin(&[0])?;
                site.attacker.enter()?;
                while !stop.load(Ordering::Relaxed) {
                    if attacker.generate(RESTORED, BATCH)? {
                        sent.fetch_add(BATCH.into(), Ordering::Relaxed);
                    }
                }
                Ok(())
            })
        });
        thread::sleep(LEAD);
        let (start, before) = (Instant::now(), sent.load(Ordering::Relaxed));
        let fetches = site.client.run(|| Ok(fetches(time)));
        let flooded = (sent.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        if let Some(thread) = flood {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        let (tried, times) = fetches?;
        Ok(Fetched { tried, times, flood: flooded, counts: readers.limit_counts(SLOT) })
    })
}

/// How many were tried, and how long those took that succeeded, ascending.
fn fetches(time: Duration) -> (usize, Vec<Duration>) {
    let start = Instant::now();
    let (mut tried, mut times) = (0, Vec::new());
    while start.elapsed() < time {
        tried += 1;
        times.extend(web::fetch(SERVER, PATIENCE).ok());
        thread::sleep(PAUSE);
    }
    times.sort();
    (tried, times)
}

fn show(what: &str, fetched: &Fetched, quiet: Option<&Fetched>) {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
    println!(
        "{what:<24}{:>9}{:>9.1}%{:>11}{:>11}{:>9.0}{:>14}{:>9}",
        fetched.tried,
        fetched.success() * 1e2,
        number(fetched.percentile(50)),
        number(fetched.percentile(99)),
        fetched.flood,
        fetched.counts.cookies,
        fetched.counts.proven
    );
    let Some(quiet) = quiet else { return };
    let ratio = |percent| {
        let (now, then) = (fetched.percentile(percent)?, quiet.percentile(percent)?);
        Some(format!("{:.2}x", now / then))
    };
    let text = |ratio: Option<String>| ratio.unwrap_or_else(|| "-".to_owned());
    println!(
        "{:<24}{:>18.2}x{:>11}{:>11}",
        "  against quiet",
        fetched.success() / quiet.success(),
        text(ratio(50)),
        text(ratio(99))
    );
}
