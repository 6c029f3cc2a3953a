//! The model of targets' health: how it is looked after, and what follows where a target fails.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How the targets of a pool are looked after. At least one of `check`, `passive` and `connections` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What this node asks each target; nothing where it asks none.
    pub check: Option<Check>,
    /// By how many failed handshakes of clients a target's circuit opens; nothing where they only are counted.
    pub passive: Option<Passive>,
    /// How long a target that failed is passed over, and how many at once.
    pub eject: Eject,
    /// Part of the pool's weight, percent, that must be in service: below it all targets are used, since few that
    /// are left would go down under what is meant for all. 0: never.
    pub panic: u8,
    /// How long the part of new connections that a target gets grows to its whole, once it is back; zero: at once.
    pub slow_start: Duration,
    /// Part of its new connections, percent, that a target gets on trial once its time is over: 1 to 100.
    pub trial: u8,
    /// Most connections that a target has open at once, where they are remembered; nothing for no limit.
    pub connections: Option<u32>,
}

impl Health {
    /// Where a document says nothing else.
    pub const PANIC: u8 = 50;
    /// As [`Health::PANIC`].
    pub const SLOW_START: Duration = Duration::from_secs(30);
    /// As [`Health::PANIC`].
    pub const TRIAL: u8 = 5;
    /// Longest slow start.
    pub const SLOW_START_MOST: Duration = Duration::from_secs(3_600);

    /// Nothing that would look after a target yet; the rest as in a document that does not name it.
    #[must_use]
    pub fn new() -> Health {
        Health {
            check: None,
            passive: None,
            eject: Eject::default(),
            panic: Health::PANIC,
            slow_start: Health::SLOW_START,
            trial: Health::TRIAL,
            connections: None,
        }
    }
}

impl Default for Health {
    fn default() -> Health {
        Health::new()
    }
}

/// What this node asks a target again and again: the target's own address, whatever way packets are forwarded to it,
/// not the service's address that a target of `ipip`, `gue` or `l2` answers for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What.
    pub kind: CheckKind,
    /// How often: [`Check::INTERVAL_LEAST`] to [`Check::INTERVAL_MOST`].
    pub interval: Duration,
    /// How long it waits for the answer: [`Check::TIMEOUT_LEAST`] to the interval.
    pub timeout: Duration,
    /// So many good answers one after the other bring a target back: 1 to 100.
    pub rise: u8,
    /// So many bad ones take it out: 1 to 100.
    pub fall: u8,
}

impl Check {
    /// Where a document says nothing else.
    pub const INTERVAL: Duration = Duration::from_secs(2);
    /// As [`Check::INTERVAL`]; a shorter interval where that is one.
    pub const TIMEOUT: Duration = Duration::from_secs(1);
    /// As [`Check::INTERVAL`].
    pub const RISE: u8 = 2;
    /// As [`Check::INTERVAL`].
    pub const FALL: u8 = 3;
    /// The shortest interval.
    pub const INTERVAL_LEAST: Duration = Duration::from_millis(100);
    /// The longest interval.
    pub const INTERVAL_MOST: Duration = Duration::from_secs(3_600);
    /// The shortest timeout.
    pub const TIMEOUT_LEAST: Duration = Duration::from_millis(10);
}

/// What a check asks. Where it names no port it is the target's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// A TCP connection that opens (RFC 9293 3.5).
    Tcp {
        /// Not 0.
        port: Option<u16>,
    },
    /// A TLS handshake that ends; the certificate is not verified.
    Tls {
        /// Not 0.
        port: Option<u16>,
        /// The name in Server Name Indication (RFC 6066 3); none where a document names none.
        name: Option<String>,
    },
    /// An HTTP/1.1 answer to `GET` with an expected status (RFC 9110 15).
    Http {
        /// Not 0.
        port: Option<u16>,
        /// Path and query, from `/` on.
        path: String,
        /// The `Host` field; the target's address and port where a document names none.
        host: Option<String>,
        /// Expected ones, each 100 to 599; sorted, and none touches another.
        status: Vec<RangeInclusive<u16>>,
    },
    /// An answer to an ICMP echo (RFC 792, RFC 4443 4).
    Icmp,
}

impl CheckKind {
    /// What an HTTP check asks for where a document names nothing.
    pub const PATH: &str = "/";
    /// Longest path, bytes.
    pub const PATH_BYTES_MAX: usize = 1_024;
    /// The status that an HTTP check expects where a document names none.
    pub const STATUS: RangeInclusive<u16> = 200..=299;

    /// Its name in a document.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            CheckKind::Tcp { .. } => "tcp",
            CheckKind::Tls { .. } => "tls",
            CheckKind::Http { .. } => "http",
            CheckKind::Icmp => "icmp",
        }
    }
}

/// When a target's circuit opens by itself: `failures` handshakes within the window failed, and they are at least
/// this part of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passive {
    /// 1 to [`Passive::FAILURES_MOST`].
    pub failures: u16,
    /// Percent, 1 to 100.
    pub ratio: u8,
    /// [`Passive::WINDOW_LEAST`] to [`Passive::WINDOW_MOST`].
    pub window: Duration,
}

impl Passive {
    /// Most failures, which the kernel has 12 bits to count.
    pub const FAILURES_MOST: u16 = 2_000;
    /// The shortest window.
    pub const WINDOW_LEAST: Duration = Duration::from_millis(100);
    /// The longest window.
    pub const WINDOW_MOST: Duration = Duration::from_secs(3_600);
}

impl Default for Passive {
    fn default() -> Passive {
        Passive { failures: 10, ratio: 50, window: Duration::from_secs(10) }
    }
}

/// How targets that failed are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// How long the first time: [`Eject::LEAST`] to `most`. Each failure soon after doubles it.
    pub base: Duration,
    /// And how long at most, up to [`Eject::MOST`].
    pub most: Duration,
    /// Part of the pool's targets, percent, whose circuits may be open at once: 1 to 100, and one target always.
    pub at_most: u8,
}

impl Eject {
    /// The shortest time.
    pub const LEAST: Duration = Duration::from_millis(100);
    /// The longest time.
    pub const MOST: Duration = Duration::from_secs(24 * 3_600);
}

impl Default for Eject {
    fn default() -> Eject {
        Eject { base: Duration::from_secs(10), most: Duration::from_secs(300), at_most: 50 }
    }
}
