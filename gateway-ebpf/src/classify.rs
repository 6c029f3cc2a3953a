//! The kernel's arena, for `gateway_common::classify`.

use crate::maps;
use gateway_common::abi::Line;
use gateway_common::classify::{classify, route_entry};
use gateway_common::image::{Arena, HeaderHot, RouteEntry};
use gateway_common::packet::Packet;

/// The policy images' map, and a word of scratch memory to forget through.
struct PolicyArena(*mut u32);

impl Arena for PolicyArena {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        maps::ARENA.get(index)
    }

    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        // SAFETY: a word of this CPU's scratch element. The verifier follows what is written to the
        // stack, but not what is written to a map.
        unsafe {
            core::ptr::write_volatile(self.0, value);
            core::ptr::read_volatile(self.0)
        }
    }
}

/// The live policy's header.
#[inline(always)]
pub fn header(line: u32) -> Option<&'static HeaderHot> {
    maps::ARENA.get(line).map(bytemuck::cast_ref)
}

/// The route that decides for this packet.
#[inline(always)]
pub fn route(line: u32, slot: u16, packet: &Packet, scratch: *mut u32) -> Option<&'static RouteEntry> {
    let header = header(line)?;
    let arena = PolicyArena(scratch);
    let index = classify(&arena, line, header, slot, packet)?;
    route_entry(&arena, header, index).map(|entry| {
        let entry: *const RouteEntry = entry;
        // SAFETY: an element of a map outlives the program that reads it.
        unsafe { &*entry }
    })
}
