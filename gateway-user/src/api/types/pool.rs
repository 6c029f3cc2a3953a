//! Pools, and what was sent to their targets.

use super::{Counts, PoolHealthInfo, TargetHealthInfo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// `GET /v1/pools`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolList {
    /// The live generation, 0 if there is none.
    pub generation: u32,
    /// The pools of the live policy, by name.
    pub pools: Vec<PoolInfo>,
}

/// A pool, and what was sent to its targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// How packets get to its targets: `ipip`, `gue`, `l2` or `dnat`.
    pub forward: String,
    /// What of a packet chooses its target: `five-tuple`, `source` or `source-destination`.
    pub hash: String,
    /// UDP destination port of `gue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Sources of outer headers, or what sources are translated to, that the policy names; the node's routing
    /// chooses the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// What holds of connections, of `dnat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translation: Option<TranslationInfo>,
    /// What the MSS of SYNs is held to: `clamp`, or bytes; left out where they pass as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mss: Option<String>,
    /// How the health of its targets is looked after; left out where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<PoolHealthInfo>,
    /// Routes that forward to it, or to a part of it, in their order.
    pub routes: Vec<String>,
    /// Its targets, by name.
    pub targets: Vec<TargetInfo>,
}

/// A target, and what was sent to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetInfo {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// The port that destinations are translated to; left out where packets keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// By which routes choose among targets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its weight now; 0 takes nothing.
    pub weight: u16,
    /// The weight that the policy gives it.
    pub policy_weight: u16,
    /// Its part of the pool's table, and so of the flows, millionths; left out while that is not known,
    /// shortly after the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_ppm: Option<u32>,
    /// Whether it takes connections.
    pub state: TargetCondition,
    /// When the connections of one that drains end; left out where they go on to their own end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drains_until_unix_ms: Option<u64>,
    /// What was sent to it under this name, by any policy; bytes as they were received.
    pub sent: Counts,
    /// Its connections, where the pool remembers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<TargetConnections>,
    /// Its health, where the pool has that looked after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<TargetHealthInfo>,
}

/// What holds of translated connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TranslationInfo {
    /// Whether sources are translated too.
    pub sources: bool,
    /// To which ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// How long connections live in which nothing is heard.
    pub timeouts: Vec<TimeoutInfo>,
    /// How long a client's next connection goes to the same target; left out where each is chosen anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
}

/// A time-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeoutInfo {
    /// Of which connections: `established`, `half_open`, `closing`, `udp` or `unanswered`.
    pub key: String,
    /// As in a policy: `1h`.
    pub time: String,
}

/// Whether a target takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetCondition {
    /// It takes new ones.
    Taking,
    /// It takes no new ones, and those that it has go on.
    Draining,
    /// It takes nothing.
    Off,
}

/// Connections of a target that the gateway remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetConnections {
    /// That are not over.
    pub open: u64,
    /// Those of them of which only the client was heard.
    #[serde(default)]
    pub half_open: u64,
    /// That ever began.
    pub opened: u64,
    /// That gave way to others while only their client had been heard.
    pub evicted: u64,
    /// What it sent back through this node.
    pub returned: Counts,
}

/// `PUT /v1/pools/{pool}/targets/{target}/state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTargetState {
    /// `taking`: as the policy says; `draining`: no new connections (only `dnat`); `off`: connections end now.
    pub state: TargetCondition,
    /// When connections of one that drains end: 1 to 2592000; left out, they go on to their own end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_secs: Option<u64>,
}

/// `PUT /v1/pools/{pool}/targets/{target}/weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetWeight {
    /// The weight that the target has in the place of the policy's; 0 takes nothing.
    pub weight: u16,
}
