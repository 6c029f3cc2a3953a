//! The model of pools: where packets are forwarded to, and what chooses among the targets.

use gateway_common::image::HashOver;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Targets that share what is sent to them. A packet's target is chosen by its hash alone, so that no
/// connection needs to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How a packet gets to its target.
    pub forward: Forward,
    /// What of a packet chooses its target.
    pub hash: HashOver,
    /// By name, at least one. Their hash follows the name: another address disturbs nobody.
    pub targets: BTreeMap<String, Target>,
}

/// How packets get to their targets; those answer the client themselves.
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
        }
    }

    /// The source of the outer header, where there is one.
    #[must_use]
    pub fn source(&self) -> Option<OuterSource> {
        match *self {
            Forward::Ipip { source } | Forward::Gue { source, .. } => Some(source),
            Forward::L2 => None,
        }
    }
}

/// The source of outer headers, by their family; the node's own choice where none is named.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is reached: a unicast address, each once in a pool.
    pub address: IpAddr,
    /// Its part of the sum of weights is its part of what the pool gets; 0 takes nothing.
    pub weight: u16,
}

impl Target {
    /// The weight of a target where a document names none.
    pub const WEIGHT: u16 = 100;
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
