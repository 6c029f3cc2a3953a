//! The node: status and interfaces.

use super::{Counts, EventTotals, FlowTotals, PolicySummary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Version of the layouts shared with the kernel.
    pub abi: u32,
    /// Digest of the kernel object, hexadecimal.
    pub object: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// When the daemon started.
    pub started_at_unix_secs: u64,
    /// The programs and maps of an earlier daemon were adopted at the start.
    pub adopted: bool,
    /// Whether a policy is live and every configured interface is governed.
    pub ready: bool,
    /// The live policy, if there is one.
    pub policy: Option<PolicySummary>,
    /// Governed interfaces and redirect targets.
    pub interfaces: Vec<InterfaceStatus>,
    /// Flow accounting.
    pub flows: FlowTotals,
    /// Packet events.
    pub events: EventTotals,
    /// How full the bounded tables are.
    pub maps: Vec<MapUsage>,
    /// What an operator should know, in sentences: a fallback, a policy file that was not applied.
    pub notices: Vec<String>,
}

/// `GET /v1/interfaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceList {
    /// By name.
    pub interfaces: Vec<InterfaceInfo>,
}

/// An interface, its state and what it carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceInfo {
    /// State.
    #[serde(flatten)]
    pub status: InterfaceStatus,
    /// Counters of each hook that saw packets, `xdp` before `tc_ingress`.
    pub hooks: Vec<HookCounts>,
    /// Packets dropped, by reason; reasons that did not occur are left out.
    pub drops: BTreeMap<String, u64>,
    /// Malformed packets that passed, by reason.
    pub malformed_passed: BTreeMap<String, u64>,
}

/// How an interface is governed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Interface index; nothing while it does not exist.
    pub index: Option<u32>,
    /// Whether packets that arrive on it are judged (else it is a redirect target only).
    pub governed: bool,
    /// `native`, `generic`, `tc`; `none` while nothing is attached.
    pub mode: String,
    /// Why the mode is not the best one, or why nothing is attached.
    pub note: Option<String>,
}

/// What a hook of an interface counted. `received` = `pass` + `drop` + `tx` + `redirect`, but for
/// packets on their way while it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookCounts {
    /// `xdp` or `tc_ingress`.
    pub hook: String,
    /// Counted on entry.
    pub received: Counts,
    /// Counted on exit, by verdict.
    pub verdicts: BTreeMap<String, Counts>,
}

/// How full a bounded table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MapUsage {
    /// Name: that of the metric's label `map`.
    pub map: String,
    /// Entries in use.
    pub entries: u64,
    /// Entries it can hold.
    pub max_entries: u64,
}

/// `POST /v1/detach`: the programs are off, the pins gone, and the daemon ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DetachReport {
    /// Interfaces that are no longer governed.
    pub interfaces: Vec<String>,
}
