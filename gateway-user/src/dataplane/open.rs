//! Opening: adopt what is pinned, replace programs of another build, or load anew.

use super::arena::Arena;
use super::clock::ClockSource;
use super::flows::Memo;
use super::health::HealthMaps;
use super::ledger::Ledger;
use super::limits::LimitMaps;
use super::links;
use super::live::Live;
use super::log::KernelLog;
use super::mapped::{Mapped, MappedMut};
use super::members::MemberTable;
use super::object::{self, Programs, Sizes};
use super::pins::{InterfacePin, Pins};
use super::shape::{self, SHAPES};
use super::stats::{Maps, Readers};
use super::tracked::TrackMaps;
use super::{Dataplane, Error, Opened, Options, sys};
use aya::Ebpf;
use aya::maps::MapData;
use bytemuck::Pod;
use gateway_common::abi::{ABI_VERSION, Control, maps, programs};
use gateway_common::live::TABLE_LINE;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// Every pinned map, checked.
struct OpenMaps {
    maps: HashMap<&'static str, MapData>,
    cpus: u32,
}

impl OpenMaps {
    fn open(pins: &Pins, cpus: u32) -> Result<OpenMaps, Error> {
        let mut maps = HashMap::new();
        for shape in SHAPES {
            let map = object::open_map(shape.name, &pins.map(shape.name))?;
            shape.check(&map, cpus)?;
            maps.insert(shape.name, map);
        }
        Ok(OpenMaps { maps, cpus })
    }

    fn get(&self, name: &'static str) -> Result<(&MapData, u32), Error> {
        let map = self.maps.get(name).ok_or(Error::ObjectLacks { kind: "map", name })?;
        Ok((map, map.info().map_err(Error::map("asking", name))?.max_entries()))
    }

    fn read<T: Pod>(&self, name: &'static str) -> Result<Mapped<T>, Error> {
        let (map, len) = self.get(name)?;
        Mapped::new(name, map.fd().as_fd(), len)
    }

    fn write<T: Pod>(&self, name: &'static str) -> Result<MappedMut<T>, Error> {
        let (map, len) = self.get(name)?;
        MappedMut::new(name, map.fd().as_fd(), len)
    }

    fn memo_sets(&self) -> Result<u32, Error> {
        Ok(self.get(maps::MEMO)?.1 / self.cpus)
    }

    fn sizes(&self) -> Result<Sizes, Error> {
        Ok(Sizes {
            memo_sets: self.memo_sets()?,
            limit_sets: self.get(maps::KEYED)?.1,
            connection_sets: self.get(maps::CONNECTIONS)?.1,
            track_sets: self.get(maps::TRACK_TAGS)?.1,
        })
    }
}

impl Dataplane {
    /// Opens the data plane: takes over what is pinned, after checking that it is what its names
    /// promise, or loads the object and pins it. Holds the pin folder until it is dropped.
    ///
    /// # Errors
    /// Where the pins are another's or damaged, the kernel refuses the object, or an option is out
    /// of range.
    pub fn open(options: &Options) -> Result<Dataplane, Error> {
        let cpus = possible_cpus()?;
        shape::check_options(options, cpus)?;
        check_grace()?;
        let pins = Pins::open(&options.pin_dir)?;
        let mut opened = Opened { adopted: pins.exists()?, ..Opened::default() };
        let mut loaded = if opened.adopted {
            let maps = OpenMaps::open(&pins, cpus)?;
            check_abi(&maps, &options.pin_dir)?;
            opened.notes = notes(&maps, options)?;
            let loaded = replace_programs(&pins, options, maps.sizes()?)?;
            opened.programs_replaced = loaded.is_some();
            loaded
        } else {
            Some(object::load_new(&pins, options, cpus)?)
        };
        let kernel_log = loaded.as_mut().map(KernelLog::take).transpose()?.flatten();
        opened.interfaces = pins.interfaces()?;
        let mut dataplane = adopt(pins, opened, cpus, kernel_log)?;
        dataplane.set_flow_accounting(options.flow_accounting)?;
        dataplane.tell_time()?;
        dataplane.set_sampling(options.sample_one_in, options.sample_drops_one_in)?;
        Ok(dataplane)
    }
}

/// Opens programs and maps by their pins.
fn adopt(
    pins: Pins,
    mut opened: Opened,
    cpus: u32,
    kernel_log: Option<KernelLog>,
) -> Result<Dataplane, Error> {
    let open = OpenMaps::open(&pins, cpus)?;
    let control = open.write::<Control>(maps::CONTROL)?;
    let arena_lines = open.write(maps::ARENA)?;
    let mut arena = Arena::new(arena_lines.len());
    let active = control.load_u64(0, std::mem::offset_of!(Control, active)).unwrap_or(0);
    let live = Live::adopt(&arena_lines, active, &mut arena)?;
    opened.generation = live.as_ref().map_or(0, |live| live.cold.generation);
    let ledger = if opened.adopted { Ledger::adopted() } else { Ledger::new() };
    let readers = Readers(Arc::new(Maps {
        cpus,
        memo_sets: open.memo_sets()?,
        control: open.read(maps::CONTROL)?,
        interfaces: open.read(maps::INTERFACES)?,
        stats: open.read(maps::STATS)?,
        reasons: open.read(maps::REASONS)?,
        routes: open.read(maps::ROUTES)?,
        targets: open.read(maps::TARGETS)?,
        memo: Memo { sets: open.read(maps::MEMO)?, addresses: open.read(maps::MEMO_ADDRESSES)? },
        telemetry: open.read(maps::TELEMETRY)?,
        limits: LimitMaps {
            counts: open.read(maps::LIMITS)?,
            buckets: open.write(maps::BUCKETS)?,
            keyed: open.write(maps::KEYED)?,
            names: open.read(maps::KEYED_NAMES)?,
            connections: open.read(maps::CONNECTIONS)?,
        },
        track: TrackMaps {
            tags: open.write(maps::TRACK_TAGS)?,
            tracked: open.read(maps::TRACKED)?,
            states: open.write(maps::TARGET_STATES)?,
        },
        health: HealthMaps {
            targets: open.write(maps::TARGET_HEALTH)?,
            groups: open.write(maps::HEALTH_GROUPS)?,
            handshakes: open.read(maps::HANDSHAKES)?,
        },
        clock: ClockSource::new(object::open_xdp(&pins, programs::CLOCK)?),
    }));
    Ok(Dataplane {
        programs: Programs::open(&pins)?,
        control,
        arena_lines,
        members: MemberTable::open(open.write(maps::LIVE)?)?,
        interfaces: open.write(maps::INTERFACES)?,
        egress: open.write(maps::EGRESS)?,
        own_addresses: open.write(maps::OWN_ADDRESSES)?,
        pins,
        opened,
        readers,
        arena,
        live,
        ledger,
        governed: BTreeMap::new(),
        targets: BTreeMap::new(),
        flow_ring_taken: false,
        event_ring_taken: false,
        kernel_log,
    })
}

/// Loads this binary's programs over the pinned maps and puts them in the place of those that run,
/// if they are of another build, if what leads from one to another is gone, or if a log is asked for, whose ring is a
/// program's own.
fn replace_programs(pins: &Pins, options: &Options, sizes: Sizes) -> Result<Option<Ebpf>, Error> {
    let same = pins.object()?.is_some_and(|found| found == object::digest(options.log_level));
    if same && pins.program(maps::XDP_WHOLE).exists() && options.log_level == 0 {
        return Ok(None);
    }
    let _held = object::hold_left_over(pins)?;
    let mut ebpf = object::load_beside(pins, options, sizes)?;
    for interface in pins.interfaces()? {
        let dir = pins.interface(&interface);
        for pin in InterfacePin::found(&dir) {
            links::replace(&mut ebpf, &dir, pin, &interface)?;
        }
    }
    object::publish_programs(pins, options)?;
    Ok(Some(ebpf))
}

fn check_abi(maps: &OpenMaps, pin_dir: &Path) -> Result<(), Error> {
    let control = maps.read::<Control>(maps::CONTROL)?.load(0).unwrap_or_default();
    if control.abi == ABI_VERSION {
        return Ok(());
    }
    Err(Error::OtherAbi {
        path: pin_dir.to_owned(),
        found: format!("ABI {}", control.abi),
        expected: format!("ABI {ABI_VERSION}"),
    })
}

/// Where pinned maps differ from the options.
fn notes(maps: &OpenMaps, options: &Options) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    let mut differs = |option: &str, found: u32, asked: u32| {
        if found != asked {
            notes.push(format!("{option} stays {found} until `gateway detach`; {asked} was asked for"));
        }
    };
    differs("arena_lines", maps.get(maps::ARENA)?.1, options.arena_lines);
    let sizes = maps.sizes()?;
    differs("memo_sets_per_cpu", sizes.memo_sets, options.memo_sets_per_cpu);
    differs("limit_sets", sizes.limit_sets, options.limit_sets);
    differs("connection_sets", sizes.connection_sets, options.connection_sets);
    differs("track_sets", sizes.track_sets, options.track_sets);
    differs("live_lines", maps.get(maps::LIVE)?.1 - TABLE_LINE, options.live_lines);
    Ok(notes)
}

fn possible_cpus() -> Result<u32, Error> {
    let cpus = aya::util::nr_cpus().map_err(|(path, error)| Error::pins("reading", path)(error))?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX).max(1))
}

fn check_grace() -> Result<(), Error> {
    let grace = |source| Error::Grace { source };
    if sys::can_wait_for_readers().map_err(grace)? {
        return Ok(());
    }
    Err(grace(std::io::Error::from_raw_os_error(libc::EINVAL)))
}

/// Takes all programs off and removes all pins of `pin_dir`, without a running daemon: what
/// `gateway detach` does then. Returns the interfaces that were governed.
///
/// # Errors
/// [`Error::Busy`] where a daemon runs, and where something cannot be taken off or removed.
pub fn remove(pin_dir: &Path) -> Result<Vec<String>, Error> {
    let Some(pins) = Pins::existing(pin_dir)? else { return Ok(Vec::new()) };
    let interfaces = pins.interfaces()?;
    for interface in &interfaces {
        let dir = pins.interface(interface);
        let ifindex = super::features::index_of(interface)?.unwrap_or(0);
        for pin in InterfacePin::found(&dir) {
            links::take_off(&dir, pin, interface, ifindex)?;
        }
    }
    pins.remove()?;
    Ok(interfaces)
}
