//! A SYN flood from spoofed sources while a client fetches from a web server: with SYN cookies every
//! fetch succeeds, and the attack is told from its beginning to its end.

use anyhow::{Context, Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::flood::{ATTACKER, CLIENT_ADDRESS, SERVER, Site, TO_ATTACKER, TO_CLIENT, spoofed_syn};
use gateway_tests::network::request;
use gateway_tests::report::report;
use gateway_tests::traffic::{Load, Sender};
use gateway_tests::watch::settle;
use gateway_tests::web::{Server, fetch};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long the flood lasts at least.
const FLOOD: Duration = Duration::from_secs(5);
/// SYNs a second, and sources that they pretend to come from.
const FLOOD_PER_SEC: u64 = 20_000;
const SOURCES: u32 = 4_096;
/// Fetches while it lasts.
const FETCHES: u32 = 50;
/// Far above what a fetch takes, a SYN lost on the way and sent again included.
const PATIENCE: Duration = Duration::from_secs(30);

const POLICY: &str = "\
version: 1
routes:
  - name: web
    match: {to: 203.0.113.10, protocol: tcp, port: 80}
    syn_cookies: {above: 1kcps, hold: 2s}
    action: pass
";

/// Kinds of the alerts that the daemon knows, in their order.
fn alerts(daemon: &Daemon<'_>) -> Result<Vec<String>> {
    let (status, body) = request(&daemon.socket(), "GET", "/v1/events?limit=10000&alerts=true", "")?;
    ensure!(status == 200, "events: {status} {body}");
    let list: Value = serde_json::from_str(&body)?;
    let events = list["events"].as_array().context("no list of events")?;
    let kinds = events.iter().map(|event| event["kind"].as_str().map(str::to_owned));
    kinds.map(|kind| kind.context("an event without a kind")).collect()
}

fn count(kinds: &[String], kind: &str) -> usize {
    kinds.iter().filter(|found| *found == kind).count()
}

#[test]
fn honest_fetches_succeed_under_a_flood() -> Result<()> {
    let site = Site::new()?;
    let _server = Server::start(&site.server, &[SERVER])?;
    let daemon = Daemon::start(&site.gateway, &[TO_CLIENT, TO_ATTACKER], &["--event-sample", "0"])?;
    daemon.apply(POLICY)?;
    let once = || site.client.run(|| fetch(SERVER, PATIENCE));
    once().context("before the flood")?;
    let metric = |name: &str| daemon.metric(name, &["route=\"web\""]);
    ensure!(metric("gateway_syn_cookies_sent_total")? == 0.0, "a cookie was sent without an attack");
    ensure!(metric("gateway_route_under_attack")? == 0.0, "under attack before there is one");

    let frames = (0..SOURCES).map(|n| spoofed_syn(n).bytes()).collect();
    let load = Load::start(&site.attacker, ATTACKER, frames, FLOOD_PER_SEC)?;
    let start = Instant::now();
    let begun = |kinds: &Vec<String>| count(kinds, "attack_begins") > 0;
    let kinds = settle(PATIENCE, || alerts(&daemon), begun)?;
    ensure!(begun(&kinds), "nobody says that the attack began: {kinds:?}\n{}", daemon.log());
    ensure!(metric("gateway_route_under_attack")? == 1.0, "not under attack");
    for n in 0..FETCHES {
        once().with_context(|| format!("fetch {n} of {FETCHES} under the flood"))?;
    }
    std::thread::sleep(FLOOD.saturating_sub(start.elapsed()));
    let rate = load.rate();
    load.stop()?;
    let (sent, proven) =
        (metric("gateway_syn_cookies_sent_total")?, metric("gateway_syn_cookies_proven_total")?);
    report("e2e_flood", "flood_per_sec", rate.round());
    report("e2e_flood", "fetches", FETCHES);
    report("e2e_flood", "cookies_sent", sent);
    // The first SYN of the client, and all of the flood but what came before it was noticed.
    ensure!(sent > f64::from(SOURCES), "{sent} cookies were sent");
    ensure!(proven == 1.0, "{proven} sources have shown a cookie, and one was honest");
    let shown = daemon.json(&["limit", "show", "web/syn"])?;
    let keys = shown["top"].as_array().context("no keys")?;
    let honest = keys.iter().filter(|key| key["proven_ms"].as_u64().is_some());
    let honest: Vec<&Value> = honest.map(|key| &key["key"]).collect();
    let client = CLIENT_ADDRESS.to_string();
    ensure!(honest.len() == 1 && honest[0] == client.as_str(), "proven: {shown}");

    // The end shows with the first SYN after it from a source that has not shown a cookie.
    let ended = |kinds: &Vec<String>| count(kinds, "attack_ends") > 0;
    let stranger = site.attacker.run(|| Sender::open(ATTACKER))?;
    let syn = spoofed_syn(SOURCES).bytes();
    let ask = || {
        std::thread::sleep(Duration::from_millis(100));
        stranger.send(&[&syn])?;
        alerts(&daemon)
    };
    let kinds = settle(PATIENCE, ask, ended)?;
    ensure!(ended(&kinds), "nobody says that the attack is over: {kinds:?}\n{}", daemon.log());
    let sequence: Vec<&String> = kinds.iter().filter(|kind| kind.starts_with("attack")).collect();
    ensure!(sequence == ["attack_begins", "attack_ends"], "alerts: {kinds:?}");
    ensure!(metric("gateway_route_under_attack")? == 0.0, "still under attack");
    once().context("after the flood")?;
    let sent_since = metric("gateway_syn_cookies_sent_total")?;
    once()?;
    ensure!(metric("gateway_syn_cookies_sent_total")? == sent_since, "a cookie was sent without an attack");
    Ok(())
}
