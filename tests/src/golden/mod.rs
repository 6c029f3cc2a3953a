//! Golden packets: a table of frames with everything that must come of each. A library, so that the
//! test on this kernel and the program that runs in a virtual machine share it.

mod actions;
pub mod cookies;
mod errors;
mod ethernet;
mod fragments;
mod ipv4;
mod ipv6;
mod labels;
mod limits;
mod malformed;
mod matching;
mod mss;
mod owners;
mod pools;
mod rewriting;
pub mod run;
mod sanity;
pub mod translated_ways;
mod translation;
mod transport;
mod vocabulary;

use crate::model::{Counter, Member, Told};
use gateway_common::abi::{Hook, Verdict};
use gateway_common::reason::Reason;

/// The interface that golden frames arrive on.
pub const INTERFACE: &str = "gold0";
/// A redirect target that is there and takes XDP frames.
pub const TARGET: &str = "gold1";
/// A redirect target that is there and takes no XDP frames.
pub const TARGET_WITHOUT_XDP: &str = "gold2";
/// A redirect target that does not exist.
pub const ABSENT: &str = "gold9";

/// Marks whatever IP packet is well formed: the parsers' rows tell by the mark that they got through.
pub const MARK_ALL: &str = "version: 1\nroutes:\n  - {name: all, mark: 0x77, action: pass}\ndefault: drop\n";
/// The same, but malformed packets pass.
pub const MALFORMED_PASS: &str =
    "version: 1\nmalformed: pass\nroutes:\n  - {name: all, mark: 0x77, action: pass}\ndefault: drop\n";

/// A frame and what must come of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it shows.
    pub name: String,
    /// The policy document; none: no policy is loaded.
    pub policy: Option<String>,
    /// The frame.
    pub frame: Vec<u8>,
    /// What must happen.
    pub verdict: Verdict,
    /// Why it is dropped, or what is wrong with it though it passes.
    pub reason: Option<Reason>,
    /// Where it is counted.
    pub counter: Counter,
    /// skb mark, 0 if none.
    pub mark: u32,
    /// skb priority, 0 if none.
    pub priority: u32,
    /// Where it is redirected to.
    pub target: Option<&'static str>,
    /// The kernel finds the neighbour that it is sent to first.
    pub waits: bool,
    /// Its addresses are exchanged.
    pub translated: bool,
    /// The target that it is sent to, as `pool/target`.
    pub sent_to: Option<&'static str>,
    /// The target that it comes back from.
    pub returned_from: Option<&'static str>,
    /// The target to which a connection begins.
    pub opened: Option<&'static str>,
    /// Port of the socket that tc is to hand it to.
    pub proxy: Option<u16>,
    /// What becomes of the ICMP error that its sender is due.
    pub told: Option<Told>,
    /// The frame that comes out, before the Ethernet addresses are swapped; nothing if it is the same.
    pub changed: Option<Vec<u8>>,
    /// The Ethernet addresses are swapped in the output.
    pub swapped: bool,
    /// Live members of labels.
    pub members: Vec<Member>,
    /// The only hook that it is about, if it is not about both.
    pub hook: Option<Hook>,
}

/// Frames that follow one another: what comes of each depends on those before.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// What it shows.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, nanoseconds since the first.
    pub at_ns: u64,
    /// The frame; another policy than the step's before is applied first, and its limits keep what
    /// their names had.
    pub row: Row,
}

impl Row {
    /// A frame that passes unjudged as not IP, until told otherwise.
    fn new(name: impl Into<String>, policy: &str, frame: Vec<u8>) -> Row {
        Row {
            name: name.into(),
            policy: Some(policy.to_owned()),
            frame,
            verdict: Verdict::Pass,
            reason: None,
            counter: Counter::NotIp,
            mark: 0,
            priority: 0,
            target: None,
            waits: false,
            translated: false,
            sent_to: None,
            returned_from: None,
            opened: None,
            proxy: None,
            told: None,
            changed: None,
            swapped: false,
            members: Vec::new(),
            hook: None,
        }
    }

    /// A well-formed IP packet that [`MARK_ALL`] marks.
    fn marked(name: impl Into<String>, frame: Vec<u8>) -> Row {
        Row::new(name, MARK_ALL, frame).route("all").mark(0x77)
    }

    fn route(mut self, name: &str) -> Row {
        self.counter = Counter::Route(name.to_owned());
        self
    }

    fn by_default(mut self) -> Row {
        self.counter = Counter::Default;
        self
    }

    fn mark(mut self, mark: u32) -> Row {
        self.mark = mark;
        self
    }

    fn priority(mut self, priority: u32) -> Row {
        self.priority = priority;
        self
    }

    fn dropped(mut self, reason: Reason) -> Row {
        self.verdict = Verdict::Drop;
        self.reason = Some(reason);
        self
    }

    fn sent_back(mut self) -> Row {
        self.verdict = Verdict::Tx;
        self.swapped = true;
        self
    }

    fn redirected(mut self, target: &'static str) -> Row {
        self.verdict = Verdict::Redirect;
        self.target = Some(target);
        self
    }

    fn sent_to(mut self, target: &'static str, interface: Option<&'static str>) -> Row {
        self.verdict = if interface.is_some() { Verdict::Redirect } else { Verdict::Tx };
        self.target = interface;
        self.sent_to = Some(target);
        self
    }

    /// Goes to this target with other ends.
    fn translated(mut self, target: &'static str, interface: Option<&'static str>) -> Row {
        self.translated = true;
        self.sent_to(target, interface)
    }

    /// Comes from this target, and goes back to its client.
    fn returned(mut self, target: &'static str, interface: Option<&'static str>) -> Row {
        self = self.translated(target, interface);
        self.returned_from = self.sent_to.take();
        self
    }

    /// Goes up the stack, whatever the interface that was said.
    fn by_stack(mut self) -> Row {
        (self.verdict, self.target) = (Verdict::Pass, None);
        self
    }

    /// A connection begins.
    fn opens(mut self, target: &'static str) -> Row {
        self.opened = Some(target);
        self
    }

    fn proxied(mut self, port: u16) -> Row {
        self.proxy = Some(port);
        self
    }

    fn waits(mut self) -> Row {
        self.waits = true;
        self
    }

    fn comes_out_as(mut self, frame: Vec<u8>) -> Row {
        self.changed = Some(frame);
        self
    }

    /// The sender is told by this frame.
    fn told(mut self, frame: Vec<u8>) -> Row {
        self.told = Some(Told::Sent(frame));
        self
    }

    /// The sender would be told, were there not too many to tell.
    fn suppressed(mut self) -> Row {
        self.told = Some(Told::Suppressed);
        self
    }

    fn members(mut self, members: Vec<Member>) -> Row {
        self.members = members;
        self
    }

    fn at(mut self, hook: Hook) -> Row {
        self.hook = Some(hook);
        self
    }

    fn no_policy(mut self) -> Row {
        self.policy = None;
        self.counter = Counter::NoPolicy;
        self
    }

    /// The frame that must come out.
    #[must_use]
    pub fn output(&self) -> Vec<u8> {
        if let Some(Told::Sent(frame)) = &self.told {
            return frame.clone();
        }
        let mut out = self.changed.clone().unwrap_or_else(|| self.frame.clone());
        if self.swapped {
            out[..6].copy_from_slice(&self.frame[6..12]);
            out[6..12].copy_from_slice(&self.frame[..6]);
        }
        out
    }
}

/// Sequences that no single row can tell.
#[must_use]
pub fn sequences() -> Vec<Sequence> {
    [
        limits::sequences(),
        errors::sequences(),
        fragments::sequences(),
        owners::sequences(),
        translation::sequences(),
    ]
    .concat()
}

/// The whole table.
#[must_use]
pub fn rows() -> Vec<Row> {
    [
        ethernet::rows(),
        ipv4::rows(),
        ipv6::rows(),
        transport::rows(),
        matching::rows(),
        actions::rows(),
        malformed::rows(),
        sanity::rows(),
        vocabulary::rows(),
        labels::rows(),
        rewriting::rows(),
        pools::rows(),
        errors::rows(),
        fragments::rows(),
        translation::rows(),
        owners::rows(),
        mss::rows(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_large_and_its_names_unique() {
        let rows = rows();
        let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.len() >= 1_000, "{} rows", rows.len());
    }

    #[test]
    fn every_reason_is_met() {
        let of_sequences = sequences().into_iter().flat_map(|sequence| sequence.steps);
        let rows: Vec<_> = rows().into_iter().chain(of_sequences.map(|step| step.row)).collect();
        // No policy makes the first; the second's rows are [`cookies`], and the last one's a test of targets' health.
        let elsewhere = [Reason::PolicyFault, Reason::SynCookie, Reason::TargetsFull];
        for reason in Reason::ALL.iter().filter(|reason| !elsewhere.contains(reason)) {
            let met = |verdict| rows.iter().any(|row| row.reason == Some(*reason) && row.verdict == verdict);
            assert!(met(Verdict::Drop), "{} is never dropped", reason.name());
            assert_eq!(met(Verdict::Pass), reason.is_malformed(), "{} passed", reason.name());
        }
    }
}
