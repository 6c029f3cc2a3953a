//! Pools, and what was sent to their targets.

use super::Counts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/pools`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolList {
    /// The live generation, 0 if there is none.
    pub generation: u32,
    /// The pools of the live policy, by name.
    pub pools: Vec<PoolInfo>,
}

/// A pool, and what was sent to its targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// How packets get to its targets: `ipip`, `gue` or `l2`.
    pub forward: String,
    /// What of a packet chooses its target: `five-tuple`, `source` or `source-destination`.
    pub hash: String,
    /// UDP destination port of `gue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Sources of outer headers that the policy names; the node's routing chooses the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// Routes that forward to it, in their order.
    pub routes: Vec<String>,
    /// Its targets, by name.
    pub targets: Vec<TargetInfo>,
}

/// A target, and what was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetInfo {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Its weight now; 0 takes nothing.
    pub weight: u16,
    /// The weight that the policy gives it.
    pub policy_weight: u16,
    /// Its part of the pool's table, and so of the flows, millionths; left out while that is not known,
    /// shortly after the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_ppm: Option<u32>,
    /// What was sent to it under this name, by any policy; bytes as they were received.
    pub sent: Counts,
}

/// `PUT /v1/pools/{pool}/targets/{target}/weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetWeight {
    /// The weight that the target has in the place of the policy's; 0 takes nothing.
    pub weight: u16,
}
