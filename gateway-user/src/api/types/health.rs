//! The health of pools and their targets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the health of a pool's targets is looked after, and whether it panics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolHealthInfo {
    /// Whether so little of the pool's weight is in service that all targets are used, whatever their health.
    pub panic: bool,
    /// Part of the pool's weight that must be in service, percent; 0: it never panics.
    pub panic_percent: u8,
    /// What this node asks each target; left out where it asks none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// When failed handshakes open a target's circuit; left out where they are only counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<String>,
    /// How long targets that failed are passed over, and how many at once.
    pub eject: String,
    /// How long the part of new connections that a target gets grows, once it is back: `30s`.
    pub slow_start: String,
    /// Part of its new connections that a target gets on trial, percent.
    pub trial_percent: u8,
    /// Most connections that a target has open at once; left out where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
}

/// The health of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetHealthInfo {
    /// In one word.
    pub state: HealthState,
    /// Why.
    pub reason: String,
    /// Since when; of what was so before the daemon started, since then.
    pub since_unix_ms: u64,
    /// Its circuit, by which the kernel passes it over.
    pub circuit: CircuitInfo,
    /// Part of its new connections that it gets, millionths: all where the pool panics.
    pub share_ppm: u32,
    /// Its weight, set by hand or else the policy's; nothing while it drains, or its checks fail and the pool does not
    /// panic; and of that its share.
    pub effective_weight: f64,
    /// What this node asked it last; left out where the pool has no check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckInfo>,
    /// What handshakes of clients told.
    pub handshakes: HandshakesInfo,
}

/// The health of a target in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// It is in service.
    Up,
    /// Its checks fail.
    Down,
    /// It is passed over since handshakes failed, or until the time of its circuit is over.
    Open,
    /// A small part of new connections tries it.
    HalfOpen,
    /// It is back, and its part of new connections grows.
    Recovering,
}

impl HealthState {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HealthState::Up => "up",
            HealthState::Down => "down",
            HealthState::Open => "open",
            HealthState::HalfOpen => "half_open",
            HealthState::Recovering => "recovering",
        }
    }
}

/// A circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CircuitInfo {
    /// `closed`, `open`, `half_open` or `recovering`.
    pub state: String,
    /// Whether the daemon keeps it open, since checks fail.
    pub held: bool,
    /// How often in a row it opened; each time doubles how long it is open.
    pub strikes: u32,
    /// How often it ever opened by itself.
    pub trips: u64,
    /// How often it would have, had not so many others of the pool been open.
    pub spared: u64,
}

/// A target's checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckInfo {
    /// `tcp`, `tls`, `http` or `icmp`.
    pub kind: String,
    /// Whether they pass; left out while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes: Option<bool>,
    /// How long the last answer took, microseconds; left out where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// What was wrong with the last answer; left out where it was good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the kernel saw of the handshakes with a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HandshakesInfo {
    /// That were answered, and whose time was taken.
    pub answered: u64,
    /// A time that half of them took less than, microseconds: the upper bound of its bucket, up to twice what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// And 99 of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// Those times together, microseconds.
    pub time_us: u64,
    /// How many took how long: element `i` of those that took less than 1024 * 2^i ns, and not less than half of that;
    /// the last one of all that took longer.
    pub times: Vec<u64>,
    /// SYNs that came again since nothing had answered them, one for each connection.
    pub unanswered: u64,
    /// Connections that the target reset before it had sent any data.
    pub refused: u64,
    /// Connections that the target reset later.
    pub reset: u64,
    /// Segments of clients that were sent again.
    pub retransmitted: u64,
    /// New connections that went to another target in its place.
    pub passed_over: u64,
}
