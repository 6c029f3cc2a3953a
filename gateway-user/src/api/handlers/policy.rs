//! `/v1/policy`.

use super::{UNNAMED, blocking};
use crate::api::error::ApiError;
use crate::api::extract::{Params, document};
use crate::api::peer::{Changer, Peer};
use crate::api::server::Shared;
use crate::api::types::{ApplyReport, ChangeQuery, CheckReport, DiffReport, ErrorBody, PolicyDocument};
use crate::daemon::{Change, Files, GovernError};
use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use tokio::sync::{AcquireError, SemaphorePermit};

/// Longest `source`, bytes.
const SOURCE_BYTES_MAX: usize = 4096;

/// The live policy.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", operation_id = "policy_show", responses(
    (status = 200, body = PolicyDocument),
    (status = 404, body = ErrorBody, description = "no_policy"),
    (status = 409, body = ErrorBody, description = "unknown_policy"),
))]
pub async fn show(State(shared): State<Shared>) -> Result<Json<PolicyDocument>, ApiError> {
    let live = shared.governor.live().ok_or(GovernError::NoPolicy)?;
    let unknown = GovernError::UnknownPolicy { generation: live.generation };
    Ok(Json(live.with_text().ok_or(unknown)?))
}

/// Makes a document the live policy, as a whole or not at all.
#[utoipa::path(put, path = "/v1/policy", tag = "policy", operation_id = "policy_apply",
    params(
        ("base_generation" = Option<u32>, Query, description = "refused if another generation is live"),
        ("dry_run" = Option<bool>, Query, description = "everything but making it live"),
        ("source" = Option<String>, Query, description = "name of the document in diagnostics"),
    ),
    request_body(content = String, content_type = "text/yaml"),
    responses(
        (status = 200, body = ApplyReport),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 409, body = ErrorBody, description = "generation_moved"),
        (status = 413, body = ErrorBody, description = "too_large"),
        (status = 422, body = ErrorBody,
            description = "invalid_policy, not_compilable, no_slot, arena_full"),
    ),
)]
pub async fn apply(
    _: Changer,
    State(shared): State<Shared>,
    Params(query): Params<ChangeQuery>,
    body: Body,
) -> Result<Json<ApplyReport>, ApiError> {
    let source = source(&query)?;
    let _permit = permit(&shared).await?;
    let files = Files::beside(&source);
    let change = Change::Document { text: document(body).await?, source, files };
    blocking(&shared, move |governor| governor.change(change, query.terms())).await.map(Json)
}

/// Reads and compiles a document, and changes nothing.
#[utoipa::path(post, path = "/v1/policy/check", tag = "policy", operation_id = "policy_check",
    params(("source" = Option<String>, Query, description = "name of the document in diagnostics")),
    request_body(content = String, content_type = "text/yaml"),
    responses(
        (status = 200, body = CheckReport),
        (status = 413, body = ErrorBody, description = "too_large"),
        (status = 422, body = ErrorBody, description = "invalid_policy, not_compilable, no_slot"),
    ),
)]
pub async fn check(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(shared): State<Shared>,
    Params(query): Params<ChangeQuery>,
    body: Body,
) -> Result<Json<CheckReport>, ApiError> {
    let source = source(&query)?;
    let _permit = permit(&shared).await?;
    let text = document(body).await?;
    let files = readable(peer, &source);
    blocking(&shared, move |governor| governor.check(&text, &source, &files)).await.map(Json)
}

/// Compares a document with the live policy.
#[utoipa::path(post, path = "/v1/policy/diff", tag = "policy", operation_id = "policy_diff",
    params(("source" = Option<String>, Query, description = "name of the document in diagnostics")),
    request_body(content = String, content_type = "text/yaml"),
    responses(
        (status = 200, body = DiffReport),
        (status = 413, body = ErrorBody, description = "too_large"),
        (status = 422, body = ErrorBody, description = "invalid_policy"),
    ),
)]
pub async fn diff(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(shared): State<Shared>,
    Params(query): Params<ChangeQuery>,
    body: Body,
) -> Result<Json<DiffReport>, ApiError> {
    let source = source(&query)?;
    let _permit = permit(&shared).await?;
    let text = document(body).await?;
    let files = readable(peer, &source);
    blocking(&shared, move |governor| governor.diff(&text, &source, &files)).await.map(Json)
}

/// The label files that the daemon reads for a peer: its errors would show what is in them.
fn readable(peer: Peer, source: &str) -> Files {
    if peer.may_change() { Files::beside(source) } else { Files::Forbidden }
}

fn source(query: &ChangeQuery) -> Result<String, ApiError> {
    let source = query.source.as_deref().unwrap_or(UNNAMED);
    if source.len() > SOURCE_BYTES_MAX || source.contains(char::is_control) {
        let message = format!("`source` is one line of at most {SOURCE_BYTES_MAX} bytes");
        return Err(ApiError::BadRequest { message });
    }
    Ok(source.to_owned())
}

/// Taken before the body is read, so that not every connection may fill memory at one time.
async fn permit(shared: &Shared) -> Result<SemaphorePermit<'_>, ApiError> {
    let closed = |error: AcquireError| GovernError::Broken { what: error.to_string() };
    Ok(shared.documents.acquire().await.map_err(closed)?)
}
