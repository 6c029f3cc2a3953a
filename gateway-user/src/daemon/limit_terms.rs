//! What a limit says, in the words of a document and of the API, and the names of its keys.

use super::limits::LiveLimit;
use crate::api::types::LimitTerms;
use crate::compile::label_set_key;
use crate::policy::{
    KeyLengths, Limit, Over, Per, Quantity, SynCookies, burst_text, connection_rate_text, duration_text,
    rate_text,
};
use gateway_common::abi::KeyName;
use gateway_common::packet::address_of;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a limit says.
#[derive(Clone, Debug)]
pub struct Terms {
    /// In short.
    pub text: String,
    /// In the API's words.
    pub spec: LimitTerms,
    /// Whether they are of a route's SYN cookies.
    pub is_syn_cookies: bool,
}

impl Terms {
    /// Whether all that it sees shares a bucket.
    #[must_use]
    pub fn is_one_bucket(&self) -> bool {
        self.spec.per == "route"
    }

    /// Whether it counts connections that are open at once.
    #[must_use]
    pub fn counts_open(&self) -> bool {
        self.spec.connections_max.is_some()
    }
}

/// The terms of a limit.
#[must_use]
pub fn terms(limit: &Limit) -> Terms {
    let mut spec = LimitTerms::default();
    let (unit, rate) = match limit.quantity {
        Quantity::Packets(rate) => ("packets", Some(rate)),
        Quantity::Bytes(rate) => ("bytes", Some(rate)),
        Quantity::NewConnections(rate) => ("new_connections", Some(rate)),
        Quantity::OpenConnections(most) => {
            spec.connections_max = Some(most);
            ("connections", None)
        }
    };
    unit.clone_into(&mut spec.unit);
    spec.rate_per_sec = rate.map(|rate| rate.per_second);
    spec.burst = rate.map(|rate| rate.burst);
    let mut text = match burst_text(&limit.quantity) {
        Some(burst) => format!("{}, burst {burst}", rate_text(&limit.quantity)),
        None => format!("{} open", rate_text(&limit.quantity)),
    };
    let (per, lengths) = match limit.per {
        Per::Route => ("route", None),
        Per::Source(lengths) => ("source", Some(lengths)),
        Per::Destination(lengths) => ("destination", Some(lengths)),
        Per::Label => ("label", None),
    };
    per.clone_into(&mut spec.per);
    if per != "route" {
        text.push_str(&format!(", per {per}"));
    }
    if let Some(lengths) = lengths {
        (spec.ipv4_prefix, spec.ipv6_prefix) = (Some(lengths.ipv4), Some(lengths.ipv6));
        if lengths != KeyLengths::ADDRESS {
            text.push_str(&format!(" /{} /{}", lengths.ipv4, lengths.ipv6));
        }
    }
    match limit.over {
        Over::Drop => "drop".clone_into(&mut spec.over),
        Over::Count => {
            "count".clone_into(&mut spec.over);
            text.push_str(", only counted");
        }
        Over::Demote { dscp, mark } => {
            "demote".clone_into(&mut spec.over);
            (spec.over_dscp, spec.over_mark) = (dscp, mark);
            text.push_str(", over it");
            text.extend(dscp.map(|dscp| format!(" dscp {dscp}")));
            text.extend(mark.map(|mark| format!(" mark {mark:#x}")));
        }
    }
    if let Some(ban) = limit.ban {
        (spec.ban_secs, spec.ban_after) = (Some(ban.duration.as_secs()), Some(ban.after));
        text.push_str(&format!(", ban {}", duration_text(ban.duration)));
        if ban.after > 1 {
            text.push_str(&format!(" after {}", ban.after));
        }
    }
    Terms { text, spec, is_syn_cookies: false }
}

/// The terms of a route's SYN cookies.
#[must_use]
pub fn syn_terms(cookies: SynCookies) -> Terms {
    let mut spec = LimitTerms {
        unit: "syns".to_owned(),
        per: "route".to_owned(),
        over: "cookie".to_owned(),
        ..LimitTerms::default()
    };
    let text = match cookies {
        SynCookies::Always => "SYN cookies, always".to_owned(),
        SynCookies::Above { per_second, hold } => {
            spec.rate_per_sec = Some(per_second);
            let (rate, hold) = (connection_rate_text(per_second), duration_text(hold));
            format!("SYN cookies above {rate}, for {hold}")
        }
    };
    Terms { text, spec, is_syn_cookies: true }
}

/// Most sets of labels that are tried for a name.
const LABEL_SETS_MAX: usize = 100_000;

/// Names of the sets of labels that senders may carry, by the key of their buckets.
#[derive(Debug, Default)]
pub struct LabelSets(HashMap<u64, String>);

impl LabelSets {
    /// All sets of these labels, in order; of so many labels that there would be very many sets, only the
    /// smaller ones.
    #[must_use]
    pub fn of(labels: &[String]) -> LabelSets {
        let mut names = HashMap::from([(label_set_key([]), "(none)".to_owned())]);
        let mut smaller: Vec<Vec<usize>> = vec![Vec::new()];
        while !smaller.is_empty() {
            let next = |set: &Vec<usize>| set.last().map_or(0, |last| last + 1)..labels.len();
            if names.len() + smaller.iter().map(|set| next(set).len()).sum::<usize>() > LABEL_SETS_MAX {
                break;
            }
            let mut larger = Vec::new();
            for set in &smaller {
                larger.extend(next(set).map(|label| [set.as_slice(), &[label]].concat()));
            }
            for set in &larger {
                let set: Vec<&str> = set.iter().map(|label| labels[*label].as_str()).collect();
                names.insert(label_set_key(set.iter().copied()), set.join("+"));
            }
            smaller = larger;
        }
        LabelSets(names)
    }
}

/// A key as text.
#[must_use]
pub fn key_text(limit: &LiveLimit, name: &KeyName, label_sets: &LabelSets) -> String {
    let [high, low] = name.key;
    let (address, bits) = match name.family {
        4 => (IpAddr::V4(Ipv4Addr::from_bits((high >> 32) as u32)), 32),
        6 => (IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))), 128),
        _ => return label_sets.0.get(&high).cloned().unwrap_or_else(|| "(other)".to_owned()),
    };
    match key_length(limit, name.family) {
        Some(length) if length < bits => format!("{address}/{length}"),
        _ => address.to_string(),
    }
}

/// Bits of an address that are a key; nothing for whole addresses, which those are that have shown a
/// SYN cookie.
fn key_length(limit: &LiveLimit, family: u32) -> Option<u8> {
    let spec = &limit.terms.spec;
    if family == 6 { spec.ipv6_prefix } else { spec.ipv4_prefix }
}

/// A key that was named.
#[derive(Debug)]
pub struct NamedKey {
    /// As [`KeyName::key`].
    pub words: [u64; 2],
    /// 4 or 6.
    pub family: u32,
    /// In the words of [`key_text`].
    pub text: String,
}

/// Reads keys with commas between them: addresses, or prefixes of just the limit's length.
///
/// # Errors
/// The first that is none, and what would be one.
pub fn keys(limit: &LiveLimit, text: &str) -> Result<Vec<NamedKey>, (String, String)> {
    text.split(',').map(|word| key(limit, word).map_err(|reason| (word.to_owned(), reason))).collect()
}

fn key(limit: &LiveLimit, word: &str) -> Result<NamedKey, String> {
    if limit.terms.counts_open() {
        return Err("its connections are open, and closing them is not for a limit to do".to_owned());
    }
    if limit.terms.spec.per == "label" || limit.terms.is_one_bucket() && !limit.terms.is_syn_cookies {
        return Err("only limits by source or destination have keys that can be named".to_owned());
    }
    let net = match word.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => word.parse::<IpNet>().map_err(|_| "an address or a prefix would be one".to_owned())?,
    };
    let family = if net.addr().is_ipv4() { 4 } else { 6 };
    let length = key_length(limit, family).unwrap_or(net.max_prefix_len());
    if net.prefix_len() != length && net.prefix_len() != net.max_prefix_len() {
        return Err(format!("its keys are /{length}"));
    }
    let net = IpNet::new(net.addr(), length).map_err(|error| error.to_string())?.trunc();
    let words = address_of(net.addr());
    let text = if length == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
    Ok(NamedKey { words, family, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::limit_entry;
    use crate::policy::{Ban, Rate};
    use std::time::Duration;

    fn limit(quantity: Quantity, per: Per) -> Limit {
        Limit { quantity, per, over: Over::Drop, ban: None }
    }

    fn live(limit: &Limit) -> LiveLimit {
        let entry = limit_entry(limit, 3, 1);
        LiveLimit { name: "web/1".into(), entry, routes: Vec::new(), terms: terms(limit) }
    }

    const PACKETS: Quantity = Quantity::Packets(Rate { per_second: 1_000, burst: 2_000 });
    const NETWORKS: Per = Per::Source(KeyLengths { ipv4: 24, ipv6: 48 });

    #[test]
    fn terms_are_put_into_words() {
        let minute = Duration::from_secs(60);
        let demote = Over::Demote { dscp: Some(8), mark: Some(0x20) };
        let bytes = Quantity::Bytes(Rate { per_second: 6_250_000, burst: 1_000_000 });
        for (limit, text) in [
            (limit(PACKETS, Per::Route), "1kpps, burst 2k"),
            (limit(bytes, Per::Label), "50Mbit, burst 1MB, per label"),
            (limit(PACKETS, NETWORKS), "1kpps, burst 2k, per source /24 /48"),
            (limit(PACKETS, Per::Destination(KeyLengths::ADDRESS)), "1kpps, burst 2k, per destination"),
            (limit(Quantity::OpenConnections(1_000), Per::Route), "1k open"),
            (
                Limit { over: demote, ..limit(PACKETS, Per::Route) },
                "1kpps, burst 2k, over it dscp 8 mark 0x20",
            ),
            (Limit { over: Over::Count, ..limit(PACKETS, Per::Route) }, "1kpps, burst 2k, only counted"),
            (
                Limit { ban: Some(Ban { duration: minute, after: 1 }), ..limit(PACKETS, NETWORKS) },
                "1kpps, burst 2k, per source /24 /48, ban 1m",
            ),
        ] {
            assert_eq!(terms(&limit).text, text);
        }
        let above = SynCookies::Above { per_second: 2_000, hold: minute };
        assert_eq!(syn_terms(above).text, "SYN cookies above 2kcps, for 1m");
        assert_eq!(syn_terms(SynCookies::Always).text, "SYN cookies, always");
    }

    #[test]
    fn keys_are_named_and_read() {
        let limit = live(&limit(PACKETS, NETWORKS));
        let read = keys(&limit, "198.51.100.7,2001:db8:7::/48,198.51.100.0/24").unwrap();
        let texts: Vec<&str> = read.iter().map(|key| key.text.as_str()).collect();
        assert_eq!(texts, ["198.51.100.0/24", "2001:db8:7::/48", "198.51.100.0/24"]);
        for key in &read {
            let name = KeyName { key: key.words, family: key.family, slot: 3, ..KeyName::default() };
            assert_eq!(key_text(&limit, &name, &LabelSets::default()), key.text);
        }
        for (wrong, reason) in [
            ("198.51.0.0/16", "its keys are /24"),
            ("2001:db8::/32", "its keys are /48"),
            ("everybody", "an address or a prefix would be one"),
            ("", "an address or a prefix would be one"),
        ] {
            let error = keys(&limit, &format!("192.0.2.1,{wrong}")).unwrap_err();
            assert_eq!((error.0.as_str(), error.1.as_str()), (wrong, reason));
        }
    }

    #[test]
    fn what_has_no_keys_to_name_says_so() {
        for (quantity, per) in
            [(PACKETS, Per::Route), (PACKETS, Per::Label), (Quantity::OpenConnections(5), NETWORKS)]
        {
            assert!(keys(&live(&limit(quantity, per)), "192.0.2.1").is_err(), "{per:?}");
        }
    }

    #[test]
    fn sets_of_labels_have_names() {
        let limit = live(&limit(PACKETS, Per::Label));
        let labels = ["a", "b", "c"].map(str::to_owned);
        let sets = LabelSets::of(&labels);
        assert_eq!(sets.0.len(), 8);
        let text = |names: &[&str]| {
            let key = [label_set_key(names.iter().copied()), 0];
            key_text(&limit, &KeyName { key, ..KeyName::default() }, &sets)
        };
        assert_eq!(
            (text(&[]), text(&["b"]), text(&["a", "b", "c"])),
            ("(none)".into(), "b".into(), "a+b+c".into())
        );
        assert_eq!(text(&["x"]), "(other)");
        // Of a thousand labels there are too many sets to name all of them.
        let many: Vec<String> = (0..1_000).map(|n| format!("l{n:04}")).collect();
        assert_eq!(LabelSets::of(&many).0.len(), 1_001);
    }
}
