//! The dimensions of a match, in the order of their bits.

use gateway_common::classify::FIELDS;
use gateway_common::image::dimension as bit;
use std::fmt;

/// How many dimensions there are.
pub(super) const DIMENSIONS: usize = bit::COUNT;

/// A component of a match that the kernel looks up on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// The interface the packet arrived on.
    Interface = 0,
    /// Source prefix.
    From = 1,
    /// Destination prefix.
    To = 2,
    /// IP protocol.
    Protocol = 3,
    /// Destination port.
    Port = 4,
    /// Source port.
    SourcePort = 5,
    /// The sender's labels.
    Label = 6,
    /// VLAN of the outer tag.
    Vlan = 7,
    /// ICMP type.
    IcmpType = 8,
    /// ICMP code.
    IcmpCode = 9,
    /// TCP flags.
    TcpFlags = 10,
    /// Length of the IP packet.
    Length = 11,
    /// Differentiated services code point.
    Dscp = 12,
    /// Kind of fragment.
    Fragment = 13,
    /// IPv6 flow label.
    FlowLabel = 14,
    /// Time to live, or hop limit.
    Ttl = 15,
}

impl Dimension {
    /// All, by bit.
    pub const ALL: [Dimension; DIMENSIONS] = [
        Dimension::Interface,
        Dimension::From,
        Dimension::To,
        Dimension::Protocol,
        Dimension::Port,
        Dimension::SourcePort,
        Dimension::Label,
        Dimension::Vlan,
        Dimension::IcmpType,
        Dimension::IcmpCode,
        Dimension::TcpFlags,
        Dimension::Length,
        Dimension::Dscp,
        Dimension::Fragment,
        Dimension::FlowLabel,
        Dimension::Ttl,
    ];

    /// The key in a policy. Labels stand in `from` there, and are told from its prefixes here.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Dimension::Interface => "interface",
            Dimension::From => "from",
            Dimension::To => "to",
            Dimension::Protocol => "protocol",
            Dimension::Port => "port",
            Dimension::SourcePort => "source_port",
            Dimension::Label => "labels",
            Dimension::Vlan => "vlan",
            Dimension::IcmpType => "icmp_type",
            Dimension::IcmpCode => "icmp_code",
            Dimension::TcpFlags => "tcp_flags",
            Dimension::Length => "length",
            Dimension::Dscp => "dscp",
            Dimension::Fragment => "fragment",
            Dimension::FlowLabel => "flow_label",
            Dimension::Ttl => "ttl",
        }
    }

    /// The bit in the image, see [`gateway_common::image::dimension`].
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// The highest class that a key of the combination table has room for.
    pub(super) const fn highest_class(self) -> u32 {
        let (_, _, bits) = FIELDS[self as usize];
        u32::MAX >> (32 - bits)
    }

    /// How many values there are where each is looked up by its number, 0 for addresses and labels.
    pub(super) const fn values(self) -> u32 {
        match self {
            Dimension::From | Dimension::To | Dimension::Label => 0,
            Dimension::Fragment => 16,
            Dimension::Dscp => 64,
            Dimension::Interface
            | Dimension::Protocol
            | Dimension::IcmpType
            | Dimension::IcmpCode
            | Dimension::TcpFlags
            | Dimension::Ttl => 256,
            Dimension::Vlan => 4_096,
            Dimension::Port | Dimension::SourcePort | Dimension::Length => 65_536,
            Dimension::FlowLabel => 1 << 20,
        }
    }

    /// Whether every packet has a value, so that class 0 stands for nothing else where all values are
    /// in some list.
    pub(super) const fn in_every_packet(self) -> bool {
        matches!(
            self,
            Dimension::Vlan | Dimension::Length | Dimension::Dscp | Dimension::Fragment | Dimension::Ttl
        )
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const _: () = {
    assert!(Dimension::Interface.bit() == bit::INTERFACE);
    assert!(Dimension::From.bit() == bit::SOURCE);
    assert!(Dimension::To.bit() == bit::DESTINATION);
    assert!(Dimension::Protocol.bit() == bit::PROTOCOL);
    assert!(Dimension::Port.bit() == bit::PORT);
    assert!(Dimension::SourcePort.bit() == bit::SOURCE_PORT);
    assert!(Dimension::Label.bit() == bit::LABEL);
    assert!(Dimension::Vlan.bit() == bit::VLAN);
    assert!(Dimension::IcmpType.bit() == bit::ICMP_TYPE);
    assert!(Dimension::IcmpCode.bit() == bit::ICMP_CODE);
    assert!(Dimension::TcpFlags.bit() == bit::TCP_FLAGS);
    assert!(Dimension::Length.bit() == bit::LENGTH);
    assert!(Dimension::Dscp.bit() == bit::DSCP);
    assert!(Dimension::Fragment.bit() == bit::FRAGMENT);
    assert!(Dimension::FlowLabel.bit() == bit::FLOW_LABEL);
    assert!(Dimension::Ttl.bit() == bit::TTL);
};
