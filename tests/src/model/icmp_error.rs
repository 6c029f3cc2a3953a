//! What the gateway tells the sender of a packet that cannot go on.
//!
//! Written from RFC 792, RFC 1122 3.2.2, RFC 1191 4, RFC 1812 4.3.2, RFC 4443 2.4, 3.2 and 3.3. Rate: 1,000 a
//! second, 100 at once.

use super::bucket::{Answer, Bucket, Tie};
use super::{Parsed, World};
use crate::packet::checksum::internet;
use gateway_user::policy::Rate;
use std::net::IpAddr;

const RATE: Rate = Rate { per_second: 1_000, burst: 100 };

/// Why a packet cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its time to live ends here.
    Ends,
    /// The way takes packets of so many bytes only.
    TooBig(usize),
}

/// What comes of an error that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is sent: the frame.
    Sent(Vec<u8>),
    /// There were too many.
    Suppressed,
}

/// The error about a packet, if its sender is told at all, and whether that hung on rounding.
pub(super) fn told(
    trouble: Trouble,
    world: &World,
    (packet, frame): (&Parsed, &[u8]),
    bucket: &mut Bucket,
    (now_ns, tie): (u64, Tie),
) -> Option<(Told, bool)> {
    let own = world.own.iter().copied().find(|own| own.is_ipv4() == packet.source.is_ipv4())?;
    let to_a_group = frame[0] & 1 != 0;
    if packet.later_fragment || is_error(packet) || to_a_group || !is_one_host(packet) {
        return None;
    }
    if let Trouble::TooBig(mtu) = trouble
        && least(packet, mtu) >= usize::from(packet.length)
    {
        return None;
    }
    let (answer, hung) = bucket.offer(RATE, 1, None, now_ns, tie);
    Some(match answer {
        Answer::Admitted => (Told::Sent(error(trouble, own, packet, frame)), hung),
        Answer::Refused | Answer::Banned => (Told::Suppressed, hung),
    })
}

/// RFC 1122 3.2.2 and RFC 4443 2.4 (e).
fn is_error(packet: &Parsed) -> bool {
    match (packet.icmp, packet.source.is_ipv4()) {
        (None, _) => false,
        // Echo, router discovery (RFC 1256), timestamp, information, mask (RFC 950), echo reply, and what was
        // never defined below them.
        (Some((kind, _)), true) => matches!(kind, 3 | 4 | 5 | 11 | 12) || kind >= 19,
        (Some((kind, _)), false) => kind <= 127 || kind == 137,
    }
}

fn is_one_host(packet: &Parsed) -> bool {
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (from, to) = (source.octets()[0], destination.octets()[0]);
            from != 0 && from != 127 && from < 224 && to < 224
        }
        (source, destination) => {
            let nobody = source.is_unspecified() || source.is_loopback() || source.is_multicast();
            !nobody && !destination.is_multicast()
        }
    }
}

/// What is told of a way that takes so much: no less than what every link takes.
fn least(packet: &Parsed, mtu: usize) -> usize {
    mtu.max(if packet.source.is_ipv4() { 68 } else { 1_280 })
}

fn error(trouble: Trouble, own: IpAddr, packet: &Parsed, frame: &[u8]) -> Vec<u8> {
    let four = packet.source.is_ipv4();
    let (kind, code, rest) = match (trouble, four) {
        (Trouble::Ends, true) => (11, 0, 0),
        (Trouble::Ends, false) => (3, 0, 0),
        (Trouble::TooBig(mtu), true) => (3, 4, least(packet, mtu)),
        (Trouble::TooBig(mtu), false) => (2, 0, least(packet, mtu)),
    };
    let original = &frame[packet.offset..];
    let end = if four { u16_at(original, 2) } else { 40 + u16_at(original, 4) };
    let quoted = &original[..end.min(if four { 548 } else { 1_232 })];
    let mut message = vec![kind, code, 0, 0];
    message.extend((rest as u32).to_be_bytes());
    message.extend(quoted);
    let addresses = match (own, packet.source) {
        (IpAddr::V4(own), IpAddr::V4(to)) => [own.octets(), to.octets()].concat(),
        (IpAddr::V6(own), IpAddr::V6(to)) => [own.octets(), to.octets()].concat(),
        _ => unreachable!("both are of one family"),
    };
    let pseudo = [&addresses[..], &(message.len() as u32).to_be_bytes(), &[0, 0, 0, 58]].concat();
    let sum = if four { internet(&[&message]) } else { internet(&[&pseudo, &message]) };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut out = [&frame[6..12], &frame[..6], &frame[12..packet.offset]].concat();
    if four {
        let mut ip = vec![0x45, 0xc0];
        ip.extend((20 + message.len() as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 1, 0, 0]);
        ip.extend(addresses);
        let sum = internet(&[&ip]).to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
        out.extend(ip);
    } else {
        out.extend([0x6c, 0, 0, 0]);
        out.extend((message.len() as u16).to_be_bytes());
        out.extend([58, 64]);
        out.extend(addresses);
    }
    out.extend(message);
    out
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}
