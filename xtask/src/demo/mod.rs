//! `cargo xtask demo`: a client, a gateway and two backends in network namespaces, real packets,
//! and a table that shows whether all who counted them agree.

mod daemon;
mod ledger;
mod namespace;
mod network;
mod table;
mod traffic;

use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::setup::{self, Need};
use crate::shell::{program, root};
use crate::{build, shell, signals};
use daemon::Daemon;
use network::Network;
use table::Row;

#[derive(clap::Args)]
pub struct Arguments {
    /// Send packets, compare the counts, clean up, end.
    #[arg(long)]
    once: bool,
    /// How the gateway governs its interfaces: auto, native, generic or tc.
    #[arg(long, default_value = "auto")]
    mode: String,
}

/// How long counters may take to come to rest.
const SETTLE: Duration = Duration::from_secs(5);

pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Need::Build, Need::Network])?;
    let built = build::build(true)?;
    signals::catch()?;
    println!("== demo");
    namespace::sweep()?;
    let network = Network::new()?;
    ledger::start(&network)?;
    network.connect()?;
    let policy = root().join("examples/demo.yaml");
    let daemon = Daemon::start(&built.executable, &network.gateway, &policy, &arguments.mode)?;
    show_modes(&daemon)?;
    signals::check()?;

    let agreed = show(&network, &daemon);
    signals::check()?;
    if !agreed.inspect_err(|_| daemon.show_log())? {
        daemon.show_log();
        bail!("the counts differ");
    }
    println!("all counts agree");
    if arguments.once {
        return Ok(());
    }
    let iperf = Iperf::start(&network)?;
    invite(&network, &daemon);
    signals::wait();
    println!("\ncleaning up");
    drop(iperf);
    Ok(())
}

/// Which hook each interface is governed by.
fn show_modes(daemon: &Daemon) -> Result<()> {
    let status = daemon.ask(&["status"])?;
    for interface in status["interfaces"].as_array().context("`status` names no interfaces")? {
        let word = |key: &str| interface[key].as_str().unwrap_or_default().to_owned();
        println!("{:>10}  interface {}, mode {} {}", "governed", word("name"), word("mode"), word("note"));
    }
    Ok(())
}

/// Sends the packets, and prints what everyone counted; whether they agree.
fn show(network: &Network, daemon: &Daemon) -> Result<bool> {
    println!("{:>10}  TCP and UDP over IPv4 and IPv6, from the client", "sending");
    traffic::serve(network)?;
    traffic::send(&network.client)?;
    let start = Instant::now();
    let rows = loop {
        signals::check()?;
        let rows = table::rows(&ledger::read(network)?, &daemon.ask(&["route", "list"])?)?;
        if rows.iter().all(|row| row.agrees) || start.elapsed() > SETTLE {
            break rows;
        }
        thread::sleep(Duration::from_millis(100));
    };
    table::print(&rows);
    Ok(rows.iter().all(|row: &Row| row.agrees))
}

/// An iperf3 server in backend1; dropping it ends it.
struct Iperf(Child);

impl Iperf {
    fn start(network: &Network) -> Result<Iperf> {
        let mut command = program("iperf3", ["--server", "--port", "5201"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        network.backend1.run(|| command.spawn().map(Iperf).context("cannot start iperf3"))
    }
}

impl Drop for Iperf {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("cannot end iperf3: {error}");
        }
    }
}

/// The commands to try.
fn invite(network: &Network, daemon: &Daemon) {
    let (client, gateway) = (network.client.name(), network.gateway.name());
    let metrics = format!("ip netns exec {gateway} curl -s http://{}/metrics", daemon::METRICS);
    println!(
        "\nIt stays up until Ctrl-C. In another terminal:

  g='{}'
  $g status
  $g route list
  $g route set web --mark 0x99                             # the next packet has it
  $g route add no-ping --protocol icmp --action drop --first
  $g label add suspects 192.0.2.2 --ttl 30s                # the client, for half a minute
  $g limit list
  $g policy diff {examples}/lockdown.yaml
  $g policy apply {examples}/lockdown.yaml
  $g policy apply {examples}/demo.yaml
  $g flow top
  $g flow top --sources
  $g event follow

  ip netns exec {client} ping -c 3 198.51.100.10
  ip netns exec {client} iperf3 -c 198.51.100.10 -t 20     # by route web: see flow top
  ip netns exec {gateway} nft list set inet demo marks     # the client's packets, by mark
  {metrics}
  {metrics} | promtool check metrics
",
        shell::shown(&daemon.client()),
        examples = root().join("examples").display(),
    );
}
