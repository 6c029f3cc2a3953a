//! `cargo xtask test`: everything that must hold, and a summary.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::shell::{self, cargo};
use crate::{build, environment, lint, setup, signals, vm};

/// Where tests leave `<name>.txt` files with lines `key value`, which the summary repeats.
const REPORT_VARIABLE: &str = "GATEWAY_REPORT_DIR";

/// What the tests must report, in sum, and at least how much of it.
const MINIMUMS: [(&str, u64); 2] = [("golden_packets", 80), ("policy_pairs", 20_000)];

/// A test that hangs must not take the summary with it.
const TESTS_TIMEOUT: Duration = Duration::from_secs(25 * 60);

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
    signals::catch()?;
    environment::tell();
    environment::require_space()?;
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
        step("numbers", || check_reports(&report)),
        step("vm", vm::check),
    ];
    summary(&steps, &report)
}

fn step(name: &'static str, work: impl FnOnce() -> Result<String>) -> Step {
    let start = Instant::now();
    let result = signals::check().and_then(|()| work());
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
        .stdout(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().context("cannot start cargo")?;
    let ended = end_in_time(&child)?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut totals = Totals::default();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        totals.add(&line);
    }
    let status = child.wait()?;
    drop(ended);
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

/// Ends the tests when they take too long, or when this program is told to end: they are in a group
/// of their own, since cargo alone would leave them running. They are over when the sender is
/// dropped.
fn end_in_time(child: &Child) -> Result<mpsc::Sender<()>> {
    let group = Pid::from_raw(i32::try_from(child.id()).context("no process id")?);
    let deadline = Instant::now() + TESTS_TIMEOUT;
    let (ended, waiting) = mpsc::channel();
    thread::spawn(move || {
        while waiting.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
            if signals::check().is_err() || Instant::now() > deadline {
                eprintln!("the tests are ended, after at most {} s", TESTS_TIMEOUT.as_secs());
                if let Err(error) = killpg(group, Signal::SIGKILL) {
                    eprintln!("cannot end the tests: {error}");
                }
                return;
            }
        }
    });
    Ok(ended)
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
    for (name, pairs) in reports(report)? {
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {value}")).collect();
        println!("{:>10}  {name}: {}", "", pairs.join(", "));
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

/// What the tests reported: lines `key value`, by the name of their file.
fn reports(folder: &Path) -> Result<BTreeMap<String, Vec<(String, String)>>> {
    let mut reports = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".txt")) else {
            continue;
        };
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        reports.insert(name.to_owned(), pairs.map(|(key, value)| (key.into(), value.into())).collect());
    }
    Ok(reports)
}

/// That the tests did as much as they should: less of it would pass as well, in silence.
fn check_reports(folder: &Path) -> Result<String> {
    let reports = reports(folder)?;
    let mut sums = Vec::new();
    for (key, minimum) in MINIMUMS {
        let values = reports.values().flatten().filter(|(reported, _)| reported == key);
        let sum: u64 = values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum();
        if sum < minimum {
            bail!("{key}: {sum} were reported, and at least {minimum} are asked for");
        }
        sums.push(format!("{key} {sum}"));
    }
    Ok(sums.join(", "))
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
