//! What a test run gave, against what had to come: return code, output, mark and every counter.

use crate::counters::Snapshot;
use crate::golden::{INTERFACE, Row};
use crate::model::{Charge, Counter, Forwarded, Judgement, Told, output};
use crate::object::{Lab, Observed};
use gateway_common::abi::{
    Count, Hook, Metadata, REDIRECT_BY_FIB, REDIRECT_NEIGHBOUR, REDIRECT_PROXY, Verdict,
};
use gateway_common::reason::Reason;
use std::collections::BTreeMap;

/// `XDP_*` of linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
/// `TC_ACT_*` of linux/pkt_cls.h.
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

/// What must come of a frame.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its fate.
    pub verdict: Verdict,
    /// Why, or what is wrong with it.
    pub reason: Option<Reason>,
    /// Where it is counted.
    pub counter: Counter,
    /// skb mark, where an skb comes of it.
    pub mark: u32,
    /// skb priority, where an skb comes of it.
    pub priority: u32,
    /// Where it is redirected to.
    pub target: Option<String>,
    /// The frame that comes out; of one that is dropped because its target is missing or it cannot be wrapped only the length
    /// counts, since by then it may have been written to.
    pub frame: Vec<u8>,
    /// The kernel finds the neighbour that it is sent to first.
    pub waits: bool,
    /// By the packet's own addresses, which were exchanged.
    pub translated: bool,
    /// The target that it is sent to, as `pool/target`.
    pub sent_to: Option<String>,
    /// The target that it comes back from.
    pub returned_from: Option<String>,
    /// The target to which a connection begins.
    pub opened: Option<String>,
    /// Port of the socket that tc is to hand it to.
    pub proxy: Option<u16>,
    /// What becomes of the ICMP error that its sender is due; one that is sent is the frame that comes out.
    pub told: Option<Told>,
    /// Length of the frame that came in, bytes: what is counted.
    pub received: usize,
    /// What its limits counted, if that is known.
    pub charges: Option<Vec<Charge>>,
}

impl From<&Row> for Expected {
    fn from(row: &Row) -> Self {
        Expected {
            verdict: row.verdict,
            reason: row.reason,
            counter: row.counter.clone(),
            mark: row.mark,
            priority: row.priority,
            target: row.target.map(str::to_owned),
            frame: row.output(),
            waits: row.waits,
            translated: row.translated,
            sent_to: row.sent_to.map(str::to_owned),
            returned_from: row.returned_from.map(str::to_owned),
            opened: row.opened.map(str::to_owned),
            proxy: row.proxy,
            told: row.told.clone(),
            received: row.frame.len(),
            charges: None,
        }
    }
}

impl Expected {
    /// What the model says of this frame.
    #[must_use]
    pub fn of_model(judgement: &Judgement, frame: &[u8]) -> Expected {
        let target = |back: bool| {
            let forwarded = judgement.forwarded.as_ref().filter(|forwarded| forwarded.back == back);
            forwarded.map(|forwarded| forwarded.name.clone())
        };
        Expected {
            verdict: judgement.verdict,
            reason: judgement.reason,
            counter: judgement.counter.clone(),
            mark: judgement.mark,
            priority: judgement.priority,
            target: judgement.target.clone(),
            frame: output(judgement, frame),
            waits: judgement.forwarded.as_ref().is_some_and(Forwarded::waits),
            translated: judgement.forwarded.as_ref().is_some_and(Forwarded::is_translated),
            sent_to: target(false),
            returned_from: target(true),
            opened: judgement.opened.clone(),
            proxy: judgement.proxy,
            told: judgement.told.clone(),
            received: frame.len(),
            charges: Some(judgement.charges.clone()),
        }
    }
}

/// Everything in which an observation differs from what was expected, a line each; empty if nothing.
#[must_use]
pub fn differences(lab: &Lab, expected: &Expected, observed: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, got: String, want: String| {
        if got != want {
            found.push(format!("{what}: got {got}, expected {want}"));
        }
    };
    let outcome = &observed.outcome;
    let (code, metadata) = result(lab, expected);
    compare("return code", outcome.return_value.to_string(), code.to_string());
    if !matches!(expected.reason, Some(Reason::RedirectTarget | Reason::NoRoom)) {
        compare(
            "output",
            crate::packet::show::hex(&outcome.frame, ""),
            crate::packet::show::hex(&expected.frame, ""),
        );
    }
    match lab.hook {
        Hook::Xdp => {
            let got = outcome.metadata.map(|found| (found.mark, found.priority, found.redirect));
            compare("metadata (mark, priority, redirect)", format!("{got:x?}"), format!("{metadata:x?}"));
            let slot = lab.counter_slot(&expected.counter);
            if let Some(Metadata { counter, .. }) = outcome.metadata {
                compare("metadata's counter", counter.to_string(), slot.to_string());
            }
        }
        Hook::TcIngress => {
            let dropped = expected.verdict == Verdict::Drop;
            let (mark, priority) = if dropped { (0, 0) } else { (expected.mark, expected.priority) };
            compare("mark", format!("{:#x}", outcome.mark), format!("{mark:#x}"));
            compare("priority", outcome.priority.to_string(), priority.to_string());
        }
    }
    let mut want = Snapshot::of_one_frame(
        lab.slot(),
        lab.hook,
        expected.received,
        expected.verdict,
        expected.reason,
        lab.counter_slot(&expected.counter),
    );
    let mut got = observed.delta.clone();
    match &expected.charges {
        Some(charges) => want.limits = counted(lab, charges, expected.received),
        None => got.limits.clear(),
    }
    if let Some(target) = &expected.sent_to {
        let count = Count { packets: 1, bytes: expected.received as u64 };
        want.targets.insert(lab.target_slot(target), count);
    }
    if let Some(target) = &expected.returned_from {
        let count = Count { packets: 1, bytes: expected.received as u64 };
        want.returned.insert(lab.target_slot(target), count);
    }
    if let Some(target) = &expected.opened {
        want.opened.insert(lab.target_slot(target), 1);
    }
    match expected.told {
        Some(Told::Sent(_)) => want.errors.0 = 1,
        Some(Told::Suppressed) => want.errors.1 = 1,
        None => {}
    }
    compare("counters", format!("{got:?}"), format!("{want:?}"));
    if let Err(broken) = observed.delta.conserved() {
        found.push(broken);
    }
    found
}

/// What the limits that were asked must have counted for a frame of this length.
fn counted(lab: &Lab, charges: &[Charge], length: usize) -> BTreeMap<u32, (Count, Count)> {
    let mut counts: BTreeMap<u32, (Count, Count)> = BTreeMap::new();
    for charge in charges {
        let (admitted, refused) = counts.entry(lab.limit_slot(&charge.limit)).or_default();
        let count = if charge.admitted { admitted } else { refused };
        count.packets += 1;
        count.bytes += length as u64;
    }
    counts
}

/// The return code, and for XDP the metadata: mark, priority, and where tc is to send the frame.
fn result(lab: &Lab, expected: &Expected) -> (u32, Option<(u32, u32, u32)>) {
    let marked = expected.mark != 0 || expected.priority != 0;
    let to = |name: &str| match &expected.sent_to {
        _ if expected.waits && expected.translated => REDIRECT_BY_FIB | lab.ifindex(name),
        Some(target) if expected.waits => REDIRECT_NEIGHBOUR | lab.target_slot(target),
        _ => lab.ifindex(name),
    };
    let by_tc = |name: &str| (XDP_PASS, Some((expected.mark, expected.priority, to(name))));
    let takes = |name: &str| lab.takes_xdp_frames.contains(&name);
    // The packet is dropped, and its frame is sent back with the error.
    let verdict = match expected.told {
        Some(Told::Sent(_)) => Verdict::Tx,
        _ => expected.verdict,
    };
    match (lab.hook, verdict) {
        (Hook::Xdp, Verdict::Pass) if expected.proxy.is_some() => {
            let port = expected.proxy.map_or(0, u32::from);
            (XDP_PASS, Some((expected.mark, expected.priority, REDIRECT_PROXY | port)))
        }
        (Hook::Xdp, Verdict::Pass) => (XDP_PASS, marked.then_some((expected.mark, expected.priority, 0))),
        (Hook::Xdp, Verdict::Drop) => (XDP_DROP, None),
        // A veth: what is sent back is redirected to where it came from.
        (Hook::Xdp, Verdict::Tx) if !expected.waits && takes(INTERFACE) => (XDP_REDIRECT, None),
        (Hook::Xdp, Verdict::Tx) => by_tc(INTERFACE),
        (Hook::Xdp, Verdict::Redirect) => match expected.target.as_deref() {
            Some(target) if expected.waits || !takes(target) => by_tc(target),
            _ => (XDP_REDIRECT, None),
        },
        (Hook::TcIngress, Verdict::Pass) => (TC_ACT_UNSPEC, None),
        (Hook::TcIngress, Verdict::Drop) => (TC_ACT_SHOT, None),
        (Hook::TcIngress, Verdict::Tx | Verdict::Redirect) => (TC_ACT_REDIRECT, None),
    }
}
