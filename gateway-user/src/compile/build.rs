//! Brings the parts of an image together.

use super::classes::{ClassTable, ClassesOfSets, Cut, MAX_OVERLAPS};
use super::dimension::{DIMENSIONS, Dimension};
use super::error::{CompileError, Problem};
use super::image::{Header, Image, SECTIONS, Section, Summary};
use super::label_sets::{self, CutError};
use super::limits::{self, Limits};
use super::pool_tables::PoolTables;
use super::pools::{self, Pools};
use super::sets::{self, Lists, Selection};
use super::{Surroundings, combinations, prefix, ranges, routes, table};
use crate::policy::{Action, Policy, Range};
use gateway_common::abi::{
    ACTIVE_CHECKSUMS, ACTIVE_PER_SOURCE, ACTIVE_POOLS, ACTIVE_TRACKS, ACTIVE_UNMEMOIZABLE, ACTIVE_VARIANTS,
    Line,
};
use gateway_common::image::{
    ATTRIBUTES_LINE, HEADER_LINES, HeaderAttributes, HeaderHot, HeaderMore, INTERFACE_CLASS_LINE, Key,
    LENGTHS_V4_LINE, LENGTHS_V6_LINE, LimitEntry, MORE_LINE, dimension as bit,
};
use gateway_common::limit::Scope;
use ipnet::IpNet;
use std::array;
use std::sync::Arc;

/// Compiles a policy with a number of routes that can be numbered.
pub(super) fn image(policy: &Policy, surroundings: &Surroundings<'_>) -> Result<Image, CompileError> {
    let selection = sets::select(policy, surroundings.names);
    let mut build = Build {
        policy,
        surroundings,
        problems: Vec::new(),
        cut: true,
        sections: array::from_fn(|_| Arc::default()),
        header: [Line::default(); HEADER_LINES as usize],
        hot: HeaderHot { default_route: policy.routes.len() as u32, ..HeaderHot::default() },
        more: HeaderMore::default(),
        attributes: HeaderAttributes {
            malformed_drop: policy.malformed.drop_bits,
            ..HeaderAttributes::default()
        },
        active_flags: if policy.verify_checksums { ACTIVE_CHECKSUMS } else { 0 },
        summary: Summary { routes: policy.routes.len(), ..Summary::default() },
        cuts: [Cut::NONE; DIMENSIONS],
        pool_tables: Arc::default(),
    };
    let limits = build.limits_and_routes();
    build.prefixes(Dimension::From, &selection.prefixes[0]);
    build.prefixes(Dimension::To, &selection.prefixes[1]);
    for dimension in Dimension::ALL {
        build.ranges(dimension, &selection.ranges[dimension as usize]);
    }
    build.labels(&selection, &limits);
    build.combinations(&selection);
    build.attributes();
    build.finish()
}

/// An image in the making.
struct Build<'p> {
    policy: &'p Policy,
    surroundings: &'p Surroundings<'p>,
    problems: Vec<Problem>,
    /// Whether all dimensions could be cut into classes.
    cut: bool,
    sections: [Arc<Vec<Line>>; SECTIONS],
    header: Header,
    hot: HeaderHot,
    more: HeaderMore,
    attributes: HeaderAttributes,
    active_flags: u64,
    summary: Summary,
    cuts: [Cut; DIMENSIONS],
    pool_tables: Arc<PoolTables>,
}

impl<'p> Build<'p> {
    fn limits_and_routes(&mut self) -> Limits<'p> {
        let limits = limits::compile(self.policy, self.surroundings, &mut self.problems);
        let pools = self.pools();
        let names = self.surroundings.names;
        let routes = routes::compile(self.policy, &limits, &pools, names, &mut self.problems);
        self.put(Section::Routes, routes);
        self.put(Section::Limits, entry_lines(&limits.entries));
        self.more.limit_count = limits.entries.len() as u32;
        self.summary.limits = limits.entries.len().saturating_sub(1);
        if limits.per_label() {
            self.hot.dimensions |= bit::LABEL;
        }
        if limits.entries.iter().any(is_per_source) {
            self.active_flags |= ACTIVE_PER_SOURCE;
        }
        limits
    }

    fn pools(&mut self) -> Pools {
        let tables = PoolTables::build(self.policy, self.surroundings.pools);
        let pools = pools::compile(self.policy, &tables, self.surroundings.names, &mut self.problems);
        self.put(Section::Pools, entry_lines(&pools.entries));
        self.put(Section::Targets, entry_lines(&pools.targets));
        self.sections[Section::MaglevTables as usize] = Arc::clone(tables.lines());
        self.more.pool_count = pools.entries.len() as u32;
        self.summary.pools = self.policy.pools.len();
        self.summary.targets = pools.targets.len();
        self.pool_tables = Arc::new(tables);
        self.table(Section::WrappedTargets, "targets of wrapped packets", &pools.wrapped_targets());
        let forwards = self.policy.routes.iter().any(|route| matches!(route.action, Action::Pool { .. }));
        let sources = pools::target_sources(self.policy);
        for (holds, flag) in [(forwards, ACTIVE_POOLS), (!sources.is_empty(), ACTIVE_TRACKS)] {
            self.active_flags |= if holds { flag } else { 0 };
        }
        self.table(Section::TargetSources, "addresses of targets", &sources);
        pools
    }

    fn prefixes(&mut self, dimension: Dimension, sets: &Lists<&'p [IpNet]>) {
        let mut table = ClassTable::with_capacity(sets.len());
        let Ok(prefixes) = prefix::compile(sets.lists(), &mut table) else {
            return self.overlap(dimension, &table, sets.first_routes());
        };
        self.keep(dimension, &table, sets.len());
        let (direction, section, what) = match dimension {
            Dimension::From => (0, Section::Sources, "source prefixes"),
            _ => (1, Section::Destinations, "destination prefixes"),
        };
        let counts = self.lengths(direction, &prefixes.lengths);
        self.hot.length_counts[direction * 2..][..2].copy_from_slice(&counts);
        match dimension {
            Dimension::From => self.summary.source_entries = prefixes.entries.len(),
            _ => self.summary.destination_entries = prefixes.entries.len(),
        }
        self.table(section, what, &prefixes.entries);
    }

    /// Writes the prefix lengths of a table into the header; returns how many there are.
    fn lengths(&mut self, table: usize, lengths: &[Vec<u8>; 2]) -> [u8; 2] {
        let lines = [LENGTHS_V4_LINE[table], LENGTHS_V6_LINE[table]];
        for (line, lengths) in lines.into_iter().zip(lengths) {
            write_bytes(&mut self.header[line as usize..], lengths);
        }
        array::from_fn(|family| lengths[family].len() as u8)
    }

    /// Cuts a dimension whose classes the kernel looks up by number.
    fn ranges(&mut self, dimension: Dimension, sets: &Lists<Vec<Range<u32>>>) {
        if sets.len() == 0 {
            return;
        }
        if dimension == Dimension::Protocol {
            // Every protocol is a class, and its own number.
            let classes = |list: &Vec<Range<u32>>| list.clone().into_iter().flat_map(|r| r.first..=r.last);
            let sets = ClassesOfSets::of_classes(sets.lists().iter().map(classes));
            self.cuts[dimension as usize] = Cut { sets, all: 0..dimension.values() };
            return;
        }
        let mut table = ClassTable::with_capacity(sets.len());
        let Ok(mut class_of) = ranges::compile(sets.lists(), dimension.values(), &mut table) else {
            return self.overlap(dimension, &table, sets.first_routes());
        };
        let mut highest = table.count() as u32;
        let mut classes = table.by_set(sets.len());
        if dimension.in_every_packet() && !class_of.contains(&0) {
            highest -= 1;
            class_of.iter_mut().for_each(|class| *class -= 1);
            classes.count_from_zero();
        }
        if highest > dimension.highest_class() {
            let limit = dimension.highest_class() as usize;
            self.problems.push(Problem::TooManyClasses { dimension, limit });
            self.cut = false;
            return;
        }
        self.summary.classes[dimension as usize] = table.count();
        self.cuts[dimension as usize] = Cut { sets: classes, all: 0..highest + 1 };
        let lines = ranges::lines(&class_of);
        match section_of(dimension) {
            Some(section) => self.put(section, lines),
            None => self.header[INTERFACE_CLASS_LINE as usize..][..lines.len()].copy_from_slice(&lines),
        }
    }

    /// Numbers the sets of labels, if anything asks for them.
    fn labels(&mut self, selection: &Selection<'p>, limits: &Limits<'p>) {
        if selection.labels.len() == 0 && !limits.per_label() {
            return;
        }
        let labels = self.surroundings.labels;
        let sets = match label_sets::close(self.surroundings) {
            Ok(sets) => sets,
            Err(problem) => {
                self.problems.push(problem);
                self.cut = false;
                return;
            }
        };
        match sets.cut(selection.labels.lists(), labels) {
            Ok(cut) => self.cuts[Dimension::Label as usize] = cut,
            Err(error) => self.labels_refused(error, selection.labels.first_routes()),
        }
        self.more.label_lines = labels.lines().len() as u32;
        self.sections[Section::Labels as usize] = Arc::clone(labels.lines());
        self.table(Section::Merges, "label merges", &sets.merges);
        if limits.per_label() {
            let keys = sets.keys(labels);
            self.more.label_key_count = keys.len() as u32;
            self.put(Section::LabelKeys, words(&keys));
        }
        self.summary.classes[Dimension::Label as usize] = sets.count();
        self.summary.label_intervals = labels.intervals();
        self.summary.label_sets = sets.count();
        self.summary.merge_entries = sets.merges.len();
    }

    fn labels_refused(&mut self, error: CutError, first_routes: &[u32]) {
        self.cut = false;
        let route = |place: usize| self.route_name(first_routes.get(place).copied().unwrap_or(0));
        let problems: Vec<Problem> = match error {
            CutError::Unknown(unknown) => unknown
                .into_iter()
                .map(|(place, label)| Problem::UnknownLabel { route: route(place), label })
                .collect(),
            CutError::Overfull { place, classes } => vec![Problem::Overlaps {
                dimension: Dimension::Label,
                route: route(place),
                overlaps: classes,
                limit: MAX_OVERLAPS,
            }],
        };
        self.problems.extend(problems);
    }

    /// Enters the routes, if their classes are known.
    fn combinations(&mut self, selection: &Selection<'p>) {
        if !self.cut {
            return;
        }
        match combinations::compile(&selection.rows, &self.cuts, |route| self.route_name(route)) {
            Ok(combinations) => {
                self.hot.dimensions |= combinations.dimensions() | combinations.with_class_zero << 16;
                self.hot.combination_count = combinations.list.len() as u32;
                self.summary.combinations = combinations.list.len();
                self.summary.combination_entries = combinations.entries.len();
                self.put(Section::CombinationList, combinations.lines());
                self.table(Section::Combinations, "combinations", &combinations.entries);
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    /// Tells the packets of a flow apart as far as the routes do.
    fn attributes(&mut self) {
        const ORDER: [Dimension; 6] = [
            Dimension::TcpFlags,
            Dimension::Length,
            Dimension::Dscp,
            Dimension::Fragment,
            Dimension::FlowLabel,
            Dimension::Ttl,
        ];
        let mut product = 1_u64;
        for (stride, dimension) in self.attributes.strides.iter_mut().zip(ORDER) {
            if self.hot.dimensions & dimension.bit() != 0 {
                *stride = product as u16;
                product *= u64::from(self.cuts[dimension as usize].all.end);
            }
        }
        if self.hot.dimensions & bit::OF_PACKETS != 0 {
            self.active_flags |= ACTIVE_VARIANTS;
        }
        if product > u64::from(u16::MAX) {
            self.attributes.strides = [0; 6];
            self.active_flags |= ACTIVE_UNMEMOIZABLE;
        }
    }

    fn finish(mut self) -> Result<Image, CompileError> {
        if !self.problems.is_empty() {
            return Err(CompileError { problems: self.problems });
        }
        self.header[0] = bytemuck::cast(self.hot);
        self.header[MORE_LINE as usize] = bytemuck::cast(self.more);
        self.header[ATTRIBUTES_LINE as usize] = bytemuck::cast(self.attributes);
        let mut image = Image {
            sections: self.sections,
            header: self.header,
            active_flags: self.active_flags,
            summary: self.summary,
            pool_tables: self.pool_tables,
        };
        image.summary.bytes = image.lines() * size_of::<Line>();
        Ok(image)
    }

    fn put(&mut self, section: Section, lines: Vec<Line>) {
        self.sections[section as usize] = Arc::new(lines);
    }

    fn table(&mut self, section: Section, what: &'static str, entries: &[(Key, u32)]) {
        match table::build(what, entries) {
            Ok(lines) => self.put(section, lines),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn keep(&mut self, dimension: Dimension, table: &ClassTable, sets: usize) {
        self.summary.classes[dimension as usize] = table.count();
        let all = 0..table.count() as u32 + 1;
        self.cuts[dimension as usize] = Cut { sets: table.by_set(sets), all };
    }

    fn overlap(&mut self, dimension: Dimension, table: &ClassTable, first_routes: &[u32]) {
        let (list, overlaps) = table.widest(first_routes.len());
        let route = self.route_name(first_routes.get(list).copied().unwrap_or(0));
        self.problems.push(Problem::Overlaps { dimension, route, overlaps, limit: MAX_OVERLAPS });
        self.cut = false;
    }

    fn route_name(&self, route: u32) -> String {
        self.policy.routes.get(route as usize).map_or_else(String::new, |route| route.name.clone())
    }
}

/// Whether a limit is by whole source address, of either family.
fn is_per_source(limit: &LimitEntry) -> bool {
    limit.scope == Scope::Source as u8 && (limit.ipv4_length == 32 || limit.ipv6_length == 128)
}

/// Where the classes of a dimension stand; those of interfaces stand in the header.
const fn section_of(dimension: Dimension) -> Option<Section> {
    match dimension {
        Dimension::Interface | Dimension::From | Dimension::To | Dimension::Protocol | Dimension::Label => {
            None
        }
        Dimension::Port => Some(Section::PortClasses),
        Dimension::SourcePort => Some(Section::SourcePortClasses),
        Dimension::Vlan => Some(Section::VlanClasses),
        Dimension::IcmpType => Some(Section::IcmpTypeClasses),
        Dimension::IcmpCode => Some(Section::IcmpCodeClasses),
        Dimension::TcpFlags => Some(Section::TcpFlagClasses),
        Dimension::Length => Some(Section::LengthClasses),
        Dimension::Dscp => Some(Section::DscpClasses),
        Dimension::Fragment => Some(Section::FragmentClasses),
        Dimension::FlowLabel => Some(Section::FlowLabelClasses),
        Dimension::Ttl => Some(Section::TtlClasses),
    }
}

/// Entries, one a line.
fn entry_lines<T: bytemuck::Pod>(entries: &[T]) -> Vec<Line> {
    entries.iter().map(|entry| Line(bytemuck::cast(*entry))).collect()
}

/// 64-bit elements, eight a line.
fn words(words: &[u64]) -> Vec<Line> {
    let line = |words: &[u64]| {
        let mut line = Line::default();
        line.0[..words.len()].copy_from_slice(words);
        line
    };
    words.chunks(8).map(line).collect()
}

/// Writes an array of bytes from the first line on, as [`gateway_common::image::byte_at`] reads it.
fn write_bytes(lines: &mut [Line], bytes: &[u8]) {
    for (line, bytes) in lines.iter_mut().zip(bytes.chunks(size_of::<Line>())) {
        for (i, &byte) in bytes.iter().enumerate() {
            line.0[i / 8] |= u64::from(byte) << (i % 8 * 8);
        }
    }
}
