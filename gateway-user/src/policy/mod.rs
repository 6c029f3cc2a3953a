//! Policy: what an operator writes, as a pure model. Knows nothing of how it is compiled or applied.

mod model;

pub use model::{Action, Default, Malformed, Match, Policy, PortRange, Route};
