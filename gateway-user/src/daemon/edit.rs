//! Changes of single routes.

use super::{GovernError, report, spec};
use crate::api::types::{self, RoutePatch, RouteSpec};
use crate::policy::{Default, EditError, Policy, Position};

/// A change of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A new route.
    Add {
        /// The route.
        route: Box<RouteSpec>,
        /// Where it goes.
        position: types::Position,
    },
    /// A route in the place of the one with its name, or behind all others if there is none.
    Put {
        /// The route.
        route: Box<RouteSpec>,
    },
    /// Parts of a route.
    Patch {
        /// Its name.
        name: String,
        /// What changes.
        patch: Box<RoutePatch>,
    },
    /// A route is taken out.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What a first route is added to where no policy is live: it changes nothing for other packets.
#[must_use]
pub fn empty_policy() -> Policy {
    Policy::new(Vec::new(), Default::Pass)
}

impl Edit {
    /// What the resulting policy is said to come from.
    #[must_use]
    pub fn source(&self) -> String {
        match self {
            Edit::Add { route, .. } => format!("route add {}", route.name),
            Edit::Put { route } => format!("route set {}", route.name),
            Edit::Patch { name, .. } => format!("route set {name}"),
            Edit::Delete { name } => format!("route delete {name}"),
        }
    }

    /// Makes the change.
    ///
    /// # Errors
    /// Where the route is wrong, its name taken, or the one to change does not exist.
    pub fn apply(self, mut policy: Policy) -> Result<Policy, GovernError> {
        let invalid = |found| report::invalid("the request", &found);
        match self {
            Edit::Add { route, position } => {
                policy.add_route(spec::route(&route).map_err(invalid)?, &place(position))?;
            }
            Edit::Put { route } => {
                let route = spec::route(&route).map_err(invalid)?;
                match policy.routes.iter().position(|other| other.name == route.name) {
                    None => policy.add_route(route, &Position::Last)?,
                    Some(0) => {
                        policy.routes.remove(0);
                        policy.add_route(route, &Position::First)?;
                    }
                    Some(index) => {
                        policy.routes.remove(index);
                        let before = policy.routes[index - 1].name.clone();
                        policy.add_route(route, &Position::After(before))?;
                    }
                }
            }
            Edit::Patch { name, patch } => {
                // Found out first, so that a wrong name is told even where nothing else is asked.
                policy.route(&name)?;
                if let Some(change) = spec::patch(&patch).map_err(invalid)? {
                    policy.set_route(&name, &change)?;
                }
                if let Some(position) = patch.position {
                    move_route(&mut policy, &name, &place(position))?;
                }
            }
            Edit::Delete { name } => {
                policy.delete_route(&name)?;
            }
        }
        Ok(policy)
    }
}

fn move_route(policy: &mut Policy, name: &str, position: &Position) -> Result<(), EditError> {
    // Beside itself is where it is.
    if matches!(position, Position::Before(other) | Position::After(other) if other == name) {
        return Ok(());
    }
    let route = policy.delete_route(name)?;
    policy.add_route(route, position)
}

fn place(position: types::Position) -> Position {
    match position {
        types::Position::First => Position::First,
        types::Position::Last => Position::Last,
        types::Position::Before(name) => Position::Before(name),
        types::Position::After(name) => Position::After(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{ActionSpec, MatchSpec, PlainAction};

    fn route(name: &str, action: ActionSpec) -> RouteSpec {
        let matches = MatchSpec { protocol: Some(vec!["tcp".into()]), ..MatchSpec::default() };
        RouteSpec { matches, ..RouteSpec::new(name, action) }
    }

    fn add(policy: Policy, name: &str, position: types::Position) -> Result<Policy, GovernError> {
        Edit::Add { route: Box::new(route(name, ActionSpec::Plain(PlainAction::Pass))), position }
            .apply(policy)
    }

    fn names(policy: &Policy) -> Vec<&str> {
        policy.routes.iter().map(|route| route.name.as_str()).collect()
    }

    #[test]
    fn routes_are_added_replaced_moved_and_deleted() {
        let policy = add(empty_policy(), "b", types::Position::Last).unwrap();
        let policy = add(policy, "a", types::Position::First).unwrap();
        let policy = add(policy, "c", types::Position::After("b".into())).unwrap();
        assert_eq!(names(&policy), ["a", "b", "c"]);
        assert!(matches!(
            add(policy.clone(), "b", types::Position::Last),
            Err(GovernError::Edit(EditError::NameExists { .. }))
        ));

        let mut policy = policy;
        for name in ["a", "b", "c", "d"] {
            policy = Edit::Put { route: Box::new(route(name, ActionSpec::Plain(PlainAction::Drop))) }
                .apply(policy)
                .unwrap();
        }
        assert_eq!(names(&policy), ["a", "b", "c", "d"]);
        assert!(policy.routes.iter().all(|route| route.action == crate::policy::Action::Drop));

        let patch = RoutePatch {
            mark: Some(9),
            position: Some(types::Position::Before("a".into())),
            ..RoutePatch::default()
        };
        let patch = |name: &str| Edit::Patch { name: name.into(), patch: Box::new(patch.clone()) };
        let policy = patch("d").apply(policy).unwrap();
        assert_eq!(names(&policy), ["d", "a", "b", "c"]);
        assert_eq!(policy.routes[0].mark, Some(9));
        assert_eq!(names(&patch("a").apply(policy.clone()).unwrap()), ["d", "a", "b", "c"]);
        assert!(matches!(
            patch("x").apply(policy.clone()),
            Err(GovernError::Edit(EditError::NoSuchRoute { .. }))
        ));

        let policy = Edit::Delete { name: "a".into() }.apply(policy).unwrap();
        assert_eq!(names(&policy), ["d", "b", "c"]);
    }

    #[test]
    fn a_wrong_route_is_refused_with_its_diagnostics() {
        let mut bad = route("bad", ActionSpec::Plain(PlainAction::Pass));
        bad.matches.port = Some(vec!["99999".into()]);
        let error = Edit::Put { route: Box::new(bad) }.apply(empty_policy()).unwrap_err();
        assert!(
            matches!(error, GovernError::Invalid { errors: 1, diagnostics, .. } if diagnostics.len() == 1)
        );
    }
}
