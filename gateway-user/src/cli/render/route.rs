//! Routes.

use super::super::output::Columns;
use super::super::units::{bytes, mark, number, optional};
use crate::api::types::{AboveSpec, Counts, LimitUse, OverSpec, RouteInfo, RouteList, SynCookiesSpec};

/// All routes in order, and below them what no route decided.
#[must_use]
pub fn list(list: &RouteList, wide: bool) -> String {
    let mut heads = vec![">#", "NAME", "MATCH", "ACTION", "MARK"];
    if wide {
        heads.push("PRIORITY");
    }
    heads.extend([">PACKETS", ">BYTES"]);
    let mut columns = Columns::new(&heads);
    for route in &list.routes {
        let mut cells = vec![
            route.position.to_string(),
            route.route.name.clone(),
            route.match_text.clone(),
            route.action_text.clone(),
            mark(route.route.mark),
        ];
        if wide {
            cells.push(optional(route.route.priority));
        }
        cells.extend(counts(route.counts, wide));
        columns.row(cells);
    }
    for (name, meaning) in OTHERS {
        let Some(&other) = list.others.get(name) else { continue };
        if other.packets == 0 && name != "default" {
            continue;
        }
        let mut cells = vec!["-".to_owned(), format!("({name})"), meaning.to_owned(), "-".to_owned()];
        cells.resize(heads.len() - 2, "-".to_owned());
        cells.extend(counts(other, wide));
        columns.row(cells);
    }
    columns.text()
}

/// What packets that no route decided have in common.
const OTHERS: [(&str, &str); 4] = [
    ("default", "no route matches"),
    ("not_ip", "neither IPv4 nor IPv6"),
    ("malformed", "malformed"),
    ("no_policy", "before the first policy"),
];

fn counts(counts: Counts, exact: bool) -> [String; 2] {
    [number(counts.packets, exact), bytes(counts.bytes, exact)]
}

/// One route, a line for each of its parts.
#[must_use]
pub fn one(route: &RouteInfo, exact: bool) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key:<10}{value}\n"));
    for (key, value) in [
        ("name", route.route.name.clone()),
        ("position", route.position.to_string()),
        ("match", route.match_text.clone()),
        ("action", route.action_text.clone()),
        ("mark", mark(route.route.mark)),
        ("priority", optional(route.route.priority)),
    ] {
        line(key, &value);
    }
    // What few routes have is told of those.
    for (number, limit) in route.route.limit.iter().flatten().enumerate() {
        line("limit", &limit_text(limit, number + 1, &route.route.name));
    }
    if let Some(cookies) = &route.route.syn_cookies {
        line("cookies", &cookies_text(cookies));
    }
    if let Some(dscp) = &route.route.dscp {
        line("dscp", dscp);
    }
    line("packets", &number(route.counts.packets, exact));
    line("bytes", &bytes(route.counts.bytes, exact));
    text
}

/// A limit in words, with its name.
fn limit_text(limit: &LimitUse, number: usize, route: &str) -> String {
    let limit = match limit {
        LimitUse::Named(name) => return name.clone(),
        LimitUse::Own(limit) => limit,
    };
    let mut text = format!("{route}/{number}:");
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {key} {value}"));
        }
    };
    put("rate", limit.rate.clone());
    put("connections", limit.connections.map(|most| most.to_string()));
    put("burst", limit.burst.clone());
    put("per", limit.per.clone());
    put("ipv4_prefix", limit.ipv4_prefix.map(|length| length.to_string()));
    put("ipv6_prefix", limit.ipv6_prefix.map(|length| length.to_string()));
    match &limit.over {
        Some(OverSpec::Word(word)) => put("over", Some(word.clone())),
        Some(OverSpec::Demote(to)) => {
            put("over dscp", to.dscp.clone());
            put("over mark", to.mark.map(|to| mark(Some(to))));
        }
        None => {}
    }
    if let Some(ban) = &limit.ban {
        put("ban", Some(ban.duration.clone()));
        put("after", ban.after.map(|after| after.to_string()));
    }
    text
}

fn cookies_text(cookies: &SynCookiesSpec) -> String {
    match cookies {
        SynCookiesSpec::Word(word) => word.clone(),
        SynCookiesSpec::Above(AboveSpec { above, hold }) => {
            let hold = hold.as_ref().map(|hold| format!(" hold {hold}")).unwrap_or_default();
            format!("above {above}{hold}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{ActionSpec, BanSpec, LimitSpec, PlainAction, RouteSpec};

    fn route(position: u32, name: &str, match_text: &str, action: ActionSpec, packets: u64) -> RouteInfo {
        let action_text = match &action {
            ActionSpec::Plain(PlainAction::Redirect(interface)) => format!("redirect {interface}"),
            ActionSpec::Pool(of) => format!("pool {}", of.pool),
            ActionSpec::Plain(PlainAction::Proxy(port)) => format!("proxy {port}"),
            ActionSpec::Plain(PlainAction::Drop) => "drop".to_owned(),
            _ => "pass".to_owned(),
        };
        RouteInfo {
            position,
            route: RouteSpec {
                mark: (position == 2).then_some(0x10),
                priority: (position == 2).then_some(6),
                ..RouteSpec::new(name, action)
            },
            match_text: match_text.to_owned(),
            action_text,
            counts: Counts { packets, bytes: packets * 100 },
        }
    }

    fn sample() -> RouteList {
        RouteList {
            generation: 42,
            routes: vec![
                route(1, "deny-blocked", "from 192.0.2.0/24", ActionSpec::Plain(PlainAction::Drop), 12),
                route(
                    2,
                    "web",
                    "to 203.0.113.10 protocol tcp port 80,443",
                    ActionSpec::Plain(PlainAction::Pass),
                    1_234_567,
                ),
                route(3, "bypass", "any", ActionSpec::Plain(PlainAction::Redirect("eth1".into())), 0),
            ],
            others: [("default", 7), ("not_ip", 3), ("malformed", 0)]
                .map(|(name, packets)| (name.to_owned(), Counts { packets, bytes: packets * 60 }))
                .into(),
        }
    }

    #[test]
    fn a_list() {
        assert_eq!(
            list(&sample(), false),
            "\
#  NAME          MATCH                                     ACTION         MARK  PACKETS    BYTES
1  deny-blocked  from 192.0.2.0/24                         drop           -          12  1.20 kB
2  web           to 203.0.113.10 protocol tcp port 80,443  pass           0x10    1.23M   123 MB
3  bypass        any                                       redirect eth1  -           0      0 B
-  (default)     no route matches                          -              -           7    420 B
-  (not_ip)      neither IPv4 nor IPv6                     -              -           3    180 B
"
        );
    }

    #[test]
    fn a_wide_list_is_exact() {
        let text = list(&sample(), true);
        assert!(text.contains("PRIORITY"), "{text}");
        assert!(text.contains("0x10  6         1234567  123456700"), "{text}");
    }

    #[test]
    fn what_a_route_limits_is_told() {
        let mut route = sample().routes.swap_remove(1);
        let own = LimitSpec {
            rate: Some("1kpps".into()),
            per: Some("source".into()),
            ban: Some(BanSpec { duration: "10m".into(), after: Some(3) }),
            ..LimitSpec::default()
        };
        route.route.limit = Some(vec![LimitUse::Named("tenant-a".into()), LimitUse::Own(own)]);
        route.route.syn_cookies =
            Some(SynCookiesSpec::Above(AboveSpec { above: "2kcps".into(), hold: Some("10s".into()) }));
        route.route.dscp = Some("af21".into());
        assert!(
            one(&route, false).contains(
                "priority  6
limit     tenant-a
limit     web/2: rate 1kpps per source ban 10m after 3
cookies   above 2kcps hold 10s
dscp      af21
packets   1.23M
"
            ),
            "{}",
            one(&route, false)
        );
    }

    #[test]
    fn one_route() {
        assert_eq!(
            one(&sample().routes[1], false),
            "\
name      web
position  2
match     to 203.0.113.10 protocol tcp port 80,443
action    pass
mark      0x10
priority  6
packets   1.23M
bytes     123 MB
"
        );
    }
}
