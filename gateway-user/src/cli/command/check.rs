//! `gateway policy check`: everything that can be said of a policy without a daemon.

use super::super::args::{Format, PolicyFileArgs};
use super::super::{CliError, output, render};
use super::policy::read;
use crate::compile::{CompileError, Image, LabelTable, Names, PoolTables, Surroundings, compile};
use crate::policy::{self, Action, Diagnostics, Folder, LabelFiles, Policy};
use gateway_common::abi::{COUNTER_FIRST_ROUTE, Line, MAX_INTERFACES};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// Whether it would be accepted by a node that has its interfaces.
    pub valid: bool,
    /// Routes in it.
    pub routes: usize,
    /// What its compiled tables take, bytes; nothing where it does not compile.
    pub table_bytes: Option<usize>,
    /// Errors and warnings, with their places.
    pub diagnostics: Diagnostics,
    /// Why it does not compile.
    pub problems: Vec<String>,
}

/// Checks a policy file.
///
/// # Errors
/// A file that cannot be read, or a policy that is wrong.
pub fn run(args: &PolicyFileArgs) -> Result<(), CliError> {
    let (source, text) = read(&args.file)?;
    // Label files are found from where the policy's file is.
    let folder = Folder(args.file.parent().unwrap_or(Path::new("")).to_owned());
    let findings = check(&source, &text, &folder);
    let format = args.output.output;
    let tables = matches!(format, Format::Table | Format::Wide);
    if findings.valid || !tables {
        if tables && !findings.diagnostics.is_empty() {
            output::complain(&findings.diagnostics.render(output::colour_errors()));
        }
        output::show(format, &findings, |_| render::policy::checked(&findings))?;
    }
    if findings.valid {
        return Ok(());
    }
    let rendered = if tables { findings.diagnostics.render(output::colour_errors()) } else { String::new() };
    Err(CliError::Policy { message: message(&source, &findings), rendered })
}

/// What an invalid policy is refused for, in a line, or a line for each reason that it cannot compile.
fn message(source: &str, findings: &Findings) -> String {
    if findings.problems.is_empty() {
        return format!("{source} is not a policy");
    }
    format!("{source} does not compile: {}", findings.problems.join("\n"))
}

/// Reads and compiles a policy, as a node that has all its interfaces would.
fn check(source: &str, text: &str, files: &dyn LabelFiles) -> Findings {
    let (policy, diagnostics) = policy::check_with(source, text, files);
    let Some(policy) = policy else {
        return Findings { valid: false, routes: 0, table_bytes: None, diagnostics, problems: Vec::new() };
    };
    let names = match AnyNode::new(&policy) {
        Ok(names) => names,
        Err(problem) => return refused(&policy, diagnostics, vec![problem]),
    };
    match compiled(&policy, &names) {
        Ok(image) => Findings {
            valid: true,
            routes: policy.routes.len(),
            table_bytes: Some(image.lines() * size_of::<Line>()),
            diagnostics,
            problems: Vec::new(),
        },
        Err(error) => refused(&policy, diagnostics, error.problems.iter().map(ToString::to_string).collect()),
    }
}

/// Compiles for a node where no label has live members. Which clock its limits run by does not matter to
/// whether they compile.
fn compiled(policy: &Policy, names: &AnyNode<'_>) -> Result<Image, CompileError> {
    let labels = LabelTable::build(&policy.labels)?;
    let pools = PoolTables::default();
    let surroundings =
        Surroundings { names, labels: &labels, live_sets: &[], pools: &pools, ns_per_jiffy: 4_000_000 };
    compile(policy, &surroundings)
}

fn refused(policy: &Policy, diagnostics: Diagnostics, problems: Vec<String>) -> Findings {
    Findings { valid: false, routes: policy.routes.len(), table_bytes: None, diagnostics, problems }
}

/// A node that has every interface that a policy names, and a way to every target.
struct AnyNode<'p> {
    slots: BTreeMap<&'p str, u8>,
}

impl<'p> AnyNode<'p> {
    fn new(policy: &'p Policy) -> Result<AnyNode<'p>, String> {
        let mut slots = BTreeMap::new();
        for route in &policy.routes {
            let target = match &route.action {
                Action::Redirect { interface } => Some(interface),
                Action::Pass | Action::Drop | Action::Tx | Action::Pool { .. } | Action::Proxy { .. } => None,
            };
            let not = route.matches.not.iter().filter_map(|not| not.interface.as_ref());
            for name in route.matches.interface.iter().chain(not).flatten().chain(target) {
                slots.entry(name.as_str()).or_insert(0);
            }
        }
        let count = slots.len();
        for (number, slot) in slots.values_mut().enumerate() {
            *slot = u8::try_from(number + 1).map_err(|_| {
                format!("the policy names {count} interfaces, and {} is the most", MAX_INTERFACES - 1)
            })?;
        }
        Ok(AnyNode { slots })
    }
}

impl Names for AnyNode<'_> {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        self.slots.get(name).copied()
    }

    /// Which slot a route counts in does not matter to whether it compiles.
    fn counter_slot(&self, _: &str) -> u32 {
        COUNTER_FIRST_ROUTE
    }

    /// Nor which one a limit has.
    fn limit_slot(&self, _: &str) -> u32 {
        1
    }

    /// Nor a target.
    fn target_slot(&self, _: &str) -> u32 {
        1
    }

    /// Nor which address of this node a target would see, if it has one.
    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        Some(target)
    }

    /// Without live members no label is asked for by its number.
    fn label_number(&self, _: &str) -> u32 {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::NoFiles;

    #[test]
    fn a_right_policy() {
        let text = "version: 1\nroutes:\n- {name: web, match: {interface: eth0, port: 80}, action: {redirect: eth1}}\n";
        let findings = check("p", text, &NoFiles);
        assert!(findings.valid && findings.diagnostics.is_empty(), "{findings:?}");
        assert_eq!(findings.routes, 1);
        assert!(findings.table_bytes.is_some_and(|bytes| bytes >= 1024), "{findings:?}");
    }

    #[test]
    fn all_errors_at_once() {
        let text = "version: 1\nrouts: []\nroutes:\n- {name: web, match: {port: 99999}, action: fly}\n";
        let findings = check("p", text, &NoFiles);
        assert!(!findings.valid);
        assert_eq!(findings.diagnostics.errors(), 3, "{:?}", findings.diagnostics);
    }

    #[test]
    fn hidden_routes_are_warned_of() {
        let text = "version: 1\nroutes:\n- {name: all, action: pass}\n- {name: web, match: {port: 80}, action: drop}\n";
        let findings = check("p", text, &NoFiles);
        assert!(findings.valid);
        assert_eq!(findings.diagnostics.warnings(), 1);
    }

    #[test]
    fn more_interfaces_than_a_node_can_have() {
        let mut text = "version: 1\nroutes:\n".to_owned();
        for i in 0..256 {
            text.push_str(&format!("- {{name: r{i}, match: {{interface: eth{i}}}, action: pass}}\n"));
        }
        assert_eq!(
            check("p", &text, &NoFiles).problems,
            ["the policy names 256 interfaces, and 255 is the most"]
        );
    }

    /// Those that are shipped, the files of their labels included.
    #[test]
    fn the_examples_are_right() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path).unwrap();
                let findings = check(&path.display().to_string(), &text, &Folder(folder.clone()));
                assert!(findings.valid, "{findings:?}");
                assert!(findings.diagnostics.is_empty(), "{}", findings.diagnostics.render(false));
                count += 1;
            }
        }
        assert!(count >= 4, "{count} examples");
    }
}
