//! Routes between the API's types and the model. What comes in is read by the one reader that
//! documents have: it is written down as JSON, which is YAML.

use crate::api::types::{
    AboveSpec, ActionSpec, AllLabels, BanSpec, DemoteSpec, LimitSpec, LimitUse, MatchSpec, OverSpec,
    PlainAction, PoolUse, RoutePatch, RouteSpec, SendersSpec, SynCookiesSpec,
};
use crate::policy::{
    self, Action, Diagnostics, KeyLengths, Limit, Match, Over, Per, Quantity, Route, RouteLimit, SynCookies,
    burst_text, connection_rate_text, dscp_name, duration_text, match_words, protocol_name, rate_text,
};
use serde_json::{Map, Value, json};

/// Name of a request in diagnostics.
const SOURCE: &str = "request";
/// What takes a thing away that is a word.
const NONE: &str = "none";

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
    if let Some(limits) = spec.limit.as_ref().filter(|limits| !limits.is_empty()) {
        text.insert("limit".into(), json!(limits));
    }
    if let Some(cookies) = &spec.syn_cookies {
        text.insert("syn_cookies".into(), json!(cookies));
    }
    if let Some(dscp) = &spec.dscp {
        text.insert("dscp".into(), json!(dscp));
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
        if let Some(value) = value {
            text.insert(key.into(), if value == 0 { Value::Null } else { json!(value) });
        }
    }
    if let Some(limits) = &patch.limit {
        text.insert("limit".into(), if limits.is_empty() { Value::Null } else { json!(limits) });
    }
    if let Some(cookies) = &patch.syn_cookies {
        let takes_away = *cookies == SynCookiesSpec::Word(NONE.to_owned());
        text.insert("syn_cookies".into(), if takes_away { Value::Null } else { json!(cookies) });
    }
    if let Some(dscp) = &patch.dscp {
        text.insert("dscp".into(), if dscp == NONE { Value::Null } else { json!(dscp) });
    }
    if let Some(action) = &patch.action {
        text.insert("action".into(), json!(action));
    }
    if text.is_empty() {
        return Ok(None);
    }
    policy::parse_patch(SOURCE, &Value::Object(text).to_string()).map(Some)
}

/// Match components as a document has them. What is empty becomes null where it takes away.
fn components(matches: &MatchSpec, empty_takes_away: bool) -> Map<String, Value> {
    let mut text = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value.or(empty_takes_away.then_some(Value::Null)) {
            text.insert(key.into(), value);
        }
    };
    match &matches.from {
        Some(SendersSpec::Any(list)) => put("from", (!list.is_empty()).then(|| json!(list))),
        Some(all) => put("from", Some(json!(all))),
        None => {}
    }
    for (key, list) in matches.lists() {
        put(key, (!list.is_empty()).then(|| json!(list)));
    }
    if let Some(not) = &matches.not {
        let not = components(not, false);
        put("not", (!not.is_empty()).then_some(Value::Object(not)));
    }
    text
}

/// A route in the API's words.
#[must_use]
pub fn spec(route: &Route) -> RouteSpec {
    let limits = route.limits.iter().map(|limit| match limit {
        RouteLimit::Named(name) => LimitUse::Named(name.clone()),
        RouteLimit::Own(limit) => LimitUse::Own(limit_spec(limit)),
    });
    RouteSpec {
        name: route.name.clone(),
        matches: match_spec(&route.matches),
        limit: Some(limits.collect()).filter(|limits: &Vec<LimitUse>| !limits.is_empty()),
        syn_cookies: route.syn_cookies.map(|cookies| match cookies {
            SynCookies::Always => SynCookiesSpec::Word("always".to_owned()),
            SynCookies::Above { per_second, hold } => SynCookiesSpec::Above(AboveSpec {
                above: connection_rate_text(per_second),
                hold: Some(duration_text(hold)),
            }),
        }),
        mark: route.mark,
        priority: route.priority,
        dscp: route.dscp.map(dscp),
        action: match &route.action {
            Action::Pass => ActionSpec::Plain(PlainAction::Pass),
            Action::Drop => ActionSpec::Plain(PlainAction::Drop),
            Action::Tx => ActionSpec::Plain(PlainAction::Tx),
            Action::Redirect { interface } => ActionSpec::Plain(PlainAction::Redirect(interface.clone())),
            Action::Pool { pool, targets } => {
                ActionSpec::Pool(PoolUse { pool: pool.clone(), targets: targets.clone() })
            }
            Action::Proxy { port } => ActionSpec::Plain(PlainAction::Proxy(*port)),
        },
    }
}

fn match_spec(matches: &Match) -> MatchSpec {
    let mut spec = MatchSpec::default();
    for (key, word) in match_words(matches) {
        if let Some(list) = spec.list_mut(key) {
            *list = Some(word.texts());
        }
    }
    // An address where a prefix is one.
    spec.to = matches.to.as_ref().map(|list| list.iter().map(prefix).collect());
    let names = matches.labels.iter().flat_map(|test| &test.names).cloned();
    let prefixes = matches.from.iter().flatten().map(prefix);
    spec.from = match (&matches.labels, &matches.from) {
        (None, None) => None,
        (Some(test), _) if test.all => Some(SendersSpec::All(AllLabels { all: names.collect() })),
        _ => Some(SendersSpec::Any(names.chain(prefixes).collect())),
    };
    spec.not = matches.not.as_ref().map(|not| Box::new(match_spec(not)));
    spec
}

/// A limit in the API's words.
#[must_use]
pub fn limit_spec(limit: &Limit) -> LimitSpec {
    let (per, lengths) = match limit.per {
        Per::Route => (None, KeyLengths::ADDRESS),
        Per::Source(lengths) => (Some("source"), lengths),
        Per::Destination(lengths) => (Some("destination"), lengths),
        Per::Label => (Some("label"), KeyLengths::ADDRESS),
    };
    let connections = match limit.quantity {
        Quantity::OpenConnections(most) => Some(most),
        _ => None,
    };
    LimitSpec {
        rate: connections.is_none().then(|| rate_text(&limit.quantity)),
        connections,
        burst: burst_text(&limit.quantity),
        per: per.map(str::to_owned),
        ipv4_prefix: (lengths.ipv4 != KeyLengths::ADDRESS.ipv4).then_some(lengths.ipv4),
        ipv6_prefix: (lengths.ipv6 != KeyLengths::ADDRESS.ipv6).then_some(lengths.ipv6),
        over: match limit.over {
            Over::Drop => None,
            Over::Count => Some(OverSpec::Word("count".to_owned())),
            Over::Demote { dscp: point, mark } => {
                Some(OverSpec::Demote(DemoteSpec { dscp: point.map(dscp), mark }))
            }
        },
        ban: limit.ban.map(|ban| BanSpec { duration: duration_text(ban.duration), after: Some(ban.after) }),
    }
}

/// A code point's name, or its number as text.
fn dscp(number: u8) -> String {
    dscp_name(number).map_or_else(|| number.to_string(), str::to_owned)
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

/// Items of a list shown in [`match_text`].
const SHOWN_ITEMS: usize = 4;

/// What a route matches, in words.
#[must_use]
pub fn match_text(matches: &MatchSpec) -> String {
    let mut parts = component_texts(matches);
    let negated = matches.not.iter().flat_map(|not| component_texts(not));
    parts.extend(negated.map(|text| format!("not {text}")));
    if parts.is_empty() { "any".to_owned() } else { parts.join(" ") }
}

fn component_texts(matches: &MatchSpec) -> Vec<String> {
    let mut lists: Vec<(&str, String)> = matches.lists().map(|(key, list)| (key, shown(list))).collect();
    // Behind the interface.
    let place = lists.iter().take_while(|(key, _)| *key == "interface").count();
    match &matches.from {
        Some(SendersSpec::Any(list)) => lists.insert(place, ("from", shown(list))),
        Some(SendersSpec::All(labels)) => lists.insert(place, ("from", labels.all.join("+"))),
        None => {}
    }
    lists.into_iter().map(|(key, text)| format!("{key} {text}")).collect()
}

fn shown(list: &[String]) -> String {
    let mut text = list[..list.len().min(SHOWN_ITEMS)].join(",");
    if list.len() > SHOWN_ITEMS {
        text.push_str(&format!(",… ({} in all)", list.len()));
    }
    text
}

/// What a route does, in words.
#[must_use]
pub fn action_text(action: &ActionSpec) -> String {
    match action {
        ActionSpec::Plain(PlainAction::Pass) => "pass".to_owned(),
        ActionSpec::Plain(PlainAction::Drop) => "drop".to_owned(),
        ActionSpec::Plain(PlainAction::Tx) => "tx".to_owned(),
        ActionSpec::Plain(PlainAction::Redirect(interface)) => format!("redirect {interface}"),
        ActionSpec::Pool(PoolUse { pool, targets }) => {
            let labels: String = targets.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            format!("pool {pool}{labels}")
        }
        ActionSpec::Plain(PlainAction::Proxy(port)) => format!("proxy {port}"),
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
            matches: MatchSpec {
                interface: strings(&["eth0"]),
                from: strings(&["10.0.0.0/8", "2001:db8::1"]).map(SendersSpec::Any),
                protocol: strings(&["tcp", "udp"]),
                port: strings(&["80", "8000-8099"]),
                ..MatchSpec::default()
            },
            mark: Some(16),
            ..RouteSpec::new("web", ActionSpec::Plain(PlainAction::Redirect("eth1".into())))
        };
        let mut route = route(&RouteSpec { priority: Some(0), ..given.clone() }).unwrap();
        let back = spec(&route);
        assert_eq!(back, given);
        assert_eq!(
            match_text(&back.matches),
            "interface eth0 from 10.0.0.0/8,2001:db8::1 protocol tcp,udp port 80,8000-8099"
        );
        assert_eq!(action_text(&back.action), "redirect eth1");

        let change = RoutePatch {
            matches: Some(MatchSpec {
                from: Some(SendersSpec::Any(Vec::new())),
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
    fn every_word_of_a_route_comes_back() {
        let route = policy::parse_route(
            "t",
            "{name: a, action: pass, dscp: af21, syn_cookies: {above: 2kcps, hold: 90s},
              match: {interface: eth0, from: {all: [blocked, staging]}, to: 192.0.2.1, protocol: tcp,
                tcp_flags: [syn/syn+ack, none/ack], length: 40-60, dscp: [ef, 8-15], fragment: [dont, first],
                vlan: [untagged, 100-200], ttl: 255, not: {from: [x, 10.0.0.0/8], source_port: 22}},
              limit: [tenant-a, {rate: 1kpps, burst: 2k, per: source, ipv4_prefix: 24, ban: {for: 10m, after: 9}},
                {rate: 50Mbit, over: {dscp: cs1, mark: 0x20}}, {connections: 1000, per: label, over: count}]}",
        )
        .unwrap();
        let spec = spec(&route);
        assert_eq!(super::route(&spec).unwrap(), route);
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(
            json["limit"][2],
            json!({"rate": "50Mbit", "burst": "625kB", "over": {"dscp": "cs1", "mark": 32}})
        );
        assert_eq!(serde_json::from_value::<RouteSpec>(json).unwrap(), spec);
        assert_eq!(
            match_text(&spec.matches),
            "interface eth0 from blocked+staging to 192.0.2.1 protocol tcp tcp_flags none/ack,syn/syn+ack \
             length 40-60 dscp 8-15,ef fragment dont,first vlan untagged,100-200 ttl 255 \
             not from x,10.0.0.0/8 not source_port 22"
        );

        let mut route = route;
        let none = || NONE.to_owned();
        let change = RoutePatch {
            matches: Some(MatchSpec { not: Some(Box::default()), ..MatchSpec::default() }),
            limit: Some(Vec::new()),
            syn_cookies: Some(SynCookiesSpec::Word(none())),
            dscp: Some(none()),
            ..RoutePatch::default()
        };
        patch(&change).unwrap().unwrap().apply(&mut route);
        assert_eq!((&route.matches.not, &route.syn_cookies, route.dscp), (&None, &None, None));
        assert!(route.limits.is_empty() && route.matches.ttl.is_some());
    }

    #[test]
    fn a_pool_is_narrowed_and_a_proxy_named_in_the_documents_words() {
        let narrowed =
            PoolUse { pool: "web".into(), targets: [("version".to_owned(), "v2".to_owned())].into() };
        for (action, json, text) in [
            (
                ActionSpec::Pool(narrowed),
                json!({"pool": "web", "targets": {"version": "v2"}}),
                "pool web version=v2",
            ),
            (ActionSpec::pool("web"), json!({"pool": "web"}), "pool web"),
            (ActionSpec::Plain(PlainAction::Proxy(15_001)), json!({"proxy": 15_001}), "proxy 15001"),
            (ActionSpec::Plain(PlainAction::Drop), json!("drop"), "drop"),
        ] {
            assert_eq!(serde_json::to_value(&action).unwrap(), json);
            assert_eq!(serde_json::from_value::<ActionSpec>(json).unwrap(), action);
            assert_eq!(action_text(&action), text);
            let mut given = RouteSpec::new("r", action);
            given.matches.protocol = strings(&["tcp"]);
            assert_eq!(spec(&route(&given).unwrap()), given);
        }
        for wrong in [json!({"pool": "web", "target": {}}), json!({"proxy": 70_000}), json!("drip")] {
            assert!(serde_json::from_value::<ActionSpec>(wrong).is_err());
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let from = strings(&["10.0.0.300"]).map(SendersSpec::Any);
        let spec = RouteSpec {
            matches: MatchSpec { from, ..MatchSpec::default() },
            ..RouteSpec::new("bad", ActionSpec::Plain(PlainAction::Pass))
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
