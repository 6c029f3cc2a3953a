//! SYN cookies: what a SYN is answered with, what proves a source, and when they begin and end. Which
//! number the cookie is nobody can foretell, so that each answer is read before the next packet is made.

use super::Row;
use super::run::{Outcome, failure, policy_of};
use crate::check::{Expected, differences};
use crate::object::Lab;
use crate::packet::checksum::internet;
use crate::packet::{Extension, Frame};
use anyhow::Result;
use gateway_common::reason::Reason;

const ALWAYS: &str = "\
version: 1
routes:
  - {name: web, match: {protocol: tcp, port: 80}, mark: 3, syn_cookies: always, action: pass}
default: drop
";
const ABOVE: &str = "\
version: 1
routes:
  - {name: web, match: {protocol: tcp, port: 80}, mark: 3, syn_cookies: {above: 20cps, hold: 10s}, action: pass}
default: drop
";

const SECOND: u64 = 1_000_000_000;
/// How long a source need not show again that it is there.
const PROVEN: u64 = 600 * SECOND;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// An exchange under way.
struct Exchange<'a> {
    lab: &'a mut Lab,
    policy: &'static str,
    now_ns: u64,
    outcome: &'a mut Outcome,
}

/// Runs every exchange, the first at this time.
///
/// # Errors
/// If a policy is refused or a test run fails.
pub fn run(lab: &mut Lab, begin_ns: u64, outcome: &mut Outcome) -> Result<()> {
    let mut exchange = Exchange { lab, policy: ALWAYS, now_ns: begin_ns, outcome };
    for (name, base) in [
        ("IPv4", Frame::new().ipv4("198.51.100.7", "203.0.113.10")),
        ("IPv4 behind a tag", Frame::new().tag(100).ipv4("198.51.100.9", "203.0.113.10")),
        ("IPv6", Frame::new().ipv6("2001:db8::7", "2001:db8:1::10")),
        (
            "IPv6 behind two tags",
            Frame::new().tag(7).tag(8).ipv6("2001:db8::9", "2001:db8:1::10").flow_label(0x54321),
        ),
    ] {
        exchange.lab.forget_limits();
        exchange.proves_itself(name, &base)?;
        exchange.now_ns += 2 * PROVEN;
    }
    exchange.lab.forget_limits();
    exchange.cannot_be_answered()?;
    exchange.policy = ABOVE;
    exchange.lab.forget_limits();
    exchange.begins_and_ends()
}

fn tcp(base: &Frame, flags: u8) -> Frame {
    base.clone().tcp(4_242, 80).tcp_with(flags, 0)
}

/// The RST of a host that does not know a number: RFC 9293 3.10.7.3, `<SEQ=SEG.ACK><CTL=RST>`.
fn rst(base: &Frame, sequence: u32) -> Vec<u8> {
    let frame = tcp(base, RST);
    let mut bytes = frame.bytes();
    let at = frame.l4_offset();
    bytes[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
    bytes
}

impl Exchange<'_> {
    fn proves_itself(&mut self, name: &str, base: &Frame) -> Result<()> {
        let policy = policy_of(self.policy)?;
        self.lab.apply(&policy, &[])?;
        let Some(cookie) = self.answered(&format!("{name}, a SYN"), &tcp(base, SYN))? else { return Ok(()) };
        let longer = base.clone().tcp(4_242, 80).tcp_with(SYN, 20).payload(33).trailer(3);
        self.answered(&format!("{name}, a SYN with options and data"), &longer)?;
        self.passes(&format!("{name}, another packet of a connection"), &tcp(base, ACK).bytes())?;
        // A cookie's lowest digits only tell a segment size: this one is of another connection.
        self.passes(&format!("{name}, an RST of a connection"), &rst(base, cookie ^ 0x0010_0000))?;
        self.answered(&format!("{name}, that proves nothing"), &tcp(base, SYN))?;
        self.proven(&format!("{name}, an RST with the cookie"), &rst(base, cookie))?;
        self.passes(&format!("{name}, the SYN again"), &tcp(base, SYN).bytes())?;
        self.passes(&format!("{name}, from another port"), &base.clone().tcp(4_243, 80).bytes())?;
        let other = if name.starts_with("IPv4") {
            Frame::new().ipv4("198.51.100.8", "203.0.113.10")
        } else {
            Frame::new().ipv6("2001:db8::8", "2001:db8:1::10")
        };
        self.answered(&format!("{name}, from another source"), &tcp(&other, SYN))?;
        self.now_ns += PROVEN - SECOND;
        self.passes(&format!("{name}, while the proof holds"), &tcp(base, SYN).bytes())?;
        self.now_ns += 2 * SECOND;
        self.answered(&format!("{name}, when it holds no longer"), &tcp(base, SYN))?;
        Ok(())
    }

    /// An answer has the SYN's headers, and those it cannot have.
    fn cannot_be_answered(&mut self) -> Result<()> {
        let policy = policy_of(self.policy)?;
        self.lab.apply(&policy, &[])?;
        let options = Frame::new().ipv4("198.51.100.20", "203.0.113.10").options(2);
        let extended =
            Frame::new().ipv6("2001:db8::20", "2001:db8:1::10").extension(Extension::Destination(1));
        for (name, base) in [("IPv4 options", options), ("an extension header", extended)] {
            self.refused(&format!("a SYN behind {name}"), &tcp(&base, SYN).bytes())?;
        }
        Ok(())
    }

    /// A tenth of a second's worth passes, which is two. What is over begins it; below half of the rate for
    /// ten seconds ends it.
    fn begins_and_ends(&mut self) -> Result<()> {
        let policy = policy_of(self.policy)?;
        self.lab.apply(&policy, &[])?;
        let syn = |host: u8| tcp(&Frame::new().ipv4(&format!("198.51.100.{host}"), "203.0.113.10"), SYN);
        let begin = self.now_ns;
        self.passes("above, the first", &syn(30).bytes())?;
        self.passes("above, the second", &syn(31).bytes())?;
        self.answered("above, the third", &syn(32))?;
        self.now_ns = begin + 9 * SECOND;
        self.answered("above, while it is held", &syn(33))?;
        self.now_ns = begin + 11 * SECOND;
        self.passes("above, when it is over", &syn(34).bytes())?;
        Ok(())
    }

    fn passes(&mut self, name: &str, frame: &[u8]) -> Result<()> {
        self.expect(self.row(name, frame).mark(3))
    }

    fn proven(&mut self, name: &str, frame: &[u8]) -> Result<()> {
        self.expect(self.row(name, frame).dropped(Reason::SynCookie))
    }

    fn refused(&mut self, name: &str, frame: &[u8]) -> Result<()> {
        self.expect(self.row(name, frame).dropped(Reason::SynCookie))
    }

    fn row(&self, name: &str, frame: &[u8]) -> Row {
        Row::new(format!("cookies: {name}"), self.policy, frame.to_vec()).route("web")
    }

    fn expect(&mut self, row: Row) -> Result<()> {
        self.lab.set_time(self.now_ns)?;
        let observed = self.lab.put(&row.frame)?;
        self.judge(&row, &observed);
        Ok(())
    }

    fn judge(&mut self, row: &Row, observed: &crate::object::Observed) {
        self.outcome.run += 1;
        let found = differences(self.lab, &Expected::from(row), observed);
        if !found.is_empty() {
            self.outcome.failed.push(failure(self.lab, row, "only", &found));
        }
    }

    /// The cookie that the SYN was answered with; nothing if the answer was not right.
    fn answered(&mut self, name: &str, frame: &Frame) -> Result<Option<u32>> {
        self.lab.set_time(self.now_ns)?;
        let observed = self.lab.put(&frame.bytes())?;
        let at = frame.l4_offset() + 8;
        let number =
            observed.outcome.frame.get(at..at + 4).map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
        let cookie = u32::from_be_bytes(number.unwrap_or_default());
        let row = self.row(name, &frame.bytes()).comes_out_as(answer(frame, cookie)).sent_back().mark(3);
        let before = self.outcome.failed.len();
        self.judge(&row, &observed);
        Ok((self.outcome.failed.len() == before).then_some(cookie))
    }
}

/// A SYN-ACK from where the SYN went (the Ethernet addresses are swapped by whoever sends it back). What
/// the SYN had behind its TCP header stays where it was, as padding.
fn answer(syn: &Frame, cookie: u32) -> Vec<u8> {
    let mut out = syn.bytes();
    let (l3, l4) = (syn.l3_offset(), syn.l4_offset());
    let addresses = if l4 - l3 == 20 { l3 + 12..l3 + 20 } else { l3 + 8..l3 + 40 };
    let half = addresses.len() / 2;
    out[addresses.clone()].rotate_left(half);
    if l4 - l3 == 20 {
        out[l3..l3 + 12].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        let sum = internet(&[&out[l3..l4]]).to_be_bytes();
        out[l3 + 10..l3 + 12].copy_from_slice(&sum);
    } else {
        out[l3 + 4..l3 + 8].copy_from_slice(&[0, 20, 6, 64]);
    }
    let ports = [&syn.bytes()[l4 + 2..l4 + 4], &syn.bytes()[l4..l4 + 2]].concat();
    let header = [&ports[..], &[0; 4], &cookie.to_be_bytes(), &[0x50, SYN | ACK, 0, 0, 0, 0, 0, 0]].concat();
    let sum = internet(&[&out[addresses], &[0, 0, 0, 20, 0, 6], &header]).to_be_bytes();
    out[l4..l4 + 20].copy_from_slice(&header);
    out[l4 + 16..l4 + 18].copy_from_slice(&sum);
    out
}
