//! Flows and packet events.

use super::Counts;
use gateway_common::abi::EventKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The query of `GET /v1/flows` and `GET /v1/flows/top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowQuery {
    /// Most flows to answer with: 1 to 10,000; 100 if left out (`top`: 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Order; `last` if left out (`top`: `bytes`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<FlowOrder>,
    /// Only flows that this route decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// The order of flows, the greatest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlowOrder {
    /// By bytes.
    Bytes,
    /// By packets.
    Packets,
    /// By when the last packet was seen.
    Last,
}

/// `GET /v1/flows` and `GET /v1/flows/top`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowList {
    /// In the order asked for.
    pub flows: Vec<Flow>,
    /// Flows that fit the query, those left out by `limit` included.
    pub matched: u64,
    /// Of all flows.
    pub totals: FlowTotals,
}

/// A flow: packets with the same interface, VLAN, addresses, protocol and ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// Arrived on.
    pub interface: String,
    /// VLAN identifier of the outer tag, 0 without one.
    pub vlan: u16,
    /// Protocol: a name, or a number as text.
    pub protocol: String,
    /// Source address.
    pub source: String,
    /// Source port, where the protocol has ports.
    pub source_port: Option<u16>,
    /// Destination address.
    pub destination: String,
    /// Destination port, where the protocol has ports.
    pub port: Option<u16>,
    /// ICMP type, for ICMP.
    pub icmp_type: Option<u8>,
    /// ICMP code, for ICMP.
    pub icmp_code: Option<u8>,
    /// These are later fragments: without a transport header.
    pub later_fragment: bool,
    /// Packets and bytes.
    #[serde(flatten)]
    pub counts: Counts,
    /// First packet.
    pub first_seen_unix_ms: u64,
    /// Last packet.
    pub last_seen_unix_ms: u64,
    /// TCP flags seen, as in `SYN,ACK`; empty for other protocols.
    pub tcp_flags: String,
    /// `pass`, `drop`, `tx` or `redirect`: what the last packet met with.
    pub verdict: String,
    /// Why it was dropped.
    pub reason: Option<String>,
    /// The route that decided, or a name in parentheses such as `(default)`.
    pub route: String,
    /// skb mark given.
    pub mark: Option<u32>,
    /// skb priority given.
    pub priority: Option<u32>,
    /// Interface it is redirected to.
    pub redirect: Option<String>,
}

/// Flow accounting in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowTotals {
    /// Whether flows are accounted for.
    pub enabled: bool,
    /// Flows known now: in the kernel's memo and in the daemon's table, each counted once.
    pub flows: u64,
    /// Packets of those flows.
    pub packets: u64,
    /// Bytes of those flows.
    pub bytes: u64,
    /// Flow records lost because the ring buffer was full.
    pub lost_flows: u64,
    /// Packets in those records.
    pub lost_packets: u64,
    /// Bytes in those records.
    pub lost_bytes: u64,
    /// Flows that left the daemon's full table, since the daemon started.
    pub evicted_flows: u64,
    /// Packets of those flows.
    pub evicted_packets: u64,
    /// Bytes of those flows.
    pub evicted_bytes: u64,
    /// Flows forgotten because they were idle, since the daemon started.
    pub expired_flows: u64,
}

/// The query of `GET /v1/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Most events to answer with: 1 to 10,000; 100 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Alerts alone: everything but sampled packets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alerts: bool,
}

/// `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventList {
    /// The newest, the oldest of them first.
    pub events: Vec<Event>,
    /// Totals.
    pub totals: EventTotals,
}

/// A line of `GET /v1/events/follow`, and a member of [`EventList::events`]: a sampled packet, or an alert
/// with the packet that set it off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// `packet`; of alerts `limit` (something went over it, told once a second at most), `ban` (of the
    /// packet's key), `attack_begins` and `attack_ends` (SYN cookies are asked for); `target`: something became of a
    /// target or a pool, which no packet tells.
    #[serde(default = "packet_kind")]
    pub kind: String,
    /// The limit that an alert is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Packets that this limit has refused since its alert before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// The target, or the pool, that something became of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What became of it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// When it was judged.
    pub time_unix_ns: u64,
    /// Arrived on.
    pub interface: String,
    /// `xdp` or `tc_ingress`.
    pub hook: String,
    /// `pass`, `drop`, `tx` or `redirect`.
    pub verdict: String,
    /// Why it was dropped, or what is wrong with a malformed packet that passed.
    pub reason: Option<String>,
    /// The route that decided, or a name in parentheses such as `(default)`.
    pub route: String,
    /// The generation that judged.
    pub generation: u32,
    /// Frame length, bytes.
    pub length: u32,
    /// Protocol: a name, or a number as text; empty if it is not IP or could not be parsed.
    pub protocol: String,
    /// Source address; empty if it is not IP or could not be parsed.
    pub source: String,
    /// Source port, where there is one.
    pub source_port: Option<u16>,
    /// Destination address; empty if it is not IP or could not be parsed.
    pub destination: String,
    /// Destination port, where there is one.
    pub port: Option<u16>,
    /// ICMP type, for ICMP.
    pub icmp_type: Option<u8>,
    /// ICMP code, for ICMP.
    pub icmp_code: Option<u8>,
    /// A fragment: `first`, `later`, or nothing.
    pub fragment: Option<String>,
    /// TCP flags, as in `SYN,ACK`; empty for other protocols.
    pub tcp_flags: String,
    /// skb mark given.
    pub mark: Option<u32>,
    /// Events that this reader missed right before this one, because it was too slow.
    #[serde(default)]
    pub missed: u64,
}

fn packet_kind() -> String {
    EventKind::Packet.name().to_owned()
}

/// Packet events in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventTotals {
    /// Part of all packets that is reported, 0 to 1.
    pub sample_rate: f64,
    /// Part of the dropped packets that is reported, 0 to 1.
    pub drop_sample_rate: f64,
    /// Events read since the daemon started.
    pub received: u64,
    /// Events lost because the ring buffer was full.
    pub lost: u64,
    /// Events that some reader of `follow` missed because it was too slow, since the daemon started.
    pub missed: u64,
}

// The two rates are never NaN: they are checked when the configuration is read.
impl Eq for EventTotals {}
