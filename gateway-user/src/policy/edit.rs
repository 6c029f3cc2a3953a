//! Changes of single routes.

use super::diagnostics::Severity;
use super::patch::RoutePatch;
use super::pool::none_selected;
use super::sense::problems;
use super::suggest::{closest, did_you_mean};
use super::{Action, Match, Policy, Route, RouteLimit};
use gateway_common::abi::MAX_ROUTES;
use gateway_common::image::MAX_LIMITS;
use serde::{Deserialize, Serialize};

/// Where a new route goes: the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// In front of all.
    First,
    /// Behind all.
    #[default]
    Last,
    /// Directly in front of the route with this name.
    Before(String),
    /// Directly behind the route with this name.
    After(String),
}

/// Why a route could not be changed; the policy is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The name is taken.
    #[error("a route named `{name}` exists already; use `route set` to change it")]
    NameExists {
        /// The name.
        name: String,
    },
    /// There is no such route.
    #[error("no route is named `{name}`{}", suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    NoSuchRoute {
        /// The name that was given.
        name: String,
        /// A name that resembles it.
        suggestion: Option<String>,
    },
    /// The route would contradict itself, or name what the policy does not have.
    #[error("route `{name}`: {problem}; {help}")]
    Contradiction {
        /// The route.
        name: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        help: String,
    },
    /// No more routes fit.
    #[error("the policy is full: {} routes are the most", MAX_ROUTES - 1)]
    Full,
}

impl Policy {
    /// The route with this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn route(&self, name: &str) -> Result<&Route, EditError> {
        self.index_of(name).map(|index| &self.routes[index])
    }

    /// Adds a route.
    ///
    /// # Errors
    /// If its name is taken, the route beside it does not exist, it contradicts itself, it names labels,
    /// limits or a pool that the policy does not have, or the policy is full.
    pub fn add_route(&mut self, route: Route, position: &Position) -> Result<(), EditError> {
        if self.routes.iter().any(|other| other.name == route.name) {
            return Err(EditError::NameExists { name: route.name });
        }
        if self.routes.len() + 1 >= MAX_ROUTES {
            return Err(EditError::Full);
        }
        sensible(&route)?;
        self.has_what_it_names(&route, 0)?;
        let index = match position {
            Position::First => 0,
            Position::Last => self.routes.len(),
            Position::Before(name) => self.index_of(name)?,
            Position::After(name) => self.index_of(name)? + 1,
        };
        self.routes.insert(index, route);
        Ok(())
    }

    /// Changes a route in its place.
    ///
    /// # Errors
    /// If there is no such route, or it would contradict itself or name what the policy does not have.
    pub fn set_route(&mut self, name: &str, patch: &RoutePatch) -> Result<(), EditError> {
        let index = self.index_of(name)?;
        let mut route = self.routes[index].clone();
        patch.apply(&mut route);
        sensible(&route)?;
        self.has_what_it_names(&route, self.routes[index].own_limits())?;
        self.routes[index] = route;
        Ok(())
    }

    /// Takes a route out and returns it.
    ///
    /// # Errors
    /// If there is no such route.
    pub fn delete_route(&mut self, name: &str) -> Result<Route, EditError> {
        let index = self.index_of(name)?;
        Ok(self.routes.remove(index))
    }

    /// Whether the labels and limits that a route names exist, and its own limits fit in; `replaced`
    /// limits go for them.
    fn has_what_it_names(&self, route: &Route, replaced: usize) -> Result<(), EditError> {
        let wrong = |problem: String, help: String| {
            Err(EditError::Contradiction { name: route.name.clone(), problem, help })
        };
        let known = self.labels.keys().map(String::as_str);
        if let Some(label) = labels_of(&route.matches).find(|label| !self.labels.contains_key(*label)) {
            let help = did_you_mean(label, known, || {
                "write it under `labels` and apply the policy first".to_owned()
            });
            return wrong(format!("there is no label `{label}`"), help);
        }
        let named = route.limits.iter().filter_map(|limit| match limit {
            RouteLimit::Named(name) => Some(name),
            RouteLimit::Own(_) => None,
        });
        for limit in named {
            if !self.limits.contains_key(limit) {
                let help = did_you_mean(limit, self.limits.keys().map(String::as_str), || {
                    "write it under `limits` and apply the policy first".to_owned()
                });
                return wrong(format!("there is no limit `{limit}`"), help);
            }
        }
        if let Action::Pool { pool: name, targets } = &route.action {
            let Some(pool) = self.pools.get(name) else {
                let help = did_you_mean(name, self.pools.keys().map(String::as_str), || {
                    "write it under `pools` and apply the policy first".to_owned()
                });
                return wrong(format!("there is no pool `{name}`"), help);
            };
            if pool.selected(targets).next().is_none() {
                let (problem, help) =
                    none_selected(name, pool.targets.values().map(|target| &target.labels), targets);
                return wrong(problem, help);
            }
        }
        let own: usize = self.routes.iter().map(Route::own_limits).sum();
        if self.limits.len() + own + route.own_limits() >= MAX_LIMITS + replaced {
            let help = format!("{} are the most: let routes share named ones", MAX_LIMITS - 1);
            return wrong("no more limits fit in the policy".to_owned(), help);
        }
        Ok(())
    }

    fn index_of(&self, name: &str) -> Result<usize, EditError> {
        self.routes.iter().position(|route| route.name == name).ok_or_else(|| EditError::NoSuchRoute {
            name: name.to_owned(),
            suggestion: closest(name, self.routes.iter().map(|route| route.name.as_str())).map(str::to_owned),
        })
    }
}

/// The labels that a match names, those in `not` among them.
fn labels_of(matches: &Match) -> impl Iterator<Item = &str> {
    let tests = matches.labels.iter().chain(matches.not.iter().filter_map(|not| not.labels.as_ref()));
    tests.flat_map(|test| &test.names).map(String::as_str)
}

fn sensible(route: &Route) -> Result<(), EditError> {
    match problems(route).into_iter().find(|problem| problem.severity == Severity::Error) {
        Some(problem) => Err(EditError::Contradiction {
            name: route.name.clone(),
            problem: problem.message,
            help: problem.help,
        }),
        None => Ok(()),
    }
}
