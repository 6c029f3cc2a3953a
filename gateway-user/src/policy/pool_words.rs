//! Pools back to the words of a document.

use super::health_words::health_word;
use super::units::duration_text;
use super::words::Word;
use super::{Dnat, Forward, Mss, OuterSource, Pool, Target, Timeouts, Translation, hash_name};
use gateway_common::image::HashOver;
use std::net::IpAddr;

/// A pool.
pub(super) fn pool_word(pool: &Pool) -> Word {
    let target = |(name, target): (&String, &Target)| {
        let mut words = vec![("name", Word::Text(name.clone()))];
        words.extend(target_words(target));
        Word::Map(words)
    };
    let mut words = forward_words(pool);
    words.extend(pool.health.as_ref().map(|health| ("health", health_word(health))));
    words.push(("targets", Word::List(pool.targets.iter().map(target).collect())));
    Word::Map(words)
}

/// Four numbers with dots are nothing else to any YAML reader.
fn address_word(address: IpAddr) -> Word {
    match address {
        IpAddr::V4(_) => Word::Plain(address.to_string()),
        IpAddr::V6(_) => Word::Text(address.to_string()),
    }
}

/// A target's keys but its name.
pub(super) fn target_words(target: &Target) -> Vec<(&'static str, Word)> {
    let mut words = vec![("address", address_word(target.address))];
    words.extend(target.port.map(|port| ("port", Word::Number(port.into()))));
    if target.weight != Target::WEIGHT {
        words.push(("weight", Word::Number(target.weight.into())));
    }
    if !target.labels.is_empty() {
        words.push(("labels", Word::Names(target.labels.clone())));
    }
    words
}

/// A pool's keys but its health and its targets.
pub(super) fn forward_words(pool: &Pool) -> Vec<(&'static str, Word)> {
    let mut words = vec![("forward", Word::plain(pool.forward.name()))];
    if pool.hash != HashOver::FiveTuple {
        words.push(("hash", Word::plain(hash_name(pool.hash))));
    }
    if let Forward::Gue { port, .. } = pool.forward
        && port != Forward::GUE_PORT
    {
        words.push(("port", Word::Number(port.into())));
    }
    let sources = pool.forward.source().unwrap_or_default();
    let sources: Vec<Word> = sources.iter().map(address_word).collect();
    if !sources.is_empty() {
        words.push(("source", Word::List(sources)));
    }
    if let Some(dnat) = pool.forward.dnat() {
        words.extend(dnat_words(dnat));
    }
    words.extend(pool.mss.map(|mss| {
        let word = match mss {
            Mss::Way => Word::plain("clamp"),
            Mss::AtMost(bytes) => Word::Number(bytes.into()),
        };
        ("mss", word)
    }));
    words
}

/// What a translating pool says of its connections, but the addresses of their sources.
fn dnat_words(dnat: &Dnat) -> Vec<(&'static str, Word)> {
    let mut words = Vec::new();
    if let Some(source) = dnat.source {
        if source.addresses == OuterSource::default() {
            words.push(("source", Word::plain("masquerade")));
        }
        if source.ports != Translation::PORTS {
            words.push(("ports", Word::Plain(source.ports.to_string())));
        }
    }
    let times = Timeouts::KEYS.into_iter().zip(dnat.timeouts.all()).zip(Timeouts::default().all());
    let times: Vec<_> = times
        .filter(|((_, time), default)| time != default)
        .map(|((key, time), _)| (key, Word::Plain(duration_text(time))))
        .collect();
    if !times.is_empty() {
        words.push(("timeouts", Word::Map(times)));
    }
    words.extend(dnat.affinity.map(|time| ("affinity", Word::Plain(duration_text(time)))));
    words
}
