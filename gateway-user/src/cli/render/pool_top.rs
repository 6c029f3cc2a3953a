//! Targets as they are watched.

use super::super::output::Columns;
use super::super::target_rates::{RatedTarget, TargetTop};
use super::super::units::{bit_rate, duration_us, packet_rate};
use super::count;

/// Lines of a look that are neither targets nor panics: the totals, an empty one, the heads, and the cursor's.
pub const OTHER_LINES: usize = 4;

/// A look: at most so many targets, and where that is not all, those that are not up before others.
#[must_use]
pub fn top(top: &TargetTop, limit: usize) -> String {
    let up = top.targets.iter().filter(|target| target.up).count();
    let mut text = format!("{}, {up} up", count(top.targets.len(), "target"));
    if top.targets.len() > limit {
        text.push_str(&format!(", {limit} shown"));
    }
    text.push('\n');
    for pool in &top.panics {
        text.push_str(&format!("panic in {pool}: all of its targets are used\n"));
    }
    text.push('\n');
    let mut shown: Vec<&RatedTarget> = top.targets.iter().collect();
    if shown.len() > limit {
        shown.sort_by_key(|target| target.up);
        shown.truncate(limit);
    }
    let mut columns = Columns::new(&[
        "TARGET",
        "STATE",
        ">WEIGHT",
        ">OPEN",
        ">NEW/S",
        ">PACKET RATE",
        ">BIT RATE",
        ">HANDSHAKE",
        ">UNANSWERED/S",
        ">RESETS/S",
        ">RETRANSMITTED/S",
    ]);
    for target in shown {
        columns.row(cells(target));
    }
    text + &columns.text()
}

fn cells(target: &RatedTarget) -> Vec<String> {
    let none = || "-".to_owned();
    let rate = |per_sec: Option<f64>| per_sec.map_or_else(none, |per_sec| format!("{per_sec:.1}"));
    vec![
        target.target.clone(),
        target.state.clone(),
        weight(target.weight),
        target.connections_open.map_or_else(none, |open| open.to_string()),
        rate(target.connections_per_sec),
        packet_rate(target.packets_per_sec),
        bit_rate(target.bytes_per_sec),
        target.handshake_p50_us.map_or_else(none, |us| format!("<{}", duration_us(us))),
        rate(target.unanswered_per_sec),
        rate(target.resets_per_sec),
        rate(target.retransmissions_per_sec),
    ]
}

/// Whole, or to a tenth.
fn weight(weight: f64) -> String {
    if weight.fract() == 0.0 { format!("{weight:.0}") } else { format!("{weight:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, up: bool) -> RatedTarget {
        RatedTarget {
            target: name.into(),
            state: if up { "up" } else { "half_open" }.into(),
            up,
            weight: if up { 100.0 } else { 4.98 },
            connections_open: up.then_some(12),
            connections_per_sec: Some(2.0),
            packets_per_sec: 105_000.0,
            bytes_per_sec: 1e6,
            handshake_p50_us: up.then_some(263),
            unanswered_per_sec: Some(0.0),
            resets_per_sec: Some(1.5),
            retransmissions_per_sec: None,
        }
    }

    #[test]
    fn a_look() {
        let look = TargetTop {
            panics: vec!["web".into()],
            targets: vec![target("web/v1", true), target("web/v2", false)],
        };
        let text = "\
2 targets, 1 up
panic in web: all of its targets are used

TARGET  STATE      WEIGHT  OPEN  NEW/S  PACKET RATE     BIT RATE  HANDSHAKE  UNANSWERED/S  RESETS/S  RETRANSMITTED/S
web/v1  up            100    12    2.0     105 kpps  8.00 Mbit/s    <263 µs           0.0       1.5                -
web/v2  half_open     5.0     -    2.0     105 kpps  8.00 Mbit/s          -           0.0       1.5                -
";
        assert_eq!(top(&look, usize::MAX), text);
        let one = top(&look, 1);
        assert!(
            one.starts_with("2 targets, 1 up, 1 shown\n")
                && one.contains("web/v2")
                && !one.contains("web/v1")
        );
    }
}
