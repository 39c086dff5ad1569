//! Numbers as people write and read them.

use std::time::Duration;

/// `64`, `64B`, `4KiB`, `1MiB`; `k`, `K` and `M` are binary, too.
pub(super) fn parse_bytes(text: &str) -> Result<usize, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[end..].trim() {
        "" | "B" => 0,
        "k" | "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        unit => return Err(format!("unit {unit:?} is not known; B, KiB and MiB are")),
    };
    let number: usize = text[..end].parse().map_err(|_| format!("{text:?} is no size"))?;
    number
        .checked_mul(1 << shift)
        .filter(|&bytes| bytes <= 1 << 30)
        .ok_or_else(|| format!("{text} is above 1 GiB"))
}

/// `1000`, `100k`, `1M`: decimal.
pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1000),
        None => match text.strip_suffix('M') {
            Some(number) => (number, 1_000_000),
            None => (text, 1),
        },
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no count"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text} is too large"))
}

/// `0.1%` or `0.001`: a part of the whole.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("{text:?} is no share"))?;
    let share = number / unit;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err(format!("{text} is not between 0 and 1 or 100%")),
    }
}

/// `10s`, `250ms`, `2m`, or seconds as a plain number.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = ["ms", "us", "s", "m"]
        .iter()
        .find_map(|unit| Some((text.strip_suffix(unit)?, *unit)))
        .unwrap_or((text, "s"));
    let number: f64 = number.trim().parse().map_err(|_| format!("{text:?} is no time"))?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "m" => number * 60.0,
        _ => number,
    };
    if (0.0..=86_400.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(format!("{text} is not between zero and a day"))
}

/// A duration in nanoseconds with three digits and its unit.
pub(super) fn show_ns(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{} us", three(ns / 1e3)),
        ns if ns < 1e9 => format!("{} ms", three(ns / 1e6)),
        ns => format!("{} s", three(ns / 1e9)),
    }
}

/// A count with a thousand's letter.
pub(super) fn show_count(count: f64) -> String {
    match count {
        0.0 => "0".to_owned(),
        count if count < 1e4 => three(count),
        count if count < 1e6 => format!("{}k", three(count / 1e3)),
        count => format!("{}M", three(count / 1e6)),
    }
}

/// A number as it is where it is small or whole, with a letter where it is large.
pub(super) fn show_number(number: f64) -> String {
    match number {
        number if number.abs() >= 1e6 => format!("{}M", three(number / 1e6)),
        number if number.fract() == 0.0 => format!("{number}"),
        number => three(number),
    }
}

fn three(number: f64) -> String {
    match number {
        number if number >= 99.95 => format!("{number:.0}"),
        number if number >= 9.995 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_counts_and_times_are_read() {
        assert_eq!(parse_bytes("64"), Ok(64));
        assert_eq!(parse_bytes("16KiB"), Ok(16 << 10));
        assert_eq!(parse_bytes("1M"), Ok(1 << 20));
        assert_eq!(parse_count("100k"), Ok(100_000));
        assert_eq!(parse_count("2M"), Ok(2_000_000));
        assert_eq!(parse_time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!((parse_share("0.5%"), parse_share("1")), (Ok(0.005), Ok(1.0)));
        for text in ["", "x", "-1", "101%", "nan", "2"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
        for text in ["", "x", "5GB", "-1", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err(), "{text}");
            assert!(parse_count(text).is_err(), "{text}");
        }
        for text in ["", "x", "-1s", "2d", "nan", "1e9"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_shown_with_three_digits() {
        assert_eq!(show_ns(999.0), "999 ns");
        assert_eq!(show_ns(12_345.0), "12.3 us");
        assert_eq!(show_ns(2_500_000.0), "2.50 ms");
        assert_eq!(show_ns(1.5e9), "1.50 s");
        assert_eq!(show_count(123_456.0), "123k");
        assert_eq!(show_count(2_340_000.0), "2.34M");
        assert_eq!((show_count(0.5), show_count(0.0)), ("0.50".to_owned(), "0".to_owned()));
    }
}
