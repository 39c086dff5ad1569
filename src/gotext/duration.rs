//! `time.Duration`: how it is read and printed.

use std::fmt;
use std::time::Duration;

use super::quote;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Go's `time.Duration`: nanoseconds, negative ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub i64);

impl GoDuration {
    /// Makes a duration of milliseconds.
    pub const fn from_millis(millis: i64) -> GoDuration {
        GoDuration(millis * MILLISECOND as i64)
    }

    /// Makes a duration of seconds.
    pub const fn from_secs(secs: i64) -> GoDuration {
        GoDuration(secs * SECOND as i64)
    }

    /// Returns the duration as std's; a negative one is zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads `300ms`, `1h2m`, `-1.5s`; a number without a unit is refused unless it is 0.
    pub fn parse(text: &str) -> Result<GoDuration, String> {
        let invalid = || format!("time: invalid duration {}", quote(text));
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(GoDuration(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut nanos: u64 = 0;
        while !rest.is_empty() {
            let part = Part::split(rest).ok_or_else(invalid)?;
            if part.unit.is_empty() {
                return Err(format!("time: missing unit in duration {}", quote(text)));
            }
            let unit = unit_nanos(part.unit).ok_or_else(|| {
                format!("time: unknown unit {} in duration {}", quote(part.unit), quote(text))
            })?;
            nanos = part
                .nanos(unit)
                .and_then(|more| nanos.checked_add(more))
                .filter(|&sum| sum <= 1 << 63)
                .ok_or_else(invalid)?;
            rest = part.rest;
        }
        if negative {
            return Ok(GoDuration((nanos as i64).wrapping_neg()));
        }
        i64::try_from(nanos).map(GoDuration).map_err(|_| invalid())
    }
}

/// One number with its unit, and what follows.
struct Part<'a> {
    whole: u64,
    fraction: &'a str,
    unit: &'a str,
    rest: &'a str,
}

impl<'a> Part<'a> {
    fn split(text: &'a str) -> Option<Part<'a>> {
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (whole_text, mut rest) = text.split_at(digits(text));
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            (fraction, rest) = after.split_at(digits(after));
        }
        if whole_text.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole = if whole_text.is_empty() { 0 } else { whole_text.parse().ok()? };
        let unit_len =
            rest.bytes().take_while(|byte| *byte != b'.' && !byte.is_ascii_digit()).count();
        let (unit, rest) = rest.split_at(unit_len);
        Some(Part { whole, fraction, unit, rest })
    }

    fn nanos(&self, unit: u64) -> Option<u64> {
        // Digits beyond the fifteenth are below a nanosecond of the largest unit.
        let digits = &self.fraction[..self.fraction.len().min(15)];
        let scale = 10u128.pow(digits.len() as u32);
        let below = digits.parse::<u128>().unwrap_or(0) * u128::from(unit) / scale;
        self.whole.checked_mul(unit)?.checked_add(u64::try_from(below).ok()?)
    }
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

impl From<Duration> for GoDuration {
    /// A length beyond Go's longest, 292 years, becomes the longest.
    fn from(length: Duration) -> GoDuration {
        GoDuration(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    /// `1h2m0s`, `300ms`, `1.5s`, `0s`: as Go prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let scaled = |unit: u64| decimal(nanos, unit);
        match nanos {
            0 => f.write_str("0s"),
            _ if nanos < MICROSECOND => write!(f, "{sign}{nanos}ns"),
            _ if nanos < MILLISECOND => write!(f, "{sign}{}\u{b5}s", scaled(MICROSECOND)),
            _ if nanos < SECOND => write!(f, "{sign}{}ms", scaled(MILLISECOND)),
            _ => {
                let seconds = decimal(nanos % MINUTE, SECOND);
                let (hours, minutes) = (nanos / HOUR, nanos % HOUR / MINUTE);
                match (hours, minutes) {
                    (0, 0) => write!(f, "{sign}{seconds}s"),
                    (0, _) => write!(f, "{sign}{minutes}m{seconds}s"),
                    _ => write!(f, "{sign}{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

/// Returns `nanos / unit` with as many digits after the point as it takes.
fn decimal(nanos: u64, unit: u64) -> String {
    let (whole, below) = (nanos / unit, nanos % unit);
    if below == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{below:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("300ms", 300_000_000),
            ("1h2m", 3_720_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5h", 1_800_000_000_000),
            ("1.s", 1_000_000_000),
            ("-1m30s", -90_000_000_000),
            ("+5s", 5_000_000_000),
            ("1us", 1_000),
            ("1\u{b5}s2ns", 1_002),
            ("0.000000001s", 1),
            ("2540400h10m10s", 9_145_440_610_000_000_000),
        ] {
            assert_eq!(GoDuration::parse(text), Ok(GoDuration(nanos)), "{text}");
        }
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            (".s", "time: invalid duration \".s\""),
            ("s", "time: invalid duration \"s\""),
            ("--1s", "time: invalid duration \"--1s\""),
            ("9999999h", "time: invalid duration \"9999999h\""),
            ("99999999999999999999s", "time: invalid duration \"99999999999999999999s\""),
        ] {
            assert_eq!(GoDuration::parse(text), Err(error.to_string()), "{text}");
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5\u{b5}s"),
            (300_000_000, "300ms"),
            (1_234_567, "1.234567ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (7_200_000_000_000, "2h0m0s"),
            (3_723_004_000_000, "1h2m3.004s"),
            (-5_000_000_000, "-5s"),
        ] {
            assert_eq!(GoDuration(nanos).to_string(), text);
        }
        assert_eq!(GoDuration::parse(&GoDuration(i64::MAX).to_string()), Ok(GoDuration(i64::MAX)));
    }

    #[test]
    fn lengths_of_time_read_and_print_as_in_go() {
        for (text, nanos, printed) in [
            ("5s", 5_000_000_000, "5s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("100ms", 100_000_000, "100ms"),
            ("2.449964ms", 2_449_964, "2.449964ms"),
            (".5us", 500, "500ns"),
            ("1500ns", 1_500, "1.5µs"),
            ("1.000652953s", 1_000_652_953, "1.000652953s"),
            ("0", 0, "0s"),
            ("-1.5h", 0, "0s"),
        ] {
            let read = GoDuration::parse(text).map(GoDuration::to_std);
            assert_eq!(read, Ok(Duration::from_nanos(nanos)), "{text}");
            assert_eq!(GoDuration::from(Duration::from_nanos(nanos)).to_string(), printed);
        }
        for (bad, error) in [
            ("x", "time: invalid duration \"x\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5d", "time: unknown unit \"d\" in duration \"5d\""),
            ("", "time: invalid duration \"\""),
            ("-x", "time: invalid duration \"-x\""),
            ("--1s", "time: invalid duration \"--1s\""),
            ("-5", "time: missing unit in duration \"-5\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
        ] {
            assert_eq!(GoDuration::parse(bad), Err(error.to_owned()));
        }
    }

    #[test]
    fn the_longest_and_the_shortest_are_no_special_case() {
        assert_eq!(GoDuration::from(Duration::MAX), GoDuration(i64::MAX));
        assert_eq!(GoDuration(i64::MIN).to_string(), "-2562047h47m16.854775808s");
        assert_eq!(GoDuration::parse("-2562047h47m16.854775808s"), Ok(GoDuration(i64::MIN)));
        assert!(GoDuration::parse("2562047h47m16.854775808s").is_err());
    }
}
