//! Policy → image: pure, deterministic, and knowing nothing of aya.
//!
//! ```text
//! sets          routes → rows of list ids, per dimension
//! prefix        ┐
//! ports         ├ lists → equivalence classes (classes) and the arrays and tables that find them
//! interfaces    ┘
//! combinations  rows × classes → (key → lowest route)
//! table         keys → cuckoo hash tables
//! routes        actions → entries
//! image         sections and header, to be placed by whoever owns the arena
//! ```

mod classes;
mod combinations;
mod dimension;
mod error;
mod hashing;
mod image;
mod interfaces;
mod ports;
mod prefix;
mod routes;
mod sets;
mod table;
#[cfg(test)]
mod tests;

pub use dimension::Dimension;
pub use error::{CompileError, Problem};
pub use image::{Image, SECTIONS, Section, Summary};

use crate::policy::{Policy, PortRange};
use classes::{ClassTable, ClassesOfSets};
use dimension::DIMENSIONS;
use gateway_common::abi::{Line, MAX_ROUTES};
use gateway_common::image::{
    HEADER_LINES, HeaderHot, INTERFACE_CLASS_LINE, LENGTHS_V4_LINE, LENGTHS_V6_LINE,
};
use ipnet::IpNet;
use sets::{Selection, Sets};

/// Most entries of the combination table. A full table of that size takes 256 MiB.
pub const MAX_ENTRIES: u64 = 4_194_304;

/// What names mean on this node.
pub trait Names {
    /// Slot of an interface (1..256), if the daemon governs it or redirects to it.
    fn interface_slot(&self, name: &str) -> Option<u8>;
    /// Counter slot of a route.
    fn counter_slot(&self, route: &str) -> u32;
}

/// Compiles a policy: the same policy and names give the same bytes.
///
/// # Errors
/// Where the policy needs more than the tables can hold or names what is not there: every such
/// reason that can be found at once.
pub fn compile(policy: &Policy, names: &dyn Names) -> Result<Image, CompileError> {
    if policy.routes.len() > MAX_ROUTES {
        let count = policy.routes.len();
        return Err(CompileError { problems: vec![Problem::TooManyRoutes { count, limit: MAX_ROUTES }] });
    }
    let selection = sets::select(policy, names);
    let mut compiler = Compiler {
        policy,
        problems: Vec::new(),
        sections: [const { Vec::new() }; SECTIONS],
        header: [Line::default(); HEADER_LINES as usize],
        hot: HeaderHot {
            malformed_drop: policy.malformed.drop_bits,
            default_route: policy.routes.len() as u32,
            ..HeaderHot::default()
        },
        summary: Summary { routes: policy.routes.len(), ..Summary::default() },
        classes: [const { ClassesOfSets::empty() }; DIMENSIONS],
    };
    compiler.sections[Section::Routes as usize] = routes::compile(policy, names, &mut compiler.problems);
    compiler.interfaces(&selection);
    compiler.prefixes(Dimension::From, &selection.from);
    compiler.prefixes(Dimension::To, &selection.to);
    compiler.protocols(&selection);
    compiler.ports(Dimension::Port, &selection.port);
    compiler.ports(Dimension::SourcePort, &selection.source_port);
    compiler.combinations(&selection);
    compiler.finish()
}

/// An image in the making.
struct Compiler<'p> {
    policy: &'p Policy,
    problems: Vec<Problem>,
    sections: [Vec<Line>; SECTIONS],
    header: image::Header,
    hot: HeaderHot,
    summary: Summary,
    /// For each dimension, the classes of its lists.
    classes: [ClassesOfSets; DIMENSIONS],
}

impl<'p> Compiler<'p> {
    fn interfaces(&mut self, selection: &Selection<'p>) {
        let mut table = ClassTable::with_capacity(0);
        match interfaces::compile(&selection.slots, &mut table) {
            Ok(class_of) => {
                let start = INTERFACE_CLASS_LINE as usize;
                write_bytes(&mut self.header[start..], &class_of);
                self.keep_classes(Dimension::Interface, &table, selection.interface.len());
            }
            Err(_) => self.overlap(Dimension::Interface, &table, &selection.interface),
        }
    }

    fn prefixes(&mut self, dimension: Dimension, sets: &Sets<'p, IpNet>) {
        let mut table = ClassTable::with_capacity(sets.len());
        let Ok(prefixes) = prefix::compile(sets.lists(), &mut table) else {
            return self.overlap(dimension, &table, sets);
        };
        self.keep_classes(dimension, &table, sets.len());
        let (direction, section, what) = match dimension {
            Dimension::From => (0, Section::Sources, "source prefixes"),
            _ => (1, Section::Destinations, "destination prefixes"),
        };
        let lines = [LENGTHS_V4_LINE[direction], LENGTHS_V6_LINE[direction]];
        for (family, (line, lengths)) in lines.into_iter().zip(&prefixes.lengths).enumerate() {
            write_bytes(&mut self.header[line as usize..], lengths);
            self.hot.length_counts[direction * 2 + family] = lengths.len() as u8;
        }
        match dimension {
            Dimension::From => self.summary.source_entries = prefixes.entries.len(),
            _ => self.summary.destination_entries = prefixes.entries.len(),
        }
        self.table(section, what, &prefixes.entries);
    }

    fn protocols(&mut self, selection: &Selection<'p>) {
        let lists = selection.protocol.lists().iter().map(|list| list.iter().copied().map(u32::from));
        self.classes[Dimension::Protocol as usize] = ClassesOfSets::of_values(lists);
    }

    fn ports(&mut self, dimension: Dimension, sets: &Sets<'p, PortRange>) {
        if sets.len() == 0 {
            return;
        }
        let mut table = ClassTable::with_capacity(sets.len());
        let Ok(class_of) = ports::compile(sets.lists(), &mut table) else {
            return self.overlap(dimension, &table, sets);
        };
        if table.count() > ports::MAX_PORT_CLASSES {
            let limit = ports::MAX_PORT_CLASSES;
            self.problems.push(Problem::TooManyClasses { dimension, limit });
            return;
        }
        self.keep_classes(dimension, &table, sets.len());
        let section = match dimension {
            Dimension::Port => Section::PortClasses,
            _ => Section::SourcePortClasses,
        };
        self.sections[section as usize] = ports::lines(&class_of);
    }

    /// Enters the routes, if their classes are known.
    fn combinations(&mut self, selection: &Selection<'p>) {
        let classes_known =
            self.problems.iter().all(|problem| matches!(problem, Problem::DanglingRedirect { .. }));
        if !classes_known {
            return;
        }
        match combinations::compile(&selection.rows, &self.classes, |route| self.route_name(route)) {
            Ok(combinations) => {
                self.hot.dimensions = combinations.dimensions();
                self.hot.combination_count = combinations.list.len() as u32;
                self.summary.combinations = combinations.list.len();
                self.summary.combination_entries = combinations.entries.len();
                self.sections[Section::CombinationList as usize] = combinations.lines();
                self.table(Section::Combinations, "combinations", &combinations.entries);
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    fn finish(mut self) -> Result<Image, CompileError> {
        if !self.problems.is_empty() {
            return Err(CompileError { problems: self.problems });
        }
        self.header[0] = bytemuck::cast(self.hot);
        let mut image = Image { sections: self.sections, header: self.header, summary: self.summary };
        image.summary.bytes = image.lines() * size_of::<Line>();
        Ok(image)
    }

    fn table(&mut self, section: Section, what: &'static str, entries: &[(table::Key, u32)]) {
        match table::build(what, entries) {
            Ok(lines) => self.sections[section as usize] = lines,
            Err(problem) => self.problems.push(problem),
        }
    }

    fn keep_classes(&mut self, dimension: Dimension, table: &ClassTable, sets: usize) {
        self.summary.classes[dimension as usize] = table.count();
        self.classes[dimension as usize] = table.by_set(sets);
    }

    fn overlap<T: std::hash::Hash + Eq>(
        &mut self,
        dimension: Dimension,
        table: &ClassTable,
        sets: &Sets<'p, T>,
    ) {
        let problem = table.overlaps(dimension, sets, |route| self.route_name(route));
        self.problems.push(problem);
    }

    fn route_name(&self, route: u32) -> String {
        self.policy.routes.get(route as usize).map_or_else(String::new, |route| route.name.clone())
    }
}

/// Writes an array of bytes from the first line on, as [`gateway_common::image::byte_at`] reads it.
fn write_bytes(lines: &mut [Line], bytes: &[u8]) {
    for (line, bytes) in lines.iter_mut().zip(bytes.chunks(size_of::<Line>())) {
        for (i, &byte) in bytes.iter().enumerate() {
            line.0[i / 8] |= u64::from(byte) << (i % 8 * 8);
        }
    }
}
