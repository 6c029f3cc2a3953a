//! The model: a policy after parsing, every name resolved and every value checked.

use gateway_common::reason::Reason;
use ipnet::IpNet;

/// A whole policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In order: the first that matches decides.
    pub routes: Vec<Route>,
    /// What happens to a packet that no route matches.
    pub default: Default,
    /// What happens to packets that are cut short, lie about their lengths or contradict themselves.
    pub malformed: Malformed,
}

/// A route: what it matches, and what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique in a policy; the counters follow it across changes.
    pub name: String,
    /// All named components must hold; none named matches every IP packet.
    pub matches: Match,
    /// skb mark, not 0.
    pub mark: Option<u32>,
    /// skb priority, not 0.
    pub priority: Option<u32>,
    /// What is done.
    pub action: Action,
}

/// Match components; within one, any of the list. A list is never empty, is sorted and holds no
/// duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Names of the interface the packet arrived on.
    pub interface: Option<Vec<String>>,
    /// Source prefixes, host bits zero.
    pub from: Option<Vec<IpNet>>,
    /// Destination prefixes, host bits zero.
    pub to: Option<Vec<IpNet>>,
    /// IP protocol numbers (behind IPv6's extension headers).
    pub protocol: Option<Vec<u8>>,
    /// Destination ports of TCP, UDP and SCTP; disjoint, ascending, never touching.
    pub port: Option<Vec<PortRange>>,
    /// Source ports, the same way.
    pub source_port: Option<Vec<PortRange>>,
}

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

/// A route's action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To the stack.
    Pass,
    /// Dropped.
    Drop,
    /// Back out of the interface it came from, Ethernet addresses swapped.
    Tx,
    /// Out of another interface, as it is.
    Redirect {
        /// Its name.
        interface: String,
    },
}

/// The default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// To the stack.
    Pass,
    /// Dropped.
    Drop,
}

/// Which malformed packets are dropped; the others pass, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// [`Reason::bit`]s.
    pub drop_bits: u64,
}

impl std::default::Default for Malformed {
    /// All are dropped.
    fn default() -> Self {
        Malformed { drop_bits: Reason::all_malformed_bits() }
    }
}
