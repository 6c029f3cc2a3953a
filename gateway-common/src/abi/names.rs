//! Names of maps, programs and constants, as in the object.

/// Map names, as in the object and in the pin folder.
pub mod maps {
    /// `Array<Control>`, one element, mapped. Writer: user space.
    pub const CONTROL: &str = "CONTROL";
    /// `Array<Line>`, mapped: the policy images. Writer: user space, only in lines no live image uses.
    pub const ARENA: &str = "ARENA";
    /// `Array<Interface>`, mapped, by the low 16 bits of the interface index. Writer: user space.
    pub const INTERFACES: &str = "INTERFACES";
    /// `Array<Egress>`, mapped, by interface slot. Writer: user space.
    pub const EGRESS: &str = "EGRESS";
    /// `Array<InterfaceStats>`, mapped, see [`super::super::stats_index`]. Writer: kernel.
    pub const STATS: &str = "STATS";
    /// `Array<ReasonCount>`, mapped, see [`super::super::reason_index`]. Writer: kernel.
    pub const REASONS: &str = "REASONS";
    /// `Array<Count>`, mapped, element `cpu * ROUTE_COUNTERS + slot`. Writer: kernel.
    pub const ROUTES: &str = "ROUTES";
    /// `Array<MemoSet>`, mapped, element `cpu * sets + hash`. Writer: kernel.
    pub const MEMO: &str = "MEMO";
    /// `Array<MemoAddresses>`, mapped, element as in [`MEMO`]: the addresses of IPv6 flows. Writer: kernel.
    pub const MEMO_ADDRESSES: &str = "MEMO_ADDRESSES";
    /// `Array<u64>`, mapped, element `cpu * TELEMETRY_WORDS + Telemetry`. Writer: kernel.
    pub const TELEMETRY: &str = "TELEMETRY";
    /// `Array<Scratch>`, by CPU. Writer: kernel.
    pub const SCRATCH: &str = "SCRATCH";
    /// Ring buffer of [`super::super::FlowRecord`]: flows that left the memo. Full: counted, see [`super::super::Telemetry`].
    pub const FLOWS: &str = "FLOWS";
    /// Ring buffer of [`super::super::PacketEvent`]. Full: counted in [`super::super::Telemetry::EventsLost`].
    pub const EVENTS: &str = "EVENTS";
}

/// Program names, as in the object.
pub mod programs {
    /// XDP, every governed interface.
    pub const XDP: &str = "gateway_xdp";
    /// tc ingress, every governed interface.
    pub const TC_INGRESS: &str = "gateway_tc";
    /// XDP that returns XDP_PASS: the floor of the benchmarks and veth peers in the tests.
    pub const XDP_PASS: &str = "gateway_pass";
    /// Returns `bpf_jiffies64` and `bpf_ktime_get_ns` in the first 16 bytes of a test run's packet.
    pub const CLOCK: &str = "gateway_clock";
}

/// Constants that the loader sets in the object's read-only data.
pub mod globals {
    /// `u32`: memo sets for each CPU, a power of two.
    pub const MEMO_SETS: &str = "MEMO_SETS";
    /// `u64`: seed of the memo's hash.
    pub const MEMO_SEED: &str = "MEMO_SEED";
}
