//! What every map must look like, for making them and for checking pinned ones: the kernel and aya
//! would take any map under the right name.

use super::{Error, Options};
use aya::maps::{MapData, MapType};
use gateway_common::abi::{
    ARENA_LINES_MAX, Bucket, ConnectionSet, Control, Count, Egress, FRAGMENT_SETS, FragmentSet, HOPS,
    HandshakeCount, HealthGroup, INTERFACE_INDEX_SPACE, Interface, InterfaceStats, KeyedNames, KeyedSet,
    LimitCount, Line, MAX_CPUS, MAX_INTERFACES, MemoAddresses, MemoSet, Neighbour, NextHop, OwnAddresses,
    PENDING_SYNS, Path, PathMtu, Pending, REASONS_PER_CPU, ROUTE_COUNTERS, ReasonCount, ReturnSet,
    STATS_PER_CPU, TELEMETRY_WORDS, TRACK_WAYS, TagSet, TargetCount, TargetHealth, TargetState, Tracked,
    maps,
};
use gateway_common::image::{HEADER_LINES, MAX_LIMITS, MAX_TARGETS};
use gateway_common::live::TABLE_LINE;

/// `BPF_F_MMAPABLE` of linux/bpf.h.
const MMAPABLE: u32 = 1 << 10;
/// The most elements that a `u32` index, and an array's size, allow.
const ELEMENTS_MAX: u64 = 1 << 31;

/// The most sets of keyed buckets, connections and live members: 1 GiB each.
const SETS_MAX: u32 = 1 << 24;

/// How many elements a map has.
#[derive(Clone, Copy)]
enum Elements {
    Fixed(u32),
    PerCpu(u32),
    /// By option `arena_lines`; the pinned map decides on adoption.
    Arena,
    /// By option `memo_sets_per_cpu`; the pinned map decides on adoption.
    Memo,
    /// By option `live_lines`; the pinned map decides on adoption.
    Live,
    /// By option `limit_sets`; the pinned map decides on adoption.
    Keyed,
    /// By option `connection_sets`; the pinned map decides on adoption.
    Connections,
    /// By option `track_sets`, so many for each set; the pinned map decides on adoption.
    Tracked(u32),
    /// A ring buffer, by the object.
    Ring,
}

/// A map's shape.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    value_size: usize,
    elements: Elements,
}

/// Every map that outlives a program; the scratch memory is each program's own.
pub(super) const SHAPES: [Shape; 33] = [
    array::<Control>(maps::CONTROL, Elements::Fixed(1)),
    array::<Line>(maps::ARENA, Elements::Arena),
    array::<Interface>(maps::INTERFACES, Elements::Fixed(INTERFACE_INDEX_SPACE as u32)),
    array::<Egress>(maps::EGRESS, Elements::Fixed(MAX_INTERFACES as u32)),
    array::<InterfaceStats>(maps::STATS, Elements::PerCpu(STATS_PER_CPU as u32)),
    array::<ReasonCount>(maps::REASONS, Elements::PerCpu(REASONS_PER_CPU as u32)),
    array::<Count>(maps::ROUTES, Elements::PerCpu(ROUTE_COUNTERS as u32)),
    array::<MemoSet>(maps::MEMO, Elements::Memo),
    array::<MemoAddresses>(maps::MEMO_ADDRESSES, Elements::Memo),
    array::<u64>(maps::TELEMETRY, Elements::PerCpu(TELEMETRY_WORDS as u32)),
    array::<Line>(maps::LIVE, Elements::Live),
    array::<Bucket>(maps::BUCKETS, Elements::Fixed(MAX_LIMITS as u32)),
    array::<KeyedSet>(maps::KEYED, Elements::Keyed),
    array::<KeyedNames>(maps::KEYED_NAMES, Elements::Keyed),
    array::<LimitCount>(maps::LIMITS, Elements::PerCpu(MAX_LIMITS as u32)),
    array::<ConnectionSet>(maps::CONNECTIONS, Elements::Connections),
    array::<TargetCount>(maps::TARGETS, Elements::PerCpu(MAX_TARGETS as u32)),
    array::<TargetState>(maps::TARGET_STATES, Elements::Fixed(MAX_TARGETS as u32)),
    array::<TargetHealth>(maps::TARGET_HEALTH, Elements::Fixed(MAX_TARGETS as u32)),
    array::<HealthGroup>(maps::HEALTH_GROUPS, Elements::Fixed(MAX_TARGETS as u32)),
    array::<HandshakeCount>(maps::HANDSHAKES, Elements::PerCpu(MAX_TARGETS as u32)),
    array::<Pending>(maps::PENDING, Elements::PerCpu(PENDING_SYNS as u32)),
    array::<TagSet>(maps::TRACK_TAGS, Elements::Tracked(1)),
    array::<ReturnSet>(maps::TRACK_RETURNS, Elements::Tracked(1)),
    array::<Tracked>(maps::TRACKED, Elements::Tracked(TRACK_WAYS as u32)),
    array::<FragmentSet>(maps::FRAGMENTS, Elements::Fixed(FRAGMENT_SETS as u32)),
    array::<PathMtu>(maps::PATH_MTUS, Elements::Fixed(MAX_TARGETS as u32)),
    array::<OwnAddresses>(maps::OWN_ADDRESSES, Elements::Fixed(MAX_INTERFACES as u32)),
    array::<Neighbour>(maps::NEIGHBOURS, Elements::Fixed(MAX_TARGETS as u32)),
    array::<NextHop>(maps::NEXT_HOPS, Elements::PerCpu(HOPS as u32)),
    array::<Path>(maps::PATHS, Elements::PerCpu(MAX_TARGETS as u32)),
    Shape { name: maps::FLOWS, value_size: 0, elements: Elements::Ring },
    Shape { name: maps::EVENTS, value_size: 0, elements: Elements::Ring },
];

const fn array<T>(name: &'static str, elements: Elements) -> Shape {
    Shape { name, value_size: size_of::<T>(), elements }
}

impl Shape {
    /// Elements to make the map with; nothing where the object says it. [`check_options`] has
    /// excluded an overflow.
    pub(super) fn elements(&self, options: &Options, cpus: u32) -> Option<u32> {
        match self.elements {
            Elements::Fixed(_) | Elements::Ring => None,
            Elements::PerCpu(per_cpu) => Some(per_cpu.saturating_mul(cpus)),
            Elements::Arena => Some(options.arena_lines),
            Elements::Memo => Some(options.memo_sets_per_cpu.saturating_mul(cpus)),
            Elements::Live => Some(TABLE_LINE + options.live_lines),
            Elements::Keyed => Some(options.limit_sets),
            Elements::Connections => Some(options.connection_sets),
            Elements::Tracked(of_each) => Some(options.track_sets.saturating_mul(of_each)),
        }
    }

    /// Holds a pinned map against it.
    pub(super) fn check(&self, map: &MapData, cpus: u32) -> Result<(), Error> {
        let info = map.info().map_err(Error::map("asking", self.name))?;
        let kind = info.map_type().map_err(Error::map("asking", self.name))?;
        let found = info.max_entries();
        let is = |field, found: u32, expected: u32| {
            if found == expected {
                return Ok(());
            }
            Err(Error::MapShape { map: self.name, field, found: found.into(), expected: expected.into() })
        };
        if let Elements::Ring = self.elements {
            return is("its type", kind as u32, MapType::RingBuf as u32);
        }
        is("its type", kind as u32, MapType::Array as u32)?;
        is("its key size", info.key_size(), size_of::<u32>() as u32)?;
        is("its value size", info.value_size(), self.value_size as u32)?;
        is("its mmapable flag", info.map_flags() & MMAPABLE, MMAPABLE)?;
        let expected = match self.elements {
            Elements::Fixed(elements) => elements,
            Elements::PerCpu(per_cpu) => per_cpu.saturating_mul(cpus),
            Elements::Arena => found.max(HEADER_LINES + 1),
            Elements::Memo => (found / cpus).max(1).next_power_of_two().saturating_mul(cpus),
            Elements::Live => TABLE_LINE + found.saturating_sub(TABLE_LINE).max(1).next_power_of_two(),
            Elements::Keyed | Elements::Connections => found.max(1).next_power_of_two(),
            Elements::Tracked(of_each) => {
                (found / of_each).max(1).next_power_of_two().saturating_mul(of_each)
            }
            Elements::Ring => found,
        };
        is("its number of elements", found, expected)
    }
}

/// Refuses sizes that no map can have.
pub(super) fn check_options(options: &Options, cpus: u32) -> Result<(), Error> {
    if cpus as usize > MAX_CPUS {
        return Err(Error::Cpus { found: cpus });
    }
    if options.arena_lines < 4 * HEADER_LINES || options.arena_lines > ARENA_LINES_MAX {
        let reason = format!("{} lines; from {} to {ARENA_LINES_MAX}", options.arena_lines, 4 * HEADER_LINES);
        return Err(Error::Option { option: "arena_lines", reason });
    }
    let sets = options.memo_sets_per_cpu;
    if !sets.is_power_of_two() || u64::from(sets) * u64::from(cpus) >= ELEMENTS_MAX {
        let reason = format!("{sets} sets on {cpus} CPUs; a power of two below {ELEMENTS_MAX} in all");
        return Err(Error::Option { option: "memo_sets_per_cpu", reason });
    }
    for (option, lines) in [
        ("live_lines", options.live_lines),
        ("limit_sets", options.limit_sets),
        ("connection_sets", options.connection_sets),
        ("track_sets", options.track_sets),
    ] {
        if !lines.is_power_of_two() || lines > SETS_MAX {
            let reason = format!("{lines}; a power of two up to {SETS_MAX}");
            return Err(Error::Option { option, reason });
        }
    }
    Ok(())
}

/// For stores into a mapped array at a place that must be inside.
pub(super) fn stored(map: &'static str, inside: bool) -> Result<(), Error> {
    if inside {
        return Ok(());
    }
    Err(Error::Map { action: "writing outside of", map, source: "an index is out of bounds".into() })
}
