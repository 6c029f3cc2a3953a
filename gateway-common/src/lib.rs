//! What kernel and user space must agree on: layouts, numbered drop reasons, limits, and the pure
//! functions that both sides run (parsing, hashing, table look-up, classification).
//!
//! No map, no I/O and no unsafe code of its own lives here, so everything in this crate compiles to
//! the kernel object and to the host alike, and host tests exercise the code that judges packets.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod abi;
pub mod classify;
pub mod fragment;
pub mod hash;
pub mod health;
pub mod icmp_error;
pub mod image;
pub mod limit;
pub mod live;
pub mod mss;
pub mod packet;
pub mod parse;
pub mod path;
pub mod reason;
pub mod target;
pub mod track;
pub mod ways;
