//! The dimensions of a match, in the order of their bits.

use gateway_common::image::dimension as bit;
use std::fmt;

/// How many dimensions there are.
pub(super) const DIMENSIONS: usize = 6;

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
    ];

    /// The key in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Dimension::Interface => "interface",
            Dimension::From => "from",
            Dimension::To => "to",
            Dimension::Protocol => "protocol",
            Dimension::Port => "port",
            Dimension::SourcePort => "source_port",
        }
    }

    /// The bit in the image, see [`gateway_common::image::dimension`].
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
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
    assert!(1 << DIMENSIONS == bit::COMBINATIONS);
};
