//! What of a flow's account has been told already.
//!
//! An account in the memo holds everything since the flow began, which may be days; what counts is how
//! much came since it was looked at last. So a balance is kept of what was told of flows that live
//! still: a look tells what an account has more than that, and an account that leaves the memo is told
//! less its balance. Told is then what came, each packet once.

use crate::api::types::Counts;
use crate::dataplane::FlowId;
use crate::flows::Account;
use std::collections::HashMap;

/// Balances of live flows, bounded.
#[derive(Debug)]
pub struct Credits {
    pub(super) balances: HashMap<FlowId, Balance>,
    balances_max: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Balance {
    told: Counts,
    /// At the last look the flow's account held at least this much. If not, an account of it is on its
    /// way through the ring buffer, or was lost there.
    covered: bool,
}

impl Credits {
    /// Of at most `balances_max` flows. Of others nothing is told before they leave the memo; those are
    /// the small ones.
    #[must_use]
    pub fn new(balances_max: usize) -> Credits {
        Credits { balances: HashMap::new(), balances_max: balances_max.max(2) }
    }

    /// What an account that left the memo has to tell.
    pub fn left(&mut self, id: FlowId, counts: Counts) -> Counts {
        let Some(balance) = self.balances.get_mut(&id) else { return counts };
        let due = less(counts, balance.told);
        balance.told = less(balance.told, counts);
        if balance.told == Counts::default() {
            self.balances.remove(&id);
        }
        due
    }

    /// What the account of a live flow has to tell, without telling it.
    #[must_use]
    pub fn due(&self, id: &FlowId, counts: Counts) -> Counts {
        self.balances.get(id).map_or(counts, |balance| less(counts, balance.told))
    }

    /// Looks at all live flows: `tell` is told what there is to tell of each.
    pub fn look(&mut self, live: &HashMap<FlowId, Account>, mut tell: impl FnMut(&FlowId, &Account, Counts)) {
        let mut before = std::mem::take(&mut self.balances);
        let mut new = Vec::new();
        for (id, account) in live {
            let counts = counts(account);
            let Some(balance) = before.remove(id) else {
                new.push((*id, account, counts));
                continue;
            };
            if counts.packets >= balance.told.packets {
                tell(id, account, less(counts, balance.told));
                self.balances.insert(*id, Balance { told: counts, covered: true });
            } else {
                // It left and came back, and the account that left is still to come; unless it should
                // have come long ago.
                let told = if balance.covered { balance.told } else { counts };
                self.balances.insert(*id, Balance { told, covered: !balance.covered });
            }
        }
        let gone = before.into_iter().filter(|(_, balance)| balance.covered);
        self.balances.extend(gone.map(|(id, balance)| (id, Balance { covered: false, ..balance })));
        let room = self.balances_max.saturating_sub(self.balances.len());
        if new.len() > room && room > 0 {
            new.select_nth_unstable_by_key(room - 1, |(_, _, counts)| std::cmp::Reverse(counts.packets));
        }
        for (id, account, counts) in new.into_iter().take(room) {
            tell(&id, account, counts);
            self.balances.insert(id, Balance { told: counts, covered: true });
        }
    }
}

/// Packets and bytes of an account.
pub fn counts(account: &Account) -> Counts {
    Counts { packets: account.packets, bytes: account.bytes }
}

fn less(counts: Counts, told: Counts) -> Counts {
    Counts {
        packets: counts.packets.saturating_sub(told.packets),
        bytes: counts.bytes.saturating_sub(told.bytes),
    }
}
