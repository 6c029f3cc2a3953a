//! Changes, turned into single stores.
//!
//! A reader looks into a prefix's first line and then into its second. A member that moves from the
//! first to the second is therefore seen at least once; on the way back it could slip through between
//! the two looks, so that a grace period must pass before it is taken from where it was. Such moves
//! are made only where no others make room.

use super::{LiveMember, MemberChange, MemberPlan, MemberTable, State, WAYS};
use super::{family, lines_of, read, written};
use crate::dataplane::Error;
use gateway_common::abi::Line;
use gateway_common::live::{LENGTHS_V4_LINE, LENGTHS_V6_LINE, MAX_LENGTHS, Member, Members};
use ipnet::IpNet;
use std::collections::{HashMap, HashSet};

/// Lines that are looked at for room before the table counts as full.
const LINES_TRIED_MAX: usize = 2_000;
/// Words of a member, in which order a reader relies on them: the tag makes it one.
const MEMBER_WORDS: usize = size_of::<Member>() / size_of::<u64>();
/// The word of [`Member::tag_label`].
const TAG_WORD: usize = 2;
/// The word of [`Member::until`].
const UNTIL_WORD: usize = 3;

/// What is done to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A word is stored.
    Store {
        /// The line.
        line: u32,
        /// Which of its words.
        word: usize,
        /// The value.
        value: u64,
    },
    /// What readers are under way must be through.
    Wait,
}

/// A member's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    line: u32,
    way: usize,
}

/// Plans changes beside a table.
pub(super) struct Planner<'t> {
    table: &'t MemberTable,
    /// Lines as they will be.
    lines: HashMap<u32, Line>,
    steps: Vec<Step>,
    state: State,
}

impl<'t> Planner<'t> {
    pub(super) fn new(table: &'t MemberTable) -> Planner<'t> {
        Planner { table, lines: HashMap::new(), steps: Vec::new(), state: table.state.clone() }
    }

    pub(super) fn finish(self) -> MemberPlan {
        MemberPlan { steps: self.steps, state: self.state }
    }

    pub(super) fn change(&mut self, change: &MemberChange) -> Result<(), Error> {
        match change {
            MemberChange::Set(member) => self.set(member),
            MemberChange::Remove { prefix, label } => {
                self.remove(*prefix, *label);
                Ok(())
            }
        }
    }

    /// Adds a member or gives it another end. Refused, nothing has changed.
    pub(super) fn set(&mut self, wanted: &LiveMember) -> Result<(), Error> {
        let member = written(&wanted.prefix, wanted.label, wanted.until);
        if let Some(slot) = self.find(&member) {
            if self.member(slot).until != member.until {
                self.store_word(slot, UNTIL_WORD, words(&member)[UNTIL_WORD]);
            }
            return Ok(());
        }
        let (family, length) = (family(&wanted.prefix), wanted.prefix.prefix_len());
        let known = self.state.by_length[family][usize::from(length)] > 0;
        if !known && self.state.lengths[family].len() >= MAX_LENGTHS as usize {
            return Err(Error::MemberLengths { length, most: MAX_LENGTHS });
        }
        let slot = self
            .make_room(&member)
            .ok_or(Error::MembersFull { members: self.state.count, most: self.table.most() })?;
        if !known {
            self.add_length(family, length);
        }
        self.write(slot, &member);
        self.state.by_length[family][usize::from(length)] += 1;
        self.state.count += 1;
        Ok(())
    }

    /// Takes a member out, if it is one.
    pub(super) fn remove(&mut self, prefix: IpNet, label: u32) {
        let Some(slot) = self.find(&written(&prefix, label, 0)) else { return };
        self.store_word(slot, TAG_WORD, 0);
        let (family, length) = (family(&prefix), prefix.prefix_len());
        self.state.count -= 1;
        let left = &mut self.state.by_length[family][usize::from(length)];
        *left -= 1;
        if *left == 0 {
            self.remove_length(family, length);
        }
    }

    /// Counts what is found, and clears what an end in the middle of a change left behind: members that
    /// are there twice, lengths that no member has.
    pub(super) fn tidy(&mut self) {
        let mut known = HashSet::new();
        let table = self.table;
        for (line, way, member) in table.places() {
            let right = read(&member).filter(|_| lines_of(&member, self.table.mask).contains(&line));
            match right.filter(|found| known.insert((found.prefix, found.label))) {
                Some(found) => {
                    let length = usize::from(found.prefix.prefix_len());
                    self.state.by_length[family(&found.prefix)][length] += 1;
                    self.state.count += 1;
                }
                None => self.store_word(Slot { line, way }, TAG_WORD, 0),
            }
        }
        let listed = u64_pair(self.line(0).0[0]);
        self.state.lengths = std::array::from_fn(|family| {
            let line = self.line(lengths_line(family));
            let bytes: &[u8] = bytemuck::bytes_of(&line);
            bytes[..(listed[family] as usize).min(bytes.len())].to_vec()
        });
        for family in 0..listed.len() {
            for length in 0..=u8::MAX {
                let by_length = &self.state.by_length[family];
                let used = by_length.get(usize::from(length)).is_some_and(|members| *members > 0);
                let times =
                    |state: &State| state.lengths[family].iter().filter(|known| **known == length).count();
                while times(&self.state) > usize::from(used) {
                    self.remove_length(family, length);
                }
                if used && times(&self.state) == 0 {
                    self.add_length(family, length);
                }
            }
        }
    }

    fn line(&self, line: u32) -> Line {
        let found = self.lines.get(&line).copied();
        found.or_else(|| self.table.lines.load(line)).unwrap_or_default()
    }

    fn member(&self, slot: Slot) -> Member {
        let members: Members = bytemuck::cast(self.line(slot.line));
        members[slot.way]
    }

    fn store(&mut self, line: u32, word: usize, value: u64) {
        let mut changed = self.line(line);
        changed.0[word] = value;
        self.lines.insert(line, changed);
        self.steps.push(Step::Store { line, word, value });
    }

    fn store_word(&mut self, slot: Slot, word: usize, value: u64) {
        self.store(slot.line, slot.way * MEMBER_WORDS + word, value);
    }

    /// Writes a member to an empty place, what makes it one last.
    fn write(&mut self, slot: Slot, member: &Member) {
        let words = words(member);
        for word in (0..MEMBER_WORDS).filter(|word| *word != TAG_WORD) {
            self.store_word(slot, word, words[word]);
        }
        self.store_word(slot, TAG_WORD, words[TAG_WORD]);
    }

    fn find(&self, wanted: &Member) -> Option<Slot> {
        let is = |slot: &Slot| {
            let member = self.member(*slot);
            (member.prefix, member.tag_label) == (wanted.prefix, wanted.tag_label)
        };
        slots(lines_of(wanted, self.table.mask)).find(is)
    }

    fn empty_way(&self, line: u32) -> Option<Slot> {
        slots([line]).find(|slot| self.member(*slot).tag_label == 0)
    }

    /// A place for a new member; others move for it where they must. Nothing has changed where there is
    /// none.
    fn make_room(&mut self, member: &Member) -> Option<Slot> {
        let lines = lines_of(member, self.table.mask);
        if let Some(slot) = lines.into_iter().find_map(|line| self.empty_way(line)) {
            return Some(slot);
        }
        let path = self.path(lines, true).or_else(|| self.path(lines, false))?;
        // From the end, so that each finds the place that the one behind it has left.
        for pair in path.windows(2).rev() {
            self.relocate(pair[0], pair[1]);
        }
        path.first().copied()
    }

    /// Breadth first: the places, each of which can take what is in the one before it; the last is
    /// empty.
    fn path(&self, lines: [u32; 2], forward_only: bool) -> Option<Vec<Slot>> {
        let mut visited: HashSet<u32> = lines.into();
        // Each place, and the number of the one that moves there.
        let mut queue: Vec<(Slot, Option<usize>)> = slots(lines).map(|slot| (slot, None)).collect();
        let mut next = 0;
        while next < queue.len() && visited.len() < LINES_TRIED_MAX {
            let slot = queue[next].0;
            let [first, second] = lines_of(&self.member(slot), self.table.mask);
            let other = if slot.line == first { second } else { first };
            let allowed = !forward_only || slot.line == first;
            if allowed && visited.insert(other) {
                if let Some(empty) = self.empty_way(other) {
                    let mut path = vec![empty];
                    let mut place = Some(next);
                    while let Some(number) = place {
                        path.push(queue[number].0);
                        place = queue[number].1;
                    }
                    path.reverse();
                    return Some(path);
                }
                queue.extend(slots([other]).map(|slot| (slot, Some(next))));
            }
            next += 1;
        }
        None
    }

    fn relocate(&mut self, from: Slot, to: Slot) {
        let member = self.member(from);
        self.write(to, &member);
        if from.line != lines_of(&member, self.table.mask)[0] {
            self.steps.push(Step::Wait);
        }
        self.store_word(from, TAG_WORD, 0);
    }

    fn add_length(&mut self, family: usize, length: u8) {
        let place = self.state.lengths[family].len();
        self.state.lengths[family].push(length);
        self.store_length(family, place, length);
        self.store_counts();
    }

    /// The last takes its place; a reader may meet with that one twice meanwhile.
    fn remove_length(&mut self, family: usize, length: u8) {
        let lengths = &mut self.state.lengths[family];
        let Some(place) = lengths.iter().rposition(|known| *known == length) else { return };
        lengths.swap_remove(place);
        if let Some(moved) = lengths.get(place).copied() {
            self.store_length(family, place, moved);
        }
        self.store_counts();
    }

    fn store_length(&mut self, family: usize, place: usize, length: u8) {
        let line = lengths_line(family);
        let mut bytes: [u8; size_of::<Line>()] = bytemuck::cast(self.line(line));
        bytes[place] = length;
        let changed: Line = bytemuck::cast(bytes);
        let word = place / size_of::<u64>();
        self.store(line, word, changed.0[word]);
    }

    fn store_counts(&mut self) {
        let [v4, v6] = [0, 1].map(|family| self.state.lengths[family].len() as u64);
        self.store(0, 0, v6 << 32 | v4);
    }
}

/// The line of a family's lengths.
fn lengths_line(family: usize) -> u32 {
    [LENGTHS_V4_LINE, LENGTHS_V6_LINE][family]
}

/// Both halves of a word, the lower first.
fn u64_pair(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

fn words(member: &Member) -> [u64; MEMBER_WORDS] {
    bytemuck::cast(*member)
}

/// All places of these lines; a line that is named twice counts once.
fn slots<const N: usize>(lines: [u32; N]) -> impl Iterator<Item = Slot> {
    let twice = N == 2 && lines[0] == lines[N - 1];
    let count = if twice { 1 } else { N };
    lines.into_iter().take(count).flat_map(|line| (0..WAYS).map(move |way| Slot { line, way }))
}
