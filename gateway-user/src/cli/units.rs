//! Numbers, times and marks as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

/// A number in at most four digits and an SI prefix: `9876`, `12.3k`, `4.56M`.
#[must_use]
pub fn short(number: u64) -> String {
    if number < 10_000 {
        number.to_string()
    } else {
        scaled(number as f64, &["", "k", "M", "G", "T", "P", "E"])
    }
}

/// A number in full or [`short`].
#[must_use]
pub fn number(number: u64, exact: bool) -> String {
    if exact { number.to_string() } else { short(number) }
}

/// An amount of data: `512 B`, `12.3 kB`, `4.56 GB`; in full, bytes alone.
#[must_use]
pub fn bytes(bytes: u64, exact: bool) -> String {
    if exact {
        bytes.to_string()
    } else {
        scaled(bytes as f64, &[" B", " kB", " MB", " GB", " TB", " PB", " EB"])
    }
}

/// Bytes a second as bits a second: `1.2 Gbit/s`.
#[must_use]
pub fn bit_rate(bytes_per_sec: f64) -> String {
    scaled(bytes_per_sec * 8.0, &[" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s"])
}

/// Packets a second: `105 kpps`.
#[must_use]
pub fn packet_rate(packets_per_sec: f64) -> String {
    scaled(packets_per_sec, &[" pps", " kpps", " Mpps", " Gpps"])
}

/// Three significant digits and the unit that keeps the number below 1000.
fn scaled(number: f64, units: &[&str]) -> String {
    let mut value = number;
    let mut unit = 0;
    // 999.5 would be written as 1000.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units[unit])
}

/// Groups of three digits: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A mark, the one thing shown in hexadecimal; `-` without one.
#[must_use]
pub fn mark(mark: Option<u32>) -> String {
    match mark {
        Some(mark) if mark != 0 => format!("{mark:#x}"),
        _ => "-".to_owned(),
    }
}

/// A number that may be missing; `-` without one.
#[must_use]
pub fn optional(number: Option<u32>) -> String {
    number.filter(|&number| number != 0).map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// How long something took: `85 µs`, `3.1 ms`, `2.4 s`.
#[must_use]
pub fn duration_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// A span in its two largest units: `4s`, `3m 12s`, `2h 5m`, `12d 3h`.
#[must_use]
pub fn span(secs: u64) -> String {
    let (d, h, m, s) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}m {s}s"),
        (0, _, _) => format!("{h}h {m}m"),
        _ => format!("{d}d {h}h"),
    }
}

/// A short span that ends now, in milliseconds: `0.4s`, or [`span`] from ten seconds on.
#[must_use]
pub fn age_ms(ms: u64) -> String {
    if ms < 10_000 { format!("{}.{}s", ms / 1000, ms % 1000 / 100) } else { span(ms / 1000) }
}

/// `2026-11-21 05:10:22 UTC`.
#[must_use]
pub fn date_time(unix_secs: u64) -> String {
    let (year, month, day) = civil(unix_secs / 86_400);
    format!("{year:04}-{month:02}-{day:02} {} UTC", time_of_day(unix_secs))
}

/// `05:10:22.123456`, in UTC.
#[must_use]
pub fn time_of_day_us(unix_ns: u64) -> String {
    format!("{}.{:06}", time_of_day(unix_ns / 1_000_000_000), unix_ns % 1_000_000_000 / 1_000)
}

fn time_of_day(unix_secs: u64) -> String {
    let secs = unix_secs % 86_400;
    format!("{:02}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60)
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that the leap day is a year's last; an era is 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Now, milliseconds since 1970; 0 with a clock before that.
#[must_use]
pub fn now_unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (12_345, "12.3k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (4_560_000, "4.56M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(bytes(999, false), "999 B");
        assert_eq!(bytes(1_234_567, false), "1.23 MB");
        assert_eq!(bytes(1_234_567, true), "1234567");
        assert_eq!(bit_rate(150_000_000.0), "1.20 Gbit/s");
        assert_eq!(packet_rate(104_900.0), "105 kpps");
        assert_eq!(packet_rate(0.0), "0 pps");
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn times() {
        assert_eq!(date_time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date_time(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date_time(1_795_237_822), "2026-11-21 05:10:22 UTC");
        assert_eq!(date_time(4_107_542_399), "2100-02-28 23:59:59 UTC");
        assert_eq!(date_time(4_107_542_400), "2100-03-01 00:00:00 UTC");
        assert_eq!(time_of_day_us(1_795_237_822_123_456_789), "05:10:22.123456");
        assert_eq!(span(59), "59s");
        assert_eq!(span(192), "3m 12s");
        assert_eq!(span(7_500), "2h 5m");
        assert_eq!(span(1_047_600), "12d 3h");
        assert_eq!(age_ms(450), "0.4s");
        assert_eq!(age_ms(12_000), "12s");
        assert_eq!(duration_us(85), "85 µs");
        assert_eq!(duration_us(3_140), "3.1 ms");
    }

    #[test]
    fn marks() {
        assert_eq!(mark(Some(16)), "0x10");
        assert_eq!(mark(None), "-");
        assert_eq!(mark(Some(0)), "-");
    }
}
