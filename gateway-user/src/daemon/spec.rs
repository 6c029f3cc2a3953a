//! Routes between the API's types and the model. What comes in is read by the one reader that
//! documents have: it is written down as JSON, which is YAML.

use crate::api::types::{ActionSpec, MatchSpec, RoutePatch, RouteSpec};
use crate::policy::{self, Action, Diagnostics, Match, PortRange, Route, protocol_name};
use serde_json::{Map, Value, json};

/// Name of a request in diagnostics.
const SOURCE: &str = "request";

/// The route that a request describes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn route(spec: &RouteSpec) -> Result<Route, Diagnostics> {
    let mut text = Map::new();
    text.insert("name".into(), json!(spec.name));
    let matches = components(&spec.matches, false);
    if !matches.is_empty() {
        text.insert("match".into(), Value::Object(matches));
    }
    for (key, value) in [("mark", spec.mark), ("priority", spec.priority)] {
        if let Some(value @ 1..) = value {
            text.insert(key.into(), json!(value));
        }
    }
    text.insert("action".into(), json!(spec.action));
    policy::parse_route(SOURCE, &Value::Object(text).to_string())
}

/// The change that a request describes; nothing if it changes nothing but the place.
///
/// # Errors
/// Everything that is wrong with it.
pub fn patch(patch: &RoutePatch) -> Result<Option<policy::RoutePatch>, Diagnostics> {
    let mut text = Map::new();
    if let Some(matches) = &patch.matches {
        text.insert("match".into(), Value::Object(components(matches, true)));
    }
    for (key, value) in [("mark", patch.mark), ("priority", patch.priority)] {
        match value {
            Some(0) => {
                text.insert(key.into(), Value::Null);
            }
            Some(value) => {
                text.insert(key.into(), json!(value));
            }
            None => {}
        }
    }
    if let Some(action) = &patch.action {
        text.insert("action".into(), json!(action));
    }
    if text.is_empty() {
        return Ok(None);
    }
    policy::parse_patch(SOURCE, &Value::Object(text).to_string()).map(Some)
}

/// Match components as a document has them. Empty lists become null where they take away.
fn components(matches: &MatchSpec, empty_takes_away: bool) -> Map<String, Value> {
    let lists = [
        ("interface", &matches.interface, false),
        ("from", &matches.from, false),
        ("to", &matches.to, false),
        ("protocol", &matches.protocol, true),
        ("port", &matches.port, true),
        ("source_port", &matches.source_port, true),
    ];
    let mut text = Map::new();
    for (key, list, numbers) in lists {
        match list {
            Some(list) if !list.is_empty() => {
                let items = list.iter().map(|item| scalar(item, numbers)).collect();
                text.insert(key.into(), Value::Array(items));
            }
            Some(_) if empty_takes_away => {
                text.insert(key.into(), Value::Null);
            }
            _ => {}
        }
    }
    text
}

fn scalar(item: &str, numbers: bool) -> Value {
    match item.parse::<u32>() {
        Ok(number) if numbers => json!(number),
        _ => json!(item),
    }
}

/// A route in the API's words.
#[must_use]
pub fn spec(route: &Route) -> RouteSpec {
    RouteSpec {
        name: route.name.clone(),
        matches: match_spec(&route.matches),
        mark: route.mark,
        priority: route.priority,
        action: match &route.action {
            Action::Pass => ActionSpec::Pass,
            Action::Drop => ActionSpec::Drop,
            Action::Tx => ActionSpec::Tx,
            Action::Redirect { interface } => ActionSpec::Redirect(interface.clone()),
        },
    }
}

fn match_spec(matches: &Match) -> MatchSpec {
    let prefixes = |list: &Option<Vec<ipnet::IpNet>>| list.as_ref().map(|list| texts(list, prefix));
    let ports = |list: &Option<Vec<PortRange>>| list.as_ref().map(|list| texts(list, ports));
    MatchSpec {
        interface: matches.interface.clone(),
        from: prefixes(&matches.from),
        to: prefixes(&matches.to),
        protocol: matches.protocol.as_ref().map(|list| texts(list, |number| protocol(*number))),
        port: ports(&matches.port),
        source_port: ports(&matches.source_port),
    }
}

fn texts<T>(list: &[T], text: impl Fn(&T) -> String) -> Vec<String> {
    list.iter().map(text).collect()
}

/// A protocol's name, or its number as text.
#[must_use]
pub fn protocol(number: u8) -> String {
    protocol_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// A prefix, or an address where it is one.
fn prefix(net: &ipnet::IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

fn ports(range: &PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}-{}", range.first, range.last)
    }
}

/// Items of a list shown in [`match_text`].
const SHOWN_ITEMS: usize = 4;

/// What a route matches, in words.
#[must_use]
pub fn match_text(matches: &MatchSpec) -> String {
    let lists = [
        ("interface", &matches.interface),
        ("from", &matches.from),
        ("to", &matches.to),
        ("protocol", &matches.protocol),
        ("port", &matches.port),
        ("source_port", &matches.source_port),
    ];
    let parts: Vec<String> = lists
        .into_iter()
        .filter_map(|(key, list)| {
            let list = list.as_ref()?;
            let mut text = format!("{key} {}", list[..list.len().min(SHOWN_ITEMS)].join(","));
            if list.len() > SHOWN_ITEMS {
                text.push_str(&format!(",… ({} in all)", list.len()));
            }
            Some(text)
        })
        .collect();
    if parts.is_empty() { "any".to_owned() } else { parts.join(" ") }
}

/// What a route does, in words.
#[must_use]
pub fn action_text(action: &ActionSpec) -> String {
    match action {
        ActionSpec::Pass => "pass".to_owned(),
        ActionSpec::Drop => "drop".to_owned(),
        ActionSpec::Tx => "tx".to_owned(),
        ActionSpec::Redirect(interface) => format!("redirect {interface}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(items: &[&str]) -> Option<Vec<String>> {
        Some(items.iter().map(|item| (*item).to_owned()).collect())
    }

    #[test]
    fn a_route_comes_back_as_it_was_described() {
        let given = RouteSpec {
            name: "web".into(),
            matches: MatchSpec {
                interface: strings(&["eth0"]),
                from: strings(&["10.0.0.0/8", "2001:db8::1"]),
                to: None,
                protocol: strings(&["tcp", "200"]),
                port: strings(&["80", "8000-8099"]),
                source_port: None,
            },
            mark: Some(16),
            priority: None,
            action: ActionSpec::Redirect("eth1".into()),
        };
        let mut route = route(&RouteSpec { priority: Some(0), ..given.clone() }).unwrap();
        let back = spec(&route);
        assert_eq!(back, given);
        assert_eq!(
            match_text(&back.matches),
            "interface eth0 from 10.0.0.0/8,2001:db8::1 protocol tcp,200 port 80,8000-8099"
        );
        assert_eq!(action_text(&back.action), "redirect eth1");

        let change = RoutePatch {
            matches: Some(MatchSpec {
                from: Some(Vec::new()),
                port: strings(&["443"]),
                ..MatchSpec::default()
            }),
            mark: Some(0),
            priority: Some(7),
            ..RoutePatch::default()
        };
        patch(&change).unwrap().unwrap().apply(&mut route);
        let changed = spec(&route);
        assert_eq!((changed.matches.from, changed.matches.port), (None, strings(&["443"])));
        assert_eq!((changed.mark, changed.priority), (None, Some(7)));
        assert_eq!(changed.matches.interface, strings(&["eth0"]));
        assert_eq!(patch(&RoutePatch::default()).unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let spec = RouteSpec {
            name: "bad".into(),
            matches: MatchSpec { from: strings(&["10.0.0.300"]), ..MatchSpec::default() },
            mark: None,
            priority: None,
            action: ActionSpec::Pass,
        };
        assert_eq!(route(&spec).unwrap_err().errors(), 1);
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<String> = (1..=6).map(|n| n.to_string()).collect();
        let matches = MatchSpec { port: Some(many), ..MatchSpec::default() };
        assert_eq!(match_text(&matches), "port 1,2,3,4,… (6 in all)");
        assert_eq!(match_text(&MatchSpec::default()), "any");
    }
}
