//! A change to a route.

use super::{Action, PortRange, Route};
use ipnet::IpNet;

/// What becomes of an optional part of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is taken away.
    Clear,
    /// It is replaced.
    Set(T),
}

impl<T> Change<T> {
    /// The same change of something made from the value.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Change::Keep => Change::Keep,
            Change::Clear => Change::Clear,
            Change::Set(value) => Change::Set(make(value)),
        }
    }

    fn apply(&self, to: &mut Option<T>)
    where
        T: Clone,
    {
        match self {
            Change::Keep => {}
            Change::Clear => *to = None,
            Change::Set(value) => *to = Some(value.clone()),
        }
    }
}

/// A change to a route: what is not named stays. Lists are as in [`super::Match`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutePatch {
    /// Interfaces.
    pub interface: Change<Vec<String>>,
    /// Source prefixes.
    pub from: Change<Vec<IpNet>>,
    /// Destination prefixes.
    pub to: Change<Vec<IpNet>>,
    /// Protocols.
    pub protocol: Change<Vec<u8>>,
    /// Destination ports.
    pub port: Change<Vec<PortRange>>,
    /// Source ports.
    pub source_port: Change<Vec<PortRange>>,
    /// skb mark.
    pub mark: Change<u32>,
    /// skb priority.
    pub priority: Change<u32>,
    /// The action, if it is replaced.
    pub action: Option<Action>,
}

impl RoutePatch {
    /// Makes the change.
    pub fn apply(&self, route: &mut Route) {
        let matches = &mut route.matches;
        self.interface.apply(&mut matches.interface);
        self.from.apply(&mut matches.from);
        self.to.apply(&mut matches.to);
        self.protocol.apply(&mut matches.protocol);
        self.port.apply(&mut matches.port);
        self.source_port.apply(&mut matches.source_port);
        self.mark.apply(&mut route.mark);
        self.priority.apply(&mut route.priority);
        if let Some(action) = &self.action {
            route.action = action.clone();
        }
    }

    /// Takes every match component away.
    pub(super) fn clear_match(&mut self) {
        self.interface = Change::Clear;
        self.from = Change::Clear;
        self.to = Change::Clear;
        self.protocol = Change::Clear;
        self.port = Change::Clear;
        self.source_port = Change::Clear;
    }
}
