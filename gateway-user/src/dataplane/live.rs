//! The image that judges now, as user space knows it.

use super::Error;
use super::arena::{Arena, Region};
use super::mapped::Mapped;
use crate::compile::{SECTIONS, Section};
use gateway_common::abi::{Control, Line};
use gateway_common::image::{
    ATTRIBUTES_LINE, Combination, HEADER_LINES, HEADER_MAGIC, HeaderAttributes, HeaderCold, HeaderHot,
    HeaderMore, LimitEntry, MORE_LINE, PoolEntry, RouteEntry, TableRef,
};
use std::sync::{Arc, Weak};

/// Elements of a class array: one for each port, or each length of a packet.
const PORTS: u32 = 1 << 16;
/// One for each VLAN.
const VLANS: u32 = 1 << 12;
/// One for each flow label.
const FLOW_LABELS: u32 = 1 << 20;
/// One for each value of a byte.
const BYTES: u32 = 1 << 8;
/// One for each DSCP.
const DSCPS: u32 = 1 << 6;
/// Elements in a line of a Maglev table.
const TABLE_ELEMENTS: u32 = 32;
/// One for each kind of fragment.
const FRAGMENTS: u32 = 1 << 4;

/// A placed image.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) header: Region,
    /// By [`Section`]; of length 0 where the policy does not need it.
    pub(super) sections: [Region; SECTIONS],
    /// What the sections were written from: an image that shares it needs no comparison. Of none where
    /// the image was found. Weak, so that a live image does not stand in memory twice.
    pub(super) sources: [Weak<Vec<Line>>; SECTIONS],
    pub(super) cold: HeaderCold,
    pub(super) routes: u32,
}

impl Live {
    /// Every region, the header's first.
    pub(super) fn regions(&self) -> impl Iterator<Item = Region> {
        std::iter::once(self.header).chain(self.sections)
    }

    /// Whether a section was written from just these lines.
    pub(super) fn was_written_from(&self, section: usize, lines: &Arc<Vec<Line>>) -> bool {
        std::ptr::eq(self.sources[section].as_ptr(), Arc::as_ptr(lines))
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
        if cold.magic != HEADER_MAGIC || cold.generation & 1 != Control::parity_of(active) {
            return Err(damaged(format!("line {first} is not the header of the generation that judges")));
        }
        let header = Region { first, len: HEADER_LINES };
        let more = bytemuck::cast(lines.load(first.wrapping_add(MORE_LINE)).ok_or_else(outside)?);
        let attributes = bytemuck::cast(lines.load(first.wrapping_add(ATTRIBUTES_LINE)).ok_or_else(outside)?);
        let mut sections = sections_of(&hot, &more, &attributes);
        let pools = sections[Section::Pools as usize];
        let pools = (pools.first..pools.first.saturating_add(pools.len)).map(|line| lines.load(line));
        let pools: Option<Vec<Line>> = pools.collect();
        let pools = pools.ok_or_else(|| damaged("its pools are outside of the arena".to_owned()))?;
        let pools: Vec<PoolEntry> = pools.into_iter().map(bytemuck::cast).collect();
        [sections[Section::Targets as usize], sections[Section::MaglevTables as usize]] =
            parts_of_pools(&pools);
        let sources = std::array::from_fn(|_| Weak::new());
        let live = Live { header, sections, sources, cold, routes: hot.default_route };
        for (i, region) in live.regions().enumerate() {
            if !arena.claim(region) {
                return Err(damaged(format!("part {i} of it, {region:?}, is outside or taken twice")));
            }
        }
        Ok(Some(live))
    }
}

/// Where the sections lie, by their header. A base of 0 is no section.
fn sections_of(hot: &HeaderHot, more: &HeaderMore, attributes: &HeaderAttributes) -> [Region; SECTIONS] {
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
    set(Section::Labels, region(more.labels, more.label_lines));
    set(Section::Merges, table(more.merges));
    set(Section::Limits, array(hot.limits, more.limit_count, size_of::<LimitEntry>()));
    set(Section::LabelKeys, array(more.label_keys, more.label_key_count, size_of::<u64>()));
    set(Section::VlanClasses, array(more.vlan_classes, VLANS, size_of::<u16>()));
    set(Section::IcmpTypeClasses, array(more.icmp_type_classes, BYTES, size_of::<u8>()));
    set(Section::IcmpCodeClasses, array(more.icmp_code_classes, BYTES, size_of::<u8>()));
    set(Section::TcpFlagClasses, array(attributes.tcp_flags, BYTES, size_of::<u8>()));
    set(Section::LengthClasses, array(attributes.length, PORTS, size_of::<u16>()));
    set(Section::DscpClasses, array(attributes.dscp, DSCPS, size_of::<u8>()));
    set(Section::FragmentClasses, array(attributes.fragment, FRAGMENTS, size_of::<u8>()));
    set(Section::FlowLabelClasses, array(attributes.flow_label, FLOW_LABELS, size_of::<u16>()));
    set(Section::WrappedTargets, table(attributes.wrapped_targets));
    set(Section::TtlClasses, array(attributes.ttl, BYTES, size_of::<u8>()));
    set(Section::Pools, array(hot.pools, more.pool_count, size_of::<PoolEntry>()));
    set(Section::TargetSources, table(more.target_sources));
    sections
}

/// Where targets and tables lie: those of all pools together.
fn parts_of_pools(pools: &[PoolEntry]) -> [Region; 2] {
    let targets = pools.iter().map(|pool| (pool.targets, u32::from(pool.count)));
    let tables = pools.iter().flat_map(|pool| [(pool.table, pool.size), (pool.table6, pool.size6)]);
    [spanned(targets), spanned(tables.map(|(first, size)| (first, size.div_ceil(TABLE_ELEMENTS))))]
}

/// From the first line of these (first, length) to their last.
fn spanned(parts: impl Iterator<Item = (u32, u32)>) -> Region {
    let ends = parts.filter(|(_, len)| *len > 0).map(|(first, len)| (first, first.saturating_add(len)));
    let all = ends.reduce(|(first, end), part| (first.min(part.0), end.max(part.1)));
    all.map_or_else(Region::default, |(first, end)| Region { first, len: end - first })
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
            limits: 3_200,
            pools: 3_700,
            ..HeaderHot::default()
        };
        let more = HeaderMore {
            labels: 3_000,
            label_lines: 15,
            merges: TableRef { base: 3_100, mask: 1 },
            limit_count: 3,
            label_keys: 3_300,
            label_key_count: 9,
            vlan_classes: 3_400,
            icmp_type_classes: 3_600,
            pool_count: 4,
            target_sources: TableRef { base: 3_800, mask: 1 },
            ..HeaderMore::default()
        };
        let attributes = HeaderAttributes {
            length: 4_000,
            dscp: 7_000,
            fragment: 7_001,
            flow_label: 8_000,
            ttl: 7_002,
            ..HeaderAttributes::default()
        };
        let sections = sections_of(&hot, &more, &attributes);
        let at = |section: Section| (sections[section as usize].first, sections[section as usize].len);
        assert_eq!(at(Section::Sources), (10, 8));
        assert_eq!(at(Section::Destinations), (0, 0));
        assert_eq!(at(Section::Combinations), (20, 1));
        assert_eq!(at(Section::CombinationList), (30, 3));
        assert_eq!(at(Section::Routes), (40, 2));
        assert_eq!(at(Section::PortClasses), (100, 2048));
        assert_eq!(at(Section::SourcePortClasses), (0, 0));
        assert_eq!(at(Section::Labels), (3_000, 15));
        assert_eq!(at(Section::Merges), (3_100, 2));
        assert_eq!(at(Section::Limits), (3_200, 3));
        assert_eq!(at(Section::LabelKeys), (3_300, 2));
        assert_eq!(at(Section::VlanClasses), (3_400, 128));
        assert_eq!(at(Section::IcmpTypeClasses), (3_600, 4));
        assert_eq!(at(Section::Pools), (3_700, 4));
        assert_eq!(at(Section::TargetSources), (3_800, 2));
        assert_eq!(at(Section::IcmpCodeClasses), (0, 0));
        assert_eq!(at(Section::TcpFlagClasses), (0, 0));
        assert_eq!(at(Section::LengthClasses), (4_000, 2_048));
        assert_eq!(at(Section::DscpClasses), (7_000, 1));
        assert_eq!(at(Section::FragmentClasses), (7_001, 1));
        assert_eq!(at(Section::FlowLabelClasses), (8_000, 32_768));
        assert_eq!(at(Section::TtlClasses), (7_002, 4));
    }

    #[test]
    fn targets_and_tables_are_found_by_the_pools() {
        let pool =
            |targets, count, table, size| PoolEntry { targets, count, table, size, ..PoolEntry::default() };
        // Of the first no target takes packets.
        let by_family = PoolEntry { table6: 2_550, size6: 33, ..pool(96, 2, 0, 0) };
        let pools = [
            PoolEntry::default(),
            pool(90, 2, 0, 0),
            pool(92, 1, 500, 1),
            pool(93, 3, 501, 65_537),
            by_family,
        ];
        let [targets, tables] = parts_of_pools(&pools);
        assert_eq!((targets.first, targets.len), (90, 8));
        assert_eq!((tables.first, tables.len), (500, 1 + 2_049 + 2));
        assert_eq!(parts_of_pools(&[]), [Region::default(); 2]);
    }
}
