//! A compiled policy, and how it is laid out once its sections have places.

use super::dimension::DIMENSIONS;
use super::pool_tables::PoolTables;
use super::pools;
use gateway_common::abi::Line;
use gateway_common::image::{
    ATTRIBUTES_LINE, HEADER_LINES, HEADER_MAGIC, HeaderAttributes, HeaderCold, HeaderHot, HeaderMore,
    MORE_LINE, TableRef,
};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The parts of an image that may be shared between generations, in the order of [`Image::sections`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// Source prefixes.
    Sources,
    /// Destination prefixes.
    Destinations,
    /// Combination keys.
    Combinations,
    /// The combination list.
    CombinationList,
    /// Routes, the default's entry last.
    Routes,
    /// Destination-port classes.
    PortClasses,
    /// Source-port classes.
    SourcePortClasses,
    /// Label prefixes.
    Labels,
    /// Which label set a live label makes of another.
    Merges,
    /// Limits.
    Limits,
    /// What label sets are called in limits by label.
    LabelKeys,
    /// VLAN classes.
    VlanClasses,
    /// ICMP type classes.
    IcmpTypeClasses,
    /// ICMP code classes.
    IcmpCodeClasses,
    /// Classes of TCP flags.
    TcpFlagClasses,
    /// Classes of packet lengths.
    LengthClasses,
    /// DSCP classes.
    DscpClasses,
    /// Classes of fragments.
    FragmentClasses,
    /// Classes of flow labels.
    FlowLabelClasses,
    /// Classes of times to live.
    TtlClasses,
    /// Pools. Where targets and tables lie is written into them as they are placed: [`Image::section_at`].
    Pools,
    /// Targets.
    Targets,
    /// Maglev tables.
    MaglevTables,
    /// Addresses of translating pools' targets.
    TargetSources,
    /// Targets that packets are wrapped for.
    WrappedTargets,
}

/// How many sections there are.
pub const SECTIONS: usize = 25;

/// Lines of a header.
pub(super) type Header = [Line; HEADER_LINES as usize];

/// A compiled policy, not yet placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Lines of each section; a section that is not needed is empty. Shared, since those of the labels
    /// and of the pools' tables may be large and stay the same while policies change.
    pub sections: [Arc<Vec<Line>>; SECTIONS],
    /// The header with every reference still 0; see [`Image::header`].
    pub(super) header: Header,
    /// See [`Image::active_flags`].
    pub(super) active_flags: u64,
    pub(super) summary: Summary,
    pub(super) pool_tables: Arc<PoolTables>,
}

/// How large an image is, for status and logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Routes of the policy.
    pub routes: usize,
    /// Entries of the source prefix table, markers included.
    pub source_entries: usize,
    /// Entries of the destination prefix table, markers included.
    pub destination_entries: usize,
    /// Intervals of the label prefix table; 0 where the policy does not ask for labels.
    pub label_intervals: usize,
    /// Sets of labels that a sender can carry, those of live members included.
    pub label_sets: usize,
    /// Entries of the merge table, see [`HeaderMore::merges`].
    pub merge_entries: usize,
    /// Limits, those of SYN cookies included.
    pub limits: usize,
    /// Pools.
    pub pools: usize,
    /// Targets of all pools.
    pub targets: usize,
    /// Entries of the combination table.
    pub combination_entries: usize,
    /// Sets of dimensions that the kernel probes.
    pub combinations: usize,
    /// Classes of each dimension in the order of [`super::Dimension::ALL`]; the protocol has none.
    pub classes: [usize; DIMENSIONS],
    /// Size of the whole image with its header, bytes.
    pub bytes: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} routes as {} entries in {} combinations, {} + {} prefix entries",
            self.routes,
            self.combination_entries,
            self.combinations,
            self.source_entries,
            self.destination_entries,
        )?;
        if self.label_sets > 0 {
            write!(f, ", {} label intervals in {} sets", self.label_intervals, self.label_sets)?;
        }
        if self.merge_entries > 0 {
            write!(f, " and {} merges", self.merge_entries)?;
        }
        if self.limits > 0 {
            write!(f, ", {} limits", self.limits)?;
        }
        if self.pools > 0 {
            write!(f, ", {} targets in {} pools", self.targets, self.pools)?;
        }
        write!(f, ", {} KiB", self.bytes.div_ceil(1024))
    }
}

impl Image {
    /// The header for sections placed at these arena lines (0 for an empty section). The cold half
    /// is taken as it is given, but for the magic.
    #[must_use]
    pub fn header(&self, places: &[u32; SECTIONS], cold: &HeaderCold) -> Header {
        let place = |section| self.place(places, section);
        let table = |section: Section| TableRef {
            base: place(section),
            mask: (self.sections[section as usize].len() as u32).saturating_sub(1),
        };
        let mut header = self.header;
        let template: HeaderHot = bytemuck::cast(header[0]);
        let hot = HeaderHot {
            sources: table(Section::Sources),
            destinations: table(Section::Destinations),
            combinations: table(Section::Combinations),
            combination_list: place(Section::CombinationList),
            routes: place(Section::Routes),
            limits: place(Section::Limits),
            pools: place(Section::Pools),
            port_classes: place(Section::PortClasses),
            source_port_classes: place(Section::SourcePortClasses),
            ..template
        };
        let template: HeaderMore = bytemuck::cast(header[MORE_LINE as usize]);
        let more = HeaderMore {
            labels: place(Section::Labels),
            merges: table(Section::Merges),
            label_keys: place(Section::LabelKeys),
            vlan_classes: place(Section::VlanClasses),
            icmp_type_classes: place(Section::IcmpTypeClasses),
            icmp_code_classes: place(Section::IcmpCodeClasses),
            target_sources: table(Section::TargetSources),
            ..template
        };
        let template: HeaderAttributes = bytemuck::cast(header[ATTRIBUTES_LINE as usize]);
        let attributes = HeaderAttributes {
            tcp_flags: place(Section::TcpFlagClasses),
            length: place(Section::LengthClasses),
            dscp: place(Section::DscpClasses),
            fragment: place(Section::FragmentClasses),
            flow_label: place(Section::FlowLabelClasses),
            ttl: place(Section::TtlClasses),
            wrapped_targets: table(Section::WrappedTargets),
            ..template
        };
        header[0] = bytemuck::cast(hot);
        header[MORE_LINE as usize] = bytemuck::cast(more);
        header[ATTRIBUTES_LINE as usize] = bytemuck::cast(attributes);
        header[1] = bytemuck::cast(HeaderCold { magic: HEADER_MAGIC, ..*cold });
        header
    }

    /// The lines of a section as they are written where the sections lie at these arena lines.
    #[must_use]
    pub fn section_at(&self, section: usize, places: &[u32; SECTIONS]) -> Cow<'_, [Line]> {
        let lines = self.sections[section].as_slice();
        if section != Section::Pools as usize {
            return Cow::Borrowed(lines);
        }
        let (targets, tables) =
            (self.place(places, Section::Targets), self.place(places, Section::MaglevTables));
        Cow::Owned(pools::placed(lines, targets, tables))
    }

    fn place(&self, places: &[u32; SECTIONS], section: Section) -> u32 {
        if self.sections[section as usize].is_empty() { 0 } else { places[section as usize] }
    }

    /// Lines of the whole image, its header included.
    #[must_use]
    pub fn lines(&self) -> usize {
        HEADER_LINES as usize + self.sections.iter().map(|section| section.len()).sum::<usize>()
    }

    /// The flags that stand beside the header's line in [`gateway_common::abi::Control::active`]:
    /// [`gateway_common::abi::ACTIVE_VARIANTS`], [`gateway_common::abi::ACTIVE_UNMEMOIZABLE`],
    /// [`gateway_common::abi::ACTIVE_CHECKSUMS`], [`gateway_common::abi::ACTIVE_PER_SOURCE`],
    /// [`gateway_common::abi::ACTIVE_TRACKS`], [`gateway_common::abi::ACTIVE_POOLS`].
    #[must_use]
    pub fn active_flags(&self) -> u64 {
        self.active_flags
    }

    /// How large the image is.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The tables of its pools, for the next compilation and for those who show them.
    #[must_use]
    pub fn pool_tables(&self) -> &Arc<PoolTables> {
        &self.pool_tables
    }

    /// Writes the whole image into `arena` from line `base` on, which is not 0, the header first.
    /// Returns the hot part of that header, or nothing if there is no room.
    pub fn place_in(&self, arena: &mut [Line], base: u32, cold: &HeaderCold) -> Option<HeaderHot> {
        let start = base as usize;
        let target = arena.get_mut(start..start.checked_add(self.lines())?)?;
        let (header_lines, mut rest) = target.split_at_mut(HEADER_LINES as usize);
        let mut places = [0; SECTIONS];
        let mut line = base.checked_add(HEADER_LINES)?;
        for (place, section) in places.iter_mut().zip(&self.sections) {
            *place = line;
            line = line.checked_add(section.len() as u32)?;
        }
        for section in 0..SECTIONS {
            let lines = self.section_at(section, &places);
            let (here, behind) = rest.split_at_mut(lines.len());
            here.copy_from_slice(&lines);
            rest = behind;
        }
        let header = self.header(&places, cold);
        header_lines.copy_from_slice(&header);
        Some(bytemuck::cast(header[0]))
    }
}
