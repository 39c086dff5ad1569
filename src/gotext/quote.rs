//! `%q` and string literals.

use std::fmt::Write;

/// `%q` of a string, whose bytes are its text: double quotes, Go's escapes, invalid UTF-8 as
/// `\xNN`.
pub fn quote(text: impl AsRef<[u8]>) -> String {
    let bytes = text.as_ref();
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

/// `%q` of a list: `["a" "b"]`.
pub fn quote_all(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(quote).collect();
    format!("[{}]", quoted.join(" "))
}

/// Bytes as `\xNN`, as etcdctl shows them with `--hex`.
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
    fn texts_and_lists() {
        assert_eq!(quote("a\"b\\\n\u{1}\u{7f}é\u{85}"), "\"a\\\"b\\\\\\n\\x01\\x7fé\\u0085\"");
        assert_eq!(quote_all(&["a".into(), "b c".into()]), "[\"a\" \"b c\"]");
    }
}
