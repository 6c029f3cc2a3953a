//! One file a noun: what each verb asks, and how its answer is shown.

pub mod check;
pub mod detach;
pub mod event;
pub mod flow;
pub mod policy;
pub mod route;
pub mod run;
pub mod status;
