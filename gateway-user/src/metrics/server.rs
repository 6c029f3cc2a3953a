//! Metrics and health over HTTP. Whoever reaches the address reads; nothing can be changed.

use super::collect::Node;
use super::flows::Flows;
use crate::daemon::{Course, Governor};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TEXT_FORMAT, TextEncoder};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Scrapes at one time: each walks over all that there is.
const SCRAPES_AT_ONCE: usize = 2;

#[derive(Clone)]
struct Shared {
    governor: Arc<Governor>,
    registry: Registry,
    flows: Arc<Flows>,
    scrapes: Arc<Semaphore>,
}

/// Serves metrics until the daemon is to end.
pub async fn serve(governor: Arc<Governor>, listener: TcpListener) {
    let registry = Registry::new();
    if let Err(error) = registry.register(Box::new(Node::new(Arc::clone(&governor)))) {
        tracing::error!(%error, "the metrics cannot be served");
        return;
    }
    let mut course = governor.course();
    let scrapes = Arc::new(Semaphore::new(SCRAPES_AT_ONCE));
    let shared = Shared { governor, registry, flows: Arc::default(), scrapes };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/metrics/flows", get(flows))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(shared);
    let ending = async move {
        // Without a sender there is no governor any more, which is an end as well.
        let _ = course.wait_for(|course| *course != Course::Govern).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ending).await {
        tracing::error!(%error, "the metrics' server ended");
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let registry = shared.registry.clone();
    scrape(&shared, move |_| Ok(registry.gather())).await
}

async fn flows(State(shared): State<Shared>) -> Response {
    let flows = Arc::clone(&shared.flows);
    scrape(&shared, move |governor| flows.collect(governor).map_err(|error| error.to_string())).await
}

async fn ready(State(shared): State<Shared>) -> Response {
    let governor = &shared.governor;
    if governor.is_ready() {
        return "ready\n".into_response();
    }
    let mut reasons = Vec::new();
    if governor.readers().generation() == 0 {
        reasons.push("no policy is live".to_owned());
    }
    for (name, state) in governor.interface_states() {
        if state.wanted && !state.is_governed_now() {
            let note = state.note.unwrap_or_default();
            reasons.push(format!("{name} is not governed: {note}"));
        }
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n"))).into_response()
}

/// Runs a scrape on a thread that may block.
async fn scrape(
    shared: &Shared,
    read: impl FnOnce(&Governor) -> Result<Vec<MetricFamily>, String> + Send + 'static,
) -> Response {
    let failed = |reason: String| {
        tracing::error!(reason, "a scrape failed");
        (StatusCode::INTERNAL_SERVER_ERROR, reason + "\n").into_response()
    };
    let _permit = match shared.scrapes.acquire().await {
        Ok(permit) => permit,
        Err(error) => return failed(error.to_string()),
    };
    let governor = Arc::clone(&shared.governor);
    let encoded = tokio::task::spawn_blocking(move || {
        let families = read(&governor)?;
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).map_err(|error| error.to_string())?;
        Ok(text)
    })
    .await;
    match encoded {
        Ok(Ok(text)) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Ok(Err(reason)) => failed(reason),
        Err(error) => failed(error.to_string()),
    }
}
