//! The components of a match, as things that can be named.

use super::Match;

/// A match component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// [`Match::interface`].
    Interface,
    /// [`Match::from`] and [`Match::labels`].
    From,
    /// [`Match::to`].
    To,
    /// [`Match::protocol`].
    Protocol,
    /// [`Match::port`].
    Port,
    /// [`Match::source_port`].
    SourcePort,
    /// [`Match::icmp_type`].
    IcmpType,
    /// [`Match::icmp_code`].
    IcmpCode,
    /// [`Match::tcp_flags`].
    TcpFlags,
    /// [`Match::length`].
    Length,
    /// [`Match::dscp`].
    Dscp,
    /// [`Match::fragment`].
    Fragment,
    /// [`Match::flow_label`].
    FlowLabel,
    /// [`Match::vlan`].
    Vlan,
    /// [`Match::ttl`].
    Ttl,
    /// [`Match::not`].
    Not,
}

impl Component {
    /// All of them, in the order in which they are written.
    pub const ALL: [Component; 16] = [
        Component::Interface,
        Component::From,
        Component::To,
        Component::Protocol,
        Component::Port,
        Component::SourcePort,
        Component::IcmpType,
        Component::IcmpCode,
        Component::TcpFlags,
        Component::Length,
        Component::Dscp,
        Component::Fragment,
        Component::FlowLabel,
        Component::Vlan,
        Component::Ttl,
        Component::Not,
    ];

    /// The keys, in the order of [`Component::ALL`].
    pub(super) const KEYS: [&'static str; 16] = [
        "interface",
        "from",
        "to",
        "protocol",
        "port",
        "source_port",
        "icmp_type",
        "icmp_code",
        "tcp_flags",
        "length",
        "dscp",
        "fragment",
        "flow_label",
        "vlan",
        "ttl",
        "not",
    ];

    /// Its key in a document.
    #[must_use]
    pub fn key(self) -> &'static str {
        Component::KEYS[self as usize]
    }

    /// The component with this key.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Component> {
        Component::KEYS.iter().position(|known| *known == key).map(|index| Component::ALL[index])
    }

    /// Puts what one match says of the component into another, nothing included.
    pub(super) fn copy(self, from: &Match, to: &mut Match) {
        match self {
            Component::Interface => to.interface.clone_from(&from.interface),
            Component::From => {
                to.from.clone_from(&from.from);
                to.labels.clone_from(&from.labels);
            }
            Component::To => to.to.clone_from(&from.to),
            Component::Protocol => to.protocol.clone_from(&from.protocol),
            Component::Port => to.port.clone_from(&from.port),
            Component::SourcePort => to.source_port.clone_from(&from.source_port),
            Component::IcmpType => to.icmp_type.clone_from(&from.icmp_type),
            Component::IcmpCode => to.icmp_code.clone_from(&from.icmp_code),
            Component::TcpFlags => to.tcp_flags.clone_from(&from.tcp_flags),
            Component::Length => to.length.clone_from(&from.length),
            Component::Dscp => to.dscp.clone_from(&from.dscp),
            Component::Fragment => to.fragment.clone_from(&from.fragment),
            Component::FlowLabel => to.flow_label.clone_from(&from.flow_label),
            Component::Vlan => to.vlan.clone_from(&from.vlan),
            Component::Ttl => to.ttl.clone_from(&from.ttl),
            Component::Not => to.not.clone_from(&from.not),
        }
    }

    /// Whether a match names it.
    #[must_use]
    pub fn is_named(self, matches: &Match) -> bool {
        match self {
            Component::Interface => matches.interface.is_some(),
            Component::From => matches.from.is_some() || matches.labels.is_some(),
            Component::To => matches.to.is_some(),
            Component::Protocol => matches.protocol.is_some(),
            Component::Port => matches.port.is_some(),
            Component::SourcePort => matches.source_port.is_some(),
            Component::IcmpType => matches.icmp_type.is_some(),
            Component::IcmpCode => matches.icmp_code.is_some(),
            Component::TcpFlags => matches.tcp_flags.is_some(),
            Component::Length => matches.length.is_some(),
            Component::Dscp => matches.dscp.is_some(),
            Component::Fragment => matches.fragment.is_some(),
            Component::FlowLabel => matches.flow_label.is_some(),
            Component::Vlan => matches.vlan.is_some(),
            Component::Ttl => matches.ttl.is_some(),
            Component::Not => matches.not.is_some(),
        }
    }
}
