//! Policy → image: pure, deterministic, and knowing nothing of aya.
//!
//! ```text
//! sets          routes → rows of list ids, per dimension
//! prefix        ┐
//! ranges        ├ lists → equivalence classes (classes) and the arrays and tables that find them
//! label_sets    ┘
//! labels        labels → the table of their prefixes, which many images share
//! intervals     prefixes → that table's lines
//! combinations  rows × classes → (key → lowest route)
//! table         keys → cuckoo hash tables
//! limits        limits → entries
//! maglev        weighted targets → the table by which a hash finds its target
//! pool_tables   those of all pools, which many images share
//! pools         pools and targets → entries
//! routes        actions → entries
//! build         brings these together
//! image         sections and header, to be placed by whoever owns the arena
//! ```

mod build;
mod classes;
mod combinations;
mod dimension;
mod error;
mod hashing;
mod health;
mod image;
mod intervals;
mod label_sets;
mod labels;
mod limits;
mod maglev;
mod pool_tables;
mod pools;
mod prefix;
mod ranges;
mod routes;
mod sets;
mod table;
#[cfg(test)]
mod tests;

pub use dimension::Dimension;
pub use error::{CompileError, Problem};
pub use health::{HealthTerms, health_terms};
pub use image::{Image, SECTIONS, Section, Summary};
pub use label_sets::label_set_key;
pub use labels::{LabelTable, MAX_LABEL_SETS};
pub use limits::{
    MAX_BURST_SECS, entry as limit_entry, limit_names, own_name as own_limit_name, syn_entry, syn_name,
};
pub use pool_tables::{PoolTable, PoolTables};
pub use pools::{target_name, target_names};

use crate::policy::Policy;
use gateway_common::abi::MAX_ROUTES;
use std::net::IpAddr;

/// Most entries of the combination table. A full table of that size takes 256 MiB.
pub const MAX_ENTRIES: u64 = 4_194_304;

/// What names mean on this node.
pub trait Names {
    /// Slot of an interface (1..256), if the daemon governs it or redirects to it.
    fn interface_slot(&self, name: &str) -> Option<u8>;
    /// Counter slot of a route.
    fn counter_slot(&self, route: &str) -> u32;
    /// Slot of a limit (1..[`gateway_common::image::MAX_LIMITS`]): `tenant-a` is a named one, `web/1` the
    /// first in route `web`'s list, `web/syn` that of its SYN cookies.
    fn limit_slot(&self, limit: &str) -> u32;
    /// Slot of a target (1..[`gateway_common::image::MAX_TARGETS`]): `web/v1` is target `v1` of pool `web`.
    fn target_slot(&self, target: &str) -> u32;
    /// The source that this node would give to what it sends to a target: of the same family.
    fn outer_source(&self, target: IpAddr) -> Option<IpAddr>;
    /// Whether a translating pool's target is an address of this node, now: where that changes it is for the next
    /// policy to see. False where the node is not known.
    fn is_own(&self, _target: IpAddr) -> bool {
        false
    }
    /// Number of a label, from 1, by which live members name it; the same for as long as any does.
    fn label_number(&self, label: &str) -> u32;
}

/// What a policy is compiled with beside itself.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What names mean on this node.
    pub names: &'a dyn Names,
    /// Of this policy's labels.
    pub labels: &'a LabelTable,
    /// Sets of labels that live members may give to one source at once, by name, be the source in prefixes
    /// of labels or not. Labels that the policy does not have are passed over. A single label outside of
    /// all prefixes is always provided for.
    pub live_sets: &'a [Vec<String>],
    /// Of any earlier policy's pools: what is the same is not built again. See [`Image::pool_tables`].
    pub pools: &'a PoolTables,
    /// Nanoseconds of a jiffy, the coarser of the two clocks that limits run by.
    pub ns_per_jiffy: u64,
}

/// Compiles a policy: the same policy and surroundings give the same bytes.
///
/// # Errors
/// Where the policy needs more than the tables can hold or names what is not there: every such
/// reason that can be found at once.
pub fn compile(policy: &Policy, surroundings: &Surroundings<'_>) -> Result<Image, CompileError> {
    if policy.routes.len() > MAX_ROUTES {
        let count = policy.routes.len();
        return Err(CompileError { problems: vec![Problem::TooManyRoutes { count, limit: MAX_ROUTES }] });
    }
    build::image(policy, surroundings)
}
