//! Integers, booleans and floating-point numbers, as the packages `strconv` and `flag` read and
//! print them.

use std::fmt;

/// Why a number was not read. It is printed as the package `flag` does.
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

/// `ParseUint(text, radix, 64)`. Radix 0 reads Go's literals: decimal, `0x`, `0o`, `0b`, a leading
/// 0 as octal, and single underscores between digits after a prefix.
pub fn parse_uint(text: &str, radix: u32) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let (digits, base, prefixed) = match lower.as_bytes() {
        _ if radix > 0 => (&lower[..], radix, false),
        [b'0', b'x', ..] => (&lower[2..], 16, true),
        [b'0', b'o', ..] => (&lower[2..], 8, true),
        [b'0', b'b', ..] => (&lower[2..], 2, true),
        [b'0', _, ..] => (&lower[1..], 8, true),
        _ => (&lower[..], 10, false),
    };
    let stripped;
    let digits = if radix == 0 {
        stripped = strip_underscores(digits, prefixed).ok_or(NumberError::Syntax)?;
        &stripped
    } else {
        digits
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(NumberError::Syntax);
    }
    u64::from_str_radix(digits, base).map_err(|_| NumberError::Range)
}

/// Underscores may stand between digits, and between a prefix and the first digit.
fn strip_underscores(digits: &str, prefixed: bool) -> Option<String> {
    let start = if prefixed { "" } else { "_" };
    let bad = digits.ends_with('_')
        || digits.contains("__")
        || (!start.is_empty() && digits.starts_with(start));
    (!bad).then(|| digits.replace('_', ""))
}

/// `ParseInt(text, radix, 64)`; radix 0 as in [`parse_uint`].
pub fn parse_int(text: &str, radix: u32) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let value = i128::from(parse_uint(digits, radix)?);
    i64::try_from(if negative { -value } else { value }).map_err(|_| NumberError::Range)
}

/// `ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, NumberError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(NumberError::Syntax),
    }
}

/// `FormatFloat(value, 'g', -1, 64)`.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_string();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the form has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(parse_uint(text, 0), value, "{text:?}");
        }
        assert_eq!(parse_int("-9223372036854775808", 0), Ok(i64::MIN));
        assert_eq!(parse_int("9223372036854775808", 0), Err(Range));
        assert_eq!(parse_int("--1", 0), Err(Syntax));
        assert_eq!(parse_int("+7", 0), Ok(7));
    }

    #[test]
    fn booleans() {
        assert_eq!(parse_bool("True"), Ok(true));
        assert_eq!(parse_bool("F"), Ok(false));
        assert_eq!(parse_bool("yes"), Err(NumberError::Syntax));
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (2_147_483_648.0, "2.147483648e+09"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (4.6e-7, "4.6e-07"),
            (52.4288, "52.4288"),
            (123_456.789, "123456.789"),
            (1e21, "1e+21"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float(value), text);
        }
    }
}
