//! The health of targets as the daemon knows it: what checks said, how circuits stand, and what follows.
//!
//! The circuit of a target lies in the kernel, which opens it by failed handshakes and passes its target over without
//! asking anybody. The daemon adds what the kernel cannot know: it holds the circuit while checks of its own fail,
//! takes such a target's weight out of the pool's table meanwhile, and says when so few are left that all must be
//! used. Weights compose in this order: a weight that was set by hand, or else the policy's; nothing while the target
//! drains or its checks fail; and of that the share that its circuit leaves it.

mod book;
mod checks;
mod sight;
mod watch;

pub(in crate::daemon) use book::{Book, Now};
pub use checks::CheckCounts;
pub(in crate::daemon) use sight::pool_info;
pub use sight::{PoolSight, TargetSight};
pub(in crate::daemon) use watch::{count_open, look_after};
