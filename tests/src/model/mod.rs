//! The reference model: what should happen to a frame, by the plainest means. Written from the
//! design and the documents that the reason table names; it shares no code with the kernel program
//! or the policy compiler.

mod judge;
mod parse;

pub use judge::{Counter, Judgement, World, judge};
pub use parse::{Parsed, Unparsed, parse};
