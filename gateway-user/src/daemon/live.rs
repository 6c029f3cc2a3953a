//! The live policy as the daemon knows it, and the marks that tell policies apart.

use crate::api::types::{PolicyDocument, PolicySummary};
use crate::policy::{self, Policy};
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

    /// Names of the interfaces that the policy matches on or redirects to.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let matched = self.policy.routes.iter().filter_map(|route| route.matches.interface.as_ref());
        matched.flatten().map(String::as_str).chain(self.targets())
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
