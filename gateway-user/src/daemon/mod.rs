//! The daemon: owns the data plane and the live policy, and serves the control API and the metrics.
//!
//! [`run()`] is its life. [`Governor`] is the one owner of state: everybody reads what it publishes,
//! and every change goes through it, one after the other. [`change`] has the order that makes a
//! change all or nothing, [`start`] what a restart does.

mod change;
mod clock;
mod config;
mod connections;
mod diff;
mod edit;
mod error;
mod events;
mod golive;
mod governor;
mod health;
mod interfaces;
mod label_files;
mod label_view;
mod labels;
mod limit_terms;
mod limits;
mod live;
mod members;
mod names;
mod node_names;
mod pools;
mod report;
mod rights;
mod run;
mod spec;
mod start;
mod talkers;
mod targets;
mod tasks;
mod telemetry;
mod view;

pub use change::{Change, Terms};
pub use clock::Calendar;
pub use config::{Config, ConfigError, Mode, TABLE_SIZES, is_table_size};
pub use edit::Edit;
pub use error::{GovernError, LabelError, RunError};
pub use events::{RECENT_MAX, Seen};
pub use governor::{Course, Governor};
pub use health::{CheckCounts, PoolSight, TargetSight};
pub use interfaces::InterfaceState;
pub use label_files::Files;
pub use labels::{TTL_SECS_MAX, Which};
pub use limits::LimitScan;
pub use live::Live;
pub use names::{RESERVED, port_words, protocol, tcp_flags};
pub use run::run;

use run::kernel_log_level;
