//! Random policies and packets: kernel and reference model must agree on everything, at both hooks.

use anyhow::{Result, bail};
use gateway_common::abi::{Hook, Verdict};
use gateway_tests::check::{Expected, differences};
use gateway_tests::generate::{frame, policy};
use gateway_tests::model::judge;
use gateway_tests::object::Lab;
use gateway_tests::packet::show::describe;
use gateway_tests::random::{Random, seed};
use gateway_tests::report::report;
use gateway_tests::testrun::may_be_refused;
use gateway_user::policy::to_yaml;
use std::collections::BTreeMap;

/// Pairs of a policy and a packet that each hook compares in a run.
const PAIRS: usize = 20_000;
/// Packets under one policy.
const PACKETS: usize = 80;
/// Routes of a policy, at most.
const ROUTES: usize = 24;
/// Failures that are told in full.
const SHOWN: usize = 3;

fn at(hook: Hook) -> Result<()> {
    let seed = seed();
    let name = format!("random_{}", hook.name());
    report(&name, "seed", format!("{seed:#x}"));
    let mut random = Random::new(seed);
    let mut lab = Lab::new(hook)?;
    let world = lab.world();
    let (mut pairs, mut policies, mut failures) = (0, 0, 0);
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    while pairs < PAIRS {
        let policy = policy(&mut random, ROUTES);
        lab.apply(&policy)?;
        policies += 1;
        for _ in 0..PACKETS {
            let frame = frame(&mut random);
            if may_be_refused(hook, &frame).is_some() {
                continue;
            }
            let judged = judge(Some(&policy), &world, &frame);
            *met.entry(kind(&judged)).or_default() += 1;
            let expected = Expected::of_model(&judged, &frame);
            // Now and then once more: the first is classified, the second comes from the memo.
            for time in 0..=usize::from(random.chance(1, 4)) {
                let found = differences(&lab, &expected, &lab.put(&frame)?);
                if !found.is_empty() {
                    failures += 1;
                    if failures <= SHOWN {
                        println!("seed {seed:#x}, pair {pairs}, time {time}, at {}", hook.name());
                        println!("{}\n{judged:#?}", found.join("\n"));
                        println!("{}\n{}", to_yaml(&policy), describe(&frame));
                    }
                    break;
                }
            }
            pairs += 1;
        }
    }
    for (kind, count) in &met {
        println!("{name}: {count} {kind}");
    }
    report(&name, "policy_pairs", pairs);
    report(&name, "policies", policies);
    report(&name, "outcomes_met", met.len());
    if failures > 0 {
        bail!("{failures} of {pairs} pairs differ; GATEWAY_SEED={seed:#x} repeats this run");
    }
    Ok(())
}

fn kind(judged: &gateway_tests::model::Judgement) -> String {
    match (judged.reason, judged.verdict) {
        (Some(reason), Verdict::Pass) => format!("pass ({})", reason.name()),
        (Some(reason), verdict) => format!("{} ({})", verdict.name(), reason.name()),
        (None, verdict) => verdict.name().to_owned(),
    }
}

#[test]
fn kernel_and_model_agree_at_xdp() -> Result<()> {
    at(Hook::Xdp)
}

#[test]
fn kernel_and_model_agree_at_tc() -> Result<()> {
    at(Hook::TcIngress)
}
