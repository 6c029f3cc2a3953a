//! Errors as answers: a status and an [`ErrorBody`].

use super::types::{ErrorBody, ErrorInfo};
use crate::daemon::GovernError;
use crate::dataplane;
use crate::policy::EditError;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A request that was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The governor refused or failed.
    #[error(transparent)]
    Govern(#[from] GovernError),
    /// The peer may read only.
    #[error("user {uid} may read, but change nothing")]
    Forbidden {
        /// The peer's user id.
        uid: u32,
    },
    /// The request makes no sense.
    #[error("{message}")]
    BadRequest {
        /// Why.
        message: String,
    },
    /// The body is too long.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The most there can be.
        limit: usize,
    },
    /// No such path.
    #[error("there is no {path} here")]
    NotFound {
        /// The path.
        path: String,
    },
    /// The path knows other methods.
    #[error("{path} does not know the method {method}")]
    MethodNotAllowed {
        /// The path.
        path: String,
        /// The method.
        method: String,
    },
}

impl ApiError {
    pub(super) fn forbidden(uid: u32) -> ApiError {
        ApiError::Forbidden { uid }
    }

    /// Status and stable code.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::Govern(error) => govern_kind(error),
            ApiError::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            ApiError::BadRequest { .. } => (StatusCode::BAD_REQUEST, "bad_request"),
            ApiError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            ApiError::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        }
    }

    fn help(&self) -> Option<&'static str> {
        Some(match self {
            ApiError::Govern(GovernError::Moved { .. }) => {
                "look at what is live now, then try again based on that generation"
            }
            ApiError::Govern(GovernError::NoPolicy) => "apply one: gateway policy apply FILE",
            ApiError::Govern(GovernError::Dataplane(dataplane::Error::ArenaFull { .. })) => {
                "old and new policy must fit beside each other: make the policy smaller or the arena larger"
            }
            ApiError::Govern(GovernError::Store(_)) => {
                "look at the state folder: is there room, may it be written?"
            }
            ApiError::Forbidden { .. } => "ask as root, or as the user that the daemon runs as",
            ApiError::NotFound { .. } | ApiError::MethodNotAllowed { .. } => {
                "GET /openapi.json lists what there is"
            }
            _ => return None,
        })
    }

    /// The answer's body.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        let mut error = ErrorInfo {
            code: self.kind().1.to_owned(),
            message: self.to_string(),
            help: self.help().map(str::to_owned),
            diagnostics: Vec::new(),
            rendered: None,
            generation: None,
        };
        match self {
            ApiError::Govern(GovernError::Invalid { diagnostics, rendered, .. }) => {
                error.diagnostics.clone_from(diagnostics);
                error.rendered = Some(rendered.clone());
            }
            ApiError::Govern(GovernError::Moved { live, .. }) => error.generation = Some(*live),
            _ => {}
        }
        ErrorBody { error }
    }
}

fn govern_kind(error: &GovernError) -> (StatusCode, &'static str) {
    match error {
        GovernError::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_policy"),
        GovernError::Compile(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not_compilable"),
        GovernError::Edit(EditError::NameExists { .. }) => (StatusCode::CONFLICT, "route_exists"),
        GovernError::Edit(EditError::NoSuchRoute { .. }) | GovernError::NoSuchRoute { .. } => {
            (StatusCode::NOT_FOUND, "no_such_route")
        }
        GovernError::Edit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_route"),
        GovernError::Slots(_) => (StatusCode::UNPROCESSABLE_ENTITY, "no_slot"),
        GovernError::Moved { .. } => (StatusCode::CONFLICT, "generation_moved"),
        GovernError::NoPolicy => (StatusCode::NOT_FOUND, "no_policy"),
        GovernError::UnknownPolicy { .. } => (StatusCode::CONFLICT, "unknown_policy"),
        GovernError::GenerationsUsedUp => (StatusCode::CONFLICT, "generations_used_up"),
        GovernError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        GovernError::Dataplane(dataplane::Error::ArenaFull { .. }) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "arena_full")
        }
        GovernError::Dataplane(_) => (StatusCode::INTERNAL_SERVER_ERROR, "dataplane"),
        GovernError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        GovernError::Broken { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.kind().0;
        if status.is_server_error() {
            tracing::error!(error = %self, "a control request failed");
        }
        (status, Json(self.body())).into_response()
    }
}
