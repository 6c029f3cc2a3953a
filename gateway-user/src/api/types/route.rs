//! Routes.

use super::{Counts, LimitUse, MatchSpec, SynCookiesSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A route, in the policy's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Unique in the policy. May be left out where the path names it.
    #[serde(default)]
    pub name: String,
    /// All named components must hold.
    #[serde(default, rename = "match")]
    pub matches: MatchSpec,
    /// Limits, in order; empty or left out is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Vec<LimitUse>>,
    /// SYN cookies; left out is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_cookies: Option<SynCookiesSpec>,
    /// skb mark; 0 or left out is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// skb priority; 0 or left out is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// DSCP that is written, a name or a number; left out is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<String>,
    /// What is done.
    pub action: ActionSpec,
}

impl RouteSpec {
    /// A route that matches every IP packet.
    #[must_use]
    pub fn new(name: impl Into<String>, action: ActionSpec) -> RouteSpec {
        RouteSpec {
            name: name.into(),
            matches: MatchSpec::default(),
            limit: None,
            syn_cookies: None,
            mark: None,
            priority: None,
            dscp: None,
            action,
        }
    }
}

/// An action: `"pass"`, `"drop"`, `"tx"`, `{"redirect": "eth1"}`, `{"proxy": 15001}`, `{"pool": "web"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ActionSpec {
    /// One that says all in a word or under one key.
    Plain(PlainAction),
    /// To a target of a pool.
    Pool(PoolUse),
}

/// An action that says all in a word or under one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlainAction {
    /// To the stack.
    Pass,
    /// Dropped.
    Drop,
    /// Back out of the interface it came from.
    Tx,
    /// Out of the named interface.
    Redirect(String),
    /// To the socket of this node that listens on this port.
    Proxy(u16),
}

impl ActionSpec {
    /// To any target of a pool.
    #[must_use]
    pub fn pool(name: impl Into<String>) -> ActionSpec {
        ActionSpec::Pool(PoolUse { pool: name.into(), targets: BTreeMap::new() })
    }
}

/// A pool as a route names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolUse {
    /// Its name.
    pub pool: String,
    /// Labels that its target must have; left out, any will do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, String>,
}

/// `POST /v1/routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRoute {
    /// The new route, with its name.
    pub route: RouteSpec,
    /// Where; `last` if left out.
    #[serde(default)]
    pub position: Position,
}

/// A place among the routes: `"first"`, `"last"`, `{"before": "web"}` or `{"after": "web"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// Before all others.
    First,
    /// Behind all others.
    #[default]
    Last,
    /// Right before the named one.
    Before(String),
    /// Right behind the named one.
    After(String),
}

/// `PATCH /v1/routes/{name}`: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutePatch {
    /// Components to replace; an empty list takes the component away.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<MatchSpec>,
    /// All limits; an empty list takes them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Vec<LimitUse>>,
    /// SYN cookies; "none" takes them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_cookies: Option<SynCookiesSpec>,
    /// 0 takes the mark away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// 0 takes the priority away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// DSCP that is written; "none" writes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<String>,
    /// What is done from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionSpec>,
    /// Moves the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// `GET /v1/routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteList {
    /// The live generation, 0 if none.
    pub generation: u32,
    /// In order: the first that matches decides.
    pub routes: Vec<RouteInfo>,
    /// Packets that no route decided, by why: `default`, `not_ip`, `malformed`, `no_policy`.
    pub others: BTreeMap<String, Counts>,
}

/// A live route with its counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteInfo {
    /// Its place, from 1.
    pub position: u32,
    /// The route.
    #[serde(flatten)]
    pub route: RouteSpec,
    /// What it matches, in words: `from 10.0.0.0/8 protocol tcp port 80,443`; `any` if all.
    pub match_text: String,
    /// What it does, in words: `pass`, `redirect eth1`, `pool web version=v2`.
    pub action_text: String,
    /// Packets and bytes that it decided, for as long as its name has been known.
    #[serde(flatten)]
    pub counts: Counts,
}
