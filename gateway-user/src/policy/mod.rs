//! Policy: what an operator writes, as a pure model. Knows nothing of how it is compiled or applied.
//!
//! Text → [`parse`] or [`check()`] → [`Policy`] → [`to_yaml`]. One route, or a change to one, is
//! written in the same words, as YAML or JSON: [`parse_route`], [`parse_patch`]. The files that labels
//! name come from a [`LabelFiles`]: [`parse_with`], [`check_with`].

mod check;
mod component;
mod diagnostics;
mod diff;
mod edit;
mod files;
mod flags;
mod health;
mod health_words;
mod json;
mod model;
mod patch;
mod pool;
mod pool_words;
mod protocols;
mod read;
mod render;
mod sense;
mod shadow;
mod suggest;
#[cfg(test)]
mod tests;
mod units;
mod words;
mod write;
mod yaml;

pub use check::{check, check_with};
pub use component::Component;
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use diff::{Diff, FieldChange, Placed, RouteChange, diff};
pub use edit::{EditError, Position};
pub use files::{Folder, LabelFiles, NoFiles};
pub use flags::{dscp_name, dscp_number, flags_text};
pub use health::{Check, CheckKind, Eject, Health, Passive};
pub use model::{
    Action, Ban, Default, Fragment, KeyLengths, Label, LabelFile, LabelTest, Limit, Malformed, Match, Over,
    Per, Policy, PortRange, Quantity, Range, Rate, Route, RouteLimit, SynCookies, TcpFlags,
};
pub use patch::{Change, RoutePatch};
pub use pool::{
    Dnat, Forward, Mss, OuterSource, Pool, Target, TargetLabels, Timeouts, Translation, hash_name,
};
pub use protocols::{protocol_name, protocol_number};
pub use read::{parse, parse_patch, parse_prefixes, parse_route, parse_with};
pub use shadow::{Shadowed, UNION_ROUTES_MAX, shadowed};
pub(crate) use suggest::closest;
pub use units::{burst_text, connection_rate_text, duration_text, rate_text};
pub use words::{Word, limit_word, match_words};
pub use write::{digest, digest_of, to_yaml};
