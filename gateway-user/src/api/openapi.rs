//! The API's own description.

use super::follow;
use super::handlers::{connections, labels, limits, policy, pools, routes, state, telemetry};
use super::types;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "gateway control API",
        description = "HTTP with JSON on a Unix socket. Whoever can open the socket reads; root and the \
                       daemon's own user change. Answers other than 2xx carry an ErrorBody.",
    ),
    paths(
        state::status,
        policy::show,
        policy::apply,
        policy::check,
        policy::diff,
        routes::list,
        routes::add,
        routes::show,
        routes::put,
        routes::patch,
        routes::delete,
        limits::list,
        limits::show,
        limits::forgive,
        pools::list,
        pools::show,
        pools::set_weight,
        pools::set_state,
        connections::list,
        telemetry::talkers,
        labels::list,
        labels::show,
        labels::add,
        labels::delete,
        telemetry::flows,
        telemetry::top,
        telemetry::events,
        follow::follow,
        state::interfaces,
        state::detach,
    ),
    components(schemas(types::Position, types::FlowOrder, types::TalkerOrder, types::TalkerGroup))
)]
struct Document;

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_action_is_described_as_it_is_written() {
        let document = serde_json::to_value(super::document()).unwrap();
        let kinds = &document["components"]["schemas"]["ActionSpec"]["oneOf"];
        let kinds: Vec<&str> =
            kinds.as_array().unwrap().iter().map(|kind| kind["$ref"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["#/components/schemas/PlainAction", "#/components/schemas/PoolUse"]);
    }

    #[test]
    fn every_path_and_every_type_it_names_is_described() {
        let document = serde_json::to_value(super::document()).unwrap();
        assert_eq!(document["paths"].as_object().unwrap().len(), 24);
        let text = document.to_string();
        let mut rest = text.as_str();
        let mut references = 0;
        while let Some(start) = rest.find("#/components/schemas/") {
            rest = &rest[start + "#/components/schemas/".len()..];
            let name = &rest[..rest.find('"').unwrap()];
            assert!(document["components"]["schemas"].get(name).is_some(), "{name} is not described");
            references += 1;
        }
        assert!(references > 50, "{references}");
    }
}
