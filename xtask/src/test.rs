//! `cargo xtask test`: everything that must hold, and a summary.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo};
use crate::{build, lint, setup, vm};

/// Where tests leave `<name>.txt` files with lines `key value`, which the summary repeats.
const REPORT_VARIABLE: &str = "GATEWAY_REPORT_DIR";

/// Sums over cargo's `test result:` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    binaries: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

struct Step {
    name: &'static str,
    result: Result<String>,
    took: Duration,
}

pub fn run() -> Result<()> {
    setup::run()?;
    let report = shell::target_folder("report")?;
    fs::remove_dir_all(&report)
        .and_then(|()| fs::create_dir(&report))
        .context("cannot empty the report folder")?;
    let steps = [
        step("build", || {
            let built = build::build(false)?;
            build::verify_object(&built)?;
            Ok(format!("object of {} bytes, the same from two folders", fs::metadata(&built.object)?.len()))
        }),
        step("lint", || lint::check().map(|()| "clean".into())),
        step("tests", || cargo_test(&report)),
        step("vm", vm::check),
    ];
    summary(&steps, &report)
}

fn step(name: &'static str, work: impl FnOnce() -> Result<String>) -> Step {
    let start = Instant::now();
    let result = work();
    if let Err(error) = &result {
        eprintln!("{name} FAILED: {error:#}");
    }
    Step { name, result, took: start.elapsed() }
}

/// All tests of the workspace. gateway-ebpf has none: it is tested as the object it becomes.
fn cargo_test(report: &Path) -> Result<String> {
    println!("== test");
    let mut command = cargo();
    command
        .args(["test", "--locked", "--workspace", "--exclude", "gateway-ebpf", "--no-fail-fast"])
        .env(REPORT_VARIABLE, report)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut totals = Totals::default();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        totals.add(&line);
    }
    let status = child.wait()?;
    let Totals { binaries, passed, failed, ignored } = totals;
    let counts = format!("{passed} passed, {failed} failed, {ignored} ignored, in {binaries} binaries");
    if !status.success() || failed > 0 {
        bail!("{counts}");
    }
    if ignored > 0 {
        bail!("{counts}: no test may be ignored");
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(counts)
}

impl Totals {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`; others count nothing.
    fn add(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result:") else { return };
        self.binaries += 1;
        let words: Vec<&str> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

fn summary(steps: &[Step], report: &Path) -> Result<()> {
    println!("\n== summary");
    for (key, value) in reports(report)? {
        println!("{:>10}  {key}: {value}", "");
    }
    for Step { name, result, took } in steps {
        let seconds = took.as_secs();
        match result {
            Ok(detail) => println!("{:>10}  {name} ({seconds} s): {detail}", "ok"),
            Err(error) => println!("{:>10}  {name} ({seconds} s): {error}", "FAILED"),
        }
    }
    let failed: Vec<&str> = steps.iter().filter(|step| step.result.is_err()).map(|step| step.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    println!("{:>10}  all", "ok");
    Ok(())
}

/// What the tests reported, by key.
fn reports(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut reports = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let pairs = text.lines().filter_map(|line| line.split_once(' '));
            reports.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_cargos_lines() {
        let mut totals = Totals::default();
        totals.add("test a::b ... ok");
        totals.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
        );
        totals.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(totals, Totals { binaries: 2, passed: 7, failed: 2, ignored: 1 });
    }
}
