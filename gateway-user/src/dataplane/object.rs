//! The kernel object: loading it anew, or in the place of what is pinned.

use super::mapped::MappedMut;
use super::pins::{Pins, Staged};
use super::shape::{self, SHAPES};
use super::{Error, Options};
use aya::maps::{MapData, ProgramArray};
use aya::programs::{Program, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use gateway_common::abi::{ABI_VERSION, Control, globals, maps, programs};
use gateway_common::hash::{finish, fold};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;

/// The object, as it was built with this binary.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gateway.bpf.o"));

/// Every program of the object.
const PROGRAMS: [&str; 6] = [
    programs::XDP,
    programs::XDP_WHOLE,
    programs::TC_INGRESS,
    programs::TC_EGRESS,
    programs::XDP_PASS,
    programs::CLOCK,
];

/// What is pinned where programs are.
const PROGRAM_PINS: [&str; PROGRAMS.len() + 1] = {
    let mut pins = [maps::XDP_WHOLE; PROGRAMS.len() + 1];
    pins.split_at_mut(PROGRAMS.len()).0.copy_from_slice(&PROGRAMS);
    pins
};

/// The ring of the kernel side's log, there if the object was built with logging.
pub(super) const LOG_RING: &str = "AYA_LOGS";

/// The pinned programs, open.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) xdp: Xdp,
    pub(super) tc: SchedClassifier,
    pub(super) tc_egress: SchedClassifier,
    pub(super) pass: Xdp,
    /// What leads from the short way to the whole one. Held, so that it lasts as long as the daemon, whatever becomes of
    /// its pin.
    _whole: MapData,
}

impl Programs {
    pub(super) fn open(pins: &Pins) -> Result<Programs, Error> {
        Ok(Programs {
            xdp: open_xdp(pins, programs::XDP)?,
            tc: open_tc(pins, programs::TC_INGRESS)?,
            tc_egress: open_tc(pins, programs::TC_EGRESS)?,
            pass: open_xdp(pins, programs::XDP_PASS)?,
            _whole: open_map(maps::XDP_WHOLE, &pins.program(maps::XDP_WHOLE))?,
        })
    }
}

fn open_tc(pins: &Pins, name: &'static str) -> Result<SchedClassifier, Error> {
    SchedClassifier::from_pin(pins.program(name)).map_err(Error::program("opening", name))
}

pub(super) fn open_xdp(pins: &Pins, name: &'static str) -> Result<Xdp, Error> {
    Xdp::from_pin(pins.program(name), XdpAttachType::Interface).map_err(Error::program("opening", name))
}

/// Tells builds of the object apart, and log levels, which are compiled in. No cryptographic hash:
/// it guards against nothing but mistaking one of our own builds for another.
#[must_use]
pub fn digest(log_level: u8) -> String {
    let mut state = [0x6f62_6a65_6374_2d61, 0x6f62_6a65_6374_2d62 ^ u64::from(log_level)];
    for chunk in OBJECT.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        for state in &mut state {
            *state = fold(*state, u64::from_le_bytes(word));
        }
    }
    format!("{:016x}{:016x}", finish(state[0] ^ OBJECT.len() as u64), finish(state[1]))
}

/// Sizes that are compiled into the programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Sets of the memo for each CPU.
    pub(super) memo_sets: u32,
    /// Sets of keyed buckets.
    pub(super) limit_sets: u32,
    /// Sets of connections.
    pub(super) connection_sets: u32,
    /// Sets of tracked connections.
    pub(super) track_sets: u32,
}

impl Sizes {
    /// Those of the options, for new maps.
    fn asked(options: &Options) -> Sizes {
        Sizes {
            memo_sets: options.memo_sets_per_cpu,
            limit_sets: options.limit_sets,
            connection_sets: options.connection_sets,
            track_sets: options.track_sets,
        }
    }
}

/// Loads the object with new maps and pins everything under a folder that is then published.
pub(super) fn load_new(pins: &Pins, options: &Options, cpus: u32) -> Result<Ebpf, Error> {
    let staged = pins.stage(&digest(options.log_level))?;
    let mut ebpf = load(options, Sizes::asked(options), |loader| {
        for shape in SHAPES {
            if let Some(elements) = shape.elements(options, cpus) {
                loader.map_max_entries(shape.name, elements);
            }
        }
    })?;
    for shape in SHAPES {
        let lacks = Error::ObjectLacks { kind: "map", name: shape.name };
        let map = ebpf.map(shape.name).ok_or(lacks)?;
        map.pin(staged.map(shape.name)).map_err(Error::map("pinning", shape.name))?;
    }
    load_programs(&mut ebpf, |name| staged.program(name))?;
    write_abi(&staged, options)?;
    staged.publish()?;
    Ok(ebpf)
}

/// What leads on in programs that a start which was cut off had put beside the old ones, if there was one. They may be
/// attached: the kernel must not empty this before they are replaced.
pub(super) fn hold_left_over(pins: &Pins) -> Result<Option<MapData>, Error> {
    let pin = pins.program(&beside(maps::XDP_WHOLE));
    pin.exists().then(|| open_map(maps::XDP_WHOLE, &pin)).transpose()
}

/// Loads the object against the pinned maps; its programs are pinned beside the old ones, which
/// [`publish_programs`] replaces.
pub(super) fn load_beside(pins: &Pins, options: &Options, sizes: Sizes) -> Result<Ebpf, Error> {
    let mut ebpf = load(options, sizes, |loader| {
        for shape in SHAPES {
            loader.map_pin_path(shape.name, pins.map(shape.name));
        }
    })?;
    for name in PROGRAM_PINS {
        super::pins::remove_tree(&pins.program(&beside(name)))?;
    }
    load_programs(&mut ebpf, |name| pins.program(&beside(name)))?;
    Ok(ebpf)
}

/// Puts the pins that [`load_beside`] made in the place of the old ones.
pub(super) fn publish_programs(pins: &Pins, options: &Options) -> Result<(), Error> {
    for name in PROGRAM_PINS {
        let new = pins.program(&beside(name));
        fs::rename(&new, pins.program(name)).map_err(Error::pins("renaming", new))?;
    }
    pins.set_object(&digest(options.log_level))
}

fn beside(name: &str) -> String {
    format!("{name}_new")
}

fn load(options: &Options, sizes: Sizes, with: impl FnOnce(&mut EbpfLoader<'_>)) -> Result<Ebpf, Error> {
    let seed = seed(options)?;
    let log_level = options.log_level;
    let fixed_clock = u32::from(options.repeatable.is_some());
    let mut loader = EbpfLoader::new();
    with(&mut loader);
    loader
        .override_global(globals::MEMO_SETS, &sizes.memo_sets, true)
        .override_global(globals::MEMO_SEED, &seed, true)
        .override_global(globals::LIMIT_SETS, &sizes.limit_sets, true)
        .override_global(globals::CONNECTION_SETS, &sizes.connection_sets, true)
        .override_global(globals::TRACK_SETS, &sizes.track_sets, false)
        .override_global(globals::FIXED_CLOCK, &fixed_clock, true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .load(OBJECT)
        .map_err(|error| Error::Load(Box::new(error)))
}

fn load_programs(ebpf: &mut Ebpf, path: impl Fn(&str) -> std::path::PathBuf) -> Result<(), Error> {
    for name in PROGRAMS {
        let program = ebpf.program_mut(name).ok_or(Error::ObjectLacks { kind: "program", name })?;
        match program {
            Program::Xdp(program) => interruptible(|| program.load()),
            Program::SchedClassifier(program) => interruptible(|| program.load()),
            _ => return Err(Error::ObjectLacks { kind: "XDP or tc program", name }),
        }
        .map_err(Error::program("loading", name))?;
        program.pin(path(name)).map_err(|source| Error::Pins {
            action: "pinning",
            path: path(name),
            source: std::io::Error::other(source),
        })?;
    }
    lead_on(ebpf, &path(maps::XDP_WHOLE))
}

/// Tells the program of the short way which one goes the whole one, and pins that.
fn lead_on(ebpf: &mut Ebpf, path: &Path) -> Result<(), Error> {
    let lacks = |kind, name| Error::ObjectLacks { kind, name };
    let program = ebpf.program(programs::XDP_WHOLE).ok_or(lacks("program", programs::XDP_WHOLE))?;
    let Program::Xdp(program) = program else { return Err(lacks("XDP program", programs::XDP_WHOLE)) };
    let program = program.fd().and_then(|fd| Ok(fd.try_clone()?));
    let program = program.map_err(Error::program("loading", programs::XDP_WHOLE))?;
    let map = ebpf.map_mut(maps::XDP_WHOLE).ok_or(lacks("map", maps::XDP_WHOLE))?;
    let mut whole: ProgramArray<&mut MapData> =
        map.try_into().map_err(Error::map("opening", maps::XDP_WHOLE))?;
    whole.set(0, &program, 0).map_err(Error::map("writing", maps::XDP_WHOLE))?;
    let map = ebpf.map(maps::XDP_WHOLE).ok_or(lacks("map", maps::XDP_WHOLE))?;
    map.pin(path).map_err(Error::map("pinning", maps::XDP_WHOLE))
}

/// How often a load is tried: as often as libbpf does.
const LOAD_TRIES: u32 = 5;

/// Loads a program, again where a signal came in between: the verifier then gives up with EAGAIN
/// (kernel/bpf/verifier.c, `do_check`).
fn interruptible(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    for _ in 1..LOAD_TRIES {
        match load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
    load()
}

fn write_abi(staged: &Staged<'_>, options: &Options) -> Result<(), Error> {
    let data = open_map(maps::CONTROL, &staged.map(maps::CONTROL))?;
    let control = MappedMut::<Control>::new(maps::CONTROL, data.fd().as_fd(), 1)?;
    let value = Control { abi: ABI_VERSION, limit_seed: seed(options)?, ..Control::default() };
    shape::stored(maps::CONTROL, control.store(0, &value))
}

pub(super) fn open_map(name: &'static str, path: &Path) -> Result<MapData, Error> {
    MapData::from_pin(path).map_err(Error::map("opening", name))
}

/// Whether there is a ring of the kernel side's log.
pub(super) fn has_log(ebpf: &Ebpf) -> bool {
    ebpf.map(LOG_RING).is_some()
}

/// A seed nobody outside can know, so that nobody can aim flows at one set of the memo; or the one asked for.
fn seed(options: &Options) -> Result<u64, Error> {
    if let Some(seed) = options.repeatable {
        return Ok(seed);
    }
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 8];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(Error::pins("reading", path))?;
    Ok(u64::from_ne_bytes(bytes))
}
