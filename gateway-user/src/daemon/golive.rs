//! A compiled policy goes live.

use super::GovernError;
use super::change::{Candidate, Compiled, micros};
use super::clock::unix_now;
use super::governor::{Governor, Writer};
use super::label_files;
use super::live::{Document, Live};
use super::start;
use crate::api::types::Timing;
use crate::store::{self, Details, NewSlots, PolicyRecord, TargetChanges};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

impl Governor {
    /// Makes a policy live; the generation it is. The point of no return is in here.
    ///
    /// # Errors
    /// Where it could not be written down or the data plane refuses; nothing has changed then.
    pub(super) fn go_live(
        &self,
        writer: &mut Writer,
        candidate: &Candidate,
        compiled: Compiled,
        timing: &mut Timing,
    ) -> Result<u32, GovernError> {
        let Candidate { document, digest, source, .. } = candidate;
        let Compiled { image, new_slots, labels, live_sets, changes } = compiled;
        let store_start = Instant::now();
        self.confirm_again(writer)?;
        let last = writer.dataplane()?.live().map_or(0, |live| live.generation);
        let record = PolicyRecord {
            generation: last.checked_add(1).ok_or(GovernError::GenerationsUsedUp)?,
            digest: *digest,
            text: document.text.clone(),
            source: source.clone(),
            applied_at_unix_secs: unix_now().as_secs(),
            details: Details {
                label_files: label_files::of(&document.policy).map(|(file, _)| file).collect(),
                live_sets: live_sets.clone(),
                targets: TargetChanges::clone(&changes),
            },
        };
        let applied_at_unix_secs = record.applied_at_unix_secs;
        let prepared = store::Candidate { record, slots: new_slots };
        let files = label_files::of(&document.policy).map(|(file, prefixes)| (file.digest, prefixes));
        writer.store.keep_label_files(files)?;
        writer.store.prepare(&prepared)?;
        timing.store_us = micros(store_start);

        let apply_start = Instant::now();
        // Known before the policy sends anything to them; those that it does not have are gone after it.
        let states = self.target_states(document, &changes, &prepared.slots);
        let applied = self.register_targets(writer, document, &prepared.slots).and_then(|()| {
            let dataplane = writer.dataplane()?;
            dataplane.add_target_states(&states)?;
            Ok(dataplane.apply(&image, *digest, applied_at_unix_secs)?)
        });
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => {
                self.tell_target_states(writer);
                self.abandon(writer);
                return Err(error);
            }
        };
        timing.apply_us = micros(apply_start);

        self.slots_mut().add(prepared.slots.clone());
        self.set_live(Some(Live {
            generation: applied.generation,
            digest: *digest,
            source: source.clone(),
            applied_at_unix_secs,
            routes: document.policy.routes.len() as u32,
            document: Some(Arc::clone(document)),
            labels: Some(labels),
            live_sets,
            pools: Some(Arc::clone(image.pool_tables())),
            changes,
        }));
        self.tell_target_states(writer);
        self.clear_notice(start::SUBJECT);
        self.publish_interfaces(writer);
        tracing::info!(
            generation = applied.generation,
            source,
            lines_written = applied.lines_written,
            flip_ns = applied.timing.flip_ns,
            compiled = %image.summary(),
            "policy live"
        );
        let confirm_start = Instant::now();
        self.confirm(writer, prepared);
        timing.store_us += micros(confirm_start);
        Ok(applied.generation)
    }

    /// Tells the data plane where the redirects of the policy that is live already go.
    ///
    /// # Errors
    /// Where it refuses.
    pub(super) fn register_live_targets(&self, document: &Document) -> Result<(), GovernError> {
        self.register_targets(&mut self.writer(), document, &NewSlots::default())
    }

    fn register_targets(
        &self,
        writer: &mut Writer,
        document: &Document,
        new: &NewSlots,
    ) -> Result<(), GovernError> {
        let dataplane = writer.dataplane()?;
        let slots = self.slots();
        let targets: BTreeSet<&str> = document.targets().collect();
        for target in targets {
            if let Some(slot) = slots.interface(target).or_else(|| new.interface(target)) {
                dataplane.register_egress(target, slot)?;
            }
        }
        Ok(())
    }

    /// The candidate is live. If the store cannot take it now that is no error of the change: the
    /// candidate stays written down, and must be confirmed before the next.
    fn confirm(&self, writer: &mut Writer, candidate: store::Candidate) {
        if let Err(error) = writer.store.confirm(&candidate) {
            self.notice("store", format!("the live policy could not be made durable: {error}"));
            writer.unconfirmed = Some(candidate);
        }
    }

    fn confirm_again(&self, writer: &mut Writer) -> Result<(), GovernError> {
        if let Some(candidate) = &writer.unconfirmed {
            writer.store.confirm(candidate)?;
            writer.unconfirmed = None;
            self.clear_notice("store");
        }
        Ok(())
    }

    /// The candidate did not become live. Should it stay written down, the next start sees that.
    fn abandon(&self, writer: &Writer) {
        if let Err(error) = writer.store.abandon() {
            tracing::warn!(%error, "a refused policy could not be removed");
        }
    }
}
