//! Why a probe failed, in an operator's words.

use nix::errno::Errno;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio_rustls::rustls;

/// How far a probe had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The TCP connection was not open yet.
    Connecting,
    /// The TLS handshake went on.
    Handshake,
    /// The question was put, and the answer waited for.
    Answer,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Connecting => "while connecting",
            Stage::Handshake => "in the TLS handshake",
            Stage::Answer => "while waiting for the answer",
        })
    }
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// The check's time was over.
    #[error("timeout after {} ms {stage}", after.as_millis())]
    Timeout {
        /// What it waited for.
        stage: Stage,
        /// How long it waited in all.
        after: Duration,
    },
    /// The target broke the connection.
    #[error("connection reset {stage}")]
    Reset {
        /// When.
        stage: Stage,
    },
    /// The target ended the connection before it had answered.
    #[error("connection closed {stage}")]
    Closed {
        /// When.
        stage: Stage,
    },
    /// The network does not bring packets there, or the kernel refuses to send them.
    #[error("unreachable: {}", errno.desc())]
    Unreachable {
        /// What the kernel says.
        errno: Errno,
    },
    /// An answer that is not good.
    #[error("HTTP status {status} is not an expected one")]
    Status {
        /// Which.
        status: u16,
    },
    /// No answer that HTTP/1 knows.
    #[error("malformed HTTP answer: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The handshake failed, or the target sent an alert (RFC 8446 6).
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// This node has no raw socket to ask with.
    #[error("this node has no ICMP socket: it takes CAP_NET_RAW")]
    NoIcmp,
    /// This process, or this node, has as many files open as it may.
    #[error("this node is out of file descriptors")]
    NoDescriptors,
    /// No port is free to connect from, or this node has no address to connect from (`EADDRNOTAVAIL` means both).
    #[error("this node has no local port or address left to connect from")]
    NoPorts,
    /// The kernel has no memory for a socket or a packet.
    #[error("this node is out of memory for sockets")]
    NoMemory,
    /// The check cannot be put as it is written.
    #[error("the check cannot be asked: {reason}")]
    Unaskable {
        /// Why not.
        reason: String,
    },
}

impl Failure {
    /// Whether this node failed, and not the target: then it says nothing about the target.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Failure::NoIcmp
            | Failure::NoDescriptors
            | Failure::NoPorts
            | Failure::NoMemory
            | Failure::Unaskable { .. } => true,
            Failure::Refused
            | Failure::Timeout { .. }
            | Failure::Reset { .. }
            | Failure::Closed { .. }
            | Failure::Unreachable { .. }
            | Failure::Status { .. }
            | Failure::Malformed { .. }
            | Failure::Tls(_) => false,
        }
    }

    /// What an error of a socket means.
    pub(super) fn of_io(error: &io::Error, stage: Stage) -> Failure {
        if let Some(code) = error.raw_os_error() {
            return match Errno::from_raw(code) {
                Errno::ECONNREFUSED => Failure::Refused,
                Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE => Failure::Reset { stage },
                Errno::EMFILE | Errno::ENFILE => Failure::NoDescriptors,
                Errno::EADDRNOTAVAIL => Failure::NoPorts,
                Errno::ENOBUFS | Errno::ENOMEM => Failure::NoMemory,
                errno => Failure::Unreachable { errno },
            };
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Failure::Tls(error.clone()),
            // All that is not of the kernel and not of TLS is an end where more was to come.
            None => Failure::Closed { stage },
        }
    }
}
