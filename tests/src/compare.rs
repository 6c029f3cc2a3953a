//! Random policies and packets put to the real object and to the reference model, which must agree on
//! everything.

use crate::check::{Expected, differences};
use crate::generate::{Wanted, error_about, fragments, frame, members, policy, step_ns, well_formed};
use crate::model::{Judgement, State, Tie, judge};
use crate::object::{Lab, Sizes};
use crate::packet::show::describe;
use crate::random::Random;
use crate::testrun::may_be_refused;
use crate::ways;
use anyhow::{Result, ensure};
use gateway_common::abi::{Hook, Verdict};
use gateway_user::policy::{Policy, to_yaml};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Packets under one policy.
const PACKETS: usize = 80;
/// Of which every other one is one of so many, so that flows and keys come again.
const POOL: usize = 12;
/// Packets that come in fragments, of which two are among those that come again.
const FRAGMENTED: usize = 3;
/// Routes of a policy, at most.
const ROUTES: usize = 24;
/// Failures that are told in full.
const SHOWN: usize = 3;
/// When limits begin, nanoseconds: shortly before their clock turns over (2^56 ns, 833 days).
const BEGIN_NS: u64 = (1 << 56) - 3_600_000_000_000;

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// Pairs of a policy and a packet.
    pub pairs: usize,
    /// Policies.
    pub policies: usize,
    /// Policies that were too much for the compiler or the arena.
    pub refused: usize,
    /// Packets that were over a limit, or within one.
    pub limited: usize,
    /// Pairs where two answers were right.
    pub hung: usize,
    /// Of those, the kernel gave the second.
    pub hung_refused: usize,
    /// What happened, with how often.
    pub met: BTreeMap<String, usize>,
    /// Pairs that differ, and of the first few everything there is to tell.
    pub failures: Vec<String>,
}

/// Compares so many pairs at this hook.
///
/// # Errors
/// If a policy does not fit, a test run fails, or one policy in four is refused.
pub fn run(hook: Hook, seed: u64, pairs: usize) -> Result<Compared> {
    let mut random = Random::new(seed);
    // Few enough flows for it that none loses its place: a flow that did would be a new one again.
    let sizes = Sizes { arena_lines: 1 << 20, memo_sets_per_cpu: 1 << 17, connection_sets: 1 << 14 };
    let mut lab = Lab::with_sizes(hook, sizes)?;
    lab.stay_on_this_cpu()?;
    let mut world = lab.world();
    let mut state = State::default();
    state.now_ns = BEGIN_NS;
    let mut compared = Compared::default();
    while compared.pairs < pairs {
        let policy = policy(&mut random, ROUTES, Wanted::Everything);
        world.members = members(&mut random, &policy);
        world.targets = ways::targets(Some(&policy));
        lab.forget_limits();
        state.forget_limits();
        compared.policies += 1;
        if let Some(refusal) = lab.try_apply(&policy, &world.members)? {
            compared.refused += 1;
            ensure!(compared.refused * 4 < compared.policies + 8, "too much is refused: {refusal}");
            continue;
        }
        let mut history = String::new();
        let mut pool: Vec<_> = (0..POOL).map(|_| well_formed(&mut random)).collect();
        (0..FRAGMENTED).for_each(|_| pool.extend(fragments(&mut random)));
        for _ in 0..PACKETS {
            let again = random.chance(1, 2);
            let frame = if again { random.pick(&pool).clone() } else { frame(&mut random) };
            let about = random.chance(1, 8).then(|| error_about(&mut random, &frame)).flatten();
            let frame = about.unwrap_or(frame);
            if may_be_refused(hook, &frame).is_some() {
                continue;
            }
            state.now_ns += step_ns(&mut random, &policy);
            lab.set_time(state.now_ns)?;
            let observed = lab.put(&frame)?;
            let mark = state.mark();
            state.tie = Tie::Admit;
            let mut judged = judge(Some(&policy), &world, &mut state, &frame);
            let mut found = differences(&lab, &Expected::of_model(&judged, &frame), &observed);
            if judged.hung {
                compared.hung += 1;
                if !found.is_empty() {
                    state.back_to(mark);
                    state.tie = Tie::Refuse;
                    judged = judge(Some(&policy), &world, &mut state, &frame);
                    found = differences(&lab, &Expected::of_model(&judged, &frame), &observed);
                    compared.hung_refused += 1;
                }
            }
            remember(&mut history, &state, &judged, &frame);
            compared.limited += usize::from(!judged.charges.is_empty());
            *compared.met.entry(kind(&judged)).or_default() += 1;
            compared.pairs += 1;
            if !found.is_empty() {
                let told = compared.failures.len() < SHOWN;
                let pair = compared.pairs;
                compared.failures.push(match told {
                    true => {
                        let place = format!("pair {pair} at {}", hook.name());
                        let lost = lab.dataplane.readers().telemetry();
                        format!("{place}\n{history}{lost:?}\n{}", tell(&policy, &frame, &judged, &found))
                    }
                    false => String::new(),
                });
                // The model does not know any more what the kernel's buckets hold.
                break;
            }
        }
    }
    Ok(compared)
}

/// Notes what limits did, for who must find out why they did something else.
fn remember(history: &mut String, state: &State, judged: &Judgement, frame: &[u8]) {
    let Some(packet) = judged.packet.as_ref().filter(|_| !judged.charges.is_empty()) else { return };
    let charges: Vec<_> = judged
        .charges
        .iter()
        .map(|charge| format!("{} {}", charge.limit, if charge.admitted { "admits" } else { "refuses" }))
        .collect();
    let _ = writeln!(
        history,
        "{} ns: {} bytes, {} to {}, protocol {}, flags {:#04x}, {:?}: {}{}",
        state.now_ns,
        frame.len(),
        packet.source,
        packet.destination,
        packet.protocol,
        packet.tcp_flags,
        packet.ports,
        charges.join(", "),
        if judged.hung { " (or not)" } else { "" },
    );
}

fn tell(policy: &Policy, frame: &[u8], judged: &Judgement, found: &[String]) -> String {
    let found = found.join("\n");
    format!("{found}\n{judged:#?}\n{}\n{}", to_yaml(policy), describe(frame))
}

fn kind(judged: &Judgement) -> String {
    let over = judged.charges.iter().any(|charge| !charge.admitted);
    match (judged.reason, judged.verdict) {
        (Some(reason), Verdict::Pass) => format!("pass ({})", reason.name()),
        (Some(reason), verdict) => format!("{} ({})", verdict.name(), reason.name()),
        (None, verdict) if over => format!("{} (over a limit)", verdict.name()),
        (None, verdict) => verdict.name().to_owned(),
    }
}
