//! How many connections may be open at once.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// More than these would need more memory for sockets than a node should spend on asking.
const CONNECTIONS_MOST: u64 = 65_536;

/// Raises this process's limit of open files to the hard one; how many of them may be connections of probes. A quarter
/// is left for all the rest of the process.
///
/// # Errors
/// If the limit can be neither read nor set.
pub(super) fn allow_connections() -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok((hard - hard / 4).clamp(1, CONNECTIONS_MOST) as usize)
}
