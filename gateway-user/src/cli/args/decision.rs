//! Values of flags that say what a route does: actions, marks, limits, SYN cookies.

use crate::api::types::{
    AboveSpec, ActionSpec, BanSpec, DemoteSpec, LimitSpec, LimitUse, OverSpec, PlainAction, PoolUse,
    SynCookiesSpec,
};
use std::collections::BTreeMap;
use std::str::FromStr;

const ACTION_HELP: &str =
    "write pass, drop, tx, redirect:INTERFACE, pool:NAME, pool:NAME,LABEL=VALUE or proxy:PORT";

/// `pass`, `drop`, `tx`, `redirect:eth1`, `pool:web`, `pool:web,version=v2` or `proxy:15001`.
pub fn parse_action(text: &str) -> Result<ActionSpec, String> {
    match text.split_once(':') {
        None if text == "pass" => Ok(ActionSpec::Plain(PlainAction::Pass)),
        None if text == "drop" => Ok(ActionSpec::Plain(PlainAction::Drop)),
        None if text == "tx" => Ok(ActionSpec::Plain(PlainAction::Tx)),
        Some(("redirect", interface)) if !interface.is_empty() => {
            Ok(ActionSpec::Plain(PlainAction::Redirect(interface.to_owned())))
        }
        Some(("pool", pool)) if !pool.is_empty() => parse_pool(pool),
        Some(("proxy", port)) => match port.parse() {
            Ok(port @ 1..) => Ok(ActionSpec::Plain(PlainAction::Proxy(port))),
            _ => Err(format!("{port:?} is not a port; write 1 to 65535")),
        },
        _ => Err(ACTION_HELP.to_owned()),
    }
}

/// `web` or `web,version=v2,zone=a`.
fn parse_pool(text: &str) -> Result<ActionSpec, String> {
    let mut parts = text.split(',');
    let pool = parts.next().unwrap_or_default().to_owned();
    let mut targets = BTreeMap::new();
    for part in parts {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("`{part}` is no label; write pool:web,version=v2"))?;
        if targets.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("`{key}` stands twice; keep one of them"));
        }
    }
    Ok(ActionSpec::Pool(PoolUse { pool, targets }))
}

/// A mark or a priority, decimal or 0x…; not 0, which stands for none.
pub fn parse_number(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        Ok(0) => Err("0 cannot be told from none; write 1 to 4294967295, or 0x1 to 0xffffffff".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write 1 to 4294967295, or 0x1 to 0xffffffff".to_owned()),
    }
}

/// The same, or `none`, which is 0 in the control API.
pub fn parse_setting(text: &str) -> Result<u32, String> {
    if text == "none" { Ok(0) } else { parse_number(text).map_err(|error| format!("{error}, or none")) }
}

const LIMIT_HELP: &str = "write rate=1kpps,burst=2k,per=source, or the name of one of the policy's limits; the \
     keys are rate, connections, burst, per, ipv4_prefix, ipv6_prefix, over, dscp, mark, ban and after";

/// `rate=1kpps,burst=2k,per=source`, or a name.
pub fn parse_limit(text: &str) -> Result<LimitUse, String> {
    if !text.contains('=') {
        return Ok(LimitUse::Named(text.to_owned()));
    }
    let mut limit = LimitSpec::default();
    let mut demote = DemoteSpec::default();
    let mut after = None;
    for part in text.split(',') {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("`{part}` has no value; {LIMIT_HELP}"))?;
        let word = || Some(value.to_owned());
        let twice = match key {
            "rate" => limit.rate.replace(value.to_owned()).is_some(),
            "connections" => limit.connections.replace(number(key, value)?).is_some(),
            "burst" => limit.burst.replace(value.to_owned()).is_some(),
            "per" => limit.per.replace(value.to_owned()).is_some(),
            "ipv4_prefix" => limit.ipv4_prefix.replace(number(key, value)?).is_some(),
            "ipv6_prefix" => limit.ipv6_prefix.replace(number(key, value)?).is_some(),
            "over" => limit.over.replace(OverSpec::Word(value.to_owned())).is_some(),
            "dscp" => std::mem::replace(&mut demote.dscp, word()).is_some(),
            "mark" => demote.mark.replace(parse_number(value)?).is_some(),
            "ban" => limit.ban.replace(BanSpec { duration: value.to_owned(), after: None }).is_some(),
            "after" => after.replace(number(key, value)?).is_some(),
            _ => return Err(format!("a limit has no key `{key}`; {LIMIT_HELP}")),
        };
        if twice {
            return Err(format!("`{key}` stands twice; keep one of them"));
        }
    }
    if demote != DemoteSpec::default() {
        if limit.over.is_some() {
            return Err("`over` says it in a word, `dscp` and `mark` demote; keep one of them".to_owned());
        }
        limit.over = Some(OverSpec::Demote(demote));
    }
    match (&mut limit.ban, after) {
        (Some(ban), after) => ban.after = after,
        (None, Some(_)) => return Err("`after` belongs to a ban; write ban=10m,after=100".to_owned()),
        (None, None) => {}
    }
    Ok(LimitUse::Own(limit))
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{key}` is a whole number, and {value:?} is none that it can be"))
}

/// `always`, `2kcps` or `2kcps,hold=10s`.
pub fn parse_syn_cookies(text: &str) -> Result<SynCookiesSpec, String> {
    if matches!(text, "always" | "none") {
        return Ok(SynCookiesSpec::Word(text.to_owned()));
    }
    let (above, hold) = match text.split_once(',') {
        None => (text, None),
        Some((above, rest)) => {
            let hold = rest
                .strip_prefix("hold=")
                .ok_or_else(|| "write always, 2kcps or 2kcps,hold=10s".to_owned())?;
            (above, Some(hold.to_owned()))
        }
    };
    Ok(SynCookiesSpec::Above(AboveSpec { above: above.to_owned(), hold }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limit(text: &str) -> serde_json::Value {
        serde_json::to_value(parse_limit(text).unwrap()).unwrap()
    }

    #[test]
    fn actions() {
        let of = |text: &str| serde_json::to_value(parse_action(text).unwrap()).unwrap();
        assert_eq!(of("pool:web"), json!({"pool": "web"}));
        assert_eq!(
            of("pool:web,version=v2,zone=a"),
            json!({"pool": "web", "targets": {"version": "v2", "zone": "a"}})
        );
        assert_eq!(of("proxy:15001"), json!({"proxy": 15_001}));
        for wrong in ["pool:", "pool:web,v2", "pool:web,a=b,a=c", "proxy:0", "proxy:http", "reject"] {
            assert!(parse_action(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!(limit("tenant-a"), json!("tenant-a"));
        assert_eq!(
            limit("rate=1kpps,burst=2k,per=source,ipv4_prefix=24,ban=10m,after=100"),
            json!({"rate": "1kpps", "burst": "2k", "per": "source", "ipv4_prefix": 24, "ban": {"for": "10m", "after": 100}})
        );
        assert_eq!(
            limit("connections=1000,dscp=cs1,mark=0x20"),
            json!({"connections": 1000, "over": {"dscp": "cs1", "mark": 32}})
        );
        for (text, wrong) in [
            ("rate=1kpps,rate=2kpps", "`rate` stands twice"),
            ("rate=1kpps,brust=1", "no key `brust`"),
            ("rate=1kpps,source", "`source` has no value"),
            ("rate=1kpps,after=3", "`after` belongs to a ban"),
            ("rate=1kpps,over=count,dscp=cs1", "keep one of them"),
            ("connections=-1", "\"-1\" is none that it can be"),
        ] {
            let error = parse_limit(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn syn_cookies() {
        let of = |text: &str| serde_json::to_value(parse_syn_cookies(text).unwrap()).unwrap();
        assert_eq!(of("always"), json!("always"));
        assert_eq!(of("2kcps"), json!({"above": "2kcps"}));
        assert_eq!(of("2kcps,hold=1m"), json!({"above": "2kcps", "hold": "1m"}));
        assert!(parse_syn_cookies("2kcps,for=1m").is_err());
    }
}
