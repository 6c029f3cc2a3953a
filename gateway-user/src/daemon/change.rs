//! Changes of policy: all or nothing.
//!
//! The order is what makes them so. Everything that can be refused is tried first: reading,
//! compiling, slots. Then the candidate is written down, then it goes live with one store of the
//! data plane's, then it is confirmed, durably, and only then is anybody told. A daemon that ends in
//! between leaves a candidate, and the next one sees by what is live which side of the store it
//! ended on.

use super::edit::{self, Edit};
use super::governor::{Governor, Writer};
use super::label_files::{Files, Reader};
use super::live::{Document, Live, digest_text};
use super::node_names::{NodeNames, Numbered, sourced};
use super::report::{self, Findings};
use super::targets::{self, Changes};
use super::{GovernError, diff::diff};
use crate::api::types::{ApplyReport, CheckReport, DiffReport, Timing};
use crate::compile::{Image, LabelTable, PoolTables, Surroundings, compile};
use crate::dataplane::ways_to;
use crate::policy::{self, Policy};
use crate::store::{NewSlots, PolicyRecord, TargetChanges, Used};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// What is to become of the policy.
#[derive(Clone, Debug)]
pub enum Change {
    /// Another document.
    Document {
        /// YAML.
        text: String,
        /// Where it came from.
        source: String,
        /// Where its label files are.
        files: Files,
    },
    /// The live policy, but for one route.
    Edit(Edit),
}

/// On what terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Only if this generation is live (0: none).
    pub base_generation: Option<u32>,
    /// Everything but making it live.
    pub dry_run: bool,
}

/// A policy that was read and could go live.
pub(super) struct Candidate {
    pub document: Arc<Document>,
    pub digest: [u64; 4],
    pub source: String,
    findings: Findings,
}

/// A change on its way: documents are read before it is their turn.
enum Pending {
    Read(Box<Candidate>),
    Edit(Box<Edit>),
}

/// A candidate, compiled.
pub(super) struct Compiled {
    pub image: Image,
    pub new_slots: NewSlots,
    pub labels: Arc<LabelTable>,
    pub live_sets: Vec<Vec<String>>,
    pub changes: Changes,
}

impl Governor {
    /// Makes a change live.
    ///
    /// # Errors
    /// Where it is refused or fails; nothing has changed then.
    pub fn change(&self, change: Change, terms: Terms) -> Result<ApplyReport, GovernError> {
        self.change_weighed(change, terms, None)
    }

    /// The same with these changes of targets in the place of those that are live.
    fn change_weighed(
        &self,
        change: Change,
        terms: Terms,
        changes: Option<Changes>,
    ) -> Result<ApplyReport, GovernError> {
        let start = Instant::now();
        let mut timing = Timing::default();
        let pending = match change {
            Change::Document { text, source, files } => {
                Pending::Read(Box::new(self.read(&text, &source, &files)?))
            }
            Change::Edit(edit) => Pending::Edit(Box::new(edit)),
        };
        let mut writer = self.writer();
        writer.dataplane()?;
        let live = self.live();
        let generation = live.as_ref().map_or(0, |live| live.generation);
        if let Some(base) = terms.base_generation.filter(|base| *base != generation) {
            return Err(GovernError::Moved { base, live: generation });
        }
        let candidate = match pending {
            Pending::Read(candidate) => *candidate,
            Pending::Edit(edit) => edited(live.as_deref(), *edit)?,
        };
        timing.parse_us = micros(start);
        let same = live.as_ref().is_some_and(|live| live.digest == candidate.digest);
        let now_live = if same {
            generation
        } else {
            let changes = changes.or_else(|| live.as_ref().map(|live| Arc::clone(&live.changes)));
            let changes = changes.unwrap_or_default();
            let compiled = self.compile(&candidate.document, live.as_deref(), &changes, &mut timing)?;
            if terms.dry_run {
                generation
            } else {
                self.go_live(&mut writer, &candidate, compiled, &mut timing)?
            }
        };
        drop(writer);
        Ok(self.apply_report(candidate, live.as_deref(), now_live, (!same, terms.dry_run), timing, start))
    }

    /// Reads and compiles a document, and changes nothing.
    ///
    /// # Errors
    /// Where it would be refused.
    pub fn check(&self, text: &str, source: &str, files: &Files) -> Result<CheckReport, GovernError> {
        let start = Instant::now();
        let mut timing = Timing::default();
        let mut candidate = self.read(text, source, files)?;
        timing.parse_us = micros(start);
        let live = self.live();
        let changes = live.as_ref().map(|live| Arc::clone(&live.changes)).unwrap_or_default();
        let compiled = self.compile(&candidate.document, live.as_deref(), &changes, &mut timing)?;
        self.add_findings(&mut candidate);
        timing.total_us = micros(start);
        Ok(CheckReport {
            routes: candidate.document.policy.routes.len() as u32,
            digest: digest_text(&candidate.digest),
            rendered: candidate.findings.rendered(),
            warnings: candidate.findings.into_diagnostics(),
            image_lines: compiled.image.lines() as u64,
            timing,
        })
    }

    /// Reads a document and compares it with the live policy.
    ///
    /// # Errors
    /// Where it is not valid.
    pub fn diff(&self, text: &str, source: &str, files: &Files) -> Result<DiffReport, GovernError> {
        let mut candidate = self.read(text, source, files)?;
        self.add_findings(&mut candidate);
        let live = self.live();
        Ok(DiffReport {
            generation: live.as_ref().map_or(0, |live| live.generation),
            diff: compare(live.as_deref(), &candidate.document),
            warnings: candidate.findings.into_diagnostics(),
        })
    }

    /// Makes a stored document live again, as it was written.
    ///
    /// # Errors
    /// As [`Governor::change`].
    pub(super) fn restore(&self, record: PolicyRecord) -> Result<u32, GovernError> {
        let files = Files::Kept(record.details.label_files);
        let change = Change::Document { text: record.text, source: record.source, files };
        let changes = Arc::new(record.details.targets);
        self.change_weighed(change, Terms::default(), Some(changes)).map(|report| report.generation)
    }

    /// Makes the live policy live again, compiled for the live members that labels have now, and for
    /// the targets as `live` has them.
    ///
    /// # Errors
    /// Where it cannot be compiled for them; the live one stays.
    pub(super) fn compile_again(&self, writer: &mut Writer, live: &Live) -> Result<(), GovernError> {
        let Some(document) = &live.document else {
            return Err(GovernError::UnknownPolicy { generation: live.generation });
        };
        let mut timing = Timing::default();
        let compiled = self.compile(document, Some(live), &live.changes, &mut timing)?;
        let candidate = Candidate {
            document: Arc::clone(document),
            digest: live.digest,
            source: live.source.clone(),
            findings: Findings::of_edit(),
        };
        self.go_live(writer, &candidate, compiled, &mut timing)?;
        Ok(())
    }

    /// Compiles a document for this node; `live` is asked for the labels that it has compiled already.
    fn compile(
        &self,
        document: &Document,
        live: Option<&Live>,
        changes: &Changes,
        timing: &mut Timing,
    ) -> Result<Compiled, GovernError> {
        let start = Instant::now();
        let changes = targets::of_policy(&self.with_health(changes), &document.policy);
        let policy = &*targets::weighed(&document.policy, &changes);
        let numbered = Numbered::of(policy);
        let used = Used {
            routes: policy.routes.iter().map(|route| route.name.as_str()).collect(),
            interfaces: document.interfaces().collect(),
            limits: numbered.limits.iter().map(String::as_str).collect(),
            targets: numbered.targets.iter().map(String::as_str).collect(),
            labels: policy.labels.keys().map(String::as_str).collect(),
        };
        // Not held while compiling, which may take long.
        let (mut names, new_slots) = {
            let slots = self.slots();
            let new = slots.plan(&used)?;
            (NodeNames::of(document, &numbered, &slots, &new), new)
        };
        names.ways = ways_to(sourced(policy))?;
        let labels =
            match live.and_then(|live| live.labels.as_ref()).filter(|table| table.is_of(&policy.labels)) {
                Some(table) => Arc::clone(table),
                None => Arc::new(LabelTable::build(&policy.labels).map_err(GovernError::Compile)?),
            };
        let live_sets = self.live_sets(policy);
        let ns_per_jiffy = self.readers.clock()?.ns_per_jiffy();
        let no_pools = PoolTables::default();
        let surroundings = Surroundings {
            names: &names,
            labels: &labels,
            live_sets: &live_sets,
            pools: live.and_then(|live| live.pools.as_deref()).unwrap_or(&no_pools),
            ns_per_jiffy,
        };
        let image = compile(policy, &surroundings).map_err(GovernError::Compile)?;
        timing.compile_us = micros(start);
        Ok(Compiled { image, new_slots, labels, live_sets, changes })
    }

    /// Changes of targets with those among them that fail now.
    fn with_health(&self, changes: &Changes) -> Changes {
        let out = self.health().out();
        if out == changes.out {
            return Arc::clone(changes);
        }
        Arc::new(TargetChanges { out, ..TargetChanges::clone(changes) })
    }

    /// The sets of labels of this policy that live members give to one source.
    fn live_sets(&self, policy: &Policy) -> Vec<Vec<String>> {
        let mine = |set: Vec<String>| -> Vec<String> {
            set.into_iter().filter(|label| policy.labels.contains_key(label)).collect()
        };
        let sets: BTreeSet<Vec<String>> = self.members().sets().into_iter().map(mine).collect();
        sets.into_iter().filter(|set| !set.is_empty()).collect()
    }

    /// Compiles the labels and the pools' tables of the live policy, where that was not needed yet.
    pub(super) fn build_tables(&self) {
        let Some(live) = self.live() else { return };
        let Some(document) = live.document.as_ref().filter(|_| live.labels.is_none() || live.pools.is_none())
        else {
            return;
        };
        let labels = live.labels.clone().or_else(|| {
            // What is live has been compiled once, so this does not fail; the next change would tell.
            LabelTable::build(&document.policy.labels).ok().map(Arc::new)
        });
        let policy = targets::weighed(&document.policy, &live.changes);
        let pools = Some(Arc::new(PoolTables::build(&policy, &PoolTables::default())));
        let _writer = self.writer();
        if let Some(now) = self.live().filter(|now| now.generation == live.generation) {
            self.set_live(Some(Live { labels, pools, ..Live::clone(&now) }));
        }
    }

    /// Reads a document, warnings included.
    fn read(&self, text: &str, source: &str, files: &Files) -> Result<Candidate, GovernError> {
        let (policy, diagnostics) = policy::check_with(source, text, &Reader { governor: self, files });
        let Some(policy) = policy else {
            return Err(report::invalid(&format!("the policy from {source}"), &diagnostics));
        };
        let document = Document::new(text.to_owned(), policy);
        Ok(Candidate {
            digest: policy::digest_of(&document.canonical),
            document: Arc::new(document),
            source: source.to_owned(),
            findings: Findings::of_document(diagnostics),
        })
    }

    fn apply_report(
        &self,
        mut candidate: Candidate,
        before: Option<&Live>,
        generation: u32,
        (changed, dry_run): (bool, bool),
        mut timing: Timing,
        start: Instant,
    ) -> ApplyReport {
        self.add_findings(&mut candidate);
        let diff = compare(before, &candidate.document);
        timing.total_us = micros(start);
        ApplyReport {
            generation,
            digest: digest_text(&candidate.digest),
            changed,
            dry_run,
            diff,
            rendered: candidate.findings.rendered(),
            warnings: candidate.findings.into_diagnostics(),
            timing,
        }
    }

    /// Adds what only this node can say of a policy.
    fn add_findings(&self, candidate: &mut Candidate) {
        report::add_node_findings(&mut candidate.findings, &candidate.document, &self.config.interfaces);
    }
}

/// The live policy with one route changed.
fn edited(live: Option<&Live>, edit: Edit) -> Result<Candidate, GovernError> {
    let policy = match live {
        Some(Live { document: Some(document), .. }) => document.policy.clone(),
        // What is live is not known, so it cannot be changed in part.
        Some(live) => return Err(GovernError::UnknownPolicy { generation: live.generation }),
        None => edit::empty_policy(),
    };
    let source = edit.source();
    let policy = edit.apply(policy)?;
    let document = Document::canonical(policy);
    Ok(Candidate {
        digest: policy::digest_of(&document.canonical),
        document: Arc::new(document),
        source,
        findings: Findings::of_edit(),
    })
}

fn compare(live: Option<&Live>, document: &Document) -> crate::api::types::PolicyDiff {
    let old = live.and_then(|live| live.document.as_ref());
    diff(
        old.map(|old| (&old.policy, old.canonical.as_str())),
        (&document.policy, document.canonical.as_str()),
    )
}

pub(super) fn micros(start: Instant) -> u64 {
    start.elapsed().as_micros() as u64
}
