//! The harness: packets, network namespaces, the real object under a private pin folder, counters
//! before and after, the table of golden packets and the reference model.
//!
//! Nothing in here shares code with what it tests beyond the layouts of `gateway_common`: packets
//! are built and judged by code of their own.

pub mod backends;
pub mod btf;
pub mod captures;
pub mod changes;
pub mod check;
pub mod compare;
pub mod connections;
pub mod counters;
pub mod daemon;
pub mod faulty;
pub mod flood;
pub mod generate;
pub mod golden;
pub mod health;
pub mod kernel;
pub mod model;
pub mod netns;
pub mod network;
pub mod object;
pub mod packet;
pub mod process;
pub mod random;
pub mod receive;
pub mod report;
pub mod testrun;
pub mod traffic;
pub mod watch;
pub mod ways;
pub mod web;
pub mod wire;

/// Where the BPF file system is mounted; each test pins in a folder of its own below.
pub const BPF_FOLDER: &str = "/sys/fs/bpf";
