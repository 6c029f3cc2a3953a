//! Random policies and packets put to the real object and to the reference model, which must agree on
//! everything.

use crate::check::{Expected, differences};
use crate::generate::{
    LONGEST, Wanted, asked, error_about, fragments, frame, members, next, policy, step_ns, well_formed,
};
use crate::model::{Forwarded, Judgement, State, Tie, World, judge};
use crate::object::{Lab, Observed, Sizes};
use crate::packet::show::describe;
use crate::random::Random;
use crate::testrun::may_be_refused;
use crate::ways;
use anyhow::{Result, ensure};
use gateway_common::abi::{Hook, Verdict};
use gateway_user::policy::{Policy, to_yaml};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Packets under one policy.
const PACKETS: usize = 80;
/// Of which every other one is one of so many, so that flows and keys come again.
const POOL: usize = 12;
/// Packets that come in fragments, of which two are among those that come again.
const FRAGMENTED: usize = 3;
/// Routes of a policy, at most.
const ROUTES: usize = 24;
/// Packets that a talk goes on from.
const REMEMBERED: usize = 6;
/// What became of a translated connection's packet: it began one.
pub const OPENED: &str = "opened";
/// It was a client's of one that was there.
pub const FORWARDED: &str = "forward established";
/// It was a target's.
pub const RETURNED: &str = "return";
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
    let sizes = Sizes {
        seed,
        arena_lines: 1 << 20,
        memo_sets_per_cpu: 1 << 17,
        connection_sets: 1 << 14,
        ..Sizes::default()
    };
    let mut lab = Lab::with_sizes(hook, sizes)?;
    lab.stay_on_this_cpu()?;
    let mut world = lab.world();
    let mut state = State::default();
    state.now_ns = BEGIN_NS;
    let mut compared = Compared::default();
    while compared.pairs < pairs {
        let policy = policy(&mut random, ROUTES, Wanted::Everything);
        // Connections of the policies before are over.
        state.now_ns += (LONGEST + 3) * 1_000_000_000;
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
        let mut talk = Talk::default();
        let translates = policy.pools.values().any(|pool| pool.forward.dnat().is_some());
        let mut pool: Vec<_> = (0..POOL).map(|_| well_formed(&mut random)).collect();
        (0..FRAGMENTED).for_each(|_| pool.extend(fragments(&mut random)));
        for _ in 0..PACKETS {
            let again = random.chance(1, 2);
            let frame = if again { random.pick(&pool).clone() } else { frame(&mut random) };
            let about = random.chance(1, 8).then(|| error_about(&mut random, &frame)).flatten();
            let said = (translates && random.chance(2, 3)).then(|| talk.goes_on(&mut random));
            let frame = said.or(about).unwrap_or(frame);
            if may_be_refused(hook, &frame).is_some() {
                continue;
            }
            state.now_ns += step_ns(&mut random, &policy);
            lab.set_time(state.now_ns)?;
            let observed = lab.put(&frame)?;
            state.seen = lab.seen(&observed);
            let pair = Pair { lab: &lab, policy: &policy, world: &world, frame: &frame, observed: &observed };
            let (judged, found, answer) = pair.judged(&mut state);
            compared.hung += usize::from(answer != Answer::Only);
            compared.hung_refused += usize::from(answer == Answer::Second);
            remember(&mut history, &state, &judged, &frame);
            compared.limited += usize::from(!judged.charges.is_empty());
            *compared.met.entry(kind(&judged)).or_default() += 1;
            if let Some(forwarded) = judged.forwarded.as_ref().filter(|forwarded| forwarded.is_translated()) {
                *compared.met.entry(translation(&judged, forwarded).to_owned()).or_default() += 1;
                if !forwarded.back {
                    talk.hears(&frame, &observed.outcome.frame);
                }
            }
            compared.pairs += 1;
            if answer == Answer::Either {
                // Nobody can tell what it left behind.
                break;
            }
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

/// A frame under a policy, and what came of it.
struct Pair<'a> {
    lab: &'a Lab,
    policy: &'a Policy,
    world: &'a World,
    frame: &'a [u8],
    observed: &'a Observed,
}

/// Which of the model's answers the kernel gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// There was one.
    Only,
    First,
    Second,
    /// One that both answers would give, though they leave different things behind.
    Either,
}

impl Pair<'_> {
    fn answer(&self, state: &mut State, tie: Tie) -> (Judgement, Vec<String>) {
        state.tie = tie;
        let judged = judge(Some(self.policy), self.world, state, self.frame);
        let found = differences(self.lab, &Expected::of_model(&judged, self.frame), self.observed);
        (judged, found)
    }

    /// What the model says, and in what the kernel differs; of two right answers the kernel's.
    fn judged(&self, state: &mut State) -> (Judgement, Vec<String>, Answer) {
        let mark = state.mark();
        let (judged, found) = self.answer(state, Tie::Admit);
        if !judged.hung {
            return (judged, found, Answer::Only);
        }
        let first = state.back_to(mark);
        let (second, differs) = self.answer(state, Tie::Refuse);
        if !found.is_empty() {
            return (second, differs, Answer::Second);
        }
        state.settle(first);
        (judged, found, if differs.is_empty() { Answer::Either } else { Answer::First })
    }
}

/// What was said between clients and services of late.
#[derive(Default)]
struct Talk {
    /// By clients.
    asked: VecDeque<Vec<u8>>,
    /// What their targets got.
    came_out: VecDeque<Vec<u8>>,
}

impl Talk {
    fn goes_on(&self, random: &mut Random) -> Vec<u8> {
        let answers = random.chance(1, 2);
        let list = if answers { &self.came_out } else { &self.asked };
        let before = (!list.is_empty() && random.chance(3, 4)).then(|| &list[random.below(list.len())]);
        before.and_then(|before| next(random, before, answers)).unwrap_or_else(|| asked(random))
    }

    fn hears(&mut self, asked: &[u8], came_out: &[u8]) {
        self.asked.push_back(asked.to_vec());
        self.came_out.push_back(came_out.to_vec());
        if self.asked.len() > REMEMBERED {
            self.asked.pop_front();
            self.came_out.pop_front();
        }
    }
}

/// What became of a packet of a connection.
fn translation(judged: &Judgement, forwarded: &Forwarded) -> &'static str {
    match (forwarded.back, &judged.opened) {
        (true, _) => RETURNED,
        (false, Some(_)) => OPENED,
        (false, None) => FORWARDED,
    }
}

/// Notes what limits and connections did, for who must find out why they did something else.
fn remember(history: &mut String, state: &State, judged: &Judgement, frame: &[u8]) {
    let translated = judged.forwarded.as_ref().filter(|forwarded| forwarded.is_translated());
    let told = !judged.charges.is_empty() || translated.is_some() || judged.opened.is_some();
    let Some(packet) = judged.packet.as_ref().filter(|_| told) else { return };
    let charges: Vec<_> = judged
        .charges
        .iter()
        .map(|charge| format!("{} {}", charge.limit, if charge.admitted { "admits" } else { "refuses" }))
        .collect();
    let _ = writeln!(
        history,
        "{} ns: {} bytes, {} to {}, protocol {}, flags {:#04x}, {:?}: {}{}{}",
        state.now_ns,
        frame.len(),
        packet.source,
        packet.destination,
        packet.protocol,
        packet.tcp_flags,
        packet.ports,
        charges.join(", "),
        match (translated, &judged.opened) {
            (Some(sent), _) => format!("{}: {sent:?}", translation(judged, sent)),
            (None, Some(target)) => format!("{OPENED} to {target}, and dropped"),
            (None, None) => String::new(),
        },
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
