//! Which policy a daemon starts with.
//!
//! What judges already and is known is left alone: a restart changes nothing. Else the stored
//! policy goes live, else the configured file. A policy that is refused never takes the place of
//! one that judges.

use super::change::{Change, Terms};
use super::governor::Governor;
use super::label_files::{Files, Reader};
use super::live::{Document, Live};
use super::targets::Changes;
use super::{GovernError, RunError};
use crate::compile::LabelTable;
use crate::dataplane::{Dataplane, LivePolicy};
use crate::policy;
use crate::store::{PolicyRecord, Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// Subject of the notices about the live policy.
pub(super) const SUBJECT: &str = "policy";

impl Governor {
    /// Decides, and makes it so.
    ///
    /// # Errors
    /// Where no policy is live and the one to start with is refused or cannot be read.
    pub(super) fn start_policy(&self) -> Result<(), RunError> {
        let (found, current) = {
            let writer = self.writer();
            (writer.dataplane.as_ref().and_then(Dataplane::live), writer.store.current()?)
        };
        let Some(found) = found else {
            if current.is_none() && self.config.policy.is_none() {
                self.notice(SUBJECT, "no policy is known yet: all packets pass".to_owned());
                return Ok(());
            }
            return self.start_anew(current);
        };
        match current {
            Some(record) if record.digest == found.digest => {
                self.keep(&found, record);
                Ok(())
            }
            current => {
                self.set_live(Some(unknown(&found)));
                let text = format!("generation {} judges, but it is not the stored policy", found.generation);
                if current.is_none() && self.config.policy.is_none() {
                    self.notice(SUBJECT, format!("{text}, and no other is known: it is kept"));
                } else if let Err(error) = self.start_anew(current) {
                    self.notice(SUBJECT, format!("{text}; it is kept, because: {error}"));
                }
                Ok(())
            }
        }
    }

    /// The policy that judges is the stored one.
    fn keep(&self, found: &LivePolicy, record: PolicyRecord) {
        let mut live = unknown(found);
        live.source = record.source;
        let is_compiled_record = record.generation == found.generation;
        if is_compiled_record {
            live.live_sets = record.details.live_sets;
        }
        live.changes = Arc::new(record.details.targets);
        let files = Files::Kept(record.details.label_files);
        match policy::parse_with(&live.source, &record.text, &Reader { governor: self, files: &files }) {
            Ok(policy) => live.document = Some(Arc::new(Document::new(record.text, policy))),
            // Written by another version; it judges all the same.
            Err(error) => self.notice(SUBJECT, format!("the stored policy cannot be read any more: {error}")),
        }
        tracing::info!(generation = live.generation, source = live.source, "the live policy is kept");
        if let Some(document) = &live.document
            && let Err(error) = self.register_live_targets(document)
        {
            self.notice(SUBJECT, format!("redirect targets of the live policy: {error}"));
        }
        if let Some(file) = &self.config.policy {
            self.compare_with_file(file, found);
        }
        let weighed = live.document.is_none() || is_compiled_record || live.changes.is_empty();
        let right = self.knows_its_members(&mut live) && weighed;
        self.set_live(Some(live.clone()));
        self.tell_target_states(&mut self.writer());
        if !right && let Err(error) = self.compile_again(&mut self.writer(), &live) {
            let text = format!(
                "the live policy does not know of all members of its labels, or all changes of targets: {error}"
            );
            self.notice(SUBJECT, text);
        }
    }

    /// Whether what judges is compiled for all live members. Where prefixes must be asked for that, they
    /// are compiled; a policy that nobody knows cannot be compiled again in any case.
    fn knows_its_members(&self, live: &mut Live) -> bool {
        let Some(document) = &live.document else { return true };
        let members = self.members();
        let sets = members.sets();
        let all = || members.iter().map(|(prefix, label, _)| (prefix, label));
        if live.is_compiled_for(&sets, all()) {
            return true;
        }
        // Where this fails, compiling the policy again says why.
        live.labels = LabelTable::build(&document.policy.labels).ok().map(Arc::new);
        live.is_compiled_for(&sets, all())
    }

    /// Says so where the configured file is not what is live.
    fn compare_with_file(&self, file: &Path, found: &LivePolicy) {
        let name = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                return self
                    .notice(SUBJECT, format!("{name} cannot be read: {error}; the live policy is kept"));
            }
        };
        let files = Files::in_folder_of(file);
        match policy::parse_with(&name, &text, &Reader { governor: self, files: &files }) {
            Ok(policy) if policy::digest(&policy) == found.digest => {}
            Ok(_) => self.notice(
                SUBJECT,
                format!(
                    "{name} differs from the live policy, which is kept: `gateway policy apply {name}` makes it live"
                ),
            ),
            Err(error) => self.notice(
                SUBJECT,
                format!("{name} is not valid, the live policy is kept: {error}"),
            ),
        }
    }

    /// The stored policy, else the configured file, else none.
    fn start_anew(&self, current: Option<PolicyRecord>) -> Result<(), RunError> {
        let stored = match current {
            None => None,
            Some(record) => match self.restore(record) {
                Ok(_) => return Ok(()),
                Err(error) => Some(error),
            },
        };
        match (&self.config.policy, stored) {
            (Some(file), stored) => {
                if let Some(error) = stored {
                    tracing::error!(%error, "the stored policy is refused, the configured one is next");
                }
                self.apply_file(file)
            }
            (None, Some(error)) => Err(RunError::Policy(Box::new(error))),
            (None, None) => Ok(()),
        }
    }

    fn apply_file(&self, file: &Path) -> Result<(), RunError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| RunError::PolicyFile { path: file.to_owned(), source })?;
        let source = file.display().to_string();
        let change = Change::Document { text, source, files: Files::in_folder_of(file) };
        let report =
            self.change(change, Terms::default()).map_err(|error| RunError::Policy(Box::new(error)))?;
        for warning in report.warnings {
            tracing::warn!(file = warning.file, line = warning.line, "{}", warning.message);
        }
        Ok(())
    }

    /// Applies the configured policy file again, as SIGHUP asks.
    pub(super) fn reload(&self) {
        let Some(file) = &self.config.policy else {
            tracing::warn!("asked to apply the policy file again, but none is configured");
            return;
        };
        match self.apply_file(file) {
            Ok(()) => tracing::info!(file = %file.display(), generation = self.generation(), "applied again"),
            Err(RunError::Policy(error)) if matches!(*error, GovernError::Stopping) => {}
            Err(error) => self.notice(
                SUBJECT,
                format!("{} was asked to be applied again, the live policy is kept: {error}", file.display()),
            ),
        }
    }
}

/// Settles which side of the last change the daemon before this one ended on: before anything else
/// is read from the store.
///
/// # Errors
/// Where the store cannot be read or written.
pub(super) fn settle_candidate(store: &Store, found: Option<&LivePolicy>) -> Result<(), StoreError> {
    let Some(candidate) = store.candidate()? else { return Ok(()) };
    let record = &candidate.record;
    let went_live =
        found.is_some_and(|found| (found.digest, found.generation) == (record.digest, record.generation));
    tracing::info!(generation = record.generation, went_live, "the last change was cut off");
    if went_live { store.confirm(&candidate) } else { store.abandon() }
}

/// What the kernel alone tells of the live policy.
fn unknown(found: &LivePolicy) -> Live {
    Live {
        generation: found.generation,
        digest: found.digest,
        source: "unknown".to_owned(),
        applied_at_unix_secs: found.applied_at_unix_secs,
        routes: found.routes,
        document: None,
        labels: None,
        live_sets: Vec::new(),
        pools: None,
        changes: Changes::default(),
    }
}
