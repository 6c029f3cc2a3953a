//! The reference model: what should happen to a frame, by the plainest means. Written from the
//! design and the documents that the reason table names; it shares no code with the kernel program
//! or the policy compiler.
//!
//! It does not speak of SYN cookies, which nobody can foretell: the golden table does.

mod bucket;
mod checks;
mod connections;
mod flow;
mod forward;
mod fragments;
mod icmp_error;
mod judge;
mod labels;
mod limits;
mod matching;
mod mss;
mod parse;
mod quoted;
mod rewrite;
mod tracked;
mod translate;

pub use bucket::Tie;
pub use flow::Flow;
pub use forward::{Forwarded, Targets, Way};
pub use icmp_error::Told;
pub use judge::{Counter, Judgement, World, judge};
pub use labels::Member;
pub use limits::{Charge, State, limits_of};
pub use parse::{Parsed, Unparsed, parse};
pub use rewrite::output;
pub use tracked::Seen;
