//! Changes of policy: all or nothing.
//!
//! The order is what makes them so. Everything that can be refused is tried first: reading,
//! compiling, slots. Then the candidate is written down, then it goes live with one store of the
//! data plane's, then it is confirmed, durably, and only then is anybody told. A daemon that ends in
//! between leaves a candidate, and the next one sees by what is live which side of the store it
//! ended on.

use super::edit::{self, Edit};
use super::governor::Governor;
use super::live::{Document, Live, digest_text};
use super::report::{self, Findings};
use super::{GovernError, diff::diff};
use crate::api::types::{ApplyReport, CheckReport, DiffReport, Timing};
use crate::compile::{Image, Names, compile};
use crate::policy;
use crate::store::{NewSlots, PolicyRecord, Slots};
use gateway_common::abi::COUNTER_DEFAULT;
use std::collections::HashMap;
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
}

/// What a document's names mean on this node.
struct NodeNames<'a> {
    routes: HashMap<&'a str, u32>,
    interfaces: HashMap<&'a str, u8>,
}

impl<'a> NodeNames<'a> {
    fn of(document: &'a Document, slots: &Slots, new: &NewSlots) -> NodeNames<'a> {
        let routes = document.policy.routes.iter().map(|route| route.name.as_str());
        let route = |name: &'a str| Some((name, slots.route(name).or_else(|| new.route(name))?));
        let interface = |name: &'a str| Some((name, slots.interface(name).or_else(|| new.interface(name))?));
        NodeNames {
            routes: routes.filter_map(route).collect(),
            interfaces: document.interfaces().filter_map(interface).collect(),
        }
    }
}

impl Names for NodeNames<'_> {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        self.interfaces.get(name).copied()
    }

    fn counter_slot(&self, route: &str) -> u32 {
        // Every route of the document has one.
        self.routes.get(route).copied().unwrap_or(COUNTER_DEFAULT)
    }
}

impl Governor {
    /// Makes a change live.
    ///
    /// # Errors
    /// Where it is refused or fails; nothing has changed then.
    pub fn change(&self, change: Change, terms: Terms) -> Result<ApplyReport, GovernError> {
        let start = Instant::now();
        let mut timing = Timing::default();
        let pending = match change {
            Change::Document { text, source } => Pending::Read(Box::new(read(&text, &source)?)),
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
            let compiled = self.compile(&candidate.document, &mut timing)?;
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
    pub fn check(&self, text: &str, source: &str) -> Result<CheckReport, GovernError> {
        let start = Instant::now();
        let mut timing = Timing::default();
        let mut candidate = read(text, source)?;
        timing.parse_us = micros(start);
        let compiled = self.compile(&candidate.document, &mut timing)?;
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
    pub fn diff(&self, text: &str, source: &str) -> Result<DiffReport, GovernError> {
        let mut candidate = read(text, source)?;
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
        let change = Change::Document { text: record.text, source: record.source };
        self.change(change, Terms::default()).map(|report| report.generation)
    }

    fn compile(&self, document: &Document, timing: &mut Timing) -> Result<Compiled, GovernError> {
        let start = Instant::now();
        let routes = document.policy.routes.iter().map(|route| route.name.as_str());
        // Not held while compiling, which may take long.
        let (names, new_slots) = {
            let slots = self.slots();
            let new = slots.plan(routes, document.interfaces())?;
            (NodeNames::of(document, &slots, &new), new)
        };
        let image = compile(&document.policy, &names).map_err(GovernError::Compile)?;
        timing.compile_us = micros(start);
        Ok(Compiled { image, new_slots })
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

/// Reads a document, warnings included.
fn read(text: &str, source: &str) -> Result<Candidate, GovernError> {
    let (policy, diagnostics) = policy::check(source, text);
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
