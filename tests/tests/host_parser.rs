//! The parser that both sides share, run on the host against the model: many more frames than the
//! kernel can be asked about, and those that no kernel lets through to a program.

use anyhow::ensure;
use gateway_common::packet::{Packet, flags, ipv4_address};
use gateway_common::parse::{Carries, address, checksum, parse, plain};
use gateway_common::reason::Reason;
use gateway_tests::generate::frame;
use gateway_tests::golden::rows;
use gateway_tests::model::{self, Parsed, Unparsed};
use gateway_tests::packet::show::describe;
use gateway_tests::random::{Random, seed};
use gateway_tests::report::report;
use std::net::IpAddr;

const RANDOM_FRAMES: usize = 300_000;

fn address(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => ipv4_address(address.to_bits()),
        IpAddr::V6(address) => [(address.to_bits() >> 64) as u64, address.to_bits() as u64],
    }
}

/// What the model read, in the other's words.
fn in_words(parsed: &Parsed) -> Packet {
    let mut bits = 0;
    for (set, bit) in [
        (parsed.later_fragment, flags::LATER_FRAGMENT),
        (parsed.first_fragment, flags::FIRST_FRAGMENT),
        (parsed.ports.is_some(), flags::HAS_PORTS),
        (parsed.icmp.is_some(), flags::HAS_ICMP),
        (parsed.dont_fragment, flags::DONT_FRAGMENT),
        (parsed.last_fragment, flags::LAST_FRAGMENT),
    ] {
        bits |= if set { bit } else { 0 };
    }
    let icmp = parsed.icmp.map(|(kind, code)| u16::from_be_bytes([kind, code]));
    Packet {
        source: address(parsed.source),
        destination: address(parsed.destination),
        source_port: parsed.ports.map_or(0, |(source, _)| source),
        port: parsed.ports.map(|(_, destination)| destination).or(icmp).unwrap_or(0),
        family: if parsed.source.is_ipv4() { 4 } else { 6 },
        protocol: parsed.protocol,
        flags: bits,
        tcp_flags: parsed.tcp_flags,
        vlan: parsed.vlan,
        flow_label: parsed.flow_label.unwrap_or(0),
        traffic_class: parsed.traffic_class,
        ttl: parsed.ttl,
        identification: parsed.identification,
        ..Packet::default()
    }
}

/// Bytes behind the TCP header of a packet, 0 of others.
fn tcp_payload(frame: &[u8], parsed: &Parsed) -> u32 {
    if parsed.protocol != 6 || parsed.later_fragment {
        return 0;
    }
    let header = frame[parsed.offset + parsed.header + 12] >> 4;
    (usize::from(parsed.length) - parsed.header - 4 * usize::from(header)) as u32
}

/// The whole way of a frame that the kernel takes before it looks for a route.
fn read(frame: &[u8], packet: &mut Packet, verify: bool) -> Result<Carries, Reason> {
    let carries = parse(frame, packet)?;
    if carries == Carries::Ip {
        if verify {
            checksum::verify(frame, packet, |word| word)?;
        }
        address::check(packet)?;
    }
    Ok(carries)
}

fn compare(frame: &[u8]) -> anyhow::Result<()> {
    for verify in [false, true] {
        let mut packet = Packet::default();
        let got = read(frame, &mut packet, verify);
        let model = model::parse(frame, verify);
        let length = packet.ip_length();
        let payload = model.as_ref().map_or(0, |parsed| tcp_payload(frame, parsed));
        let right = got != Ok(Carries::Ip) || packet.payload == payload;
        packet.payload = 0;
        // Offsets are the parser's own business, and the sequence number that of SYN cookies.
        (packet.l3_offset, packet.l4_offset, packet.end, packet.sequence) = (0, 0, 0, 0);
        let same = match (&model, got) {
            (Ok(parsed), Ok(Carries::Ip)) => packet == in_words(parsed) && length == parsed.length && right,
            (Err(Unparsed::NotIp), Ok(Carries::Other)) => true,
            (Err(Unparsed::Malformed(wanted)), Err(reason)) => *wanted == reason,
            _ => false,
        };
        let text =
            || format!("verify {verify}\nmodel {model:?}\nparser {got:?} {packet:?}\n{}", describe(frame));
        ensure!(same, "{}", text());
    }
    Ok(())
}

/// Whether the short parser takes a frame; of those that it takes it says what the other one says.
fn is_plain(frame: &[u8]) -> anyhow::Result<bool> {
    let (mut short, mut whole) = (Packet::default(), Packet::default());
    if !plain(frame, &mut short) {
        return Ok(false);
    }
    let got = parse(frame, &mut whole);
    ensure!(
        got == Ok(Carries::Ip) && short == whole,
        "{got:?} {whole:?}\nas plain {short:?}\n{}",
        describe(frame)
    );
    Ok(true)
}

#[test]
fn every_golden_frame_cut_at_every_length() -> anyhow::Result<()> {
    let mut count = 0u64;
    for row in rows() {
        // Long ones differ in nothing but their payload.
        for length in 0..=row.frame.len().min(256) {
            compare(&row.frame[..length])?;
            is_plain(&row.frame[..length])?;
            count += 1;
        }
        compare(&row.frame)?;
    }
    report("host_parser", "host_frames_cut", count);
    Ok(())
}

#[test]
fn random_frames() -> anyhow::Result<()> {
    let seed = seed();
    report("host_parser", "seed", format!("{seed:#x}"));
    let mut random = Random::new(seed);
    let mut plain = 0;
    for _ in 0..RANDOM_FRAMES {
        let frame = frame(&mut random);
        compare(&frame)?;
        plain += usize::from(is_plain(&frame)?);
    }
    ensure!(plain > RANDOM_FRAMES / 20 && plain < RANDOM_FRAMES, "{plain} of {RANDOM_FRAMES} are plain");
    report("host_parser", "host_frames_random", RANDOM_FRAMES);
    report("host_parser", "host_frames_plain", plain);
    Ok(())
}
