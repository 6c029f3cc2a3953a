//! Limits, and the keys that they keep.

use super::Counts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/limits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitList {
    /// The live generation, 0 if there is none.
    pub generation: u32,
    /// The limits of the live policy: the named ones, then each route's own and its SYN cookies'.
    pub limits: Vec<LimitInfo>,
    /// The tables that all limits share.
    pub tables: LimitTables,
}

/// A limit, and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitInfo {
    /// Its name; of a route's own limit the route's, a `/`, and its place from 1 (`web/1`); of its SYN
    /// cookies `web/syn`.
    pub name: String,
    /// Routes that name it, in their order.
    pub routes: Vec<String>,
    /// In short: `1kpps burst 2k per source`.
    pub text: String,
    /// What it says.
    #[serde(flatten)]
    pub terms: LimitTerms,
    /// Within the limit.
    pub admitted: Counts,
    /// Over it, whatever was done with them.
    pub refused: Counts,
    /// Of one bucket: how much of the burst is used now, thousandths; above 1,000 after a packet that was
    /// dearer than the whole bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_permille: Option<u64>,
    /// Of open connections: how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    /// Keys whose bucket is not full, banned ones among them.
    pub keys: u32,
    /// Keys that are banned.
    pub banned: u32,
    /// Keys that lost their bucket while in debt, because the table was full.
    pub evicted: u64,
    /// Bans so far.
    pub bans: u64,
    /// Of SYN cookies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_cookies: Option<SynCookieInfo>,
}

/// What a limit says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitTerms {
    /// `packets`, `bytes`, `new_connections`, `connections`, or `syns` of SYN cookies.
    pub unit: String,
    /// So many of these a second; left out where they are open at once, or cookies are always asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_sec: Option<u64>,
    /// So many at once, beyond the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// So many open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// Whose packets share a bucket: `route`, `source`, `destination` or `label`.
    pub per: String,
    /// Bits of an IPv4 address that are a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_prefix: Option<u8>,
    /// Bits of an IPv6 address that are a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_prefix: Option<u8>,
    /// What happens to what goes over: `drop`, `demote`, `count`, or `cookie`.
    pub over: String,
    /// DSCP of what goes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_dscp: Option<u8>,
    /// skb mark of what goes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_mark: Option<u32>,
    /// How long a key is banned, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban_secs: Option<u64>,
    /// After so many refusals since its bucket was last full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban_after: Option<u16>,
}

/// SYN cookies of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SynCookieInfo {
    /// Whether they are asked for now.
    pub under_attack: bool,
    /// They are asked for at least as long as this from now, milliseconds; left out if always or not at
    /// all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// Cookies sent.
    pub sent: u64,
    /// Cookies that came back.
    pub proven: u64,
    /// Sources that need not show one now.
    pub sources: u32,
}

/// The tables that all limits share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitTables {
    /// Places for keys that hold one, in debt or not.
    pub keys: u64,
    /// Keys in debt: the rest give way at once.
    pub keys_in_debt: u64,
    /// Places for keys.
    pub keys_max: u64,
    /// Keys that lost their bucket while in debt.
    pub keys_evicted: u64,
    /// Open connections that are counted.
    pub connections: u64,
    /// Places for open connections.
    pub connections_max: u64,
    /// Connections that found no place, and were refused.
    pub connections_refused: u64,
    /// Packets refused because too many CPUs changed their limit at once.
    pub contended: u64,
}

/// The query of `GET /v1/limits/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitQuery {
    /// Most keys to answer with: 1 to 10,000; 20 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `GET /v1/limits/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitDetail {
    /// The limit.
    #[serde(flatten)]
    pub limit: LimitInfo,
    /// Its keys, the banned ones first, then the most indebted; as many as asked for.
    pub top: Vec<LimitKey>,
}

/// A key of a limit, its bucket not full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitKey {
    /// Address or prefix; of a limit by label the labels, as in `a+b`, `(none)` without one, `(other)` of
    /// a set of labels that the policy does not hold any more, or of more labels than can be named.
    pub key: String,
    /// How much of the burst is used, thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_permille: Option<u64>,
    /// Its bucket is full again in so many milliseconds, if nothing comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_in_ms: Option<u64>,
    /// Connections it has open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    /// It is banned for so many milliseconds yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banned_ms: Option<u64>,
    /// It has shown a SYN cookie, and need not for so many milliseconds yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_ms: Option<u64>,
}

/// The query of `DELETE /v1/limits/{name}/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgiveQuery {
    /// The key: an address, or a prefix of the limit's length; several with commas.
    pub key: String,
}

/// `DELETE /v1/limits/{name}/keys`: buckets filled up, bans ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgiveReport {
    /// Keys that were in debt or banned, and are not any more.
    pub forgiven: Vec<String>,
    /// Keys that were neither.
    pub unknown: Vec<String>,
}
