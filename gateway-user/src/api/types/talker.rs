//! The sources that send most.

use super::Counts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The query of `GET /v1/talkers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TalkerQuery {
    /// Most talkers to answer with: 1 to 10,000; 10 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// What is counted; `bytes` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<TalkerOrder>,
    /// Who is one talker; `address` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<TalkerGroup>,
}

/// What talkers are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TalkerOrder {
    /// By bytes.
    Bytes,
    /// By packets.
    Packets,
}

/// Who is one talker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TalkerGroup {
    /// A source address.
    Address,
    /// A network: /24 of IPv4, /48 of IPv6.
    Network,
}

/// `GET /v1/talkers`: the sources that sent most in the last one to two minutes.
///
/// Counted by a sketch: nobody is told to have sent less than he did, nor more than that by more than his
/// `error`; and who is left out sent at most `unknown_max`, or less than the last that is shown. Both
/// stay below a 4,096th of all that was sent. Flows that were lost on the way out of the kernel's memo
/// are missing; `lost` says how much that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TalkerList {
    /// Whether flows are accounted for; without, there are no talkers.
    pub enabled: bool,
    /// What is counted: the unit of all amounts here.
    pub by: TalkerOrder,
    /// Who is one talker.
    pub group: TalkerGroup,
    /// From when on.
    pub since_unix_ms: u64,
    /// How long that is, milliseconds.
    pub milliseconds: u64,
    /// Those who sent most, the greatest first.
    pub talkers: Vec<Talker>,
    /// What all sources sent.
    pub total: u64,
    /// What a source can have sent at most that the sketch does not know.
    pub unknown_max: u64,
    /// What the ring buffer had no room for.
    pub lost: Counts,
}

/// A source that sends much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Talker {
    /// Address, or network with its length.
    pub source: String,
    /// Bytes or packets, as asked; at most this much.
    pub sent: u64,
    /// It may be less by as much as this.
    pub error: u64,
}
