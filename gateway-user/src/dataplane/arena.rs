//! Which lines of the arena are whose. Pure: it knows nothing of maps.
//!
//! A line is free, live (the current image's), or retired: of an image that packets under way may
//! still read. Retired lines become free together, after a grace period.

/// A run of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) first: u32,
    pub(super) len: u32,
}

impl Region {
    fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.len)
    }
}

/// The allocator.
#[derive(Debug)]
pub(super) struct Arena {
    lines: u32,
    /// Ascending, never touching one another.
    free: Vec<Region>,
    retired: Vec<Region>,
}

/// There is no run of free lines that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Arena {
    /// An arena of `lines` lines, all free but line 0, which is never given out.
    pub(super) fn new(lines: u32) -> Arena {
        let free = if lines > 1 { vec![Region { first: 1, len: lines - 1 }] } else { Vec::new() };
        Arena { lines, free, retired: Vec::new() }
    }

    /// Takes lines that are known to be in use. False, and nothing taken, if they are not free.
    #[must_use]
    pub(super) fn claim(&mut self, region: Region) -> bool {
        if region.len == 0 {
            return true;
        }
        let holds = |gap: &Region| gap.first <= region.first && region.end() <= gap.end();
        let Some(at) = self.free.iter().position(holds) else { return false };
        let gap = self.free.remove(at);
        let behind = Region { first: region.end() as u32, len: (gap.end() - region.end()) as u32 };
        let before = Region { first: gap.first, len: region.first - gap.first };
        for part in [behind, before] {
            if part.len > 0 {
                self.free.insert(at, part);
            }
        }
        true
    }

    /// The first run of free lines that is long enough.
    pub(super) fn allocate(&mut self, len: u32) -> Result<Region, Full> {
        let at = self.free.iter().position(|gap| gap.len >= len).ok_or(Full)?;
        let gap = &mut self.free[at];
        let region = Region { first: gap.first, len };
        gap.first += len;
        gap.len -= len;
        if gap.len == 0 {
            self.free.remove(at);
        }
        Ok(region)
    }

    /// Frees lines that no packet has ever seen.
    pub(super) fn give_back(&mut self, region: Region) {
        if region.len == 0 {
            return;
        }
        let at = self.free.partition_point(|gap| gap.first < region.first);
        self.free.insert(at, region);
        if at + 1 < self.free.len() && self.free[at].end() == u64::from(self.free[at + 1].first) {
            self.free[at].len += self.free.remove(at + 1).len;
        }
        if at > 0 && self.free[at - 1].end() == u64::from(self.free[at].first) {
            self.free[at - 1].len += self.free.remove(at).len;
        }
    }

    /// Marks lines that no packet will read any more once a grace period is over.
    pub(super) fn retire(&mut self, region: Region) {
        if region.len > 0 {
            self.retired.push(region);
        }
    }

    /// A grace period is over: retired lines are free.
    pub(super) fn grace_over(&mut self) {
        for region in std::mem::take(&mut self.retired) {
            self.give_back(region);
        }
    }

    /// Whether a grace period would free lines.
    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Lines that are not free, line 0 and retired ones included.
    pub(super) fn used(&self) -> u32 {
        self.lines - self.free_lines()
    }
    pub(super) fn lines(&self) -> u32 {
        self.lines
    }
    pub(super) fn free_lines(&self) -> u32 {
        self.free.iter().map(|gap| gap.len).sum()
    }
    pub(super) fn largest_gap(&self) -> u32 {
        self.free.iter().map(|gap| gap.len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_zero_is_never_given_out() {
        let mut arena = Arena::new(8);
        assert_eq!(arena.allocate(7), Ok(Region { first: 1, len: 7 }));
        assert_eq!(arena.allocate(1), Err(Full));
        assert!(!arena.claim(Region { first: 0, len: 1 }));
        assert_eq!(Arena::new(1).allocate(1), Err(Full));
    }

    #[test]
    fn retired_lines_come_back_only_after_the_grace_period() {
        let mut arena = Arena::new(11);
        let a = arena.allocate(5).unwrap();
        let b = arena.allocate(5).unwrap();
        arena.retire(a);
        assert_eq!(arena.allocate(1), Err(Full));
        assert!(arena.has_retired());
        arena.grace_over();
        assert_eq!(arena.allocate(5), Ok(a));
        arena.give_back(b);
        assert_eq!(arena.allocate(5), Ok(b));
    }

    #[test]
    fn claims_are_taken_out_of_the_middle() {
        let mut arena = Arena::new(100);
        assert!(arena.claim(Region { first: 10, len: 5 }));
        assert!(!arena.claim(Region { first: 14, len: 1 }));
        assert!(!arena.claim(Region { first: 95, len: 6 }));
        assert!(!arena.claim(Region { first: u32::MAX, len: u32::MAX }));
        assert_eq!(arena.allocate(9), Ok(Region { first: 1, len: 9 }));
        assert_eq!(arena.allocate(1), Ok(Region { first: 15, len: 1 }));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate(u32),
        GiveBack(usize),
        Retire(usize),
        GraceOver,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1u32..40).prop_map(Step::Allocate),
            2 => any::<usize>().prop_map(Step::GiveBack),
            2 => any::<usize>().prop_map(Step::Retire),
            1 => Just(Step::GraceOver),
        ]
    }

    proptest! {
        /// Against a plain array of owners: no line has two, none is lost, and a request fails only
        /// if there is no gap for it.
        #[test]
        fn no_line_has_two_owners(steps in prop::collection::vec(step(), 1..200)) {
            const LINES: u32 = 256;
            let mut arena = Arena::new(LINES);
            let mut taken = vec![false; LINES as usize];
            taken[0] = true;
            let mut live: Vec<Region> = Vec::new();
            let mut retired: Vec<Region> = Vec::new();
            let lines = |region: Region| region.first as usize..(region.first + region.len) as usize;
            for step in steps {
                match step {
                    Step::Allocate(len) => match arena.allocate(len) {
                        Ok(region) => {
                            prop_assert_eq!(region.len, len);
                            prop_assert!(taken[lines(region)].iter().all(|taken| !taken));
                            taken[lines(region)].fill(true);
                            live.push(region);
                        }
                        Err(Full) => {
                            let gap = taken.split(|taken| *taken).map(<[bool]>::len).max();
                            prop_assert!(gap < Some(len as usize));
                        }
                    },
                    Step::GiveBack(which) if !live.is_empty() => {
                        let region = live.swap_remove(which % live.len());
                        arena.give_back(region);
                        taken[lines(region)].fill(false);
                    }
                    Step::Retire(which) if !live.is_empty() => {
                        let region = live.swap_remove(which % live.len());
                        arena.retire(region);
                        retired.push(region);
                    }
                    Step::GraceOver => {
                        arena.grace_over();
                        for region in retired.drain(..) {
                            taken[lines(region)].fill(false);
                        }
                    }
                    Step::GiveBack(_) | Step::Retire(_) => {}
                }
                prop_assert_eq!(arena.used() as usize, taken.iter().filter(|taken| **taken).count());
                prop_assert!(arena.free.windows(2).all(|pair| pair[0].end() < u64::from(pair[1].first)));
            }
        }
    }
}
