//! Every mode from start to detach: what is attached is told, governs, and goes without a trace.

use anyhow::{Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::network::{BACKEND, CLIENT, CLIENT_MAC, GATEWAY_MAC, GOVERNED, Network};
use gateway_tests::packet::Frame;
use gateway_tests::receive::{FrameSocket, MarkSocket};
use gateway_tests::traffic::Sender;
use std::net::Ipv4Addr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

const POLICY: &str = "\
version: 1
routes:
  - {name: marked, match: {protocol: udp, port: 7}, mark: 0x77, action: pass}
  - {name: on, match: {protocol: udp, port: 8}, action: {redirect: back0}}
";

fn in_mode(mode: &str, wanted: &str, xdp_frames: bool) -> Result<()> {
    let network = Network::new(xdp_frames)?;
    let daemon = Daemon::start(&network.gateway, &[GOVERNED], &["--mode", mode])?;
    daemon.apply(POLICY)?;
    let status = daemon.json(&["status"])?;
    let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
    let told = interfaces.iter().find(|interface| interface["name"] == GOVERNED).map(|i| i["mode"].clone());
    ensure!(told == Some(wanted.into()), "status tells {told:?}");
    let labels = [&format!("mode=\"{wanted}\"")[..], "interface=\"gw0\""];
    ensure!(daemon.metric("gateway_interface_mode", &labels)? == 1.0, "the metric tells otherwise");
    ensure!(
        daemon.log().contains(&format!("\"mode\":\"{wanted}\"")),
        "the log does not tell:\n{}",
        daemon.log()
    );
    let link = || network.gateway.ip(&["-d", "link", "show", "dev", GOVERNED]);
    ensure!(link()?.contains("prog/xdp") == (wanted != "tc"), "{}", link()?);

    let sender = network.client.run(|| Sender::open(CLIENT))?;
    let any = Ipv4Addr::UNSPECIFIED.into();
    let stack = network.gateway.run(|| MarkSocket::bind(any, 7, PATIENCE))?;
    let passed_on = network.gateway.run(|| MarkSocket::bind(any, 8, PATIENCE))?;
    let backend = network.backend.run(|| FrameSocket::open(BACKEND, PATIENCE))?;
    let frame = |port| {
        let frame = Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", "192.0.2.1");
        frame.udp(4242, port).payload(30).bytes()
    };
    let (marked, on) = (frame(7), frame(8));
    sender.send(&[&marked, &on])?;
    let mark = stack.next_mark()?;
    ensure!(mark == Some(0x77), "mark {mark:x?}");
    ensure!(backend.next_frame()? == Some(on.clone()), "no frame at the backend");
    let hook = if wanted == "tc" { "hook=\"tc_ingress\"" } else { "hook=\"xdp\"" };
    let judged = daemon.metric("gateway_packets_total", &["interface=\"gw0\"", hook])?;
    ensure!(judged == 2.0, "{judged} judged at {hook}");

    daemon.done(&["detach", "--yes"])?;
    ensure!(!daemon.pins().exists(), "pins are left: {:?}", daemon.pins());
    ensure!(!link()?.contains("prog/xdp"), "{}", link()?);
    let filters = network.gateway.command("tc", &["filter", "show", "dev", GOVERNED, "ingress"])?;
    ensure!(!filters.contains("gateway"), "{filters}");
    sender.send(&[&marked, &on])?;
    let mark = stack.next_mark()?;
    ensure!(mark == Some(0), "still governed: mark {mark:x?}");
    let mark = passed_on.next_mark()?;
    ensure!(mark == Some(0), "still governed: mark {mark:x?} on what was redirected");
    Ok(())
}

#[test]
fn auto_is_native() -> Result<()> {
    in_mode("auto", "native", false)
}

#[test]
fn native_with_a_backend_that_takes_xdp_frames() -> Result<()> {
    in_mode("native", "native", true)
}

#[test]
fn generic() -> Result<()> {
    in_mode("generic", "generic", true)
}

#[test]
fn tc() -> Result<()> {
    in_mode("tc", "tc", false)
}
