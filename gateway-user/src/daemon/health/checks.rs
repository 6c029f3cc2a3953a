//! How the checks themselves do.

use gateway_common::abi::HANDSHAKE_BUCKETS;
use gateway_common::health::bucket;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
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

/// Targets whose last check could not be made, and why not.
#[derive(Debug, Default)]
pub(super) struct Unmade(BTreeMap<Arc<str>, String>);

impl Unmade {
    pub fn add(&mut self, target: &Arc<str>, why: String) {
        self.0.insert(Arc::clone(target), why);
    }

    /// The target's check was made.
    pub fn remove(&mut self, target: &str) {
        self.0.remove(target);
    }

    /// Forgets all but these.
    pub fn keep<'a>(&mut self, checked: impl Iterator<Item = &'a Arc<str>>) {
        if !self.0.is_empty() {
            let checked: BTreeSet<&Arc<str>> = checked.collect();
            self.0.retain(|target, _| checked.contains(target));
        }
    }

    /// What to say of them, if there are any. It does not say how many, or it would be new with every check.
    pub fn text(&self) -> Option<String> {
        let (target, why) = self.0.first_key_value()?;
        let others = if self.0.len() > 1 { ", nor can others" } else { "" };
        Some(format!("`{target}` cannot be checked{others}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_of_until_its_check_is_made_or_not_wanted() {
        let [one, two, three] = ["web/v1", "web/v2", "web/v3"].map(Arc::from);
        let mut unmade = Unmade::default();
        assert_eq!(unmade.text(), None);
        unmade.add(&two, "no ports".into());
        unmade.remove(&one);
        assert_eq!(unmade.text().as_deref(), Some("`web/v2` cannot be checked: no ports"));
        unmade.add(&three, "no memory".into());
        assert_eq!(unmade.text().as_deref(), Some("`web/v2` cannot be checked, nor can others: no ports"));
        unmade.remove(&two);
        assert_eq!(unmade.text().as_deref(), Some("`web/v3` cannot be checked: no memory"));
        unmade.keep([&one, &three].into_iter());
        assert!(unmade.text().is_some());
        unmade.keep([&one, &two].into_iter());
        assert_eq!(unmade.text(), None);
    }
}
