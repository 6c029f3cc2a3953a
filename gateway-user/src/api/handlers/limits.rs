//! `/v1/limits`.

use super::blocking;
use super::telemetry::limit;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::api::peer::Changer;
use crate::api::server::Shared;
use crate::api::types::{ErrorBody, ForgiveQuery, ForgiveReport, LimitDetail, LimitList, LimitQuery};
use crate::daemon::Governor;
use axum::Json;
use axum::extract::{Path, State};

/// Keys in an answer, unless told.
const KEYS: u32 = 20;

/// The live policy's limits with their counters.
#[utoipa::path(get, path = "/v1/limits", tag = "limits", operation_id = "limit_list", responses(
    (status = 200, body = LimitList),
    (status = 409, body = ErrorBody, description = "unknown_policy"),
))]
pub async fn list(State(shared): State<Shared>) -> Result<Json<LimitList>, ApiError> {
    blocking(&shared, Governor::limit_list).await.map(Json)
}

/// One limit, and the keys that are banned or most in debt.
#[utoipa::path(get, path = "/v1/limits/{name}", tag = "limits", operation_id = "limit_show",
    params(
        ("name" = String, Path),
        ("limit" = Option<u32>, Query, description = "keys: 1 to 10000; 20 if left out"),
    ),
    responses(
        (status = 200, body = LimitDetail),
        (status = 400, body = ErrorBody, description = "bad_request"),
        (status = 404, body = ErrorBody, description = "no_such_limit"),
        (status = 409, body = ErrorBody, description = "unknown_policy"),
    ),
)]
pub async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Params(query): Params<LimitQuery>,
) -> Result<Json<LimitDetail>, ApiError> {
    let keys = limit(query.limit, KEYS)?;
    blocking(&shared, move |governor| governor.limit(&name, keys)).await.map(Json)
}

/// Fills the buckets of keys up, and so ends their bans.
#[utoipa::path(delete, path = "/v1/limits/{name}/keys", tag = "limits", operation_id = "limit_unban",
    params(
        ("name" = String, Path),
        ("key" = String, Query, description = "address, or prefix of the limit's length; several with commas"),
    ),
    responses(
        (status = 200, body = ForgiveReport),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 404, body = ErrorBody, description = "no_such_limit"),
        (status = 409, body = ErrorBody, description = "unknown_policy"),
        (status = 422, body = ErrorBody, description = "invalid_key"),
    ),
)]
pub async fn forgive(
    _: Changer,
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Params(query): Params<ForgiveQuery>,
) -> Result<Json<ForgiveReport>, ApiError> {
    blocking(&shared, move |governor| governor.forgive_keys(&name, &query.key)).await.map(Json)
}
