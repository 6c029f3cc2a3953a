//! `/v1/flows`, `/v1/events`.

use super::blocking;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::api::server::Shared;
use crate::api::types::{
    ErrorBody, EventList, EventQuery, FlowList, FlowOrder, FlowQuery, TalkerGroup, TalkerList, TalkerOrder,
    TalkerQuery,
};
use axum::Json;
use axum::extract::State;

/// Most flows or events in an answer.
const LIMIT_MAX: u32 = 10_000;
/// How many, unless told.
const LIMIT_LIST: u32 = 100;
/// How many of the greatest, unless told.
const LIMIT_TOP: u32 = 10;

/// Flows, those seen last first unless told otherwise.
#[utoipa::path(get, path = "/v1/flows", tag = "flows", operation_id = "flow_list",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 10000; 100 if left out"),
        ("by" = Option<FlowOrder>, Query, description = "`last` if left out"),
        ("route" = Option<String>, Query, description = "only flows that this route decided"),
    ),
    responses(
        (status = 200, body = FlowList),
        (status = 400, body = ErrorBody, description = "bad_request"),
        (status = 404, body = ErrorBody, description = "no_such_route"),
    ),
)]
pub async fn flows(
    State(shared): State<Shared>,
    Params(query): Params<FlowQuery>,
) -> Result<Json<FlowList>, ApiError> {
    list(&shared, query, LIMIT_LIST, FlowOrder::Last).await
}

/// The greatest flows.
#[utoipa::path(get, path = "/v1/flows/top", tag = "flows", operation_id = "flow_top",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 10000; 10 if left out"),
        ("by" = Option<FlowOrder>, Query, description = "`bytes` if left out"),
        ("route" = Option<String>, Query, description = "only flows that this route decided"),
    ),
    responses(
        (status = 200, body = FlowList),
        (status = 400, body = ErrorBody, description = "bad_request"),
        (status = 404, body = ErrorBody, description = "no_such_route"),
    ),
)]
pub async fn top(
    State(shared): State<Shared>,
    Params(query): Params<FlowQuery>,
) -> Result<Json<FlowList>, ApiError> {
    list(&shared, query, LIMIT_TOP, FlowOrder::Bytes).await
}

/// The newest sampled packets and alerts.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "event_list",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 10000; 100 if left out"),
        ("alerts" = Option<bool>, Query, description = "alerts alone, without sampled packets"),
    ),
    responses(
        (status = 200, body = EventList),
        (status = 400, body = ErrorBody, description = "bad_request"),
    ),
)]
pub async fn events(
    State(shared): State<Shared>,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventList>, ApiError> {
    let limit = limit(query.limit, LIMIT_LIST)?;
    blocking(&shared, move |governor| Ok(governor.event_list(limit, query.alerts))).await.map(Json)
}

/// The sources that sent most in the last one to two minutes.
#[utoipa::path(get, path = "/v1/talkers", tag = "flows", operation_id = "talker_list",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 10000; 10 if left out"),
        ("by" = Option<TalkerOrder>, Query, description = "`bytes` if left out"),
        ("group" = Option<TalkerGroup>, Query, description = "`address` if left out"),
    ),
    responses(
        (status = 200, body = TalkerList),
        (status = 400, body = ErrorBody, description = "bad_request"),
    ),
)]
pub async fn talkers(
    State(shared): State<Shared>,
    Params(query): Params<TalkerQuery>,
) -> Result<Json<TalkerList>, ApiError> {
    let limit = limit(query.limit, LIMIT_TOP)?;
    blocking(&shared, move |governor| governor.talker_list(&query, limit)).await.map(Json)
}

async fn list(
    shared: &Shared,
    query: FlowQuery,
    usual: u32,
    order: FlowOrder,
) -> Result<Json<FlowList>, ApiError> {
    let limit = limit(query.limit, usual)?;
    let order = query.by.unwrap_or(order);
    blocking(shared, move |governor| governor.flow_list(&query, order, limit)).await.map(Json)
}

/// How many to answer with.
pub(super) fn limit(asked: Option<u32>, usual: u32) -> Result<usize, ApiError> {
    match asked.unwrap_or(usual) {
        limit @ 1..=LIMIT_MAX => Ok(limit as usize),
        other => {
            let message = format!("`limit` is {other}, but must be from 1 to {LIMIT_MAX}");
            Err(ApiError::BadRequest { message })
        }
    }
}
