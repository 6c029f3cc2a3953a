//! `/v1/status`, `/v1/interfaces`, `/v1/detach`.

use super::blocking;
use crate::api::error::ApiError;
use crate::api::peer::Changer;
use crate::api::server::Shared;
use crate::api::types::{DetachReport, ErrorBody, InterfaceList, Status};
use crate::daemon::Governor;
use axum::Json;
use axum::extract::State;

/// All in short.
#[utoipa::path(get, path = "/v1/status", tag = "node", operation_id = "status",
    responses((status = 200, body = Status)))]
pub async fn status(State(shared): State<Shared>) -> Result<Json<Status>, ApiError> {
    blocking(&shared, Governor::status).await.map(Json)
}

/// Interfaces with their counters.
#[utoipa::path(get, path = "/v1/interfaces", tag = "node", operation_id = "interfaces",
    responses((status = 200, body = InterfaceList)))]
pub async fn interfaces(State(shared): State<Shared>) -> Result<Json<InterfaceList>, ApiError> {
    blocking(&shared, |governor| Ok(governor.interface_list())).await.map(Json)
}

/// Takes the programs off every interface and ends the daemon. Nothing else ever takes them off.
#[utoipa::path(post, path = "/v1/detach", tag = "node", operation_id = "detach", responses(
    (status = 200, body = DetachReport),
    (status = 403, body = ErrorBody, description = "forbidden"),
))]
pub async fn detach(_: Changer, State(shared): State<Shared>) -> Result<Json<DetachReport>, ApiError> {
    blocking(&shared, |governor| Ok(DetachReport { interfaces: governor.detach()? })).await.map(Json)
}
