//! Live members of labels in the kernel: the one writer of the table that [`gateway_common::live`]
//! describes.
//!
//! A batch of changes is planned as a whole beside the table ([`plan`]) and then carried out by single
//! stores, so that what does not fit is refused before anything is written. Whatever ends the process
//! in between leaves each member old or new, never in pieces; [`MemberTable::open`] tidies up what is
//! there twice because it was on its way from one place to the other.

mod plan;

use super::mapped::MappedMut;
use super::shape::stored;
use super::{Dataplane, Error};
use gateway_common::abi::{Control, Line, maps};
use gateway_common::image::{TAG_V4, TAG_V6};
use gateway_common::live::{FOR_EVER, LiveHead, Member, Members, TABLE_LINE, place};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use plan::{Planner, Step};
use std::collections::HashMap;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Members of a line.
const WAYS: usize = 2;
/// Prefix lengths that there can be, IPv4's below IPv6's.
const LENGTHS: usize = 129;
/// How far two computations of one end may lie apart, ticks: both round up from different moments.
const ROUNDING_TICKS: i32 = 1;

/// A prefix's membership in a label, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LiveMember {
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// The label's number.
    pub label: u32,
    /// The end of its time to live in ticks ([`gateway_common::abi::ticks`]), [`FOR_EVER`] if it has none.
    pub until: u32,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// It is a member, with this time to live from now on.
    Set(LiveMember),
    /// It is none.
    Remove {
        /// The prefix.
        prefix: IpNet,
        /// The label's number.
        label: u32,
    },
}

/// Changes that fit, ready to be carried out. Good for as long as nothing else changes the members.
#[derive(Clone, Debug)]
pub struct MemberPlan {
    steps: Vec<Step>,
    state: State,
}

impl MemberPlan {
    /// The steps, in order: what is stored in which line and word, or nothing for a wait.
    #[cfg(test)]
    pub(super) fn stores(&self) -> impl Iterator<Item = Option<(u32, usize, u64)>> {
        self.steps.iter().map(|step| match *step {
            Step::Store { line, word, value } => Some((line, word, value)),
            Step::Wait => None,
        })
    }
}

/// What is known of the table beside its lines.
#[derive(Clone, Debug)]
struct State {
    /// Members.
    count: u32,
    /// Members of each length, by family.
    by_length: [[u32; LENGTHS]; 2],
    /// The lengths in use, in the order of the table, by family.
    lengths: [Vec<u8>; 2],
}

impl Default for State {
    fn default() -> State {
        State { count: 0, by_length: [[0; LENGTHS]; 2], lengths: [Vec::new(), Vec::new()] }
    }
}

/// The table.
pub(super) struct MemberTable {
    lines: MappedMut<Line>,
    /// Lines of the table less one.
    mask: u32,
    state: State,
}

impl MemberTable {
    /// Takes the table over as it is found, new or used.
    ///
    /// # Errors
    /// Never, short of a map that is not what it was checked to be.
    pub(super) fn open(lines: MappedMut<Line>) -> Result<MemberTable, Error> {
        let mask = lines.len().saturating_sub(TABLE_LINE).max(1).next_power_of_two() - 1;
        let mut table = MemberTable { lines, mask, state: State::default() };
        let offset = offset_of!(LiveHead, mask);
        stored(maps::LIVE, table.lines.store_u64(0, offset, u64::from(mask)))?;
        let mut planner = Planner::new(&table);
        planner.tidy();
        let plan = planner.finish();
        table.carry_out(&plan.steps, &mut || Ok(()))?;
        table.state = plan.state;
        Ok(table)
    }

    /// Every member, in no order.
    pub(super) fn members(&self) -> Vec<LiveMember> {
        self.places().filter_map(|(_, _, member)| read(&member)).collect()
    }

    /// How many members there are.
    pub(super) fn count(&self) -> u32 {
        self.state.count
    }

    /// How many there can be; in practice some nine tenths of it.
    pub(super) fn most(&self) -> u64 {
        (u64::from(self.mask) + 1) * WAYS as u64
    }

    /// Plans changes, one after the other.
    ///
    /// # Errors
    /// [`Error::MembersFull`], [`Error::MemberLengths`]; then none of them fits.
    pub(super) fn plan(&self, changes: &[MemberChange]) -> Result<MemberPlan, Error> {
        let mut planner = Planner::new(self);
        for change in changes {
            planner.change(change)?;
        }
        Ok(planner.finish())
    }

    /// Plans what makes these members, each named once, all that there are. What does not fit is left
    /// out and given back.
    pub(super) fn plan_all(&self, wanted: &[LiveMember]) -> (MemberPlan, Vec<(LiveMember, Error)>) {
        let mut found: HashMap<(IpNet, u32), u32> =
            self.members().iter().map(|member| ((member.prefix, member.label), member.until)).collect();
        let fresh: Vec<&LiveMember> = wanted
            .iter()
            .filter(|member| match found.remove(&(member.prefix, member.label)) {
                Some(until) => !same_end(until, member.until),
                None => true,
            })
            .collect();
        let mut planner = Planner::new(self);
        for (prefix, label) in found.into_keys() {
            planner.remove(prefix, label);
        }
        let refused =
            fresh.into_iter().filter_map(|member| Some((*member, planner.set(member).err()?))).collect();
        (planner.finish(), refused)
    }

    /// Carries a plan out. `wait` returns once no packet is under way that was when it was called.
    ///
    /// # Errors
    /// What `wait` says.
    pub(super) fn commit(
        &mut self,
        plan: MemberPlan,
        wait: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.carry_out(&plan.steps, wait)?;
        self.state = plan.state;
        Ok(())
    }

    fn carry_out(&self, steps: &[Step], wait: &mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error> {
        for step in steps {
            match *step {
                Step::Store { line, word, value } => {
                    stored(maps::LIVE, self.lines.store_u64(line, word * size_of::<u64>(), value))?;
                }
                Step::Wait => wait()?,
            }
        }
        Ok(())
    }

    /// Lines and ways that hold something, and what.
    fn places(&self) -> impl Iterator<Item = (u32, usize, Member)> {
        (TABLE_LINE..=TABLE_LINE + self.mask)
            .flat_map(|line| {
                let members: Members = self.lines.load(line).map(bytemuck::cast).unwrap_or_default();
                (0..WAYS).map(move |way| (line, way, members[way]))
            })
            .filter(|(_, _, member)| member.tag_label != 0)
    }
}

impl Dataplane {
    /// Plans changes of live members of labels: all of them or none.
    ///
    /// # Errors
    /// [`Error::MembersFull`], [`Error::MemberLengths`].
    pub fn plan_members(&self, changes: &[MemberChange]) -> Result<MemberPlan, Error> {
        self.members.plan(changes)
    }

    /// Plans what makes these all the members that there are, and says which do not fit.
    #[must_use]
    pub fn plan_all_members(&self, wanted: &[LiveMember]) -> (MemberPlan, Vec<(LiveMember, Error)>) {
        self.members.plan_all(wanted)
    }

    /// Carries a plan out: every packet that arrives after this returned is judged by it. Where a
    /// member has to make room for another in a table that is nearly full, this may take a grace period.
    ///
    /// # Errors
    /// [`Error::Grace`], in theory: that the kernel can wait was found out when this was opened.
    pub fn commit_members(&mut self, plan: MemberPlan) -> Result<(), Error> {
        if plan.steps.is_empty() {
            return Ok(());
        }
        // Nobody reads the table while there is no policy.
        let judging = self.control.load_u64(0, offset_of!(Control, active)).unwrap_or(0) != 0;
        let mut wait = || match judging {
            true => super::sys::wait_for_readers().map_err(|source| Error::Grace { source }),
            false => Ok(()),
        };
        self.members.commit(plan, &mut wait)?;
        self.restamp()
    }

    /// The live members that the kernel knows, in no order.
    #[must_use]
    pub fn members(&self) -> Vec<LiveMember> {
        self.members.members()
    }
}

/// Whether two ends differ by no more than rounding does.
fn same_end(a: u32, b: u32) -> bool {
    a == b || (a != FOR_EVER && b != FOR_EVER && (a.wrapping_sub(b) as i32).abs() <= ROUNDING_TICKS)
}

/// 0 for IPv4, 1 for IPv6.
fn family(prefix: &IpNet) -> usize {
    usize::from(matches!(prefix, IpNet::V6(_)))
}

/// A member as the table holds it.
fn written(prefix: &IpNet, label: u32, until: u32) -> Member {
    let (tag, address) = match prefix {
        IpNet::V4(net) => (TAG_V4, [u64::from(u32::from(net.network())) << 32, 0]),
        IpNet::V6(net) => {
            let bits = u128::from(net.network());
            (TAG_V6, [(bits >> 64) as u64, bits as u64])
        }
    };
    let tag = tag + u32::from(prefix.prefix_len());
    Member { prefix: address, tag_label: u64::from(tag) << 32 | u64::from(label), until, reserved: 0 }
}

/// What a member says; nothing if it is none that user space wrote.
fn read(member: &Member) -> Option<LiveMember> {
    let (tag, label) = ((member.tag_label >> 32) as u32, member.tag_label as u32);
    let prefix: IpNet = if tag >= TAG_V6 {
        let address = Ipv6Addr::from(u128::from(member.prefix[0]) << 64 | u128::from(member.prefix[1]));
        Ipv6Net::new(address, u8::try_from(tag - TAG_V6).ok()?).ok()?.into()
    } else {
        let address = Ipv4Addr::from((member.prefix[0] >> 32) as u32);
        Ipv4Net::new(address, u8::try_from(tag.checked_sub(TAG_V4)?).ok()?).ok()?.into()
    };
    let found = LiveMember { prefix, label, until: member.until };
    (label != 0 && written(&prefix, label, member.until) == *member).then_some(found)
}

/// The two lines in one of which a member lies.
fn lines_of(member: &Member, mask: u32) -> [u32; 2] {
    let hash = place(member.prefix, (member.tag_label >> 32) as u32);
    [TABLE_LINE + (hash as u32 & mask), TABLE_LINE + ((hash >> 32) as u32 & mask)]
}
