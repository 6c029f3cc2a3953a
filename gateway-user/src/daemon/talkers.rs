//! Who sends most, for readers.

use super::GovernError;
use super::clock::{Calendar, monotonic_now_ns};
use super::governor::Governor;
use crate::api::types::{Counts, Talker, TalkerGroup, TalkerList, TalkerOrder, TalkerQuery};
use crate::dataplane::{FlowId, Readers};
use crate::flows::Account;
use crate::talkers::{Grouping, Measure};
use std::collections::HashMap;
use std::sync::PoisonError;

const NS_PER_MS: u64 = 1_000_000;

/// What was lost on the way out of the memo.
pub fn lost(readers: &Readers) -> Counts {
    let lost = readers.telemetry();
    Counts { packets: lost.flow_packets_lost, bytes: lost.flow_bytes_lost }
}

impl Governor {
    /// Ends the talkers' half of a minute, if it is over.
    pub(super) fn turn_talkers(&self) -> Result<(), GovernError> {
        let mut talkers = self.talkers().lock().unwrap_or_else(PoisonError::into_inner);
        let now_ns = monotonic_now_ns();
        if talkers.is_over(now_ns) {
            // The talkers are held: what leaves the memo while it is read waits in the ring buffer.
            let live = self.live_accounts()?;
            talkers.turn(&live, now_ns, lost(&self.readers));
        }
        Ok(())
    }

    /// The sources that send most. Blocks for as long as it takes to walk over the memo.
    ///
    /// # Errors
    /// Where the kernel's clock cannot be read.
    pub fn talker_list(&self, query: &TalkerQuery, limit: usize) -> Result<TalkerList, GovernError> {
        let by = query.by.unwrap_or(TalkerOrder::Bytes);
        let group = query.group.unwrap_or(TalkerGroup::Address);
        let measure = match by {
            TalkerOrder::Bytes => Measure::Bytes,
            TalkerOrder::Packets => Measure::Packets,
        };
        let grouping = match group {
            TalkerGroup::Address => Grouping::Address,
            TalkerGroup::Network => Grouping::Network,
        };
        let talkers = self.talkers().lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.live_accounts()?;
        let top = talkers.top(&live, lost(&self.readers), measure, grouping, limit);
        drop(talkers);
        let calendar = Calendar::now();
        let talker = |estimate: &crate::talkers::Estimate<_>| Talker {
            source: grouping.text(estimate.key),
            sent: estimate.count,
            error: estimate.error,
        };
        Ok(TalkerList {
            enabled: self.config.flows,
            by,
            group,
            since_unix_ms: calendar.unix_ns(top.since_ns) / NS_PER_MS,
            milliseconds: calendar.monotonic_ns().saturating_sub(top.since_ns) / NS_PER_MS,
            talkers: top.talkers.iter().map(talker).collect(),
            total: top.total,
            unknown_max: top.unknown_max,
            lost: top.lost,
        })
    }

    /// The accounts in the memo, each flow once.
    fn live_accounts(&self) -> Result<HashMap<FlowId, Account>, GovernError> {
        let mut live: HashMap<FlowId, Account> = HashMap::new();
        for part in self.readers.flows_live()?.flows {
            let account = Account::from(&part);
            live.entry(part.id).and_modify(|known| known.merge(&account)).or_insert(account);
        }
        Ok(live)
    }
}
