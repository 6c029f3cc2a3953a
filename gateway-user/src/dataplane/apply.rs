//! A policy goes live: its image is written beside the live one, and one store makes it judge.

use super::arena::{Arena, Region};
use super::ledger::Settled;
use super::levels::Moves;
use super::limits::LimitTime;
use super::live::Live;
use super::shape::stored;
use super::{Dataplane, Error, sys};
use crate::compile::{Image, SECTIONS, Section};
use gateway_common::abi::{Control, Line, STAMP_ONCE, maps};
use gateway_common::image::{HEADER_LINES, HEADER_MAGIC, HeaderCold};
use std::mem::offset_of;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the parts of an application took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Comparing with the live image and writing what differs, nanoseconds.
    pub write_ns: u64,
    /// Waiting until no packet used the lines that were needed, nanoseconds; 0 where there was room.
    pub grace_ns: u64,
    /// The store that made it live, nanoseconds.
    pub flip_ns: u64,
}

/// A policy that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its generation.
    pub generation: u32,
    /// Lines written; the others are shared with the generation before.
    pub lines_written: u32,
    /// How long it took.
    pub timing: Timing,
}

/// The policy that judges now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePolicy {
    /// Its generation.
    pub generation: u32,
    /// When it was applied, seconds since the Unix epoch.
    pub applied_at_unix_secs: u64,
    /// What [`Dataplane::apply`] was given.
    pub digest: [u64; 4],
    /// Its routes.
    pub routes: u32,
}

/// Where an image's sections go.
struct Placement {
    sections: [Region; SECTIONS],
    header: Region,
    /// Which of them are new; the others are the live image's.
    fresh: [bool; SECTIONS],
}

impl Dataplane {
    /// Makes an image live. Every packet from then on is judged by it, those under way by the one
    /// before. `digest` names the policy document for a daemon that starts later.
    ///
    /// # Errors
    /// [`Error::ArenaFull`], [`Error::Grace`]; the live policy is then what it was.
    pub fn apply(
        &mut self,
        image: &Image,
        digest: [u64; 4],
        applied_at_unix_secs: u64,
    ) -> Result<Applied, Error> {
        let start = Instant::now();
        let mut grace = Duration::ZERO;
        let fresh = self.fresh_sections(image);
        let placement = self.place(image, fresh, &mut grace)?;
        let last = self.live.as_ref().map_or(0, |live| live.cold.generation);
        let generation = last.wrapping_add(1).max(1);
        let cold = HeaderCold {
            magic: HEADER_MAGIC,
            generation,
            applied_at_unix_secs,
            policy_digest: digest,
            ..HeaderCold::default()
        };
        if let Err(error) = self.write(image, &placement, &cold) {
            give_back(&mut self.arena, &placement);
            return Err(error);
        }
        let moves = Moves::between(&self.live_limits(), &image.sections[Section::Limits as usize]);
        let written = Instant::now();
        self.ledger.before_flip(&self.readers, generation);
        let flip = Instant::now();
        let stamp = self.next_stamp();
        self.set_active(Control::active_word(
            stamp,
            generation,
            image.active_flags(),
            placement.header.first,
        ))?;
        let flip_ns = flip.elapsed().as_nanos() as u64;
        self.readers.move_levels(&moves, self.limit_time());
        let shown = self.control.store_u64(0, offset_of!(Control, generation), generation.into());
        stored(maps::CONTROL, shown)?;
        let lines_written = placement.fresh_lines();
        self.replace_live(image, &placement, cold);
        let timing = Timing {
            write_ns: (written - start).saturating_sub(grace).as_nanos() as u64,
            grace_ns: grace.as_nanos() as u64,
            flip_ns,
        };
        Ok(Applied { generation, lines_written, timing })
    }

    /// The policy that judges now; after a restart, the one that was found.
    #[must_use]
    pub fn live(&self) -> Option<LivePolicy> {
        self.live.as_ref().map(|live| LivePolicy {
            generation: live.cold.generation,
            applied_at_unix_secs: live.cold.applied_at_unix_secs,
            digest: live.cold.policy_digest,
            routes: live.routes,
        })
    }

    /// The accounts of the generation that ended with the last application, after waiting until its
    /// last packet is through. Nothing where no generation has ended since this process started, or
    /// its start was not seen.
    ///
    /// # Errors
    /// [`Error::Grace`].
    pub fn settle(&mut self) -> Result<Option<Settled>, Error> {
        if !self.ledger.is_quiet() {
            self.wait_for_readers()?;
        }
        Ok(self.ledger.settle(&self.readers))
    }

    /// Which sections differ from the live ones. Those that both images share are known to be the same,
    /// others are compared byte by byte.
    fn fresh_sections(&self, image: &Image) -> [bool; SECTIONS] {
        let mut fresh = std::array::from_fn(|i| {
            let section = &image.sections[i];
            let same = self.live.as_ref().is_some_and(|live| {
                live.was_written_from(i, section) || self.holds(live.sections[i], section)
            });
            !section.is_empty() && !same
        });
        // Pools say where their targets and tables lie, so that they stay only where those do.
        let pools = Section::Pools as usize;
        let moved = fresh[Section::Targets as usize] || fresh[Section::MaglevTables as usize];
        let same = self.live.as_ref().is_some_and(|live| {
            let places = live.sections.map(|region| region.first);
            self.holds(live.sections[pools], &image.section_at(pools, &places))
        });
        fresh[pools] = !image.sections[pools].is_empty() && (moved || !same);
        fresh
    }

    fn holds(&self, region: Region, lines: &[Line]) -> bool {
        region.len as usize == lines.len()
            && (region.first..).zip(lines).all(|(i, line)| self.arena_lines.load(i).as_ref() == Some(line))
    }

    fn place(
        &mut self,
        image: &Image,
        fresh: [bool; SECTIONS],
        grace: &mut Duration,
    ) -> Result<Placement, Error> {
        let old = self.live.as_ref().map(|live| live.sections).unwrap_or_default();
        let lens = std::array::from_fn(|i| if fresh[i] { image.sections[i].len() } else { 0 });
        let needed = lens.iter().sum::<usize>() as u64 + u64::from(HEADER_LINES);
        let full = |arena: &Arena| Error::ArenaFull {
            needed: u32::try_from(needed).unwrap_or(u32::MAX),
            free: arena.free_lines(),
            largest: arena.largest_gap(),
            total: arena.lines(),
        };
        if needed > u64::from(self.arena.lines()) {
            return Err(full(&self.arena));
        }
        let mut placed = allocate(&mut self.arena, &lens);
        if placed.is_none() && self.arena.has_retired() {
            let start = Instant::now();
            self.wait_for_readers()?;
            *grace = start.elapsed();
            placed = allocate(&mut self.arena, &lens);
        }
        let (header, mut sections) = placed.ok_or_else(|| full(&self.arena))?;
        for (i, section) in sections.iter_mut().enumerate() {
            if !fresh[i] && !image.sections[i].is_empty() {
                *section = old[i];
            }
        }
        Ok(Placement { sections, header, fresh })
    }

    fn write(&self, image: &Image, placement: &Placement, cold: &HeaderCold) -> Result<(), Error> {
        let places = placement.sections.map(|region| region.first);
        for (i, first) in places.into_iter().enumerate().filter(|(i, _)| placement.fresh[*i]) {
            stored(maps::ARENA, self.arena_lines.store_all(first, &image.section_at(i, &places)))?;
        }
        let header = image.header(&places, cold);
        stored(maps::ARENA, self.arena_lines.store_all(placement.header.first, &header))
    }

    /// Makes what the memo decided stale, without a new policy: after a live change.
    pub(super) fn restamp(&mut self) -> Result<(), Error> {
        let active = self.control.load_u64(0, offset_of!(Control, active)).unwrap_or(0);
        if active == 0 {
            return Ok(());
        }
        let rest = active & u64::from(u32::MAX);
        self.set_active(u64::from(self.next_stamp()) << 32 | rest)
    }

    /// The stamp that follows the live one.
    fn next_stamp(&self) -> u32 {
        let active = self.control.load_u64(0, offset_of!(Control, active)).unwrap_or(0);
        match Control::stamp_of(active).wrapping_add(1) {
            STAMP_ONCE => 1,
            stamp => stamp,
        }
    }

    /// The flip.
    fn set_active(&self, word: u64) -> Result<(), Error> {
        stored(maps::CONTROL, self.control.store_u64(0, offset_of!(Control, active), word))
    }

    /// The time that limits see.
    fn limit_time(&self) -> LimitTime {
        let fixed = self.control.load_u64(0, offset_of!(Control, fixed_now_ns)).unwrap_or(0);
        LimitTime::from_ns(if fixed == 0 { super::monotonic_now_ns() } else { fixed })
    }

    /// The live policy's limits, as they lie in its image.
    fn live_limits(&self) -> Vec<Line> {
        let region = self.live.as_ref().map(|live| live.sections[Section::Limits as usize]);
        let Region { first, len } = region.unwrap_or_default();
        (first..first.saturating_add(len)).filter_map(|line| self.arena_lines.load(line)).collect()
    }

    /// Retires what only the old image used.
    fn replace_live(&mut self, image: &Image, placement: &Placement, cold: HeaderCold) {
        let routes = image.header(&placement.sections.map(|region| region.first), &cold)[0];
        let hot: gateway_common::image::HeaderHot = bytemuck::cast(routes);
        if let Some(old) = self.live.take() {
            self.arena.retire(old.header);
            for (old, new) in old.sections.into_iter().zip(placement.sections) {
                if old != new {
                    self.arena.retire(old);
                }
            }
        }
        let Placement { sections, header, .. } = *placement;
        let sources = std::array::from_fn(|i| Arc::downgrade(&image.sections[i]));
        self.live = Some(Live { header, sections, sources, cold, routes: hot.default_route });
    }

    /// Waits until every packet that was under way is through.
    fn wait_for_readers(&mut self) -> Result<(), Error> {
        sys::wait_for_readers().map_err(|source| Error::Grace { source })?;
        self.arena.grace_over();
        self.ledger.grace_over();
        Ok(())
    }
}

impl Placement {
    fn fresh_lines(&self) -> u32 {
        let fresh = self.sections.iter().zip(self.fresh).filter(|(_, fresh)| *fresh);
        self.header.len + fresh.map(|(region, _)| region.len).sum::<u32>()
    }
}

/// Places a header and sections of these lengths, or none of them.
fn allocate(arena: &mut Arena, lens: &[usize; SECTIONS]) -> Option<(Region, [Region; SECTIONS])> {
    let mut sections = [Region::default(); SECTIONS];
    let mut taken = Vec::with_capacity(SECTIONS + 1);
    let mut take = |len: u32| {
        let region = arena.allocate(len).ok();
        taken.extend(region);
        region
    };
    let mut all = || {
        for (section, len) in sections.iter_mut().zip(lens).filter(|(_, len)| **len > 0) {
            *section = take(u32::try_from(*len).ok()?)?;
        }
        take(HEADER_LINES)
    };
    match all() {
        Some(header) => Some((header, sections)),
        None => {
            for region in taken {
                arena.give_back(region);
            }
            None
        }
    }
}

fn give_back(arena: &mut Arena, placement: &Placement) {
    arena.give_back(placement.header);
    for (region, fresh) in placement.sections.into_iter().zip(placement.fresh) {
        if fresh {
            arena.give_back(region);
        }
    }
}
