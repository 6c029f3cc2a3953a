//! The model of pools: where packets are forwarded to, and what chooses among the targets.

use super::{Health, PortRange};
use gateway_common::image::HashOver;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Targets that share what is sent to them. A packet's target is chosen by its hash; only where addresses
/// are translated ([`Forward::Dnat`]) is a connection remembered, and stays with its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How a packet gets to its target.
    pub forward: Forward,
    /// What of a packet chooses its target.
    pub hash: HashOver,
    /// What the MSS of passing SYNs is held to; nothing where they pass as they come.
    pub mss: Option<Mss>,
    /// How its targets are looked after; nothing where they are not.
    pub health: Option<Health>,
    /// By name, at least one. Their hash follows the name: another address disturbs nobody.
    pub targets: BTreeMap<String, Target>,
}

impl Pool {
    /// A pool of these targets; the rest as in a document that does not name it.
    #[must_use]
    pub fn new(forward: Forward, targets: BTreeMap<String, Target>) -> Pool {
        Pool { forward, hash: HashOver::FiveTuple, mss: None, health: None, targets }
    }

    /// The targets that have all of these labels, by name.
    pub fn selected(&self, labels: &TargetLabels) -> impl Iterator<Item = (&String, &Target)> {
        self.targets.iter().filter(|(_, target)| target.has(labels))
    }
}

/// What is said of a target beside its address, by name: `version: v2`.
pub type TargetLabels = BTreeMap<String, String>;

/// Why no target has labels that a route asks for: what is wrong, and what would be right.
pub(super) fn none_selected<'p>(
    name: &str,
    targets: impl Iterator<Item = &'p TargetLabels>,
    asked: &TargetLabels,
) -> (String, String) {
    let text = |(key, value): (&String, &String)| format!("`{key}: {value}`");
    let known: BTreeSet<String> = targets.flat_map(|labels| labels.iter().map(text)).collect();
    let asked: Vec<String> = asked.iter().map(text).collect();
    let message = format!("no target of pool `{name}` has {}", asked.join(" and "));
    let help = if known.is_empty() {
        "its targets have no labels: write them at a target, `labels: {version: v2}`".to_owned()
    } else {
        format!("the labels there are {}", known.into_iter().collect::<Vec<_>>().join(", "))
    };
    (message, help)
}

/// What the MSS of SYNs is held to (RFC 9293 3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mss {
    /// What fits the way to the target.
    Way,
    /// This many bytes, [`Mss::LEAST`] or more.
    AtMost(u16),
}

impl Mss {
    /// What every host takes (RFC 9293 3.7.1).
    pub const LEAST: u16 = 536;
}

/// How packets get to their targets. Those answer the client themselves, but for [`Forward::Dnat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// In an IP header of their own (RFC 2003, RFC 2473), each family in either.
    Ipip {
        /// Of the outer header.
        source: OuterSource,
    },
    /// In UDP, straight behind its header: GUE variant 1 (draft-ietf-intarea-gue 4).
    Gue {
        /// UDP destination port, not 0.
        port: u16,
        /// Of the outer header.
        source: OuterSource,
    },
    /// As they are, to the target's link-layer address, whatever the packet's family.
    L2,
    /// With their destination translated to a target of their family, and back on the way from it; the
    /// connection is remembered.
    Dnat(Dnat),
}

impl Forward {
    /// The port of GUE where a document names none (IANA, Service Name and Port Number Registry).
    pub const GUE_PORT: u16 = 6_080;

    /// Its name in a document.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Forward::Ipip { .. } => "ipip",
            Forward::Gue { .. } => "gue",
            Forward::L2 => "l2",
            Forward::Dnat(_) => "dnat",
        }
    }

    /// The source that the target's network sees, where it is not the client's own: that of the outer
    /// header, or what sources are translated to.
    #[must_use]
    pub fn source(&self) -> Option<OuterSource> {
        match *self {
            Forward::Ipip { source } | Forward::Gue { source, .. } => Some(source),
            Forward::Dnat(dnat) => dnat.source.map(|source| source.addresses),
            Forward::L2 => None,
        }
    }

    /// What holds of translated connections, where this translates.
    #[must_use]
    pub fn dnat(&self) -> Option<&Dnat> {
        match self {
            Forward::Dnat(dnat) => Some(dnat),
            Forward::Ipip { .. } | Forward::Gue { .. } | Forward::L2 => None,
        }
    }
}

/// What holds of translated connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dnat {
    /// What sources are translated to; nothing where they stay.
    pub source: Option<Translation>,
    /// When a silent connection is over.
    pub timeouts: Timeouts,
    /// How long a client's next connection goes to the same target, from the beginning of its last one
    /// on; nothing where each is chosen anew.
    pub affinity: Option<Duration>,
}

/// What sources are translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// By family; the node's own choice where none is named.
    pub addresses: OuterSource,
    /// Not 0.
    pub ports: PortRange,
}

impl Translation {
    /// The ports where a document names none: behind Linux's own choice (`ip_local_port_range`).
    pub const PORTS: PortRange = PortRange { first: 61_000, last: 65_535 };
}

/// How long a connection lives in which nothing is heard: [`Timeouts::LEAST`] to [`Timeouts::MOST`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, both sides heard.
    pub established: Duration,
    /// TCP, not yet so.
    pub half_open: Duration,
    /// TCP, ended or reset.
    pub closing: Duration,
    /// Other protocols, both sides heard.
    pub udp: Duration,
    /// Other protocols, only the client heard.
    pub unanswered: Duration,
}

impl Timeouts {
    /// The shortest, of affinities too.
    pub const LEAST: Duration = Duration::from_secs(1);
    /// The longest, of affinities too.
    pub const MOST: Duration = Duration::from_secs(18 * 3_600);
    /// The keys of a document, in the order of [`Timeouts::all`].
    pub const KEYS: [&str; 5] = ["established", "half_open", "closing", "udp", "unanswered"];

    /// All of them.
    #[must_use]
    pub fn all(&self) -> [Duration; 5] {
        [self.established, self.half_open, self.closing, self.udp, self.unanswered]
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            established: Duration::from_secs(3_600),
            half_open: Duration::from_secs(30),
            closing: Duration::from_secs(10),
            udp: Duration::from_secs(120),
            unanswered: Duration::from_secs(30),
        }
    }
}

/// The source of outer headers or translated packets, by their family; the node's own choice where none
/// is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OuterSource {
    /// To targets of IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// To targets of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl OuterSource {
    /// The one of a target's family.
    #[must_use]
    pub fn towards(&self, target: IpAddr) -> Option<IpAddr> {
        match target {
            IpAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }

    /// All of them, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// One that packets are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is reached: a unicast address, each once in a pool; where destinations are translated,
    /// once with each port.
    pub address: IpAddr,
    /// The port that destinations are translated to, not 0; nothing where packets keep theirs.
    pub port: Option<u16>,
    /// Its part of the sum of weights is its part of what the pool gets; 0 takes nothing.
    pub weight: u16,
    /// By which routes choose among targets.
    pub labels: TargetLabels,
}

impl Target {
    /// The weight of a target where a document names none.
    pub const WEIGHT: u16 = 100;

    /// A target at this address; the rest as in a document that does not name it.
    #[must_use]
    pub fn new(address: IpAddr) -> Target {
        Target { address, port: None, weight: Target::WEIGHT, labels: TargetLabels::new() }
    }

    /// Whether it has all of these labels.
    #[must_use]
    pub fn has(&self, labels: &TargetLabels) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// Its address, with its port where it has one.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// The name in a document of what chooses a target.
#[must_use]
pub fn hash_name(hash: HashOver) -> &'static str {
    match hash {
        HashOver::FiveTuple => "five-tuple",
        HashOver::Source => "source",
        HashOver::SourceDestination => "source-destination",
    }
}
