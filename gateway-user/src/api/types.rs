//! Every request and answer of the control API.
//!
//! Times are Unix times in the unit that the name ends with; counts are since the maps were made.
//! A reader should ignore members that it does not know.

mod connection;
mod decision;
mod health;
mod label;
mod limit;
mod matching;
mod node;
mod policy;
mod pool;
mod route;
mod talker;
mod telemetry;

pub use connection::{ConnectionInfo, ConnectionList, ConnectionQuery, ConnectionState};
pub use decision::{AboveSpec, BanSpec, DemoteSpec, LimitSpec, LimitUse, OverSpec, SynCookiesSpec};
pub use health::{CheckInfo, CircuitInfo, HandshakesInfo, HealthState, PoolHealthInfo, TargetHealthInfo};
pub use label::{AddMembers, LabelInfo, LabelList, LabelMember, LabelQuery, LabelSummary, MemberReport};
pub use limit::{
    ForgiveQuery, ForgiveReport, LimitDetail, LimitInfo, LimitKey, LimitList, LimitQuery, LimitTables,
    LimitTerms, SynCookieInfo,
};
pub use matching::{AllLabels, MatchSpec, SendersSpec};
pub use node::{DetachReport, HookCounts, InterfaceInfo, InterfaceList, InterfaceStatus, MapUsage, Status};
pub use policy::{
    ApplyReport, ChangeQuery, CheckReport, Diagnostic, DiffReport, PolicyDiff, PolicyDocument, PolicySummary,
    Severity, Timing,
};
pub use pool::{
    PoolInfo, PoolList, SetTargetState, TargetCondition, TargetConnections, TargetInfo, TargetWeight,
    TimeoutInfo, TranslationInfo,
};
pub use route::{
    ActionSpec, AddRoute, PlainAction, PoolUse, Position, RouteInfo, RouteList, RoutePatch, RouteSpec,
};
pub use talker::{Talker, TalkerGroup, TalkerList, TalkerOrder, TalkerQuery};
pub use telemetry::{
    Event, EventList, EventQuery, EventTotals, Flow, FlowList, FlowOrder, FlowQuery, FlowTotals,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Packets and bytes (frame lengths without FCS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorInfo,
}

/// What went wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorInfo {
    /// Stable: `no_policy`, `invalid_policy`, `generation_moved`, `forbidden`, …
    pub code: String,
    /// A sentence.
    pub message: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// All that is wrong with a policy document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// The diagnostics as text, source lines underlined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
    /// For `generation_moved`: the generation that is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}
