//! The kernel's arena, for `gateway_common::classify`.

use crate::maps;
use crate::pipeline::Judged;
use crate::scratch;
use gateway_common::abi::{ACTIVE_UNMEMOIZABLE, ACTIVE_VARIANTS, Control, Line};
use gateway_common::classify::{self, Place};
use gateway_common::image::{
    ATTRIBUTES_LINE, Arena, HeaderAttributes, HeaderCold, HeaderHot, HeaderMore, MORE_LINE, RouteEntry,
    dimension, lookup, target_source, u16_at,
};
use gateway_common::packet::Address;
use gateway_common::path;

/// The policy images' map, and where to forget.
struct PolicyArena<'a>(&'a Judged);

impl Arena for PolicyArena<'_> {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        maps::ARENA.get(index)
    }
    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        self.0.forgotten(value)
    }
}

/// The table of labels' live members.
struct LiveMembers<'a>(&'a Judged);

impl Arena for LiveMembers<'_> {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        maps::LIVE.get(index)
    }
    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        self.0.forgotten(value)
    }
}

/// The live policy's header.
#[inline(always)]
pub fn header(line: u32) -> Option<&'static HeaderHot> {
    maps::ARENA.get(line).map(bytemuck::cast_ref)
}

/// The part of the header that few policies need.
#[inline(always)]
pub fn more(line: u32) -> Option<&'static HeaderMore> {
    maps::ARENA.get(line.wrapping_add(MORE_LINE)).map(bytemuck::cast_ref)
}

/// The part of the header that is seldom read.
#[inline(always)]
pub fn attributes(line: u32) -> Option<&'static HeaderAttributes> {
    maps::ARENA.get(line.wrapping_add(ATTRIBUTES_LINE)).map(bytemuck::cast_ref)
}

/// The packet's variant, 0 where the policy names nothing that differs within a flow.
#[inline(always)]
pub fn variant(judged: &Judged) -> Option<u16> {
    if judged.active & ACTIVE_VARIANTS == 0 {
        return Some(0);
    }
    u16::try_from(gateway_variant(judged.cpu)).ok()
}

/// The variant of the packet that this CPU judges; more than 16 bits where the tables point outside themselves. A
/// global function, see [`gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_variant(cpu: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return u32::MAX };
    let line = Control::header_of(judged.active);
    classify::variant(&PolicyArena(judged), line, &judged.packet).map_or(u32::MAX, u32::from)
}

/// Whether a decision of this policy may be kept for the next packet.
#[inline(always)]
pub const fn is_memoizable(active: u64) -> bool {
    active & ACTIVE_UNMEMOIZABLE == 0
}

/// Finds the route of the packet that this CPU judges. 0 if it did.
///
/// A global function, so that the verifier looks at it once by itself and not once for each way that
/// leads to it: its arguments are plain numbers, of which it assumes nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_classify(cpu: u32, slot: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return 1 };
    let header_line = Control::header_of(judged.active);
    let Some(header) = header(header_line) else { return 1 };
    let place = Place { header_line, header, slot: slot as u16, now: 0 };
    let label = judged.label_class as u16;
    match classify::route(&PolicyArena(judged), &place, &judged.packet, label) {
        Some(route) => {
            judged.route = route;
            0
        }
        None => 1,
    }
}

/// Whether routes, or limits, ask for the sender's labels.
#[inline(always)]
pub fn asks_for_labels(active: u64) -> bool {
    header(Control::header_of(active)).is_some_and(|header| header.dimensions & dimension::LABEL != 0)
}

/// Finds the labels of the packet's sender; `now` is in ticks. 0 if it did. A global function, see
/// [`gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_labels(cpu: u32, now: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return 1 };
    let header_line = Control::header_of(judged.active);
    let Some(header) = header(header_line) else { return 1 };
    let place = Place { header_line, header, slot: 0, now };
    match classify::labels(&PolicyArena(judged), &LiveMembers(judged), &place, &judged.packet) {
        Some((label, until)) => {
            judged.label_class = label as u32;
            judged.until = until;
            0
        }
        None => 1,
    }
}

/// Whether the sender of the packet that this CPU judges is a target whose connections are tracked. A global
/// function, see [`gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_is_target(cpu: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return 0 };
    let Some(more) = more(Control::header_of(judged.active)) else { return 0 };
    let key = target_source(judged.packet.source);
    lookup(&PolicyArena(judged), more.target_sources, &key).is_some() as u32
}

/// Has the judged packet know where the live policy's routes and limits lie. Of all that is read of a header it is what
/// every packet with a limit needs, so it is kept until the policy changes.
#[inline(always)]
pub fn locate(judged: &mut Judged) -> Option<()> {
    if judged.located != judged.active {
        let header = header(Control::header_of(judged.active))?;
        judged.routes = header.routes;
        judged.limits = header.limits;
        judged.located = judged.active;
    }
    Some(())
}

/// A route's entry.
#[inline(always)]
pub fn entry(judged: &Judged, route: u32) -> Option<&'static RouteEntry> {
    entry_at(judged, header(Control::header_of(judged.active))?.routes, route)
}

/// A route's entry, where routes lie from `routes` on.
#[inline(always)]
pub fn entry_at(judged: &Judged, routes: u32, route: u32) -> Option<&'static RouteEntry> {
    classify::route_entry(&PolicyArena(judged), routes, route).map(|entry| {
        let entry: *const RouteEntry = entry;
        // SAFETY: an element of a map outlives the program that reads it.
        unsafe { &*entry }
    })
}

/// An element of an array of u16.
#[inline(always)]
pub fn element(judged: &Judged, first_line: u32, index: u32) -> Option<u16> {
    u16_at(&PolicyArena(judged), first_line, index)
}

/// The slot of a target that packets are wrapped for with this source.
#[inline(always)]
pub fn wrapped_target(judged: &Judged, target: Address, source: Address) -> Option<u32> {
    let header = attributes(Control::header_of(judged.active))?;
    lookup(&PolicyArena(judged), header.wrapped_targets, &path::key(target, source))
}

/// The generation that judges, 0 if none.
#[inline(always)]
pub fn generation(active: u64) -> u32 {
    let line = maps::ARENA.get(Control::header_of(active) + 1).filter(|_| active != 0);
    line.map_or(0, |line| {
        let cold: &HeaderCold = bytemuck::cast_ref(line);
        cold.generation
    })
}
