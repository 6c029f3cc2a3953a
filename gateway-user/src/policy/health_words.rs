//! Targets' health back to the words of a document: only what differs from what a document gets that does not
//! name it.

use super::units::duration_text;
use super::words::Word;
use super::{Check, CheckKind, Eject, Health, Passive};
use std::ops::RangeInclusive;
use std::time::Duration;

/// A pool's `health`.
pub(super) fn health_word(health: &Health) -> Word {
    let mut words = health.check.as_ref().map(check_words).unwrap_or_default();
    words.extend(health.passive.map(|passive| ("passive", passive_word(passive))));
    if health.eject != Eject::default() {
        words.push(("eject", eject_word(health.eject)));
    }
    words.extend(other("panic", health.panic, Health::PANIC, percent));
    words.extend(other("slow_start", health.slow_start, Health::SLOW_START, time));
    words.extend(other("trial", health.trial, Health::TRIAL, percent));
    words.extend(health.connections.map(|most| ("connections", Word::Number(most))));
    Word::Map(words)
}

type Entry = (&'static str, Word);

/// A value, if it is another than the usual one.
fn other<T: PartialEq>(key: &'static str, value: T, usual: T, word: fn(T) -> Word) -> Option<Entry> {
    (value != usual).then(|| (key, word(value)))
}

fn percent(part: u8) -> Word {
    Word::Plain(format!("{part}%"))
}

fn time(duration: Duration) -> Word {
    Word::Plain(duration_text(duration))
}

fn number(number: u8) -> Word {
    Word::Number(number.into())
}

fn check_words(check: &Check) -> Vec<Entry> {
    let mut words = vec![("check", kind_word(&check.kind))];
    words.extend(other("interval", check.interval, Check::INTERVAL, time));
    words.extend(other("timeout", check.timeout, Check::TIMEOUT.min(check.interval), time));
    words.extend(other("rise", check.rise, Check::RISE, number));
    words.extend(other("fall", check.fall, Check::FALL, number));
    words
}

/// Its name alone, where it has no keys.
fn kind_word(kind: &CheckKind) -> Word {
    let words = match kind {
        CheckKind::Tcp { port } => port_word(*port).into_iter().collect(),
        CheckKind::Tls { port, name } => port_word(*port).into_iter().chain(text("name", name)).collect(),
        CheckKind::Http { port, path, host, status } => {
            let mut words: Vec<Entry> = Vec::new();
            if path != CheckKind::PATH {
                words.push(("path", Word::Text(path.clone())));
            }
            words.extend(port_word(*port));
            words.extend(text("host", host));
            if *status != [CheckKind::STATUS] {
                words.push(("status", Word::List(status.iter().map(status_word).collect())));
            }
            words
        }
        CheckKind::Icmp => Vec::new(),
    };
    if words.is_empty() { Word::plain(kind.name()) } else { Word::Map(vec![(kind.name(), Word::Map(words))]) }
}

fn port_word(port: Option<u16>) -> Option<Entry> {
    port.map(|port| ("port", Word::Number(port.into())))
}

fn text(key: &'static str, text: &Option<String>) -> Option<Entry> {
    text.as_ref().map(|text| (key, Word::Text(text.clone())))
}

fn status_word(range: &RangeInclusive<u16>) -> Word {
    let (first, last) = (*range.start(), *range.end());
    if first == last { Word::Number(first.into()) } else { Word::Plain(format!("{first}-{last}")) }
}

fn passive_word(passive: Passive) -> Word {
    let usual = Passive::default();
    let count = |failures: u16| Word::Number(failures.into());
    let failures = other("failures", passive.failures, usual.failures, count);
    let ratio = other("ratio", passive.ratio, usual.ratio, percent);
    let window = other("window", passive.window, usual.window, time);
    Word::Map(failures.into_iter().chain(ratio).chain(window).collect())
}

fn eject_word(eject: Eject) -> Word {
    let usual = Eject::default();
    let base = other("base", eject.base, usual.base, time);
    let most = other("most", eject.most, usual.most, time);
    let at_most = other("at_most", eject.at_most, usual.at_most, percent);
    Word::Map(base.into_iter().chain(most).chain(at_most).collect())
}
