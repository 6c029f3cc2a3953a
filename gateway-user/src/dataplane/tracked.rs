//! Tracked connections of translating pools, and the states of their targets.

use super::mapped::{Mapped, MappedMut};
use super::shape::stored;
use super::{Dataplane, Error, Readers, monotonic_now_ns};
use gateway_common::abi::{
    Control, TARGET_KNOWN, TRACK_WAYS, TRACKED_AFFINITY, TagSet, TargetState, Tracked, maps,
};
use gateway_common::image::MAX_TARGETS;
use gateway_common::packet::Address;
use gateway_common::track::{COUNTED_OUT, Tag, UNIT_SHIFT, phase, units, units_between};
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where tracked connections lie.
pub(super) struct TrackMaps {
    pub(super) tags: MappedMut<TagSet>,
    pub(super) tracked: Mapped<Tracked>,
    pub(super) states: MappedMut<TargetState>,
}

/// A tracked connection that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// IP protocol.
    pub protocol: u8,
    /// Who began it. For ICMP echo the port is the identifier, and other ends have port 0.
    pub client: SocketAddr,
    /// Whom the client asked for.
    pub service: SocketAddr,
    /// Who answers.
    pub target: SocketAddr,
    /// What the target takes for the client.
    pub source: SocketAddr,
    /// One of [`gateway_common::track::phase`].
    pub phase: u8,
    /// Counter slot of the route that it came by.
    pub counter: u32,
    /// Slot of the target.
    pub slot: u32,
    /// How long ago it began, nanoseconds, exact to a unit of [`UNIT_SHIFT`].
    pub age_ns: u64,
    /// When it is over if nothing more is heard, nanoseconds from now, to a unit.
    pub left_ns: u64,
    /// Packets and bytes of the client.
    pub sent: gateway_common::abi::Count,
    /// Packets and bytes of the target.
    pub returned: gateway_common::abi::Count,
}

/// How many connections there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackCounts {
    /// Elements in use: connections, those to targets that have ended among them, and what is kept of clients
    /// for affinity.
    pub entries: u64,
    /// Connections that are not over, by target slot.
    by_slot: Vec<u32>,
    /// Those of them of which only the client was heard.
    half_open: Vec<u32>,
}

impl TrackCounts {
    /// Connections to the target of this slot.
    #[must_use]
    pub fn of(&self, slot: u32) -> u64 {
        self.by_slot.get(slot as usize).copied().unwrap_or(0).into()
    }

    /// Those of them of which only the client was heard.
    #[must_use]
    pub fn half_open_of(&self, slot: u32) -> u64 {
        self.half_open.get(slot as usize).copied().unwrap_or(0).into()
    }
}

/// The time, and the targets' states, at the beginning of a walk.
struct Moment {
    now_ns: u64,
    now: u32,
    states: Vec<TargetState>,
}

impl Moment {
    /// Whether a connection to this address of a target goes on.
    fn honours(&self, slot: u32, address: Address, port: u16, protocol: u8) -> bool {
        let state = self.states.get(slot as usize);
        state.is_some_and(|state| state.honours(address, port, protocol, self.now_ns))
    }
}

impl Readers {
    /// Calls `visit` with each tracked connection that is not over. Those that begin or end meanwhile may be
    /// left out.
    pub fn connections(&self, mut visit: impl FnMut(&Connection)) {
        let moment = self.moment();
        let tracked = &self.0.track.tracked;
        self.live_tags(&moment, |index, tag| {
            let Some(found) = tracked.load(index) else { return };
            // What a tag makes valid stays so while its hash and phase do.
            let after = self.tag(index);
            let same = (after.0 ^ tag.0) >> 32 == 0 && after.phase() == tag.phase();
            if same
                && found.protocol != TRACKED_AFFINITY
                && moment.honours(found.slot.into(), found.target, found.target_port, found.protocol)
            {
                visit(&connection(&found, tag, moment.now));
            }
        });
    }

    /// How many tracked connections there are: one walk over all tags, and the words of the live ones that
    /// tell their targets.
    #[must_use]
    pub fn connection_counts(&self) -> TrackCounts {
        let moment = self.moment();
        let tracked = &self.0.track.tracked;
        let mut counts =
            TrackCounts { entries: 0, by_slot: vec![0; MAX_TARGETS], half_open: vec![0; MAX_TARGETS] };
        let word = |index, offset| tracked.load_u64(index, offset).unwrap_or(0);
        self.live_tags(&moment, |index, tag| {
            counts.entries += 1;
            let ends = Ends::from(|offset| word(index, offset));
            let honoured = moment.honours(ends.slot, ends.target, ends.target_port, ends.protocol);
            if !honoured || ends.protocol == TRACKED_AFFINITY {
                return;
            }
            if let Some(count) = counts.by_slot.get_mut(ends.slot as usize) {
                *count += 1;
            }
            if let Some(count) = counts.half_open.get_mut(ends.slot as usize)
                && tag.phase() == phase::HALF_OPEN
            {
                *count += 1;
            }
        });
        counts
    }

    /// How many connections each target has open, by its slot: those that are closing do not count, which the kernel
    /// has seen. Those that ended by their time or their target's are counted out for good, so that the kernel does
    /// not do so again when their places are taken.
    #[must_use]
    pub fn open_connections(&self) -> Vec<u32> {
        let moment = self.moment();
        let track = &self.0.track;
        let mut open = vec![0; MAX_TARGETS];
        let word = |index, offset| track.tracked.load_u64(index, offset).unwrap_or(0);
        self.tags(|index, tag| {
            let ended = tag.phase() == phase::CLOSING || tag.state() & COUNTED_OUT != 0;
            if tag.phase() < phase::HALF_OPEN || ended {
                return;
            }
            let ends = Ends::from(|offset| word(index, offset));
            if ends.protocol == TRACKED_AFFINITY {
                return;
            }
            let honoured = moment.honours(ends.slot, ends.target, ends.target_port, ends.protocol);
            if !honoured || !tag.is_live(moment.now) {
                let (set, offset) = place(index);
                let counted_out = |word| (word == tag.0).then_some(word | u64::from(COUNTED_OUT));
                let _ = track.tags.fetch_update_u64(set, offset, counted_out);
            } else if let Some(count) = open.get_mut(ends.slot as usize) {
                *count += 1;
            }
        });
        open
    }

    /// Tracked connections at most.
    #[must_use]
    pub fn tracked_max(&self) -> u64 {
        self.0.track.tracked.len().into()
    }

    /// What holds of the target of this slot; nothing where it is of no translating pool of the policy.
    #[must_use]
    pub fn target_state(&self, slot: u32) -> Option<TargetState> {
        self.0.track.states.load(slot).filter(|state| state.flags & TARGET_KNOWN != 0)
    }

    fn moment(&self) -> Moment {
        let now_ns = self.now_ns();
        let states = (0..MAX_TARGETS as u32).map(|slot| self.0.track.states.load(slot).unwrap_or_default());
        Moment { now_ns, now: units(now_ns), states: states.collect() }
    }

    /// The time that the kernel judges by, `CLOCK_MONOTONIC` nanoseconds.
    pub(super) fn now_ns(&self) -> u64 {
        let fixed = self.0.control.load_u64(0, offset_of!(Control, fixed_now_ns)).unwrap_or(0);
        if fixed == 0 { monotonic_now_ns() } else { fixed }
    }

    fn live_tags(&self, moment: &Moment, mut visit: impl FnMut(u32, Tag)) {
        self.tags(|index, tag| {
            if tag.is_live(moment.now) {
                visit(index, tag);
            }
        });
    }

    fn tags(&self, mut visit: impl FnMut(u32, Tag)) {
        for set in 0..self.0.track.tags.len() {
            let Some(tags) = self.0.track.tags.load(set) else { continue };
            for (way, tag) in (0..).zip(tags.map(Tag)) {
                visit(set * TRACK_WAYS as u32 + way, tag);
            }
        }
    }

    fn tag(&self, index: u32) -> Tag {
        let (set, offset) = place(index);
        Tag(self.0.track.tags.load_u64(set, offset).unwrap_or(0))
    }
}

/// Set, and offset in it, bytes, of an element's tag.
fn place(index: u32) -> (u32, usize) {
    (index / TRACK_WAYS as u32, index as usize % TRACK_WAYS * size_of::<u64>())
}

/// The words of a connection that tell its target.
struct Ends {
    protocol: u8,
    slot: u32,
    target: Address,
    target_port: u16,
}

impl Ends {
    fn from(word: impl Fn(usize) -> u64) -> Ends {
        const KINDS: usize = offset_of!(Tracked, client_port);
        const SLOTS: usize = offset_of!(Tracked, idle);
        const TARGET: usize = offset_of!(Tracked, target);
        const PORTS: usize = offset_of!(Tracked, target_port);
        const { assert!(KINDS.is_multiple_of(8) && offset_of!(Tracked, protocol) == KINDS + 4) };
        const { assert!(SLOTS.is_multiple_of(8) && offset_of!(Tracked, slot) == SLOTS + 6) };
        const { assert!(TARGET.is_multiple_of(8) && PORTS.is_multiple_of(8)) };
        let bytes = |offset| word(offset).to_ne_bytes();
        let [_, _, _, _, protocol, ..] = bytes(KINDS);
        let [_, _, _, _, _, _, slot @ ..] = bytes(SLOTS);
        let [first, second, ..] = bytes(PORTS);
        Ends {
            protocol,
            slot: u16::from_ne_bytes(slot).into(),
            target: [word(TARGET), word(TARGET + 8)],
            target_port: u16::from_ne_bytes([first, second]),
        }
    }
}

fn ip(family: u8, address: Address) -> IpAddr {
    if family == 4 {
        return IpAddr::V4(Ipv4Addr::from_bits((address[0] >> 32) as u32));
    }
    IpAddr::V6(Ipv6Addr::from_bits(u128::from(address[0]) << 64 | u128::from(address[1])))
}

fn connection(found: &Tracked, tag: Tag, now: u32) -> Connection {
    let end = |address, port| SocketAddr::new(ip(found.family, address), port);
    let ns = |units: u32| u64::from(units) << UNIT_SHIFT;
    Connection {
        protocol: found.protocol,
        client: end(found.client, found.client_port),
        service: end(found.service, found.service_port),
        target: end(found.target, found.target_port),
        source: end(found.source, found.source_port),
        phase: tag.phase(),
        counter: found.counter,
        slot: found.slot.into(),
        age_ns: ns(units_between(found.opened, now)),
        left_ns: ns(tag.left(now)),
        sent: gateway_common::abi::Count { packets: found.packets, bytes: found.bytes },
        returned: gateway_common::abi::Count { packets: found.return_packets, bytes: found.return_bytes },
    }
}

impl Dataplane {
    /// Says what holds of these targets, by their slots, and leaves the others as they are: before a policy
    /// goes live that has them.
    ///
    /// # Errors
    /// Where a slot does not exist.
    pub fn add_target_states(&mut self, states: &[(u32, TargetState)]) -> Result<(), Error> {
        let table = &self.readers.0.track.states;
        for (slot, state) in states {
            let before = table.load(*slot).unwrap_or_default();
            if before != *state {
                stored(maps::TARGET_STATES, store(table, *slot, &before, state))?;
            }
        }
        Ok(())
    }

    /// Says what holds of these targets, by their slots, and that there are no others: once the policy that
    /// has them is live.
    ///
    /// # Errors
    /// Where a slot does not exist.
    pub fn set_target_states(&mut self, states: &[(u32, TargetState)]) -> Result<(), Error> {
        self.add_target_states(states)?;
        let known: BTreeMap<u32, &TargetState> = states.iter().map(|(slot, state)| (*slot, state)).collect();
        let others = (0..MAX_TARGETS as u32).filter(|slot| !known.contains_key(slot));
        let gone: Vec<(u32, TargetState)> = others.map(|slot| (slot, TargetState::default())).collect();
        self.add_target_states(&gone)
    }
}

/// Writes a state while packets read it: where the target is another than before it is not known in between,
/// so that nothing is taken for its connection by half of each.
fn store(table: &MappedMut<TargetState>, slot: u32, before: &TargetState, state: &TargetState) -> bool {
    const FLAGS: usize = offset_of!(TargetState, flags);
    const { assert!(FLAGS.is_multiple_of(8) && offset_of!(TargetState, port) == FLAGS + 4) };
    let words: [u64; size_of::<TargetState>() / 8] = bytemuck::cast(*state);
    let moved = (before.address, before.port) != (state.address, state.port);
    let mut whole = !moved || table.store_u64(slot, FLAGS, 0);
    for (i, word) in words.iter().enumerate().filter(|(i, _)| i * 8 != FLAGS) {
        whole &= table.store_u64(slot, i * 8, *word);
    }
    whole & table.store_u64(slot, FLAGS, words[FLAGS / 8])
}
