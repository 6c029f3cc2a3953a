//! The live policy as the daemon knows it, and the marks that tell policies apart.

use super::targets::Changes;
use crate::api::types::{PolicyDocument, PolicySummary};
use crate::compile::{LabelTable, PoolTables};
use crate::policy::{self, Label, Policy};
use ipnet::IpNet;
use std::fmt::Write;
use std::sync::Arc;

/// The live policy.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its generation.
    pub generation: u32,
    /// See [`policy::digest`].
    pub digest: [u64; 4],
    /// Where it came from.
    pub source: String,
    /// When it went live, seconds since the Unix epoch.
    pub applied_at_unix_secs: u64,
    /// How many routes it has.
    pub routes: u32,
    /// What it says; nothing if it was found in the kernel and the store does not know it.
    pub document: Option<Arc<Document>>,
    /// Its labels, compiled; nothing while they were not needed since the daemon started.
    pub labels: Option<Arc<LabelTable>>,
    /// The sets of labels that live members may give to one source, which it is compiled for: sorted
    /// names.
    pub live_sets: Vec<Vec<String>>,
    /// The tables of its pools; nothing while they were not needed since the daemon started.
    pub pools: Option<Arc<PoolTables>>,
    /// What holds of its targets in the place of what it says.
    pub changes: Changes,
}

/// A policy's text and meaning.
#[derive(Clone, Debug)]
pub struct Document {
    /// As it was given.
    pub text: String,
    /// As [`policy::to_yaml`] writes it.
    pub canonical: String,
    /// What it means.
    pub policy: Policy,
}

impl Document {
    /// The document of a policy that nobody wrote.
    #[must_use]
    pub fn canonical(policy: Policy) -> Document {
        let canonical = policy::to_yaml(&policy);
        Document { text: canonical.clone(), canonical, policy }
    }

    /// The document with this text and meaning.
    #[must_use]
    pub fn new(text: String, policy: Policy) -> Document {
        let canonical = policy::to_yaml(&policy);
        Document { text, canonical, policy }
    }

    /// Names of the interfaces that the policy matches on, `not` included, or redirects to.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let matches = self.policy.routes.iter().map(|route| &route.matches);
        let matched = matches.flat_map(|matches| std::iter::once(matches).chain(matches.not.as_deref()));
        matched
            .filter_map(|matches| matches.interface.as_ref())
            .flatten()
            .map(String::as_str)
            .chain(self.targets())
    }

    /// Names of the interfaces that the policy redirects to.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.policy.routes.iter().filter_map(|route| match &route.action {
            policy::Action::Redirect { interface } => Some(interface.as_str()),
            _ => None,
        })
    }
}

impl Live {
    /// A label that it names.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&Label> {
        self.document.as_ref()?.policy.labels.get(name)
    }

    /// Whether it judges sources right that carry these sets of labels by live members, which are these
    /// (prefix and label). Labels that it does not name make no difference to it.
    #[must_use]
    pub fn is_compiled_for<'s>(
        &self,
        sets: impl IntoIterator<Item = &'s Vec<String>>,
        members: impl IntoIterator<Item = (IpNet, &'s str)>,
    ) -> bool {
        let mut alone = Vec::new();
        let known = sets.into_iter().all(|set| {
            let mine: Vec<&String> = set.iter().filter(|label| self.label(label).is_some()).collect();
            let covers = |known: &Vec<String>| mine.iter().all(|label| known.contains(label));
            if mine.is_empty() || self.live_sets.iter().any(covers) {
                return true;
            }
            alone.extend(mine.first().map(|label| label.as_str()));
            mine.len() == 1
        });
        // For a label alone it always is, but only where no prefix of the policy gives another one.
        let clear = |table: &LabelTable| {
            let mut of_these = members.into_iter().filter(|(_, label)| alone.contains(label));
            of_these.all(|(prefix, _)| table.is_clear_of(&prefix))
        };
        known && (alone.is_empty() || self.labels.as_deref().is_some_and(clear))
    }

    /// For status.
    #[must_use]
    pub fn summary(&self) -> PolicySummary {
        let default = self.document.as_ref().map_or("unknown", |document| match document.policy.default {
            policy::Default::Pass => "pass",
            policy::Default::Drop => "drop",
        });
        PolicySummary {
            generation: self.generation,
            digest: digest_text(&self.digest),
            source: self.source.clone(),
            applied_at_unix_secs: self.applied_at_unix_secs,
            routes: self.routes,
            default: default.to_owned(),
        }
    }

    /// With its text, if that is known.
    #[must_use]
    pub fn with_text(&self) -> Option<PolicyDocument> {
        let document = self.document.as_ref()?;
        Some(PolicyDocument { summary: self.summary(), text: document.text.clone() })
    }
}

/// A digest, hexadecimal.
#[must_use]
pub fn digest_text(digest: &[u64; 4]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, word| {
        let _ = write!(text, "{word:016x}"); // writing to a String does not fail
        text
    })
}
