//! Prometheus metrics, read from the kernel's maps when they are asked for, and health.
//!
//! [`catalog`] is the one list of what there is. Counters that the kernel keeps go on across
//! restarts of the daemon; those that it keeps itself start at 0 with it and say so in their help.

mod catalog;
mod collect;
mod family;
mod flows;
mod health;
mod limits;
mod pools;
mod server;

pub use server::serve;
