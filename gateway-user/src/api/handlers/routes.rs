//! `/v1/routes`.

use super::blocking;
use crate::api::error::ApiError;
use crate::api::extract::{JsonBody, Params};
use crate::api::peer::Changer;
use crate::api::server::Shared;
use crate::api::types::{
    AddRoute, ApplyReport, ChangeQuery, ErrorBody, RouteInfo, RouteList, RoutePatch, RouteSpec,
};
use crate::daemon::{Change, Edit, Governor};
use axum::Json;
use axum::extract::{Path, State};

/// The live routes with their counters.
#[utoipa::path(get, path = "/v1/routes", tag = "routes", operation_id = "route_list", responses(
    (status = 200, body = RouteList),
    (status = 409, body = ErrorBody, description = "unknown_policy"),
))]
pub async fn list(State(shared): State<Shared>) -> Result<Json<RouteList>, ApiError> {
    blocking(&shared, Governor::route_list).await.map(Json)
}

/// One live route with its counters.
#[utoipa::path(get, path = "/v1/routes/{name}", tag = "routes", operation_id = "route_show",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = RouteInfo),
        (status = 404, body = ErrorBody, description = "no_such_route"),
    ),
)]
pub async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<RouteInfo>, ApiError> {
    blocking(&shared, move |governor| governor.route(&name)).await.map(Json)
}

/// Adds a route.
#[utoipa::path(post, path = "/v1/routes", tag = "routes", operation_id = "route_add",
    params(
        ("base_generation" = Option<u32>, Query, description = "refused if another generation is live"),
        ("dry_run" = Option<bool>, Query, description = "everything but making it live"),
    ),
    request_body = AddRoute,
    responses(
        (status = 200, body = ApplyReport),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 409, body = ErrorBody, description = "route_exists, generation_moved, unknown_policy"),
        (status = 422, body = ErrorBody, description = "invalid_policy, invalid_route, not_compilable"),
    ),
)]
pub async fn add(
    _: Changer,
    State(shared): State<Shared>,
    Params(query): Params<ChangeQuery>,
    JsonBody(AddRoute { route, position }): JsonBody<AddRoute>,
) -> Result<Json<ApplyReport>, ApiError> {
    edit(&shared, query, Edit::Add { route: Box::new(route), position }).await
}

/// Puts a route in the place of the one with its name, or behind all others.
#[utoipa::path(put, path = "/v1/routes/{name}", tag = "routes", operation_id = "route_put",
    params(
        ("name" = String, Path),
        ("base_generation" = Option<u32>, Query, description = "refused if another generation is live"),
        ("dry_run" = Option<bool>, Query, description = "everything but making it live"),
    ),
    request_body = RouteSpec,
    responses(
        (status = 200, body = ApplyReport),
        (status = 400, body = ErrorBody, description = "bad_request: body and path name two routes"),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 409, body = ErrorBody, description = "generation_moved, unknown_policy"),
        (status = 422, body = ErrorBody, description = "invalid_policy, invalid_route, not_compilable"),
    ),
)]
pub async fn put(
    _: Changer,
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Params(query): Params<ChangeQuery>,
    JsonBody(mut route): JsonBody<RouteSpec>,
) -> Result<Json<ApplyReport>, ApiError> {
    if !route.name.is_empty() && route.name != name {
        let message = format!("the path names route `{name}`, the body `{}`", route.name);
        return Err(ApiError::BadRequest { message });
    }
    route.name = name;
    edit(&shared, query, Edit::Put { route: Box::new(route) }).await
}

/// Changes parts of a route.
#[utoipa::path(patch, path = "/v1/routes/{name}", tag = "routes", operation_id = "route_set",
    params(
        ("name" = String, Path),
        ("base_generation" = Option<u32>, Query, description = "refused if another generation is live"),
        ("dry_run" = Option<bool>, Query, description = "everything but making it live"),
    ),
    request_body = RoutePatch,
    responses(
        (status = 200, body = ApplyReport),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 404, body = ErrorBody, description = "no_such_route"),
        (status = 409, body = ErrorBody, description = "generation_moved, unknown_policy"),
        (status = 422, body = ErrorBody, description = "invalid_policy, invalid_route, not_compilable"),
    ),
)]
pub async fn patch(
    _: Changer,
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Params(query): Params<ChangeQuery>,
    JsonBody(patch): JsonBody<RoutePatch>,
) -> Result<Json<ApplyReport>, ApiError> {
    edit(&shared, query, Edit::Patch { name, patch: Box::new(patch) }).await
}

/// Takes a route out. Its counters stay, and go on should it come back.
#[utoipa::path(delete, path = "/v1/routes/{name}", tag = "routes", operation_id = "route_delete",
    params(
        ("name" = String, Path),
        ("base_generation" = Option<u32>, Query, description = "refused if another generation is live"),
        ("dry_run" = Option<bool>, Query, description = "everything but making it live"),
    ),
    responses(
        (status = 200, body = ApplyReport),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 404, body = ErrorBody, description = "no_such_route"),
        (status = 409, body = ErrorBody, description = "generation_moved, unknown_policy"),
    ),
)]
pub async fn delete(
    _: Changer,
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Params(query): Params<ChangeQuery>,
) -> Result<Json<ApplyReport>, ApiError> {
    edit(&shared, query, Edit::Delete { name }).await
}

async fn edit(shared: &Shared, query: ChangeQuery, edit: Edit) -> Result<Json<ApplyReport>, ApiError> {
    blocking(shared, move |governor| governor.change(Change::Edit(edit), query.terms())).await.map(Json)
}
