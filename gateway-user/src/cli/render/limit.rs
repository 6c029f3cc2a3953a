//! Limits.

use super::super::output::Columns;
use super::super::units::{age_ms, bytes, grouped, number};
use super::names;
use crate::api::types::{
    Counts, ForgiveReport, LimitDetail, LimitInfo, LimitKey, LimitList, LimitTables, SynCookieInfo,
};

/// Limits as a table, and below it the tables that they share.
#[must_use]
pub fn list(list: &LimitList, wide: bool) -> String {
    if list.limits.is_empty() {
        return format!("the live policy has no limits\n{}", tables(&list.tables));
    }
    let mut heads = vec!["NAME", "LIMIT", ">ADMITTED", ">REFUSED", ">KEYS", ">BANNED", "STATE"];
    if wide {
        heads.extend([">ADMITTED BYTES", ">REFUSED BYTES", ">EVICTED", ">BANS", "ROUTES"]);
    }
    let mut columns = Columns::new(&heads);
    for limit in &list.limits {
        let keyed = |keys: u32| if limit.terms.per == "route" { "-".to_owned() } else { keys.to_string() };
        let mut cells = vec![
            limit.name.clone(),
            limit.text.clone(),
            number(limit.admitted.packets, wide),
            number(limit.refused.packets, wide),
            keyed(limit.keys),
            keyed(limit.banned),
            state(limit),
        ];
        if wide {
            cells.extend([
                bytes(limit.admitted.bytes, true),
                bytes(limit.refused.bytes, true),
                limit.evicted.to_string(),
                limit.bans.to_string(),
                limit.routes.join(","),
            ]);
        }
        columns.row(cells);
    }
    columns.text() + &tables(&list.tables)
}

/// What a limit is at, in a word or two.
fn state(limit: &LimitInfo) -> String {
    match (&limit.syn_cookies, limit.open, limit.used_permille) {
        (Some(cookies), _, _) if limit.terms.rate_per_sec.is_none() => {
            format!("always, {} proven", cookies.sources)
        }
        (Some(cookies), _, _) if cookies.under_attack => format!("under attack, {} proven", cookies.sources),
        (Some(_), _, _) => "no attack".to_owned(),
        (None, Some(open), _) => format!("{} open", grouped(open)),
        (None, None, Some(used)) => format!("{} used", percent(used)),
        (None, None, None) if limit.banned > 0 => "bans".to_owned(),
        (None, None, None) => "-".to_owned(),
    }
}

fn percent(permille: u64) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

fn tables(tables: &LimitTables) -> String {
    let mut text = format!(
        "{} of {} keys in use, {} in debt; {} of {} connections open\n",
        grouped(tables.keys),
        grouped(tables.keys_max),
        grouped(tables.keys_in_debt),
        grouped(tables.connections),
        grouped(tables.connections_max),
    );
    let lost = [
        (tables.keys_evicted, "keys lost their bucket"),
        (tables.connections_refused, "connections found no place"),
        (tables.contended, "packets refused because many CPUs met at one limit"),
    ];
    let lost: Vec<String> = lost
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count)))
        .collect();
    if !lost.is_empty() {
        text.push_str(&format!("{}\n", lost.join("; ")));
    }
    text
}

/// A limit and its keys.
#[must_use]
pub fn one(detail: &LimitDetail, wide: bool) -> String {
    let limit = &detail.limit;
    let mut text = String::new();
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key:<10}{value}\n"));
    line("limit", &limit.name);
    line("says", &limit.text);
    line("routes", &if limit.routes.is_empty() { "none".to_owned() } else { names(&limit.routes) });
    line("admitted", &counts(limit.admitted, wide));
    line("refused", &counts(limit.refused, wide));
    match &limit.syn_cookies {
        Some(cookies) => line("cookies", &cookies_text(cookies)),
        None if limit.terms.per == "route" => line("bucket", &state(limit)),
        None => line(
            "keys",
            &format!(
                "{} in debt, {} banned; {} lost their bucket, {} bans so far",
                grouped(limit.keys.into()),
                grouped(limit.banned.into()),
                grouped(limit.evicted),
                grouped(limit.bans),
            ),
        ),
    }
    if !detail.top.is_empty() {
        let mut columns = Columns::new(&["KEY", "STATE"]);
        for key in &detail.top {
            columns.row(vec![key.key.clone(), key_state(key)]);
        }
        text.push('\n');
        text.push_str(&columns.text());
        let known =
            limit.syn_cookies.map_or(limit.keys, |cookies| cookies.sources).max(detail.top.len() as u32);
        if known as usize > detail.top.len() {
            text.push_str(&format!(
                "{} of {} keys; --limit shows more\n",
                detail.top.len(),
                grouped(known.into())
            ));
        }
    }
    text
}

fn counts(counts: Counts, wide: bool) -> String {
    format!("{} packets, {}", grouped(counts.packets), bytes(counts.bytes, wide))
}

fn cookies_text(cookies: &SynCookieInfo) -> String {
    let now = match (cookies.under_attack, cookies.left_ms) {
        (true, Some(left)) => format!("asked for, {} more at least", age_ms(left)),
        (true, None) => "always asked for".to_owned(),
        (false, _) => "not asked for now".to_owned(),
    };
    format!(
        "{now}; {} sent, {} came back, {} sources need none now",
        grouped(cookies.sent),
        grouped(cookies.proven),
        grouped(cookies.sources.into())
    )
}

fn key_state(key: &LimitKey) -> String {
    if let Some(ms) = key.banned_ms {
        return format!("banned for {}", age_ms(ms));
    }
    if let Some(ms) = key.proven_ms {
        return format!("needs no cookie for {}", age_ms(ms));
    }
    if let Some(open) = key.open {
        return format!("{} open", grouped(open));
    }
    let used = percent(key.used_permille.unwrap_or_default());
    format!("{used} used, full in {}", age_ms(key.full_in_ms.unwrap_or_default()))
}

/// What was forgiven.
#[must_use]
pub fn forgiven(report: &ForgiveReport) -> String {
    let mut text = String::new();
    for (keys, what) in
        [(&report.forgiven, "has a full bucket now"), (&report.unknown, "was neither banned nor in debt")]
    {
        for key in keys {
            text.push_str(&format!("{key} {what}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::LimitTerms;

    fn limit(name: &str, text: &str, per: &str) -> LimitInfo {
        LimitInfo {
            name: name.into(),
            routes: vec!["web".into()],
            text: text.into(),
            terms: LimitTerms { per: per.into(), rate_per_sec: Some(1), ..LimitTerms::default() },
            admitted: Counts { packets: 123_456, bytes: 12_345_678 },
            refused: Counts { packets: 789, bytes: 78_900 },
            used_permille: None,
            open: None,
            keys: 0,
            banned: 0,
            evicted: 0,
            bans: 0,
            syn_cookies: None,
        }
    }

    fn cookies() -> SynCookieInfo {
        SynCookieInfo { under_attack: true, left_ms: Some(9_400), sent: 12_345, proven: 67, sources: 60 }
    }

    #[test]
    fn a_list() {
        let shared =
            LimitInfo { used_permille: Some(633), ..limit("tenant-a", "50Mbit, burst 1MB", "route") };
        let own = LimitInfo {
            keys: 12,
            banned: 3,
            bans: 4,
            ..limit("web/1", "1kpps, burst 2k, per source", "source")
        };
        let open = LimitInfo { open: Some(1_234), ..limit("web/2", "2k open", "route") };
        let syn = LimitInfo {
            syn_cookies: Some(cookies()),
            ..limit("web/syn", "SYN cookies above 2kcps, for 10s", "route")
        };
        let tables = LimitTables {
            keys: 5_000,
            keys_in_debt: 72,
            keys_max: 262_144,
            keys_evicted: 9,
            connections: 1_234,
            connections_max: 262_144,
            ..LimitTables::default()
        };
        let limits = LimitList { generation: 7, limits: vec![shared, own, open, syn], tables };
        assert_eq!(
            list(&limits, false),
            "\
NAME      LIMIT                             ADMITTED  REFUSED  KEYS  BANNED  STATE
tenant-a  50Mbit, burst 1MB                     123k      789     -       -  63.3 % used
web/1     1kpps, burst 2k, per source           123k      789    12       3  bans
web/2     2k open                               123k      789     -       -  1,234 open
web/syn   SYN cookies above 2kcps, for 10s      123k      789     -       -  under attack, 60 proven
5,000 of 262,144 keys in use, 72 in debt; 1,234 of 262,144 connections open
9 keys lost their bucket
"
        );
        let wide = list(&limits, true);
        assert!(wide.contains("123456      789    12       3  bans"), "{wide}");
        assert!(wide.contains("12345678          78900        0     4  web\n"), "{wide}");
        let none = LimitList { generation: 7, limits: vec![], tables };
        assert!(list(&none, false).starts_with("the live policy has no limits\n5,000 of"));
    }

    #[test]
    fn a_limit_with_its_keys() {
        let key = |key: &str| LimitKey {
            key: key.into(),
            used_permille: None,
            full_in_ms: None,
            open: None,
            banned_ms: None,
            proven_ms: None,
        };
        let banned = LimitKey { banned_ms: Some(552_000), ..key("198.51.100.7") };
        let used = LimitKey { used_permille: Some(831), full_in_ms: Some(1_660), ..key("2001:db8::/48") };
        let own = LimitInfo {
            keys: 12,
            banned: 3,
            bans: 4,
            ..limit("web/1", "1kpps, burst 2k, per source", "source")
        };
        assert_eq!(
            one(&LimitDetail { limit: own, top: vec![banned, used] }, false),
            "\
limit     web/1
says      1kpps, burst 2k, per source
routes    web
admitted  123,456 packets, 12.3 MB
refused   789 packets, 78.9 kB
keys      12 in debt, 3 banned; 0 lost their bucket, 4 bans so far

KEY            STATE
198.51.100.7   banned for 9m 12s
2001:db8::/48  83.1 % used, full in 1.6s
2 of 12 keys; --limit shows more
"
        );
        let syn = LimitInfo {
            routes: vec![],
            syn_cookies: Some(cookies()),
            ..limit("web/syn", "SYN cookies above 2kcps, for 10s", "route")
        };
        let proven = LimitKey { proven_ms: Some(60_000), ..key("192.0.2.9") };
        let text = one(&LimitDetail { limit: syn, top: vec![proven] }, false);
        assert!(text.contains("\nroutes    none\n"), "{text}");
        assert!(
            text.contains(
                "\ncookies   asked for, 9.4s more at least; 12,345 sent, 67 came back, 60 sources need none now\n"
            ),
            "{text}"
        );
        assert!(text.contains("192.0.2.9  needs no cookie for 1m 0s\n"), "{text}");
    }

    #[test]
    fn what_was_forgiven_and_what_not() {
        let report = ForgiveReport { forgiven: vec!["10.0.0.1".into()], unknown: vec!["10.0.0.2".into()] };
        assert_eq!(
            forgiven(&report),
            "10.0.0.1 has a full bucket now\n10.0.0.2 was neither banned nor in debt\n"
        );
    }
}
