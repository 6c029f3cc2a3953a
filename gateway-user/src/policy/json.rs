//! Routes, changes and policies out of JSON values, by the one reader that documents have: JSON is
//! YAML.

use super::diagnostics::Diagnostics;
use super::{Policy, Route, RoutePatch, parse, parse_patch, parse_route};
use serde::de::{Deserialize, Deserializer, Error};

type Parse<T> = fn(&str, &str) -> Result<T, Diagnostics>;

fn deserialize<'de, D: Deserializer<'de>, T>(deserializer: D, parse: Parse<T>) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    parse("json", &value.to_string()).map_err(|diagnostics| {
        let all: Vec<String> =
            diagnostics.items().iter().map(|item| format!("{} ({})", item.message, item.help)).collect();
        D::Error::custom(all.join("; "))
    })
}

/// In the words of a document.
impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, parse_route)
    }
}

/// In the words of a route; `null` takes away.
impl<'de> Deserialize<'de> for RoutePatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, parse_patch)
    }
}

/// In the words of a document.
impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, parse)
    }
}
