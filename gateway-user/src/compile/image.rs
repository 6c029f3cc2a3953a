//! A compiled policy, and how it is laid out once its sections have places.

use super::dimension::DIMENSIONS;
use gateway_common::abi::Line;
use gateway_common::image::{HEADER_LINES, HEADER_MAGIC, HeaderCold, HeaderHot, TableRef};
use std::fmt;

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
}

/// How many sections there are.
pub const SECTIONS: usize = 7;

/// Lines of a header.
pub(super) type Header = [Line; HEADER_LINES as usize];

/// A compiled policy, not yet placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Lines of each section; a section that is not needed is empty.
    pub sections: [Vec<Line>; SECTIONS],
    /// The header with every reference still 0; see [`Image::header`].
    pub(super) header: Header,
    pub(super) summary: Summary,
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
            "{} routes as {} entries in {} combinations, {} + {} prefix entries, {} KiB",
            self.routes,
            self.combination_entries,
            self.combinations,
            self.source_entries,
            self.destination_entries,
            self.bytes.div_ceil(1024)
        )
    }
}

impl Image {
    /// The header for sections placed at these arena lines (0 for an empty section). The cold half
    /// is taken as it is given, but for the magic.
    #[must_use]
    pub fn header(&self, places: &[u32; SECTIONS], cold: &HeaderCold) -> Header {
        let table = |section: Section| TableRef {
            base: self.place(places, section),
            mask: (self.sections[section as usize].len() as u32).saturating_sub(1),
        };
        let mut header = self.header;
        let template: HeaderHot = bytemuck::cast(header[0]);
        let hot = HeaderHot {
            sources: table(Section::Sources),
            destinations: table(Section::Destinations),
            combinations: table(Section::Combinations),
            combination_list: self.place(places, Section::CombinationList),
            routes: self.place(places, Section::Routes),
            port_classes: self.place(places, Section::PortClasses),
            source_port_classes: self.place(places, Section::SourcePortClasses),
            ..template
        };
        header[0] = bytemuck::cast(hot);
        header[1] = bytemuck::cast(HeaderCold { magic: HEADER_MAGIC, ..*cold });
        header
    }

    fn place(&self, places: &[u32; SECTIONS], section: Section) -> u32 {
        if self.sections[section as usize].is_empty() { 0 } else { places[section as usize] }
    }

    /// Lines of the whole image, its header included.
    #[must_use]
    pub fn lines(&self) -> usize {
        HEADER_LINES as usize + self.sections.iter().map(Vec::len).sum::<usize>()
    }

    /// How large the image is.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
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
            let (here, behind) = rest.split_at_mut(section.len());
            here.copy_from_slice(section);
            rest = behind;
            line = line.checked_add(section.len() as u32)?;
        }
        let header = self.header(&places, cold);
        header_lines.copy_from_slice(&header);
        Some(bytemuck::cast(header[0]))
    }
}
