//! Why a packet was dropped, or would have been: one table makes the codes, the metric labels and
//! the documentation.
//!
//! A code, once released, keeps its meaning for ever and is never given to another reason.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $name:literal, $source:literal;)+) => {
        /// A numbered reason. The number is part of the ABI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $code,)+
        }

        impl Reason {
            /// All reasons, by code.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The name in metrics, events and policies.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+),)+ }
            }

            /// The document that the check follows, or "policy" and "gateway" where it is ours.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $(Reason::$variant => $source,)+ }
            }

            /// The reason with this code.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Reason> {
                match code { $($code => Some(Reason::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// A route's action is drop.
    Route = 1, "route", "policy";
    /// No route matched and the policy's default is drop.
    Default = 2, "default", "policy";
    /// The route redirects to an interface that is not there now.
    RedirectTarget = 3, "redirect_target", "gateway";
    /// The policy's tables pointed outside themselves, or the program that reads them is gone.
    PolicyFault = 4, "policy_fault", "gateway";
    /// Over a limit of its route.
    Limit = 5, "limit", "policy";
    /// The sender is banned by a limit of its route.
    Banned = 6, "banned", "policy";
    /// Part of a SYN cookie's exchange, or a SYN that could not be answered with one.
    SynCookie = 7, "syn_cookie", "policy";

    /// Shorter than an Ethernet header.
    EthTruncated = 8, "eth_truncated", "IEEE 802.3 3.1";
    /// The frame ends inside a VLAN tag.
    VlanTruncated = 9, "vlan_truncated", "IEEE 802.1Q 9.6";
    /// More than two VLAN tags.
    VlanDepth = 10, "vlan_depth", "IEEE 802.1Q 9.6";

    /// No source port is free for a connection of a pool that translates sources.
    NoPort = 11, "no_port", "gateway";
    /// No socket listens where the route hands its flows to.
    NoListener = 12, "no_listener", "gateway";

    /// The frame ends inside the IPv4 header.
    Ipv4Truncated = 16, "ipv4_truncated", "RFC 791 3.1";
    /// EtherType says IPv4, the version field does not.
    Ipv4Version = 17, "ipv4_version", "RFC 791 3.1";
    /// The header length field is below five words.
    Ipv4HeaderLength = 18, "ipv4_header_length", "RFC 791 3.1";
    /// The total length is shorter than the header.
    Ipv4TotalLength = 19, "ipv4_total_length", "RFC 791 3.1";
    /// The total length reaches beyond the frame.
    Ipv4BeyondFrame = 20, "ipv4_beyond_frame", "net/ipv4/ip_input.c ip_rcv_core";
    /// A fragment that would end beyond 65,535 bytes.
    Ipv4FragmentOverrun = 21, "ipv4_fragment_overrun", "RFC 791 3.2";
    /// A fragment with others to follow whose length is not a multiple of eight.
    Ipv4FragmentLength = 22, "ipv4_fragment_length", "RFC 791 3.2";

    /// The frame ends inside the IPv6 header.
    Ipv6Truncated = 24, "ipv6_truncated", "RFC 8200 3";
    /// EtherType says IPv6, the version field does not.
    Ipv6Version = 25, "ipv6_version", "RFC 8200 3";
    /// The payload length reaches beyond the frame.
    Ipv6BeyondFrame = 26, "ipv6_beyond_frame", "RFC 8200 3";
    /// The packet ends inside an extension header.
    Ipv6ExtensionTruncated = 27, "ipv6_extension_truncated", "RFC 8200 4";
    /// More than six extension headers.
    Ipv6ExtensionDepth = 28, "ipv6_extension_depth", "RFC 8504 5.3";
    /// Hop-by-hop options not directly behind the IPv6 header.
    Ipv6HopByHopOrder = 29, "ipv6_hop_by_hop_order", "RFC 8200 4.3";
    /// A fragment that would end beyond 65,535 bytes.
    Ipv6FragmentOverrun = 30, "ipv6_fragment_overrun", "RFC 8200 4.5";
    /// A fragment with others to follow whose length is not a multiple of eight.
    Ipv6FragmentLength = 31, "ipv6_fragment_length", "RFC 8200 4.5";

    /// The packet ends inside the TCP header.
    TcpTruncated = 32, "tcp_truncated", "RFC 9293 3.1";
    /// The TCP data offset is below five words or beyond the packet.
    TcpDataOffset = 33, "tcp_data_offset", "RFC 9293 3.1";
    /// A TCP fragment that starts inside the TCP header.
    TcpTinyFragment = 34, "tcp_tiny_fragment", "RFC 3128 2";
    /// The packet ends inside the UDP header.
    UdpTruncated = 35, "udp_truncated", "RFC 768";
    /// The UDP length is below eight or beyond the packet.
    UdpLength = 36, "udp_length", "RFC 768";
    /// The packet ends inside the SCTP common header.
    SctpTruncated = 37, "sctp_truncated", "RFC 9260 3.1";
    /// The packet ends inside the ICMP header.
    IcmpTruncated = 38, "icmp_truncated", "RFC 792";
    /// The packet ends inside the ICMPv6 header.
    Icmpv6Truncated = 39, "icmpv6_truncated", "RFC 4443 2.1";
    /// TCP flags that no packet of a connection has together.
    TcpFlags = 40, "tcp_flags", "net/netfilter/nf_conntrack_proto_tcp.c tcp_valid_flags";

    /// Sent to the address and port that it says it comes from.
    Land = 48, "land", "CVE-1999-0016";
    /// An address that no packet on a wire may come from or go to.
    Martian = 49, "martian", "RFC 1812 5.3.7, RFC 4291 2.5.3";

    /// No target of the route's pool takes packets.
    NoTarget = 50, "no_target", "policy";
    /// The kernel has no way to the target, or does not forward on the interface where the packet arrived.
    NoRoute = 51, "no_route", "gateway";
    /// The time to live ends here: 1 or 0 of a packet for a pool.
    TtlExceeded = 52, "ttl_exceeded", "RFC 1812 5.3.1, RFC 8200 3";
    /// Larger than the way to the target allows, with what it is wrapped in.
    TooBig = 53, "too_big", "RFC 1191 4, RFC 8201 4";
    /// No room for the headers that it is wrapped in, or the device's segments cannot be wrapped.
    NoRoom = 54, "no_room", "gateway";

    /// The table of tracked connections is full where this one would stand.
    ConnectionsFull = 55, "connections_full", "gateway";

    /// The IPv4 header's checksum is wrong.
    Ipv4Checksum = 56, "ipv4_checksum", "RFC 791 3.1";
    /// The TCP checksum is wrong.
    TcpChecksum = 57, "tcp_checksum", "RFC 9293 3.1";
    /// The UDP checksum is wrong, or missing in IPv6.
    UdpChecksum = 58, "udp_checksum", "RFC 768, RFC 8200 8.1";
    /// The ICMP checksum is wrong.
    IcmpChecksum = 59, "icmp_checksum", "RFC 792";
    /// The ICMPv6 checksum is wrong.
    Icmpv6Checksum = 60, "icmpv6_checksum", "RFC 4443 2.3";

    /// A later fragment of a packet for a pool whose first one was not seen, or too long ago.
    FragmentUnseen = 61, "fragment_unseen", "RFC 791 3.2, RFC 8200 4.5";
    /// Every target of the route's pool has as many connections as it may.
    TargetsFull = 62, "targets_full", "policy";
}

impl Reason {
    /// One more than the highest code: how many counters an interface has.
    pub const COUNT: usize = 64;

    /// The number in maps and events.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether the policy's `malformed` switch decides between drop and pass-and-count.
    #[must_use]
    pub const fn is_malformed(self) -> bool {
        let of_routes = matches!(
            self,
            Reason::NoPort
                | Reason::NoListener
                | Reason::NoTarget
                | Reason::NoRoute
                | Reason::TtlExceeded
                | Reason::TooBig
                | Reason::NoRoom
                | Reason::ConnectionsFull
                | Reason::FragmentUnseen
                | Reason::TargetsFull
        );
        self as u8 >= Reason::EthTruncated as u8 && !of_routes
    }

    /// The bit that stands for this reason in [`crate::image::HeaderAttributes::malformed_drop`].
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << (self as u8)
    }

    /// Every malformed reason's bit.
    #[must_use]
    pub const fn all_malformed_bits() -> u64 {
        let mut bits = 0;
        let mut i = 0;
        while i < Reason::ALL.len() {
            if Reason::ALL[i].is_malformed() {
                bits |= Reason::ALL[i].bit();
            }
            i += 1;
        }
        bits
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_the_counters_and_names_are_unique() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert!((reason.code() as usize) < Reason::COUNT);
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert_eq!(Reason::from_name(reason.name()), Some(*reason));
            for other in &Reason::ALL[i + 1..] {
                assert!(other.code() > reason.code());
            }
        }
    }
}
