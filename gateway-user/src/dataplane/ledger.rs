//! The accounts of single generations.
//!
//! The kernel counts into one of two halves, by the generation's lowest bit, and never resets them.
//! What a half holds when its generation starts, taken from what it holds when that generation has
//! ended and its last packet is through, is what the generation counted.

use super::stats::{Readers, stats_since};
use gateway_common::abi::{Hook, InterfaceStats, MAX_INTERFACES};

/// What one generation counted on one interface and hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledInterface {
    /// Interface slot, 0 for interfaces that nobody configured.
    pub slot: u8,
    /// Where.
    pub hook: Hook,
    /// What.
    pub stats: InterfaceStats,
}

/// The accounts of a generation that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The generation.
    pub generation: u32,
    /// Whether every packet is in it and no other's: false if the generation two before, which
    /// counts into the same half, may still have had packets under way when this one started. That
    /// is so when two applications followed one another within milliseconds with no
    /// [`super::Dataplane::settle`] between them.
    pub exact: bool,
    /// Interfaces that counted anything.
    pub interfaces: Vec<SettledInterface>,
}

/// A half at one moment.
type Half = Vec<[InterfaceStats; Hook::ALL.len()]>;

#[derive(Debug)]
struct Opened {
    generation: u32,
    exact: bool,
    before: Half,
}

/// What is known of the current generation's start and the last one's end.
#[derive(Debug)]
pub(super) struct Ledger {
    current: Option<Opened>,
    ended: Option<Opened>,
    /// Whether a grace period has passed since the last flip.
    quiet: bool,
}

impl Ledger {
    /// For new maps: generation 0, before any policy, starts with empty accounts.
    pub(super) fn new() -> Ledger {
        let before = vec![Default::default(); MAX_INTERFACES];
        Ledger { current: Some(Opened { generation: 0, exact: true, before }), ended: None, quiet: true }
    }

    /// For maps that were found: the live generation's start is unknown.
    pub(super) fn adopted() -> Ledger {
        Ledger { current: None, ended: None, quiet: false }
    }

    /// Opens the accounts of the generation that is about to go live.
    pub(super) fn before_flip(&mut self, readers: &Readers, generation: u32) {
        let opened = Opened { generation, exact: self.quiet, before: half(readers, generation) };
        self.ended = self.current.replace(opened);
        self.quiet = false;
    }

    pub(super) fn grace_over(&mut self) {
        self.quiet = true;
    }
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The accounts of the generation that ended last.
    pub(super) fn settle(&self, readers: &Readers) -> Option<Settled> {
        let ended = self.ended.as_ref()?;
        let now = half(readers, ended.generation);
        let mut interfaces = Vec::new();
        for (slot, (now, before)) in now.iter().zip(&ended.before).enumerate() {
            for (hook, (now, before)) in Hook::ALL.into_iter().zip(now.iter().zip(before)) {
                let stats = stats_since(now, before);
                if stats != InterfaceStats::default() {
                    interfaces.push(SettledInterface { slot: slot as u8, hook, stats });
                }
            }
        }
        Some(Settled { generation: ended.generation, exact: ended.exact, interfaces })
    }
}

fn half(readers: &Readers, generation: u32) -> Half {
    (0..=u8::MAX).map(|slot| Hook::ALL.map(|hook| readers.half(slot, hook, generation))).collect()
}
