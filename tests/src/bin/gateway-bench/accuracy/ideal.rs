//! What an ideal bucket would admit of the frames that were really put.

use std::time::Duration;

/// What a sender noted: points in order, of nanoseconds and of the frames that it had put by then.
pub type Points = Vec<[u64; 2]>;

/// The longest time in which a sender put no frame.
pub fn longest_silence(points: &Points) -> Duration {
    let silent =
        points.windows(2).filter(|pair| pair[0][1] == pair[1][1]).map(|pair| pair[1][0] - pair[0][0]);
    Duration::from_nanos(silent.max().unwrap_or(0))
}

/// When the frames at these places of the turn were put, ascending, nanoseconds. Each sender began with the turn's
/// first frame at `start`, and between two points its frames come evenly. After the last point nothing is known, and
/// so no frame.
pub fn arrivals(start: u64, senders: &[Points], places: &[u64], turn: u64) -> Vec<u64> {
    let mut times = Vec::new();
    for points in senders {
        let (mut turns, mut next) = (0, 0);
        let mut before = [start, 0];
        for point in points {
            let ([from, first], [to, end]) = (before, *point);
            // The first of a stretch comes at its beginning, the last at its end.
            let steps = (end - first).saturating_sub(1).max(1);
            while let Some(frame) = places.get(next).map(|place| turns * turn + place).filter(|at| *at < end)
            {
                let part = u128::from(to - from) * u128::from(frame - first) / u128::from(steps);
                times.push(from + part as u64);
                next += 1;
                if next == places.len() {
                    (turns, next) = (turns + 1, 0);
                }
            }
            before = *point;
        }
    }
    times.sort();
    times
}

/// An ideal bucket; in nanoseconds of its rate.
#[derive(Clone, Copy)]
pub struct Ideal {
    pub depth: f64,
    /// Price of a frame.
    frame: f64,
    pub level: f64,
    /// The part of the rate that it could not admit, because it was full.
    pub missed: f64,
    /// Until when it went on.
    time: u64,
}

impl Ideal {
    pub fn full(start: u64, depth: f64, frame: f64) -> Ideal {
        Ideal { depth, frame, level: depth, missed: 0.0, time: start }
    }

    /// Lets it go on until a time, with the frames that come from then on where it is: how many came.
    pub fn go_on(&mut self, arrivals: &[u64], until: u64) -> usize {
        let count = arrivals.partition_point(|at| *at <= until);
        for at in &arrivals[..count] {
            self.wait(*at);
            if self.level >= self.frame {
                self.level -= self.frame;
            }
        }
        self.wait(until);
        count
    }

    fn wait(&mut self, until: u64) {
        self.level += until.saturating_sub(self.time) as f64;
        let over = (self.level - self.depth).max(0.0);
        self.level -= over;
        self.missed += over;
        self.time = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Two senders of a frame a microsecond each; the one is silent from 20 to 60 ms, the other from 40 to 80.
    fn senders() -> [Points; 2] {
        let point = |ms: u64, frames: u64| [ms * MS, frames * 1_000];
        [
            vec![point(20, 20), point(60, 20), point(100, 60)],
            vec![point(40, 40), point(80, 40), point(100, 60)],
        ]
    }

    #[test]
    fn frames_come_when_their_places_were_put() {
        let frames = |places: &[u64], from: u64, to: u64| {
            let arrivals = arrivals(0, &senders(), places, 1_000);
            arrivals.iter().filter(|at| (from * MS..to * MS).contains(at)).count()
        };
        // One frame of a thousand, and two.
        assert_eq!([frames(&[500], 0, 20), frames(&[500], 20, 40), frames(&[500], 40, 60)], [40, 20, 0]);
        assert_eq!([frames(&[500], 60, 80), frames(&[500], 80, 200)], [20, 40]);
        assert_eq!([frames(&[0, 998], 0, 20), frames(&[0, 998], 40, 60)], [80, 0]);
        assert_eq!(senders().map(|sender| longest_silence(&sender)), [Duration::from_millis(40); 2]);
        // Of a stretch the first comes at once, the last at its end.
        assert_eq!(arrivals(7, &[vec![[107, 3], [200, 3], [300, 4]]], &[0], 1), [7, 57, 107, 200]);
    }

    #[test]
    fn a_bucket_misses_what_comes_while_it_is_full() {
        // A frame takes a millisecond of the rate, and twenty come in each.
        let arrivals = arrivals(0, &senders(), &[0], 100);
        let mut bucket = Ideal::full(0, 5e6, 1e6);
        let mut came = bucket.go_on(&arrivals, 39 * MS + MS / 2);
        assert_eq!((bucket.level, bucket.missed), (0.5e6, 0.0));
        // Full after 4.5 more.
        came += bucket.go_on(&arrivals[came..], 60 * MS - 1);
        assert_eq!((bucket.level, bucket.missed), (5e6, 16e6 - 1.0));
        bucket.go_on(&arrivals[came..], 99 * MS + MS / 2);
        assert_eq!((bucket.level, bucket.missed), (0.5e6, 16e6));
    }
}
