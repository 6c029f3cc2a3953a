//! A thousand changes between two complementary policies under load: no packet is lost, none is
//! judged by a mixture, and every account balances to the packet.

use anyhow::{Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::network::{BACKEND, CLIENT, CLIENT_MAC, GATEWAY_MAC, GOVERNED, Network, request};
use gateway_tests::packet::Frame;
use gateway_tests::report::report;
use gateway_tests::traffic::Load;
use gateway_tests::watch::{Watch, settle};
use std::collections::BTreeMap;
use std::time::Duration;

const FLIPS: usize = 1_000;
/// Frames a second that are sent, and how many must be reached.
const RATE_SENT: u64 = 130_000;
const RATE_WANTED: f64 = 100_000.0;
/// Flows to each destination.
const FLOWS: u16 = 16;
/// Destinations, and which route of A and of B decides each.
const DESTINATIONS: [(&str, &str, &str); 4] = [
    ("x", "198.51.100.1", "a passes with mark 1, b redirects"),
    ("y", "198.51.100.2", "a redirects, b passes with mark 2"),
    ("z", "198.51.100.3", "a drops, b passes with mark 4"),
    ("w", "198.51.100.4", "a passes with mark 3, b drops"),
];

const A: &str = "\
version: 1
routes:
  - {name: xa, match: {to: 198.51.100.1}, mark: 1, action: pass}
  - {name: ya, match: {to: 198.51.100.2}, action: {redirect: back0}}
  - {name: za, match: {to: 198.51.100.3}, action: drop}
  - {name: wa, match: {to: 198.51.100.4}, mark: 3, action: pass}
default: drop
";

const B: &str = "\
version: 1
routes:
  - {name: wb, match: {to: 198.51.100.4, protocol: udp}, action: drop}
  - {name: zb, match: {to: 198.51.100.3, protocol: udp}, mark: 4, action: pass}
  - {name: yb, match: {to: 198.51.100.2, protocol: udp}, mark: 2, action: pass}
  - {name: xb, match: {to: 198.51.100.1, protocol: udp}, action: {redirect: back0}}
default: drop
";

fn frames() -> Vec<Vec<u8>> {
    let flow = |to: &str, port| {
        let frame = Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", to);
        frame.udp(port, 9).payload(18).bytes()
    };
    (0..FLOWS).flat_map(|i| DESTINATIONS.map(|(_, to, _)| flow(to, 20_000 + i))).collect()
}

/// What nftables saw pass at the governed interface, and what reached the backend.
type Counts = (BTreeMap<String, u64>, BTreeMap<String, u64>);

#[test]
fn a_thousand_flips_under_load() -> Result<()> {
    let network = Network::new(true)?;
    let daemon = Daemon::start(&network.gateway, &[GOVERNED], &["--mode", "native", "--event-sample", "0"])?;
    daemon.apply(A)?;
    let passed = Watch::new(
        &network.gateway,
        GOVERNED,
        &[
            ("x1", "ip daddr 198.51.100.1 meta mark 1"),
            ("y2", "ip daddr 198.51.100.2 meta mark 2"),
            ("w3", "ip daddr 198.51.100.4 meta mark 3"),
            ("z4", "ip daddr 198.51.100.3 meta mark 4"),
        ],
    )?;
    let redirected = Watch::new(
        &network.backend,
        BACKEND,
        &[("x", "ip daddr 198.51.100.1"), ("y", "ip daddr 198.51.100.2")],
    )?;

    let load = Load::start(&network.client, CLIENT, frames(), RATE_SENT)?;
    for i in 0..FLIPS {
        let policy = if i % 2 == 0 { B } else { A };
        let (status, body) = request(&daemon.socket(), "PUT", "/v1/policy", policy)?;
        ensure!(status == 200, "flip {i}: {status} {body}\n{}", daemon.log());
    }
    let rate = load.rate();
    let each = load.stop()? * u64::from(FLOWS);
    report("e2e_flip", "flips", FLIPS);
    report("e2e_flip", "packets_per_sec", rate.round());
    report("e2e_flip", "packets", each * DESTINATIONS.len() as u64);
    ensure!(
        daemon.metric("gateway_policy_generation", &[])? as usize == FLIPS + 1,
        "another generation is live"
    );

    let total = |(passed, redirected): &Counts| passed["all"] + redirected["all"];
    // The live policy's routes have series; the other's counters are told when it is live again.
    let mut routes = route_counts(&daemon, &["xa", "ya", "za", "wa"])?;
    daemon.apply(B)?;
    routes.extend(route_counts(&daemon, &["xb", "yb", "zb", "wb", "(default)"])?);
    let dropped = routes["za"] + routes["wb"];
    let all = each * DESTINATIONS.len() as u64;
    let counts = settle(
        Duration::from_secs(5),
        || Ok((passed.packets()?, redirected.packets()?)),
        |counts: &Counts| total(counts) + dropped >= all,
    )?;
    let (passed, redirected) = &counts;
    println!("each {each}, passed {passed:?}, redirected {redirected:?}, dropped {dropped}");

    // Each packet's fate belongs to one of the two policies, and none is missing.
    ensure!(
        passed["all"] == passed["x1"] + passed["y2"] + passed["w3"] + passed["z4"],
        "a mark of the other policy"
    );
    ensure!(redirected["all"] == redirected["x"] + redirected["y"], "strangers at the backend");
    ensure!(each == passed["x1"] + redirected["x"], "x: packets lost");
    ensure!(each == passed["y2"] + redirected["y"], "y: packets lost");
    ensure!(each == passed["z4"] + routes["za"], "z: packets lost, or dropped by the wrong policy");
    ensure!(each == passed["w3"] + routes["wb"], "w: packets lost, or dropped by the wrong policy");

    // What was seen outside is what each route counted.
    for (name, seen) in [
        ("xa", passed["x1"]),
        ("xb", redirected["x"]),
        ("ya", redirected["y"]),
        ("yb", passed["y2"]),
        ("wa", passed["w3"]),
        ("zb", passed["z4"]),
        ("(default)", 0),
    ] {
        ensure!(routes[name] == seen, "route {name}: {} counted, {seen} seen", routes[name]);
        ensure!(name == "(default)" || seen > 0, "route {name} was never met");
    }
    conservation(&daemon, all, &counts, dropped)?;
    ensure!(
        rate >= RATE_WANTED,
        "only {rate:.0} packets a second were sent: the machine is too busy to tell"
    );
    Ok(())
}

fn route_counts(daemon: &Daemon<'_>, names: &[&'static str]) -> Result<BTreeMap<&'static str, u64>> {
    let count = |name| daemon.metric("gateway_route_packets_total", &[&format!("route=\"{name}\"")]);
    names.iter().map(|name| Ok((*name, count(name)? as u64))).collect()
}

fn conservation(daemon: &Daemon<'_>, all: u64, (passed, redirected): &Counts, dropped: u64) -> Result<()> {
    let governed = format!("interface=\"{GOVERNED}\"");
    let metric =
        |name: &str, label: &str| Ok::<_, anyhow::Error>(daemon.metric(name, &[&governed, label])? as u64);
    ensure!(metric("gateway_received_packets_total", "")? == all, "received is not what was sent");
    ensure!(metric("gateway_packets_total", "")? == all, "the verdicts do not add up to what was received");
    ensure!(metric("gateway_packets_total", "verdict=\"pass\"")? == passed["all"], "passed");
    ensure!(metric("gateway_packets_total", "verdict=\"redirect\"")? == redirected["all"], "redirected");
    ensure!(metric("gateway_packets_total", "verdict=\"drop\"")? == dropped, "dropped");
    ensure!(metric("gateway_drops_total", "reason=\"route\"")? == dropped, "dropped by a route");
    ensure!(metric("gateway_drops_total", "")? == dropped, "dropped for another reason");
    Ok(())
}
