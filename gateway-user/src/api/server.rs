//! The control API's router, and its life.

use super::error::ApiError;
use super::handlers::{connections, labels, limits, policy, pools, routes, state, telemetry};
use super::listener::ControlListener;
use super::peer::Peer;
use super::{follow, openapi};
use crate::daemon::{Course, Governor};
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Documents that are read and compiled at one time: each may need much memory and a whole CPU.
const DOCUMENTS_AT_ONCE: usize = 2;

/// What handlers share.
#[derive(Clone)]
pub struct Shared {
    /// The governor.
    pub governor: Arc<Governor>,
    /// Permits to read and compile a document.
    pub documents: Arc<Semaphore>,
}

/// Serves the control API until the daemon is to end and requests under way are answered.
pub async fn serve(governor: Arc<Governor>, listener: ControlListener) {
    let mut course = governor.course();
    let service = router(governor).into_make_service_with_connect_info::<Peer>();
    let ending = async move {
        // Without a sender there is no governor any more, which is an end as well.
        let _ = course.wait_for(|course| *course != Course::Govern).await;
    };
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(ending).await {
        tracing::error!(%error, "the control API ended");
    }
}

/// Every path.
fn router(governor: Arc<Governor>) -> Router {
    let shared = Shared { governor, documents: Arc::new(Semaphore::new(DOCUMENTS_AT_ONCE)) };
    Router::new()
        .route("/v1/status", get(state::status))
        .route("/v1/policy", get(policy::show).put(policy::apply))
        .route("/v1/policy/check", post(policy::check))
        .route("/v1/policy/diff", post(policy::diff))
        .route("/v1/routes", get(routes::list).post(routes::add))
        .route(
            "/v1/routes/{name}",
            get(routes::show).put(routes::put).patch(routes::patch).delete(routes::delete),
        )
        .route("/v1/limits", get(limits::list))
        .route("/v1/limits/{name}", get(limits::show))
        .route("/v1/limits/{name}/keys", delete(limits::forgive))
        .route("/v1/pools", get(pools::list))
        .route("/v1/pools/{name}", get(pools::show))
        .route("/v1/pools/{pool}/targets/{target}/weight", put(pools::set_weight))
        .route("/v1/pools/{pool}/targets/{target}/state", put(pools::set_state))
        .route("/v1/connections", get(connections::list))
        .route("/v1/talkers", get(telemetry::talkers))
        .route("/v1/labels", get(labels::list))
        .route("/v1/labels/{name}", get(labels::show))
        .route("/v1/labels/{name}/members", post(labels::add).delete(labels::delete))
        .route("/v1/flows", get(telemetry::flows))
        .route("/v1/flows/top", get(telemetry::top))
        .route("/v1/events", get(telemetry::events))
        .route("/v1/events/follow", get(follow::follow))
        .route("/v1/interfaces", get(state::interfaces))
        .route("/v1/detach", post(state::detach))
        .route("/openapi.json", get(|| async { Json(openapi::document()) }))
        .fallback(async |uri: Uri| ApiError::NotFound { path: uri.path().to_owned() })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| ApiError::MethodNotAllowed {
            path: uri.path().to_owned(),
            method: method.to_string(),
        })
        // Handlers limit what they read by themselves.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}
