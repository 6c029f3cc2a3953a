//! Frames that nobody here made: every Ethernet frame of tcpdump's own test captures goes through
//! the object as it is and slightly damaged, without an error of the test run; the accounts balance
//! and the model agrees.

use anyhow::{Context, Result, ensure};
use gateway_common::abi::Hook;
use gateway_tests::captures::{Captured, ethernet_frames};
use gateway_tests::check::{Expected, differences};
use gateway_tests::generate::mutate;
use gateway_tests::golden::run::policy_of;
use gateway_tests::model::{Parsed, State, judge, parse};
use gateway_tests::object::{Lab, Sizes};
use gateway_tests::packet::show::describe;
use gateway_tests::random::{Random, seed};
use gateway_tests::report::report;
use gateway_tests::testrun::may_be_refused;
use gateway_user::policy::Policy;
use std::sync::OnceLock;

/// Longer frames do not fit the page that a tc test run puts them in.
const TC_LONGEST: usize = 3_000;
/// Failures that are told in full.
const SHOWN: usize = 3;

const POLICY: &str = "\
version: 1
routes:
  - {name: dns, match: {protocol: [tcp, udp], port: 53}, mark: 1, action: pass}
  - {name: answers, match: {protocol: [tcp, udp], source_port: [53, 80, 443]}, mark: 2, action: pass}
  - {name: private, match: {from: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, \"fe80::/10\"], protocol: tcp}, action: drop}
  - {name: multicast, match: {to: [224.0.0.0/4, \"ff00::/8\"]}, priority: 3, action: pass}
  - {name: back, match: {protocol: udp, port: 1-1023}, action: tx}
  - {name: pings, match: {icmp_type: [0, 8, 128-129], not: {length: 1000-65535}}, dscp: cs1, action: pass}
  - {name: small, match: {protocol: tcp, length: 40-60, ttl: 1-64, not: {tcp_flags: [syn, fin, rst]}}, mark: 9, action: pass}
  - {name: fragments, match: {fragment: [first, later]}, mark: 10, action: pass}
  - {name: tagged, match: {not: {vlan: untagged}}, mark: 11, action: pass}
  - {name: expedited, match: {dscp: [ef, cs6, cs7]}, mark: 12, action: pass}
  - {name: sctp, match: {protocol: [sctp, 89, icmp]}, action: {redirect: gold1}}
";

fn captures() -> Result<&'static [Captured]> {
    static ALL: OnceLock<Result<Vec<Captured>, String>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let captures = ethernet_frames().map_err(|error| format!("{error:#}"))?;
        report("captures", "capture_files", captures.files);
        report("captures", "capture_files_of_other_links", captures.other_link_types);
        report("captures", "capture_files_damaged", captures.damaged);
        report("captures", "capture_frames", captures.frames.len());
        Ok(captures.frames)
    });
    all.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn at(hook: Hook) -> Result<()> {
    let seed = seed();
    let name = format!("captures_{}", hook.name());
    report(&name, "seed", format!("{seed:#x}"));
    let mut random = Random::new(seed);
    let mut lab = Lab::with_sizes(hook, Sizes { seed, ..Sizes::default() })?;
    let (mut put, mut refused, mut failures) = (0, 0, 0);
    for malformed in ["drop", "pass"] {
        let checksums = if malformed == "drop" { "verify" } else { "ignore" };
        let policy = policy_of(&format!("{POLICY}malformed: {malformed}\nchecksums: {checksums}\n"))?;
        lab.apply(&policy, &[])?;
        let before = lab.snapshot();
        let mut judged = 0u64;
        for captured in captures()? {
            let mut frame = captured.frame.clone();
            if malformed == "pass" && frame.len() >= 14 {
                mutate(&mut random, &mut frame);
            }
            let too_long = hook == Hook::TcIngress && frame.len() > TC_LONGEST;
            if may_be_refused(hook, &frame).is_some() || too_long {
                refused += 1;
                continue;
            }
            judged += 1;
            if let Some(failure) = one(&lab, &policy, captured, &frame)? {
                failures += 1;
                if failures <= SHOWN {
                    println!("{failure}");
                }
            }
        }
        let delta = lab.snapshot().since(&before);
        delta.conserved().map_err(anyhow::Error::msg)?;
        let received = delta.stats.values().map(|stats| stats.received.packets).sum::<u64>();
        ensure!(received == judged, "{received} received of {judged} put");
        put += judged;
    }
    report(&name, "capture_frames_put", put);
    report(&name, "capture_frames_refused_by_test_run", refused);
    ensure!(failures == 0, "{failures} of {put} frames differ; GATEWAY_SEED={seed:#x} repeats this run");
    Ok(())
}

fn one(lab: &Lab, policy: &Policy, captured: &Captured, frame: &[u8]) -> Result<Option<String>> {
    let place = || format!("{}, frame {}", captured.file, captured.number);
    let observed = lab.put(frame).with_context(place)?;
    let judged = judge(Some(policy), &lab.world(), &mut State::default(), frame);
    let found = differences(lab, &Expected::of_model(&judged, frame), &observed);
    if found.is_empty() {
        return Ok(None);
    }
    let text = found.join("\n");
    Ok(Some(format!("{}: {text}\n{judged:?}\n{}", place(), describe(frame))))
}

#[test]
fn every_captured_frame_at_xdp() -> Result<()> {
    at(Hook::Xdp)
}

#[test]
fn every_captured_frame_at_tc() -> Result<()> {
    at(Hook::TcIngress)
}

/// A third opinion: where etherparse and the model both read a packet, they read the same.
#[test]
fn etherparse_reads_the_same() -> Result<()> {
    let mut compared = 0;
    for captured in captures()? {
        let Ok(packet) = parse(&captured.frame, false) else { continue };
        let Ok(other) = etherparse::SlicedPacket::from_ethernet(&captured.frame) else { continue };
        let Some(theirs) = ports_of(&other) else { continue };
        let Parsed { ports, .. } = packet;
        ensure!(ports == Some(theirs), "{captured:?}: {ports:?} and {theirs:?}");
        compared += 1;
    }
    report("captures", "capture_frames_read_by_etherparse", compared);
    ensure!(compared > 1000, "only {compared} frames compared");
    Ok(())
}

fn ports_of(packet: &etherparse::SlicedPacket<'_>) -> Option<(u16, u16)> {
    match packet.transport.as_ref()? {
        etherparse::TransportSlice::Tcp(tcp) => Some((tcp.source_port(), tcp.destination_port())),
        etherparse::TransportSlice::Udp(udp) => Some((udp.source_port(), udp.destination_port())),
        _ => None,
    }
}
