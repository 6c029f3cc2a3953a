//! Tracked connections.

use super::Counts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The query of `GET /v1/connections`; all that is named must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionQuery {
    /// Most connections to answer with: 1 to 10,000; 100 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those that came by this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Only those to targets of this pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Only those to this target: `web/v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only those of clients in this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// `GET /v1/connections`: connections of pools that translate, those that began last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionList {
    /// The connections.
    pub connections: Vec<ConnectionInfo>,
    /// How many there are that were asked for, shown or not.
    pub matched: u64,
    /// How many there are.
    pub all: u64,
    /// How many there can be.
    pub max: u64,
}

/// A tracked connection. Ports are left out where a protocol has none; of ICMP echo the client's is the
/// identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionInfo {
    /// 4 or 6.
    pub family: u8,
    /// Name or number.
    pub protocol: String,
    /// Who began it.
    pub client: String,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
    /// Whom it asked for.
    pub service: String,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_port: Option<u16>,
    /// Who answers: `web/v2`.
    pub target_name: String,
    /// Its address.
    pub target: String,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
    /// What the target takes for the client, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// How far it is.
    pub state: ConnectionState,
    /// How long ago it began, milliseconds, exact to 1.1 s.
    pub age_ms: u64,
    /// When it is over if nothing more is heard, milliseconds from now, exact to 1.1 s.
    pub left_ms: u64,
    /// What the client sent; bytes as they were received.
    pub sent: Counts,
    /// What the target sent.
    pub returned: Counts,
    /// The route that it came by.
    pub route: String,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Only the client was heard.
    HalfOpen,
    /// The target answered; of TCP, the client has not confirmed.
    Answered,
    /// Both were heard.
    Open,
    /// Ended by both, or reset.
    Closing,
}

impl ConnectionState {
    /// Its name in answers and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ConnectionState::HalfOpen => "half_open",
            ConnectionState::Answered => "answered",
            ConnectionState::Open => "open",
            ConnectionState::Closing => "closing",
        }
    }
}
