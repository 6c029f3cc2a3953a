//! What can go wrong between this process and the kernel.

use std::io;
use std::path::PathBuf;

/// An error of the data plane: what was tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option has a value that cannot be used.
    #[error("option {option}: {reason}")]
    Option {
        /// Its name in [`super::Options`].
        option: &'static str,
        /// What would be right.
        reason: String,
    },
    /// More CPUs than the programs have counters for.
    #[error("{found} possible CPUs; at most {} are supported", gateway_common::abi::MAX_CPUS)]
    Cpus {
        /// How many.
        found: u32,
    },
    /// A file-system operation on the pins failed.
    #[error("{action} {}: {source}", path.display())]
    Pins {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The pin folder is not on a BPF file system and none could be mounted.
    #[error(
        "{} is not on a BPF file system, and mounting one at {} failed: {source}; \
         mount it with `mount -t bpf bpf {}`",
        pin_dir.display(), mount_point.display(), mount_point.display()
    )]
    Bpffs {
        /// The pin folder.
        pin_dir: PathBuf,
        /// Where a mount was tried.
        mount_point: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process holds the pin folder.
    #[error("{} is in use by another running gateway", path.display())]
    Busy {
        /// The pin folder.
        path: PathBuf,
    },
    /// The pins belong to a version with another ABI.
    #[error(
        "{} holds the state of another version ({found}); this one understands {expected}: \
         take it off with `gateway detach` first", path.display()
    )]
    OtherAbi {
        /// The pin folder.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What is understood.
        expected: String,
    },
    /// A pinned map is not what its name promises.
    #[error("pinned map {map}: {field} is {found}, expected {expected}; `gateway detach` removes it")]
    MapShape {
        /// The map.
        map: &'static str,
        /// What differs.
        field: &'static str,
        /// What the kernel says.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// The live policy's tables do not fit the arena that holds them.
    #[error("the live policy image is damaged: {reason}; `gateway detach` removes it")]
    ImageDamaged {
        /// What was found.
        reason: String,
    },
    /// The object could not be parsed, or its maps could not be made.
    #[error("loading the kernel object: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    /// A program was refused or could not be reached.
    #[error("{action} program {program}: {source}")]
    Program {
        /// What was tried.
        action: &'static str,
        /// Its name.
        program: &'static str,
        /// Why not.
        source: Box<aya::programs::ProgramError>,
    },
    /// A map could not be opened or mapped.
    #[error("{action} map {map}: {source}")]
    Map {
        /// What was tried.
        action: &'static str,
        /// Its name.
        map: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object lacks something that this version needs: it was not built with it.
    #[error("the kernel object has no {kind} {name}")]
    ObjectLacks {
        /// Map or program.
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// No room for the policy's tables.
    #[error(
        "the policy needs {needed} more lines of 64 bytes, the arena of {total} has {free} free \
         (the largest gap {largest}); raise `arena_lines` and start anew after `gateway detach`"
    )]
    ArenaFull {
        /// Lines that the section needs.
        needed: u32,
        /// Lines free in all.
        free: u32,
        /// The largest run of free lines.
        largest: u32,
        /// Lines of the arena.
        total: u32,
    },
    /// No room for another live member of a label.
    #[error(
        "the table of live members holds {members} of at most {most}, and one more finds no place; \
         raise `live_lines` and start anew after `gateway detach`"
    )]
    MembersFull {
        /// Members in it.
        members: u32,
        /// Members that it has places for.
        most: u64,
    },
    /// Live members of too many prefix lengths.
    #[error(
        "live members have prefixes of {most} different lengths already, and a packet's source is looked up \
         once for each: a prefix of length {length} cannot be added before another length is given up"
    )]
    MemberLengths {
        /// The length that is one too many.
        length: u8,
        /// The most there can be, for each family.
        most: u32,
    },
    /// Waiting until no packet uses the previous policy failed.
    #[error("membarrier: {source}{}", if source.raw_os_error() == Some(libc::EINVAL) { " (the kernel runs with nohz_full, which excludes it)" } else { "" })]
    Grace {
        /// Why not.
        source: io::Error,
    },
    /// No interface has this name.
    #[error("no interface {name} in this network namespace")]
    NoInterface {
        /// The name.
        name: String,
    },
    /// An interface name that the kernel would not accept.
    #[error("{name:?} cannot be the name of an interface: 1 to 15 bytes, without `/` and blanks")]
    InterfaceName {
        /// The name.
        name: String,
    },
    /// Two interfaces cannot be told apart by the low 16 bits of their indices.
    #[error(
        "{interface} (index {ifindex}) and another governed interface (index {other}) share the low \
         16 bits of their indices; re-create one of them"
    )]
    IndexCollision {
        /// The interface.
        interface: String,
        /// Its index.
        ifindex: u32,
        /// The other's.
        other: u32,
    },
    /// A slot is not in 1..=255, or belongs to another interface.
    #[error("interface slot {slot} cannot be given to {interface}: {reason}")]
    Slot {
        /// The interface.
        interface: String,
        /// The slot.
        slot: u8,
        /// Why not.
        reason: String,
    },
    /// No program could be attached.
    #[error("attaching to {interface}: {reason}")]
    Attach {
        /// The interface.
        interface: String,
        /// Every refusal.
        reason: String,
    },
    /// A link could not be changed or asked.
    #[error("{action} of {interface}: {source}")]
    Link {
        /// What was tried.
        action: &'static str,
        /// The interface.
        interface: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A netlink request failed.
    #[error("netlink: {action}: {source}")]
    Netlink {
        /// What was asked.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The kernel's clock could not be read or makes no sense.
    #[error("reading the kernel's clock: {reason}")]
    Clock {
        /// What was found.
        reason: String,
    },
    /// A ring buffer's reader was taken already: there is one consumer.
    #[error("ring buffer {map} has a reader already")]
    RingTaken {
        /// The map.
        map: &'static str,
    },
    /// Waiting for a file descriptor failed.
    #[error("waiting for {what}: {source}")]
    Wait {
        /// For what.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A test run was refused.
    #[error("test run of {program}: {reason}")]
    TestRun {
        /// The program.
        program: &'static str,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// For `map_err` on pin operations.
    pub(super) fn pins(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Pins { action, path, source }
    }

    /// For `map_err` on program operations.
    pub(super) fn program<E: Into<aya::programs::ProgramError>>(
        action: &'static str,
        program: &'static str,
    ) -> impl FnOnce(E) -> Error {
        move |source| Error::Program { action, program, source: Box::new(source.into()) }
    }

    /// For `map_err` on map operations.
    pub(super) fn map<E: std::error::Error + Send + Sync + 'static>(
        action: &'static str,
        map: &'static str,
    ) -> impl FnOnce(E) -> Error {
        move |source| Error::Map { action, map, source: Box::new(source) }
    }

    /// For `map_err` on link operations.
    pub(super) fn link<E: std::error::Error + Send + Sync + 'static>(
        action: &'static str,
        interface: &str,
    ) -> impl FnOnce(E) -> Error {
        let interface = interface.to_owned();
        move |source| Error::Link { action, interface, source: Box::new(source) }
    }
}
