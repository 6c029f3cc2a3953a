//! What a route does beside its action: limits, SYN cookies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A limit of a route: the name of one of the policy's, or the route's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum LimitUse {
    /// A named limit.
    Named(String),
    /// The route's own.
    Own(LimitSpec),
}

/// A limit, in the policy's own words: a rate or a number of connections, for whom, and what happens
/// to the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// Packets ("1kpps"), bits ("50Mbit") or new connections ("2kcps") a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Connections open at once, in the place of a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Packets or connections at once ("2k"), or bytes ("64kB"); a tenth of a second's worth if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<String>,
    /// `route`, `source`, `destination` or `label`; `route` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// Bits of an IPv4 address that share a bucket; 32 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_prefix: Option<u8>,
    /// Bits of an IPv6 address that share a bucket; 128 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_prefix: Option<u8>,
    /// What happens to what goes over; it is dropped if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<OverSpec>,
    /// A key that goes over again and again is refused for some time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<BanSpec>,
}

/// What happens to what goes over: `"drop"`, `"count"` or `{"dscp": "cs1", "mark": 32}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OverSpec {
    /// `drop` or `count`.
    Word(String),
    /// It passes with another DSCP or mark.
    Demote(DemoteSpec),
}

/// Another DSCP or mark; at least one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DemoteSpec {
    /// DSCP: a name or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<String>,
    /// skb mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
}

/// When a key is banned, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BanSpec {
    /// How long: "10m".
    #[serde(rename = "for")]
    pub duration: String,
    /// After so many refused packets; 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u16>,
}

/// SYN cookies: `"always"` or `{"above": "2kcps", "hold": "10s"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SynCookiesSpec {
    /// `always`; in a change also `none`, which takes them away.
    Word(String),
    /// While the route is under attack.
    Above(AboveSpec),
}

/// When a route is under attack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AboveSpec {
    /// From so many SYNs a second: "2kcps".
    pub above: String,
    /// Until they have been below half of that for so long; "10s" if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}
