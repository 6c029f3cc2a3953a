//! Flow accounts: a real TCP transfer to the byte, and a million flows of which not a packet is
//! unaccounted for.

use anyhow::{Context, Result, ensure};
use gateway_tests::daemon::Daemon;
use gateway_tests::network::{CLIENT, CLIENT_MAC, GATEWAY_MAC, GOVERNED, Network, transmitted};
use gateway_tests::packet::Frame;
use gateway_tests::packet::checksum::internet;
use gateway_tests::report::report;
use gateway_tests::traffic::Sender;
use gateway_tests::watch::settle;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const TRANSFER_BYTES: usize = 4_000_000;
const FLOWS: u32 = 1_000_000;

const POLICY: &str = "\
version: 1
routes:
  - {name: web, match: {protocol: tcp, port: 8080}, mark: 7, action: pass}
  - {name: many, match: {protocol: udp, from: 10.0.0.0/8}, action: drop}
";

fn transfer(network: &Network) -> Result<u16> {
    let listener = network.gateway.run(|| Ok(TcpListener::bind("192.0.2.1:8080")?))?;
    let server = std::thread::spawn(move || -> std::io::Result<usize> {
        let (mut stream, _) = listener.accept()?;
        stream.read_to_end(&mut Vec::new())
    });
    let port = network.client.run(|| {
        let mut stream = TcpStream::connect("192.0.2.1:8080")?;
        let port = stream.local_addr()?.port();
        stream.write_all(&vec![0x55; TRANSFER_BYTES])?;
        Ok(port)
    })?;
    let read = server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    ensure!(read == TRANSFER_BYTES, "{read} bytes arrived");
    Ok(port)
}

#[test]
fn a_transfer_to_the_byte() -> Result<()> {
    let network = Network::new(false)?;
    let daemon = Daemon::start(&network.gateway, &[GOVERNED], &[])?;
    daemon.apply(POLICY)?;
    let before = transmitted(&network.client, CLIENT)?;
    let port = transfer(&network)?;
    // The last acknowledgement may be under way still.
    let sent = || -> Result<(u64, u64)> {
        let now = transmitted(&network.client, CLIENT)?;
        Ok((now.0 - before.0, now.1 - before.1))
    };
    let flow = || -> Result<serde_json::Value> {
        let list = daemon.json(&["flow", "list", "--route", "web", "--limit", "10"])?;
        let flows = list["flows"].as_array().context("no flows")?;
        ensure!(flows.len() == 1, "{} flows: {list}", flows.len());
        Ok(flows[0].clone())
    };
    let look = || Ok((sent()?, flow()?));
    // The link counts a frame without its Ethernet header, or with it, as the kernel's version has it.
    let balanced = |((packets, bytes), flow): &((u64, u64), serde_json::Value)| {
        flow["packets"] == *packets && (flow["bytes"] == *bytes || flow["bytes"] == *bytes + 14 * packets)
    };
    let found = settle(Duration::from_secs(3), look, balanced)?;
    ensure!(balanced(&found), "sent {:?}, flow {}", found.0, found.1);
    let ((packets, bytes), flow) = found;
    for (key, wanted) in [
        ("source", serde_json::json!("192.0.2.77")),
        ("destination", serde_json::json!("192.0.2.1")),
        ("source_port", serde_json::json!(port)),
        ("port", serde_json::json!(8080)),
        ("protocol", serde_json::json!("tcp")),
        ("interface", serde_json::json!(GOVERNED)),
        ("verdict", serde_json::json!("pass")),
        ("mark", serde_json::json!(7)),
    ] {
        ensure!(flow[key] == wanted, "{key}: {}", flow[key]);
    }
    let flags = flow["tcp_flags"].as_str().unwrap_or_default().to_ascii_uppercase();
    ensure!(["SYN", "ACK", "FIN"].iter().all(|flag| flags.contains(flag)), "TCP flags {flags}");
    ensure!(bytes as usize > TRANSFER_BYTES && packets > 100, "{packets} packets, {bytes} bytes");
    report("e2e_flows", "transfer_packets", packets);
    Ok(())
}

/// A frame of its own flow: the number is in the source address and port.
fn frame_of(template: &[u8], number: u32) -> Vec<u8> {
    let mut frame = template.to_vec();
    frame[26..30].copy_from_slice(&(0x0a00_0000 | number >> 4).to_be_bytes());
    frame[34..36].copy_from_slice(&(10_000 + (number & 15) as u16).to_be_bytes());
    frame[24..26].fill(0);
    let sum = internet(&[&frame[14..34]]).to_be_bytes();
    frame[24..26].copy_from_slice(&sum);
    frame
}

#[test]
fn a_million_flows() -> Result<()> {
    let network = Network::new(false)?;
    let daemon =
        Daemon::start(&network.gateway, &[GOVERNED], &["--event-sample", "0", "--drop-sample", "0"])?;
    daemon.apply(POLICY)?;
    let template =
        Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("10.0.0.0", "198.51.100.1").udp(0, 9).bytes();
    network.client.run(|| {
        let sender = Sender::open(CLIENT)?;
        for first in (0..FLOWS).step_by(10_000) {
            let frames: Vec<Vec<u8>> = (first..first + 10_000).map(|i| frame_of(&template, i)).collect();
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            // Twice: each flow has two packets.
            sender.send(&frames)?;
            sender.send(&frames)?;
        }
        Ok(())
    })?;
    let packets = u64::from(FLOWS) * 2;
    let received = daemon.metric("gateway_route_packets_total", &["route=\"many\""])?;
    ensure!(received as u64 == packets, "{received} counted of {packets}");
    let totals = || -> Result<serde_json::Value> { Ok(daemon.json(&["status"])?["flows"].clone()) };
    let number = |totals: &serde_json::Value, key: &str| totals[key].as_u64().unwrap_or(0);
    let accounted = |totals: &serde_json::Value| {
        number(totals, "packets") + number(totals, "lost_packets") + number(totals, "evicted_packets")
    };
    // The ring buffer is read beside the traffic: give it a moment.
    let totals = settle(Duration::from_secs(60), totals, |totals| accounted(totals) == packets)?;
    ensure!(
        accounted(&totals) == packets,
        "{} packets accounted for of {packets}: {totals}",
        accounted(&totals)
    );
    ensure!(number(&totals, "lost_flows") == daemon.metric("gateway_flows_lost_total", &[])? as u64, "lost");
    report("e2e_flows", "flows_sent", FLOWS);
    report("e2e_flows", "flows_known", number(&totals, "flows"));
    report("e2e_flows", "flow_packets_lost_and_counted", number(&totals, "lost_packets"));
    Ok(())
}
