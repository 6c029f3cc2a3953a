//! Live members of labels: a change is written down, durably, and then made the kernel's, so that a
//! daemon that ends in between is followed by one that does the rest. The kernel ends a time to live
//! by itself, by a clock that stands still while the machine sleeps; the daemon clears up after it, and
//! decides after a restart, by the calendar.

use super::GovernError;
use super::change::micros;
use super::clock::unix_now;
use super::error::LabelError;
use super::governor::{Governor, Writer};
use super::live::Live;
use super::members::{Members, Membership, Undo};
use super::report;
use crate::api::types::{AddMembers, MemberReport};
use crate::dataplane::{Clock, LiveMember, MemberChange};
use crate::policy;
use crate::store::{StoredMember, Used};
use gateway_common::live::FOR_EVER;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Longest time to live: a year.
pub const TTL_SECS_MAX: u64 = 365 * 86_400;
/// Subject of the notice about members that the kernel's table does not hold.
const SUBJECT: &str = "labels";

/// Members that the request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// These.
    Prefixes(Vec<String>),
    /// All of the label.
    All,
}

impl Governor {
    /// Adds live members to a label, or gives those that are there another time to live: all of them or
    /// none.
    ///
    /// # Errors
    /// Where the request is wrong, the label not known, or there is no room; nothing has changed then.
    pub fn add_members(&self, label: &str, request: &AddMembers) -> Result<MemberReport, GovernError> {
        let start = Instant::now();
        let prefixes = read(&request.prefixes)?;
        let ttl = request.ttl_secs.map(ttl).transpose()?;
        let mut writer = self.writer();
        writer.dataplane()?;
        let live = self.live();
        self.known_label(live.as_deref(), label)?;
        let since_unix_ms = unix_now().as_millis() as u64;
        let expires_at_unix_ms = ttl.map(|ttl| since_unix_ms + ttl.as_millis() as u64);
        let member = Membership { since_unix_ms, expires_at_unix_ms };

        let mut undo = Undo::default();
        let (sets, added) = {
            let mut members = self.members_mut();
            let before = members.count(label);
            for prefix in &prefixes {
                members.set(label, *prefix, member, &mut undo);
            }
            (members.sets_in(&prefixes), members.count(label) - before)
        };
        let done = sets
            .map_err(|too_many| {
                LabelError::TooMany { prefix: too_many.prefix, labels: too_many.labels }.into()
            })
            .and_then(|sets| {
                self.make_members(&mut writer, live.as_deref(), label, &prefixes, member, &sets)
            });
        if let Err(error) = done {
            self.members_mut().undo(undo);
            return Err(error);
        }
        tracing::info!(label, prefixes = prefixes.len(), added, ttl_secs = request.ttl_secs, "label members");
        Ok(self.member_report(label, prefixes.len() - added, added, 0, start))
    }

    /// The label's number and what the policy must be compiled for, then the store, then the kernel.
    fn make_members(
        &self,
        writer: &mut Writer,
        live: Option<&Live>,
        label: &str,
        prefixes: &[IpNet],
        member: Membership,
        sets: &BTreeSet<Vec<String>>,
    ) -> Result<(), GovernError> {
        let number = self.label_number(writer, label)?;
        let clock = self.readers.clock()?;
        let until = until(&clock, member.expires_at_unix_ms, member.since_unix_ms);
        let changes: Vec<MemberChange> = prefixes
            .iter()
            .map(|prefix| MemberChange::Set(LiveMember { prefix: *prefix, label: number, until }))
            .collect();
        let plan = writer.dataplane()?.plan_members(&changes)?;
        if let Some(live) = live
            && !live.is_compiled_for(sets, prefixes.iter().map(|prefix| (*prefix, label)))
        {
            self.compile_again(writer, live)?;
        }
        let stored = prefixes.iter().map(|prefix| stored(label, *prefix, member));
        writer.store.add_members(&stored.collect::<Vec<_>>())?;
        let dataplane = writer.dataplane()?;
        dataplane.commit_members(plan)?;
        self.publish_map_sizes(dataplane);
        Ok(())
    }

    /// Takes live members out of a label: all of them or none.
    ///
    /// # Errors
    /// Where one is no live member, or nothing could be written; nothing has changed then.
    pub fn delete_members(&self, label: &str, which: &Which) -> Result<MemberReport, GovernError> {
        let start = Instant::now();
        let asked = match which {
            Which::Prefixes(prefixes) => Some(read(prefixes)?),
            Which::All => None,
        };
        let mut writer = self.writer();
        writer.dataplane()?;
        let live = self.live();
        self.known_label(live.as_deref(), label)?;
        let prefixes = asked.unwrap_or_else(|| self.members().of(label).map(|(prefix, _)| prefix).collect());
        let strangers: Vec<IpNet> = {
            let members = self.members();
            prefixes.iter().filter(|prefix| members.get(label, prefix).is_none()).copied().collect()
        };
        if !strangers.is_empty() {
            let fixed = live.as_deref().and_then(|live| live.label(label));
            let in_policy = fixed.is_some_and(|fixed| {
                strangers.iter().any(|prefix| fixed.prefixes.binary_search(prefix).is_ok())
            });
            let name = label.to_owned();
            return Err(LabelError::NoMembers { name, prefixes: strangers, in_policy }.into());
        }
        let gone: Vec<(String, IpNet)> = prefixes.iter().map(|prefix| (label.to_owned(), *prefix)).collect();
        self.forget_members(&mut writer, &gone)?;
        tracing::info!(label, prefixes = prefixes.len(), "label members taken out");
        Ok(self.member_report(label, 0, 0, prefixes.len(), start))
    }

    /// The store first, then the kernel.
    fn forget_members(&self, writer: &mut Writer, gone: &[(String, IpNet)]) -> Result<(), GovernError> {
        writer.store.remove_members(gone.iter().map(|(label, prefix)| (label.as_str(), *prefix)))?;
        let changes: Vec<MemberChange> = {
            let slots = self.slots();
            let change = |(label, prefix): &(String, IpNet)| {
                Some(MemberChange::Remove { prefix: *prefix, label: slots.label(label)? })
            };
            gone.iter().filter_map(change).collect()
        };
        let dataplane = writer.dataplane()?;
        let plan = dataplane.plan_members(&changes)?;
        dataplane.commit_members(plan)?;
        self.publish_map_sizes(dataplane);
        let mut members = self.members_mut();
        for (label, prefix) in gone {
            members.remove(label, prefix);
        }
        Ok(())
    }

    /// Clears up members whose time is over: no packet has matched them since.
    pub(super) fn sweep_members(&self) {
        let over = |governor: &Governor| -> Vec<(String, IpNet)> {
            let now_unix_ms = unix_now().as_millis() as u64;
            let members = governor.members();
            let over = members.iter().filter(|(_, _, member)| member.is_over(now_unix_ms));
            over.map(|(prefix, label, _)| (label.to_owned(), prefix)).collect()
        };
        if over(self).is_empty() {
            return;
        }
        let mut writer = self.writer();
        // Somebody may have given it another time to live meanwhile.
        let gone = over(self);
        if gone.is_empty() || writer.dataplane().is_err() {
            return;
        }
        match self.forget_members(&mut writer, &gone) {
            Ok(()) => {
                self.clear_notice(SUBJECT);
                tell_over(&gone);
            }
            Err(error) => {
                self.notice(SUBJECT, format!("members whose time is over are still kept: {error}"));
            }
        }
    }

    /// Makes the kernel's table what the store says, before anything is changed. Members whose time was
    /// over while no daemon ran are forgotten.
    ///
    /// # Errors
    /// Where the store cannot be read or written.
    pub(super) fn start_members(&self) -> Result<(), GovernError> {
        let mut writer = self.writer();
        let now_unix_ms = unix_now().as_millis() as u64;
        let mut members = Members::default();
        let mut gone = Vec::new();
        for StoredMember { label, prefix, since_unix_ms, expires_at_unix_ms } in writer.store.members()? {
            let member = Membership { since_unix_ms, expires_at_unix_ms };
            if member.is_over(now_unix_ms) {
                gone.push((label, prefix));
            } else {
                members.set(&label, prefix, member, &mut Undo::default());
            }
        }
        if !gone.is_empty() {
            writer.store.remove_members(gone.iter().map(|(label, prefix)| (label.as_str(), *prefix)))?;
            tell_over(&gone);
        }
        let labels: Vec<String> = members.counts().map(|(label, _)| label.to_owned()).collect();
        for label in &labels {
            self.label_number(&writer, label)?;
        }
        let clock = self.readers.clock()?;
        let wanted: Vec<LiveMember> = {
            let slots = self.slots();
            let wanted = |(prefix, label, member): (IpNet, &str, Membership)| {
                let until = until(&clock, member.expires_at_unix_ms, now_unix_ms);
                Some(LiveMember { prefix, label: slots.label(label)?, until })
            };
            members.iter().filter_map(wanted).collect()
        };
        let dataplane = writer.dataplane()?;
        let (plan, refused) = dataplane.plan_all_members(&wanted);
        dataplane.commit_members(plan)?;
        self.publish_map_sizes(dataplane);
        if let Some((member, error)) = refused.first() {
            let count = refused.len();
            let text =
                format!("{count} members of labels are not in force, {} the first: {error}", member.prefix);
            self.notice(SUBJECT, text);
        }
        *self.members_mut() = members;
        Ok(())
    }

    /// The label's number, which it keeps for ever.
    fn label_number(&self, writer: &Writer, label: &str) -> Result<u32, GovernError> {
        if let Some(number) = self.slots().label(label) {
            return Ok(number);
        }
        let used = Used { labels: vec![label], ..Used::default() };
        let new = self.slots().plan(&used)?;
        writer.store.keep_slots(&new)?;
        let number = new.label(label);
        self.slots_mut().add(new);
        number.ok_or_else(|| GovernError::Broken { what: format!("label `{label}` has no number") })
    }

    /// Refuses labels that neither the live policy names nor have members.
    fn known_label(&self, live: Option<&Live>, label: &str) -> Result<(), GovernError> {
        if live.is_some_and(|live| live.label(label).is_some()) || self.members().count(label) > 0 {
            return Ok(());
        }
        if let Some(Live { document: None, generation, .. }) = live {
            return Err(GovernError::UnknownPolicy { generation: *generation });
        }
        Err(self.unknown_label(label))
    }

    fn member_report(
        &self,
        label: &str,
        replaced: usize,
        added: usize,
        removed: usize,
        start: Instant,
    ) -> MemberReport {
        MemberReport {
            label: label.to_owned(),
            generation: self.generation(),
            added: added as u64,
            replaced: replaced as u64,
            removed: removed as u64,
            members: self.members().count(label) as u64,
            total_us: micros(start),
        }
    }
}

fn tell_over(gone: &[(String, IpNet)]) {
    const TOLD: usize = 10;
    for (label, prefix) in gone.iter().take(TOLD) {
        tracing::info!(label, %prefix, "the time to live of a label's member is over");
    }
    if gone.len() > TOLD {
        tracing::info!(members = gone.len() - TOLD, "and those of more members");
    }
}

fn stored(label: &str, prefix: IpNet, member: Membership) -> StoredMember {
    let Membership { since_unix_ms, expires_at_unix_ms } = member;
    StoredMember { label: label.to_owned(), prefix, since_unix_ms, expires_at_unix_ms }
}

/// The end of a time to live in the kernel's time: never early, late by a tick at most.
fn until(clock: &Clock, expires_at_unix_ms: Option<u64>, now_unix_ms: u64) -> u32 {
    expires_at_unix_ms
        .map_or(FOR_EVER, |end| clock.ticks_after(Duration::from_millis(end.saturating_sub(now_unix_ms))))
}

fn ttl(secs: u64) -> Result<Duration, GovernError> {
    if (1..=TTL_SECS_MAX).contains(&secs) {
        return Ok(Duration::from_secs(secs));
    }
    Err(LabelError::Ttl { secs }.into())
}

/// Prefixes, each once, in order; everything that is wrong with them at once.
fn read(texts: &[String]) -> Result<Vec<IpNet>, GovernError> {
    if texts.is_empty() {
        return Err(LabelError::NoPrefix.into());
    }
    // A prefix a line: what would be something else there is none here.
    let strange = texts.iter().find(|text| text.trim().is_empty() || text.contains(['#', '\n', '\r']));
    if let Some(text) = strange {
        return Err(LabelError::Prefix { text: text.clone() }.into());
    }
    policy::parse_prefixes("the request", texts.join("\n").as_bytes())
        .map_err(|found| report::invalid("the request", &found))
}
