//! What `gateway route …` and `policy apply` change holds for the very next packet.

use anyhow::{Context, Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::network::{BACKEND, CLIENT, CLIENT_MAC, GATEWAY_MAC, GOVERNED, Network};
use gateway_tests::packet::Frame;
use gateway_tests::receive::{FrameSocket, MarkSocket};
use gateway_tests::report::report;
use gateway_tests::traffic::Sender;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A packet that is to arrive does so within this.
const PATIENCE: Duration = Duration::from_secs(5);
/// A packet that does not arrive within this never will.
const NEVER: Duration = Duration::from_millis(300);
const ROUNDS: u32 = 20;

/// A flow to UDP port 7 of the gateway, and where it may end.
struct Ends {
    sender: Sender,
    stack: MarkSocket,
    backend: FrameSocket,
    frame: Vec<u8>,
}

/// Where the packet ended.
#[derive(Debug, PartialEq)]
enum End {
    Stack { mark: u32 },
    Backend,
    Nowhere,
}

impl Ends {
    fn new(network: &Network) -> Result<Ends> {
        let frame = Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", "192.0.2.1");
        Ok(Ends {
            sender: network.client.run(|| Sender::open(CLIENT))?,
            stack: network.gateway.run(|| MarkSocket::bind(Ipv4Addr::UNSPECIFIED.into(), 7, PATIENCE))?,
            backend: network.backend.run(|| FrameSocket::open(BACKEND, PATIENCE))?,
            frame: frame.udp(4242, 7).payload(20).bytes(),
        })
    }

    /// Sends one packet, the next after whatever was done before, and holds it against `wanted`.
    fn next_is(&self, wanted: &End) -> Result<()> {
        self.sender.send(&[&self.frame])?;
        let end = match wanted {
            End::Stack { .. } => self.stack.next_mark()?.map(|mark| End::Stack { mark }),
            End::Backend => self.backend.next_frame()?.map(|_| End::Backend),
            End::Nowhere => {
                std::thread::sleep(NEVER);
                Some(End::Nowhere)
            }
        };
        ensure!(end.as_ref() == Some(wanted), "{end:?} and not {wanted:?}");
        Ok(())
    }
}

fn policy(mark: u32) -> String {
    format!(
        "version: 1\nroutes:\n  - {{name: web, match: {{protocol: udp, port: 7}}, mark: {mark}, action: pass}}\n"
    )
}

#[test]
fn the_next_packet_meets_the_change() -> Result<()> {
    let network = Network::new(true)?;
    let daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
    let ends = Ends::new(&network)?;
    ends.next_is(&End::Stack { mark: 0 }).context("before any policy")?;
    for i in 1..=ROUNDS {
        let steps = || -> Result<()> {
            daemon.apply(&policy(i))?;
            ends.next_is(&End::Stack { mark: i }).context("policy apply")?;
            daemon.done(&["route", "set", "web", "--mark", &format!("{:#x}", 0x1000 + i)])?;
            ends.next_is(&End::Stack { mark: 0x1000 + i }).context("route set --mark")?;
            let add = ["route", "add", "first", "--protocol", "udp", "--action", "redirect:back0", "--first"];
            daemon.done(&add)?;
            ends.next_is(&End::Backend).context("route add --first")?;
            daemon.done(&["route", "set", "first", "--action", "drop"])?;
            daemon.done(&["route", "delete", "first"])?;
            ends.next_is(&End::Stack { mark: 0x1000 + i }).context("route delete")
        };
        steps().with_context(|| format!("round {i}"))?;
    }
    daemon.done(&["route", "set", "web", "--action", "drop", "--mark", "none"])?;
    ends.next_is(&End::Nowhere)?;
    daemon.apply(&policy(9))?;
    // Had the dropped packet only been late, its mark would come now.
    ends.next_is(&End::Stack { mark: 9 })?;
    report("e2e_changes", "changes_met_by_the_next_packet", ROUNDS * 4 + 2);
    Ok(())
}

#[test]
fn a_refused_change_leaves_no_trace() -> Result<()> {
    let network = Network::new(false)?;
    let daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
    daemon.apply(&policy(5))?;
    let generation = daemon.metric("gateway_policy_generation", &[])?;
    let shown = daemon.done(&["policy", "show"])?;
    let ends = Ends::new(&network)?;
    let bad = daemon
        .policy_file("bad.yaml", "version: 1\nroutes:\n  - {name: web, match: {prot: udp}, action: pas}\n")?;
    for (arguments, code) in [
        (vec!["policy", "apply", &bad], 1),
        (vec!["route", "set", "nobody", "--mark", "1"], 1),
        (vec!["route", "delete", "nobody"], 1),
        (vec!["route", "add", "web", "--action", "drop"], 1),
        (vec!["route", "set", "web", "--mark", "8", "--if-generation", "99"], 1),
        (vec!["route", "set", "web", "--mark"], 2),
    ] {
        let answer = daemon.client(&arguments)?;
        ensure!(answer.code == code, "{arguments:?}: {answer:?}");
        ensure!(!answer.error.is_empty() && answer.out.is_empty(), "{arguments:?}: {answer:?}");
    }
    // All that is wrong is told, and where.
    let told = daemon.client(&["policy", "apply", &bad])?.error;
    ensure!(told.contains("prot") && told.contains("pas") && told.contains("bad.yaml:3:"), "{told}");
    ensure!(daemon.metric("gateway_policy_generation", &[])? == generation, "a generation was used up");
    ensure!(daemon.done(&["policy", "show"])? == shown, "the policy is another");
    ends.next_is(&End::Stack { mark: 5 })
}
