//! Values with units or alternatives, read the same way from a flag and from the configuration file.

use clap::ValueEnum;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// A switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// On
    On,
    /// Off
    Off,
}

impl FromStr for OnOff {
    type Err = String;

    fn from_str(text: &str) -> Result<OnOff, String> {
        match text {
            "on" | "true" => Ok(OnOff::On),
            "off" | "false" => Ok(OnOff::Off),
            _ => Err(format!("`{text}` is neither on nor off")),
        }
    }
}

/// An amount of memory, bytes. Written with a unit: `64MiB`, `1GiB`, `500MB`, or plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let wrong = || format!("`{text}` is not a size; write it as 64MiB, 1GiB or 500MB");
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let scale: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(scale).map(Size).ok_or_else(|| format!("`{text}` is too large"))
    }
}

/// A length of time: `500ms`, `2s`, `5m`, `1h`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Interval, String> {
        let wrong = || format!("`{text}` is not a length of time; write it as 500ms, 2s, 5m or 1h");
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let ms_each = match unit {
            "ms" => 1,
            "s" | "" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let ms = number.checked_mul(ms_each).ok_or_else(|| format!("`{text}` is too long"))?;
        Ok(Interval(Duration::from_millis(ms)))
    }
}

/// A whole number of seconds, 1 to `most`, which `most_text` writes: `90s`, `10m`, `2h`, `7d`.
pub fn seconds(text: &str, most: u64, most_text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a length of time; write it as 90s, 10m, 2h or 7d");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let secs_each = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let secs = number.checked_mul(secs_each).filter(|secs| (1..=most).contains(secs));
    secs.ok_or_else(|| format!("`{text}` is out of bounds; write 1s to {most_text}"))
}

/// Where metrics are served: an address with a port, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics(pub Option<SocketAddr>);

impl FromStr for Metrics {
    type Err = String;

    fn from_str(text: &str) -> Result<Metrics, String> {
        match text {
            "off" | "false" => Ok(Metrics(None)),
            _ => text.parse().map(|address| Metrics(Some(address))).map_err(|_| {
                format!("`{text}` is not an address with a port; write it as 127.0.0.1:10300 or [::1]:10300, or off")
            }),
        }
    }
}

/// Splits `64MiB` into 64 and `MiB`.
pub(super) fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Reads a YAML scalar of any type through [`FromStr`], so that `on`, `64` and `off` need no quotes.
struct Scalar<T>(PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(if value { "true" } else { "false" })
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! deserialize_by_from_str {
    ($($type:ty),*) => { $(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                deserializer.deserialize_any(Scalar(PhantomData))
            }
        }
    )* };
}

deserialize_by_from_str!(OnOff, Size, Interval, Metrics);

/// A list of names, or one name alone.
///
/// # Errors
/// Where it is neither.
pub fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a name or a list of names")
        }
        fn visit_str<E>(self, name: &str) -> Result<Vec<String>, E> {
            Ok(vec![name.to_owned()])
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = seq.next_element()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    deserializer.deserialize_any(Names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1 GiB", 1 << 30), ("500MB", 500_000_000), ("4096", 4096)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1MiB", "1.5MiB", "64 apples", "99999999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn intervals() {
        for (text, ms) in [("500ms", 500), ("2s", 2_000), ("5m", 300_000), ("1h", 3_600_000), ("3", 3_000)] {
            assert_eq!(text.parse(), Ok(Interval(Duration::from_millis(ms))), "{text}");
        }
        assert!("2 days".parse::<Interval>().is_err());
    }

    #[test]
    fn metrics() {
        assert_eq!("off".parse(), Ok(Metrics(None)));
        assert_eq!("[::1]:9".parse(), Ok(Metrics(Some(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9))))));
        assert!("localhost".parse::<Metrics>().is_err());
    }
}
