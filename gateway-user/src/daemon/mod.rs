//! The daemon: owns the data plane and the live policy, and serves the control API and the metrics.

mod config;

pub use config::{Config, ConfigError, Mode};
