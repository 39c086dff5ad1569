//! Text forms of Go's standard library, which etcdctl's input and output are made of.

use std::fmt::Write;
use std::time::Duration;

pub use crate::config::gotext::bytes;

/// `%q` of a byte string: double quotes, Go's escapes, invalid UTF-8 as `\xNN`.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            quote_char(c, &mut text);
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string takes everything");
        }
    }
    text.push('"');
    text
}

fn quote_char(c: char, text: &mut String) {
    let escape = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ => {
            let number = u32::from(c);
            let written = match number {
                0..0x20 | 0x7f => write!(text, "\\x{number:02x}"),
                _ if is_print(c) => text.write_char(c),
                0..0x10000 => write!(text, "\\u{number:04x}"),
                _ => write!(text, "\\U{number:08x}"),
            };
            return written.expect("a string takes everything");
        }
    };
    text.push_str(escape);
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_print(c: char) -> bool {
    // The debug form escapes what is not printable, and marks at the start of a text; so a letter
    // goes first.
    let after_a_letter: String = ['a', c].iter().collect();
    matches!(c, '\'' | '"' | '\\') || after_a_letter.escape_debug().nth(1) == Some(c)
}

/// Reads one Go string literal, `"..."` or `` `...` ``, at the start of `text`, and returns its
/// bytes and what follows it.
pub fn unquote_prefix(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (inside, rest) = raw.split_once('`')?;
        return Some((inside.as_bytes().to_vec(), rest));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let mut chars = rest.chars();
        match chars.next()? {
            '"' => return Some((bytes, chars.as_str())),
            '\n' => return None,
            '\\' => rest = unescape(chars.as_str(), &mut bytes)?,
            c => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = chars.as_str();
            }
        }
    }
}

/// Appends what the escape after a backslash stands for; returns what follows it.
fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let digits = |from: usize, count: usize, radix: u32| {
        let digits = text.get(from..from + count)?;
        let sound = digits.chars().all(|c| c.is_digit(radix));
        let number = u32::from_str_radix(digits, radix).ok().filter(|_| sound)?;
        Some((number, &text[from + count..]))
    };
    let simple = match text.chars().next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            let (number, rest) = digits(1, 2, 16)?;
            bytes.push(number as u8);
            return Some(rest);
        }
        '0'..='7' => {
            let (number, rest) = digits(0, 3, 8)?;
            bytes.push(u8::try_from(number).ok()?);
            return Some(rest);
        }
        kind @ ('u' | 'U') => {
            let (number, rest) = digits(1, if kind == 'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(number)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(&text[1..])
}

/// `strconv.ParseInt(text, radix, 64)` with its error texts; radix 0 reads the prefixes of Go's
/// literals.
pub fn parse_int(text: &str, radix: u32) -> Result<i64, String> {
    let error = |why: &str| format!("strconv.ParseInt: parsing {}: {why}", quote(text.as_bytes()));
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let (radix, digits) = match radix {
        0 => match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("0x") => (16, digits[2..].to_owned()),
            Some("0b") => (2, digits[2..].to_owned()),
            Some("0o") => (8, digits[2..].to_owned()),
            Some(_) if digits.starts_with('0') => (8, digits[1..].to_owned()),
            _ => (10, digits.to_owned()),
        },
        radix => (radix, digits.to_owned()),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(error("invalid syntax"));
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| error("value out of range"))
}

/// `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            let quoted = quote(text.as_bytes());
            Err(format!("strconv.ParseBool: parsing {quoted}: invalid syntax"))
        }
    }
}

/// `time.ParseDuration`. A negative duration is none at all: every flag takes it for 0.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text.as_bytes()));
    if let Some(positive) = text.strip_prefix('-') {
        let signed = positive.starts_with(['+', '-']);
        return match parse_duration(positive) {
            Ok(_) if !signed => Ok(Duration::ZERO),
            Ok(_) => Err(invalid()),
            Err(why) => Err(why.replace(&quote(positive.as_bytes()), &quote(text.as_bytes()))),
        };
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        if number.is_empty() {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let size = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000u64,
            "" => {
                let quoted = quote(text.as_bytes());
                return Err(format!("time: missing unit in duration {quoted}"));
            }
            _ => {
                let (unit, text) = (quote(unit.as_bytes()), quote(text.as_bytes()));
                return Err(format!("time: unknown unit {unit} in duration {text}"));
            }
        };
        let part = scaled(number, size).ok_or_else(invalid)?;
        nanos = nanos.checked_add(part).ok_or_else(invalid)?;
        rest = tail;
    }
    Ok(Duration::from_nanos(nanos))
}

/// A decimal number times a unit of nanoseconds.
fn scaled(number: &str, size: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut nanos = u128::from(whole.checked_mul(size)?);
    let mut unit = u128::from(size);
    for digit in fraction.chars() {
        unit /= 10;
        nanos += unit * u128::from(digit.to_digit(10)?);
    }
    u64::try_from(nanos).ok()
}

/// `Duration.String()`: the largest unit that gives a number of one or more, no trailing zeros.
pub fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 6)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = decimal(nanos % 60_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `number / 10^places`, without trailing zeros.
fn decimal(number: u128, places: usize) -> String {
    let size = 10u128.pow(places as u32);
    let text = format!("{}.{:0places$}", number / size, number % size);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes as `\xNN`, for `--hex`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 4), |mut text, byte| {
        write!(text, "\\x{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        let wild = "k".bytes().chain([0xff]).chain("\n\"\\\x01é\u{200b}\u{2028}".bytes());
        let wild: Vec<u8> = wild.collect();
        assert_eq!(quote(&wild), r#""k\xff\n\"\\\x01é\u200b\u2028""#);
        assert_eq!(quote("<&>😀\x7f\u{a0}'".as_bytes()), r#""<&>😀\x7f\u00a0'""#);
        assert_eq!(quote("\u{e0001}e\u{301}\x07\x0b".as_bytes()), "\"\\U000e0001e\u{301}\\a\\v\"");
        assert_eq!(quote(b"\xf0\x9f"), r#""\xf0\x9f""#);
        assert_eq!(unquote_prefix(&quote(&wild)), Some((wild, "")));
    }

    #[test]
    fn unquoting() {
        let read = |text| unquote_prefix(text).map(|(bytes, rest)| (bytes, rest.to_owned()));
        let found = |bytes: &[u8], rest: &str| Some((bytes.to_vec(), rest.to_owned()));
        assert_eq!(read(r#""a\x41\101é\U0001F600") x"#), found("aAAé😀".as_bytes(), ") x"));
        assert_eq!(read(r"`a\n`b"), found(br"a\n", "b"));
        for bad in ["", "a", "\"a", r#""\q""#, r#""\x4""#, r#""\777""#, r#""\ud800""#, r#""\'""#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn integers() {
        assert_eq!(parse_int("-7", 10), Ok(-7));
        assert_eq!(parse_int("1F", 16), Ok(31));
        assert_eq!(parse_int("0x1f", 0), Ok(31));
        assert_eq!(parse_int("010", 0), Ok(8));
        assert_eq!(parse_int("0", 0), Ok(0));
        assert_eq!(parse_int("-9223372036854775808", 10), Ok(i64::MIN));
        let syntax = "strconv.ParseInt: parsing \"x\": invalid syntax";
        assert_eq!(parse_int("x", 10), Err(syntax.to_owned()));
        assert!(parse_int("--1", 10).is_err() && parse_int("", 10).is_err());
        let range = "strconv.ParseInt: parsing \"9223372036854775808\": value out of range";
        assert_eq!(parse_int("9223372036854775808", 10), Err(range.to_owned()));
    }

    #[test]
    fn durations() {
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
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
            assert_eq!(duration(Duration::from_nanos(nanos)), printed);
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
            assert_eq!(parse_duration(bad), Err(error.to_owned()));
        }
    }
}
