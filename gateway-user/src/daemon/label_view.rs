//! Labels, for readers.

use super::clock::unix_now;
use super::error::LabelError;
use super::governor::Governor;
use super::members::Membership;
use super::{GovernError, Live};
use crate::api::types::{LabelInfo, LabelList, LabelMember, LabelSummary};
use crate::policy::closest;
use ipnet::IpNet;
use std::collections::BTreeMap;

impl Governor {
    /// Every label that the live policy names or that has live members.
    #[must_use]
    pub fn label_list(&self) -> LabelList {
        let live = self.live();
        let mut labels = named(live.as_deref());
        for (name, count) in self.members().counts() {
            let label = labels
                .entry(name.to_owned())
                .or_insert_with(|| LabelSummary { name: name.to_owned(), ..LabelSummary::default() });
            label.members = count as u64;
        }
        LabelList {
            generation: live.map_or(0, |live| live.generation),
            labels: labels.into_values().collect(),
        }
    }

    /// A label with its first prefixes and live members, at most `limit` of each.
    ///
    /// # Errors
    /// [`LabelError::Unknown`].
    pub fn label(&self, name: &str, limit: usize) -> Result<LabelInfo, GovernError> {
        let list = self.label_list();
        let Some(label) = list.labels.iter().find(|label| label.name == name) else {
            return Err(self.unknown_label(name));
        };
        let live = self.live();
        let fixed = live.as_deref().and_then(|live| live.label(name));
        let now_unix_ms = unix_now().as_millis() as u64;
        let members = self.members();
        let first_members = members.of(name).take(limit).map(|member| info(member, now_unix_ms)).collect();
        let prefixes = fixed.into_iter().flat_map(|label| label.prefixes.iter());
        Ok(LabelInfo {
            label: label.clone(),
            first_prefixes: prefixes.take(limit).map(ToString::to_string).collect(),
            first_members,
        })
    }

    /// That no label has this name, and which was probably meant.
    pub(super) fn unknown_label(&self, name: &str) -> GovernError {
        let list = self.label_list();
        let meant = closest(name, list.labels.iter().map(|label| label.name.as_str())).map(str::to_owned);
        LabelError::Unknown { name: name.to_owned(), meant }.into()
    }
}

/// The labels that the policy names.
fn named(live: Option<&Live>) -> BTreeMap<String, LabelSummary> {
    let document = live.and_then(|live| live.document.as_ref());
    let labels = document.into_iter().flat_map(|document| &document.policy.labels);
    let summary = |name: &String, label: &crate::policy::Label| LabelSummary {
        name: name.clone(),
        in_policy: true,
        file: label.file.as_ref().map(|file| file.path.clone()),
        prefixes: label.prefixes.len() as u64,
        members: 0,
    };
    labels.map(|(name, label)| (name.clone(), summary(name, label))).collect()
}

fn info((prefix, member): (IpNet, Membership), now_unix_ms: u64) -> LabelMember {
    let remaining_ms = member.expires_at_unix_ms.map(|end| end.saturating_sub(now_unix_ms));
    LabelMember {
        prefix: prefix.to_string(),
        since_unix_secs: member.since_unix_ms / 1000,
        expires_at_unix_ms: member.expires_at_unix_ms,
        remaining_secs: remaining_ms.map(|ms| ms.div_ceil(1000)),
    }
}
