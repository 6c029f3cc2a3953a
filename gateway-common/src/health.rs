//! The circuit of a target: whether new connections go to it. Pure, and one word, so that the kernel and the daemon
//! change it by compare-and-swap and it works on while either is not there.
//!
//! *Closed*, it counts failed and good handshakes in windows; enough failures open it. *Open*, the target is passed
//! over until its time is over, twice as long each time it fails again soon, or for as long as the daemon holds it.
//! Then it is on *trial*: a small part of new connections tries it, one failure opens it again, some good ones make
//! it *recover*: its part grows to the whole for a time, so that a cold target is not hit by all that waited.

use crate::abi::TargetHealth;

/// Times of circuits count steps of `1 << UNIT_SHIFT` ns, some 1.05 ms, in 32 bits.
pub const UNIT_SHIFT: u32 = 20;
/// What a share is a part of.
pub const WHOLE: u32 = 1 << 16;

/// A SYN that comes again counts as unanswered if it waited so long, nanoseconds: half of what a client waits at
/// least (RFC 6298 2.1). One that comes sooner was copied on its way, or by somebody who wants the target to look bad.
pub const SYN_AGAIN_NS: u64 = 500_000_000;

/// The time in units.
#[inline(always)]
#[must_use]
pub const fn units(now_ns: u64) -> u32 {
    (now_ns >> UNIT_SHIFT) as u32
}

/// How a circuit stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// The target takes its whole part.
    Closed = 0,
    /// It takes no new connections.
    Open = 1,
    /// Its time is over, and some try it.
    Trial = 2,
    /// It is back, and its part grows.
    Recovering = 3,
}

impl Standing {
    /// The name in output and metrics: that of the circuit-breaker pattern (Nygard, "Release It!", 2007).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Standing::Closed => "closed",
            Standing::Open => "open",
            Standing::Trial => "half_open",
            Standing::Recovering => "recovering",
        }
    }
}

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const RECOVERING: u64 = 3;
const STATE: u64 = 3;
const STRIKES_SHIFT: u32 = 2;
const STRIKES_MAX: u64 = 31;
const HELD: u64 = 1 << 7;
const FAILURES_SHIFT: u32 = 8;
const SUCCESSES_SHIFT: u32 = 20;
/// Most that is counted of either.
const COUNT_MAX: u64 = 0xfff;

/// `time << 32 | successes << 20 | failures << 8 | held << 7 | strikes << 2 | state`. The time is when the window began
/// (closed), when the target is tried again (open), or when it came back (recovering). Zero is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circuit(pub u64);

impl Circuit {
    #[inline(always)]
    const fn of(state: u64, strikes: u64, failures: u64, successes: u64, time: u32) -> Circuit {
        Circuit(
            (time as u64) << 32
                | successes << SUCCESSES_SHIFT
                | failures << FAILURES_SHIFT
                | strikes << STRIKES_SHIFT
                | state,
        )
    }
    #[inline(always)]
    const fn state(self) -> u64 {
        self.0 & STATE
    }
    #[inline(always)]
    const fn time(self) -> u32 {
        (self.0 >> 32) as u32
    }
    /// How often in a row it opened, up to 31.
    #[inline(always)]
    #[must_use]
    pub const fn strikes(self) -> u64 {
        self.0 >> STRIKES_SHIFT & STRIKES_MAX
    }
    /// Failed handshakes of the window, or since it is recovering.
    #[inline(always)]
    #[must_use]
    pub const fn failures(self) -> u64 {
        self.0 >> FAILURES_SHIFT & COUNT_MAX
    }
    /// Good ones, on trial too.
    #[inline(always)]
    #[must_use]
    pub const fn successes(self) -> u64 {
        self.0 >> SUCCESSES_SHIFT & COUNT_MAX
    }
    /// Whether the daemon keeps it open.
    #[inline(always)]
    #[must_use]
    pub const fn is_held(self) -> bool {
        self.0 & HELD != 0
    }
    /// Whether it is closed for good, which needs no clock.
    #[inline(always)]
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.state() == CLOSED
    }
    /// Whether it counts among those of its group that are not closed: open or on trial.
    #[inline(always)]
    #[must_use]
    pub const fn is_ejected(self) -> bool {
        self.state() == OPEN
    }

    /// Whether it opened, for the first time or again, when it came to be this one and was `before`.
    #[inline(always)]
    #[must_use]
    pub const fn opens_after(self, before: Circuit) -> bool {
        self.is_ejected() && (!before.is_ejected() || self.time() != before.time())
    }

    /// Units until the target is tried, 0 where it is not open or the time is over. A time further away than any is
    /// given is one of long ago.
    #[inline(always)]
    #[must_use]
    pub const fn left(self, now: u32, terms: &TargetHealth) -> u32 {
        let left = self.time().wrapping_sub(now);
        if self.state() != OPEN || left > terms.most { 0 } else { left }
    }

    /// Units since the target could be tried first.
    #[must_use]
    pub const fn tried_for(self, now: u32) -> u32 {
        now.wrapping_sub(self.time())
    }

    /// How it stands.
    #[inline(always)]
    #[must_use]
    pub const fn standing(self, now: u32, terms: &TargetHealth) -> Standing {
        match self.state() {
            OPEN if self.is_held() || self.left(now, terms) != 0 => Standing::Open,
            OPEN => Standing::Trial,
            RECOVERING if now.wrapping_sub(self.time()) < terms.slow_start => Standing::Recovering,
            _ => Standing::Closed,
        }
    }

    /// Part of [`WHOLE`] of its new connections that the target gets.
    #[inline(always)]
    #[must_use]
    pub const fn share(self, now: u32, terms: &TargetHealth) -> u32 {
        match self.standing(now, terms) {
            Standing::Closed => WHOLE,
            Standing::Open => 0,
            Standing::Trial => terms.trial,
            Standing::Recovering => {
                let grown = now.wrapping_sub(self.time()) as u64 * WHOLE as u64;
                let share = match grown.checked_div(terms.slow_start as u64) {
                    Some(share) => share as u32,
                    None => WHOLE,
                };
                if share < terms.trial { terms.trial } else { share }
            }
        }
    }

    /// After a handshake that the target answered.
    #[inline(always)]
    #[must_use]
    pub const fn succeeded(self, now: u32, terms: &TargetHealth) -> Circuit {
        match self.standing(now, terms) {
            // One that had begun before.
            Standing::Open => self,
            Standing::Trial => {
                let successes = self.successes() + 1;
                if successes >= terms.rise as u64 {
                    return self.recovering(now);
                }
                Circuit::of(OPEN, self.strikes(), 0, successes, self.time())
            }
            Standing::Closed | Standing::Recovering if terms.failures == 0 => self,
            Standing::Closed | Standing::Recovering => self.turned(now, terms).counted(0, 1, terms),
        }
    }

    /// After a handshake that it did not.
    #[inline(always)]
    #[must_use]
    pub const fn failed(self, now: u32, terms: &TargetHealth) -> Circuit {
        match self.standing(now, terms) {
            Standing::Open => self,
            Standing::Trial => self.opened(now, terms),
            Standing::Closed | Standing::Recovering => {
                if terms.failures == 0 {
                    return self;
                }
                let counted = self.turned(now, terms).counted(1, 0, terms);
                let (failures, all) = (counted.failures(), counted.failures() + counted.successes());
                if failures >= terms.failures as u64 && failures * 100 >= terms.ratio as u64 * all {
                    return counted.opened(now, terms);
                }
                counted
            }
        }
    }

    /// Open from now on, for twice as long as the last time.
    #[inline(always)]
    #[must_use]
    pub const fn opened(self, now: u32, terms: &TargetHealth) -> Circuit {
        let strikes = self.strikes();
        let long = (terms.base as u64) << strikes;
        let long = if long > terms.most as u64 { terms.most as u64 } else { long };
        let next = if strikes == STRIKES_MAX { STRIKES_MAX } else { strikes + 1 };
        Circuit::of(OPEN, next, 0, 0, now.wrapping_add(long as u32))
    }

    /// Back, and growing.
    #[inline(always)]
    #[must_use]
    pub const fn recovering(self, now: u32) -> Circuit {
        Circuit::of(RECOVERING, self.strikes(), 0, 0, now)
    }

    /// Open for as long as the daemon says so, and not shorter than its time.
    #[must_use]
    pub const fn held(self, now: u32, terms: &TargetHealth) -> Circuit {
        let open = if self.is_ejected() { self } else { self.opened(now, terms) };
        Circuit(open.0 | HELD)
    }

    /// The daemon does not hold it any more: it is open until its time is over.
    #[must_use]
    pub const fn released(self) -> Circuit {
        Circuit(self.0 & !HELD)
    }

    /// It would have opened but must not: it counts anew.
    #[inline(always)]
    #[must_use]
    pub const fn spared(self, now: u32) -> Circuit {
        Circuit::of(CLOSED, self.strikes(), 0, 0, now)
    }

    /// In the window of this time: counts of one before it are forgotten, and for each time that it would have been
    /// open, and was not, a strike.
    #[inline(always)]
    const fn turned(self, now: u32, terms: &TargetHealth) -> Circuit {
        let since = now.wrapping_sub(self.time());
        let grows = self.state() == RECOVERING && since < terms.slow_start;
        if grows || since <= terms.window {
            return self;
        }
        let forgiven = match since.checked_div(terms.base) {
            Some(times) => times as u64,
            None => STRIKES_MAX,
        };
        let strikes = self.strikes();
        Circuit::of(CLOSED, strikes.saturating_sub(forgiven), 0, 0, now)
    }

    /// With one handshake more. No more are remembered than among which so many failures are that part of all: who has
    /// done well for long is judged by what came of late, and not after as many failures as it had successes.
    #[inline(always)]
    const fn counted(self, failures: u64, successes: u64, terms: &TargetHealth) -> Circuit {
        let (mut failed, mut good) = (self.failures(), self.successes());
        let most = match (terms.failures as u64 * 100).checked_div(terms.ratio as u64) {
            Some(most) if most < COUNT_MAX => most,
            _ => COUNT_MAX,
        };
        if failed + good >= most {
            good >>= 1;
            // A failure does not make others forgotten.
            failed >>= 1 - failures;
        }
        if failed == COUNT_MAX {
            failed >>= 1;
        }
        Circuit::of(self.state(), self.strikes(), failed + failures, good + successes, self.time())
    }
}

/// Element of [`HandshakeCount::times`](crate::abi::HandshakeCount) for a time in microseconds of 1,024 ns.
#[inline(always)]
#[must_use]
pub const fn bucket(micros: u32) -> u32 {
    // Without `leading_zeros`, which is a call on this target.
    let (mut left, mut bucket) = (micros, 0);
    let mut step = 16;
    while step > 0 {
        if left >> step != 0 {
            left >>= step;
            bucket += step;
        }
        step >>= 1;
    }
    let bucket = if micros == 0 { 0 } else { bucket + 1 };
    let last = crate::abi::HANDSHAKE_BUCKETS as u32 - 1;
    if bucket > last { last } else { bucket }
}

#[cfg(test)]
mod tests;
