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
    /// By CPU, of a type of the kernel's own. Writer: kernel.
    pub const SCRATCH: &str = "SCRATCH";
    /// The program [`super::programs::XDP_WHOLE`], of the same object. Pinned beside the programs, since the kernel empties
    /// such a map when user space has let go of it. Writer: user space.
    pub const XDP_WHOLE: &str = "XDP_WHOLE";
    /// Ring buffer of [`super::super::FlowRecord`]: flows that left the memo. Full: counted, see [`super::super::Telemetry`].
    pub const FLOWS: &str = "FLOWS";
    /// Ring buffer of [`super::super::PacketEvent`]. Full: counted in [`super::super::Telemetry::EventsLost`].
    pub const EVENTS: &str = "EVENTS";
    /// `Array<Line>`, mapped: live members of labels, see [`crate::live`]. Writer: user space. Full: refused there.
    pub const LIVE: &str = "LIVE";
    /// `Array<Bucket>`, mapped, by limit slot. Writer: kernel.
    pub const BUCKETS: &str = "BUCKETS";
    /// `Array<KeyedSet>`, mapped: buckets by key. Writer: kernel. Full: the key least in debt gives way, counted.
    pub const KEYED: &str = "KEYED";
    /// `Array<KeyedNames>`, mapped, element as in [`KEYED`]. Writer: kernel.
    pub const KEYED_NAMES: &str = "KEYED_NAMES";
    /// `Array<LimitCount>`, mapped, element `cpu * MAX_LIMITS + slot`. Writer: kernel.
    pub const LIMITS: &str = "LIMITS";
    /// `Array<ConnectionSet>`, mapped: open connections of limits. Writer: kernel. Full: the new connection is refused, counted.
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// `Array<TargetCount>`, mapped, element `cpu * MAX_TARGETS + slot`. Writer: kernel.
    pub const TARGETS: &str = "TARGETS";
    /// `Array<NextHop>`, mapped, element `cpu * HOPS + i`, see [`super::super::HOPS`]. Writer: kernel.
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// `Array<Path>`, mapped, element as in [`TARGETS`]. Writer: kernel.
    pub const PATHS: &str = "PATHS";
    /// `Array<Neighbour>`, mapped, by target slot. Writer: kernel.
    pub const NEIGHBOURS: &str = "NEIGHBOURS";
    /// `Array<TagSet>`, mapped: tags of tracked connections. Writer: kernel. Full: see [`TRACKED`].
    pub const TRACK_TAGS: &str = "TRACK_TAGS";
    /// `Array<ReturnSet>`, mapped: where targets' packets find their connections. Writer: kernel. Full: the connection is refused, counted.
    pub const TRACK_RETURNS: &str = "TRACK_RETURNS";
    /// `Array<Tracked>`, mapped, element `set * TRACK_WAYS + way`. Writer: kernel. Full: a half-open connection gives way, else the new one is refused; both counted.
    pub const TRACKED: &str = "TRACKED";
    /// `Array<TargetState>`, mapped, by target slot. Writer: user space.
    pub const TARGET_STATES: &str = "TARGET_STATES";
    /// `Array<TargetHealth>`, mapped, by target slot. Writers: kernel and user space, see there.
    pub const TARGET_HEALTH: &str = "TARGET_HEALTH";
    /// `Array<HealthGroup>`, mapped, by the lowest target slot of the group. Writers: kernel and user space, see there.
    pub const HEALTH_GROUPS: &str = "HEALTH_GROUPS";
    /// `Array<HandshakeCount>`, mapped, element as in [`TARGETS`]. Writer: kernel.
    pub const HANDSHAKES: &str = "HANDSHAKES";
    /// `Array<Pending>`, mapped, element `cpu * PENDING_SYNS + hash`. Writer: kernel. Full: two SYNs of one place take turns, and the first's handshake is not measured.
    pub const PENDING: &str = "PENDING";
    /// `Array<FragmentSet>`, mapped. Writer: kernel. Full: the one that ends first gives way, counted.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// `Array<PathMtu>`, mapped, by target slot. Writer: kernel. Every target has a place.
    pub const PATH_MTUS: &str = "PATH_MTUS";
    /// `Array<OwnAddresses>`, mapped, by interface slot. Writer: user space.
    pub const OWN_ADDRESSES: &str = "OWN_ADDRESSES";
}

/// Program names, as in the object.
pub mod programs {
    /// XDP, every governed interface.
    pub const XDP: &str = "gateway_xdp";
    /// XDP, what [`XDP`] leaves: it is in [`super::maps::XDP_WHOLE`].
    pub const XDP_WHOLE: &str = "gateway_xdp_whole";
    /// tc ingress, every governed interface.
    pub const TC_INGRESS: &str = "gateway_tc";
    /// tc egress, every governed interface: the return half of what this node's own targets say.
    pub const TC_EGRESS: &str = "gateway_tc_egress";
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
    /// `u32`: sets of [`super::maps::KEYED`], a power of two.
    pub const LIMIT_SETS: &str = "LIMIT_SETS";
    /// `u32`: sets of [`super::maps::CONNECTIONS`], a power of two.
    pub const CONNECTION_SETS: &str = "CONNECTION_SETS";
    /// `u32`: sets of [`super::maps::TRACK_TAGS`], a power of two.
    pub const TRACK_SETS: &str = "TRACK_SETS";
    /// `u32`: 1 where the time is [`super::super::Control::fixed_now_ns`]: for tests.
    pub const FIXED_CLOCK: &str = "FIXED_CLOCK";
}
