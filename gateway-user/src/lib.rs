//! The user-space half of gateway: policy, compiler, data plane, daemon, control API and command
//! line. `ARCHITECTURE.md` has the map.

pub mod compile;
pub mod dataplane;
pub mod policy;
