//! The user-space half of gateway: policy, compiler, data plane, daemon, control API and command
//! line. `ARCHITECTURE.md` has the map.

pub mod api;
pub mod cli;
pub mod compile;
pub mod daemon;
pub mod dataplane;
pub mod flows;
pub mod handshakes;
pub mod metrics;
pub mod policy;
pub mod probe;
pub mod store;
pub mod talkers;
