//! What is told about a policy: the document's findings, and those that only this node can have.

use super::GovernError;
use super::live::Document;
use crate::api::types::{Diagnostic, Severity};
use crate::policy::{self, Action, Diagnostics};
use nix::net::if_::if_nametoindex;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Warnings about a policy that can go live.
#[derive(Debug)]
pub struct Findings {
    /// The document's own; nothing where it was made by a change of a route.
    document: Option<Diagnostics>,
    others: Vec<Diagnostic>,
}

impl Findings {
    /// What was found in a document.
    #[must_use]
    pub fn of_document(document: Diagnostics) -> Findings {
        Findings { document: Some(document), others: Vec::new() }
    }

    /// For a policy that has no document of its own.
    #[must_use]
    pub fn of_edit() -> Findings {
        Findings { document: None, others: Vec::new() }
    }

    /// All of them as text; empty if there are none.
    #[must_use]
    pub fn rendered(&self) -> String {
        let mut text = self.document.as_ref().map_or_else(String::new, |document| document.render(false));
        for item in &self.others {
            let help = item.help.as_deref().unwrap_or_default();
            let _ = writeln!(text, "warning: {}\n  help: {help}", item.message); // a String takes it
        }
        text
    }

    /// All of them.
    #[must_use]
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut all = self.document.as_ref().map_or_else(Vec::new, diagnostics);
        all.extend(self.others);
        all
    }

    fn warn(&mut self, message: String, help: &str) {
        self.others.push(Diagnostic {
            severity: Severity::Warning,
            message,
            file: String::new(),
            line: 0,
            column: 0,
            length: 0,
            help: Some(help.to_owned()),
        });
    }
}

/// Adds what this node can say: interfaces that are not there or not governed, and, where there is
/// no document, routes that can never match.
pub fn add_node_findings(findings: &mut Findings, document: &Document, governed: &[String]) {
    if findings.document.is_none() {
        for hidden in policy::shadowed(&document.policy) {
            let by = hidden.hidden_by.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message =
                format!("route `{}` can never match: all its packets go to {by} first", hidden.route);
            findings.warn(message, "move it in front of what hides it, or take it out");
        }
    }
    // The first route that names each of them.
    let mut absent: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ungoverned: BTreeMap<&str, &str> = BTreeMap::new();
    for route in &document.policy.routes {
        if let Action::Redirect { interface } = &route.action {
            absent.entry(interface).or_insert(&route.name);
        }
        for interface in route.matches.interface.iter().flatten() {
            if !governed.contains(interface) {
                ungoverned.entry(interface).or_insert(&route.name);
            }
        }
    }
    for (interface, route) in absent {
        if if_nametoindex(interface).is_err() {
            findings.warn(
                format!("route `{route}` redirects to `{interface}`, which is not there now"),
                "until it is there, those packets are dropped with reason redirect_target",
            );
        }
    }
    for (interface, route) in ungoverned {
        findings.warn(
            format!("route `{route}` names interface `{interface}`, which is not governed"),
            "nothing matches there until the daemon is told to govern it: --interface",
        );
    }
}

/// A document's findings in the API's words.
#[must_use]
pub fn diagnostics(found: &Diagnostics) -> Vec<Diagnostic> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    found
        .items()
        .iter()
        .map(|item| Diagnostic {
            severity: match item.severity {
                policy::Severity::Error => Severity::Error,
                policy::Severity::Warning => Severity::Warning,
            },
            message: item.message.clone(),
            file: item.file.clone(),
            line: number(item.line),
            column: number(item.column),
            length: number(item.length),
            help: Some(item.help.clone()).filter(|help| !help.is_empty()),
        })
        .collect()
}

/// The refusal of a document, a route or a change of one.
#[must_use]
pub fn invalid(what: &str, found: &Diagnostics) -> GovernError {
    GovernError::Invalid {
        what: what.to_owned(),
        errors: found.errors(),
        diagnostics: diagnostics(found),
        rendered: found.render(false),
    }
}
