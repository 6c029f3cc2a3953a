//! Fragments of packets for pools: later ones follow the first one, whose ports say where it went.

use crate::account::telemetry;
use crate::maps;
use crate::pipeline::Judged;
use crate::police;
use crate::scratch;
use gateway_common::abi::{FragmentEntry, FragmentSet, Telemetry};
use gateway_common::fragment::{follow, key, lacks, leads, place, set, units};

/// A later fragment whose first one is not known.
pub const UNSEEN: u32 = 1;

/// Lets the later fragment that this CPU judges follow its first one, if that was seen; before it is
/// classified. A global function, see [`crate::classify::gateway_classify`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_follow(cpu: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return UNSEEN };
    if !lacks(&judged.packet) {
        return 0;
    }
    match find(judged) {
        Some(ports) => {
            follow(&mut judged.packet, ports);
            0
        }
        None => UNSEEN,
    }
}

/// Notes what later fragments need of the first one that this CPU judges, which goes to a pool; [`UNSEEN`] if
/// it is a later one itself that follows nobody. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gateway_lead(cpu: u32) -> u32 {
    let Some(judged) = scratch::judged(cpu) else { return 0 };
    if leads(&judged.packet) {
        note(judged);
        return 0;
    }
    lacks(&judged.packet) as u32
}

/// Key and set of the packet that is judged, and the time.
#[inline(always)]
fn entries(judged: &Judged) -> Option<(*mut FragmentEntry, u64, u32)> {
    let control = maps::CONTROL.get(0)?;
    let key = key(control.limit_seed, &judged.packet);
    let entries = maps::FRAGMENTS.get_ptr_mut(set(key))?;
    Some((entries.cast(), key, units(police::now_ns(control, false))))
}

/// An entry, as it is now: two words, of which each is whole.
///
/// # Safety
/// `entries` must be a live set of FRAGMENTS, and `way` one of its ways.
#[inline(always)]
unsafe fn read(entries: *mut FragmentEntry, way: usize) -> FragmentEntry {
    let words: *const u64 = entries.cast();
    // SAFETY: the caller's promise; an entry is two aligned words.
    let words = unsafe {
        [core::ptr::read_volatile(words.add(way * 2)), core::ptr::read_volatile(words.add(way * 2 + 1))]
    };
    FragmentEntry { key: words[0], ports: words[1] as u32, until: (words[1] >> 32) as u32 }
}

#[inline(always)]
fn find(judged: &Judged) -> Option<u32> {
    let (entries, key, now) = entries(judged)?;
    let of = |way: usize| {
        // SAFETY: a live set, and a way of it.
        let entry = unsafe { read(entries, way) };
        (entry.is(key) && entry.left(now) != 0).then_some(entry.ports)
    };
    // Written out, see `gateway_common::image::Arena::forget`.
    of(0).or_else(|| of(1)).or_else(|| of(2)).or_else(|| of(3))
}

#[inline(always)]
fn note(judged: &Judged) {
    let Some((entries, key, now)) = entries(judged) else { return };
    // SAFETY: a live set, and all of its ways.
    let seen: FragmentSet =
        unsafe { [read(entries, 0), read(entries, 1), read(entries, 2), read(entries, 3)] };
    let way = judged.forgotten(place(&seen, key, now) as u32) as usize & 3;
    // SAFETY: a way of a live set.
    let before = unsafe { read(entries, way) };
    if !before.is(key) && before.left(now) != 0 {
        telemetry(judged.cpu, Telemetry::FragmentsEvicted, 1);
    }
    let entry = FragmentEntry::new(key, &judged.packet, now);
    let words: *mut u64 = entries.cast();
    // SAFETY: as above; each word is written whole, and readers know one that is another entry's.
    unsafe {
        core::ptr::write_volatile(words.add(way * 2), entry.key);
        core::ptr::write_volatile(words.add(way * 2 + 1), (entry.until as u64) << 32 | entry.ports as u64);
    }
}
