//! Flow accounts after random traffic: each flow of the model, with its packets, bytes, TCP flags,
//! last verdict and route, and none beside.

use anyhow::{Result, ensure};
use gateway_common::abi::{Hook, Verdict};
use gateway_common::reason::Reason;
use gateway_tests::generate::{Wanted, frame, policy};
use gateway_tests::model::{Counter, Flow, Judgement, State, judge};
use gateway_tests::object::{Lab, Sizes};
use gateway_tests::random::{Random, seed};
use gateway_tests::report::report;
use gateway_tests::testrun::may_be_refused;
use gateway_user::dataplane::FlowAccount;
use gateway_user::policy::{Action, Policy};
use std::collections::BTreeMap;

/// Random frames that are drawn; each is put up to three times, some under two policies.
const FRAMES: usize = 1000;

/// Its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Account {
    packets: u64,
    bytes: u64,
    tcp_flags: u8,
    verdict: Verdict,
    reason: Option<Reason>,
    counter: u32,
    mark: u32,
    priority: u32,
}

fn found(lab: &Lab, account: &FlowAccount) -> Result<(Flow, Account)> {
    let key = account.id.key();
    ensure!(key.slot() == u16::from(lab.slot()), "slot {} of {account:?}", key.slot());
    let flow = Flow {
        source: account.id.source,
        destination: account.id.destination,
        protocol: key.protocol(),
        vlan: key.vlan(),
        later_fragment: key.flags() & gateway_common::packet::flags::LATER_FRAGMENT != 0,
        source_port: key.source_port(),
        port_or_icmp: key.port(),
    };
    let FlowAccount { packets, bytes, tcp_flags, verdict, reason, counter, mark, priority, .. } = *account;
    Ok((flow, Account { packets, bytes, tcp_flags, verdict, reason, counter, mark, priority }))
}

fn at(hook: Hook) -> Result<()> {
    let seed = seed();
    let name = format!("flow_accounts_{}", hook.name());
    report(&name, "seed", format!("{seed:#x}"));
    let mut random = Random::new(seed);
    // One CPU: an account then is one line.
    let mut lab = Lab::with_sizes(
        hook,
        Sizes { seed, arena_lines: 1 << 20, memo_sets_per_cpu: 1 << 17, ..Sizes::default() },
    )?;
    lab.stay_on_this_cpu()?;
    let world = lab.world();
    let frames: Vec<_> = (0..FRAMES)
        .map(|_| frame(&mut random))
        .filter(|frame| may_be_refused(hook, frame).is_none())
        .collect();
    let mut expected: BTreeMap<Flow, Account> = BTreeMap::new();
    for _ in 0..2 {
        let mut policy = policy(&mut random, 12, Wanted::WithoutLimits);
        while lab.try_apply(&policy, &[])?.is_some() {
            policy = gateway_tests::generate::policy(&mut random, 12, Wanted::WithoutLimits);
        }
        for frame in &frames {
            let judged = judge(Some(&policy), &world, &mut State::default(), frame);
            for _ in 0..random.below(3) {
                lab.put(frame)?;
                let Some(packet) = &judged.packet else { continue };
                let before = expected.get(&Flow::from(packet));
                let account = Account {
                    packets: before.map_or(0, |before| before.packets) + 1,
                    bytes: before.map_or(0, |before| before.bytes) + frame.len() as u64,
                    tcp_flags: before.map_or(0, |before| before.tcp_flags) | packet.tcp_flags,
                    counter: lab.counter_slot(&judged.counter),
                    ..decision(&policy, &judged)
                };
                expected.insert(Flow::from(packet), account);
            }
        }
    }
    compare(&lab, &name, &expected)
}

fn compare(lab: &Lab, name: &str, expected: &BTreeMap<Flow, Account>) -> Result<()> {
    let readers = lab.dataplane.readers();
    let scan = readers.flows_live()?;
    ensure!(scan.unsettled == 0, "{} lines changed under the reader", scan.unsettled);
    let mut evicted = readers.telemetry().flows_evicted;
    let got = scan.flows.iter().map(|account| found(lab, account)).collect::<Result<BTreeMap<_, _>>>()?;
    ensure!(got.len() == scan.flows.len(), "a flow has two lines on one CPU");
    for (flow, account) in expected {
        match got.get(flow) {
            Some(found) if same(found, account) => {}
            // Three flows met in one set: one of them went to the ring buffer.
            _ if evicted > 0 => evicted -= 1,
            other => anyhow::bail!("{flow:?}: expected {account:?}, found {other:?}"),
        }
    }
    let extra: Vec<_> = got.keys().filter(|flow| !expected.contains_key(flow)).collect();
    ensure!(extra.is_empty(), "flows that nobody sent: {extra:?}");
    report(name, "flows_compared", expected.len());
    Ok(())
}

/// What an account says of a packet's fate: its route's own decision. That a redirect's target is missing,
/// or what a pool makes of a packet, is counted elsewhere.
fn decision(policy: &Policy, judged: &Judgement) -> Account {
    let route = match &judged.counter {
        Counter::Route(name) => policy.routes.iter().find(|route| route.name == *name),
        _ => None,
    };
    let forwards = |action: &Action| matches!(action, Action::Redirect { .. } | Action::Pool { .. });
    let (verdict, reason, mark, priority) = match route.filter(|route| forwards(&route.action)) {
        Some(route) => (Verdict::Redirect, None, route.mark.unwrap_or(0), route.priority.unwrap_or(0)),
        None => (judged.verdict, judged.reason, judged.mark, judged.priority),
    };
    Account { packets: 0, bytes: 0, tcp_flags: 0, verdict, reason, counter: 0, mark, priority }
}

/// A mark means nothing to a packet that is dropped: an account need not say the same.
fn same(found: &Account, expected: &Account) -> bool {
    let mut found = *found;
    if expected.verdict == Verdict::Drop {
        (found.mark, found.priority) = (0, 0);
    }
    found == *expected
}

#[test]
fn flow_accounts_at_xdp() -> Result<()> {
    at(Hook::Xdp)
}

#[test]
fn flow_accounts_at_tc() -> Result<()> {
    at(Hook::TcIngress)
}
