//! The image that judges now, as user space knows it.

use super::Error;
use super::arena::{Arena, Region};
use super::mapped::Mapped;
use crate::compile::{SECTIONS, Section};
use gateway_common::abi::{Control, Line};
use gateway_common::image::{
    Combination, HEADER_LINES, HEADER_MAGIC, HeaderCold, HeaderHot, RouteEntry, TableRef,
};

/// Elements of a class array: one for each port.
const PORTS: u32 = 1 << 16;

/// A placed image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) header: Region,
    /// By [`Section`]; of length 0 where the policy does not need it.
    pub(super) sections: [Region; SECTIONS],
    pub(super) cold: HeaderCold,
    pub(super) routes: u32,
}

impl Live {
    /// Every region, the header's first.
    pub(super) fn regions(&self) -> impl Iterator<Item = Region> {
        std::iter::once(self.header).chain(self.sections)
    }

    /// Finds the live image again from its header, and takes its lines out of the arena's free ones.
    ///
    /// # Errors
    /// [`Error::ImageDamaged`] where the header is none or points outside of the arena.
    pub(super) fn adopt(lines: &Mapped<Line>, active: u64, arena: &mut Arena) -> Result<Option<Live>, Error> {
        if active == 0 {
            return Ok(None);
        }
        let first = Control::header_of(active);
        let damaged = |reason: String| Error::ImageDamaged { reason };
        let outside = || damaged(format!("its header at line {first} is outside of the arena"));
        let hot: HeaderHot = bytemuck::cast(lines.load(first).ok_or_else(outside)?);
        let cold: HeaderCold = bytemuck::cast(lines.load(first.wrapping_add(1)).ok_or_else(outside)?);
        if cold.magic != HEADER_MAGIC || cold.generation != Control::generation_of(active) {
            let generation = Control::generation_of(active);
            return Err(damaged(format!("line {first} is not the header of generation {generation}")));
        }
        let header = Region { first, len: HEADER_LINES };
        let live = Live { header, sections: sections_of(&hot), cold, routes: hot.default_route };
        for (i, region) in live.regions().enumerate() {
            if !arena.claim(region) {
                return Err(damaged(format!("part {i} of it, {region:?}, is outside or taken twice")));
            }
        }
        Ok(Some(live))
    }
}

/// Where the sections lie, by their header. A base of 0 is no section.
fn sections_of(hot: &HeaderHot) -> [Region; SECTIONS] {
    let region = |first, len| if first == 0 { Region::default() } else { Region { first, len } };
    let table = |table: TableRef| region(table.base, table.mask.saturating_add(1));
    let array = |first, elements: u32, size: usize| {
        region(first, elements.div_ceil((size_of::<Line>() / size) as u32))
    };
    let mut sections = [Region::default(); SECTIONS];
    let mut set = |section: Section, region| sections[section as usize] = region;
    set(Section::Sources, table(hot.sources));
    set(Section::Destinations, table(hot.destinations));
    set(Section::Combinations, table(hot.combinations));
    let combinations = array(hot.combination_list, hot.combination_count, size_of::<Combination>());
    set(Section::CombinationList, combinations);
    let routes = hot.default_route.saturating_add(1);
    set(Section::Routes, array(hot.routes, routes, size_of::<RouteEntry>()));
    set(Section::PortClasses, array(hot.port_classes, PORTS, size_of::<u16>()));
    set(Section::SourcePortClasses, array(hot.source_port_classes, PORTS, size_of::<u16>()));
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_by_the_header_alone() {
        let hot = HeaderHot {
            sources: TableRef { base: 10, mask: 7 },
            combinations: TableRef { base: 20, mask: 0 },
            combination_list: 30,
            combination_count: 5,
            routes: 40,
            default_route: 2,
            port_classes: 100,
            ..HeaderHot::default()
        };
        let sections = sections_of(&hot);
        let at = |section: Section| (sections[section as usize].first, sections[section as usize].len);
        assert_eq!(at(Section::Sources), (10, 8));
        assert_eq!(at(Section::Destinations), (0, 0));
        assert_eq!(at(Section::Combinations), (20, 1));
        assert_eq!(at(Section::CombinationList), (30, 2));
        assert_eq!(at(Section::Routes), (40, 2));
        assert_eq!(at(Section::PortClasses), (100, 2048));
        assert_eq!(at(Section::SourcePortClasses), (0, 0));
    }
}
