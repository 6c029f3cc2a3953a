//! Labels.

use super::super::output::Columns;
use super::super::units::{date_time, duration_us, grouped, number, span};
use super::count;
use crate::api::types::{LabelInfo, LabelList, LabelMember, LabelSummary, MemberReport};

/// All labels.
#[must_use]
pub fn list(list: &LabelList, wide: bool) -> String {
    let mut columns = Columns::new(&["NAME", ">PREFIXES", ">LIVE MEMBERS", "FROM"]);
    for label in &list.labels {
        columns.row(vec![
            label.name.clone(),
            number(label.prefixes, wide),
            number(label.members, wide),
            origin(label),
        ]);
    }
    columns.text()
}

/// Where a label's prefixes are from.
fn origin(label: &LabelSummary) -> String {
    match (&label.file, label.in_policy) {
        (Some(file), _) => file.clone(),
        (None, true) => "policy".to_owned(),
        (None, false) => "live only: the policy does not name it".to_owned(),
    }
}

/// One label: in short, then its first prefixes and live members.
#[must_use]
pub fn one(info: &LabelInfo, exact: bool) -> String {
    let label = &info.label;
    let mut text = String::new();
    for (key, value) in [
        ("name", label.name.clone()),
        ("from", origin(label)),
        ("prefixes", grouped(label.prefixes)),
        ("live members", grouped(label.members)),
    ] {
        text.push_str(&format!("{key:<14}{value}\n"));
    }
    if !info.first_members.is_empty() {
        let mut columns = Columns::new(&["LIVE MEMBER", ">ENDS IN", "SINCE"]);
        for member in &info.first_members {
            columns.row(vec![
                member.prefix.clone(),
                ends_in(member, exact),
                date_time(member.since_unix_secs),
            ]);
        }
        text.push_str(&format!("\n{}", columns.text()));
        text.push_str(&more(label.members, info.first_members.len()));
    }
    if !info.first_prefixes.is_empty() {
        text.push_str("\nPREFIX\n");
        for prefix in &info.first_prefixes {
            text.push_str(&format!("{prefix}\n"));
        }
        text.push_str(&more(label.prefixes, info.first_prefixes.len()));
    }
    text
}

fn ends_in(member: &LabelMember, exact: bool) -> String {
    match member.remaining_secs {
        None => "never".to_owned(),
        Some(secs) if exact => format!("{secs}s"),
        Some(secs) => span(secs),
    }
}

/// What is left out.
fn more(all: u64, shown: usize) -> String {
    match all.saturating_sub(shown as u64) {
        0 => String::new(),
        more => format!("and {} more: --limit {}\n", grouped(more), all.min(100_000)),
    }
}

/// What a change of live members did.
#[must_use]
pub fn changed(report: &MemberReport, wide: bool) -> String {
    let mut parts = Vec::new();
    for (members, what) in [
        (report.added, "added"),
        (report.replaced, "given another time to live"),
        (report.removed, "deleted"),
    ] {
        if members > 0 {
            parts.push(format!("{} {what}", count(members as usize, "live member")));
        }
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    let mut text =
        format!("{}: {}; it has {} now\n", report.label, parts.join(", "), grouped(report.members));
    if wide {
        text.push_str(&format!("  generation {}, in {}\n", report.generation, duration_us(report.total_us)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(name: &str, in_policy: bool, file: Option<&str>, prefixes: u64, members: u64) -> LabelSummary {
        LabelSummary { name: name.into(), in_policy, file: file.map(str::to_owned), prefixes, members }
    }

    #[test]
    fn a_list() {
        let all = LabelList {
            generation: 3,
            labels: vec![
                summary("blocked", true, Some("blocked.txt"), 1_000_000, 12),
                summary("gone", false, None, 0, 1),
                summary("staging", true, None, 2, 0),
            ],
        };
        assert_eq!(
            list(&all, false),
            "\
NAME     PREFIXES  LIVE MEMBERS  FROM
blocked     1.00M            12  blocked.txt
gone            0             1  live only: the policy does not name it
staging         2             0  policy
"
        );
        assert!(list(&all, true).contains("blocked   1000000"));
    }

    #[test]
    fn one_label() {
        let member = |prefix: &str, remaining_secs| LabelMember {
            prefix: prefix.to_owned(),
            since_unix_secs: 1_795_237_822,
            expires_at_unix_ms: None,
            remaining_secs,
        };
        let info = LabelInfo {
            label: summary("blocked", true, None, 1_002, 2),
            first_prefixes: vec!["10.0.0.0/8".into(), "2001:db8::/32".into()],
            first_members: vec![member("192.0.2.1/32", Some(601)), member("198.51.100.0/24", None)],
        };
        assert_eq!(
            one(&info, false),
            "\
name          blocked
from          policy
prefixes      1,002
live members  2

LIVE MEMBER      ENDS IN  SINCE
192.0.2.1/32      10m 1s  2026-11-21 05:10:22 UTC
198.51.100.0/24    never  2026-11-21 05:10:22 UTC

PREFIX
10.0.0.0/8
2001:db8::/32
and 1,000 more: --limit 1002
"
        );
        assert!(one(&info, true).contains("192.0.2.1/32        601s"), "{}", one(&info, true));
    }

    #[test]
    fn a_change() {
        let report = MemberReport {
            label: "blocked".into(),
            generation: 7,
            added: 1,
            replaced: 2,
            members: 1_203,
            total_us: 850,
            ..Default::default()
        };
        assert_eq!(
            changed(&report, false),
            "blocked: 1 live member added, 2 live members given another time to live; it has 1,203 now\n"
        );
        assert!(changed(&report, true).ends_with("\n  generation 7, in 850 µs\n"));
        let nothing = MemberReport { label: "blocked".into(), ..Default::default() };
        assert_eq!(changed(&nothing, false), "blocked: nothing to do; it has 0 now\n");
    }
}
