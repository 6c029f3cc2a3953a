//! Policy → image: pure, deterministic, and knowing nothing of aya.

use crate::policy::Policy;
use gateway_common::abi::Line;
use gateway_common::image::{HEADER_LINES, HeaderCold};

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

/// A compiled policy, not yet placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Lines of each section; a section that is not needed is empty.
    pub sections: [Vec<Line>; SECTIONS],
    /// The header with every reference still 0; see [`Image::header`].
    header: [Line; HEADER_LINES as usize],
}

/// What names mean on this node.
pub trait Names {
    /// Slot of an interface (1..256), if the daemon governs it or redirects to it.
    fn interface_slot(&self, name: &str) -> Option<u8>;
    /// Counter slot of a route.
    fn counter_slot(&self, route: &str) -> u32;
}

impl Image {
    /// The header for sections placed at these arena lines (0 for an empty section).
    #[must_use]
    pub fn header(&self, places: &[u32; SECTIONS], cold: &HeaderCold) -> [Line; HEADER_LINES as usize] {
        let _ = (places, cold);
        self.header
    }
}

/// Why a policy cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {}

/// Compiles a policy.
///
/// # Errors
/// Where the policy needs more than the tables can hold, with the reason.
pub fn compile(policy: &Policy, names: &dyn Names) -> Result<Image, CompileError> {
    let _ = (policy, names);
    unreachable!("replaced by the compiler")
}
