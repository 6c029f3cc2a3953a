//! What is changed of a policy's targets, live.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What holds of targets in the place of what the policy says, by name (`web/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetChanges {
    /// Weights.
    #[serde(default)]
    pub weights: BTreeMap<String, u16>,
    /// Those that take no new connections; of pools that translate.
    #[serde(default)]
    pub drains: BTreeMap<String, Drain>,
    /// Those that take nothing, since their checks fail.
    #[serde(default)]
    pub out: BTreeSet<String>,
}

impl TargetChanges {
    /// Whether all is as the policy says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty() && self.drains.is_empty() && self.out.is_empty()
    }
}

/// A target that takes no new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// When those that it has end; nothing where they go on to their own end. By the calendar, so that it
    /// holds across a restart of the machine. Milliseconds since the Unix epoch.
    pub ends_at_unix_ms: Option<u64>,
}
