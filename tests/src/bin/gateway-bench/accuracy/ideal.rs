//! What an ideal bucket would admit of the frames that were really put.

use std::time::Duration;

/// How many frames all senders together had put by when: points in order, of nanoseconds and frames, between which
/// they come evenly.
pub struct Progress(Vec<(u64, f64)>);

impl Progress {
    /// Of what each sender noted from `start` on.
    pub fn of(start: u64, senders: &[Vec<[u64; 2]>]) -> Progress {
        let mut times: Vec<u64> = senders.iter().flatten().map(|[time, _]| *time).chain([start]).collect();
        times.sort_unstable();
        times.dedup();
        let mut points: Vec<(u64, f64)> = times.iter().map(|time| (*time, 0.0)).collect();
        for sender in senders {
            // The last point at or before each time, and the way to the next.
            let mut next = 0;
            for (time, frames) in &mut points {
                while sender.get(next).is_some_and(|[at, _]| *at <= *time) {
                    next += 1;
                }
                *frames += match (next.checked_sub(1).map(|last| sender[last]), sender.get(next)) {
                    (Some([from, put]), Some([to, more])) => {
                        put as f64 + (more - put) as f64 * (*time - from) as f64 / (to - from) as f64
                    }
                    (Some([_, put]), None) => put as f64,
                    (None, _) => 0.0,
                };
            }
        }
        Progress(points)
    }

    /// When it begins, nanoseconds.
    pub fn start(&self) -> u64 {
        self.0[0].0
    }

    /// The longest time in which nobody put a frame.
    pub fn longest_silence(&self) -> Duration {
        let silent =
            self.0.windows(2).filter(|pair| pair[0].1 == pair[1].1).map(|pair| pair[1].0 - pair[0].0);
        Duration::from_nanos(silent.max().unwrap_or(0))
    }

    /// The stretches from one time to another: nanoseconds, and the frames of each. After the last point nothing is
    /// known, and so no frame.
    fn stretches(&self, [from, to]: [u64; 2]) -> impl Iterator<Item = (f64, f64)> {
        let last = self.0.last().map_or(from, |(time, _)| *time).clamp(from, to);
        let within = self.0.windows(2).filter_map(move |pair| {
            let [(start, before), (end, after)] = [pair[0], pair[1]];
            let (first, last) = (start.clamp(from, to), end.clamp(from, to));
            let part = (last - first) as f64 / (end - start) as f64;
            (first < last).then_some(((last - first) as f64, (after - before) * part))
        });
        within.chain([((to - last) as f64, 0.0)])
    }

    /// Frames from one time to another.
    pub fn frames(&self, between: [u64; 2]) -> f64 {
        self.stretches(between).map(|(_, frames)| frames).sum()
    }
}

/// An ideal bucket; in nanoseconds of its rate.
pub struct Ideal {
    pub depth: f64,
    /// Price of a frame.
    frame: f64,
    /// Which part of all frames comes to it.
    share: f64,
    /// What of a frame is on its way to it.
    coming: f64,
    pub level: f64,
    /// The part of the rate that it could not admit, because it was full.
    pub missed: f64,
}

impl Ideal {
    pub fn full(depth: f64, frame: f64, share: f64) -> Ideal {
        Ideal { depth, frame, share, coming: 0.0, level: depth, missed: 0.0 }
    }

    /// Lets it go on from one time to another.
    pub fn go_on(&mut self, progress: &Progress, between: [u64; 2]) {
        for (time, frames) in progress.stretches(between) {
            self.level += time;
            self.coming += frames * self.share;
            let admitted = self.coming.floor().min((self.level / self.frame).floor()) * self.frame;
            self.coming = self.coming.fract();
            self.level -= admitted;
            let over = (self.level - self.depth).max(0.0);
            self.level -= over;
            self.missed += over;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Two senders of a frame a microsecond each; the one is silent from 20 to 60 ms, the other from 40 to 80.
    fn progress() -> Progress {
        let point = |ms: u64, frames: u64| [ms * MS, frames * 1_000];
        let one = vec![point(0, 0), point(20, 20), point(60, 20), point(100, 60)];
        let other = vec![point(0, 0), point(40, 40), point(80, 40), point(100, 60)];
        Progress::of(0, &[one, other])
    }

    #[test]
    fn what_several_put_is_their_sum() {
        let progress = progress();
        let frames = |from, to| progress.frames([from * MS, to * MS]).round();
        assert_eq!([frames(0, 20), frames(20, 40), frames(40, 60)], [40_000.0, 20_000.0, 0.0]);
        assert_eq!([frames(60, 80), frames(80, 100), frames(100, 200)], [20_000.0, 40_000.0, 0.0]);
        assert_eq!(frames(10, 30), 30_000.0);
        assert_eq!(progress.longest_silence(), Duration::from_millis(20));
    }

    #[test]
    fn a_bucket_misses_what_comes_while_it_is_full() {
        // A frame takes a millisecond of the rate, and 20 or more come in each.
        let mut bucket = Ideal::full(5e6, 1e6, 1.0);
        let progress = progress();
        bucket.go_on(&progress, [0, 40 * MS]);
        assert_eq!((bucket.level, bucket.missed), (0.0, 0.0));
        bucket.go_on(&progress, [40 * MS, 60 * MS]);
        assert_eq!((bucket.level, bucket.missed), (5e6, 15e6));
        bucket.go_on(&progress, [60 * MS, 100 * MS]);
        assert_eq!((bucket.level, bucket.missed), (0.0, 15e6));
    }
}
