//! Names for what the kernel counts by number.

use super::governor::Governor;
use super::spec;
use gateway_common::abi::{COUNTER_DEFAULT, COUNTER_MALFORMED, COUNTER_NO_POLICY, COUNTER_NOT_IP};

/// Names of counter slots that belong to no route, and the slots. In parentheses where they stand
/// beside names of routes, which never hold any.
pub const RESERVED: [(&str, u32); 4] = [
    ("default", COUNTER_DEFAULT),
    ("not_ip", COUNTER_NOT_IP),
    ("malformed", COUNTER_MALFORMED),
    ("no_policy", COUNTER_NO_POLICY),
];

/// Interface slot 0: interfaces that are not governed.
pub const OTHER_INTERFACES: &str = "(other)";

impl Governor {
    /// A route's name, or a reserved one in parentheses, by its counter slot.
    #[must_use]
    pub fn route_name(&self, counter: u32) -> String {
        if let Some((name, _)) = RESERVED.iter().find(|(_, slot)| *slot == counter) {
            return format!("({name})");
        }
        self.slots().route_name(counter).map_or_else(|| format!("(slot {counter})"), str::to_owned)
    }

    /// An interface's name by its slot.
    #[must_use]
    pub fn interface_name(&self, slot: u8) -> String {
        if slot == 0 {
            return OTHER_INTERFACES.to_owned();
        }
        self.slots().interface_name(slot).map_or_else(|| format!("(slot {slot})"), str::to_owned)
    }

    /// The counter slot of a route, or of a reserved name in parentheses.
    #[must_use]
    pub fn counter_slot(&self, name: &str) -> Option<u32> {
        let reserved = name.strip_prefix('(').and_then(|name| name.strip_suffix(')'));
        match reserved {
            Some(name) => RESERVED.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot),
            None => self.slots().route(name),
        }
    }
}

/// Flags of a TCP header's byte, highest first (RFC 9293, RFC 3168).
const TCP_FLAGS: [(u8, &str); 8] = [
    (0x80, "CWR"),
    (0x40, "ECE"),
    (0x20, "URG"),
    (0x10, "ACK"),
    (0x08, "PSH"),
    (0x04, "RST"),
    (0x02, "SYN"),
    (0x01, "FIN"),
];

/// TCP flags, lowest first: `SYN,ACK`.
#[must_use]
pub fn tcp_flags(flags: u8) -> String {
    let set = TCP_FLAGS.iter().rev().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

/// A protocol's name, or its number as text.
#[must_use]
pub fn protocol(number: u8) -> String {
    spec::protocol(number)
}

/// What the port field holds: a source port, a port, an ICMP type and code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortWords {
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub port: Option<u16>,
    /// ICMP type.
    pub icmp_type: Option<u8>,
    /// ICMP code.
    pub icmp_code: Option<u8>,
}

/// Reads the port fields by the packet's flags.
#[must_use]
pub fn port_words(flags: u8, source_port: u16, port: u16) -> PortWords {
    use gateway_common::packet::flags::{HAS_ICMP, HAS_PORTS};
    let mut words = PortWords::default();
    if flags & HAS_PORTS != 0 {
        words.source_port = Some(source_port);
        words.port = Some(port);
    } else if flags & HAS_ICMP != 0 {
        words.icmp_type = Some((port >> 8) as u8);
        words.icmp_code = Some(port as u8);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::packet::flags::{HAS_ICMP, HAS_PORTS};

    #[test]
    fn flags_and_ports_are_put_into_words() {
        assert_eq!(tcp_flags(0x12), "SYN,ACK");
        assert_eq!(tcp_flags(0), "");
        assert_eq!(port_words(HAS_PORTS, 1, 2).port, Some(2));
        assert_eq!(port_words(HAS_ICMP, 0, 8 << 8 | 3).icmp_code, Some(3));
        assert_eq!(port_words(0, 1, 2), PortWords::default());
    }
}
