//! Labels and their live members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Every label that the live policy names or that has live members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelList {
    /// The live generation, 0 if there is none.
    pub generation: u32,
    /// In order of their names.
    pub labels: Vec<LabelSummary>,
}

/// A label in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelSummary {
    /// Its name.
    pub name: String,
    /// Whether the live policy names it. If it does not, its members match nothing.
    pub in_policy: bool,
    /// The file that its prefixes were read from when the policy was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Prefixes that the policy gives it.
    pub prefixes: u64,
    /// Live members.
    pub members: u64,
}

/// A label with its first prefixes and live members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelInfo {
    /// In short, with all numbers.
    #[serde(flatten)]
    pub label: LabelSummary,
    /// The first of its prefixes.
    pub first_prefixes: Vec<String>,
    /// The first of its live members, in order of their prefixes.
    pub first_members: Vec<LabelMember>,
}

/// A live member of a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelMember {
    /// Its prefix.
    pub prefix: String,
    /// Since when.
    pub since_unix_secs: u64,
    /// The end of its time to live; nothing if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix_ms: Option<u64>,
    /// How long that still is, seconds, begun ones whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_secs: Option<u64>,
}

/// Parameters of a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelQuery {
    /// Most prefixes and most live members to show.
    pub limit: Option<u32>,
}

/// Prefixes that become live members of a label, all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMembers {
    /// Addresses or prefixes.
    pub prefixes: Vec<String>,
    /// Time to live, seconds: 1 to 31,536,000. They stay until they are taken out if it is left out. Of
    /// those that are members already it is the time to live from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
}

/// What became of a change of live members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberReport {
    /// The label.
    pub label: String,
    /// The live generation, 0 if there is none.
    pub generation: u32,
    /// New members.
    pub added: u64,
    /// Members with another time to live.
    pub replaced: u64,
    /// Members taken out.
    pub removed: u64,
    /// Members that the label has now.
    pub members: u64,
    /// How long it took, microseconds.
    pub total_us: u64,
}
