//! What the kernel tells of a packet: to tc as metadata, to user space as an event.

use super::ABI_VERSION;
use bytemuck::{Pod, Zeroable};

/// What an event of [`super::maps::EVENTS`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventKind {
    /// A sampled packet.
    Packet = 0,
    /// A packet went over a limit: the first, or the first after a second and more.
    Limit = 1,
    /// A key was banned.
    Ban = 2,
    /// A route is under attack: SYN cookies are asked for.
    AttackBegins = 3,
    /// They are not asked for any more.
    AttackEnds = 4,
    /// A target's circuit opened, since handshakes with it failed.
    TargetEjected = 5,
    /// Something became of a target: made in user space, no packet tells it.
    Target = 6,
}

impl EventKind {
    /// All kinds, by code.
    pub const ALL: [EventKind; 7] = [
        EventKind::Packet,
        EventKind::Limit,
        EventKind::Ban,
        EventKind::AttackBegins,
        EventKind::AttackEnds,
        EventKind::TargetEjected,
        EventKind::Target,
    ];

    /// The name in events and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Packet => "packet",
            EventKind::Limit => "limit",
            EventKind::Ban => "ban",
            EventKind::AttackBegins => "attack_begins",
            EventKind::AttackEnds => "attack_ends",
            EventKind::TargetEjected => "target_ejected",
            EventKind::Target => "target",
        }
    }

    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<EventKind> {
        EventKind::ALL.get(usize::from(code)).copied()
    }
}

/// A sampled packet, or what a packet set off: what [`super::maps::EVENTS`] carries.
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
    /// [`EventKind`].
    pub kind: u8,
    /// Slot of the limit, or the target, that the event is about, 0 if none.
    pub limit: u32,
    /// Zero.
    pub reserved: u32,
    /// Of a limit: packets that this CPU has refused at it so far, this one included.
    pub refused: u64,
}

/// XDP metadata: what XDP tells tc about a packet that passes, in front of the frame.
///
/// What generic XDP needs stands last: where the kernel has copied the packet before generic XDP
/// (since 6.9, for want of headroom), the copy does not know the length of its Ethernet header, and tc
/// sees everything [`METADATA_SHIFT`] bytes too far back, and no Ethernet header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Metadata {
    /// Counter slot of the route.
    pub counter: u32,
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
    /// tc sends the packet out of this interface, 0: it passes. With [`REDIRECT_NEIGHBOUR`] it is a target
    /// slot, and the kernel finds the link-layer address of its [`super::Neighbour`], and waits for it.
    pub redirect: u32,
}

/// In [`Metadata::redirect`]; no interface index is as high.
pub const REDIRECT_NEIGHBOUR: u32 = 1 << 31;

/// In [`Metadata::redirect`]: below it stands an interface's index, and the kernel finds the next hop by the
/// packet's own addresses, and waits for it.
pub const REDIRECT_BY_FIB: u32 = 1 << 29;
/// In [`Metadata::redirect`]: below it stands a port, and tc hands the packet to the socket that listens there.
pub const REDIRECT_PROXY: u32 = 1 << 30;

/// See [`Metadata`]: the length of an Ethernet header.
pub const METADATA_SHIFT: usize = 14;

/// "GWM" and the ABI version.
pub const METADATA_MAGIC: u32 = 0x4757_4D00 | ABI_VERSION;
