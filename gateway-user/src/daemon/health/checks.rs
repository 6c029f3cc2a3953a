//! How the checks themselves do.

use gateway_common::abi::HANDSHAKE_BUCKETS;
use gateway_common::health::bucket;
use std::time::Duration;

/// Checks in number, since the daemon started.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckCounts {
    /// With a good answer.
    pub passed: u64,
    /// With a bad one, or none.
    pub failed: u64,
    /// That could not be made, for a reason of this node's.
    pub unmade: u64,
    /// That were left out, since the one before went on.
    pub skipped: u64,
    /// By how late they began, in buckets as those of handshakes
    /// ([`HandshakeCount::times`](gateway_common::abi::HandshakeCount::times)).
    pub late: [u64; HANDSHAKE_BUCKETS],
    /// All of that together.
    pub late_sum: Duration,
}

impl CheckCounts {
    /// Adds one that began so late.
    pub(super) fn began(&mut self, late: Duration, skipped: u64) {
        let micros = u32::try_from(late.as_nanos() >> 10).unwrap_or(u32::MAX);
        self.late[bucket(micros) as usize] += 1;
        self.late_sum += late;
        self.skipped += skipped;
    }
}
