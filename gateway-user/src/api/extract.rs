//! What handlers take from a request, with our own errors for what does not fit.

use super::error::ApiError;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

/// Longest policy document, bytes: some two million prefixes.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Longest body of any other request, bytes.
pub const JSON_BYTES_MAX: usize = 8 << 20;
/// Longest body that is read to its end though it is too long, bytes.
const DISCARDED_BYTES_MAX: usize = 1 << 30;

/// Query parameters; unknown ones are refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, ApiError> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Params(value)),
            Err(rejection) => Err(ApiError::BadRequest { message: rejection.body_text() }),
        }
    }
}

/// A JSON body, whatever its content type says.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody<T>, ApiError> {
        let bytes = read(request.into_body(), JSON_BYTES_MAX).await?;
        serde_json::from_slice(&bytes)
            .map(JsonBody)
            .map_err(|error| ApiError::BadRequest { message: format!("the body does not fit: {error}") })
    }
}

/// Reads a document.
pub async fn document(body: Body) -> Result<String, ApiError> {
    String::from_utf8(read(body, DOCUMENT_BYTES_MAX).await?).map_err(|error| ApiError::BadRequest {
        message: format!("the document is not UTF-8: {}", error.utf8_error()),
    })
}

/// Reads a body. One that is too long is read to its end all the same, within reason, and thrown
/// away: closed early, the peer would see a broken connection instead of the answer.
async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let broken = |error| ApiError::BadRequest { message: format!("the body could not be read: {error}") };
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        length += data.len();
        if length > DISCARDED_BYTES_MAX {
            break;
        }
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
        }
    }
    if length > limit { Err(ApiError::TooLarge { limit }) } else { Ok(bytes) }
}
