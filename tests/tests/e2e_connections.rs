//! Long connections through a translating pool: a drained target keeps its own to their end, and changes
//! of the pool lose none of those whose target stays.

use anyhow::{Context, Result, ensure};
use gateway_tests::backends::{Delivery, Links, SERVICE, address_of};
use gateway_tests::changes;
use gateway_tests::connections::{Connection, Echo, by_server, open};
use gateway_tests::daemon::Daemon;
use gateway_tests::report::report;
use gateway_tests::watch::settle;
use std::net::SocketAddr;
use std::time::Duration;

/// Long connections, and such as come while a target is drained.
const LONG: usize = 100;
const NEW: usize = 100;
/// What must come, comes within this.
const PATIENCE: Duration = Duration::from_secs(30);
const PORT: u16 = 7_100;

/// Open connections of a target, as `pool show` tells.
fn open_of(daemon: &Daemon<'_>, target: &str) -> Result<u64> {
    let pool = daemon.json(&["pool", "show", "web"])?;
    let targets = pool["targets"].as_array().context("no targets")?;
    let of = targets.iter().find(|one| one["name"] == target).with_context(|| target.to_owned())?;
    of["connections"]["open"].as_u64().with_context(|| pool.to_string())
}

fn all_go_on(connections: &mut [Connection]) -> Result<()> {
    (0..).zip(connections).try_for_each(|(n, connection)| {
        connection.go_on(n).with_context(|| format!("connection {n} of target {}", connection.by()))
    })
}

#[test]
fn a_drained_target_keeps_its_connections_to_their_end() -> Result<()> {
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    let at =
        |backend| -> Result<SocketAddr> { Ok(SocketAddr::new(address_of(backend, false).parse()?, 8_100)) };
    let mut servers = Vec::new();
    for (number, backend) in delivery.backends.iter().enumerate() {
        servers.push(Echo::start(backend, at(number)?, number as u8)?);
    }
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], &[])?;
    daemon.apply(&format!(
        "version: 1\npools:\n  web: {{forward: dnat, targets: [{{name: b0, address: {}, port: 8100}}, \
         {{name: b1, address: {}, port: 8100}}]}}\n\
         routes:\n  - {{name: web, match: {{protocol: tcp, port: {PORT}}}, action: {{pool: web}}}}\n",
        address_of(0, false),
        address_of(1, false)
    ))?;
    let service = SocketAddr::new(SERVICE[0].parse()?, PORT);
    let mut long = delivery.client.run(|| open(service, LONG))?;
    let [of_b0, of_b1] = by_server(&long);
    ensure!(of_b0 > 0 && of_b1 > 0, "all went to one target: {of_b0} and {of_b1}");
    ensure!(open_of(&daemon, "b0")? == of_b0 as u64, "{of_b0} are open");

    daemon.done(&["target", "drain", "web/b0"])?;
    let mut new = delivery.client.run(|| open(service, NEW))?;
    ensure!(by_server(&new) == [0, NEW], "new ones went to the drained target");
    all_go_on(&mut long)?;
    all_go_on(&mut new)?;
    ensure!(open_of(&daemon, "b0")? == of_b0 as u64, "the drained target's are no longer open");
    // To their end, which is the client's to choose.
    long.retain(|connection| connection.by() != 0);
    let left = settle(PATIENCE, || open_of(&daemon, "b0"), |open| *open == 0)?;
    ensure!(left == 0, "{left} connections of the drained target are left");

    daemon.done(&["target", "enable", "web/b0"])?;
    let again = delivery.client.run(|| open(service, NEW))?;
    ensure!(by_server::<2>(&again)[0] > 0, "the target takes nothing again");
    all_go_on(&mut long)?;
    drop((long, new, again));
    servers.into_iter().try_for_each(Echo::stop)?;
    report("connections_drained", "long_connections", LONG);
    Ok(())
}

#[test]
fn changes_of_a_pool_lose_no_connection_whose_target_stays() -> Result<()> {
    const CONNECTIONS: usize = 2_000;
    const CHANGES: usize = 60;
    let outcome = changes::under(CHANGES, |delivery, service| {
        changes::Threads::gather(delivery, service, CONNECTIONS)
    })?;
    let changes::Outcome { by_target, lost, asked, .. } = outcome;
    ensure!(by_target.iter().all(|count| *count > 0), "a target without connections: {outcome:?}");
    ensure!(lost == 0, "connections were lost whose target stayed: {outcome:?}");
    ensure!(asked > CHANGES, "hardly anything was asked meanwhile: {outcome:?}");
    report("connections_changes", "connections_under_changes", CONNECTIONS);
    Ok(())
}
