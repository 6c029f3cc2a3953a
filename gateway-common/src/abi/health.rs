//! What the kernel and the daemon tell each other of targets' health.

use bytemuck::{Pod, Zeroable};

/// Health of a target, by its slot: an element of [`super::maps::TARGET_HEALTH`]; one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TargetHealth {
    /// [`crate::health::Circuit`]. Writers: kernel and user space, by compare-and-swap.
    pub circuit: u64,
    /// Tracked connections that are open, where their number is limited. Writers: kernel, by atomic additions; what
    /// ended unseen, by its time-out, user space takes off.
    pub open: u64,
    /// How often the circuit opened by itself, on trial too. Writer: kernel.
    pub trips: u64,
    /// How often it would have, had not so many others of its group been open. Writer: kernel.
    pub spared: u64,
    /// What follows is written by user space. In units of [`crate::health::UNIT_SHIFT`]: the window that failures are
    /// counted in.
    pub window: u32,
    /// How long the circuit is open the first time.
    pub base: u32,
    /// And how long at most.
    pub most: u32,
    /// How long the target's share grows once it is back; 0: it is whole at once.
    pub slow_start: u32,
    /// So many failed handshakes within the window open the circuit; 0: none do.
    pub failures: u16,
    /// If they are at least this part of all, percent.
    pub ratio: u8,
    /// So many good handshakes on trial bring the target back.
    pub rise: u8,
    /// Most connections open at once, 0 for no limit.
    pub connections: u32,
    /// Part of new connections that it gets on trial, of [`crate::health::WHOLE`].
    pub trial: u32,
    /// Its element of [`super::maps::HEALTH_GROUPS`].
    pub group: u32,
}

/// The targets of a pool together: an element of [`super::maps::HEALTH_GROUPS`], by the lowest slot among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HealthGroup {
    /// Circuits that are not closed. Writers: kernel, by atomic additions, and user space, which sets it right.
    pub ejected: u64,
    /// How many the kernel may open at once.
    pub most: u32,
    /// 1: so few targets are in service that all are used, whatever their circuits say.
    pub panic: u32,
}

/// Buckets of [`HandshakeCount::times`].
pub const HANDSHAKE_BUCKETS: usize = 26;

/// What one CPU counted of the handshakes with one target, where the pool's health is looked after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HandshakeCount {
    /// Handshakes by the time they took: element `i` of those that took less than `2^i` microseconds (of 1,024 ns)
    /// and not less than half of that; the last one of all that took longer. From the client's SYN to the target's
    /// answer where that passes here, else to the client's next packet.
    pub times: [u64; HANDSHAKE_BUCKETS],
    /// Those times together, nanoseconds.
    pub time_ns: u64,
    /// SYNs that came again after [`crate::health::SYN_AGAIN_NS`] since nothing had answered them, one for each
    /// connection; where connections are remembered also those whose place was taken before.
    pub unanswered: u64,
    /// Connections that the target reset before it had sent any data.
    pub refused: u64,
    /// Connections that the target reset later.
    pub reset: u64,
    /// Segments of clients that were sent again: SYNs, and data where connections are remembered.
    pub retransmitted: u64,
    /// New connections that went to another target, since this one was not to take them.
    pub passed_over: u64,
}

/// A SYN that went to a target whose answers do not pass here: an element of [`super::maps::PENDING`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Pending {
    /// Upper half of the flow's hash; 0: none.
    pub tag: u32,
    /// Slot of the target.
    pub slot: u16,
    /// Bit 0: it came again; bit 1: so late that it counts as unanswered.
    pub repeated: u16,
    /// When it came first, `CLOCK_MONOTONIC` nanoseconds.
    pub time_ns: u64,
}

/// Elements of [`super::maps::PENDING`] for each CPU. Two flows with one place take turns: the handshake of the first
/// is not measured then.
pub const PENDING_SYNS: usize = 4_096;

const _: () = {
    assert!(size_of::<TargetHealth>() == 64);
    assert!(size_of::<HealthGroup>() == 16);
    assert!(size_of::<HandshakeCount>() == 256);
    assert!(size_of::<Pending>() == 16);
};
