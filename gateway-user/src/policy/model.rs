//! The model: a policy after parsing, every name resolved and every value checked.

use super::pool::{Pool, TargetLabels};
use gateway_common::reason::Reason;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A whole policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Named sets of source prefixes.
    pub labels: BTreeMap<String, Label>,
    /// Named limits, each one bucket (or one for each key) for all routes that name it.
    pub limits: BTreeMap<String, Limit>,
    /// What routes may forward to.
    pub pools: BTreeMap<String, Pool>,
    /// In order: the first that matches decides.
    pub routes: Vec<Route>,
    /// What happens to a packet that no route matches.
    pub default: Default,
    /// What happens to packets that are cut short, lie about their lengths or contradict themselves.
    pub malformed: Malformed,
    /// Whether checksums are verified (IPv4 header, TCP, UDP, ICMP, ICMPv6); wrong ones are malformed.
    pub verify_checksums: bool,
}

impl Policy {
    /// A policy of these routes and this default; the rest as in a document that does not name it.
    #[must_use]
    pub fn new(routes: Vec<Route>, default: Default) -> Policy {
        Policy {
            labels: BTreeMap::new(),
            limits: BTreeMap::new(),
            pools: BTreeMap::new(),
            routes,
            default,
            malformed: Malformed::default(),
            verify_checksums: false,
        }
    }
}

/// A named set of source prefixes. Live members (`gateway label add`) are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Sorted, each once, host bits zero. Shared, since a million is a normal size.
    pub prefixes: Arc<Vec<IpNet>>,
    /// The file that they were read from, as the document names it; nothing where they stand in the
    /// document.
    pub file: Option<LabelFile>,
}

/// Where a label's prefixes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFile {
    /// As written in the document: relative to the document's folder, or absolute.
    pub path: String,
    /// SHA-256 of the prefixes in canonical order, big-endian words: two files with the same prefixes
    /// are the same label.
    pub digest: [u64; 4],
}

/// A limit: how much passes, of what, for whom, and what happens to the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted, and how much of it passes.
    pub quantity: Quantity,
    /// Whose packets share a bucket.
    pub per: Per,
    /// What happens to what goes over.
    pub over: Over,
    /// A key that goes over again and again is refused for some time. Only with a key (not
    /// [`Per::Route`]) and [`Over::Drop`].
    pub ban: Option<Ban>,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Packets.
    Packets(Rate),
    /// Bytes of frames, without FCS. The rate is in bytes a second: 8 of a document's bits.
    Bytes(Rate),
    /// New connections: a TCP packet with SYN and without ACK; of other protocols a flow's first packet.
    NewConnections(Rate),
    /// Connections open at once, at most.
    OpenConnections(u32),
}

/// A rate, and how far beyond it for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Units a second, at least 1.
    pub per_second: u64,
    /// Units at once, at least 1. A document that names none gets a tenth of a second's worth, at
    /// least 1 packet or connection and at least 3,000 bytes.
    pub burst: u64,
}

/// Whose packets share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// All that the limit sees: for a limit inside a route that route's, for a named one all routes'
    /// that name it.
    Route,
    /// Each source address, or prefix of these lengths.
    Source(KeyLengths),
    /// Each destination address, or prefix.
    Destination(KeyLengths),
    /// Each set of labels that senders carry; those without a label share one bucket.
    Label,
}

/// How much of an address is a key, bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyLengths {
    /// 1 to 32.
    pub ipv4: u8,
    /// 1 to 128.
    pub ipv6: u8,
}

impl KeyLengths {
    /// Whole addresses.
    pub const ADDRESS: KeyLengths = KeyLengths { ipv4: 32, ipv6: 128 };
}

/// What happens to what goes over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// Dropped, reason `limit`.
    Drop,
    /// Passed on, with another DSCP or mark; at least one of them.
    Demote {
        /// 0 to 63.
        dscp: Option<u8>,
        /// skb mark, not 0.
        mark: Option<u32>,
    },
    /// Passed on and counted, to try a limit before it bites.
    Count,
}

/// When a key is banned, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ban {
    /// How long all its packets are refused: a second to 30 days.
    pub duration: Duration,
    /// After so many refused packets since its bucket was last full: 1 to 65,535.
    pub after: u16,
}

/// A limit as a route names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteLimit {
    /// One of [`Policy::limits`].
    Named(String),
    /// The route's own. Its name is the route's, a `/`, and its place in the list from 1: `web/1`.
    Own(Limit),
}

/// SYN cookies for a route: while it is under attack, a source must show that it receives what is
/// sent to it before its SYN passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SynCookies {
    /// All the time.
    Always,
    /// While more SYNs a second arrive from sources that have not shown it than `above`, until they
    /// have been below half of that for `hold`.
    Above {
        /// SYNs a second, at least 1.
        per_second: u64,
        /// A second to an hour.
        hold: Duration,
    },
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
    /// DSCP that is written into the packet, 0 to 63.
    pub dscp: Option<u8>,
    /// Limits, in order: the first that drops ends the packet's way. At most [`Route::MAX_LIMITS`],
    /// none with an action of drop.
    pub limits: Vec<RouteLimit>,
    /// SYN cookies; only where the route can match TCP.
    pub syn_cookies: Option<SynCookies>,
    /// What is done.
    pub action: Action,
}

impl Route {
    /// Most limits of a route.
    pub const MAX_LIMITS: usize = gateway_common::image::MAX_ROUTE_LIMITS;

    /// The limits that no other route shares, SYN cookies' among them.
    #[must_use]
    pub fn own_limits(&self) -> usize {
        let own = self.limits.iter().filter(|limit| matches!(limit, RouteLimit::Own(_))).count();
        own + usize::from(self.syn_cookies.is_some())
    }

    /// A route that matches every IP packet.
    #[must_use]
    pub fn new(name: impl Into<String>, action: Action) -> Route {
        Route {
            name: name.into(),
            matches: Match::default(),
            mark: None,
            priority: None,
            dscp: None,
            limits: Vec::new(),
            syn_cookies: None,
            action,
        }
    }
}

/// Match components; within one, any of the list. A list is never empty, is sorted and holds no
/// duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Names of the interface the packet arrived on.
    pub interface: Option<Vec<String>>,
    /// Source prefixes, host bits zero. With `labels` beside them, either suffices.
    pub from: Option<Vec<IpNet>>,
    /// The sender's labels; a document writes them into `from` too.
    pub labels: Option<LabelTest>,
    /// Destination prefixes, host bits zero.
    pub to: Option<Vec<IpNet>>,
    /// IP protocol numbers (behind IPv6's extension headers).
    pub protocol: Option<Vec<u8>>,
    /// Destination ports of TCP, UDP and SCTP; disjoint, ascending, never touching.
    pub port: Option<Vec<PortRange>>,
    /// Source ports, the same way.
    pub source_port: Option<Vec<PortRange>>,
    /// ICMP or ICMPv6 types (RFC 8955 4.2.2.7), ranges as above.
    pub icmp_type: Option<Vec<Range<u8>>>,
    /// ICMP or ICMPv6 codes.
    pub icmp_code: Option<Vec<Range<u8>>>,
    /// TCP flags.
    pub tcp_flags: Option<Vec<TcpFlags>>,
    /// Length of the IP packet with its header, bytes (RFC 8955 4.2.2.10).
    pub length: Option<Vec<Range<u16>>>,
    /// Differentiated services code points, 0 to 63.
    pub dscp: Option<Vec<Range<u8>>>,
    /// Kinds of fragment.
    pub fragment: Option<Vec<Fragment>>,
    /// IPv6 flow labels (RFC 8956 3.7), 20 bits. An IPv4 packet has none.
    pub flow_label: Option<Vec<Range<u32>>>,
    /// VLAN identifiers of the outer tag, 1 to 4094; 0 is "no tag".
    pub vlan: Option<Vec<Range<u16>>>,
    /// Time to live, or hop limit.
    pub ttl: Option<Vec<Range<u8>>>,
    /// Components none of which may hold; no `not` within.
    pub not: Option<Box<Match>>,
}

/// Which labels a sender must carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelTest {
    /// Names of [`Policy::labels`], sorted, each once.
    pub names: Vec<String>,
    /// All of them, and not just any. Then there are no prefixes beside them.
    pub all: bool,
}

/// An inclusive range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range<T> {
    /// The first.
    pub first: T,
    /// The last, not below the first.
    pub last: T,
}

/// An inclusive range of ports.
pub type PortRange = Range<u16>;

/// TCP flags that must be set and unset (RFC 8955 4.2.2.9: a bitmask match).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpFlags {
    /// Of the flags in `mask`, just these are set. FIN is bit 0, CWR bit 7.
    pub set: u8,
    /// The flags that matter, not 0.
    pub mask: u8,
}

/// A kind of fragment (RFC 8955 4.2.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fragment {
    /// `dont`: IPv4's don't-fragment bit is set.
    Dont,
    /// `first`: the first of several.
    First,
    /// `later`: not the first (RFC 8955's IsF).
    Later,
    /// `last`: the last of several.
    Last,
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
    /// To a target of a pool.
    Pool {
        /// One of [`Policy::pools`].
        pool: String,
        /// Labels that its target must have; empty where any will do.
        targets: TargetLabels,
    },
    /// To a socket of this node that listens on this TCP or UDP port, whatever the packet's destination.
    Proxy {
        /// Not 0.
        port: u16,
    },
}

impl Action {
    /// To any target of a pool.
    #[must_use]
    pub fn pool(name: impl Into<String>) -> Action {
        Action::Pool { pool: name.into(), targets: TargetLabels::new() }
    }
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
