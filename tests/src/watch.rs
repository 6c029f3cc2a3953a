//! What arrives where, counted by nftables: an observer that has nothing to do with the governor.

use crate::netns::{Namespace, run};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Counters on one link's ingress, behind tc.
#[derive(Debug)]
pub struct Watch<'a> {
    namespace: &'a Namespace,
    table: String,
}

impl<'a> Watch<'a> {
    /// Counts what each expression of nft matches on the link; `all` counts every frame.
    ///
    /// # Errors
    /// If nft refuses.
    pub fn new(namespace: &'a Namespace, link: &str, rules: &[(&str, &str)]) -> Result<Watch<'a>> {
        let table = format!("watch_{link}");
        let mut script = format!("table netdev {table} {{\n  counter c_all {{}}\n");
        for (name, _) in rules {
            script += &format!("  counter c_{name} {{}}\n");
        }
        script += &format!(
            "  chain arrivals {{\n    type filter hook ingress device \"{link}\" priority 0;\n    counter name c_all\n"
        );
        for (name, expression) in rules {
            script += &format!("    {expression} counter name c_{name}\n");
        }
        script += "  }\n}\n";
        namespace.command("nft", &[&script])?;
        Ok(Watch { namespace, table })
    }

    /// Packets of each counter.
    ///
    /// # Errors
    /// If nft fails.
    pub fn packets(&self) -> Result<BTreeMap<String, u64>> {
        let text = self
            .namespace
            .run(|| run("nft", &["--json", "list", "counters", "table", "netdev", &self.table]))?;
        let value: serde_json::Value = serde_json::from_str(&text)?;
        let entries = value["nftables"].as_array().context("nft gave no list")?;
        let counters = entries.iter().filter_map(|entry| entry.get("counter"));
        counters
            .map(|counter| {
                // The prefix keeps nft's own words from being names.
                let name = counter["name"].as_str().and_then(|name| name.strip_prefix("c_"));
                let name = name.context("a counter without a name")?;
                Ok((name.to_owned(), counter["packets"].as_u64().context("a counter without packets")?))
            })
            .collect()
    }
}

/// Asks again and again until `done` says so or time is up; the last answer either way.
///
/// # Errors
/// What `ask` fails with.
pub fn settle<T>(
    limit: Duration,
    mut ask: impl FnMut() -> Result<T>,
    done: impl Fn(&T) -> bool,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let answer = ask()?;
        if done(&answer) || start.elapsed() > limit {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
