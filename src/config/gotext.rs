//! Go's text forms, as etcd's flags read and print them: numbers, booleans, durations and quoted
//! strings.
//!
//! Only the forms are here; what a flag makes of them is `raw`'s.

use std::fmt;
use std::fmt::Write as _;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Go's `time.Duration`: nanoseconds, negative ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub i64);

impl GoDuration {
    pub const fn from_millis(millis: i64) -> GoDuration {
        GoDuration(millis * MILLISECOND as i64)
    }

    pub const fn from_secs(secs: i64) -> GoDuration {
        GoDuration(secs * SECOND as i64)
    }

    /// As a length of time; a negative one is none at all.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
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

/// `nanos / unit` with as many digits after the point as it takes.
fn decimal(nanos: u64, unit: u64) -> String {
    let (whole, below) = (nanos / unit, nanos % unit);
    if below == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{below:0width$}").trim_end_matches('0'))
}

/// Why a number was not read; the two texts of Go's `flag` package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    Syntax,
    Range,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NumberError::Syntax => "parse error",
            NumberError::Range => "value out of range",
        })
    }
}

impl NumberError {
    /// The same two as `strconv` words them.
    pub fn strconv(self) -> &'static str {
        match self {
            NumberError::Syntax => "invalid syntax",
            NumberError::Range => "value out of range",
        }
    }
}

/// Go's `ParseUint(text, 0, 64)`: decimal, `0x`, `0o`, `0b`, a leading 0 as octal, and single
/// underscores between digits after a prefix.
pub fn parse_uint(text: &str) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16, true),
        [b'0', b'o', ..] => (&lower[2..], 8, true),
        [b'0', b'b', ..] => (&lower[2..], 2, true),
        [b'0', _, ..] => (&lower[1..], 8, true),
        _ => (&lower[..], 10, false),
    };
    let digits_alone = strip_underscores(digits, prefixed).ok_or(NumberError::Syntax)?;
    if digits_alone.is_empty() || !digits_alone.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::Syntax);
    }
    u64::from_str_radix(&digits_alone, radix).map_err(|_| NumberError::Range)
}

/// Underscores may stand between digits, and between a prefix and the first digit.
fn strip_underscores(digits: &str, prefixed: bool) -> Option<String> {
    let start = if prefixed { "" } else { "_" };
    let bad = digits.ends_with('_')
        || digits.contains("__")
        || (!start.is_empty() && digits.starts_with(start));
    (!bad).then(|| digits.replace('_', ""))
}

/// Go's `ParseInt(text, 0, 64)`.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let value = i128::from(parse_uint(digits)?);
    i64::try_from(if negative { -value } else { value }).map_err(|_| NumberError::Range)
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `%q`.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            _ if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            _ if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Go's `%q` of a list: `["a" "b"]`.
pub fn quote_all(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(" "))
}

/// Sizes as etcd and etcdctl show them: decimal units, two digits.
pub fn bytes(count: u64) -> String {
    if count < 10 {
        return format!("{count} B");
    }
    let mut power = 1u64;
    let mut suffix = 0;
    while count / power >= 1000 {
        power *= 1000;
        suffix += 1;
    }
    // Tenths, rounded half up.
    let tenths = (u128::from(count) * 10 + u128::from(power) / 2) / u128::from(power);
    let unit = ["B", "kB", "MB", "GB", "TB", "PB", "EB"][suffix];
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        // The second rounding, half to even, as printing with no decimals does it.
        let (whole, tenth) = (tenths / 10, tenths % 10);
        let up = tenth > 5 || (tenth == 5 && whole % 2 == 1);
        format!("{} {unit}", whole + u128::from(up))
    }
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
    fn numbers_read_as_go_reads_them() {
        use NumberError::{Range, Syntax};
        for (text, value) in [
            ("0", Ok(0)),
            ("128", Ok(128)),
            ("0x10", Ok(16)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("0b101", Ok(5)),
            ("1_000", Ok(1000)),
            ("0x_ff", Ok(255)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(Range)),
            ("", Err(Syntax)),
            ("0x", Err(Syntax)),
            ("08", Err(Syntax)),
            ("_1", Err(Syntax)),
            ("1_", Err(Syntax)),
            ("-1", Err(Syntax)),
            ("+1", Err(Syntax)),
            ("1 ", Err(Syntax)),
            ("1e3", Err(Syntax)),
        ] {
            assert_eq!(parse_uint(text), value, "{text:?}");
        }
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("9223372036854775808"), Err(Range));
        assert_eq!(parse_int("--1"), Err(Syntax));
        assert_eq!(parse_int("+7"), Ok(7));
    }

    #[test]
    fn booleans_and_quotes() {
        assert_eq!(parse_bool("True"), Some(true));
        assert_eq!(parse_bool("F"), Some(false));
        assert_eq!(parse_bool("yes"), None);
        assert_eq!(quote("a\"b\\\n\u{1}\u{7f}é\u{85}"), "\"a\\\"b\\\\\\n\\x01\\x7fé\\u0085\"");
        assert_eq!(quote_all(&["a".into(), "b c".into()]), "[\"a\" \"b c\"]");
    }

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (16384, "16 kB"),
            (20480, "20 kB"),
            (2147483648, "2.1 GB"),
            (82854982, "83 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
