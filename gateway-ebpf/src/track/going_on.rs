//! A connection of which nothing is to be decided, for [`crate::express`].

use super::{Ends, clock, ends_of, follow, hop_of, place, state_of};
use crate::atomic::Word;
use crate::pipeline::Judged;
use crate::{health, translate};
use gateway_common::abi::{Control, TargetState, Tracked};
use gateway_common::packet::Packet;
use gateway_common::track::{Direction, Tag};

/// A connection that goes on: nothing is to be decided.
pub struct GoingOn {
    found: &'static mut Tracked,
    word: Word,
    direction: Direction,
    now: u32,
    state: &'static TargetState,
}

/// The connection of this element, if the packet goes on in it. `returns` says that its sender is a target. The same as
/// [`super::gateway_track`] and [`super::gateway_return`] find, of which it shares the parts.
#[inline(always)]
pub fn going_on(control: &Control, index: u32, packet: &Packet, returns: bool) -> Option<GoingOn> {
    let (now_ns, now) = clock(control);
    let (_, found, word) = place(index)?;
    if !Tag(word.load()).is_live(now) {
        return None;
    }
    let ends = Ends::of(packet);
    let direction = if returns { Direction::Return } else { Direction::Forward };
    let differ = if returns { ends.differ_return(found) } else { ends.differ(found) };
    let state = state_of(found.slot)?;
    let honours = state.honours(found.target, found.target_port, found.protocol, now_ns);
    if differ != 0 || !honours {
        return None;
    }
    Some(GoingOn { found, word, direction, now, state })
}

impl GoingOn {
    /// Slot of its target.
    #[inline(always)]
    pub fn slot(&self) -> u32 {
        self.found.slot as u32
    }
    /// Counter slot of its route.
    #[inline(always)]
    pub fn counter(&self) -> u32 {
        self.found.counter
    }
    /// Family of whom the packet goes to.
    #[inline(always)]
    pub fn family(&self) -> u32 {
        self.found.family as u32
    }
    /// As [`crate::pool::Forwarding::hop`].
    #[inline(always)]
    pub fn hop(&self) -> u32 {
        hop_of(self.found, self.direction)
    }
    /// What its packet is translated to.
    #[inline(always)]
    pub fn ends(&self) -> translate::Ends<'_> {
        ends_of(self.found, self.direction)
    }
    /// Counts the packet, and follows the state.
    #[inline(always)]
    pub fn follow(self, control: &Control, judged: &mut Judged) {
        let GoingOn { found, word, direction, now, state } = self;
        let phases = follow(found, word, direction, now, &judged.packet, judged.length);
        match direction {
            Direction::Forward => health::client_sent(control, state, found, phases, judged),
            Direction::Return => health::target_sent(control, state, found, phases, judged),
        }
        if judged.handshake != 0 {
            health::gateway_handshake(judged.cpu);
        }
    }
}
