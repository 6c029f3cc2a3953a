//! `/v1/labels`.

use super::blocking;
use crate::api::error::ApiError;
use crate::api::extract::{JsonBody, Params};
use crate::api::peer::Changer;
use crate::api::server::Shared;
use crate::api::types::{AddMembers, ErrorBody, LabelInfo, LabelList, LabelQuery, MemberReport};
use crate::daemon::{Governor, Which};
use axum::Json;
use axum::extract::{Path, State};

/// Most prefixes and live members in an answer.
const LIMIT_MAX: u32 = 100_000;
/// How many, unless told.
const LIMIT: u32 = 100;

/// Labels of the live policy, and those that have live members.
#[utoipa::path(get, path = "/v1/labels", tag = "labels", operation_id = "label_list",
    responses((status = 200, body = LabelList)))]
pub async fn list(State(shared): State<Shared>) -> Result<Json<LabelList>, ApiError> {
    blocking(&shared, |governor| Ok(governor.label_list())).await.map(Json)
}

/// A label with its first prefixes and live members.
#[utoipa::path(get, path = "/v1/labels/{name}", tag = "labels", operation_id = "label_show",
    params(
        ("name" = String, Path),
        ("limit" = Option<u32>, Query, description = "1 to 100000 of each; 100 if left out"),
    ),
    responses(
        (status = 200, body = LabelInfo),
        (status = 400, body = ErrorBody, description = "bad_request"),
        (status = 404, body = ErrorBody, description = "no_such_label"),
    ),
)]
pub async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Params(query): Params<LabelQuery>,
) -> Result<Json<LabelInfo>, ApiError> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::BadRequest { message: format!("`limit` is 1 to {LIMIT_MAX}") });
    }
    blocking(&shared, move |governor| governor.label(&name, limit as usize)).await.map(Json)
}

/// Adds live members, or gives those that are there another time to live: all of them or none.
#[utoipa::path(post, path = "/v1/labels/{name}/members", tag = "labels", operation_id = "label_add",
    params(("name" = String, Path)),
    request_body = AddMembers,
    responses(
        (status = 200, body = MemberReport),
        (status = 400, body = ErrorBody, description = "bad_request: no prefix, a time to live out of bounds"),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 404, body = ErrorBody, description = "no_such_label"),
        (status = 409, body = ErrorBody, description = "unknown_policy"),
        (status = 422, body = ErrorBody,
            description = "invalid_policy (a prefix), too_many_labels, members_full, member_lengths, not_compilable"),
    ),
)]
pub async fn add(
    _: Changer,
    State(shared): State<Shared>,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<AddMembers>,
) -> Result<Json<MemberReport>, ApiError> {
    blocking(&shared, move |governor| governor.add_members(&name, &request)).await.map(Json)
}

/// Takes live members out: all of them or none.
#[utoipa::path(delete, path = "/v1/labels/{name}/members", tag = "labels", operation_id = "label_delete",
    params(
        ("name" = String, Path),
        ("prefix" = Option<Vec<String>>, Query, description = "a member; once for each"),
        ("all" = Option<bool>, Query, description = "every live member"),
    ),
    responses(
        (status = 200, body = MemberReport),
        (status = 400, body = ErrorBody, description = "bad_request: neither `prefix` nor `all=true`, or both"),
        (status = 403, body = ErrorBody, description = "forbidden"),
        (status = 404, body = ErrorBody, description = "no_such_label, no_such_member"),
        (status = 422, body = ErrorBody, description = "invalid_policy (a prefix)"),
    ),
)]
pub async fn delete(
    _: Changer,
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Params(query): Params<Vec<(String, String)>>,
) -> Result<Json<MemberReport>, ApiError> {
    let which = which(query)?;
    blocking(&shared, move |governor: &Governor| governor.delete_members(&name, &which)).await.map(Json)
}

/// A parameter that is there several times is not a field of a struct.
fn which(query: Vec<(String, String)>) -> Result<Which, ApiError> {
    let bad = |message: String| ApiError::BadRequest { message };
    let mut prefixes = Vec::new();
    let mut all = false;
    for (key, value) in query {
        match (key.as_str(), value.as_str()) {
            ("prefix", _) => prefixes.push(value),
            ("all", "true") => all = true,
            ("all", "false") => all = false,
            ("all", _) => return Err(bad("`all` is true or false".to_owned())),
            _ => return Err(bad(format!("there is no parameter `{key}`; there are `prefix` and `all`"))),
        }
    }
    match (prefixes.is_empty(), all) {
        (true, true) => Ok(Which::All),
        (false, false) => Ok(Which::Prefixes(prefixes)),
        (true, false) => Err(bad("name the members: `prefix` for each, or `all=true`".to_owned())),
        (false, true) => Err(bad("either `prefix` or `all=true`".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_members_go_is_said_in_one_way() {
        let pairs =
            |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let prefixes = Which::Prefixes(vec!["10.0.0.1".to_owned(), "::/0".to_owned()]);
        assert_eq!(which(pairs(&[("prefix", "10.0.0.1"), ("prefix", "::/0")])).unwrap(), prefixes);
        assert_eq!(which(pairs(&[("all", "true")])).unwrap(), Which::All);
        for wrong in [
            &[][..],
            &[("all", "false")],
            &[("all", "yes")],
            &[("all", "true"), ("prefix", "::/0")],
            &[("prefixes", "::/0")],
        ] {
            assert!(which(pairs(wrong)).is_err(), "{wrong:?}");
        }
    }
}
