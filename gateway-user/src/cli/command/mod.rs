//! One file a noun: what each verb asks, and how its answer is shown.

pub mod backend;
pub mod check;
pub mod connection;
pub mod detach;
pub mod event;
pub mod flow;
pub mod label;
pub mod limit;
pub mod policy;
pub mod pool;
pub mod pool_top;
pub mod route;
pub mod run;
pub mod status;
