//! Quantities as text, the shortest that is exact: `50Mbit`, `1kpps`, `64kB`, `90s`.

use super::Quantity;
use std::time::Duration;

/// The most that `scales` divides exactly, and the unit.
fn scaled(value: u128, scales: &[(u128, &str)], unit: &str) -> String {
    let exact = scales.iter().find(|(scale, _)| value != 0 && value.is_multiple_of(*scale));
    let (scale, prefix) = exact.copied().unwrap_or((1, ""));
    format!("{}{prefix}{unit}", value / scale)
}

const SI: [(u128, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
const TIME: [(u128, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

/// A limit's rate, `1kpps`, or the number of connections, `1k`.
#[must_use]
pub fn rate_text(quantity: &Quantity) -> String {
    match quantity {
        Quantity::Packets(rate) => scaled(rate.per_second.into(), &SI, "pps"),
        Quantity::Bytes(rate) => scaled(u128::from(rate.per_second) * 8, &SI, "bit"),
        Quantity::NewConnections(rate) => connection_rate_text(rate.per_second),
        Quantity::OpenConnections(most) => scaled((*most).into(), &SI, ""),
    }
}

/// New connections a second: `2kcps`.
#[must_use]
pub fn connection_rate_text(per_second: u64) -> String {
    scaled(per_second.into(), &SI, "cps")
}

/// A limit's burst, `2k` or `64kB`; open connections have none.
#[must_use]
pub fn burst_text(quantity: &Quantity) -> Option<String> {
    match quantity {
        Quantity::Packets(rate) | Quantity::NewConnections(rate) => Some(scaled(rate.burst.into(), &SI, "")),
        Quantity::Bytes(rate) => Some(scaled(rate.burst.into(), &SI, "B")),
        Quantity::OpenConnections(_) => None,
    }
}

/// A length of time: `10m`, `90s`, `0s`. What is shorter than a millisecond is left out.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        millis => scaled(millis, &TIME, ""),
    }
}
