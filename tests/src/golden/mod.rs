//! Golden packets: a table of frames with everything that must come of each. A library, so that the
//! test on this kernel and the program that runs in a virtual machine share it.

mod actions;
mod ethernet;
mod ipv4;
mod ipv6;
mod malformed;
mod matching;
pub mod run;
mod transport;

use crate::model::Counter;
use gateway_common::abi::Verdict;
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
    /// The Ethernet addresses are swapped in the output.
    pub swapped: bool,
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
            swapped: false,
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

    fn no_policy(mut self) -> Row {
        self.policy = None;
        self.counter = Counter::NoPolicy;
        self
    }

    /// The frame that must come out.
    #[must_use]
    pub fn output(&self) -> Vec<u8> {
        let mut out = self.frame.clone();
        if self.swapped {
            out[..6].copy_from_slice(&self.frame[6..12]);
            out[6..12].copy_from_slice(&self.frame[..6]);
        }
        out
    }
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
        assert!(rows.len() >= 120, "{} rows", rows.len());
    }

    #[test]
    fn every_reason_is_met() {
        let rows = rows();
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::PolicyFault) {
            let met = |verdict| rows.iter().any(|row| row.reason == Some(*reason) && row.verdict == verdict);
            assert!(met(Verdict::Drop), "{} is never dropped", reason.name());
            assert_eq!(met(Verdict::Pass), reason.is_malformed(), "{} passed", reason.name());
        }
    }
}
