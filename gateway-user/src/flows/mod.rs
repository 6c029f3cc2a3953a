//! Flow accounts in user space: what left the kernel's memo is added up in a bounded [`Table`], and
//! [`select()`] merges it with the lines that are still in the memo. Nothing else merges the two.

mod account;
mod select;
mod table;

#[cfg(test)]
mod tests;

pub use account::Account;
pub use select::{Filter, Order, Selection, Sums, select};
pub use table::{Table, TableCounters};
