//! Quantities: a number, a prefix and a unit; lengths of time, percentages, counts.

use super::scalars::{Read, is_decimal, wrong};
use crate::policy::units::duration_text;
use crate::policy::{Check, Eject, Health, Passive, Quantity, Rate, Timeouts};
use std::time::Duration;

/// 100 Gbit/s, in bytes a second.
const BYTES_PER_SECOND_MAX: u64 = 12_500_000_000;
/// Some more than 100 Gbit/s of the smallest frames.
const PACKETS_PER_SECOND_MAX: u64 = 150_000_000;
/// Most units at once: what no rate can make up for in 30 days is refused before.
const BURST_MAX: u64 = 1 << 56;

const RATE_HELP: &str =
    "write packets (`1kpps`), bits (`50Mbit`) or new connections (`2kcps`) a second, with k, M or G";
const CONNECTIONS_HELP: &str = "write a number of connections: 1000 or 1k";

/// How many units a number with a prefix is; `None` where it is no number, or no whole one.
fn amount(text: &str) -> Option<u64> {
    let (number, scale) = match text.char_indices().next_back()? {
        (at, 'k') => (&text[..at], 1_000),
        (at, 'M') => (&text[..at], 1_000_000),
        (at, 'G') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_decimal(whole) || !is_decimal(fraction) || fraction.len() > 9 {
        return None;
    }
    let divisor = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let parts = fraction.parse::<u64>().ok()?.checked_mul(scale)?;
    if !parts.is_multiple_of(divisor) {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(parts / divisor)
}

/// A rate: what is counted, and how much of it a second. Its burst is the one that a document gets
/// that names none.
pub(super) fn rate(text: &str) -> Read<Quantity> {
    let text = text.trim();
    let counted = |unit: &str, min_burst: u64| {
        let per_second = amount(text.strip_suffix(unit)?.trim_end())?;
        Some(Rate { per_second, burst: (per_second / 10).max(min_burst) })
    };
    let quantity = if let Some(rate) = counted("pps", 1) {
        Quantity::Packets(rate)
    } else if let Some(rate) = counted("cps", 1) {
        Quantity::NewConnections(rate)
    } else if let Some(Rate { per_second: bits, .. }) = counted("bit", 1) {
        if !bits.is_multiple_of(8) {
            let help = format!("write {}bit or {}bit", bits / 8 * 8, bits.saturating_add(8) / 8 * 8);
            return wrong(format!("{text} is not a whole number of bytes"), help);
        }
        let per_second = bits / 8;
        Quantity::Bytes(Rate { per_second, burst: (per_second / 10).max(3_000) })
    } else {
        return wrong(format!("{text:?} is not a rate"), rate_help(text));
    };
    let (per_second, most, most_text) = match quantity {
        Quantity::Bytes(rate) => (rate.per_second, BYTES_PER_SECOND_MAX, "100Gbit"),
        Quantity::Packets(rate) => (rate.per_second, PACKETS_PER_SECOND_MAX, "150Mpps"),
        Quantity::NewConnections(rate) => (rate.per_second, PACKETS_PER_SECOND_MAX, "150Mcps"),
        Quantity::OpenConnections(_) => (1, 1, ""),
    };
    if per_second == 0 {
        return wrong(format!("{text} lets nothing pass"), "write `action: drop`, or a rate of at least 1");
    }
    if per_second > most {
        return wrong(format!("{text} is more than can be limited"), format!("{most_text} is the most"));
    }
    Ok(quantity)
}

/// What was probably meant.
fn rate_help(text: &str) -> String {
    let meant = if let Some(rate) = text.strip_suffix("/s") {
        rate.to_owned()
    } else if let Some(number) = text.strip_suffix("bps").or_else(|| text.strip_suffix("bits")) {
        format!("{number}bit")
    } else {
        String::new()
    };
    if !meant.is_empty() && rate(&meant).is_ok() {
        return format!("write {meant}");
    }
    if amount(text).is_some() {
        return format!("it has no unit: {RATE_HELP}");
    }
    if ["B", "B/s", "Bps"].iter().any(|unit| text.ends_with(unit)) {
        return format!("rates count bits, 8 a byte: {RATE_HELP}");
    }
    RATE_HELP.to_owned()
}

/// New connections a second: SYN cookies' threshold.
pub(super) fn connection_rate(text: &str) -> Read<u64> {
    match rate(text)? {
        Quantity::NewConnections(rate) => Ok(rate.per_second),
        _ => wrong(format!("{text} does not count connections"), "write new connections a second: `2kcps`"),
    }
}

/// A burst in the unit of what it belongs to.
pub(super) fn burst(text: &str, of: &Quantity) -> Read<u64> {
    let text = text.trim();
    let bytes = matches!(of, Quantity::Bytes(_));
    let number = if bytes { text.strip_suffix('B').map(str::trim_end) } else { Some(text) };
    let help = match of {
        Quantity::Bytes(_) => "write bytes, with B, kB, MB or GB: `64kB`, `1MB`",
        Quantity::Packets(_) => "write a number of packets: 2000 or 2k",
        _ => "write a number of new connections: 2000 or 2k",
    };
    match number.and_then(amount) {
        Some(0) => wrong("a burst of 0 lets nothing pass", "write at least 1, or leave `burst` out"),
        Some(burst) if burst <= BURST_MAX => Ok(burst),
        Some(_) => wrong(format!("a burst of {text} is more than can be held"), help),
        None => wrong(format!("{text:?} is not a burst here"), help),
    }
}

/// Connections open at once.
pub(super) fn connections(text: &str) -> Read<u32> {
    connections_or(text, "write `action: drop`, or at least 1")
}

/// Connections that a target has open at once.
pub(super) fn target_connections(text: &str) -> Read<u32> {
    connections_or(text, "write `weight: 0` at the targets, or at least 1")
}

/// `for_none` is what to write instead of 0.
fn connections_or(text: &str, for_none: &str) -> Read<u32> {
    match amount(text.trim()).map(u32::try_from) {
        Some(Ok(0)) => wrong("0 connections let nothing pass", for_none),
        Some(Ok(most)) => Ok(most),
        Some(Err(_)) => wrong(format!("{text} is more than can be counted"), "4294967295 is the most"),
        None => wrong(format!("{text:?} is not a number of connections"), CONNECTIONS_HELP),
    }
}

/// A ban's length: a second to 30 days.
pub(super) fn ban_duration(text: &str) -> Read<Duration> {
    duration(text, Duration::from_secs(1), Duration::from_secs(30 * 86_400))
}

/// How long an attack must have been over: a second to an hour.
pub(super) fn hold_duration(text: &str) -> Read<Duration> {
    duration(text, Duration::from_secs(1), Duration::from_secs(3_600))
}

/// How long a connection is remembered, or a client's target.
pub(super) fn connection_duration(text: &str) -> Read<Duration> {
    duration(text, Timeouts::LEAST, Timeouts::MOST)
}

/// How often a check asks.
pub(super) fn check_interval(text: &str) -> Read<Duration> {
    duration(text, Check::INTERVAL_LEAST, Check::INTERVAL_MOST)
}

/// How long a check waits.
pub(super) fn check_timeout(text: &str) -> Read<Duration> {
    duration(text, Check::TIMEOUT_LEAST, Check::INTERVAL_MOST)
}

/// In how long failed handshakes are counted together.
pub(super) fn failure_window(text: &str) -> Read<Duration> {
    duration(text, Passive::WINDOW_LEAST, Passive::WINDOW_MOST)
}

/// How long a target that failed is passed over.
pub(super) fn eject_duration(text: &str) -> Read<Duration> {
    duration(text, Eject::LEAST, Eject::MOST)
}

/// How long a target's part grows.
pub(super) fn slow_start(text: &str) -> Read<Duration> {
    duration(text, Duration::ZERO, Health::SLOW_START_MOST)
}

fn duration(text: &str, least: Duration, most: Duration) -> Read<Duration> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let scale_ms: Option<u64> = match unit.trim_start() {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let help = "write a number with ms, s, m, h or d: `10s`, `10m`, `1h`";
    let (Some(scale_ms), Ok(number)) = (scale_ms, number.parse::<u64>()) else {
        return wrong(format!("{text:?} is not a length of time"), help);
    };
    let duration = number.checked_mul(scale_ms).map(Duration::from_millis);
    match duration.filter(|duration| (least..=most).contains(duration)) {
        Some(duration) => Ok(duration),
        None => wrong(
            format!("{text} is not a length of time that can be used here"),
            format!("write {} to {}", duration_text(least), duration_text(most)),
        ),
    }
}

/// A part of something that is not nothing, percent.
pub(super) fn part(text: &str) -> Read<u8> {
    percent(text, 1)
}

/// A part of something, percent.
pub(super) fn part_or_none(text: &str) -> Read<u8> {
    percent(text, 0)
}

fn percent(text: &str, least: u8) -> Read<u8> {
    let text = text.trim();
    let usual = format!("write {least}% to 100%");
    let number = |text: &str| text.parse::<u8>().ok().filter(|number| (least..=100).contains(number));
    let digits = text.strip_suffix('%').map(str::trim_end);
    if !is_decimal(digits.unwrap_or(text)) {
        return wrong(format!("{text:?} is not a percentage"), usual);
    }
    match (digits, number(digits.unwrap_or(text))) {
        (Some(_), Some(part)) => Ok(part),
        (Some(_), None) => wrong(format!("{text} is not a part that can be used here"), usual),
        (None, Some(part)) => wrong(format!("{text:?} is not a percentage"), format!("write {part}%")),
        (None, None) => wrong(format!("{text:?} is not a percentage"), usual),
    }
}

/// How many answers of one kind, one after the other, decide.
pub(super) fn answers(text: &str) -> Read<u8> {
    match text.parse() {
        Ok(answers @ 1..=100) if is_decimal(text) => Ok(answers),
        _ => wrong(format!("{text:?} is not a number of answers"), "write 1 to 100"),
    }
}

/// How many handshakes must have failed.
pub(super) fn failures(text: &str) -> Read<u16> {
    match text.parse() {
        Ok(failures @ 1..=Passive::FAILURES_MOST) if is_decimal(text) => Ok(failures),
        _ => wrong(
            format!("{text:?} is not a number of failures"),
            format!("write 1 to {}", Passive::FAILURES_MOST),
        ),
    }
}

/// A ban's number of breaches.
pub(super) fn breaches(text: &str) -> Read<u16> {
    match text.parse() {
        Ok(0) | Err(_) => wrong(format!("{text:?} is not a number of refused packets"), "write 1 to 65535"),
        Ok(after) => Ok(after),
    }
}

/// A length of IPv4 keys.
pub(super) fn ipv4_length(text: &str) -> Read<u8> {
    key_length(text, 32)
}

/// A length of IPv6 keys.
pub(super) fn ipv6_length(text: &str) -> Read<u8> {
    key_length(text, 128)
}

fn key_length(text: &str, most: u8) -> Read<u8> {
    let length = if is_decimal(text) { text.parse::<u8>().ok() } else { None };
    match length {
        Some(length) if (1..=most).contains(&length) => Ok(length),
        _ => wrong(
            format!("{text:?} is no length of a key"),
            format!("write 1 to {most}, bits of the address"),
        ),
    }
}
