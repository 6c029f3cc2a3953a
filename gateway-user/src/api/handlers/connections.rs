//! `/v1/connections`.

use super::blocking;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::api::server::Shared;
use crate::api::types::{ConnectionList, ConnectionQuery, ErrorBody};
use axum::Json;
use axum::extract::State;

/// Most connections in an answer.
const LIMIT_MAX: u32 = 10_000;
/// How many, unless told.
const LIMIT: u32 = 100;

/// Connections of pools that translate, those that began last first.
#[utoipa::path(get, path = "/v1/connections", tag = "connections", operation_id = "connection_list",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 10000; 100 if left out"),
        ("route" = Option<String>, Query, description = "only those that came by this route"),
        ("pool" = Option<String>, Query, description = "only those to targets of this pool"),
        ("target" = Option<String>, Query, description = "only those to this target, `web/v2`"),
        ("client" = Option<String>, Query, description = "only those of clients in this prefix"),
    ),
    responses(
        (status = 200, body = ConnectionList),
        (status = 400, body = ErrorBody, description = "bad_request"),
        (status = 404, body = ErrorBody, description = "no_such_route, no_such_pool, no_such_target"),
    ),
)]
pub async fn list(
    State(shared): State<Shared>,
    Params(query): Params<ConnectionQuery>,
) -> Result<Json<ConnectionList>, ApiError> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::BadRequest { message: format!("`limit` is 1 to {LIMIT_MAX}") });
    }
    blocking(&shared, move |governor| governor.connection_list(&query, limit as usize)).await.map(Json)
}
