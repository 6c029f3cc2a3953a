//! Policy: what an operator writes, as a pure model. Knows nothing of how it is compiled or applied.
//!
//! Text → [`parse`] or [`check()`] → [`Policy`] → [`to_yaml`]. One route, or a change to one, is
//! written in the same words, as YAML or JSON: [`parse_route`], [`parse_patch`].

mod check;
mod diagnostics;
mod diff;
mod edit;
mod json;
mod model;
mod patch;
mod protocols;
mod read;
mod render;
mod sense;
mod shadow;
mod suggest;
#[cfg(test)]
mod tests;
mod words;
mod write;
mod yaml;

pub use check::check;
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use diff::{Diff, FieldChange, Placed, RouteChange, diff};
pub use edit::{EditError, Position};
pub use model::{Action, Default, Malformed, Match, Policy, PortRange, Route};
pub use patch::{Change, RoutePatch};
pub use protocols::{protocol_name, protocol_number};
pub use read::{parse, parse_patch, parse_route};
pub use shadow::{Shadowed, UNION_ROUTES_MAX, shadowed};
pub use words::Word;
pub use write::{digest, digest_of, to_yaml};
