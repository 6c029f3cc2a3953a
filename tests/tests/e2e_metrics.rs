//! The metrics as Prometheus' own checker sees them, and what they say against what was sent.

use anyhow::{Context, Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::network::{CLIENT, CLIENT_MAC, GATEWAY_MAC, GOVERNED, Network};
use gateway_tests::packet::Frame;
use gateway_tests::report::report;
use gateway_tests::traffic::Sender;
use std::io::Write;
use std::process::{Command, Stdio};

const POLICY: &str = "\
version: 1
malformed: {default: drop, udp_length: pass}
routes:
  - {name: dns, match: {protocol: udp, port: 53}, mark: 1, action: pass}
  - {name: away, match: {protocol: tcp}, action: drop}
  - {name: lost, match: {protocol: sctp}, action: {redirect: nowhere}}
default: drop
";

fn promtool(text: &str) -> Result<()> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool (Debian's package prometheus)")?;
    child.stdin.take().context("stdin")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool: {}\n{said}\n{text}", output.status);
    Ok(())
}

#[test]
fn the_exposition_is_right_and_true() -> Result<()> {
    let network = Network::new(false)?;
    let daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
    promtool(&daemon.get("/metrics")?).context("before a policy")?;
    daemon.apply(POLICY)?;
    let ip = || Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", "198.51.100.1");
    let kinds = [
        (11, ip().udp(1, 53)),
        (7, ip().tcp(1, 80)),
        (5, ip().sctp(1, 2)),
        (3, ip().icmp(8, 0)),
        (2, ip().udp(1, 53).claim_udp_length(99)),
        (1, ip().udp(1, 53).claim_version(6)),
        (13, Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).other(0x88cc, &[0; 46])),
    ];
    network.client.run(|| {
        let sender = Sender::open(CLIENT)?;
        kinds.iter().try_for_each(|(count, frame)| sender.send(&vec![frame.bytes().as_slice(); *count]))
    })?;
    let sent: usize = kinds.iter().map(|(count, _)| count).sum();
    let bytes: usize = kinds.iter().map(|(count, frame)| count * frame.bytes().len()).sum();
    let metric = |name: &str, labels: &[&str]| daemon.metric(name, labels);
    let governed = "interface=\"gw0\"";
    for (name, labels, wanted) in [
        ("gateway_received_packets_total", vec![governed], sent),
        ("gateway_packets_total", vec![governed], sent),
        ("gateway_bytes_total", vec![governed], bytes),
        ("gateway_packets_total", vec![governed, "verdict=\"pass\"", "hook=\"xdp\""], 11 + 2 + 13),
        ("gateway_packets_total", vec![governed, "verdict=\"drop\""], 7 + 5 + 3 + 1),
        ("gateway_drops_total", vec![governed], 7 + 5 + 3 + 1),
        ("gateway_drops_total", vec!["reason=\"route\""], 7),
        ("gateway_drops_total", vec!["reason=\"redirect_target\""], 5),
        ("gateway_drops_total", vec!["reason=\"default\""], 3),
        ("gateway_drops_total", vec!["reason=\"ipv4_version\""], 1),
        ("gateway_malformed_passed_total", vec!["reason=\"udp_length\""], 2),
        ("gateway_route_packets_total", vec!["route=\"dns\""], 11),
        ("gateway_route_bytes_total", vec!["route=\"dns\""], 11 * 42),
        ("gateway_route_packets_total", vec!["route=\"away\""], 7),
        ("gateway_route_packets_total", vec!["route=\"(default)\""], 3),
        ("gateway_route_packets_total", vec!["route=\"(malformed)\""], 3),
        ("gateway_route_packets_total", vec!["route=\"(not_ip)\""], 13),
        ("gateway_policy_generation", vec![], 1),
        ("gateway_interface_mode", vec![governed, "mode=\"native\""], 1),
        ("gateway_events_lost_total", vec![], 0),
    ] {
        let value = metric(name, &labels)?;
        ensure!(value == wanted as f64, "{name}{labels:?} is {value}, not {wanted}");
    }
    ensure!(metric("gateway_policy_applied_timestamp_seconds", &[])? > 1e9, "applied in the past century");
    ensure!(metric("gateway_map_entries", &[])? < metric("gateway_map_max_entries", &[])?, "maps");
    ensure!(metric("gateway_build_info", &["version=", "abi=", "object="])? == 1.0, "build info");
    for path in ["/metrics", "/metrics/flows"] {
        let text = daemon.get(path)?;
        promtool(&text).with_context(|| path.to_owned())?;
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        report("e2e_metrics", &format!("series{}", path.replace('/', "_")), series);
    }
    daemon.get("/healthz")?;
    daemon.get("/readyz")?;
    Ok(())
}
