//! The demo's verdict: nft's counts and the kernel program's, held against each other.

use anyhow::{Context, Result};
use serde_json::Value;

use super::ledger::{Expected, Ledger, Place, expected};

/// One route's line.
pub struct Row {
    cells: [String; 5],
    /// Whether all counts agree.
    pub agrees: bool,
}

/// A line for each route; `routes` is what `gateway route list -o json` answers.
pub fn rows(ledger: &Ledger, routes: &Value) -> Result<Vec<Row>> {
    expected().map(|expected| Ok(row(expected, ledger, counted(routes, expected.route)?))).collect()
}

fn counted(routes: &Value, name: &str) -> Result<u64> {
    let counts = if name == "default" {
        Some(&routes["others"]["default"])
    } else {
        let list = routes["routes"].as_array().context("`route list` names no routes")?;
        list.iter().find(|route| route["name"] == name)
    };
    let packets = counts.and_then(|counts| counts["packets"].as_u64());
    packets.with_context(|| format!("`route list` has no packets for {name}"))
}

fn row(expected: &Expected, ledger: &Ledger, kernel: u64) -> Row {
    let route = expected.route;
    let sent = ledger.sent(route);
    let (marked, mismarked) = (ledger.marked(route), ledger.mismarked(route));
    let stack = match expected.stack_mark {
        _ if mismarked > 0 => format!("{marked} as expected, {mismarked} with another mark"),
        Some(0) => format!("{marked} unmarked"),
        Some(mark) => format!("{marked} with mark {mark:#x}"),
        None if marked == 0 => "-".into(),
        None => format!("{marked}"),
    };
    let (mut arrived, mut elsewhere, mut places) = (0, 0, Vec::new());
    for place in Place::ALL {
        let packets = ledger.arrived(route, place);
        if expected.arrives.contains(&place) {
            arrived += packets;
        } else {
            elsewhere += packets;
        }
        if packets > 0 {
            places.push(format!("{packets} at {}", place.name()));
        }
    }
    if places.is_empty() {
        places.push("nowhere".into());
    }
    let stack_expected = if expected.stack_mark.is_some() { sent } else { 0 };
    let arrival_expected = if expected.arrives.is_empty() { 0 } else { sent };
    let agrees = sent > 0
        && kernel == sent
        && (marked, mismarked) == (stack_expected, 0)
        && (arrived, elsewhere) == (arrival_expected, 0);
    Row { cells: [route.into(), sent.to_string(), kernel.to_string(), stack, places.join(", ")], agrees }
}

/// Prints the lines as a table.
pub fn print(rows: &[Row]) {
    let head = ["route", "sent", "counted by gateway", "in the gateway's stack", "arrived"];
    let width = |column: usize| {
        rows.iter().map(|row| row.cells[column].len()).chain([head[column].len()]).max().unwrap_or_default()
    };
    let line = |cells: &[&str], verdict: &str| {
        let cells: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(column, cell)| {
                let width = width(column);
                if matches!(column, 1 | 2) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            })
            .collect();
        println!("  {}  {verdict}", cells.join("  "));
    };
    line(&head, "");
    for row in rows {
        let cells: Vec<&str> = row.cells.iter().map(String::as_str).collect();
        line(&cells, if row.agrees { "agree" } else { "DIFFER" });
    }
}
