//! Errors as answers: a status and an [`ErrorBody`].

use super::types::{ErrorBody, ErrorInfo};
use crate::daemon::{GovernError, LabelError};
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

    fn help(&self) -> Option<String> {
        if let ApiError::Govern(GovernError::Label(error)) = self {
            return Some(label_help(error));
        }
        self.standing_help().map(str::to_owned)
    }

    fn standing_help(&self) -> Option<&'static str> {
        Some(match self {
            ApiError::Govern(GovernError::Moved { .. }) => {
                "look at what is live now, then try again based on that generation"
            }
            ApiError::Govern(GovernError::NoPolicy) => "apply one: gateway policy apply FILE",
            ApiError::Govern(GovernError::Dataplane(dataplane::Error::ArenaFull { .. })) => {
                "old and new policy must fit beside each other: make the policy smaller or the arena larger"
            }
            ApiError::Govern(GovernError::Dataplane(dataplane::Error::MembersFull { .. })) => {
                "delete members that are not needed, or run with more --live-members"
            }
            ApiError::Govern(GovernError::NotTracked { .. }) => {
                "gateway target disable sends it nothing more from now on, gateway target set gives it less"
            }
            ApiError::Govern(GovernError::InvalidClient { .. }) => {
                "write an address or a prefix: 192.0.2.1, 10.0.0.0/8, 2001:db8::/32"
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
            help: self.help(),
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
        GovernError::NoSuchLimit { .. } => (StatusCode::NOT_FOUND, "no_such_limit"),
        GovernError::NoSuchPool { .. } => (StatusCode::NOT_FOUND, "no_such_pool"),
        GovernError::NoSuchTarget { .. } => (StatusCode::NOT_FOUND, "no_such_target"),
        GovernError::NotTracked { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not_tracked"),
        GovernError::DrainTime | GovernError::InvalidClient { .. } => {
            (StatusCode::BAD_REQUEST, "bad_request")
        }
        GovernError::InvalidKey { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_key"),
        GovernError::Edit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_route"),
        GovernError::Slots(_) => (StatusCode::UNPROCESSABLE_ENTITY, "no_slot"),
        GovernError::Label(error) => label_kind(error),
        GovernError::Moved { .. } => (StatusCode::CONFLICT, "generation_moved"),
        GovernError::NoPolicy => (StatusCode::NOT_FOUND, "no_policy"),
        GovernError::UnknownPolicy { .. } => (StatusCode::CONFLICT, "unknown_policy"),
        GovernError::GenerationsUsedUp => (StatusCode::CONFLICT, "generations_used_up"),
        GovernError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        GovernError::Dataplane(dataplane::Error::ArenaFull { .. }) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "arena_full")
        }
        GovernError::Dataplane(dataplane::Error::MembersFull { .. }) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "members_full")
        }
        GovernError::Dataplane(dataplane::Error::MemberLengths { .. }) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "member_lengths")
        }
        GovernError::Dataplane(_) => (StatusCode::INTERNAL_SERVER_ERROR, "dataplane"),
        GovernError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        GovernError::Broken { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn label_kind(error: &LabelError) -> (StatusCode, &'static str) {
    match error {
        LabelError::Unknown { .. } => (StatusCode::NOT_FOUND, "no_such_label"),
        LabelError::NoMembers { .. } => (StatusCode::NOT_FOUND, "no_such_member"),
        LabelError::TooMany { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_labels"),
        LabelError::Ttl { .. } | LabelError::NoPrefix | LabelError::Prefix { .. } => {
            (StatusCode::BAD_REQUEST, "bad_request")
        }
    }
}

fn label_help(error: &LabelError) -> String {
    match error {
        LabelError::Unknown { meant: Some(meant), .. } => format!("did you mean `{meant}`?"),
        LabelError::Unknown { name, meant: None } => {
            format!("name it in the policy first: `labels: {{{name}: []}}`")
        }
        LabelError::NoMembers { in_policy: true, .. } => {
            "it stands in the policy: take it out there, and apply that".to_owned()
        }
        LabelError::NoMembers { name, .. } => format!("gateway label show {name} lists the members"),
        LabelError::TooMany { .. } => "take one of these labels from them first".to_owned(),
        LabelError::Ttl { .. } => {
            "write 1s to 365d, or leave it out for as long as it is not taken out".to_owned()
        }
        LabelError::NoPrefix | LabelError::Prefix { .. } => {
            "write addresses or prefixes: 192.0.2.1, 10.0.0.0/8, 2001:db8::/32".to_owned()
        }
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
