//! Random policies and packets: kernel and reference model must agree on everything, at both hooks.

use anyhow::{Result, ensure};
use gateway_common::abi::Hook;
use gateway_tests::compare::{FORWARDED, OPENED, RETURNED, run};
use gateway_tests::random::seed;
use gateway_tests::report::report;

/// Pairs of a policy and a packet that each hook compares in a run.
const PAIRS: usize = 20_000;

fn at(hook: Hook) -> Result<()> {
    let seed = seed();
    let name = format!("random_{}", hook.name());
    report(&name, "seed", format!("{seed:#x}"));
    let compared = run(hook, seed, PAIRS)?;
    for failure in compared.failures.iter().filter(|failure| !failure.is_empty()) {
        println!("{failure}");
    }
    for (kind, count) in &compared.met {
        println!("{name}: {count} {kind}");
    }
    report(&name, "policy_pairs", compared.pairs);
    report(&name, "policies", compared.policies);
    report(&name, "policies_refused", compared.refused);
    report(&name, "pairs_under_limits", compared.limited);
    report(&name, "pairs_with_two_answers", compared.hung);
    report(&name, "pairs_with_the_second_answer", compared.hung_refused);
    report(&name, "outcomes_met", compared.met.len());
    let failures = compared.failures.len();
    ensure!(
        failures == 0,
        "{failures} policies with a pair that differs; GATEWAY_SEED={seed:#x} repeats this run"
    );
    // A comparison that hardly meets a limit, or where anything is right, would show nothing.
    ensure!(compared.limited * 20 > compared.pairs, "{} pairs under limits", compared.limited);
    for way in [OPENED, FORWARDED, RETURNED] {
        let met = compared.met.get(way).copied().unwrap_or(0);
        ensure!(met * 80 > compared.pairs, "{met} pairs: {way}");
    }
    ensure!(compared.hung * 10 < compared.limited, "{} pairs had two answers", compared.hung);
    Ok(())
}

#[test]
fn kernel_and_model_agree_at_xdp() -> Result<()> {
    at(Hook::Xdp)
}

#[test]
fn kernel_and_model_agree_at_tc() -> Result<()> {
    at(Hook::TcIngress)
}
