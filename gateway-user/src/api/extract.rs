//! What handlers take from a request, with our own errors for what does not fit.

use super::error::ApiError;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// Longest policy document, bytes: some two million prefixes.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Longest body of any other request, bytes.
pub const JSON_BYTES_MAX: usize = 8 << 20;

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

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    match to_bytes(body, limit).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if error.is::<http_body_util::LengthLimitError>() {
                    return Err(ApiError::TooLarge { limit });
                }
                cause = error.source();
            }
            Err(ApiError::BadRequest { message: format!("the body could not be read: {error}") })
        }
    }
}
