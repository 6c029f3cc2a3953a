//! The control API: HTTP with JSON on a Unix socket.
//!
//! Reading is for everybody who can open the socket (mode 0660: its owner and its group); changing
//! is for root and the daemon's own user, told by the peer's credentials. Every answer other than
//! 2xx carries an [`types::ErrorBody`]. `curl --unix-socket /run/gateway/gateway.sock
//! http://gateway/v1/status` is a client.
//!
//! Names in `[]` are query parameters. Writes all take `[base_generation]` (409 `generation_moved`
//! if the live generation is another one) and `[dry_run=true]` (everything but the flip), and answer
//! 403 `forbidden` to peers that may only read.
//!
//! | method | path | body | answer | errors besides 500 `internal` |
//! |---|---|---|---|---|
//! | GET | `/v1/status` | | [`types::Status`] | |
//! | GET | `/v1/policy` | | [`types::PolicyDocument`] | 404 `no_policy`, 409 `unknown_policy` |
//! | PUT | `/v1/policy` `[source]` | YAML (`text/yaml`) | [`types::ApplyReport`] | 409, 413 `too_large`, 422 (below) |
//! | POST | `/v1/policy/check` `[source]` | YAML | [`types::CheckReport`] | 413, 422 |
//! | POST | `/v1/policy/diff` `[source]` | YAML | [`types::DiffReport`] | 413, 422 `invalid_policy` |
//! | GET | `/v1/routes` | | [`types::RouteList`] | |
//! | POST | `/v1/routes` | [`types::AddRoute`] | [`types::ApplyReport`] | 409 `route_exists`, 422 |
//! | GET | `/v1/routes/{name}` | | [`types::RouteInfo`] | 404 `no_such_route` |
//! | PUT | `/v1/routes/{name}` | [`types::RouteSpec`] | [`types::ApplyReport`] | 422; adds it last if it is new |
//! | PATCH | `/v1/routes/{name}` | [`types::RoutePatch`] | [`types::ApplyReport`] | 404, 422 |
//! | DELETE | `/v1/routes/{name}` | | [`types::ApplyReport`] | 404 |
//! | GET | `/v1/labels` | | [`types::LabelList`] | |
//! | GET | `/v1/labels/{name}` `[limit]` | | [`types::LabelInfo`] | 404 `no_such_label` |
//! | POST | `/v1/labels/{name}/members` | [`types::AddMembers`] | [`types::MemberReport`] | 404, 422 (below) |
//! | DELETE | `/v1/labels/{name}/members` `[prefix (again for more), all]` | | [`types::MemberReport`] | 404 `no_such_member` |
//! | GET | `/v1/flows` `[limit, by, route]` | | [`types::FlowList`] | 400 `bad_request` |
//! | GET | `/v1/flows/top` `[limit, by, route]` | | [`types::FlowList`] | 400; `by=bytes` unless told |
//! | GET | `/v1/talkers` `[limit, by, group]` | | [`types::TalkerList`] | 400 |
//! | GET | `/v1/limits` | | [`types::LimitList`] | 409 `unknown_policy` |
//! | GET | `/v1/limits/{name}` `[limit]` | | [`types::LimitDetail`] | 400, 404 `no_such_limit`, 409 |
//! | DELETE | `/v1/limits/{name}/keys` `key` | | [`types::ForgiveReport`] | 404, 409, 422 `invalid_key` |
//! | GET | `/v1/pools` | | [`types::PoolList`] | 409 |
//! | GET | `/v1/pools/{name}` | | [`types::PoolInfo`] | 404 `no_such_pool`, 409 |
//! | PUT | `/v1/pools/{pool}/targets/{target}/weight` | [`types::TargetWeight`] | [`types::PoolInfo`] | 404 `no_such_target`, 409, 422 |
//! | PUT | `/v1/pools/{pool}/targets/{target}/state` | [`types::SetTargetState`] | [`types::PoolInfo`] | 404, 409, 422 `not_tracked` |
//! | GET | `/v1/connections` `[limit, route, pool, target, client]` | | [`types::ConnectionList`] | 400, 404 |
//! | GET | `/v1/events` `[limit, alerts]` | | [`types::EventList`] | 400 |
//! | GET | `/v1/events/follow` | | [`types::Event`] a line, `application/x-ndjson`, without end | |
//! | GET | `/v1/interfaces` | | [`types::InterfaceList`] | |
//! | POST | `/v1/detach` | | [`types::DetachReport`] | 403 |
//! | GET | `/openapi.json` | | the OpenAPI 3.1 document | |
//!
//! 422 is `invalid_policy` with diagnostics (a document, or the route of a request), `invalid_route`
//! (it would contradict itself), `not_compilable`, `no_slot` or `arena_full`. Changes of single routes
//! answer 409 `unknown_policy` where the live policy was found in the kernel and not in the store.
//! Members of labels are no part of the policy: changes of them take neither `base_generation` nor
//! `dry_run`, and are refused with 422 `too_many_labels`, `members_full` or `member_lengths` where the
//! kernel's table cannot hold them.
//! A policy that was changed route by route is written anew, without the comments of its document.
//!
//! Anything else: 404 `not_found` or 405 `method_not_allowed`.

mod error;
mod extract;
mod follow;
mod handlers;
mod listener;
mod openapi;
mod peer;
mod server;
pub mod types;

pub use error::ApiError;
pub use listener::{ControlListener, ControlSocket, ListenError};
pub use openapi::document as openapi;
pub use peer::Peer;
pub use server::serve;
