//! Policies: what a change does, and differences.

use super::super::command::check::Findings;
use super::super::units::{bytes, date_time, duration_us};
use super::{count, names};
use crate::api::types::{ApplyReport, PolicyDiff, PolicyDocument};

/// What a change did, or would do.
#[must_use]
pub fn applied(report: &ApplyReport) -> String {
    if !report.changed {
        return format!("unchanged: generation {} is this policy already\n", report.generation);
    }
    let mut text = if report.dry_run {
        format!("would apply; generation {} stays\n", report.generation)
    } else {
        let timing = &report.timing;
        format!("generation {} is live, in {}\n", report.generation, duration_us(timing.total_us))
    };
    text.push_str(&changes(&report.diff));
    text
}

/// How long each step of a change took.
#[must_use]
pub fn timing(report: &ApplyReport) -> String {
    let timing = &report.timing;
    format!(
        "  read {}, compiled {}, made live {}, stored {}\n",
        duration_us(timing.parse_us),
        duration_us(timing.compile_us),
        duration_us(timing.apply_us),
        duration_us(timing.store_us),
    )
}

/// A line for each kind of difference; empty if there is none.
#[must_use]
pub fn changes(diff: &PolicyDiff) -> String {
    let mut text = String::new();
    for (sign, what, routes) in [
        ("+", "added", &diff.added),
        ("-", "removed", &diff.removed),
        ("~", "changed", &diff.changed),
        ("^", "moved", &diff.moved),
    ] {
        if !routes.is_empty() {
            text.push_str(&format!("  {sign} {} {what}: {}\n", count(routes.len(), "route"), names(routes)));
        }
    }
    if diff.settings_changed {
        text.push_str("  ~ default or malformed changed\n");
    }
    text
}

/// A difference: what changes, and the documents line by line.
#[must_use]
pub fn difference(diff: &PolicyDiff, generation: u32, colour: bool) -> String {
    let changes = changes(diff);
    if changes.is_empty() && diff.text.is_empty() {
        return format!("no difference from generation {generation}\n");
    }
    let mut text = match changes.as_str() {
        "" => format!("against generation {generation}: the same policy, written otherwise\n"),
        changes => format!("against generation {generation}:\n{changes}"),
    };
    if !diff.text.is_empty() {
        text.push('\n');
    }
    for line in diff.text.lines() {
        let escape = match line.as_bytes().first() {
            Some(b'+') if colour => "\x1b[32m",
            Some(b'-') if colour => "\x1b[31m",
            Some(b'@') if colour => "\x1b[36m",
            _ => "",
        };
        let end = if escape.is_empty() { "" } else { "\x1b[0m" };
        text.push_str(&format!("{escape}{line}{end}\n"));
    }
    text
}

/// What is said of a document that is right.
#[must_use]
pub fn checked(findings: &Findings) -> String {
    let warnings = match findings.diagnostics.warnings() {
        0 => String::new(),
        n => format!(", {}", count(n, "warning")),
    };
    let tables = findings.table_bytes.unwrap_or_default() as u64;
    format!("ok: {}{warnings}; tables of {}\n", count(findings.routes, "route"), bytes(tables, false))
}

/// The document itself; wide has a head that tells where it comes from.
#[must_use]
pub fn document(document: &PolicyDocument, wide: bool) -> String {
    let mut text = String::new();
    if wide {
        let summary = &document.summary;
        text.push_str(&format!(
            "# generation {} from {}, applied {}, {}\n",
            summary.generation,
            summary.source,
            date_time(summary.applied_at_unix_secs),
            count(summary.routes as usize, "route"),
        ));
    }
    text.push_str(&document.text);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Timing;

    fn report() -> ApplyReport {
        ApplyReport {
            generation: 43,
            digest: "d".into(),
            changed: true,
            dry_run: false,
            diff: PolicyDiff {
                added: (0..12).map(|i| format!("r{i}")).collect(),
                removed: vec!["old".into()],
                changed: vec!["web".into(), "dns".into()],
                moved: vec![],
                settings_changed: true,
                text: String::new(),
            },
            warnings: vec![],
            rendered: String::new(),
            timing: Timing { parse_us: 900, compile_us: 1_500, apply_us: 85, store_us: 640, total_us: 3_140 },
        }
    }

    #[test]
    fn a_change() {
        let changes = "  + 12 routes added: r0, r1, r2, r3, r4, r5, r6, r7, and 4 more
  - 1 route removed: old
  ~ 2 routes changed: web, dns
  ~ default or malformed changed
";
        assert_eq!(applied(&report()), format!("generation 43 is live, in 3.1 ms\n{changes}"));
        assert_eq!(timing(&report()), "  read 900 µs, compiled 1.5 ms, made live 85 µs, stored 640 µs\n");
        let dry = ApplyReport { dry_run: true, generation: 42, ..report() };
        assert_eq!(applied(&dry), format!("would apply; generation 42 stays\n{changes}"));
        let same = ApplyReport { changed: false, diff: PolicyDiff::default(), ..report() };
        assert_eq!(applied(&same), "unchanged: generation 43 is this policy already\n");
    }

    #[test]
    fn a_difference() {
        let diff = PolicyDiff {
            moved: vec!["web".into()],
            text: "@@ -1 +1 @@\n-default: pass\n+default: drop\n".into(),
            ..PolicyDiff::default()
        };
        assert_eq!(
            difference(&diff, 42, false),
            "against generation 42:
  ^ 1 route moved: web

@@ -1 +1 @@
-default: pass
+default: drop
"
        );
        assert!(difference(&diff, 42, true).contains("\x1b[31m-default: pass\x1b[0m\n"));
        assert_eq!(difference(&PolicyDiff::default(), 42, false), "no difference from generation 42\n");
    }
}
