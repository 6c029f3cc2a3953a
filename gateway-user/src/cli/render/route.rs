//! Routes.

use super::super::output::Columns;
use super::super::units::{bytes, mark, number, optional};
use crate::api::types::{Counts, RouteInfo, RouteList};

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
    for (key, value) in [
        ("name", route.route.name.clone()),
        ("position", route.position.to_string()),
        ("match", route.match_text.clone()),
        ("action", route.action_text.clone()),
        ("mark", mark(route.route.mark)),
        ("priority", optional(route.route.priority)),
        ("packets", number(route.counts.packets, exact)),
        ("bytes", bytes(route.counts.bytes, exact)),
    ] {
        text.push_str(&format!("{key:<10}{value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{ActionSpec, MatchSpec, RouteSpec};

    fn route(position: u32, name: &str, match_text: &str, action: ActionSpec, packets: u64) -> RouteInfo {
        let action_text = match &action {
            ActionSpec::Redirect(interface) => format!("redirect {interface}"),
            ActionSpec::Drop => "drop".to_owned(),
            _ => "pass".to_owned(),
        };
        RouteInfo {
            position,
            route: RouteSpec {
                name: name.to_owned(),
                matches: MatchSpec::default(),
                mark: (position == 2).then_some(0x10),
                priority: (position == 2).then_some(6),
                action,
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
                route(1, "deny-blocked", "from 192.0.2.0/24", ActionSpec::Drop, 12),
                route(2, "web", "to 203.0.113.10 protocol tcp port 80,443", ActionSpec::Pass, 1_234_567),
                route(3, "bypass", "any", ActionSpec::Redirect("eth1".into()), 0),
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
