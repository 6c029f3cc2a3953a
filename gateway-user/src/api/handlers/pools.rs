//! `/v1/pools`.

use super::blocking;
use crate::api::error::ApiError;
use crate::api::extract::JsonBody;
use crate::api::peer::Changer;
use crate::api::server::Shared;
use crate::api::types::{ErrorBody, PoolInfo, PoolList, SetTargetState, TargetWeight};
use crate::daemon::Governor;
use axum::Json;
use axum::extract::{Path, State};

/// The live policy's pools, and what was sent to their targets.
#[utoipa::path(get, path = "/v1/pools", tag = "pools", operation_id = "pool_list", responses(
    (status = 200, body = PoolList),
    (status = 409, body = ErrorBody, description = "unknown_policy"),
))]
pub async fn list(State(shared): State<Shared>) -> Result<Json<PoolList>, ApiError> {
    blocking(&shared, Governor::pool_list).await.map(Json)
}

/// One pool.
#[utoipa::path(get, path = "/v1/pools/{name}", tag = "pools", operation_id = "pool_show",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = PoolInfo),
        (status = 404, body = ErrorBody, description = "no_such_pool"),
        (status = 409, body = ErrorBody, description = "unknown_policy"),
    ),
)]
pub async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<PoolInfo>, ApiError> {
    blocking(&shared, move |governor| governor.pool(&name)).await.map(Json)
}

/// Gives a target a weight in the place of the policy's; it stays across changes of policy, as long as
/// they have the target.
#[utoipa::path(put, path = "/v1/pools/{pool}/targets/{target}/weight", tag = "pools",
    operation_id = "target_set",
    params(("pool" = String, Path), ("target" = String, Path)),
    request_body = TargetWeight,
    responses(
        (status = 200, body = PoolInfo),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 404, body = ErrorBody, description = "no_such_pool, no_such_target"),
        (status = 409, body = ErrorBody, description = "unknown_policy"),
        (status = 422, body = ErrorBody, description = "not_compilable"),
    ),
)]
pub async fn set_weight(
    _: Changer,
    State(shared): State<Shared>,
    Path((pool, target)): Path<(String, String)>,
    JsonBody(weight): JsonBody<TargetWeight>,
) -> Result<Json<PoolInfo>, ApiError> {
    blocking(&shared, move |governor| governor.set_weight(&pool, &target, weight.weight)).await.map(Json)
}

/// Lets a target drain or end its connections, or take them as the policy says; it stays as a weight does.
#[utoipa::path(put, path = "/v1/pools/{pool}/targets/{target}/state", tag = "pools",
    operation_id = "target_state",
    params(("pool" = String, Path), ("target" = String, Path)),
    request_body = SetTargetState,
    responses(
        (status = 200, body = PoolInfo),
        (status = 400, body = ErrorBody, description = "bad_request"),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 404, body = ErrorBody, description = "no_such_pool, no_such_target"),
        (status = 409, body = ErrorBody, description = "unknown_policy"),
        (status = 422, body = ErrorBody, description = "not_tracked, not_compilable"),
    ),
)]
pub async fn set_state(
    _: Changer,
    State(shared): State<Shared>,
    Path((pool, target)): Path<(String, String)>,
    JsonBody(state): JsonBody<SetTargetState>,
) -> Result<Json<PoolInfo>, ApiError> {
    blocking(&shared, move |governor| governor.set_target_state(&pool, &target, state)).await.map(Json)
}
