//! What is known of one flow, without its key.

use crate::dataplane::FlowAccount;
use gateway_common::abi::Verdict;
use gateway_common::reason::Reason;

/// A flow's account. Times are `CLOCK_MONOTONIC` nanoseconds, exact to a jiffy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// First packet.
    pub first_ns: u64,
    /// Last packet.
    pub last_ns: u64,
    /// Counter slot of the route that decided the last packet.
    pub counter: u32,
    /// skb mark given to it, 0 if none.
    pub mark: u32,
    /// skb priority given to it, 0 if none.
    pub priority: u32,
    /// What it met with.
    pub verdict: Verdict,
    /// Why it was dropped.
    pub reason: Option<Reason>,
    /// TCP flags of all packets.
    pub tcp_flags: u8,
    /// Interface slot of a redirect.
    pub egress_slot: u8,
}

impl From<&FlowAccount> for Account {
    fn from(part: &FlowAccount) -> Account {
        Account {
            packets: part.packets,
            bytes: part.bytes,
            first_ns: part.first_ns,
            last_ns: part.last_ns,
            counter: part.counter,
            mark: part.mark,
            priority: part.priority,
            verdict: part.verdict,
            reason: part.reason,
            tcp_flags: part.tcp_flags,
            egress_slot: part.egress_slot,
        }
    }
}

impl Account {
    /// Adds another account of the same flow: sums add up, and the later of the two says what was
    /// decided.
    pub fn merge(&mut self, other: &Account) {
        let (packets, bytes) = (self.packets + other.packets, self.bytes + other.bytes);
        let first_ns = self.first_ns.min(other.first_ns);
        let tcp_flags = self.tcp_flags | other.tcp_flags;
        if other.last_ns >= self.last_ns {
            *self = *other;
        }
        (self.packets, self.bytes) = (packets, bytes);
        self.first_ns = first_ns;
        self.tcp_flags = tcp_flags;
    }
}
