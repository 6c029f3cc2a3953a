//! All that a CPU knows of the packet that it judges: one element, found by one look-up.
//!
//! It lies in a map and not on the stack because the verifier knows nothing of what is in a map: the many ways
//! through the parser meet again behind it, instead of each being followed through classification on its own (a
//! million instructions and more). Softirqs are off while a packet is judged, so nothing else uses the element
//! meanwhile.

use crate::maps;
use crate::owner::About;
use crate::pipeline::Judged;
use crate::pool::Forwarding;

/// See above.
#[repr(C)]
pub struct Scratch {
    /// The packet, and what is to be done with it.
    pub judged: Judged,
    /// Where it is sent, if that is a pool's target.
    pub forwarding: Forwarding,
    /// What it quotes, if it is an ICMP error.
    pub about: About,
}

/// This CPU's. A global function may ask for it anew: whoever calls it holds its own and waits.
#[inline(always)]
pub fn of(cpu: u32) -> Option<&'static mut Scratch> {
    // SAFETY: this CPU's element, see above.
    maps::SCRATCH.get_ptr_mut(cpu).map(|scratch| unsafe { &mut *scratch })
}

/// The packet alone.
#[inline(always)]
pub fn judged(cpu: u32) -> Option<&'static mut Judged> {
    of(cpu).map(|scratch| &mut scratch.judged)
}

/// The packet, and where it is sent.
#[inline(always)]
pub fn forwarding(cpu: u32) -> Option<(&'static mut Judged, &'static mut Forwarding)> {
    of(cpu).map(|scratch| (&mut scratch.judged, &mut scratch.forwarding))
}

/// The packet, and what it quotes.
#[inline(always)]
pub fn about(cpu: u32) -> Option<(&'static mut Judged, &'static mut About)> {
    of(cpu).map(|scratch| (&mut scratch.judged, &mut scratch.about))
}
