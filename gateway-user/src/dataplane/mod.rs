//! The data plane: the only place that talks to the kernel's BPF, and the only one with unsafe code.
//!
//! [`Dataplane::open`] finds the programs and maps of an earlier process by their pins, or loads
//! them. [`Dataplane::apply`] makes a compiled policy live with one store. [`Readers`] reads what the
//! kernel counts. Nothing here ends when the process does: only [`Dataplane::detach_all`] (or
//! [`remove`], without a running daemon) takes the programs off.
//!
//! All acts in the network namespace of the calling thread. Calls block: at most for a grace period
//! (some tens of milliseconds), or as long as the kernel takes to verify the programs.

mod apply;
mod arena;
mod attach;
mod attachment;
mod clock;
mod error;
mod events;
mod features;
mod flows;
mod health;
mod interfaces;
mod ledger;
mod levels;
mod limits;
mod links;
mod live;
mod log;
mod mapped;
mod members;
mod netlink;
mod object;
mod open;
mod own_addresses;
mod pins;
mod refresh;
mod ring;
mod routing;
mod shape;
mod stats;
mod sys;
mod testrun;
#[cfg(test)]
mod tests;
mod tracked;
mod watch;

pub use apply::{Applied, LivePolicy, Timing};
pub use attachment::{AttachedMode, Attachment, Mode, TcLink, XdpLink};
pub use clock::{Clock, monotonic_now_ns};
pub use error::Error;
pub use events::{EventRing, addresses};
pub use flows::{FlowAccount, FlowId, FlowRing, FlowScan};
pub use health::Changed;
pub use ledger::{Settled, SettledInterface};
pub use limits::{ConnectionScan, KeyBucket, KeyScan, KeySums, Level, LimitTime, LimitsBySlot};
pub use log::KernelLog;
pub use members::{LiveMember, MemberChange, MemberPlan};
pub use object::{OBJECT, digest as object_digest};
pub use open::remove;
pub use refresh::InterfaceChange;
pub use routing::{WayTo, ways_to};
pub use stats::{Readers, TelemetryCounts};
pub use testrun::{Program, TestRunOutcome};
pub use tracked::{Connection, TrackCounts};
pub use watch::{LinkEvent, LinkWatcher};

use gateway_common::abi::{
    CONNECTION_SETS_DEFAULT, CONTROL_FLOWS, Control, Egress, Interface, LIMIT_SETS_DEFAULT,
    LIVE_LINES_DEFAULT, Line, MAX_INTERFACES, MEMO_SETS_DEFAULT, OwnAddresses, TRACK_SETS_DEFAULT, maps,
};
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::path::PathBuf;

/// How to open the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where programs, maps and links are pinned: a folder of its own on a BPF file system.
    pub pin_dir: PathBuf,
    /// Lines of 64 bytes for policy images. Pinned maps keep their size.
    pub arena_lines: u32,
    /// Sets of the flow memo for each CPU, a power of two; 384 bytes each. Pinned maps keep theirs.
    pub memo_sets_per_cpu: u32,
    /// Lines of 64 bytes for live members of labels, two each: a power of two. Pinned maps keep theirs.
    pub live_lines: u32,
    /// Sets of the table of limits by key, four keys each: a power of two. Pinned maps keep theirs.
    pub limit_sets: u32,
    /// Sets of the table of open connections, four each: a power of two. Pinned maps keep theirs.
    pub connection_sets: u32,
    /// Sets of the table of tracked connections, eight each: a power of two; 1,152 bytes each. Pinned maps
    /// keep theirs.
    pub track_sets: u32,
    /// Keep flow accounts.
    pub flow_accounting: bool,
    /// One in so many packets that are not dropped is reported as an event; 0: none.
    pub sample_one_in: u32,
    /// One in so many dropped packets is reported; 0: none.
    pub sample_drops_one_in: u32,
    /// The time that limits and connections see is what [`Dataplane::set_time`] says, and the hashes have this seed: for
    /// tests, so that they can be repeated.
    pub repeatable: Option<u64>,
    /// Level of the kernel side's log: 0 off (and compiled out by the verifier), 1 errors to 5 all.
    pub log_level: u8,
}

impl Options {
    /// The defaults, with this pin folder.
    #[must_use]
    pub fn new(pin_dir: impl Into<PathBuf>) -> Options {
        Options {
            pin_dir: pin_dir.into(),
            arena_lines: 1 << 20,
            memo_sets_per_cpu: MEMO_SETS_DEFAULT,
            live_lines: LIVE_LINES_DEFAULT,
            limit_sets: LIMIT_SETS_DEFAULT,
            connection_sets: CONNECTION_SETS_DEFAULT,
            track_sets: TRACK_SETS_DEFAULT,
            flow_accounting: true,
            sample_one_in: 0,
            sample_drops_one_in: 0,
            repeatable: None,
            log_level: 0,
        }
    }
}

/// What [`Dataplane::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whether the maps of an earlier process were taken over.
    pub adopted: bool,
    /// The generation that was live then, 0 if none.
    pub generation: u32,
    /// Whether its programs were of another build of the object, and were replaced in place.
    pub programs_replaced: bool,
    /// Interfaces that had programs attached.
    pub interfaces: Vec<String>,
    /// What differs from the options because pinned maps keep their sizes.
    pub notes: Vec<String>,
}

/// How much of a bounded thing is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSize {
    /// The map.
    pub map: &'static str,
    /// Entries in use.
    pub entries: u64,
    /// Entries at most.
    pub max_entries: u64,
}

/// Programs, maps and links in the kernel, and what this process knows of them.
pub struct Dataplane {
    pins: pins::Pins,
    opened: Opened,
    programs: object::Programs,
    control: mapped::MappedMut<Control>,
    arena_lines: mapped::MappedMut<Line>,
    members: members::MemberTable,
    interfaces: mapped::MappedMut<Interface>,
    egress: mapped::MappedMut<Egress>,
    own_addresses: mapped::MappedMut<OwnAddresses>,
    readers: Readers,
    arena: arena::Arena,
    live: Option<live::Live>,
    ledger: ledger::Ledger,
    governed: BTreeMap<String, attach::Governed>,
    /// Slots of redirect targets, governed interfaces among them.
    targets: BTreeMap<String, u8>,
    flow_ring_taken: bool,
    event_ring_taken: bool,
    kernel_log: Option<KernelLog>,
}

impl Dataplane {
    /// What was found when it was opened.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// A reader of all counters and live flows, for any thread.
    #[must_use]
    pub fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Switches flow accounts on or off.
    ///
    /// # Errors
    /// Never, short of a map that is not what it was checked to be.
    pub fn set_flow_accounting(&mut self, on: bool) -> Result<(), Error> {
        let mut control = self.control.load(0).unwrap_or_default();
        control.flags = if on { control.flags | CONTROL_FLOWS } else { control.flags & !CONTROL_FLOWS };
        let offset = offset_of!(Control, abi);
        const { assert!(offset_of!(Control, flags) == offset_of!(Control, abi) + 4) };
        let words: &[u64] = bytemuck::cast_slice(std::slice::from_ref(&control));
        shape::stored(maps::CONTROL, self.control.store_u64(0, offset, words[offset / 8]))
    }

    /// Sets how many packets are reported as events: one in so many of those that are not dropped,
    /// one in so many of those that are; 0 for none.
    ///
    /// # Errors
    /// Never, short of a map that is not what it was checked to be.
    pub fn set_sampling(&mut self, one_in: u32, drops_one_in: u32) -> Result<(), Error> {
        let below = |one_in: u32| u64::MAX.checked_div(u64::from(one_in)).unwrap_or(0);
        for (offset, one_in) in [
            (offset_of!(Control, sample_below), one_in),
            (offset_of!(Control, sample_drops_below), drops_one_in),
        ] {
            shape::stored(maps::CONTROL, self.control.store_u64(0, offset, below(one_in)))?;
        }
        Ok(())
    }

    /// Sets the time of limits where it was opened with [`Options::repeatable`]: `CLOCK_MONOTONIC`
    /// nanoseconds.
    ///
    /// # Errors
    /// Never, short of a map that is not what it was checked to be.
    pub fn set_time(&mut self, now_ns: u64) -> Result<(), Error> {
        shape::stored(maps::CONTROL, self.control.store_u64(0, offset_of!(Control, fixed_now_ns), now_ns))
    }

    /// How full the bounded maps are.
    #[must_use]
    pub fn map_sizes(&self) -> Vec<MapSize> {
        let slots = MAX_INTERFACES as u64 - 1;
        let size = |map, entries, max_entries| MapSize { map, entries, max_entries };
        vec![
            size(maps::ARENA, u64::from(self.arena.used()), u64::from(self.arena.lines())),
            size(maps::INTERFACES, self.governed.len() as u64, slots),
            size(maps::EGRESS, self.targets.len() as u64, slots),
            size(maps::LIVE, self.members.count().into(), self.members.most()),
        ]
    }

    /// The reader of flows that leave the memo. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::RingTaken`] the second time: a ring buffer has one consumer.
    pub fn flow_ring(&mut self) -> Result<FlowRing, Error> {
        take_once(&mut self.flow_ring_taken, maps::FLOWS)?;
        FlowRing::open(&self.pins.map(maps::FLOWS), self.readers())
    }

    /// The reader of sampled packets. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::RingTaken`] the second time: a ring buffer has one consumer.
    pub fn event_ring(&mut self) -> Result<EventRing, Error> {
        take_once(&mut self.event_ring_taken, maps::EVENTS)?;
        EventRing::open(&self.pins.map(maps::EVENTS))
    }

    /// The kernel side's log, if [`Options::log_level`] raised it and the object was built with one;
    /// once.
    pub fn kernel_log(&mut self) -> Option<KernelLog> {
        self.kernel_log.take()
    }
}

fn take_once(taken: &mut bool, map: &'static str) -> Result<(), Error> {
    if std::mem::replace(taken, true) { Err(Error::RingTaken { map }) } else { Ok(()) }
}
