//! A token bucket by its definition: tokens flow in at a constant rate until it is full, and what passes
//! takes its own out. Exact, in integers: a token is 10^9 parts, of which a rate of one a second brings
//! one each nanosecond.
//!
//! What it is held against counts time in steps of 2^-8 ns and rounds each price down to one. Where exact
//! and rounded arithmetic may part, both answers are right, and [`Bucket::offer`] gives the one that its
//! caller asks for, and says so.

use gateway_user::policy::{Ban, Rate};

const PARTS: i128 = 1_000_000_000;

/// Which answer is given where rounding decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tie {
    /// The packet is within the limit.
    #[default]
    Admit,
    /// It is over.
    Refuse,
}

/// What a bucket says to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Admitted,
    Refused,
    /// Whatever is in the bucket.
    Banned,
}

/// One bucket; full when it is new.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// Parts that are missing. More than there is room for after a packet dearer than the whole bucket.
    missing: i128,
    /// When that was so, nanoseconds.
    at: u64,
    /// When the first was taken out since it was full, nanoseconds.
    begun: u64,
    /// Packets that it was taken from since: each may have been rounded.
    charges: i128,
    /// Packets refused since it was full.
    refusals: u32,
    /// Nanoseconds.
    banned_until: Option<u64>,
}

impl Bucket {
    /// A packet that costs so many units at this time, and whether the answer hung on rounding.
    pub(super) fn offer(
        &mut self,
        rate: Rate,
        units: u64,
        ban: Option<Ban>,
        now: u64,
        tie: Tie,
    ) -> (Answer, bool) {
        if self.is_banned(now) {
            return (Answer::Banned, false);
        }
        let (per_second, room) = (i128::from(rate.per_second), i128::from(rate.burst) * PARTS);
        let flown = per_second * i128::from(now - self.at);
        let tolerance = per_second * (self.charges + 2) / 128 + (room >> 41) + 1;
        let nearly_full = self.charges > 0 && (self.missing - flown).abs() <= tolerance;
        let hung_on_fullness = nearly_full && (self.refusals > 0 || i128::from(units) * PARTS > room);
        let full = if hung_on_fullness { tie == Tie::Admit } else { self.missing <= flown };
        self.missing = if full { 0 } else { (self.missing - flown).max(0) };
        self.at = now;
        if full {
            (self.begun, self.charges, self.refusals) = (now, 0, 0);
        }
        let over = self.missing + i128::from(units) * PARTS - room;
        // All of a burst at one moment: prices are rounded in its favour, and nothing else is.
        let exact = now == self.begun && over <= 0;
        let close = !full && !exact && over.abs() <= tolerance;
        let admitted = full || if close { tie == Tie::Admit } else { over <= 0 };
        if admitted {
            self.missing += i128::from(units) * PARTS;
            self.charges += 1;
            return (Answer::Admitted, close || hung_on_fullness);
        }
        self.refusals += 1;
        if let Some(ban) = ban
            && self.refusals >= u32::from(ban.after)
        {
            self.banned_until = Some(now + ban.duration.as_nanos() as u64);
        }
        (Answer::Refused, close || hung_on_fullness)
    }

    /// Whether a ban holds; one that is over leaves a full bucket.
    pub(super) fn is_banned(&mut self, now: u64) -> bool {
        match self.banned_until {
            Some(until) if now < until => true,
            Some(_) => {
                *self = Bucket { at: now, begun: now, ..Bucket::default() };
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    fn offer(bucket: &mut Bucket, units: u64, now_ms: u64) -> Answer {
        bucket.offer(RATE, units, None, now_ms * 1_000_000, Tie::Admit).0
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let answers: Vec<_> = (0..5).map(|_| offer(&mut bucket, 1, 7)).collect();
        assert_eq!(
            answers,
            [Answer::Admitted, Answer::Admitted, Answer::Admitted, Answer::Refused, Answer::Refused]
        );
        assert_eq!(offer(&mut bucket, 1, 106), Answer::Refused);
        assert_eq!(offer(&mut bucket, 1, 108), Answer::Admitted);
        // Three tokens at most, however long it stands.
        let later: Vec<_> = (0..4).map(|_| offer(&mut bucket, 1, 1_000_000)).collect();
        assert_eq!(later, [Answer::Admitted, Answer::Admitted, Answer::Admitted, Answer::Refused]);
    }

    #[test]
    fn what_is_dearer_than_the_bucket_passes_a_full_one_and_leaves_a_debt() {
        let mut bucket = Bucket::default();
        assert_eq!(offer(&mut bucket, 13, 0), Answer::Admitted);
        assert_eq!(offer(&mut bucket, 1, 1_099), Answer::Refused);
        assert_eq!(offer(&mut bucket, 1, 1_101), Answer::Admitted);
        assert_eq!(offer(&mut bucket, 4, 1_102), Answer::Refused);
    }

    #[test]
    fn a_ban_begins_with_its_last_refusal_and_leaves_a_full_bucket() {
        let ban = Some(Ban { duration: Duration::from_secs(60), after: 2 });
        let mut bucket = Bucket::default();
        let mut offer = |now_ms: u64| bucket.offer(RATE, 3, ban, now_ms * 1_000_000, Tie::Admit).0;
        assert_eq!(
            [offer(0), offer(1), offer(2), offer(3)],
            [Answer::Admitted, Answer::Refused, Answer::Refused, Answer::Banned]
        );
        assert_eq!(offer(60_001), Answer::Banned);
        assert_eq!([offer(60_002), offer(60_003)], [Answer::Admitted, Answer::Refused]);
    }

    #[test]
    fn refusals_are_forgotten_once_it_was_full() {
        let ban = Some(Ban { duration: Duration::from_secs(60), after: 2 });
        let mut bucket = Bucket::default();
        let mut offer = |now_ms: u64| bucket.offer(RATE, 3, ban, now_ms * 1_000_000, Tie::Admit).0;
        assert_eq!([offer(0), offer(1), offer(400)], [Answer::Admitted, Answer::Refused, Answer::Admitted]);
        assert_eq!([offer(401), offer(800)], [Answer::Refused, Answer::Admitted]);
    }

    #[test]
    fn rounding_decides_only_at_the_edge() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert!(!bucket.offer(RATE, 1, None, 0, Tie::Refuse).1);
        }
        let mut at = |now, tie| bucket.clone().offer(RATE, 1, None, now, tie);
        assert_eq!(at(100_000_000, Tie::Admit), (Answer::Admitted, true));
        assert_eq!(at(100_000_000, Tie::Refuse), (Answer::Refused, true));
        assert_eq!(at(99_999_999, Tie::Admit), (Answer::Refused, false));
        assert_eq!(at(100_000_001, Tie::Refuse), (Answer::Admitted, false));
        let _ = &mut at;
    }
}
