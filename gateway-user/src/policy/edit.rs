//! Changes of single routes.

use super::diagnostics::Severity;
use super::patch::RoutePatch;
use super::sense::problems;
use super::suggest::closest;
use super::{Policy, Route};
use gateway_common::abi::MAX_ROUTES;
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
    /// The route would contradict itself.
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
    /// If its name is taken, the route beside it does not exist, it contradicts itself or the
    /// policy is full.
    pub fn add_route(&mut self, route: Route, position: &Position) -> Result<(), EditError> {
        if self.routes.iter().any(|other| other.name == route.name) {
            return Err(EditError::NameExists { name: route.name });
        }
        if self.routes.len() + 1 >= MAX_ROUTES {
            return Err(EditError::Full);
        }
        sensible(&route)?;
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
    /// If there is no such route, or it would contradict itself.
    pub fn set_route(&mut self, name: &str, patch: &RoutePatch) -> Result<(), EditError> {
        let index = self.index_of(name)?;
        let mut route = self.routes[index].clone();
        patch.apply(&mut route);
        sensible(&route)?;
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

    fn index_of(&self, name: &str) -> Result<usize, EditError> {
        self.routes.iter().position(|route| route.name == name).ok_or_else(|| EditError::NoSuchRoute {
            name: name.to_owned(),
            suggestion: closest(name, self.routes.iter().map(|route| route.name.as_str())).map(str::to_owned),
        })
    }
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
