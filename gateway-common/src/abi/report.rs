//! What the kernel tells of a packet: to tc as metadata, to user space as an event.

use super::ABI_VERSION;
use bytemuck::{Pod, Zeroable};

/// A sampled packet: what [`super::maps::EVENTS`] carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PacketEvent {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub time_ns: u64,
    /// Source, high word first; IPv4 in the top 32 bits of the first word.
    pub source: [u64; 2],
    /// Destination, the same way.
    pub destination: [u64; 2],
    /// Arrived on.
    pub ifindex: u32,
    /// Frame length, bytes.
    pub length: u32,
    /// Counter slot of the route.
    pub counter: u32,
    /// The generation that judged.
    pub generation: u32,
    /// skb mark given, [`super::UNSET`] if none.
    pub mark: u32,
    /// Source port; 0 without ports.
    pub source_port: u16,
    /// Destination port; for ICMP `type << 8 | code`.
    pub port: u16,
    /// 4, 6, or 0 for what is not IP or could not be parsed.
    pub family: u8,
    /// IP protocol.
    pub protocol: u8,
    /// [`super::Verdict`].
    pub verdict: u8,
    /// [`crate::reason::Reason`], 0 if none.
    pub reason: u8,
    /// [`super::Hook`].
    pub hook: u8,
    /// TCP flags.
    pub tcp_flags: u8,
    /// [`crate::packet::flags`].
    pub packet_flags: u8,
    /// Zero.
    pub reserved: u8,
}

/// XDP metadata: what XDP tells tc about a packet that passes, in front of the frame.
///
/// What generic XDP needs stands last: where the kernel has copied the packet before generic XDP
/// (since 6.9, for want of headroom), the copy does not know the length of its Ethernet header, and tc
/// sees everything [`METADATA_SHIFT`] bytes too far back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Metadata {
    /// tc redirects the packet to this interface, 0: it passes. Never asked for in generic XDP.
    pub redirect_ifindex: u32,
    /// The generation that judged.
    pub generation: u32,
    /// Zero.
    pub reserved: [u32; 2],
    /// [`METADATA_MAGIC`].
    pub magic: u32,
    /// skb mark, [`super::UNSET`] if none.
    pub mark: u32,
    /// skb priority, [`super::UNSET`] if none.
    pub priority: u32,
    /// Counter slot of the route.
    pub counter: u32,
}

/// See [`Metadata`]: the length of an Ethernet header.
pub const METADATA_SHIFT: usize = 14;

/// "GWM" and the ABI version.
pub const METADATA_MAGIC: u32 = 0x4757_4D00 | ABI_VERSION;
