//! A change to a route.

use super::{Action, Component, Match, Route, RouteLimit, SynCookies};

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

/// A change to a route: what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutePatch {
    /// The components that change, each once: to what `matches` says of them, or away where it says
    /// nothing. `not` changes as a whole.
    pub components: Vec<Component>,
    /// What the components in `components` become.
    pub matches: Match,
    /// skb mark.
    pub mark: Change<u32>,
    /// skb priority.
    pub priority: Change<u32>,
    /// DSCP that is written, 0 to 63.
    pub dscp: Change<u8>,
    /// Limits, all of them.
    pub limits: Change<Vec<RouteLimit>>,
    /// SYN cookies.
    pub syn_cookies: Change<SynCookies>,
    /// The action, if it is replaced.
    pub action: Option<Action>,
}

impl RoutePatch {
    /// Makes the change.
    pub fn apply(&self, route: &mut Route) {
        for component in &self.components {
            component.copy(&self.matches, &mut route.matches);
        }
        self.mark.apply(&mut route.mark);
        self.priority.apply(&mut route.priority);
        self.dscp.apply(&mut route.dscp);
        self.syn_cookies.apply(&mut route.syn_cookies);
        match &self.limits {
            Change::Keep => {}
            Change::Clear => route.limits.clear(),
            Change::Set(limits) => route.limits.clone_from(limits),
        }
        if let Some(action) = &self.action {
            route.action = action.clone();
        }
    }

    /// Takes every match component away.
    pub(super) fn clear_match(&mut self) {
        self.components = Component::ALL.to_vec();
        self.matches = Match::default();
    }
}
