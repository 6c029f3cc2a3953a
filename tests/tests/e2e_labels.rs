//! Live members of labels under traffic: in force with the next packet, ended by themselves, there
//! after whatever happens to the daemon, and never in halves.

use anyhow::{Context, Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::network::{CLIENT, CLIENT_MAC, GATEWAY_MAC, GOVERNED, Network, request};
use gateway_tests::packet::Frame;
use gateway_tests::random::Random;
use gateway_tests::receive::MarkSocket;
use gateway_tests::report::report;
use gateway_tests::traffic::Sender;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A packet that is to arrive does so within this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Steps of the kernel's time to live are no longer than this (256 jiffies at 100 Hz).
const LATE_MAX: Duration = Duration::from_millis(2_700);
const ROUNDS: u32 = 50;
const KILLS: u32 = 6;

const POLICY: &str = "\
version: 1
labels:
  blocked: [198.51.100.0/24]
  trusted: []
routes:
  - {name: trusted, match: {from: trusted}, mark: 7, action: pass}
  - {name: deny, match: {from: blocked}, action: drop}
default: pass
";

/// A flow to UDP port 7 of the gateway.
struct Flow {
    sender: Sender,
    stack: MarkSocket,
    frame: Vec<u8>,
}

impl Flow {
    fn new(network: &Network) -> Result<Flow> {
        let frame = Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", "192.0.2.1");
        Ok(Flow {
            sender: network.client.run(|| Sender::open(CLIENT))?,
            stack: network.gateway.run(|| MarkSocket::bind(Ipv4Addr::UNSPECIFIED.into(), 7, PATIENCE))?,
            frame: frame.udp(4242, 7).payload(20).bytes(),
        })
    }

    fn send(&self) -> Result<()> {
        self.sender.send(&[&self.frame])
    }

    /// Sends a packet that must arrive with this mark.
    fn arrives(&self, mark: u32) -> Result<()> {
        self.send()?;
        let found = self.stack.next_mark()?;
        ensure!(found == Some(mark), "{found:?} and not a packet with mark {mark}");
        Ok(())
    }
}

/// Packets that a route has decided.
fn decided(daemon: &Daemon<'_>, route: &str) -> Result<u64> {
    Ok(daemon.metric("gateway_route_packets_total", &[&format!("route=\"{route}\"")])? as u64)
}

#[test]
fn the_next_packet_meets_the_member() -> Result<()> {
    let network = Network::new(false)?;
    let mut daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
    daemon.apply(POLICY)?;
    let flow = Flow::new(&network)?;
    flow.arrives(0)?;
    for i in 1..=ROUNDS {
        let round = || -> Result<()> {
            daemon.done(&["label", "add", "blocked", "192.0.2.0/24"])?;
            flow.send()?;
            daemon.done(&["label", "delete", "blocked", "192.0.2.0/24"])?;
            // Had the one before only been late, it would come first, and then once too often.
            flow.arrives(0)
        };
        round().with_context(|| format!("round {i}"))?;
    }
    ensure!(decided(&daemon, "deny")? == u64::from(ROUNDS), "{} of {ROUNDS}", decided(&daemon, "deny")?);
    // Trusted before blocked, whatever is added first.
    daemon.done(&["label", "add", "blocked", "192.0.2.77"])?;
    daemon.done(&["label", "add", "trusted", "192.0.2.0/25", "2001:db8::/32"])?;
    flow.arrives(7)?;
    daemon.apply(&POLICY.replace("mark: 7", "mark: 8"))?;
    flow.arrives(8)?;
    daemon.kill()?;
    flow.arrives(8)?;
    daemon.start_again()?;
    flow.arrives(8)?;
    daemon.done(&["label", "delete", "trusted", "--all"])?;
    let before = decided(&daemon, "deny")?;
    flow.send()?;
    daemon.done(&["label", "delete", "blocked", "--all"])?;
    flow.arrives(0)?;
    ensure!(decided(&daemon, "deny")? == before + 1);
    report("e2e_labels", "changes_met_by_the_next_packet", ROUNDS * 2 + 6);
    Ok(())
}

/// Sends until a packet arrives; how long it took since `begun`.
fn ended(flow: &Flow, begun: Instant) -> Result<Duration> {
    let stack = &flow.stack;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && flow.send().is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let mut arrived = stack.next_mark();
        while matches!(arrived, Ok(None)) && begun.elapsed() < Duration::from_secs(20) {
            arrived = stack.next_mark();
        }
        done.store(true, Ordering::Relaxed);
        ensure!(arrived?.is_some(), "the ban does not end");
        Ok(begun.elapsed())
    })
}

#[test]
fn a_ban_ends_by_itself() -> Result<()> {
    let network = Network::new(false)?;
    for alive in [true, false] {
        let mut daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
        daemon.apply(POLICY)?;
        let flow = Flow::new(&network)?;
        flow.arrives(0)?;
        let begun = Instant::now();
        daemon.done(&["label", "add", "blocked", "192.0.2.77", "--ttl", "3s"])?;
        let added = begun.elapsed();
        if !alive {
            daemon.kill()?;
        }
        let lasted = ended(&flow, begun)?;
        let ttl = Duration::from_secs(3);
        ensure!(lasted >= ttl, "alive {alive}: early, after {lasted:?}");
        ensure!(lasted <= ttl + LATE_MAX + added + Duration::from_millis(200), "alive {alive}: {lasted:?}");
        report(
            "e2e_labels",
            if alive { "ban_of_3s_lasted_ms" } else { "ban_of_3s_without_daemon_lasted_ms" },
            lasted.as_millis(),
        );
        if !alive {
            daemon.start_again()?;
        }
        let shown = daemon.json(&["label", "show", "blocked"])?;
        ensure!(alive || shown["members"] == 0, "{shown}");
    }
    Ok(())
}

/// The prefixes of all live members of a label.
fn members(daemon: &Daemon<'_>) -> Result<BTreeSet<String>> {
    let shown = daemon.json(&["label", "show", "blocked", "--limit", "100000"])?;
    let members = shown["first_members"].as_array().context("members")?;
    Ok(members.iter().filter_map(|member| member["prefix"].as_str().map(str::to_owned)).collect())
}

/// What has been acknowledged, and the one request that has not.
#[derive(Clone, Default)]
struct Known {
    there: BTreeSet<String>,
    open: Option<(bool, Vec<String>)>,
}

#[test]
fn killed_amid_changes_all_is_whole() -> Result<()> {
    let network = Network::new(false)?;
    let mut daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
    daemon.apply(POLICY)?;
    let known = Arc::new(Mutex::new(Known::default()));
    let mut random = Random::new(1);
    let mut changes = 0;
    for kill in 0..KILLS {
        let changer = {
            let (known, socket) = (Arc::clone(&known), daemon.socket());
            let mut random = Random::new(u64::from(kill));
            std::thread::spawn(move || {
                let mut done = 0;
                while change(&known, &socket, &mut random).is_ok() {
                    done += 1;
                }
                done
            })
        };
        std::thread::sleep(Duration::from_millis(300 + random.below(400) as u64));
        daemon.kill()?;
        changes += changer.join().map_err(|_| anyhow::anyhow!("the changer broke down"))?;
        daemon.start_again()?;
        let found = members(&daemon)?;
        let mut known = known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The one that nobody answered is there as a whole or not at all.
        let without = known.there.clone();
        let mut with = without.clone();
        match known.open.take() {
            Some((true, prefixes)) => with.extend(prefixes),
            Some((false, prefixes)) => with.retain(|prefix| !prefixes.contains(prefix)),
            None => {}
        }
        ensure!(
            found == without || found == with,
            "kill {kill}: {} members and neither {} nor {}",
            found.len(),
            without.len(),
            with.len()
        );
        // The kernel has what the store has.
        let held = daemon.metric("gateway_map_entries", &["map=\"live\""])?;
        ensure!(
            held as usize == found.len(),
            "kill {kill}: {held} in the kernel, {} in the store",
            found.len()
        );
        known.there = found;
    }
    ensure!(changes > 10 * KILLS, "only {changes} changes");
    report("e2e_labels", "changes_around_kills", changes);
    // And it judges by them.
    let frame =
        |from: &str| Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4(from, "192.0.2.1").udp(1, 9).bytes();
    let known = known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut sent, before) = (0, decided(&daemon, "deny")?);
    for prefix in known.there.iter().filter(|prefix| prefix.starts_with("10.")) {
        let address = prefix.split('/').next().context("an address")?;
        let bytes = frame(address);
        network.client.run(|| Sender::open(CLIENT)?.send(&[&bytes]))?;
        sent += 1;
    }
    let counted =
        gateway_tests::watch::settle(PATIENCE, || decided(&daemon, "deny"), |now| *now >= before + sent)?;
    ensure!(sent > 0 && counted == before + sent, "{} of {sent} dropped", counted - before);
    Ok(())
}

/// Adds or deletes some members, and notes it before and after.
fn change(known: &Mutex<Known>, socket: &std::path::Path, random: &mut Random) -> Result<()> {
    let lock = || known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let there: Vec<String> = lock().there.iter().cloned().collect();
    let adds = there.len() < 40 || random.chance(1, 2);
    let mut prefixes: BTreeSet<String> = BTreeSet::new();
    for _ in 0..=random.below(20) {
        if adds {
            let host = 1 + random.below(499);
            let prefix = if random.chance(1, 2) {
                format!("10.0.{}.{}/32", host / 250, host % 250)
            } else {
                format!("2001:db8::{host:x}/128")
            };
            prefixes.insert(prefix);
        } else {
            prefixes.insert(random.pick(&there).clone());
        }
    }
    let prefixes: Vec<String> = prefixes.into_iter().collect();
    lock().open = Some((adds, prefixes.clone()));
    let path = "/v1/labels/blocked/members";
    let (status, body) = if adds {
        request(
            socket,
            "POST",
            path,
            &serde_json::json!({"prefixes": prefixes, "ttl_secs": 86_400}).to_string(),
        )?
    } else {
        let query: Vec<String> = prefixes.iter().map(|prefix| format!("prefix={prefix}")).collect();
        request(socket, "DELETE", &format!("{path}?{}", query.join("&")), "")?
    };
    let report: Value = serde_json::from_str(&body).unwrap_or_default();
    ensure!(status == 200 && report["members"].is_u64(), "{status}: {body}");
    let mut known = lock();
    for prefix in prefixes {
        if adds {
            known.there.insert(prefix)
        } else {
            known.there.remove(&prefix)
        };
    }
    known.open = None;
    Ok(())
}

#[test]
fn a_file_of_a_million_lines_is_read_at_once() -> Result<()> {
    const LINES: u32 = 1_000_000;
    let network = Network::new(false)?;
    let daemon = Daemon::start(&network.gateway, &[GOVERNED], &["--table-memory", "512MiB"])?;
    // A million lines, a tenth of them said before, and wider ones around some.
    let mut text = String::with_capacity(LINES as usize * 16);
    let line = |i: u32| match i {
        i if i % 10 == 9 => format!("{}/32\n", Ipv4Addr::from(0x0a00_0000 + (i - 1) * 3)),
        i if i % 1000 == 0 => format!("{}/20\n", Ipv4Addr::from((0x0a00_0000 + i * 3) & 0xffff_f000)),
        i => format!("{}/32\n", Ipv4Addr::from(0x0a00_0000 + i * 3)),
    };
    (0..LINES).for_each(|i| text.push_str(&line(i)));
    let file = daemon.policy_file("blocked.txt", &text)?;
    let policy = POLICY.replace("[198.51.100.0/24]", "{file: blocked.txt}");
    let begun = Instant::now();
    daemon.apply(&policy)?;
    report("e2e_labels", "apply_of_a_million_lines_ms", begun.elapsed().as_millis());
    let shown = daemon.json(&["label", "show", "blocked", "--limit", "1"])?;
    let prefixes = shown["prefixes"].as_u64().context("prefixes")?;
    ensure!((890_000..=901_000).contains(&prefixes), "{shown}");

    let flow = Flow::new(&network)?;
    flow.arrives(0)?;
    let generation = daemon.json(&["status"])?["policy"]["generation"].clone();
    let mut worst = 0;
    for _ in 0..20 {
        let added = daemon.json(&["label", "add", "blocked", "192.0.2.77"])?;
        let deleted = daemon.json(&["label", "delete", "blocked", "192.0.2.77"])?;
        for change in [&added, &deleted] {
            ensure!(change["generation"] == generation, "a generation for one member: {change}");
            worst = worst.max(change["total_us"].as_u64().context("total_us")?);
        }
    }
    flow.arrives(0)?;
    report("e2e_labels", "member_change_beside_a_million_us_max", worst);
    let begun = Instant::now();
    daemon.done(&["route", "set", "deny", "--mark", "none", "--priority", "none", "--last"])?;
    report("e2e_labels", "route_set_beside_a_million_ms", begun.elapsed().as_millis());

    // What is wrong is told with its place, and nothing has changed.
    let generation = daemon.json(&["status"])?["policy"]["generation"].clone();
    let broken: String = text
        .lines()
        .enumerate()
        .map(|(i, line)| if i == 70_000 { "10.0.0.300\n".to_owned() } else { format!("{line}\n") })
        .collect();
    std::fs::write(&file, broken)?;
    let path = daemon.policy_file("policy.yaml", &policy)?;
    let told = daemon.client(&["policy", "apply", &path])?;
    ensure!(
        told.code == 1 && told.error.contains("blocked.txt:70001:1") && told.error.contains("10.0.0.300"),
        "{told:?}"
    );
    std::fs::remove_file(&file)?;
    let told = daemon.client(&["policy", "apply", &path])?;
    ensure!(told.code == 1 && told.error.contains("blocked.txt cannot be read"), "{told:?}");
    ensure!(daemon.json(&["status"])?["policy"]["generation"] == generation, "a refused policy went live");
    Ok(())
}
