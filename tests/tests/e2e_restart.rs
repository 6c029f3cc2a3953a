//! kill -9 of the daemon under load: packets flow on by the last policy, the next start takes over
//! the same links, programs and maps, the counters go on, and nothing is lost.

use anyhow::{Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::network::{BACKEND, CLIENT, CLIENT_MAC, GATEWAY_MAC, GOVERNED, Network, pinned_ids};
use gateway_tests::packet::Frame;
use gateway_tests::report::report;
use gateway_tests::traffic::Load;
use gateway_tests::watch::{Watch, settle};
use std::time::Duration;

const RATE: u64 = 130_000;
const KILLS: usize = 3;

const POLICY: &str = "\
version: 1
routes:
  - {name: kept, match: {to: 198.51.100.1}, mark: 1, action: pass}
  - {name: on, match: {to: 198.51.100.2}, action: {redirect: back0}}
  - {name: away, match: {to: 198.51.100.3}, action: drop}
";

#[test]
fn killed_under_load() -> Result<()> {
    let network = Network::new(true)?;
    let mut daemon =
        Daemon::start(&network.gateway, &[GOVERNED], &["--mode", "native", "--event-sample", "0"])?;
    daemon.apply(POLICY)?;
    let passed = Watch::new(&network.gateway, GOVERNED, &[("kept", "ip daddr 198.51.100.1 meta mark 1")])?;
    let redirected = Watch::new(&network.backend, BACKEND, &[("on", "ip daddr 198.51.100.2")])?;
    let before = pinned_ids(daemon.pins())?;

    let frames = (0..48).map(|i| {
        let to = ["198.51.100.1", "198.51.100.2", "198.51.100.3"][i % 3];
        let frame = Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", to);
        frame.udp(10_000 + i as u16, 9).bytes()
    });
    let load = Load::start(&network.client, CLIENT, frames.collect(), RATE)?;
    let mut last = 0.0;
    for i in 0..KILLS {
        std::thread::sleep(Duration::from_millis(500));
        let counted = daemon.metric("gateway_route_packets_total", &["route=\"kept\""])?;
        ensure!(counted > last, "kill {i}: the counter went from {last} to {counted}");
        last = counted;
        let generation = daemon.json(&["status"])?["policy"]["generation"].clone();
        daemon.kill()?;
        std::thread::sleep(Duration::from_millis(500));
        daemon.start_again()?;
        ensure!(pinned_ids(daemon.pins())? == before, "kill {i}: other links, programs or maps");
        let status = daemon.json(&["status"])?;
        ensure!(
            status["adopted"] == true && status["policy"]["generation"] == generation,
            "kill {i}: {status}"
        );
        // A change still works, and what was counted under the name goes on.
        daemon.done(&["route", "set", "kept", "--priority", &format!("{}", i + 1)])?;
        daemon.done(&["route", "set", "kept", "--priority", "none"])?;
        daemon.apply(POLICY)?;
    }
    let rate = load.rate();
    let each = load.stop()? * 16;
    report("e2e_restart", "kills", KILLS);
    report("e2e_restart", "packets_per_sec", rate.round());
    report("e2e_restart", "packets", each * 3);

    let counts = settle(
        Duration::from_secs(5),
        || Ok((passed.packets()?, redirected.packets()?)),
        |(passed, redirected)| passed["all"] + redirected["all"] >= each * 2,
    )?;
    let (passed, redirected) = counts;
    println!("each {each}, passed {passed:?}, redirected {redirected:?}");
    ensure!(passed["kept"] == each && passed["all"] == each, "passed {passed:?} of {each}");
    ensure!(redirected["on"] == each && redirected["all"] == each, "redirected {redirected:?} of {each}");
    for name in ["kept", "on", "away"] {
        let counted = daemon.metric("gateway_route_packets_total", &[&format!("route=\"{name}\"")])?;
        ensure!(counted as u64 == each, "route {name}: {counted} of {each}");
    }
    let received = daemon.metric("gateway_received_packets_total", &["interface=\"gw0\""])?;
    ensure!(received as u64 == each * 3, "received {received} of {}", each * 3);
    Ok(())
}

#[test]
fn stopped_it_governs_on() -> Result<()> {
    let network = Network::new(false)?;
    let mut daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
    daemon.apply(POLICY)?;
    let before = pinned_ids(daemon.pins())?;
    daemon.stop()?;
    let passed = Watch::new(&network.gateway, GOVERNED, &[("kept", "ip daddr 198.51.100.1 meta mark 1")])?;
    let frame = |to| Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", to).udp(1, 9).bytes();
    let (kept, away) = (frame("198.51.100.1"), frame("198.51.100.3"));
    network.client.run(|| {
        let sender = gateway_tests::traffic::Sender::open(CLIENT)?;
        (0..100).try_for_each(|_| sender.send(&[&kept, &away]))
    })?;
    let counts = settle(Duration::from_secs(2), || passed.packets(), |counts| counts["kept"] >= 100)?;
    ensure!(counts["kept"] == 100 && counts["all"] == 100, "{counts:?}");
    daemon.start_again()?;
    ensure!(pinned_ids(daemon.pins())? == before, "other links, programs or maps");
    let counted = daemon.metric("gateway_route_packets_total", &["route=\"away\""])?;
    ensure!(counted == 100.0, "{counted} counted while no daemon ran");
    Ok(())
}
